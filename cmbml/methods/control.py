"""Controls: methods whose scores are known beforehand, so that a comparison can be trusted."""

from pathlib import Path
from typing import ClassVar, final

import numpy as np

from cmbml.methods.base import BlindMethod, ChannelName, MethodError
from cmbml.settings import settings
from cmbml.sky.case import Answer, Observation, ObservationSpec
from cmbml.sky.maps import MapSpec, SkyMap


@final
@settings
class Truth(BlindMethod):
    """Return the truth: it must score perfectly."""

    needs_truth: ClassVar[bool] = True

    def accepts(self, spec: ObservationSpec) -> MapSpec:
        """Accept anything."""
        return spec.asked

    def clean(self, observation: Observation, scratch: Path, threads: int) -> Answer[SkyMap]:  # noqa: ARG002
        """Return the truth.

        Raises:
            MethodError: it was not shown.
        """
        if observation.asked is None:
            message = "the observation comes without its truth; control_truth cleans simulations only"
            raise MethodError(message)
        return Answer(observation.asked)


@final
@settings
class SingleChannel(BlindMethod):
    """Return the map of one channel: what not cleaning at all would give.

    Attributes:
        channel: its name.
    """

    channel: ChannelName

    def accepts(self, spec: ObservationSpec) -> MapSpec:
        """Accept an observation that has the channel."""
        spec.require_channel(self.channel)
        return spec.shown[self.channel]

    def channels_shown(self, spec: ObservationSpec) -> tuple[str, ...]:  # noqa: ARG002
        """Return the one channel."""
        return (self.channel,)

    def clean(self, observation: Observation, scratch: Path, threads: int) -> Answer[SkyMap]:  # noqa: ARG002
        """Return the channel's map."""
        return Answer(observation.shown[self.channel])


@final
@settings
class Zero(BlindMethod):
    """Return nothing: the error is the CMB itself."""

    def accepts(self, spec: ObservationSpec) -> MapSpec:
        """Accept anything."""
        return spec.asked

    def clean(self, observation: Observation, scratch: Path, threads: int) -> Answer[SkyMap]:  # noqa: ARG002
        """Return a map of zeros."""
        spec = self.accepts(observation.spec)
        return Answer(SkyMap(np.zeros((len(spec.fields), spec.n_pix), np.float32), spec))
