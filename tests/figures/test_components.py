import healpy as hp
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import Circle

from cmbml.figures.components import (
    CIRCLED_FWHM,
    beams_figure,
    brightest_place,
    component_spectra_figure,
    components_figure,
    patch_pixels,
)
from cmbml.figures.results import FigureError

NSIDE = 64
N_PIX = 12 * NSIDE**2
RNG = np.random.default_rng(0)
CHANNELS = {"30": 28.4, "44": 44.1, "70": 70.4, "100": 100.0, "143": 142.9, "217": 221.9}
BEAMS = dict(zip(CHANNELS, (120.0, 100.0, 90.0, 80.0, 70.0, 60.0), strict=True))


def source(fwhm_arcmin, place=(99.0, 33.0)):
    distance = hp.rotator.angdist(place, hp.pix2ang(NSIDE, np.arange(N_PIX), lonlat=True), lonlat=True)
    return 500 * np.exp(-0.5 * (distance / np.radians(fwhm_arcmin / 60 / 2.3548)) ** 2)


@pytest.mark.parametrize("centre", [(0.3, 0.2), (99.0, 33.0), (250.0, -80.0)])
def test_a_patch_is_healpy_s_gnomonic_projection(centre):
    width, size = 61, 20.0
    reso = 60 * np.degrees(2 * np.tan(np.radians(size / 2)) / width)
    projection = hp.projector.GnomonicProj(rot=(*centre, 0), xsize=width, reso=reso)
    expected = projection.projmap(np.arange(N_PIX), lambda x, y, z: hp.vec2pix(NSIDE, x, y, z))[::-1]
    found = patch_pixels(NSIDE, centre, size, width)
    # healpy puts its first and last point at the edges, half a point from where ours are
    near = hp.rotator.angdist(hp.pix2ang(NSIDE, found.ravel()), hp.pix2ang(NSIDE, expected.astype(int).ravel()))
    assert near.max() < 2 * hp.max_pixrad(NSIDE)
    assert found[width // 2, width // 2] == hp.ang2pix(NSIDE, *centre, lonlat=True)


def test_the_brightest_place_avoids_the_plane():
    values = source(60) + 10 * source(60, (10.0, 3.0))
    lon, lat = brightest_place(values)
    assert (lon, lat) == pytest.approx((99.0, 33.0), abs=1.0)


def test_every_channel_shows_the_source_within_a_circle_as_wide_as_its_beam():
    figure = beams_figure({name: source(fwhm) for name, fwhm in BEAMS.items()}, CHANNELS, BEAMS, (99.0, 33.0))
    maps = [axes for axes in figure.axes if axes.get_title()]
    assert [axes.get_title() for axes in maps][:2] == ["30 (28.4 GHz), 120′", "44 (44.1 GHz), 100′"]
    radii = [patch.radius for axes in maps for patch in axes.patches if isinstance(patch, Circle)]
    assert radii == pytest.approx([CIRCLED_FWHM * fwhm / 60 for fwhm in BEAMS.values()])
    for axes in maps:
        row, column = np.unravel_index(axes.images[0].get_array().argmax(), (400, 400))
        assert abs(row - 200) < 40
        assert abs(column - 200) < 40
    FigureCanvasAgg(figure).draw()


def test_components_have_scales_of_their_own():
    parts = {"CMB": RNG.normal(0, 100, N_PIX), "dust": RNG.exponential(3000, N_PIX), "none": np.zeros(N_PIX)}
    figure = components_figure(parts, (20.0, 16.0), title="143 GHz")
    norms = {axes.get_title(): axes.images[0].norm for axes in figure.axes if axes.get_title()}
    assert norms["CMB"].vmin == -norms["CMB"].vmax
    assert 0 <= norms["dust"].vmin < norms["dust"].vmax
    assert "143 GHz" in figure.texts[0].get_text()
    FigureCanvasAgg(figure).draw()


def test_spectra_are_drawn_as_d_ell():
    ell = np.arange(100)
    flat = np.where(ell > 1, 2 * np.pi / np.maximum(ell * (ell + 1), 1), 0)
    (line,) = component_spectra_figure({"CMB": flat}).axes[0].lines
    assert np.allclose(line.get_ydata(), 1)


@pytest.mark.parametrize("draw", [lambda: components_figure({}, (0.0, 0.0)), lambda: component_spectra_figure({})])
def test_nothing_is_refused(draw):
    with pytest.raises(FigureError, match="nothing to draw"):
        draw()


def test_what_is_never_negative_gets_colours_that_only_rise():
    """Lightness, not hue, tells how much there is; what has both signs keeps colours that part at zero."""
    rng = np.random.default_rng(3)
    parts = {"dust": 50 + 10 * rng.random(N_PIX), "cmb": rng.normal(0, 80, N_PIX)}
    images = [axes.images[0] for axes in components_figure(parts, (99.0, 33.0)).axes if axes.images]
    shades = [image.get_cmap()(np.linspace(0, 1, 64))[:, :3] @ [0.2126, 0.7152, 0.0722] for image in images]
    assert (np.diff(shades[0]) > 0).all()
    assert not (np.diff(shades[1]) > 0).all()
    assert images[1].norm.vmin == -images[1].norm.vmax
