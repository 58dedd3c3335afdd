"""Small skies with holes, and dense algebra to hold their fillings against: independent of the transforms used."""

import healpy as hp
import numpy as np
from numpy.polynomial.legendre import legval
from scipy.interpolate import CubicSpline

from cmbml.methods.holes.signal import Signal
from cmbml.sky.beams import gaussian_window
from cmbml.sky.harmonics import random_alm


def spectra(lmax, n_comp, damping=60):
    """Spectra as steep as those of a CMB, with as much correlation; no monopole, no dipole."""
    ell = np.arange(lmax + 1.0)
    shape = np.where(ell < 2, 0, 6000 / (ell * (ell + 1) + 1) * np.exp(-((ell / damping) ** 2)))
    cl = np.zeros((n_comp, n_comp, lmax + 1))
    cl[0, 0] = shape
    if n_comp == 3:
        rising = np.minimum(1, ell / 10)
        cl[1, 1] = 0.02 * rising * shape
        cl[2, 2] = 0.05 * cl[1, 1]
        cl[0, 1] = cl[1, 0] = 0.4 * np.sqrt(cl[0, 0] * cl[1, 1])
    return cl


def signal(nside, lmax, n_comp=1, fwhm_deg=0.0, cl=None):
    window = np.stack([gaussian_window(60 * fwhm_deg, lmax, spin) for spin in (0, 2, 2)[:n_comp]])
    return Signal(spectra(lmax, n_comp) if cl is None else cl, window, nside)


def band_and_disks(nside, half_width_deg, radii_deg, seed=0):
    """False in a wavy band around the equator and in disks at random places."""
    theta, phi = hp.pix2ang(nside, np.arange(12 * nside**2))
    observed = np.abs(90 - np.degrees(theta)) >= half_width_deg * (1 + 0.3 * np.cos(3 * phi))
    rng = np.random.default_rng(seed)
    for radius in radii_deg:
        centre = rng.standard_normal(3)
        inside = hp.query_disc(nside, centre / np.linalg.norm(centre), np.radians(radius))
        observed[inside] = False
    return observed


def simulated(given, sigma, seed):
    """Return a noisy map, and the signal in it, `(n_field, n_pix)`."""
    rng = np.random.default_rng(seed)
    clean = given.to_map(random_alm(rng, given.lmax, given.n_comp))
    return clean + sigma * rng.standard_normal(clean.shape), clean


def legendre_covariance(given, pixels):
    """Return the covariance of T between pixels, summed over Legendre polynomials."""
    vectors = np.stack(hp.pix2vec(given.nside, pixels), axis=1)
    ell, theta = np.arange(given.lmax + 1), np.linspace(0, np.pi, 40 * given.lmax + 10_000)
    values = legval(np.cos(theta), (2 * ell + 1) / (4 * np.pi) * given.window[0] ** 2 * given.spectra[0, 0])
    return CubicSpline(theta, values)(np.arccos(np.clip(vectors @ vectors.T, -1, 1)))


def healpy_covariance(given):
    """Return the covariance of I, Q, U in all pixels, by healpy, mode by mode: `(n_field n_pix, n_field n_pix)`."""
    lmax, columns = given.lmax, []
    ell, m = hp.Alm.getlm(lmax)
    for place in np.flatnonzero(ell >= 2):
        for value in (1.0,) if m[place] == 0 else (np.sqrt(0.5), 1j * np.sqrt(0.5)):
            maps = []
            for component in range(3):
                alm = np.zeros((3, ell.size), complex)
                alm[component, place] = value * given.window[component, ell[place]]
                maps.append(np.ravel(hp.alm2map(alm, given.nside, lmax=lmax, pol=True)))
            columns.append((np.array(maps), given.spectra[:, :, ell[place]]))
    modes = np.concatenate([maps for maps, _ in columns])
    weighted = np.concatenate([matrix @ maps for maps, matrix in columns])
    return modes.T @ weighted


def _seen_matrix(covariance, noise, seen):
    return covariance[np.ix_(seen, seen)] + np.diag(np.broadcast_to(noise, covariance.shape[:1])[seen])


def wiener_mean(covariance, noise, seen, data):
    """Return the mean of a Gaussian signal everywhere, given signal plus noise where it is seen."""
    return covariance[:, seen] @ np.linalg.solve(_seen_matrix(covariance, noise, seen), data[seen])


def posterior_covariance(covariance, noise, seen):
    """Return the covariance of a Gaussian signal everywhere, given signal plus noise where it is seen."""
    return covariance - covariance[:, seen] @ np.linalg.solve(_seen_matrix(covariance, noise, seen), covariance[seen])
