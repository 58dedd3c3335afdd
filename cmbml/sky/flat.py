"""Power spectra and random fields on flat patches.

Multipoles are l = 2 pi |k|, k the spatial frequency in cycles per radian: what an image of small extent shares with the
sphere (Hivon et al. 2002, ApJ 567, 2, in the flat limit).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmbml.sky.maps import MapError

Float = NDArray[np.float64]


@dataclass(frozen=True)
class FlatSpectrum:
    """Spectra of patches in bins.

    Attributes:
        l_edges: `(n_bin + 1,)`.
        l_mean: `(n_bin,)`, mean multipole of the modes in each bin.
        n_modes: `(n_bin,)`, how many Fourier modes of a real image there are: half of the plane.
        c_ell: `(..., n_bin)`, in the square of the images' unit, sr.
    """

    l_edges: Float
    l_mean: Float
    n_modes: NDArray[np.int64]
    c_ell: Float

    @property
    def d_ell(self) -> Float:
        """Return l(l+1) C_l / 2 pi, `(..., n_bin)`."""
        return self.l_mean * (self.l_mean + 1) / (2 * np.pi) * self.c_ell


def multipoles(shape: tuple[int, int], pixel_rad: tuple[float, float]) -> Float:
    """Return l of the modes of `numpy.fft.rfft2`, `(height, width // 2 + 1)`.

    Args:
        shape: height and width of the images.
        pixel_rad: sides of a pixel, rad: of rows and of columns.
    """
    rows = np.fft.fftfreq(shape[0], pixel_rad[0])
    columns = np.fft.rfftfreq(shape[1], pixel_rad[1])
    found: Float = 2 * np.pi * np.hypot(rows[:, None], columns)
    return found


def flat_spectra(
    first: NDArray[Any],
    l_edges: Float,
    pixel_rad: tuple[float, float],
    second: NDArray[Any] | None = None,
    window: Float | None = None,
    remove_mean: bool = True,
) -> FlatSpectrum:
    """Measure auto- or cross-spectra of images.

    Images are multiplied by a window, and the loss of power is made good by the mean of its square, as if a bin were
    wider than the window's own spectrum. By default the window is a Hann window: without one, the jump from edge to
    edge spreads the power of large scales over all others, which are weaker by orders of magnitude.

    Args:
        first: `(..., height, width)`.
        l_edges: `(n_bin + 1,)`, rising; a bin holds l from its lower edge to below its upper one.
        pixel_rad: sides of a pixel, rad: of rows and of columns.
        second: images of the same shape, for cross-spectra; the first again where None.
        window: `(height, width)`.
        remove_mean: whether the windowed mean of each image is subtracted first.

    Raises:
        MapError: a bin holds no mode; the message says which, and how wide bins must be.
    """
    shape = (first.shape[-2], first.shape[-1])
    window = hann(shape) if window is None else window
    bins = ModeBins.of(shape, pixel_rad, l_edges)

    def modes(images: NDArray[Any]) -> NDArray[np.complex128]:
        wide = images.astype(np.float64)
        if remove_mean:
            wide = wide - (wide * window).sum(axis=(-2, -1), keepdims=True) / window.sum()
        found: NDArray[np.complex128] = np.fft.rfft2(wide * window)
        return found

    one = modes(first)
    other = one if second is None else modes(second)
    scale = pixel_rad[0] * pixel_rad[1] / (shape[0] * shape[1] * np.mean(window**2))
    return bins.spectrum((one * other.conj()).real * scale)


def coupled_spectrum(
    c_ell: NDArray[Any],
    l_edges: Float,
    shape: tuple[int, int],
    pixel_rad: tuple[float, float],
    window: Float | None = None,
) -> FlatSpectrum:
    """Return what `flat_spectra` measures of fields with a given spectrum, on average: its window couples multipoles.

    The correlation function of a windowed field is that of the field times that of the window.

    Args:
        c_ell: `(lmax + 1,)`; nothing above lmax.
        l_edges: `(n_bin + 1,)`.
        shape: height and width of the images.
        pixel_rad: sides of a pixel, rad.
        window: `(height, width)`; a Hann window where None.
    """
    window = hann(shape) if window is None else window
    large = (2 * shape[0], 2 * shape[1])
    power = np.interp(multipoles(large, pixel_rad), np.arange(len(c_ell)), c_ell, right=0)
    field = np.fft.irfft2(power, s=large)
    own = np.fft.irfft2(np.abs(np.fft.rfft2(window, s=large)) ** 2, s=large) / (window**2).sum()
    # Every second mode of images that are twice as large is one of the image itself.
    windowed = np.fft.rfft2(field * own)[::2, ::2].real
    return ModeBins.of(shape, pixel_rad, l_edges).spectrum(windowed)


def hann(shape: tuple[int, int]) -> Float:
    """Return the Hann window, `(height, width)`, above zero in every pixel."""
    found: Float = np.outer(*(np.hanning(n + 2)[1:-1] for n in shape))
    return found


def ring_edges(shape: tuple[int, int], pixel_rad: tuple[float, float], width: float = 1.0) -> Float:
    """Return the edges of rings of modes from the longest wave that fits into a patch to its Nyquist frequency.

    Args:
        shape: height and width of the images.
        pixel_rad: sides of a pixel, rad: of rows and of columns.
        width: of a ring, in fundamentals, 2 pi over the patch's shorter side.

    Returns:
        `(n_ring + 1,)`: the first ring begins half a fundamental below the fundamental; the last one ends at or below
        half a fundamental above the Nyquist frequency of the larger pixel side.

    Raises:
        MapError: the patch is narrower than such a ring.
    """
    sides = [n * pixel for n, pixel in zip(shape, pixel_rad, strict=True)]
    fundamental, nyquist = 2 * np.pi / min(sides), np.pi / max(pixel_rad)
    number = int((nyquist / fundamental + 1e-9) // width)
    if number < 1:
        message = (
            f"rings of {width:g} fundamentals are wider than all that patches of {shape[0]} x {shape[1]} pixels hold, "
            f"{nyquist / fundamental:.0f}; take narrower ones"
        )
        raise MapError(message)
    edges: Float = fundamental * (0.5 + width * np.arange(number + 1, dtype=np.float64))
    return edges


@dataclass(frozen=True)
class ModeBins:
    """Which modes of `rfft2` are in which bin.

    Attributes:
        l_edges: `(n_bin + 1,)`.
        inside: `(height, width // 2 + 1)`, the modes that are in any bin.
        number: `(n_inside,)`, the bin of each of these.
        twice: `(n_inside,)`, how often a real image has each: 2, or 1 for those that are their own mirror image.
        count: `(n_bin,)`, sums of that.
        l_mean: `(n_bin,)`, mean multipole of the modes.
    """

    l_edges: Float
    inside: NDArray[np.bool_]
    number: NDArray[np.int64]
    twice: Float
    count: Float
    l_mean: Float

    @classmethod
    def of(cls, shape: tuple[int, int], pixel_rad: tuple[float, float], l_edges: Float) -> "ModeBins":
        """Sort the modes of images of a shape.

        Raises:
            MapError: a bin holds no mode.
        """
        ell, n_bin = multipoles(shape, pixel_rad), len(l_edges) - 1
        # A real image has every mode twice but those that are their own mirror image.
        twice = np.full(ell.shape, 2.0)
        twice[:, 0] = 1
        if shape[1] % 2 == 0:
            twice[:, -1] = 1
        number = np.digitize(ell, l_edges) - 1
        inside = (number >= 0) & (number < n_bin) & (ell > 0)
        count = np.bincount(number[inside], twice[inside], n_bin).astype(np.float64)
        if (count == 0).any():
            bare = int(np.argmin(count))
            fundamental = 2 * np.pi / max(n * pixel for n, pixel in zip(shape, pixel_rad, strict=True))
            message = (
                f"the bin from l = {l_edges[bare]:g} to {l_edges[bare + 1]:g} holds no mode of such patches, whose "
                f"modes are {fundamental:.0f} apart; take wider bins"
            )
            raise MapError(message)
        l_mean = np.bincount(number[inside], (twice * ell)[inside], n_bin) / count
        return cls(np.asarray(l_edges, float), inside, number[inside].astype(np.int64), twice[inside], count, l_mean)

    def spectrum(self, power: Float) -> FlatSpectrum:
        """Average the power of modes, `(..., height, width // 2 + 1)`, over the bins."""
        flat = (power[..., self.inside] * self.twice).reshape(-1, len(self.number))
        binned = np.stack([np.bincount(self.number, row, len(self.count)) for row in flat]) / self.count
        n_modes = (self.count // 2).astype(np.int64)
        return FlatSpectrum(self.l_edges, self.l_mean, n_modes, binned.reshape(*power.shape[:-2], -1))


def binning(shape: tuple[int, int], pixel_rad: tuple[float, float], l_edges: Float) -> Float:
    """Return by which weights the power of the modes of `numpy.fft.rfft2` is averaged over bins.

    Args:
        shape: height and width of the images.
        pixel_rad: sides of a pixel, rad.
        l_edges: `(n_bin + 1,)`.

    Returns:
        `(n_bin, height, width // 2 + 1)`; those of a bin add up to 1.
    """
    bins = ModeBins.of(shape, pixel_rad, l_edges)
    weights = np.zeros((len(bins.count), *bins.inside.shape))
    rows, columns = np.nonzero(bins.inside)
    weights[bins.number, rows, columns] = bins.twice / bins.count[bins.number]
    return weights


def gaussian_patches(
    c_ell: NDArray[Any],
    number: int,
    shape: tuple[int, int],
    pixel_rad: tuple[float, float],
    rng: np.random.Generator,
    margin: float = 2.0,
) -> Float:
    """Draw Gaussian random fields on flat patches.

    Args:
        c_ell: `(lmax + 1,)`, or `(n_field, n_field, lmax + 1)` of correlated fields; nothing above lmax.
        number: of patches.
        shape: height and width.
        pixel_rad: sides of a pixel, rad.
        rng: what draws.
        margin: how much larger the periodic images are that patches are cut from; at 1 the patches are periodic.

    Returns:
        `(number, n_field, height, width)`.
    """
    spectra = np.atleast_3d(np.asarray(c_ell, float).reshape(1, 1, -1) if np.ndim(c_ell) == 1 else c_ell)
    large = tuple(int(np.ceil(margin * n)) for n in shape)
    ell = multipoles((large[0], large[1]), pixel_rad)
    table = np.arange(spectra.shape[-1])
    matrix = np.stack(
        [[np.interp(ell, table, spectrum, left=0, right=0) for spectrum in row] for row in spectra]
    ).transpose(2, 3, 0, 1)
    # White noise of unit variance has this power in each mode of numpy's transform.
    matrix /= pixel_rad[0] * pixel_rad[1]
    if len(spectra) == 1:
        root = np.sqrt(np.clip(matrix, 0, None))
    else:
        values, vectors = np.linalg.eigh(matrix)
        root = vectors * np.sqrt(np.clip(values, 0, None))[..., None, :]
    out = np.empty((number, len(spectra), *shape))
    for patch in out:
        white = np.fft.rfft2(rng.standard_normal((len(spectra), *large)))
        modes = np.einsum("hwij,jhw->ihw", root, white)
        patch[:] = np.fft.irfft2(modes, s=large)[:, : shape[0], : shape[1]]
    return out


def convolved(images: NDArray[Any], window: NDArray[Any], pixel_rad: tuple[float, float]) -> Float:
    """Multiply images by a function of l in Fourier space, as if they were periodic.

    Args:
        images: `(..., height, width)`.
        window: `(lmax + 1,)`; its last value holds beyond.
        pixel_rad: sides of a pixel, rad.
    """
    shape = (images.shape[-2], images.shape[-1])
    factor = np.interp(multipoles(shape, pixel_rad), np.arange(len(window)), window)
    found: Float = np.fft.irfft2(np.fft.rfft2(images) * factor, s=shape)
    return found
