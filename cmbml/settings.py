"""The decorator of every class that a config file can name by `_target_`."""

from collections.abc import Callable, Mapping
from dataclasses import field, fields
from typing import Annotated, Any, TypeVar, dataclass_transform

from pydantic import AfterValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

T = TypeVar("T")


@dataclass_transform(kw_only_default=True, frozen_default=True)
def settings(cls: type[T]) -> type[T]:
    """Make `cls` a frozen, keyword-only dataclass that checks types and refuses unknown fields.

    The class is its own schema: what its annotations and constraints allow is what a config file may say.
    """
    config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, validate_default=True)
    make: Callable[[type[Any]], Any] = dataclass(config=config, frozen=True, kw_only=True)
    made: type[T] = make(cls)
    return made


def later(default: Any) -> Any:  # noqa: ANN401
    """Return a setting's default that a later release has brought: what was made without the setting still holds."""
    return field(default=default, metadata={"later": True})


def meaningful(value: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return the settings of a dataclass that results depend on, and not those of a later release at their default."""
    return {
        entry.name: getattr(value, entry.name)
        for entry in fields(value)
        if entry.metadata.get("matters", True)
        and not (entry.metadata.get("later") and getattr(value, entry.name) == entry.default)
    }


def flat(node: Any, prefix: str = "") -> dict[str, Any]:  # noqa: ANN401
    """Return nested settings as one mapping, whose keys are those of the command line.

    Example:
        >>> flat({"network": {"depth": 5}, "loss": "l1"})
        {'network.depth': 5, 'loss': 'l1'}
    """
    if isinstance(node, Mapping):
        return {name: value for key in node for name, value in flat(node[key], f"{prefix}{key}.").items()}
    return {prefix.rstrip("."): node}


def _power_of_two(nside: int) -> int:
    if nside < 1 or nside & (nside - 1):
        below = 1 << (max(nside, 1).bit_length() - 1)
        message = f"nside must be a power of two, not {nside}; the nearest are {below} and {2 * below}"
        raise ValueError(message)
    return nside


def each_once(values: tuple[T, ...]) -> tuple[T, ...]:
    """Refuse, as a validator of a setting, what is named twice."""
    if len(set(values)) < len(values):
        message = "name each once"
        raise ValueError(message)
    return values


Nside = Annotated[int, AfterValidator(_power_of_two)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
