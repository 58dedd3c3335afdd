"""The spectrum as a layer of a network: the multipoles of the sky, and gradients that are true."""

import math

import numpy as np
import pytest
import torch

from cmbml.methods.training.spectrum import SpectrumLayer
from cmbml.sky.flat import flat_spectra, gaussian_patches, ring_edges
from cmbml.sky.maps import MapError

SHAPE, PIXEL = (24, 32), (0.01, 0.012)


def test_it_is_the_spectrum_that_judges_measure() -> None:
    images = np.random.default_rng(1).standard_normal((3, 2, *SHAPE)) + 5.0
    layer = SpectrumLayer(SHAPE, PIXEL, 1.5)
    wanted = flat_spectra(images, ring_edges(SHAPE, PIXEL, 1.5), PIXEL)
    np.testing.assert_allclose(layer(torch.from_numpy(images)).numpy(), wanted.d_ell, rtol=1e-10)
    np.testing.assert_array_equal(layer.l_mean, wanted.l_mean)


def test_the_axis_of_multipoles_is_the_skys() -> None:
    """A patch of 20 degrees has its longest waves at l = 18, not at 9; a wave of l = 180 peaks in that ring."""
    n, pixel = 64, math.radians(20 / 64)
    layer = SpectrumLayer((n, n), (pixel, pixel))
    assert layer.l_edges[0] == pytest.approx(9) and layer.l_edges[-1] == pytest.approx(18 * 32.5)
    assert len(layer.l_mean) == 32
    wave = np.broadcast_to(np.cos(180 * pixel * np.arange(n)), (n, n)).copy()
    peak = int(layer(torch.from_numpy(wave)).argmax())
    assert layer.l_edges[peak] < 180 < layer.l_edges[peak + 1]


def test_a_field_of_known_spectrum_has_it() -> None:
    """White in C_l: D_l = l (l + 1) C / 2 pi in every ring, to the scatter of the modes of all patches."""
    c_ell = np.full(1000, 1e-3)
    pixel = (math.radians(0.25),) * 2
    images = gaussian_patches(c_ell, 60, (32, 32), pixel, np.random.default_rng(3))
    layer = SpectrumLayer((32, 32), pixel, 3.0)
    found = layer(torch.from_numpy(images)).mean(dim=(0, 1)).numpy()
    inside = layer.l_edges[1:] < 700
    wanted = layer.l_mean * (layer.l_mean + 1) * 1e-3 / (2 * np.pi)
    # 60 patches, and at least 18 modes in a ring, which a Hann window halves twice: 4 sigma of 2 / sqrt(60 * 18 / 2).
    np.testing.assert_allclose(found[inside], wanted[inside], rtol=4 * math.sqrt(2 / (60 * 18 / 4)))


def test_gradient_is_that_of_finite_differences() -> None:
    layer = SpectrumLayer((8, 10), (0.02, 0.02))
    image = torch.randn(2, 8, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    weights = torch.linspace(0.5, 2, len(layer.l_mean), dtype=torch.float64)

    def loss(images: torch.Tensor) -> torch.Tensor:
        return (layer(images) * weights).square().sum()

    (gradient,) = torch.autograd.grad(loss(image), image)
    step = 1e-5
    for place in ((0, 0, 0), (0, 3, 4), (1, 7, 9), (1, 5, 0)):
        moved = torch.zeros_like(image)
        moved[place] = step
        with torch.no_grad():
            slope = (loss(image + moved) - loss(image - moved)) / (2 * step)
        # Central differences err by step^2 times the third derivative, of order one, and by rounding / step.
        assert float(gradient[place]) == pytest.approx(float(slope), rel=1e-6, abs=1e-8 * float(gradient.abs().max()))
    assert torch.autograd.gradcheck(layer, (image,))


def test_gradient_of_a_flat_image_is_a_number() -> None:
    image = torch.ones(1, 8, 8, requires_grad=True)
    SpectrumLayer((8, 8), (0.01, 0.01))(image).sum().backward()
    assert torch.isfinite(image.grad).all()


def test_rings_wider_than_a_patch_are_refused() -> None:
    with pytest.raises(
        MapError, match="rings of 9 fundamentals are wider than all that patches of 16 x 16 pixels hold, 8"
    ):
        ring_edges((16, 16), (0.01, 0.01), 9)
