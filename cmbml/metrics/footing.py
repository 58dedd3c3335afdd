"""The footing on which maps are compared: one unit, frame, band limit and beam for the truth and for every method.

The truth is multiplied by the footing's window f_l alone. A prediction, whose own window is b_l, is multiplied by
f_l / b_l as far as that can be done; what regularisation takes from it is its loss, not the truth's
(`cmbml.metrics.floors` says what a perfect map loses).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cmbml.settings import Fraction, PositiveFloat, settings
from cmbml.sky.beams import gaussian_window, pixel_window
from cmbml.sky.harmonics import Alm, Map, alm_lmax, cut_alm, filter_components, synthesise
from cmbml.sky.maps import MapError, MapSpec, SkyMap
from cmbml.sky.units import TEMPERATURES, UnitError, microkelvin

Window = NDArray[np.float64]


class FootingError(MapError):
    """A map that cannot be brought to a footing."""


@settings
class Footing:
    """What maps are brought to before they are compared.

    With r_l = b_l / f_l, the ratio of the map's window to the footing's, a map is multiplied by 1 / r_l where r_l >= 1
    (it only has to be smoothed). Where r_l < 1, it has to be deconvolved: `cut` multiplies by 1 / r_l down to
    r_l = epsilon and by zero below; `wiener` by r (1 + epsilon^2) / (r^2 + epsilon^2), which is 1 at r = 1 and falls
    back to zero below epsilon.

    Attributes:
        name: how tables call it.
        fwhm_arcmin: Gaussian beam that the truth and every map are given, arcmin; None for none ("deconvolved").
        lmax: highest multipole that is compared; None for the truth's.
        regularisation: how deconvolution is kept from blowing up noise.
        epsilon: ratio of windows below which a map is not deconvolved; no mode is multiplied by more than its inverse.
        max_lost: part of the footing's modes, each weighted by f_l^2, that may lie where r_l < epsilon before a map is
            refused.
    """

    name: Annotated[str, Field(min_length=1)]
    fwhm_arcmin: PositiveFloat | None = None
    lmax: Annotated[int, Field(ge=2)] | None = None
    regularisation: Literal["cut", "wiener"] = "cut"
    epsilon: Fraction = 0.01
    max_lost: Annotated[float, Field(ge=0, le=1)] = 0.5

    def beam(self, lmax: int, n_comp: int) -> Window:
        """Return the footing's window f_l of each component (T; or T, E, B), `(n_comp, lmax + 1)`."""
        fwhm = self.fwhm_arcmin or 0.0
        window = np.stack([gaussian_window(fwhm, lmax, spin=2 * (i > 0)) for i in range(n_comp)])
        if self.fwhm_arcmin is None:
            window[:] = 1.0
        if self.lmax is not None:
            window[:, self.lmax + 1 :] = 0.0
        return window

    def inverse(self, own: Window, beam: Window) -> Window:
        """Return what multiplies a map of window `own` to give it the window `beam`, `(n_comp, lmax + 1)`."""
        plain = np.divide(beam, own, out=np.zeros_like(beam), where=own > 0)
        if self.regularisation == "cut":
            return np.where(own >= self.epsilon * beam, plain, 0.0)
        denominator = own**2 + (self.epsilon * beam) ** 2
        damped = np.divide(own * beam, denominator, out=np.zeros_like(beam), where=denominator > 0)
        return np.where(own >= beam, plain, (1 + self.epsilon**2) * damped)


@dataclass(frozen=True)
class Windows:
    """What multiplies coefficients to bring them to a footing, each `(n_comp, lmax + 1)`.

    Attributes:
        truth: f_l.
        prediction: the regularised f_l / b_l.
        perfect: `prediction` times b_l: what multiplies the truth to give what a perfect map would become.
    """

    truth: Window
    prediction: Window
    perfect: Window

    def top(self, precision: float) -> int:
        """Return the highest multipole at which anything is left to that precision."""
        largest = np.maximum(self.truth, self.prediction).max(axis=0)
        return int(np.flatnonzero(largest > precision).max(initial=2))


def band_limit(spec: MapSpec) -> int:
    """Return the highest multipole that a map can tell of."""
    most = 3 * spec.nside - 1
    return most if spec.lmax is None else min(spec.lmax, most)


def unit_factor(unit: str, wanted: str) -> float:
    """Return what multiplies values in one unit to give them in another.

    Raises:
        FootingError: they are not both units of CMB temperature.

    Example:
        >>> round(unit_factor("K_CMB", "uK_CMB"))
        1000000
    """
    try:
        return microkelvin(unit) / microkelvin(wanted)
    except UnitError as error:
        message = (
            f"a map in '{unit}' cannot be compared with one in '{wanted}': both must be units of CMB temperature: "
            f"{', '.join(TEMPERATURES)}. A brightness (uK_RJ, MJy/sr) needs the channel's bandpass: convert it first, "
            "and say so in the map's header"
        )
        raise FootingError(message) from error


def to_conventions(sky: SkyMap, unit: str) -> SkyMap:
    """Bring a map to a unit, and U to the sign that HEALPix uses; a map that is there already is returned as it is.

    Args:
        sky: any map.
        unit: of the result.

    Returns:
        The same map in `unit` and `COSMO`, of the same type.
    """
    factor = unit_factor(sky.spec.unit, unit)
    signs = np.full((len(sky.spec.fields), 1), factor)
    if sky.spec.polconv == "IAU" and sky.spec.fields == "IQU":
        signs[2] *= -1
    if (signs == 1).all():
        return SkyMap(sky.values, sky.spec.with_(unit=unit, polconv="COSMO"))
    values = sky.values * signs.astype(sky.values.dtype)
    return SkyMap(values, sky.spec.with_(unit=unit, polconv="COSMO"))


def map_window(
    spec: MapSpec, lmax: int, n_comp: int, table: Window | None = None, pixel_windows: Path | None = None
) -> Window:
    """Return what a map's signal has been multiplied by: its beam and pixel window, zero beyond its band limit.

    Args:
        spec: what the map is.
        lmax: highest multipole.
        n_comp: number of components.
        table: window of a beam that is not Gaussian, `(l,)` or `(n_comp, l)`.
        pixel_windows: folder of HEALPix's pixel windows, for a map that is averaged over pixels.

    Returns:
        `(n_comp, lmax + 1)`.

    Raises:
        FootingError: a table is needed and was not given.
    """
    window = np.zeros((n_comp, lmax + 1))
    limit = min(lmax, band_limit(spec))
    if spec.beam == "window":
        if table is None or table.shape[-1] <= limit:
            found = "none was given" if table is None else f"it ends at l = {table.shape[-1] - 1}"
            message = (
                f"the map's beam is a tabulated window, needed up to l = {limit}, and {found}; name a longer table"
            )
            raise FootingError(message)
        window[:, : limit + 1] = table[..., : limit + 1]
    else:
        fwhm = spec.fwhm_arcmin if spec.beam == "gaussian" else 0.0
        for i in range(n_comp):
            window[i, : limit + 1] = gaussian_window(fwhm, limit, spin=2 * (i > 0)) if fwhm else 1.0
    if spec.pixel_window:
        if pixel_windows is None:
            message = (
                f"the map is averaged over pixels of nside {spec.nside}, and no folder of pixel windows was given; "
                f"name the folder that holds pixel_window_n{spec.nside:04d}.fits, or give maps sampled at pixel centres"
            )
            raise FootingError(message)
        window[:, : limit + 1] *= pixel_window(pixel_windows, spec.nside, limit, n_comp)
    return window


def windows(spec: MapSpec, footing: Footing, lmax: int, n_comp: int, own: Window | None = None) -> Windows:
    """Return what multiplies the coefficients of the truth and of a map to bring them to a footing.

    Args:
        spec: what the map is.
        footing: where both are to stand.
        lmax: highest multipole of the truth.
        n_comp: number of components.
        own: the map's own window, `(n_comp, lmax + 1)`; `map_window` by default.

    Returns:
        The windows.

    Raises:
        FootingError: the map's beam is too wide, or its band limit too low, for this footing.
    """
    own = map_window(spec, lmax, n_comp) if own is None else own
    beam = footing.beam(lmax, n_comp)
    lost = own < footing.epsilon * beam
    weights = (2.0 * np.arange(lmax + 1) + 1) * beam**2
    part = float((weights * lost).sum() / weights.sum())
    if part > footing.max_lost:
        first = int(np.flatnonzero(lost.any(axis=0))[0])
        reason = (
            f"it holds nothing above l = {band_limit(spec)} (nside {spec.nside})"
            if first > band_limit(spec)
            else f"its beam ({spec.fwhm_arcmin:g} arcmin) falls below epsilon={footing.epsilon:g} of the footing's "
            f"at l = {first}"
        )
        message = (
            f"the map cannot be brought to the footing '{footing.name}': {reason}, so that {100 * part:.0f} % of the "
            f"footing's modes are lost, more than max_lost={footing.max_lost:g}; give the footing lmax={first - 1} "
            "or a wider beam, or leave it out for this map"
        )
        raise FootingError(message)
    factor = footing.inverse(own, beam)
    return Windows(beam, factor, factor * own)


def check(prediction: MapSpec, truth: MapSpec, footing: Footing, own: Window | None = None) -> None:
    """Check, before any work, that a map can be compared with the truth at a footing.

    Another nside, frame, sign of U or multiple of the kelvin is no hindrance: those are converted.

    Args:
        prediction: what the map is.
        truth: what it is compared with; without a beam.
        footing: where.
        own: the map's own window; `map_window` by default.

    Raises:
        FootingError: it cannot; the message says why and what would help.
    """
    unit_factor(prediction.unit, truth.unit)
    if truth.beam != "none" or truth.pixel_window or truth.lmax is None:
        message = (
            f"the truth must be band-limited and have neither a beam nor a pixel window; it has lmax={truth.lmax}, "
            f"beam={truth.beam}, pixel_window={truth.pixel_window}"
        )
        raise FootingError(message)
    if footing.lmax is not None and footing.lmax > truth.lmax:
        message = (
            f"the footing '{footing.name}' asks for lmax={footing.lmax}, and the truth ends at l = {truth.lmax}; "
            "give the footing that lmax, or none"
        )
        raise FootingError(message)
    n_comp = min(len(prediction.fields), len(truth.fields))
    windows(prediction, footing, truth.lmax, n_comp, own)


def to_footing(
    prediction_alm: Alm,
    spec: MapSpec,
    truth_alm: Alm,
    footing: Footing,
    nside: int,
    threads: int,
    own: Window | None = None,
) -> tuple[Map, Map]:
    """Bring the truth and a prediction to a footing, and evaluate both.

    Multipoles that the windows leave less of than the type can hold are not evaluated.

    Args:
        prediction_alm: `(n_comp, n_alm)`, of any lmax, with its own window still in; in the truth's unit and frame.
        spec: what the prediction was.
        truth_alm: `(n_comp, n_alm)`.
        footing: where both are to stand.
        nside: of the results.
        threads: CPU threads; they do not change a bit of the results.
        own: the prediction's own window; `map_window` by default.

    Returns:
        The truth and the prediction, `(n_field, n_pix)` each, of the fields that both have.
    """
    n_comp = min(len(prediction_alm), len(truth_alm))
    scale = windows(spec, footing, alm_lmax(truth_alm.shape[-1]), n_comp, own)
    top = scale.top(float(np.finfo(truth_alm.dtype).eps))
    pairs = ((truth_alm, scale.truth), (prediction_alm, scale.prediction))
    both = np.stack([filter_components(cut_alm(alm[:n_comp], top), window[:, : top + 1]) for alm, window in pairs])
    truth, prediction = synthesise(both, nside, threads)
    return truth, prediction
