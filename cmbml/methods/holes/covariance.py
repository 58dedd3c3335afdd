"""Covariances of a Gaussian signal between pixels, from its spectra."""

import ducc0
import healpy as hp
import numpy as np
from numpy.typing import NDArray

from cmbml.methods.holes.signal import Float, Signal

STEPS_PER_LMAX = 512
"""Points of the tables over a chord of length 2, per multipole: interpolated linearly between them, covariances are off
by less than 1e-6 of the variance, which must stay below the variance of the noise."""


class PixelCovariance:
    """Covariances between the pixels of a map, as a function of their distance.

    Fields of two points depend on their distance alone if Q and U refer to the great circle through both
    (Kamionkowski, Kosowsky & Stebbins 1997, astro-ph/9611125).
    """

    def __init__(self, signal: Signal) -> None:
        """Tabulate the covariances of a signal seen through its beam."""
        self.n_field = signal.n_comp
        self._axes = _pixel_axes(signal.nside, self.n_field)
        n_step = STEPS_PER_LMAX * max(signal.lmax, 16)
        self._per_chord = n_step / 2
        theta = 2 * np.arcsin(np.linspace(0, 1, n_step + 1))
        matrices = _at_distances(signal, theta)
        pairs = [(0, 0), (0, 1), (1, 1), (2, 2)] if self.n_field == 3 else [(0, 0)]
        self._tables = np.stack([matrices[i, j] for i, j in pairs], axis=-1)

    def between(self, first: NDArray[np.int64], second: NDArray[np.int64]) -> Float:
        """Return covariances in the square of the map's unit, `(..., a, n_field, b, n_field)`.

        Args:
            first: pixels, RING, `(..., a)`.
            second: pixels, `(..., b)`.
        """
        normal, other = self._axes[0][first], self._axes[0][second]
        swapped = np.swapaxes(other, -1, -2)
        chord = np.sqrt(np.maximum(2 - 2 * np.matmul(normal, swapped), 0)) * self._per_chord
        index = np.minimum(chord.astype(np.int64), len(self._tables) - 2)
        part = (chord - index)[..., None]
        values = self._tables[index] * (1 - part) + self._tables[index + 1] * part
        if self.n_field == 1:
            return np.expand_dims(values, -3)
        # cos and sin of twice the angle from a pixel's southward axis to the other pixel, towards its eastward axis.
        c1, s1 = _double_angle(*(np.matmul(axis[first], swapped) for axis in self._axes[1:]))
        c2, s2 = _double_angle(*(np.matmul(normal, np.swapaxes(axis[second], -1, -2)) for axis in self._axes[1:]))
        tt, tq, qq, uu = np.moveaxis(values, -1, 0)
        rows = [
            [tt, tq * c2, tq * s2],
            [tq * c1, qq * c1 * c2 + uu * s1 * s2, qq * c1 * s2 - uu * s1 * c2],
            [tq * s1, qq * s1 * c2 - uu * c1 * s2, qq * s1 * s2 + uu * c1 * c2],
        ]
        return np.stack([np.stack(row, axis=-1) for row in rows], axis=-3)


def _pixel_axes(nside: int, n_field: int) -> list[Float]:
    """Return unit vectors of all pixels, `(n_pix, 3)`: outwards, and for I, Q, U southwards and eastwards, too."""
    pixels = np.arange(12 * nside**2)
    axes = [np.stack(hp.pix2vec(nside, pixels), axis=-1)]
    if n_field == 3:
        theta, phi = hp.pix2ang(nside, pixels)
        axes.append(np.stack([np.cos(theta) * np.cos(phi), np.cos(theta) * np.sin(phi), -np.sin(theta)], axis=-1))
        axes.append(np.stack([-np.sin(phi), np.cos(phi), np.zeros_like(phi)], axis=-1))
    return axes


def _double_angle(south: Float, east: Float) -> tuple[Float, Float]:
    square = south**2 + east**2
    # A pixel and itself, or its antipode: any great circle passes through both.
    nowhere = square < 1e-28
    square = np.where(nowhere, 1.0, square)
    return np.where(nowhere, 1.0, (south**2 - east**2) / square), np.where(nowhere, 0.0, 2 * south * east / square)


def _at_distances(signal: Signal, theta: Float) -> Float:
    """Return the covariance of the fields at the north pole with those at colatitudes on its first meridian.

    A field of unit strength at the pole is analysed, multiplied by the spectra and synthesised.

    Returns:
        `(n_field, n_field, n_theta)`, that of the pole second.
    """
    lmax, n = signal.lmax, signal.n_comp
    # Only m = 0 (I) and m = 2 (Q, U) are there at a pole; a ring of one pixel is the value at its longitude.
    shape = {"lmax": lmax, "mmax": min(2, lmax), "nthreads": signal.threads}
    order = np.concatenate([np.arange(m, lmax + 1) for m in range(shape["mmax"] + 1)])
    spectra = signal.beamed_spectra

    def rings(angles: Float) -> dict[str, NDArray[np.generic]]:
        number = len(angles)
        starts = np.arange(number, dtype=np.uint64)
        return {"theta": angles, "nphi": np.ones(number, np.uint64), "phi0": np.zeros(number), "ringstart": starts}

    fields = ((0, slice(0, 1)), (2, slice(1, 3)))[: 1 if n == 1 else 2]
    out = np.zeros((n, n, len(theta)))
    for source in range(n):
        point = np.zeros((n, 1))
        point[source] = 1
        alm = np.concatenate(
            [ducc0.sht.adjoint_synthesis(map=point[part], spin=s, **shape, **rings(np.zeros(1))) for s, part in fields]
        )
        alm = np.einsum("ijk,jk->ik", spectra[:, :, order], alm)
        for spin, part in fields:
            out[part, source] = ducc0.sht.synthesis(alm=alm[part], spin=spin, **shape, **rings(theta))
    return out
