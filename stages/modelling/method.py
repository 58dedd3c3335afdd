"""What every stage that runs a blind method is told."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import PositiveInt

from cmbml.core.executor import Executor
from cmbml.core.space import Space
from cmbml.methods.base import BlindMethod
from cmbml.settings import Nside, settings
from cmbml.sky.instrument import Channel
from cmbml.sky.maps import Fields, MapSpec
from cmbml.sky.observation import ObservationSpec
from stages.assets import FREQ


@settings
class MethodStage(Executor):
    """Run a method on one simulation.

    Attributes:
        method: what cleans it.
        channels: the instrument.
        nside: of the dataset.
        lmax: highest multipole of its signal.
        fields: `I`, or `IQU`.
        pixel_windows: folder of pixel window files that the dataset was made with, or None.
    """

    method: BlindMethod
    channels: Mapping[str, Channel]
    nside: Nside
    lmax: PositiveInt
    fields: Fields
    pixel_windows: Path | None = None

    def check(self, space: Space) -> None:
        """Ask the method whether it accepts such observations."""
        self.method.accepts(self.observation_spec([key[FREQ] for key in space.keys((FREQ,))]))

    def disk_bytes(self) -> int:
        """One map for each asset."""
        return len(self.writes) * 48 * self.nside**2 * len(self.fields)

    def observation_spec(self, freqs: list[str]) -> ObservationSpec:
        """Describe the observations by what the config says of the dataset."""
        truth = MapSpec(
            nside=self.nside, fields=self.fields, lmax=self.lmax, pixel_window=self.pixel_windows is not None
        )
        channels = {freq: self.channels[freq] for freq in freqs}
        maps = {
            freq: truth.with_(beam=channel.beam_kind, fwhm_arcmin=channel.fwhm_arcmin)
            for freq, channel in channels.items()
        }
        return ObservationSpec(channels, maps, truth)
