"""Theory spectra of a cosmology, by CAMB."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal, final

import numpy as np
from pydantic import Field

from cmbml.settings import PositiveFloat, settings
from cmbml.sims.cosmology import Cosmology
from cmbml.sky.spectra import Spectra

# Mean temperature of the CMB, K (Fixsen 2009, arXiv:0911.1955).
T_CMB = 2.7255


class SpectrumError(ValueError):
    """A cosmology that CAMB refuses, or spectra that came out wrong."""


@final
@settings
class CambSettings:
    """How accurately CAMB computes.

    Up to l = 1535 the defaults hold lensed TT within 1e-3, EE within 2e-3 and BB within 5e-3 of CAMB's result with
    twice finer steps (AccuracyBoost 2), which takes fifteen times as long.

    Attributes:
        lens_potential_accuracy: how far in wavenumber the lensing potential is followed; from 1 on with non-linear
            growth. 1 is meant for Planck's sensitivity, and leaves BB 1% low.
        margin: multipoles that CAMB computes beyond the last wanted one, since lensing mixes neighbours.
        min_lmax: CAMB's least lmax: lensed BB at any l takes E power from around l = 1000 to 2500.
        accuracy_boost: CAMB's AccuracyBoost; above 1 all its steps are finer, and the time grows as fast.
        halofit_version: the model of non-linear growth.
    """

    lens_potential_accuracy: Annotated[int, Field(ge=1, le=8)] = 2
    margin: Annotated[int, Field(ge=150, le=5000)] = 500
    min_lmax: Annotated[int, Field(ge=500, le=10000)] = 2500
    accuracy_boost: PositiveFloat = 1.0
    halofit_version: Literal["mead2020", "mead2016", "mead", "takahashi"] = "mead2020"


def theory_spectra(cosmology: Cosmology, lmax: int, accuracy: CambSettings | None = None) -> Spectra:
    """Compute the lensed and unlensed spectra of the CMB, and those of the lensing potential.

    Neutrinos are one massive and the rest massless, as in Planck's baseline; there are no tensor modes, so the
    unlensed BB is zero. The same bits come back whatever number of threads the environment allows.

    Args:
        cosmology: its parameters.
        lmax: highest multipole.
        accuracy: CAMB's settings.

    Returns:
        `lensed_` and `unlensed_` TT, EE, BB, TE, uK_CMB^2; PP (no unit), PT, PE (uK_CMB): raw C_l, l = 0 to lmax, zero
        below l = 2.

    Raises:
        SpectrumError: CAMB refuses the parameters, or fails on them.
    """
    results = _run_camb(cosmology, lmax, CambSettings() if accuracy is None else accuracy)
    options = {"lmax": lmax, "CMB_unit": "muK", "raw_cl": True}
    tables = {
        "lensed_": (results.get_lensed_scalar_cls(**options), ("TT", "EE", "BB", "TE")),
        "unlensed_": (results.get_unlensed_scalar_cls(**options), ("TT", "EE", "BB", "TE")),
        "": (results.get_lens_potential_cls(**options), ("PP", "PT", "PE")),
    }
    cl = {}
    for prefix, (table, names) in tables.items():
        for name, column in zip(names, np.array(table, dtype=np.float64).T, strict=True):
            column[:2] = 0.0
            cl[prefix + name] = np.ascontiguousarray(column)
    if not all(np.isfinite(values).all() for values in cl.values()):
        message = f"CAMB's spectra are not finite for {cosmology.to_dict()}"
        raise SpectrumError(message)
    return Spectra(cl)


def _run_camb(cosmology: Cosmology, lmax: int, accuracy: CambSettings) -> Any:  # noqa: ANN401 (CAMB has no types)
    # Here, not above: half a second that only this stage needs to spend.
    import camb
    from camb.baseconfig import CAMBError, CAMBFortranError

    try:
        with _one_thread(camb):
            parameters = camb.set_params(
                H0=cosmology.h0,
                ombh2=cosmology.ombh2,
                omch2=cosmology.omch2,
                ns=cosmology.ns,
                tau=cosmology.tau,
                mnu=cosmology.mnu,
                As=cosmology.a_s,
                pivot_scalar=cosmology.pivot_per_mpc,
                TCMB=T_CMB,
                lmax=max(lmax + accuracy.margin, accuracy.min_lmax),
                lens_potential_accuracy=accuracy.lens_potential_accuracy,
                AccuracyBoost=accuracy.accuracy_boost,
                halofit_version=accuracy.halofit_version,
            )
            return camb.get_results(parameters)
    except (CAMBError, CAMBFortranError, ValueError) as error:
        reason = str(error).strip() or type(error).__name__
        message = f"CAMB refuses the cosmology {cosmology.to_dict()}: {reason}"
        raise SpectrumError(message) from error


@contextmanager
def _one_thread(camb: Any) -> Iterator[None]:  # noqa: ANN401
    # CAMB's sums depend in their last bits on the number of OpenMP threads, so it always gets one.
    before = camb.config.ThreadNum
    camb.config.ThreadNum = 1
    try:
        yield
    finally:
        camb.config.ThreadNum = before
