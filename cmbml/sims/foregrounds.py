"""The sky in front of the cosmic microwave background: what each channel sees of the Galaxy and of other galaxies.

Two models: `EmbeddedSky`, which makes its own templates from a seed, and `PysmSky`, any presets of PySM 3 (Zonca et al.
2021, arXiv:2108.01444; Thorne et al. 2017, arXiv:1608.02841).
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields as fields_of
from dataclasses import replace
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from cmbml.settings import Nside, PositiveFloat, settings
from cmbml.sims.components import Band, BandError, Component, numba_threads
from cmbml.sims.downloads import PYSM_URL, Library
from cmbml.sims.galaxy import Dust, FreeFree, SpinningDust, Synchrotron, spectral_map
from cmbml.sims.presets import REFUSED, preset_files, presets
from cmbml.sims.sources import CosmicInfraredBackground, InfraredSources, RadioSources, ThermalSunyaevZeldovich
from cmbml.sims.templates import Turbulence, child
from cmbml.sims.variety import Draw, EmbeddedDraw, EmbeddedVariety, PresetChange, PysmVariety, draw_change
from cmbml.sky.beams import pixel_window, signal_lmax
from cmbml.sky.harmonics import analyse, filter_components, require_band_limit, synthesise
from cmbml.sky.instrument import Channel
from cmbml.sky.maps import Fields
from cmbml.sky.symmetry import N_SYMMETRIES, turned

if TYPE_CHECKING:
    import pysm3

MAX_NSIDE = 8192
KEPT_SEED = 0
NO_VARIETY = (
    "this sky does not vary (sky.variety=null), and simulations are to have skies of their own; "
    "give it a variety, or let them share it: vary=shared"
)


class SkyError(ValueError):
    """A sky that cannot be made as it was asked for."""


class SkyModel(ABC):
    """Foregrounds, without the CMB."""

    @abstractmethod
    def check(self, nside: int, fields: Fields) -> None:
        """Say before any work whether the sky can be made; loads no template and asks no network.

        Raises:
            SkyError: it cannot, and why.
        """

    @abstractmethod
    def files(self) -> tuple[Path, ...]:
        """Return the user's own files on which the result hangs."""

    @abstractmethod
    def fetch(self, channels: Sequence[Channel], nside: int) -> tuple[Path, ...]:
        """Download all that emission in these channels needs; return the files."""

    @abstractmethod
    def emissions(
        self, channels: Sequence[Channel], nside: int, fields: Fields, seed: int, threads: int = 1
    ) -> Iterator[NDArray[np.float32]]:
        """Make, one after the other, the maps that detectors with these bandpasses and no beam would see.

        Args:
            channels: give the bandpasses.
            nside: resolution of the maps and of the templates.
            fields: `I` or `IQU`.
            seed: root of all randomness of the sky.
            threads: CPU threads; they do not change a bit of the result.

        Yields:
            `(n_field, n_pix)`, uK_CMB, RING, Galactic, HEALPix's sign of U.

        Raises:
            SkyError: the sky cannot be made.
        """

    def emission(
        self, channel: Channel, nside: int, fields: Fields, seed: int, threads: int = 1
    ) -> NDArray[np.float32]:
        """Make the map of one channel; see `emissions`."""
        return next(iter(self.emissions([channel], nside, fields, seed, threads)))

    @abstractmethod
    def parts(self) -> "dict[str, SkyModel]":
        """Return each component as a sky of its own, by its name."""

    @abstractmethod
    def varied(self, seed: int) -> "SkyModel":
        """Draw from a seed another sky of the same kind, with other morphology and spectra, as plain settings.

        Raises:
            SkyError: the settings say that it does not vary.
        """


@settings
class EmbeddedSky(SkyModel):
    """A sky that needs no download: templates made from the seed, emitting through PySM's own component classes.

    At nside 2048 the templates of IQU take 100 CPU seconds once, each channel 9, and the peak is 4.6 GB. Null switches
    a component off, and leaves the others as they were.

    Attributes:
        dust: thermal dust.
        synchrotron: synchrotron emission.
        free_free: free-free emission.
        spinning_dust: anomalous microwave emission.
        radio_sources: radio galaxies.
        infrared_sources: dusty galaxies.
        cib: anisotropies of the cosmic infrared background.
        thermal_sz: clusters of galaxies.
        variety: how skies differ, where each simulation or split has another; null: they do not.
    """

    dust: Dust | None = Dust()
    synchrotron: Synchrotron | None = Synchrotron()
    free_free: FreeFree | None = FreeFree()
    spinning_dust: SpinningDust | None = SpinningDust()
    radio_sources: RadioSources | None = RadioSources()
    infrared_sources: InfraredSources | None = InfraredSources()
    cib: CosmicInfraredBackground | None = CosmicInfraredBackground()
    thermal_sz: ThermalSunyaevZeldovich | None = ThermalSunyaevZeldovich()
    variety: EmbeddedVariety | None = EmbeddedVariety()

    def varied(self, seed: int) -> SkyModel:
        """Draw another sky; a component that is off changes none of the others."""
        if self.variety is None:
            raise SkyError(NO_VARIETY)
        draw = EmbeddedDraw(self.variety, child(seed, "variety"))
        every = EmbeddedSky()
        beyond = ("radio_sources", "infrared_sources", "cib", "thermal_sz")
        makers = {name: getattr(draw, name) for name in ("dust", "synchrotron", "free_free", "spinning_dust")}
        makers |= dict.fromkeys(beyond, draw.beyond)
        drawn = {name: make(getattr(self, name) or getattr(every, name)) for name, make in makers.items()}
        on = {name: found if getattr(self, name) is not None else None for name, found in drawn.items()}
        return EmbeddedSky(**on, variety=None)

    @property
    def components(self) -> tuple[Component, ...]:
        """The components that are on."""
        galaxy = (self.dust, self.synchrotron, self.free_free, self.spinning_dust)
        beyond = (self.radio_sources, self.infrared_sources, self.cib, self.thermal_sz)
        return tuple(component for component in galaxy + beyond if component is not None)

    def parts(self) -> dict[str, SkyModel]:
        """Return a sky of each component that is on."""
        names = [entry.name for entry in fields_of(self) if entry.name != "variety"]
        every = dict.fromkeys(names)
        return {
            name.replace("_", " "): EmbeddedSky(**every | {name: getattr(self, name)})
            for name in names
            if getattr(self, name) is not None
        }

    def check(self, nside: int, fields: Fields) -> None:
        """Say whether the sky can be made."""
        _check_grid(nside, fields)

    def files(self) -> tuple[Path, ...]:
        """Return no files: all is made from the seed."""
        return ()

    def fetch(self, channels: Sequence[Channel], nside: int) -> tuple[Path, ...]:
        """Download nothing."""
        del channels, nside
        return ()

    def emissions(
        self, channels: Sequence[Channel], nside: int, fields: Fields, seed: int, threads: int = 1
    ) -> Iterator[NDArray[np.float32]]:
        """Sum the emission of all components."""
        self.check(nside, fields)
        bands = [_band(channel) for channel in channels]
        emitters = [part.prepare(nside, fields, seed, threads) for part in self.components]
        for band in bands:
            total, factor = np.zeros((len(fields), 12 * nside**2), dtype=np.float32), band.to_uk_cmb()
            for emitter in emitters:
                emitter.add_to(total, band, factor, threads)
            yield total


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
        return {preset: replace(self, presets=(preset,)) for preset in self.presets}

    def check(self, nside: int, fields: Fields) -> None:
        """Say whether the presets exist and, where nothing may be downloaded, whether their templates are there."""
        _check_grid(nside, fields)
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
        return tuple(self._path(name) for name in self._names(nside, [_band(channel) for channel in channels]))

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


@lru_cache(maxsize=16)
def _load(sky: PysmSky, nside: int, seed: int) -> tuple["pysm3.Model", ...]:
    """Load a preset's models: once per process, not once per channel; some draw from the seed as they load."""
    from pysm3.sky import create_components_from_config

    (name,) = sky.presets
    np.random.seed([seed % 2**32, *name.encode()])
    return tuple(create_components_from_config({name: presets()[name]}, nside=nside))


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
    band = _band(channel)
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


@settings
class Grid:
    """On what grid foregrounds are emitted, and on what they are seen.

    Attributes:
        nside: of the dataset.
        nside_sky: of the emission; at least `nside`.
        lmax: highest multipole kept.
        fields: `I`, or `IQU`.
        pixel_windows: folder of HEALPix pixel window files; None to sample the signal at pixel centres.
    """

    nside: Nside
    nside_sky: Nside
    lmax: PositiveInt
    fields: Fields
    pixel_windows: Path | None = None

    def check(self) -> None:
        """Look whether the resolutions fit together.

        Raises:
            MapError, SkyError: they do not.
        """
        require_band_limit(self.lmax, self.nside)
        if self.nside_sky < self.nside:
            message = f"scenario.nside_sky={self.nside_sky} is below nside={self.nside}; it must be at least that"
            raise SkyError(message)


def seen(
    model: SkyModel, seed: int, channels: Sequence[Channel], grid: Grid, threads: int = 1
) -> Iterator[NDArray[np.float32]]:
    """Make, one after the other, a sky's maps as channels see them: beam, band limit and resolution of a dataset.

    Args:
        model: the sky.
        seed: root of all its randomness.
        channels: their bandpasses and beams.
        grid: of the emission and of the maps.
        threads: CPU threads; they do not change a bit of the result.

    Yields:
        `(n_field, n_pix)`, uK_CMB.
    """
    n_comp = len(grid.fields)
    pixels = pixel_window(grid.pixel_windows, grid.nside, grid.lmax, n_comp)
    # Two iterations are exact to 3e-6 where the grid is twice as fine as the multipoles need (and spectra to 1e-6, as
    # the tests show); where it is not, more than twenty would not help.
    iterations = 2 if 2 * grid.lmax <= 3 * grid.nside_sky else 20
    emitted = model.emissions(channels, grid.nside_sky, grid.fields, seed, threads)
    for channel, values in zip(channels, emitted, strict=True):
        window = channel.beam(grid.lmax, n_comp) * pixels
        lmax = signal_lmax(window)
        alm = analyse(values.astype(np.float64), lmax, threads, accuracy=1e-6, max_iterations=iterations)
        yield synthesise(filter_components(alm, window[:, : lmax + 1]), grid.nside, threads).astype(np.float32)


def _band(channel: Channel) -> Band:
    try:
        return Band.of(channel)
    except BandError as error:
        raise SkyError(str(error)) from error


def _check_grid(nside: int, fields: Fields) -> None:
    if not 1 <= nside <= MAX_NSIDE or nside & (nside - 1):
        message = f"a sky of nside {nside} cannot be made: it must be a power of two up to {MAX_NSIDE}"
        raise SkyError(message)
    if fields not in ("I", "IQU"):
        message = f"a sky has fields I or IQU, not {fields}"
        raise SkyError(message)
