"""Decide on the foregrounds of every sky, and make them for whoever needs them."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

from pydantic_core import to_jsonable_python

from cmbml.core.errors import nearest
from cmbml.core.executor import Executor
from cmbml.core.space import Key, Space
from cmbml.core.unit_io import UnitIO
from cmbml.settings import settings
from cmbml.sims.foregrounds import Grid, SkyError, SkyModel, seen
from cmbml.sky.beams import pixel_window_files
from cmbml.sky.instrument import Channel
from cmbml.sky.maps import MapSpec, SkyMap
from cmbml.stages.assets import FOREGROUND_MAP, FREQ, SKY, SKY_RECIPE
from cmbml.stages.space import is_shared, model_of


@settings
class MakeSky(Executor):
    """Draw what a sky is made of and write it down as a recipe, from which its maps can be made at any time.

    The maps of a sky that simulations share are made here and kept. Those of a sky that one simulation has for itself
    are made again by the stages that need them, as noise is: they would be the most of a dataset's size.

    Attributes:
        models: the skies by name; a split says which one it sees.
        channels: the instrument.
        grid: of the emission and of the maps.
        keep: whether the maps of all skies are kept.
    """

    models: Mapping[str, SkyModel]
    channels: Mapping[str, Channel]
    grid: Grid
    keep: bool = False
    writes: ClassVar = (SKY_RECIPE,)
    may_write: ClassVar = (FOREGROUND_MAP,)
    per: ClassVar = (SKY,)
    version: ClassVar[int] = 2

    def check(self, space: Space) -> None:
        """Look whether every sky that a split asks for is there and can be made, and whether grid and beams fit."""
        self.grid.check()
        for key in space.keys((FREQ,)):
            channel = self.channels[key[FREQ]]
            if channel.window is not None:
                channel.beam(self.grid.lmax, 1)
        skies = [key[SKY] for key in space.keys((SKY,))]
        for name in dict.fromkeys(model_of(sky) for sky in skies):
            if name not in self.models:
                message = f"a split asks for sky '{name}', which `skies` lacks; {nearest(name, self.models)}"
                raise ValueError(message)
            self.models[name].check(self.grid.nside_sky, self.grid.fields)
        for sky in {model_of(sky): sky for sky in skies if not is_shared(sky)}.values():
            self._drawn(sky, 0)

    def settings_at(self, key: Key) -> dict[str, Any]:
        """Depend on the sky's own model, and on the channels' bands and beams alone."""
        bands = {
            name: {entry: getattr(channel, entry) for entry in ("freq_ghz", "bandpass", "fwhm_arcmin", "window")}
            for name, channel in self.channels.items()
        }
        return super().settings_at(key) | {"models": self.models[model_of(key[SKY])], "channels": bands}

    def files(self, key: Key) -> tuple[Path, ...]:
        """Return the sky's template files, and the tables of bandpasses, beams and the pixel window."""
        tables = [path for channel in self.channels.values() for path in (channel.bandpass, channel.window)]
        return (
            *self.models[model_of(key[SKY])].files(),
            *(path for path in tables if path is not None),
            *pixel_window_files(self.grid.pixel_windows, self.grid.nside),
        )

    def fetch(self) -> None:
        """Fetch the templates of every sky."""
        for model in self.models.values():
            model.fetch(tuple(self.channels.values()), self.grid.nside_sky)

    def disk_bytes(self) -> int:
        """A recipe; maps where all are kept (there are few shared skies)."""
        return len(self.channels) * 48 * self.grid.nside**2 * len(self.grid.fields) if self.keep else 20_000

    def process(self, io: UnitIO) -> None:
        """Draw, write the recipe; emit and write the maps of a sky that is kept."""
        sky = io.key[SKY]
        seed = io.seed(f"sky {sky}")
        model, kept = self._drawn(sky, seed), self.keep or is_shared(sky)
        recipe = {
            "model": model_of(sky),
            "kind": f"{type(model).__module__}.{type(model).__qualname__}",
            "seed": seed,
            "kept": kept,
            "grid": to_jsonable_python(self.grid),
            "settings": to_jsonable_python(model),
        }
        io.write(SKY_RECIPE, recipe)
        if kept:
            freqs = io.along(FOREGROUND_MAP, FREQ)
            for freq, found in _made(recipe, {freq: self.channels[freq] for freq in freqs}, io.threads):
                io.write(FOREGROUND_MAP, found, {FREQ: freq})

    def _drawn(self, sky: str, seed: int) -> SkyModel:
        model = self.models[model_of(sky)]
        return model if is_shared(sky) else model.varied(seed)


def foregrounds_of(io: UnitIO, channels: Mapping[str, Channel]) -> Iterator[tuple[str, SkyMap]]:
    """Give a simulation's foregrounds, channel by channel: read where they are kept, made again where not.

    Args:
        io: of a unit that reads SKY_RECIPE, and FOREGROUND_MAP where there is one.
        channels: those wanted, in their order.

    Yields:
        Channel and map, uK_CMB.
    """
    recipe = io.read(SKY_RECIPE)
    if recipe["kept"]:
        kept = io.read_all(FOREGROUND_MAP, {FREQ: set(channels)})
        yield from ((key[FREQ], found) for key, found in kept)
        return
    yield from _made(recipe, channels, io.threads)


def _made(recipe: Mapping[str, Any], channels: Mapping[str, Channel], threads: int) -> Iterator[tuple[str, SkyMap]]:
    grid = Grid(**recipe["grid"])
    maps = seen(model_from(recipe), recipe["seed"], list(channels.values()), grid, threads)
    spec = MapSpec(nside=grid.nside, fields=grid.fields, lmax=grid.lmax, pixel_window=grid.pixel_windows is not None)
    for (freq, channel), values in zip(channels.items(), maps, strict=True):
        yield freq, SkyMap(values, spec.with_(beam=channel.beam_kind, fwhm_arcmin=channel.fwhm_arcmin))


def model_from(recipe: Mapping[str, Any]) -> SkyModel:
    """Make the model that a recipe describes.

    Raises:
        SkyError: it names no model of a sky.
    """
    module, _, name = recipe["kind"].rpartition(".")
    kind = getattr(import_module(module), name, None)
    if not (isinstance(kind, type) and issubclass(kind, SkyModel)):
        message = f"the recipe of a sky names '{recipe['kind']}', which is no model of a sky"
        raise SkyError(message)
    return kind(**recipe["settings"])
