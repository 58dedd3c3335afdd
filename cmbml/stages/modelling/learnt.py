"""A method that learns, with what it has learnt: it cleans an observation as one that learns nothing does."""

from dataclasses import field
from pathlib import Path
from typing import final

import numpy as np

from cmbml.methods.base import BlindMethod
from cmbml.methods.shipped import weights_file
from cmbml.methods.spnet.tuning import Tuning
from cmbml.methods.trained import Hardware, TrainedMethod
from cmbml.settings import settings
from cmbml.sky.case import Answer, Observation, ObservationSpec
from cmbml.sky.maps import MapSpec, SkyMap
from cmbml.stages.modelling.import_state import read_state
from cmbml.stages.modelling.postprocess import put_together, require_tunable, tuned
from cmbml.stages.modelling.predict import sigmas, spectra, strangeness, warn_of_strangers


@final
@settings
class Learnt(BlindMethod):
    """Ask what has learnt, and put its replies together.

    Attributes:
        method: which.
        weights: what it has learnt: a file, or the name of weights that come with the package.
        hardware: what it runs on.
        tuning: how much of a correction is subtracted, of what corrects an estimate; None: all of it.
    """

    method: TrainedMethod
    weights: Path
    hardware: Hardware = field(metadata={"matters": False})
    tuning: Tuning | None = None

    def files(self) -> tuple[Path, ...]:
        """Return the weights, and what the method names."""
        return (*self.method.files(), weights_file(self.weights))

    def accepts(self, spec: ObservationSpec) -> MapSpec:
        """Ask the method, and look whether the weights are for such an observation."""
        promised: MapSpec = self.method.accepts(spec)
        require_tunable(self.tuning, self.method.examples)
        self.method.require_fit(read_state(self.weights), spec)
        return promised

    def channels_shown(self, spec: ObservationSpec) -> tuple[str, ...]:
        """Ask the method."""
        return self.method.channels_shown(spec)

    def clean(self, observation: Observation, scratch: Path, threads: int) -> Answer[SkyMap]:
        """Ask about all samples of the observation."""
        del scratch, threads
        examples, state = self.method.examples, read_state(self.weights)
        self.method.require_fit(state, observation.spec)
        replies = list(self.method.predict(state, iter(examples.features(observation)), self.hardware))
        warn_of_strangers(self.name, {"the observation": strangeness(replies)})
        values = np.stack([reply.value for reply in replies])
        answer = put_together(examples, values, sigmas(replies), spectra(replies), observation)
        return tuned(self.tuning, examples, values, answer, observation.spec)
