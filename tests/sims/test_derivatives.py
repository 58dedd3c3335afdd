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
    """Linear theory: dC / d ln A = C.

    The central difference gives sinh(h) / h - 1 = 7e-5 more for h = 0.02; the non-linear growth that CAMB's late
    potentials have here up to 1.3e-3, which was seen.
    """
    assert np.allclose(slopes["TT_logA"][2:], slopes["TT"][2:], rtol=3e-3)
    assert np.allclose(slopes["EE_logA"][2:], slopes["EE"][2:], rtol=3e-3)


def test_tilt_turns_the_spectrum_about_the_pivot(slopes: dict[str, np.ndarray]) -> None:
    """d ln C / d ns is the mean of ln(k / 0.05 Mpc^-1) over the scales k that the power at l comes from.

    Those are k >= l / 13.9 Gpc, the distance of last scattering, and most of them within a factor e of it.
    """
    nearest = np.log(np.arange(50, 200) / 13900 / 0.05)
    found = slopes["TT_ns"][50:200] / slopes["TT"][50:200]
    assert np.all(found > nearest)
    assert np.all(found < nearest + 1)


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
