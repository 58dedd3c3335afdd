"""Take simulations that somebody else made, in place of our own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from cmbml.core.executor import Executor
from cmbml.core.space import Key, Space
from cmbml.core.unit_io import UnitIO
from cmbml.handlers.raw_map import read_raw_header, read_raw_map
from cmbml.settings import settings
from cmbml.sky.harmonics import analyse
from cmbml.sky.instrument import Channel
from cmbml.sky.maps import MapError, MapSpec, SkyMap
from cmbml.sky.plausibility import require_plausible
from cmbml.stages.assets import CMB_ALM, CMB_MAP, FREQ, OBS_MAP, SIM, SPLIT
from cmbml.stages.maps import Maps

ITERATIONS = 30


@settings
class ImportSimulation(Executor):
    """Read one simulation from foreign FITS files, check it, and write it as our own assets.

    Maps are in Galactic coordinates, in any ordering and in K, mK or uK; they come out in RING order and uK_CMB. The
    truth is taken to have no beam, every observation the beam of its channel, and neither a pixel window.

    Attributes:
        folder: the downloaded dataset.
        observation: path of an observation below it; {split}, {sim} and {freq} are filled in.
        truth: path of the CMB map below it; {split} and {sim} are filled in.
        split_names: what the dataset calls a split, where that is another name.
        channels: the instrument.
        maps: what the maps of the dataset are.
        unit: of the maps; what their headers say where None.
    """

    folder: Path
    observation: str
    truth: str
    split_names: Mapping[str, str]
    channels: Mapping[str, Channel]
    maps: Maps
    unit: str | None = None
    writes: ClassVar = (CMB_ALM, CMB_MAP, OBS_MAP)
    per: ClassVar = (SPLIT, SIM)

    def check(self, space: Space) -> None:
        """Look whether the maps can hold the multipoles, and whether every file is there."""
        self.maps.check()
        wanted = [self._path(self.observation, key) for key in space.keys((SPLIT, SIM, FREQ))]
        wanted += [self._path(self.truth, key) for key in space.keys((SPLIT, SIM))]
        missing = [str(path) for path in wanted if not path.is_file()]
        if missing:
            message = (
                f"{len(missing)} of {len(wanted)} files are missing, first {missing[0]}; check import_from and splits"
            )
            raise MapError(message)

    def settings_at(self, key: Key) -> dict[str, Any]:
        """Depend on the size and the time of each file: to hash a whole downloaded dataset would take hours."""
        paths = [self._path(self.truth, key)]
        paths += [self._path(self.observation, key.joined(Key.of({FREQ: freq}))) for freq in sorted(self.channels)]
        status = [path.stat() for path in paths if path.is_file()]
        return super().settings_at(key) | {"files": [[found.st_size, found.st_mtime_ns] for found in status]}

    def disk_bytes(self) -> int:
        """The truth, its coefficients, and one map per channel."""
        return (1 + len(self.channels)) * self.maps.n_bytes + 4 * self.maps.lmax**2 * len(self.maps.fields)

    def process(self, io: UnitIO) -> None:
        """Read, check, analyse the truth, write."""
        spec = self.maps.spec.with_(pixel_window=False)
        truth = self._read(self._path(self.truth, io.key), spec)
        # Not in single precision: near l = 3 nside the analysis converges slowly, and rounding would stop it early.
        alm = analyse(truth.values.astype(np.float64), self.maps.lmax, io.threads, max_iterations=ITERATIONS)
        io.write(CMB_ALM, alm.astype(np.complex64))
        io.write(CMB_MAP, truth)
        for freq in io.along(OBS_MAP, FREQ):
            channel = self.channels[freq]
            path = self._path(self.observation, io.key.joined(Key.of({FREQ: freq})))
            seen = spec.with_(beam=channel.beam_kind, fwhm_arcmin=channel.fwhm_arcmin)
            io.write(OBS_MAP, self._read(path, seen, channel.freq_ghz), {FREQ: freq})

    def _path(self, template: str, key: Key) -> Path:
        freq = {"freq": key[FREQ]} if FREQ in key else {}
        split = self.split_names.get(key[SPLIT], key[SPLIT])
        return self.folder / fill_in(template, split=split, sim=key[SIM], **freq)

    def _read(self, path: Path, spec: MapSpec, freq_ghz: float = 0.0) -> SkyMap:
        """Read a map, of a channel or of the CMB alone, that is what the settings say.

        Raises:
            MapError: it is not.
        """
        columns = tuple(range(len(self.maps.fields)))
        header = read_raw_header(path)
        if header.nside != self.maps.nside:
            message = (
                f"{path} has nside {header.nside}, and the scenario says {self.maps.nside}; set scenario.nside="
                f"{header.nside}"
            )
            raise MapError(message)
        frame = header.frame(None, "COORDSYS")
        if frame != "G":
            message = (
                f"{path} says COORDSYS={header.coordsys}, and a dataset is in Galactic coordinates, as its masks are; "
                "rotate its maps to G first, or correct their headers"
            )
            raise MapError(message)
        values = read_raw_map(path, columns, self.unit)
        where, mend = header.taken_as(columns, self.unit), "set stages.import.unit to the unit that the numbers have"
        require_plausible(values, frame, where, mend, freq_ghz)
        return SkyMap(values.astype(np.float32), spec)


def fill_in(template: str, **names: str) -> str:
    """Fill in a path's `{split}`, `{sim}` and `{freq}`.

    Raises:
        MapError: it names something else.
    """
    try:
        return template.format(**names)
    except (KeyError, IndexError, ValueError) as error:
        message = f"the path '{template}' cannot be filled in ({error}); what it may name is {{{'}, {'.join(names)}}}"
        raise MapError(message) from error
