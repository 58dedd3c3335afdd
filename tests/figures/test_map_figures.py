import healpy as hp
import numpy as np
import pytest
from matplotlib.colors import AsinhNorm, LogNorm

from cmbml.figures.maps import Panel, maps_figure, mollweide, mollweide_pixels, observation_scale
from cmbml.figures.style import (
    amplitude_scale,
    bright_scale,
    frequency_colours,
    mask_scale,
    planck_colours,
    symmetric_scale,
)

NSIDE, WIDTH = 64, 400
# Half the diagonal of a pixel of the map and half a point of the raster, degrees.
TOLERANCE_DEG = 1.0


def texts(figure):
    every = [text.get_text() for text in figure.texts]
    for axes in figure.axes:
        every += [axes.get_title(), *(text.get_text() for text in axes.texts)]
        every += [label.get_text() for label in axes.get_xticklabels()]
    return [text for text in every if text]


@pytest.fixture(scope="module")
def raster_lonlat():
    pixels = mollweide_pixels(NSIDE, WIDTH)
    lon, lat = hp.pix2ang(NSIDE, np.maximum(pixels, 0), lonlat=True)
    return pixels, (lon + 180) % 360 - 180, lat


@pytest.mark.parametrize(("lon", "lat"), [(0, 0), (90, 0), (-90, 0), (45, 30), (120, -60), (-150, 45)])
def test_points_stand_where_the_projection_has_them(raster_lonlat, lon, lat):
    pixels, lons, lats = raster_lonlat
    # Newton's method for 2 t + sin 2 t = pi sin(latitude), independent of the code's inverse.
    t = np.deg2rad(lat)
    for _ in range(20):
        t -= (2 * t + np.sin(2 * t) - np.pi * np.sin(np.deg2rad(lat))) / (2 + 2 * np.cos(2 * t))
    x, y = -lon / 180 * np.cos(t), np.sin(t)
    row, column = int((1 - y) / 2 * (WIDTH // 2)), int((x + 1) / 2 * WIDTH)
    assert pixels[row, column] >= 0
    assert lats[row, column] == pytest.approx(lat, abs=TOLERANCE_DEG)
    assert lons[row, column] == pytest.approx(lon, abs=TOLERANCE_DEG / np.cos(np.deg2rad(lat)))


def test_north_is_up_and_longitude_grows_to_the_left(raster_lonlat):
    pixels, lons, lats = raster_lonlat
    middle = WIDTH // 4
    assert (np.diff(lons[middle, 2:-2]) <= 0).all()
    assert lons[middle, 4] > 170 > -170 > lons[middle, -5]
    assert lats[0][pixels[0] >= 0].min() > 80
    assert lats[-1][pixels[-1] >= 0].max() < -80


def test_outside_the_sky_is_blank():
    raster = mollweide(np.ones(12 * NSIDE**2), WIDTH)
    x = 2 * (np.arange(WIDTH) + 0.5) / WIDTH - 1
    y = 2 * (np.arange(WIDTH // 2) + 0.5) / (WIDTH // 2) - 1
    np.testing.assert_array_equal(raster.mask, np.hypot(*np.meshgrid(x, y)) > 1)


def test_equal_areas():
    """The mean over the raster is the mean over the sphere, for any map: here one of no symmetry."""
    vectors = np.array(hp.pix2vec(NSIDE, np.arange(12 * NSIDE**2)))
    values = vectors[0] + 2 * vectors[1] ** 2 + 3 * vectors[2] ** 3 + vectors[2] ** 2
    # Pixels against raster points: an error of the order of the edge's share, 1 / width.
    assert mollweide(values, WIDTH).mean() == pytest.approx(1.0, abs=5e-3)


@pytest.mark.parametrize("number", [2, 5, 7, 13, 19, 23])
def test_panels_do_not_overlap_and_stay_inside(number):
    rng = np.random.default_rng(number)
    panels = [
        Panel(title=f"channel {i}", values=rng.normal(size=192), scale=symmetric_scale(300)) for i in range(number)
    ]
    figure = maps_figure("title", panels)
    boxes = [axes.get_position() for axes in figure.axes]
    assert len(boxes) == 2 * number
    assert all(box.x0 >= 0 and box.y0 >= 0 and box.x1 <= 1 and box.y1 <= 1 for box in boxes)
    for i, one in enumerate(boxes):
        for other in boxes[i + 1 :]:
            assert one.x1 <= other.x0 or other.x1 <= one.x0 or one.y1 <= other.y0 or other.y1 <= one.y0
    widths = [axes.get_position().width for axes in figure.axes[::2]]
    assert widths[0] > 1.9 * widths[1]
    assert len(set(np.round(widths[1:], 9))) == 1


def test_titles_units_and_limits_are_written():
    values = np.linspace(0, 1, 192)
    panels = [
        Panel(title="CMB", values=values, scale=symmetric_scale(300)),
        Panel(title="30 (28.4 GHz)", values=values, scale=symmetric_scale(250)),
        Panel(title="mask", values=values, scale=mask_scale(), unit=""),
    ]
    found = texts(maps_figure("the whole", panels, outline=values > 0.5))
    assert {"the whole", "CMB", "30 (28.4 GHz)", "mask", "−300", "300", "−250", "250"} <= set(found)
    assert found.count(r"$\mu\mathrm{K_{CMB}}$") == 2


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kept", [0.0, 1.0])
def test_a_mask_without_an_edge_draws_none(kept):
    panels = [Panel(title="CMB", values=np.zeros(192), scale=symmetric_scale(300))]
    figure = maps_figure("title", panels, outline=np.full(192, kept))
    assert [len(axes.collections) for axes in figure.axes[:1]] == [0]


def test_scales_follow_the_brightness():
    rng = np.random.default_rng(1)
    cmb = rng.normal(0, 100, 12 * 32**2)
    assert observation_scale(cmb, 300.0).norm.vmax == 300
    bright = observation_scale(np.abs(cmb) * 1e4, 300.0)
    assert isinstance(bright.norm, AsinhNorm)
    assert bright.norm(0.0) == pytest.approx(0.3)
    assert bright.norm.vmax >= np.percentile(np.abs(cmb) * 1e4, 99)
    assert all(bright.norm.vmin < tick <= bright.norm.vmax for tick in bright.ticks)


@pytest.mark.parametrize("level", [0.0, 1e-3, 1.0, 1e3, 1e9])
def test_scales_of_flat_maps_are_usable(level):
    values = np.full(192, level)
    for scale in (amplitude_scale(values), bright_scale(values), observation_scale(values, 300.0)):
        assert scale.norm.vmin < scale.norm.vmax
        assert np.isfinite(scale.norm(values)).all()
        assert len(scale.ticks) <= 4


def test_amplitudes_that_span_orders_are_drawn_logarithmically():
    assert isinstance(amplitude_scale(np.geomspace(1, 1e4, 192)).norm, LogNorm)
    assert not isinstance(amplitude_scale(np.linspace(1, 4, 192)).norm, LogNorm)


def test_colours():
    assert planck_colours().N == 256
    assert planck_colours()(0.0)[:3] == (0, 0, 1)
    freqs = [143.0, 30.0, 857.0]
    assert frequency_colours(freqs)[::-1] == frequency_colours(freqs[::-1])
    assert len(set(frequency_colours(freqs))) == 3
    assert len(frequency_colours([100.0])) == 1
