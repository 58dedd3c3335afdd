"""The points of a dataset: its splits and simulations, and the sky and the cosmology that each has."""

import re
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, Literal

from pydantic import NonNegativeInt, PositiveInt, ValidationError, field_validator

from cmbml.core.errors import ConfigError, nearest, setting_faults
from cmbml.core.space import Axis, Space
from cmbml.settings import settings
from cmbml.sims.cosmology import CosmologySource
from cmbml.stages.assets import ARRAYS, COSMOLOGY, FREQ, HOLES, METHOD, SIM, SKY, SPLIT

Skies = Literal["each", "shared"] | PositiveInt
MOST_SIMULATIONS = 1_000_000
"""In one dataset: a plan of more would not fit into a machine's memory."""


@settings
class Split:
    """One part of a dataset.

    Attributes:
        sims: how many simulations.
        sky: which foregrounds they see: `each` its own, all a `shared` one (the same in every split that shares it),
            or so many, one after the other. What `vary` says where None.
        model: which entry of `skies` the foregrounds are drawn from.
        cosmology: `each` its own, or one `shared` by the whole split.
    """

    sims: NonNegativeInt
    sky: Skies | None = None
    model: str = "main"
    cosmology: Literal["each", "shared"] = "each"

    @field_validator("sky", mode="before")
    @classmethod
    def _no_name(cls, value: object) -> object:
        if isinstance(value, str) and value not in ("each", "shared"):
            message = f"how many skies there are is each, shared or a number; which they are is model={value}"
            raise ValueError(message)
        return value

    def sky_of(self, split: str, number: int, vary: Skies) -> str:
        """Return what the sky of a simulation is called: `main`, `main_test_sim0003` or `main_test_sky0003`."""
        skies = vary if self.sky is None else self.sky
        if skies == "shared":
            return self.model
        return f"{self.model}_{split}_" + (sim_name(number) if skies == "each" else f"sky{number % skies:04d}")


def make_space(
    splits: Mapping[str, int | Mapping[str, Any]],
    instrument: list[str],
    channels: list[str] | str,
    vary: Skies | None = "each",
    methods: list[str] | None = None,
    arrays: str | None = None,
    holes: str | None = None,
    source: CosmologySource | None = None,
) -> Space:
    """Lay out a dataset.

    Args:
        splits: name -> number of simulations, or the settings of a `Split`.
        instrument: the channels that there are.
        channels: the channels that are wanted, or `all`.
        vary: which skies the simulations of a split see, where the split does not say; None for real maps, which were
            not simulated.
        methods: names on the method axis, for programs that have one.
        arrays: the name on the axis of arrays, for methods that learn.
        holes: the name of the maps with holes, for programs that fill or judge them.
        source: where cosmologies come from, for programs that read their spectra; a single one serves all simulations.

    Raises:
        ConfigError: a name that cannot be, or a channel that the instrument lacks.
    """
    vary = "shared" if vary is None else vary
    if isinstance(vary, bool) or not (vary in ("each", "shared") or (isinstance(vary, int) and vary > 0)):
        message = f"vary={vary}: it is each, shared, or a number of skies for each split"
        raise ConfigError(message)
    wanted = instrument if channels == "all" else [str(channel) for channel in channels]
    if not wanted or len(set(wanted)) < len(wanted):
        message = f"scenario.channels=[{','.join(wanted)}]: name at least one channel, and each once; or all"
        raise ConfigError(message)
    for channel in wanted:
        if channel not in instrument:
            message = f"scenario.channels: the instrument has no channel '{channel}'; {nearest(channel, instrument)}"
            raise ConfigError(message)
    rows: list[dict[Axis, str]] = []
    for name, entry in splits.items():
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9]*", name):
            message = f"splits.{name}: a split's name is made of letters and digits only"
            raise ConfigError(message)
        split = _split(name, entry)
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9]*", split.model):
            message = f"splits.{name}.model={split.model}: the name of a sky is made of letters and digits only"
            raise ConfigError(message)
        if len(rows) + split.sims > MOST_SIMULATIONS:
            message = (
                f"splits.{name}={split.sims}: a dataset has at most {MOST_SIMULATIONS:,} simulations; take several"
            )
            raise ConfigError(message)
        for number in range(split.sims):
            sim = sim_name(number)
            cosmology = f"{name}_{sim}" if split.cosmology == "each" else name
            if source is not None and source.single:
                cosmology = "all"
            rows.append({SPLIT: name, SIM: sim, SKY: split.sky_of(name, number, vary), COSMOLOGY: cosmology})
    if not rows:
        message = "splits: there is no simulation in any split; set for instance splits.train=3"
        raise ConfigError(message)
    return Space(tuple(rows), {FREQ: tuple(wanted)} | _axes_of(methods, arrays, holes))


def _axes_of(methods: Sequence[str] | None, arrays: str | None, holes: str | None) -> dict[Axis, tuple[str, ...]]:
    """Return the axes of what was named on the command line.

    Raises:
        ConfigError: a name cannot stand in a path, or methods are none, or named twice.
    """
    listed = isinstance(methods, Sequence) and not isinstance(methods, str)
    if methods is not None and not (listed and methods and len(set(methods)) == len(methods)):
        message = f"methods={methods}: name at least one method, and each once; for instance methods=[control_channel]"
        raise ConfigError(message)
    named = {METHOD: tuple(methods or ()), ARRAYS: (arrays,) if arrays else (), HOLES: (holes,) if holes else ()}
    for name in chain.from_iterable(named.values()):
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", name):
            message = (
                f"'{name}' is no name for a method: letters, digits, '_', '-' and, after the first, '.' only, "
                "a hundred at most"
            )
            raise ConfigError(message)
    return {axis: names for axis, names in named.items() if names}


def _split(name: str, entry: int | Mapping[str, Any]) -> Split:
    try:
        return Split(**entry) if isinstance(entry, Mapping) else Split(sims=entry)
    except ValidationError as error:
        place = f"splits.{name}"
        faults = setting_faults(
            error,
            lambda key: f"{place}.{key}" if isinstance(entry, Mapping) else place,
            lambda _: Split.__dataclass_fields__,
        )
        raise ConfigError("\n".join(faults)) from error


def sim_name(number: int) -> str:
    """Return what the simulation of this number is called."""
    return f"sim{number:04d}"


def sky_among(skies: Sequence[str], split: str, sim: str) -> str:
    """Return which of the skies that a split sees is that of one of its simulations: see `Split.sky_of`.

    Example:
        >>> sky_among(["main"], "test", "sim0003"), sky_among(["main_a_sky0000", "main_a_sky0001"], "a", "sim0003")
        ('main', 'main_a_sky0001')
    """
    own = f"_{split}_{sim}"
    return next((sky for sky in skies if sky.endswith(own)), skies[int(sim.removeprefix("sim")) % len(skies)])


def model_of(sky: str) -> str:
    """Return which entry of `skies` a sky is drawn from.

    Example:
        >>> model_of("main_test_sim0003")
        'main'
    """
    return sky.partition("_")[0]


def is_shared(sky: str) -> bool:
    """Say whether a sky is that of its model itself, which simulations share.

    Example:
        >>> is_shared("main"), is_shared("main_test_sim0003")
        (True, False)
    """
    return sky == model_of(sky)
