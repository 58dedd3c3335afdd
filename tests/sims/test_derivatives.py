"""CAMB's derivatives, beside what is known of them."""

import numpy as np
import pytest

from cmbml.sims.cosmology import FixedCosmology
from cmbml.sims.derivatives import STEPS, moved, spectrum_derivatives
from cmbml.sims.spectrum import CambSettings, theory_spectra

FIDUCIAL = FixedCosmology().draw(0, np.random.default_rng(0), 0)
QUICK = CambSettings(min_lmax=500, margin=300, lens_potential_accuracy=1)


@pytest.fixture(scope="module")
def slopes() -> dict[str, np.ndarray]:
    return dict(spectrum_derivatives(FIDUCIAL, ["logA", "ns"], "unlensed_", 200, QUICK).cl)


def test_amplitude_scales_the_unlensed_spectrum(slopes: dict[str, np.ndarray]) -> None:
    """Linear theory: dC / d ln A = C; sinh(h) / h - 1 of the central difference is 7e-5 for h = 0.02."""
    assert np.allclose(slopes["TT_logA"][2:], slopes["TT"][2:], rtol=1e-3)
    assert np.allclose(slopes["EE_logA"][2:], slopes["EE"][2:], rtol=1e-3)


def test_tilt_turns_the_spectrum_about_the_pivot(slopes: dict[str, np.ndarray]) -> None:
    """d ln C / d ns is about ln(k / 0.05 Mpc^-1) with k = l / 13.9 Gpc: a part of power comes from smaller scales."""
    ell = np.arange(50, 200)
    expected = np.log(ell / 13900 / 0.05)
    assert np.allclose((slopes["TT_ns"] / slopes["TT"])[50:200], expected, atol=0.5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["h0", "ombh2", "omch2", "ns", "tau", "logA"])
def test_step_is_in_the_linear_range(name: str) -> None:
    """Fisher's matrix times a small step squared is chi-square of the moved spectrum, within 5 %."""
    found = spectrum_derivatives(FIDUCIAL, [name], "lensed_", 300, QUICK)
    sigma = found["TT"][2:] * np.sqrt(2 / (2 * np.arange(2, 301) + 1))
    step = STEPS[name] / 2
    cl = theory_spectra(moved(FIDUCIAL, name, step), 300, QUICK)["lensed_TT"][2:]
    chi_square = np.sum(((cl - found["TT"][2:]) / sigma) ** 2)
    assert np.isclose(chi_square, step**2 * np.sum((found[f"TT_{name}"][2:] / sigma) ** 2), rtol=0.05)
