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
from pydantic import Field

from cmbml.settings import PositiveFloat, settings
from cmbml.sims.components import Band, BandError, Component, Emitter, numba_threads
from cmbml.sims.downloads import PYSM_URL, Library
from cmbml.sims.galaxy import Dust, FreeFree, SpinningDust, Synchrotron
from cmbml.sims.presets import REFUSED, preset_files, presets
from cmbml.sims.sources import CosmicInfraredBackground, InfraredSources, RadioSources, ThermalSunyaevZeldovich
from cmbml.sims.templates import chunks
from cmbml.sky.instrument import Channel
from cmbml.sky.maps import Fields

if TYPE_CHECKING:
    import pysm3

MAX_NSIDE = 8192


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
    def emission(
        self, channel: Channel, nside: int, fields: Fields, seed: int, threads: int = 1
    ) -> NDArray[np.float32]:
        """Make the map that a detector with this bandpass and no beam would see.

        Args:
            channel: gives the bandpass.
            nside: resolution of the map and of the templates.
            fields: `I` or `IQU`.
            seed: root of all randomness of the sky.
            threads: CPU threads; they do not change a bit of the result.

        Returns:
            `(n_field, n_pix)`, uK_CMB, RING, Galactic, HEALPix's sign of U.

        Raises:
            SkyError: the sky cannot be made.
        """

    @abstractmethod
    def parts(self) -> "dict[str, SkyModel]":
        """Return each component as a sky of its own, by its name."""


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
    """

    dust: Dust | None = Dust()
    synchrotron: Synchrotron | None = Synchrotron()
    free_free: FreeFree | None = FreeFree()
    spinning_dust: SpinningDust | None = SpinningDust()
    radio_sources: RadioSources | None = RadioSources()
    infrared_sources: InfraredSources | None = InfraredSources()
    cib: CosmicInfraredBackground | None = CosmicInfraredBackground()
    thermal_sz: ThermalSunyaevZeldovich | None = ThermalSunyaevZeldovich()

    @property
    def components(self) -> tuple[Component, ...]:
        """The components that are on."""
        galaxy = (self.dust, self.synchrotron, self.free_free, self.spinning_dust)
        beyond = (self.radio_sources, self.infrared_sources, self.cib, self.thermal_sz)
        return tuple(component for component in galaxy + beyond if component is not None)

    def parts(self) -> dict[str, SkyModel]:
        """Return a sky of each component that is on."""
        names = [entry.name for entry in fields_of(self)]
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

    def emission(
        self, channel: Channel, nside: int, fields: Fields, seed: int, threads: int = 1
    ) -> NDArray[np.float32]:
        """Sum the emission of all components."""
        self.check(nside, fields)
        band = _band(channel)
        out = np.zeros((len(fields), 12 * nside**2), dtype=np.float32)
        factor = band.to_uk_cmb()
        emitters = _templates.of(self, nside, fields, seed, threads)
        with numba_threads(threads):
            for emitter in emitters:
                for part in chunks(nside):
                    values = emitter.emission(part, band)[: len(fields)]
                    out[: len(values), part] += values * factor
        return out


class _Templates:
    """The templates of the sky that was asked for last: made once per process, not once per channel."""

    def __init__(self) -> None:
        self.key: tuple[EmbeddedSky, int, Fields, int] | None = None
        self.emitters: tuple[Emitter, ...] = ()

    def of(self, sky: EmbeddedSky, nside: int, fields: Fields, seed: int, threads: int) -> tuple[Emitter, ...]:
        # Not lru_cache: threads must not be part of the key, and the old templates must go before the new ones come.
        key = (sky, nside, fields, seed)
        if key != self.key:
            self.key, self.emitters = None, ()
            self.emitters = tuple(part.prepare(nside, fields, seed, threads) for part in sky.components)
            self.key = key
        return self.emitters


_templates = _Templates()


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
    """

    presets: Annotated[tuple[str, ...], Field(min_length=1)] = ("d9", "s4", "f1", "a1", "cib1", "ksz1", "tsz1", "rg1")
    data_folder: Path | None = None
    cache_folder: Path | None = None
    mirror: Path | None = None
    download: bool = True
    url: str = PYSM_URL
    timeout_s: PositiveFloat = 30.0
    retries: Annotated[int, Field(ge=0)] = 3

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

    def emission(
        self, channel: Channel, nside: int, fields: Fields, seed: int, threads: int = 1
    ) -> NDArray[np.float32]:
        """Sum the emission of all presets."""
        self.check(nside, fields)
        self.fetch([channel], nside)
        band = _band(channel)
        # At exactly the reference frequency of I, PySM's modified black body does not scale Q and U from their own.
        freqs = band.freqs * (1 + 1e-12)
        factor = band.to_uk_cmb()
        out = np.zeros((len(fields), 12 * nside**2), dtype=np.float32)
        with self._pysm(seed, threads):
            for model in _load(self, nside, seed):
                # Some models draw while they emit; each draw hangs on the seed and the channel alone.
                np.random.seed([seed % 2**32, int(channel.freq_ghz * 1e3) % 2**32])
                values = model.get_emission(freqs, band.weights).value
                for total, row in zip(out, values, strict=False):
                    total += row * factor
                if hasattr(model, "cached_maps"):
                    model.cached_maps.clear()
        return out

    def _names(self, nside: int, bands: Sequence[Band]) -> list[str]:
        return list(dict.fromkeys(file for name in self.presets for file in preset_files(name, nside, bands)))

    def _here(self, name: str) -> bool:
        return (self.data_folder is not None and (self.data_folder / name).is_file()) or self.library.has(name)

    def _path(self, name: str) -> Path:
        if self.data_folder is not None and (self.data_folder / name).is_file():
            return self.data_folder / name
        return self.library.get(name)

    @contextmanager
    def _pysm(self, seed: int, threads: int) -> Iterator[None]:
        """Let PySM find its templates in our folders, draw from our seed and use our threads."""
        from pysm3.utils import data

        folders = [str(folder) for folder in (self.data_folder, self.library.folder) if folder is not None]
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


@lru_cache(maxsize=1)
def _load(sky: PysmSky, nside: int, seed: int) -> tuple["pysm3.Model", ...]:
    """Load the models of all presets: once per process, not once per channel; some draw from the seed as they load."""
    from pysm3.sky import create_components_from_config

    models = []
    for name in sky.presets:
        np.random.seed([seed % 2**32, *name.encode()])
        models += create_components_from_config({name: presets()[name]}, nside=nside)
    return tuple(models)


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
