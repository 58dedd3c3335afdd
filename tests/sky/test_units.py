"""Units of CMB temperature, as missions spell them."""

import pytest

from cmbml.sky.maps import MapError
from cmbml.sky.units import microkelvin


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        *((unit, 1e6) for unit in ("K", "K_CMB", "Kcmb", "K_cmb", " K_CMB ")),
        *((unit, 1e3) for unit in ("mK", "mK_CMB", "mKcmb")),
        *((unit, 1.0) for unit in ("uK", "uK_CMB", "uKcmb", "muK", "µK")),
        *((unit, 1e-3) for unit in ("nK", "nK_CMB")),
    ],
)
def test_multiples_of_the_kelvin(unit: str, factor: float) -> None:
    assert microkelvin(unit) == factor


@pytest.mark.parametrize("unit", ["Kcmb^2", "K_CMB^2", "(K_CMB)^2", "K_CMB**2", "(Kcmb)2", " K_CMB ^2"])
def test_squares(unit: str) -> None:
    assert microkelvin(unit, 2) == 1e12


def test_brightness_needs_the_band() -> None:
    assert microkelvin("MJy/sr", mjy_per_k=58.0) == 1e6 / 58
    assert microkelvin("(MJy/sr)^2", 2, 58.0) == pytest.approx((1e6 / 58) ** 2)
    with pytest.raises(MapError, match=r"unit 'MJy/sr' is not known .* with mjy_per_k given"):
        microkelvin("MJy/sr")


@pytest.mark.parametrize(
    ("unit", "power"), [("Kcmb", 2), ("K_CMB^2", 1), ("", 2), ("", 1), ("Jy", 1), ("K_RJ", 1), ("kK", 1), ("MK", 1)]
)
def test_what_is_no_temperature(unit: str, power: int) -> None:
    with pytest.raises(
        MapError, match=f"unit '.*' is not known to be .*; allowed are uK_CMB.*{'squared' * (power == 2)}"
    ):
        microkelvin(unit, power)
