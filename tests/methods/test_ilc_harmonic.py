"""Harmonic weights are those of theory."""

import numpy as np

from cmbml.methods.ilc.harmonic import Bin, HarmonicIlc, harmonic_weights, spectra, weighted
from cmbml.sky.case import ObservationSpec
from cmbml.sky.harmonics import multipoles, random_alm
from cmbml.sky.instrument import Channel
from cmbml.sky.maps import MapSpec

NSIDE, LMAX = 32, 64
GAINS = np.array([1.0, 2.0, 5.0, 20.0])
NOISE = np.array([0.3, 0.2, 0.5, 2.0])
MIXING = np.ones((4, 1))


def observed(seed: int = 0) -> dict[str, np.ndarray]:
    """Draw coefficients of each part of a sky, `(n_channel, n_alm)`."""
    rng = np.random.default_rng(seed)
    return {
        "cmb": np.repeat(random_alm(rng, LMAX), 4, axis=0),
        "foreground": GAINS[:, None] * 10 * random_alm(rng, LMAX),
        "noise": NOISE[:, None] * random_alm(rng, LMAX, 4),
    }


def uncorrelated(n_field: int, bins: tuple[Bin, ...]) -> np.ndarray:
    """Draw fields whose spectra, in each bin, are those of theory to rounding: unit power, no chance correlation."""
    alm = random_alm(np.random.default_rng(9), LMAX, n_field)
    ell = multipoles(LMAX)
    for found in bins:
        inside = (ell >= found.first) & (ell <= found.last)
        modes = (2.0 * np.arange(LMAX + 1) + 1)[found.part]
        covariance = (spectra(alm)[:, :, found.part] * modes).sum(axis=2) / modes.sum()
        alm[:, inside] = np.linalg.solve(np.linalg.cholesky(covariance), alm[:, inside])
    return alm


def test_harmonic_weights_are_those_of_theory() -> None:
    """CMB, a foreground and white noise in each channel: w = C^-1 1 / (1^T C^-1 1), by Woodbury."""
    bins = (Bin(0, 20, (0, 1, 2, 3)), Bin(21, 40, (0, 1, 2, 3)), Bin(41, LMAX, (1, 2, 3)))
    fields = uncorrelated(6, bins)
    alm = 3 * fields[0] + 30 * GAINS[:, None] * fields[1] + NOISE[:, None] * fields[2:]
    found = harmonic_weights(spectra(alm), bins, MIXING)
    for each in bins:
        rows = list(each.channels)
        plain, g = 1 / NOISE[rows] ** 2, GAINS[rows]
        vector = plain - plain * g * (g @ plain) / (1 / 900 + g @ (plain * g))
        expected = vector / vector.sum()
        np.testing.assert_allclose(
            found[rows, each.part], expected[:, None] * np.ones(each.last - each.first + 1), atol=1e-8
        )
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-10)
    assert not found[0, 41:].any()


def test_harmonic_ilc_passes_the_cmb_and_nulls() -> None:
    rng = np.random.default_rng(0)
    parts = observed()
    mixing = np.stack([np.ones(4), GAINS / 20], axis=1)
    bins = (Bin(0, 30, (0, 1, 2, 3)), Bin(31, LMAX, (0, 1, 2, 3)))
    weights = harmonic_weights(spectra(sum(parts.values())), bins, mixing)
    np.testing.assert_allclose(weighted(parts["cmb"], weights), parts["cmb"][0], atol=1e-10)
    foreground = np.outer(mixing[:, 1], random_alm(rng, LMAX)[0])
    assert np.abs(weighted(foreground, weights)).max() < 1e-8 * np.abs(foreground).max()


def test_more_bins_than_the_tolerance_allows_are_joined() -> None:
    names = ("30", "70", "100", "143", "217", "353")
    truth = MapSpec(nside=NSIDE, lmax=LMAX)
    channels = {name: Channel(freq_ghz=float(name), fwhm_arcmin=90.0, depth_uk_arcmin=100.0) for name in names}
    spec = ObservationSpec(dict.fromkeys(names, truth.with_(beam="gaussian", fwhm_arcmin=90.0)), truth, channels)
    common = {"name": "harmonic", "channels": names, "fwhm_arcmin": 180.0, "lmax_per_nside": 2.0}
    plain = HarmonicIlc(bin_width=20, **common).plan(spec, 0).bins
    assert [(each.first, each.last) for each in plain] == [(0, 19), (20, 39), (40, 64)]
    joined = HarmonicIlc(bin_width=2, bias_tolerance=0.005, **common).plan(spec, 0).bins
    assert joined[0].first == 0
    assert joined[-1].last == LMAX
    for each in joined:
        assert 5 / ((each.last + 1) ** 2 - each.first**2) <= 0.005
