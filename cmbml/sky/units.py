"""Units in which maps of the CMB come, and what each is worth in uK_CMB."""

import re

from cmbml.sky.maps import MapError

PREFIXES = {"": 1e6, "m": 1e3, "u": 1.0, "mu": 1.0, "µ": 1.0, "n": 1e-3}
"""What a multiple of the kelvin is worth in uK."""

TEMPERATURES = ("uK_CMB", "mK_CMB", "K_CMB", "nK_CMB")


class UnitError(MapError):
    """A unit that is not one of CMB temperature."""


def microkelvin(unit: str, power: int = 1, mjy_per_k: float | None = None) -> float:
    """Return what a unit, or the square of one, is worth in uK_CMB, or uK_CMB^2.

    Args:
        unit: in any of the spellings that missions use: `K_CMB`, `Kcmb`, `mK`, `(K_CMB)^2`, `(MJy/sr)^2`, ...
        power: 1 for maps, 2 for variances.
        mjy_per_k: MJy/sr per K_CMB over the channel's band, where known.

    Raises:
        UnitError: the unit is not known, or is not a square where one is needed.

    Example:
        >>> microkelvin("mK_CMB"), microkelvin("(K_CMB)^2", power=2)
        (1000.0, 1000000000000.0)
    """
    plain = unit.replace(" ", "")
    squared = re.fullmatch(r"(.*?)(?:\^|\*\*)?2", plain)
    base = re.sub(r"[()]", "", squared[1] if squared else plain)
    temperature = re.fullmatch(r"(m|u|mu|µ|n|)[Kk]_?(?:CMB|cmb)?", base)
    factor = PREFIXES[temperature[1]] if temperature else None
    if base.lower() == "mjy/sr" and mjy_per_k is not None:
        factor = 1e6 / mjy_per_k
    if factor is None or (2 if squared else 1) != power:
        what = "the square of a thermodynamic temperature" if power == 2 else "a thermodynamic temperature"
        message = (
            f"unit '{unit}' is not known to be {what}; allowed are {', '.join(TEMPERATURES)} or, with mjy_per_k given "
            f"for the channel, MJy/sr{', squared' * (power == 2)}"
        )
        raise UnitError(message)
    return factor**power
