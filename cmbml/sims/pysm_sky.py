"""Skies of published templates: any presets of PySM 3, as they are, or changed from sky to sky.

Zonca et al. 2021, arXiv:2108.01444; Thorne et al. 2017, arXiv:1608.02841.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cmbml.settings import PositiveFloat, settings
from cmbml.sims.components import Band, numba_threads
from cmbml.sims.downloads import PYSM_URL, Library
from cmbml.sims.foregrounds import NO_VARIETY, SkyError, SkyModel, band_of, check_grid
from cmbml.sims.galaxy import spectral_map
from cmbml.sims.presets import REFUSED, preset_files, presets
from cmbml.sims.templates import Turbulence, child
from cmbml.sims.variety import Draw, PresetChange, PysmVariety, draw_change
from cmbml.sky.instrument import Channel
from cmbml.sky.maps import Fields
from cmbml.sky.symmetry import N_SYMMETRIES, turned

if TYPE_CHECKING:
    import pysm3

KEPT_SEED = 0
"""What presets draw by themselves, where their emission is kept for skies that are changes of it."""


@settings
class PysmSky(SkyModel):
    """Any presets of PySM 3, with their published templates.

    At nside 2048 the default presets need about 6 GB, and 14 GB while tsz1's template of nside 8192 is degraded. A
    template of lower resolution is repeated pixel by pixel.

    Attributes:
        presets: PySM's names, such as `d9`; the CMB's are refused.
        data_folder: PySM's templates where you have them (as PYSM_LOCAL_DATA: it holds `pysm_2/`, `dust_gnilc/`, ...).
            They are taken as they are, and count as input files of the dataset.
        cache_folder: where downloaded templates and their checksums are kept.
        mirror: a local folder of the site's layout that is asked before the site.
        download: whether the site may be asked.
        url: address of the site.
        timeout_s: seconds without an answer after which the site is given up.
        retries: how often an interrupted download is taken up again.
        variety: how skies differ, where each simulation or split has another; null: they do not.
        changes: what is changed in each preset, as `varied` has drawn it; empty: nothing.
        orientation: which of HEALPix's sixteen turns and reflections the sky has (`cmbml.sky.symmetry`).
    """

    presets: Annotated[tuple[str, ...], Field(min_length=1)] = ("d9", "s4", "f1", "a1", "cib1", "ksz1", "tsz1", "rg1")
    data_folder: Path | None = None
    cache_folder: Path | None = None
    mirror: Path | None = None
    download: bool = True
    url: str = PYSM_URL
    timeout_s: PositiveFloat = 30.0
    retries: Annotated[int, Field(ge=0)] = 3
    variety: PysmVariety | None = PysmVariety()
    changes: tuple[PresetChange, ...] = ()
    orientation: Annotated[int, Field(ge=0, lt=N_SYMMETRIES)] = 0

    def varied(self, seed: int) -> SkyModel:
        """Draw what is changed in each preset, and how the sky is turned."""
        if self.variety is None:
            raise SkyError(NO_VARIETY)
        draw = Draw(child(seed, "variety"))
        changes = tuple(draw_change(preset, self.variety, draw) for preset in self.presets)
        return replace(self, variety=None, changes=changes, orientation=int(draw.rng.integers(N_SYMMETRIES)))

    @property
    def library(self) -> Library:
        """The folder of downloaded templates."""
        default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "cmbml" / "pysm-data"
        folder = default if self.cache_folder is None else self.cache_folder
        return Library(folder.expanduser(), self.url, self.mirror, self.download, self.timeout_s, self.retries)

    def parts(self) -> dict[str, SkyModel]:
        """Return a sky of each preset."""
        return {
            preset: replace(self, presets=(preset,), changes=self.changes[number : number + 1])
            for number, preset in enumerate(self.presets)
        }

    def check(self, nside: int, fields: Fields) -> None:
        """Say whether the presets exist and, where nothing may be downloaded, whether their templates are there."""
        check_grid(nside, fields)
        for name in self.presets:
            if name not in presets():
                near = get_close_matches(name, presets(), n=1, cutoff=0.0)[0]
                message = f"PySM has no preset {name!r}; the nearest is {near!r}; it has {', '.join(presets())}"
                raise SkyError(message)
            if name in REFUSED:
                message = f"preset {name!r} is no foreground: {REFUSED[name]}"
                raise SkyError(message)
        twice = {name for name in self.presets if self.presets.count(name) > 1}
        if twice:
            message = f"presets named twice: {', '.join(sorted(twice))}"
            raise SkyError(message)
        if self.changes and len(self.changes) != len(self.presets):
            message = f"sky.changes has {len(self.changes)} entries for {len(self.presets)} presets; one each is needed"
            raise SkyError(message)
        for label, folder in (("data_folder", self.data_folder), ("mirror", self.mirror)):
            if folder is not None and not folder.is_dir():
                message = f"{label} {folder} is not a folder"
                raise SkyError(message)
        missing = [] if self.download else [name for name in self._names(nside, ()) if not self._here(name)]
        if missing:
            message = (
                f"presets {', '.join(self.presets)} need templates that are not here: {', '.join(missing)}. Put them "
                "in data_folder or mirror, set download=true to fetch them, or use sky=embedded"
            )
            raise SkyError(message)

    def files(self) -> tuple[Path, ...]:
        """Return the templates in `data_folder` that the presets name, at any resolution."""
        if self.data_folder is None:
            return ()
        names = {name for power in range(14) for name in self._names(1 << power, ())}
        return tuple(path for name in sorted(names) if (path := self.data_folder / name).is_file())

    def fetch(self, channels: Sequence[Channel], nside: int) -> tuple[Path, ...]:
        """Download and verify all templates that these channels need.

        Raises:
            DownloadError: a file cannot be had, or has changed.
        """
        return tuple(self._path(name) for name in self._names(nside, [band_of(channel) for channel in channels]))

    def emissions(
        self, channels: Sequence[Channel], nside: int, fields: Fields, seed: int, threads: int = 1
    ) -> Iterator[NDArray[np.float32]]:
        """Sum the emission of all presets, changed and turned as the settings say."""
        self.check(nside, fields)
        self.fetch(channels, nside)
        changed = [
            _change_fields(change, child(seed, f"change {preset}"), nside, threads)
            for preset, change in zip(self.presets, self.changes, strict=False)
        ]
        for channel in channels:
            total = np.zeros((len(fields), 12 * nside**2), dtype=np.float32)
            for number, preset in enumerate(self.presets):
                values = self._preset_emission(preset, channel, nside, fields, seed, threads)
                if self.changes:
                    (offset, slope), change = changed[number], self.changes[number]
                    log = np.log(channel.freq_ghz / change.freq_ref_ghz)
                    exponent = slope * np.float32(log)
                    exponent += offset
                    exponent += np.float32((change.curvature - change.index_scatter**2) * log**2)
                    values = turned(values, self.orientation) * np.exp(exponent, out=exponent)
                total += values
            yield total

    def _preset_emission(
        self, preset: str, channel: Channel, nside: int, fields: Fields, seed: int, threads: int
    ) -> NDArray[np.float32]:
        """Emit one preset as it is published; kept for the next sky where skies are changes of it."""
        alone = replace(self, presets=(preset,), changes=(), orientation=0)
        if not self.changes:
            return _published(alone, channel, nside, fields, seed, threads)
        # What a preset draws by itself must not hang on a sky, or nothing could be kept.
        return _kept.of(alone, channel, nside, fields, threads)

    def _names(self, nside: int, bands: Sequence[Band]) -> list[str]:
        return list(dict.fromkeys(file for name in self.presets for file in preset_files(name, nside, bands)))

    def _here(self, name: str) -> bool:
        return (self.data_folder is not None and (self.data_folder / name).is_file()) or self.library.has(name)

    def _path(self, name: str) -> Path:
        if self.data_folder is not None and (self.data_folder / name).is_file():
            return self.data_folder / name
        return self.library.get(name)


@contextmanager
def _pysm(sky: PysmSky, seed: int, threads: int) -> Iterator[None]:
    """Let PySM find its templates in our folders, draw from our seed and use our threads."""
    from pysm3.utils import data

    folders = [str(folder) for folder in (sky.data_folder, sky.library.folder) if folder is not None]
    old_folders, old_environment = data.PREDEFINED_DATA_FOLDERS, os.environ.pop("PYSM_LOCAL_DATA", None)
    state = np.random.get_state()
    np.random.seed(seed % 2**32)
    data.PREDEFINED_DATA_FOLDERS = folders
    try:
        with numba_threads(threads):
            yield
    finally:
        data.PREDEFINED_DATA_FOLDERS = old_folders
        np.random.set_state(state)
        if old_environment is not None:
            os.environ["PYSM_LOCAL_DATA"] = old_environment


def _published(
    sky: PysmSky, channel: Channel, nside: int, fields: Fields, seed: int, threads: int
) -> NDArray[np.float32]:
    """Emit the one preset of a sky."""
    band = band_of(channel)
    # At exactly the reference frequency of I, PySM's modified black body does not scale Q and U from their own.
    freqs = band.freqs * (1 + 1e-12)
    out, factor = np.zeros((len(fields), 12 * nside**2), dtype=np.float32), band.to_uk_cmb()
    with _pysm(sky, seed, threads):
        for model in _load(sky, nside, seed):
            # Some models draw while they emit; each draw hangs on the seed and the channel alone.
            np.random.seed([seed % 2**32, int(channel.freq_ghz * 1e3) % 2**32])
            values = model.get_emission(freqs, band.weights).value
            for total, row in zip(out, values, strict=False):
                total += row * factor
            if hasattr(model, "cached_maps"):
                model.cached_maps.clear()
    return out


class _Kept:
    """The published emission of the skies that others are changes of: made once per process.

    It takes 4 bytes a pixel, field, channel and preset: 28 MB for nine channels and four presets at nside 128, and
    1.8 GB at nside 1024.
    """

    def __init__(self) -> None:
        self.where: tuple[object, ...] | None = None
        self.maps: dict[tuple[str, str], NDArray[np.float32]] = {}

    def of(self, sky: PysmSky, channel: Channel, nside: int, fields: Fields, threads: int) -> NDArray[np.float32]:
        where = (sky.data_folder, sky.library, nside, fields)
        if where != self.where:
            self.where, self.maps = where, {}
        name = (sky.presets[0], repr((channel.freq_ghz, channel.bandpass)))
        if name not in self.maps:
            self.maps[name] = _published(sky, channel, nside, fields, KEPT_SEED, threads)
        return self.maps[name]


_kept = _Kept()


def _change_fields(
    change: PresetChange, rng: np.random.Generator, nside: int, threads: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Draw the fields a and b of a change, `(n_pix,)` each."""
    spectra = [Turbulence(sigma=1.0, slope=3.0, knee=knee) for knee in (change.amplitude_knee, change.index_knee)]
    offset = spectral_map(change.amplitude, change.amplitude_scatter, rng, nside, threads, spectra[0])
    return offset, spectral_map(change.index, change.index_scatter, rng, nside, threads, spectra[1])


@lru_cache(maxsize=16)
def _load(sky: PysmSky, nside: int, seed: int) -> tuple["pysm3.Model", ...]:
    """Load a preset's models: once per process, not once per channel; some draw from the seed as they load."""
    from pysm3.sky import create_components_from_config

    (name,) = sky.presets
    np.random.seed([seed % 2**32, *name.encode()])
    return tuple(create_components_from_config({name: presets()[name]}, nside=nside))
