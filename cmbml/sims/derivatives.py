"""How theory spectra change with cosmological parameters."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cmbml.sims.cosmology import Cosmology
from cmbml.sims.spectrum import CambSettings, theory_spectra
from cmbml.sky.spectra import Spectra

Values = NDArray[np.float64]

STEPS: Mapping[str, float] = {"h0": 1.0, "ombh2": 2e-4, "omch2": 2e-3, "ns": 0.01, "tau": 0.005, "logA": 0.02}
"""Half of the difference over which each is taken: about Planck's error, far above the noise of CAMB's numerics."""


def moved(cosmology: Cosmology, name: str, by: float) -> Cosmology:
    """Return a cosmology with one parameter changed.

    Args:
        cosmology: to begin with.
        name: `h0`, `ombh2`, `omch2`, `ns`, `tau`, or `logA`, which is ln(10^10 A_s).
        by: what is added to it.
    """
    if name == "logA":
        return replace(cosmology, a_s=cosmology.a_s * float(np.exp(by)))
    return replace(cosmology, **{name: getattr(cosmology, name) + by})


def central_differences(
    model: Callable[[str, float], Mapping[str, Values]], steps: Mapping[str, float]
) -> dict[str, dict[str, Values]]:
    """Return derivatives by each parameter, [f(p + h) - f(p - h)] / 2 h.

    Args:
        model: spectra, by name, with one parameter moved by so much.
        steps: parameter -> h.

    Returns:
        Parameter -> spectrum -> derivative.
    """
    found = {}
    for name, step in steps.items():
        above, below = model(name, step), model(name, -step)
        found[name] = {spectrum: (above[spectrum] - below[spectrum]) / (2 * step) for spectrum in above}
    return found


def spectrum_derivatives(
    fiducial: Cosmology, names: Sequence[str], prefix: str, lmax: int, accuracy: CambSettings
) -> Spectra:
    """Run CAMB twice for each parameter, and once for the fiducial spectra.

    Args:
        fiducial: where derivatives are taken; H0 stays, not the angle of the sound horizon, when another one moves.
        names: of the parameters.
        prefix: `lensed_` or `unlensed_`.
        lmax: highest multipole.
        accuracy: CAMB's settings.

    Returns:
        `TT` and `EE`, uK_CMB^2, and `TT_ns`, `EE_ns`, ...: their derivatives, C_l from l = 0 to lmax.
    """

    def model(name: str, by: float) -> dict[str, Values]:
        spectra = theory_spectra(moved(fiducial, name, by) if name else fiducial, lmax, accuracy)
        return {spectrum: spectra[prefix + spectrum] for spectrum in ("TT", "EE")}

    slopes = central_differences(model, {name: STEPS[name] for name in names})
    named = {f"{spectrum}_{name}": cl for name, of in slopes.items() for spectrum, cl in of.items()}
    return Spectra(model("", 0.0) | named)
