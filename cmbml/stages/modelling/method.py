"""What every stage that looks at observations is told."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import PositiveInt

from cmbml.core.executor import Executor
from cmbml.core.space import Key, Space
from cmbml.core.unit_io import UnitIO
from cmbml.methods.base import BlindMethod, MethodError
from cmbml.settings import Nside, settings
from cmbml.sky.instrument import Channel
from cmbml.sky.maps import Fields, MapSpec
from cmbml.sky.observation import Observation, ObservationSpec
from cmbml.stages.assets import FREQ, OBS_MAP


@settings
class ObservationStage(Executor):
    """Work on the observations of a dataset.

    Attributes:
        channels: the instrument.
        nside: of the dataset.
        lmax: highest multipole of its signal.
        fields: `I`, or `IQU`.
        pixel_windows: folder of pixel window files that the dataset was made with, or None.
    """

    channels: Mapping[str, Channel]
    nside: Nside
    lmax: PositiveInt
    fields: Fields
    pixel_windows: Path | None = None

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

    def spec_of(self, space: Space) -> ObservationSpec:
        """Describe the observations of a whole dataset."""
        return self.observation_spec([key[FREQ] for key in space.keys((FREQ,))])

    def read_observation(self, io: UnitIO) -> Observation:
        """Read the maps of all channels.

        Raises:
            MethodError: a map is not what the config says.
        """
        maps = dict(io.read_each(OBS_MAP, FREQ))
        spec = self.observation_spec(list(maps))
        for freq, found in maps.items():
            if wrong := found.spec.difference(spec.maps[freq], "nside", "fields", "unit", "beam", "fwhm_arcmin"):
                message = f"the map of channel {freq} is not what the config says: {wrong}"
                raise MethodError(message)
        return Observation(spec, maps)


@settings
class MethodStage(ObservationStage):
    """Run a method on one simulation.

    Attributes:
        method: what cleans it.
    """

    method: BlindMethod

    def check(self, space: Space) -> None:
        """Ask the method whether it accepts such observations, and whether the files that it names are there."""
        if missing := [str(path) for path in self.method.files() if not path.is_file()]:
            message = f"{self.method.name} is told to read {', '.join(missing)}, and there is no such file"
            raise MethodError(message)
        self.method.accepts(self.spec_of(space))

    def files(self, key: Key) -> tuple[Path, ...]:  # noqa: ARG002
        """Return what the method's settings name."""
        return self.method.files()

    def disk_bytes(self) -> int:
        """One map for each asset."""
        return len(self.writes) * 48 * self.nside**2 * len(self.fields)
