"""Spectra of what a method gave beside those of the truth: as the field quotes them, and decoupled from the mask."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmbml.metrics.coupling import Decoupling, Edges, ModeCoupling, SpectrumError, Values, decoupling, usable_window
from cmbml.metrics.pixel import MonopoleDipole
from cmbml.sky.harmonics import Alm, Map, iterated_analysis, power
from cmbml.sky.spectra import bin_spectrum, d_ell

Columns = dict[str, NDArray[Any]]

FIELDS = ("TT", "EE", "BB")
FIELD_SLICES = (slice(0, 1), slice(1, 3))  # of T, and of E with B
PAIRS = ("truth", "prediction", "cross", "residual")
# A normal distribution's 1 and 2 sigma.
PERCENTILES = {"low_2": 2.275, "low_1": 15.866, "high_1": 84.134, "high_2": 97.725}


def masked_alm(
    values: Map, weight: Values, lmax: int, dipole: MonopoleDipole | None, iterations: int = 3, threads: int = 1
) -> Alm:
    """Return the coefficients of a masked map, from whose I monopole and dipole have been removed first.

    The fit takes the mask's share of other multipoles along, 1 % or less of the bandpowers below l = 30 with 55 % of
    the sky; a coupling with `removal` takes it into account.

    Args:
        values: `(n_field, n_pix)`, RING, in any unit: I, or I, Q, U.
        weight: `(n_pix,)`, between 0 and 1.
        lmax: highest multipole.
        dipole: the fit of monopole and dipole; None where they have been removed already.
        iterations: see `iterated_analysis`.
        threads: CPU threads.

    Returns:
        `(n_comp, n_alm)`: T; or T, E, B.
    """
    masked = values * weight.astype(values.dtype)
    if dipole is not None:
        masked[0] = dipole.remove(values[0]) * weight.astype(values.dtype)
    return iterated_analysis(masked, lmax, iterations, threads)


def pseudo_spectra(truth: Alm, prediction: Alm) -> dict[str, Values]:
    """Return the C_l of two masked maps, of both together, and of their difference: no transform is needed.

    Args:
        truth: `(n_comp, n_alm)`, of `masked_alm`.
        prediction: `(n_comp, n_alm)`.

    Returns:
        `truth`, `prediction`, `cross` and `residual`: `(n_comp, lmax + 1)` each, of masked maps: too low by the mask.
    """
    return {
        "truth": power(truth),
        "prediction": power(prediction),
        "cross": power(truth, prediction),
        "residual": power(prediction - truth),
    }


def corrected_d_ell(pseudo: Values, coupling: ModeCoupling, window: Values) -> Values:
    """Return D_l of the C_l of masked maps, over the mean squared mask and the squared beam, as the field quotes it.

    Args:
        pseudo: `(n_comp, lmax + 1)`.
        coupling: of the mask.
        window: `(n_comp, lmax + 1)` or longer: beam times pixel window.

    Returns:
        `(n_comp, lmax + 1)`; 0 for l < 2.
    """
    window = usable_window(window, pseudo.shape[-1] - 1)
    out = np.zeros_like(pseudo)
    out[:, 2:] = d_ell(pseudo)[:, 2:] / (coupling.w2 * window[:, 2:] ** 2)
    return out


def decouplings(coupling: ModeCoupling, edges: Edges, window: Values) -> tuple[Decoupling, ...]:
    """Return what decouples TT, and EE with BB where the coupling has them; the same for all maps of one beam.

    Args:
        coupling: of the mask.
        edges: `(n_bin + 1,)`.
        window: `(n_comp, lmax + 1)` or longer: beam times pixel window of T; or of T, E, B (E's is used for both).

    Returns:
        One for TT; or that and one for EE and BB.
    """
    intensity = decoupling(coupling, edges, window[0])
    if len(window) == 1:
        return (intensity,)
    return intensity, decoupling(coupling, edges, window[1], polarised=True)


def binned_spectra(
    pseudo: Mapping[str, Values], coupling: ModeCoupling, decoupled: tuple[Decoupling, ...], window: Values
) -> dict[str, dict[str, Values]]:
    """Bring spectra of masked maps to bins, corrected for beam and mask in both ways.

    Args:
        pseudo: name -> `(n_comp, lmax + 1)`: C_l of masked maps.
        coupling: of the mask.
        decoupled: of `decouplings`.
        window: `(n_comp, lmax + 1)` or longer: beam times pixel window of the maps.

    Returns:
        kind (`pseudo` or `master`) -> name -> `(n_comp, n_bin)`: D_l.

    Raises:
        SpectrumError: spectra and coupling do not reach the same multipoles.
    """
    shape = (len(window), coupling.lmax + 1)
    for name, cl in pseudo.items():
        if cl.shape != shape:
            message = f"the spectrum of {name} has shape {cl.shape}; coupling and window are for {shape}"
            raise SpectrumError(message)
    edges = decoupled[0].edges
    pairs = list(zip(decoupled, FIELD_SLICES, strict=False))
    return {
        "pseudo": {name: bin_spectrum(corrected_d_ell(cl, coupling, window), edges) for name, cl in pseudo.items()},
        "master": {
            name: np.concatenate([one.bandpowers(cl[part]) for one, part in pairs]) for name, cl in pseudo.items()
        },
    }


def spectra_scores(
    pseudo: Mapping[str, Values],
    coupling: ModeCoupling,
    decoupled: tuple[Decoupling, ...],
    window: Values,
    theory: Values | None = None,
) -> Columns:
    """Compare the binned spectra of a prediction to those of the truth: one row for each kind, field and bin.

    Args:
        pseudo: of `pseudo_spectra`, `(n_comp, lmax + 1)` each, in the unit of the maps squared.
        coupling: of the mask.
        decoupled: of `decouplings`.
        window: `(n_comp, lmax + 1)` or longer: beam times pixel window of both maps.
        theory: `(n_comp, lmax + 1)` or longer: C_l that the truth was drawn from, without any beam; None if unknown.

    Returns:
        Columns of `n_kind * n_comp * n_bin` rows: kind (`pseudo` or `master`), field, l_low, l_high (included), l_eff,
        n_modes (which the mask leaves), d_truth, d_prediction, d_cross, d_residual and d_theory (D_l in the unit of
        the maps squared), cosmic_variance (standard deviation of d_truth from sky to sky), transfer, correlation,
        bias_sigma.

    Raises:
        SpectrumError: spectra, coupling and theory do not reach the same multipoles.
    """
    binned = binned_spectra(pseudo, coupling, decoupled, window)
    for kind, expected in binned_theory(theory, coupling.lmax, decoupled, len(window)).items():
        binned[kind]["theory"] = expected
    tables = [_compare(kind, spectra, coupling, decoupled[0].edges) for kind, spectra in binned.items()]
    return {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}


def binned_theory(
    theory: Values | None, lmax: int, decoupled: tuple[Decoupling, ...], n_comp: int
) -> dict[str, Values]:
    """Return what to expect of the bins of both kinds: plain means of D_l, and through MASTER's bandpower windows.

    Args:
        theory: `(n_comp, lmax + 1)` or longer: C_l; None if unknown.
        lmax: of the spectra.
        decoupled: of `decouplings`.
        n_comp: number of spectra.

    Returns:
        kind -> `(n_comp, n_bin)`; NaN without a theory.

    Raises:
        SpectrumError: the theory is too short, or holds other spectra.
    """
    if theory is not None and (len(theory) != n_comp or theory.shape[-1] <= lmax):
        message = f"theory has shape {theory.shape}; it must hold {n_comp} spectra from l = 0 to {lmax} or further"
        raise SpectrumError(message)
    d_theory = np.full((n_comp, lmax + 1), np.nan) if theory is None else d_ell(theory[:, : lmax + 1])
    pairs = zip(decoupled, FIELD_SLICES, strict=False)
    return {
        "pseudo": bin_spectrum(d_theory, decoupled[0].edges),
        "master": np.concatenate([one.expected(d_theory[part]) for one, part in pairs]),
    }


def knox_sigma(d_ell_binned: Values, n_modes: Values) -> Values:
    """Return the standard deviation of a spectrum in bins, D sqrt(2 / n_modes) (Knox 1995, astro-ph/9504054)."""
    return np.abs(d_ell_binned) * np.sqrt(2 / n_modes)


def bias_error(d_truth: Values, d_residual: Values, n_modes: Values) -> Values:
    """Return the standard deviation of D_prediction - D_truth if the residual knows nothing of the truth.

    The two share their realisation, so that only the cross term 2 t r and the residual's own power r^2 scatter:
    sqrt((4 D_t D_r + 2 D_r^2) / n_modes), of which cosmic variance is no part.

    Args:
        d_truth: `(...)`.
        d_residual: `(...)`.
        n_modes: `(...)`.

    Returns:
        `(...)`.
    """
    t, r = np.maximum(d_truth, 0), np.maximum(d_residual, 0)
    scatter: Values = np.sqrt((4 * t * r + 2 * r**2) / n_modes)
    return scatter


def theory_band(theories: Values) -> dict[str, Values]:
    """Return how much theory spectra differ over cosmologies.

    Args:
        theories: `(n_cosmology, ..., lmax + 1)`: C_l or D_l.

    Returns:
        `mean`, and the percentiles `low_2`, `low_1`, `high_1`, `high_2` of one and two sigma: `(..., lmax + 1)` each.
    """
    bands = np.percentile(theories, list(PERCENTILES.values()), axis=0)
    return {"mean": theories.mean(axis=0), **dict(zip(PERCENTILES, bands, strict=True))}


def bin_columns(edges: Edges, coupling: ModeCoupling, n_comp: int) -> Columns:
    """Return what a table says of its bins, `(n_comp, n_bin)` each: field, l_low, l_high, l_eff and n_modes."""
    ell = np.arange(edges[-1], dtype=np.float64)
    of_bins = {
        "field": np.array(FIELDS[:n_comp])[:, None],
        "l_low": edges[:-1],
        "l_high": edges[1:] - 1,
        "l_eff": bin_spectrum(ell, edges),
        "n_modes": coupling.sky_fraction * np.add.reduceat(2 * ell + 1, edges[:-1]),
    }
    return {name: np.broadcast_to(column, (n_comp, len(edges) - 1)) for name, column in of_bins.items()}


def _compare(kind: str, binned: Mapping[str, Values], coupling: ModeCoupling, edges: Edges) -> Columns:
    """Make the rows of one kind of spectra, `(n_comp, n_bin)` each."""
    truth, prediction, cross = binned["truth"], binned["prediction"], binned["cross"]
    bins = bin_columns(edges, coupling, len(truth))
    drawn_from = np.where(np.isfinite(binned["theory"]), binned["theory"], truth)
    with np.errstate(divide="ignore", invalid="ignore"):
        columns = {
            "kind": np.full(truth.shape, kind),
            **bins,
            **{f"d_{name}": binned[name] for name in (*PAIRS, "theory")},
            "cosmic_variance": knox_sigma(drawn_from, bins["n_modes"]),
            "transfer": cross / truth,
            "correlation": cross / np.sqrt(truth * prediction),
            "bias_sigma": _ratio(prediction - truth, bias_error(truth, binned["residual"], bins["n_modes"])),
        }
    return {name: column.ravel() for name, column in columns.items()}


def _ratio(difference: Values, error: Values) -> Values:
    """Return a difference in units of its error; 0 where there is neither."""
    return np.where((difference == 0) & (error == 0), 0.0, difference / error)
