"""A method that learns, with what it has learnt: it cleans an observation as one that learns nothing does."""

from dataclasses import field
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from cmbml.methods.base import BlindMethod
from cmbml.methods.shipped import weights_file
from cmbml.methods.spnet.tuning import Tuning
from cmbml.methods.trained import Hardware, State, TrainedMethod
from cmbml.settings import settings
from cmbml.sky.case import Answer, Case, Observation, ObservationSpec
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
        values, answer = asked(self.method, read_state(self.weights), observation, self.hardware)
        return tuned(self.tuning, self.method.examples, values, answer, observation.spec)


def asked(
    method: TrainedMethod, state: State, case: Case[Any], hardware: Hardware
) -> tuple[NDArray[np.float32], Answer[Any]]:
    """Ask what has learnt about one case, and warn if that is unlike what it has learnt from.

    Args:
        method: what answers.
        state: what it has learnt.
        case: what is shown.
        hardware: what it runs on.

    Returns:
        The replies to all samples, and the answer that they make.

    Raises:
        MethodError: it has learnt for other cases.
    """
    method.require_fit(state, case.spec)
    replies = list(method.predict(state, iter(method.examples.features(case)), hardware))
    warn_of_strangers(method.name, {"what is shown": strangeness(replies)})
    values = np.stack([reply.value for reply in replies])
    return values, put_together(method.examples, values, sigmas(replies), spectra(replies), case)
