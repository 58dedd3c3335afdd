"""MASTER: what a mask does to power spectra, and how to undo it (Hivon et al. 2002, astro-ph/0105302).

The spectrum of a masked map is on average `sum_l' M_ll' b_l'^2 C_l'`, where M follows from the spectrum of the mask
alone. Spectra are averaged in bins, within which D_l is taken to be flat, and the binned matrix is inverted.
"""

from dataclasses import dataclass
from itertools import product
from typing import Any, Self

import ducc0
import healpy as hp
import numpy as np
from numpy.typing import NDArray

from cmbml.sky.harmonics import analyse, multipoles, power, synthesise

Values = NDArray[np.floating[Any]]
Edges = NDArray[np.int64]

WORST_CONDITION = 1e3  # of a binned matrix: below 10 for a twentieth of the sky and bins of 30; then rising steeply


REMOVAL_NSIDE = 64
"""Resolution at which the removal of monopole and dipole is followed: beyond l = 128 it changes nothing."""


class SpectrumError(ValueError):
    """A spectrum that cannot be had from what was given."""


def linear_bins(l_low: int, l_high: int, width: int = 30) -> Edges:
    """Return the edges of bins of equal width from `l_low` to `l_high`, both included.

    What is left over at the end is a bin of its own if it is at least half as wide, and widens the last bin if not.

    Args:
        l_low: lowest multipole, at least 2: monopole and dipole are no part of any spectrum here.
        l_high: highest multipole.
        width: multipoles in a bin.

    Returns:
        `(n_bin + 1,)`: bin i holds edges[i] <= l < edges[i + 1].

    Raises:
        SpectrumError: there is no such bin.

    Example:
        >>> linear_bins(2, 70).tolist()
        [2, 32, 71]
    """
    if l_low < 2 or l_high < l_low or width < 1:
        message = f"bins of width {width} from l_low={l_low} to l_high={l_high}: need width >= 1, 2 <= l_low <= l_high"
        raise SpectrumError(message)
    starts = list(range(l_low, l_high + 1, width))
    if len(starts) > 1 and 2 * (l_high + 1 - starts[-1]) < width:
        starts.pop()
    return np.array([*starts, l_high + 1], dtype=np.int64)


def octave_bins(l_high: int, per_octave: int = 2) -> Edges:
    """Return the edges of bins that grow with the multipole: one from l = 2 to 7, then so many to each octave.

    What is left over at the end widens the last bin where it is less than half as wide as that.

    Args:
        l_high: highest multipole.
        per_octave: bins between a multipole and twice that.

    Returns:
        `(n_bin + 1,)`: bin i holds edges[i] <= l < edges[i + 1].

    Raises:
        SpectrumError: there is no such bin.

    Example:
        >>> octave_bins(40).tolist()
        [2, 8, 11, 16, 23, 32, 41]
    """
    if l_high < 2 or per_octave < 1:
        message = f"{per_octave} bins to an octave up to l = {l_high}: need one at least, and multipoles from 2 on"
        raise SpectrumError(message)
    number = int(per_octave * np.log2(max(l_high, 8) / 8)) + 1
    starts = [2, *np.unique(np.round(8 * 2 ** (np.arange(number) / per_octave)).astype(int)).tolist()]
    starts = [start for start in starts if start <= l_high]
    if len(starts) > 1 and 2 * (l_high + 1 - starts[-1]) < starts[-1] * (2 ** (1 / per_octave) - 1):
        starts.pop()
    return np.array([*starts, l_high + 1], dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class ModeCoupling:
    """What a weight map does to spectra; made once for each mask.

    Attributes:
        w2: mean squared weight over the whole sky: by it the spectrum of a masked map is too low.
        w4: mean fourth power of the weight.
        kernels: `(1, lmax + 1, lmax + 1)` for intensity, `(3, ...)` with polarisation: kernels R of
            M_ll' = (2 l' + 1) R_ll'. First TT; then from EE to EE (and BB to BB); then from BB to EE (and back).
            They are symmetric, but for what the removal of monopole and dipole adds to the first.
    """

    w2: float
    w4: float
    kernels: Values

    @classmethod
    def of(cls, weight: Values, kernels: Values) -> Self:
        """Put kernels together with the moments of the weight `(n_pix,)` that they were made from."""
        squared = np.square(weight, dtype=np.float64)
        return cls(w2=float(squared.mean()), w4=float(np.square(squared).mean()), kernels=kernels)

    @property
    def lmax(self) -> int:
        """The highest multipole."""
        return int(self.kernels.shape[-1]) - 1

    @property
    def sky_fraction(self) -> float:
        """Part of the sky that counts for the scatter of a spectrum, w2^2 / w4 (Hivon et al. 2002)."""
        return self.w2**2 / self.w4

    def matrix(self, kernel: int) -> Values:
        """Return M_ll', `(lmax + 1, lmax + 1)`: row l of the masked map, column l' of the sky."""
        matrix: Values = self.kernels[kernel] * (2 * np.arange(self.lmax + 1) + 1)
        return matrix


def coupling_kernels(spectrum: Values, lmax: int, polarised: bool, threads: int = 1) -> Values:
    """Return the kernels R_ll' = sum_L (2 L + 1) W_L (3j symbols)^2 / 4 pi.

    The symbols are (l l' L; 0 0 0) for TT and (l l' L; 2 -2 0) for polarisation, where L + l + l' even goes from EE
    to EE and odd from EE to BB (Kogut et al. 2003, astro-ph/0302213, appendix A).

    Args:
        spectrum: `(lmax_mask + 1,)`: W_L of the weight, best to 2 lmax.
        lmax: highest multipole of the result.
        polarised: whether the two kernels of polarisation are wanted, too.
        threads: CPU threads.

    Returns:
        `(1, lmax + 1, lmax + 1)` or `(3, lmax + 1, lmax + 1)`; those of polarisation are 0 for l < 2.
    """
    # ducc0 multiplies by (2 L + 1) / 4 pi itself. It counts the types of kernel: 0 is TT, 4 is both of polarisation.
    kinds = (0, 4) if polarised else (0,)
    out = np.empty((3 if polarised else 1, lmax + 1, lmax + 1))
    sources = np.tile(np.asarray(spectrum, dtype=np.float64), (len(kinds), 1))
    ducc0.misc.experimental.coupling_matrix_rect(sources, kinds, out, nthreads=threads)
    return out


def removal_kernel(weight: Values, lmax: int, threads: int = 1) -> Values:
    """Return what the removal of monopole and dipole adds to the kernel of TT.

    The fit to the pixels of positive weight gives templates y_i = (1, x, y, z) the amplitudes g_i = sum_p G_i(p) t(p),
    which take a part of all other multipoles along. From the coefficients of W t, those of W y_i are taken away g_i
    times, so that the spectrum changes on average by

        - 2 sum_i <(W t)_lm g_i> (W y_i)*_lm + sum_ij <g_i g_j> (W y_i)_lm (W y_j)*_lm,  averaged over m,

    which is linear in C_l' (Elsner et al. 2017, arXiv:1609.03577, do so for any templates). Weight and templates are
    smooth, so that a coarse grid and low multipoles hold all of it.

    Args:
        weight: `(n_pix,)`, RING, between 0 and 1.
        lmax: highest multipole of the result.
        threads: CPU threads.

    Returns:
        `(lmax + 1, lmax + 1)`, no symmetric one: to be added to R_ll'.

    Raises:
        SpectrumError: too few pixels are left for the fit.
    """
    nside = min(round(np.sqrt(weight.size / 12)), REMOVAL_NSIDE)
    top = min(lmax, 2 * nside)
    kept, soft = (hp.ud_grade(values.astype(np.float64), nside) for values in (weight > 0, weight))
    templates = np.stack([np.ones(12 * nside**2), *hp.pix2vec(nside, np.arange(12 * nside**2))])
    overlaps = np.einsum("ip,p,jp->ij", templates, kept, templates)
    if np.linalg.matrix_rank(overlaps) < len(overlaps):
        message = (
            f"the {np.count_nonzero(weight)} pixels that the mask leaves cannot tell a monopole from a dipole; "
            "use a wider one"
        )
        raise SpectrumError(message)
    fit = np.linalg.inv(overlaps)
    amplitudes = np.einsum("ij,jp->ip", fit, templates * kept)
    # To sums over pixels, integrals are as pixels are to 4 pi.
    takes, given = (
        analyse(maps[:, None], top, threads, accuracy=1e-6, max_iterations=10)[:, 0]
        for maps in (amplitudes / (4 * np.pi / templates.shape[1]), templates * soft)
    )
    ell, added = multipoles(top), np.zeros((lmax + 1, lmax + 1))
    low = added[: top + 1, : top + 1]
    for i, j in product(range(4), repeat=2):
        low += np.outer(power(given[i], given[j]), power(takes[i], takes[j]))
    for l in range(top + 1):  # noqa: E741
        seen = synthesise(np.where(ell == l, given, 0)[:, None], nside, threads)[:, 0] * soft
        back = analyse(seen[:, None], top, threads, accuracy=1e-4, max_iterations=3)[:, 0]
        low[l] -= 2 / (2 * l + 1) * power(back, takes).sum(axis=0)
    return added


def mode_coupling(
    weight: Values, lmax: int, polarised: bool = False, threads: int = 1, removal: bool = False
) -> ModeCoupling:
    """Find what a weight map does to spectra up to `lmax`.

    Args:
        weight: `(n_pix,)`, RING, between 0 and 1.
        lmax: highest multipole of the spectra.
        polarised: whether EE and BB are wanted beside TT.
        threads: CPU threads.
        removal: whether monopole and dipole are fitted where the weight is positive, and removed from intensity, before
            spectra are taken.

    Returns:
        The coupling.

    Raises:
        SpectrumError: the weight is 0 everywhere.
    """
    if not np.square(weight, dtype=np.float64).mean() > 0:
        message = "the mask is empty: its weight is 0 everywhere, so that there is no spectrum to be had"
        raise SpectrumError(message)
    # Two multipoles up to lmax mix through those of the mask up to 2 lmax; a map holds none beyond 3 nside - 1.
    lmax_mask = min(2 * lmax, 3 * round(np.sqrt(weight.size / 12)) - 1)
    alm = analyse(weight[None].astype(np.float64), lmax_mask, threads, accuracy=1e-6, max_iterations=10)
    kernels = coupling_kernels(power(alm)[0], lmax, polarised, threads)
    if removal:
        kernels[0] += removal_kernel(weight, lmax, threads)
    return ModeCoupling.of(weight, kernels)


@dataclass(frozen=True, kw_only=True)
class Decoupling:
    """From the spectra of masked maps to bandpowers, for one mask, beam and set of bins.

    Attributes:
        edges: `(n_bin + 1,)`.
        estimator: `(n_field, n_bin, n_field, lmax + 1)`: what makes bandpowers D_b of the C_l of masked maps.
        windows: `(n_field, n_bin, n_field, lmax + 1)`: bandpower windows: D_b = sum_l windows D_l on average.
    """

    edges: Edges
    estimator: Values
    windows: Values

    def bandpowers(self, pseudo: Values) -> Values:
        """Return D_b, `(..., n_field, n_bin)`, of the C_l of masked maps, `(..., n_field, lmax + 1)`."""
        bandpowers: Values = np.einsum("abcl,...cl->...ab", self.estimator, pseudo)
        return bandpowers

    def expected(self, d_theory: Values) -> Values:
        """Return the bandpowers, `(..., n_field, n_bin)`, to expect of a D_l, `(..., n_field, lmax + 1)`."""
        expected: Values = np.einsum("abcl,...cl->...ab", self.windows, d_theory)
        return expected


def decoupling(coupling: ModeCoupling, edges: Edges, window: Values, polarised: bool = False) -> Decoupling:
    """Invert the binned coupling matrix of a mask, with the beam and the pixel window inside it.

    Multipoles between 2 and the first bin and between the last bin and `coupling.lmax` have bins of their own, which
    are thrown away afterwards, so that their power does not end up in the first and last bin.

    Args:
        coupling: of the mask.
        edges: `(n_bin + 1,)`: bin i holds edges[i] <= l < edges[i + 1].
        window: `(lmax + 1,)` or longer: beam times pixel window of the maps (their geometric mean for two maps).
        polarised: for EE and BB (n_field 2), not for TT (n_field 1).

    Returns:
        The decoupling.

    Raises:
        SpectrumError: bins reach beyond the coupling, the window vanishes, the bins cannot be told apart, or the
            coupling holds no polarisation.
    """
    if polarised and len(coupling.kernels) < 3:
        message = "the coupling of this mask is only of intensity: EE and BB need mode_coupling(..., polarised=True)"
        raise SpectrumError(message)
    ell = np.arange(coupling.lmax + 1)
    window = usable_window(window, coupling.lmax)
    every, wanted = _with_outer_bins(edges, coupling.lmax)
    number = np.repeat(np.arange(len(every) - 1), np.diff(every))
    weight = 2.0 * ell[2:] + 1
    weight /= np.bincount(number, weights=weight)[number]
    to_d = ell[2:] * (ell[2:] + 1) / (2 * np.pi)
    blocks = [[1, 2], [2, 1]] if polarised else [[0]]
    n_field, n_all = len(blocks), len(every) - 1

    seen = np.empty((n_field, n_all, n_field, len(ell) - 2))
    for row, kernels in enumerate(blocks):
        for column, kernel in enumerate(kernels):
            mixed = coupling.matrix(kernel)[2:, 2:] * window[2:] ** 2 / to_d
            seen[row, :, column] = np.add.reduceat((weight * to_d)[:, None] * mixed, every[:-1] - 2, axis=0)
    binned = np.add.reduceat(seen, every[:-1] - 2, axis=-1).reshape(n_field * n_all, n_field * n_all)
    inverse = _inverse(binned, edges).reshape(n_field, n_all, n_field, n_all)[:, wanted]

    shape = (n_field, len(edges) - 1, n_field, len(ell))
    estimator, windows = np.zeros(shape), np.zeros(shape)
    estimator[..., 2:] = inverse[..., number] * (weight * to_d)
    windows[..., 2:] = np.einsum("abcd,cdel->abel", inverse, seen)
    return Decoupling(edges=edges, estimator=estimator, windows=windows)


def usable_window(window: Values, lmax: int) -> Values:
    """Return a window up to `lmax`, `(..., lmax + 1)`, or refuse what nothing can be divided by.

    Raises:
        SpectrumError: the window is too short, not finite, or not positive.
    """
    if window.shape[-1] <= lmax:
        message = f"the beam and pixel window ends at l = {window.shape[-1] - 1}; the spectra need l = {lmax}"
        raise SpectrumError(message)
    window = np.asarray(window[..., : lmax + 1], dtype=np.float64)
    good = np.isfinite(window[..., 2:]) & (window[..., 2:] > 0)
    if not good.all():
        first = 2 + int(np.flatnonzero(~good.reshape(-1, lmax - 1).all(axis=0))[0])
        message = f"the beam and pixel window is not positive at l = {first}, and cannot be undone there; lower lmax"
        raise SpectrumError(message)
    return window


def _with_outer_bins(edges: Edges, lmax: int) -> tuple[Edges, slice]:
    """Add bins down to l = 2 and up to `lmax`; return all edges, and which bins are the wanted ones."""
    if edges[0] < 2 or edges[-1] > lmax + 1:
        message = f"bins reach from l = {edges[0]} to {edges[-1] - 1}; the coupling matrix allows 2 to {lmax}"
        raise SpectrumError(message)
    width = int(edges[-1] - edges[-2])
    below = linear_bins(2, int(edges[0]) - 1, width)[:-1] if edges[0] > 2 else edges[:0]
    above = linear_bins(int(edges[-1]), lmax, width)[1:] if edges[-1] <= lmax else edges[:0]
    return np.concatenate([below, edges, above]), slice(len(below), len(below) + len(edges) - 1)


def _inverse(binned: Values, edges: Edges) -> Values:
    """Invert a binned coupling matrix; refuse one whose bins hold almost the same."""
    # The beam scales columns, which makes a matrix no harder to invert.
    scale = np.abs(np.diagonal(binned))
    condition = np.linalg.cond(binned / scale)
    if not condition < WORST_CONDITION:
        message = (
            f"the mask leaves too little sky to tell {len(edges) - 1} bins of l = {edges[0]} to {edges[-1] - 1} apart "
            f"(condition number {condition:.1e}, at most {WORST_CONDITION:.0e}); widen the bins or lower lmax"
        )
        raise SpectrumError(message)
    return np.linalg.inv(binned / scale) / scale[:, None]
