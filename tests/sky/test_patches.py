"""Patches are cut where they are said to be, and a sphere that is put together from them is the sphere."""

import healpy as hp
import numpy as np
import pytest

from cmbml.sky.centres import rings, uniform
from cmbml.sky.harmonics import filter_components, synthesise
from cmbml.sky.maps import MapError, MapSpec
from cmbml.sky.patches import Cutter, Patches, PatchSpec, Stitcher, axes_of, cut, cut_exactly, taper

NSIDE, LMAX = 64, 128
PIXEL = float(np.degrees(hp.nside2resol(NSIDE)) * 60)


def spec_of(fields: str = "I", n: int = 48, pixel: float = PIXEL, projection: str = "gnomonic") -> PatchSpec:
    maps = MapSpec(nside=NSIDE, lmax=LMAX, fields=fields)
    return PatchSpec(maps=maps, height=n, width=n, pixel_arcmin=(pixel, pixel), projection=projection)


def random_alm(n_comp: int, tilt: float = 0.0, seed: int = 1) -> np.ndarray:
    rng, (ell, m) = np.random.default_rng(seed), hp.Alm.getlm(LMAX)
    alm = rng.standard_normal((n_comp, len(ell))) + 1j * rng.standard_normal((n_comp, len(ell)))
    alm[:, m == 0] = alm[:, m == 0].real * np.sqrt(2)
    alm[1:, ell < 2] = 0
    return alm / (1.0 + ell) ** tilt


@pytest.mark.parametrize("fields", ["I", "IQU"])
def test_round_trip_is_exact_the_harmonic_way(fields: str) -> None:
    alm, spec = random_alm(len(fields)), spec_of(fields)
    sky, centres = synthesise(alm, NSIDE), rings(spec, 0.4)
    back = Stitcher(spec, centres).stitch(np.stack(list(cut_exactly(alm, spec, centres))))
    for got, wanted in zip(back, sky, strict=True):
        assert np.std(got - wanted) < 1e-3 * np.std(wanted)


def test_round_trip_the_bilinear_way_smooths() -> None:
    """By what its docstring says: a third of white noise, 8 % of it under a beam of four pixels."""
    spec = spec_of()
    centres = rings(spec, 0.4)
    stitcher = Stitcher(spec, centres)
    smooth = filter_components(random_alm(1), hp.gauss_beam(np.radians(4 * PIXEL / 60), LMAX)[np.newaxis])
    for alm, low, high in ((random_alm(1), 0.25, 0.4), (smooth, 0.06, 0.1)):
        sky = synthesise(alm, NSIDE)
        back = stitcher.stitch(cut(sky, spec, centres), exact=False)
        assert low < np.std(back - sky) / np.std(sky) < high


def test_weights_are_a_partition_of_unity() -> None:
    spec = spec_of()
    centres = rings(spec, 0.5)
    ones = np.ones((len(centres), 1, spec.height, spec.width))
    np.testing.assert_allclose(Stitcher(spec, centres).stitch(ones, exact=False), 1.0, atol=1e-12)
    edge = taper(spec)
    assert max(edge[0].max(), edge[:, -1].max()) < 1e-30
    assert edge[24, 24] == 1


def test_pixels_lie_where_healpy_puts_them() -> None:
    """The projector counts rows upwards and columns towards the west, as a patch does."""
    n, spec = 32, spec_of(n=32)
    for lon, lat in ((0.0, 0.0), (120.0, 40.0), (-75.0, -80.0), (10.0, 90.0)):
        projector = hp.projector.GnomonicProj(rot=(lon, lat, 0), xsize=n, ysize=n, reso=PIXEL)
        x, y = projector.ij2xy()
        theirs = np.stack(projector.xy2vec(x, y)).reshape(3, -1)
        # A map of each coordinate is smooth enough for interpolation to give the coordinate itself.
        sky = np.stack(hp.pix2vec(NSIDE, np.arange(12 * NSIDE**2)))
        found = cut(sky, spec, np.array([[lon, lat, 0.0]]))[0].reshape(3, -1)
        np.testing.assert_allclose(found, theirs, atol=3e-3)


@pytest.mark.parametrize("way", ["nearest", "bilinear"])
@pytest.mark.parametrize("fields", ["I", "IQU"])
def test_weights_that_are_kept_cut_the_same(fields: str, way: str) -> None:
    sky, spec = synthesise(random_alm(len(fields)), NSIDE), spec_of(fields, n=20)
    centres = rings(spec, 0.1)
    wanted = cut(sky.astype(np.float32), spec, centres, way)
    np.testing.assert_allclose(
        Cutter(spec, centres, way).cut(sky.astype(np.float32)), wanted, atol=1e-4 * np.abs(wanted).max()
    )


def test_rotation_turns_a_patch() -> None:
    alm, spec = random_alm(3, 1.0), spec_of("IQU", n=33)
    upright, turned = cut_exactly(alm, spec, np.array([[30.0, 50.0, 0.0], [30.0, 50.0, 90.0]]))
    # Up is east then, which lay to the left; Q and U change sign with axes that are turned by a right angle.
    sign = np.array([1, -1, -1])[:, None, None]
    np.testing.assert_allclose(turned, sign * np.rot90(upright, 1, axes=(1, 2)), atol=1e-6 * np.abs(upright).max())


def test_polarisation_refers_to_the_patch() -> None:
    """At the pole meridians turn by 360 degrees around a point; a smooth field has no such turn in a patch."""
    alm, spec = random_alm(3), spec_of("IQU", n=24)
    alm[:, hp.Alm.getlm(LMAX)[0] > 8] = 0
    (patch,) = cut_exactly(alm, spec, np.array([[0.0, 90.0, 0.0]]))
    for field in patch[1:]:
        assert np.abs(np.diff(field, axis=0)).max() < 0.1 * np.ptp(field)


def test_plate_carree_has_the_pixels_of_its_name() -> None:
    spec = PatchSpec(
        maps=MapSpec(nside=NSIDE), height=20, width=40, pixel_arcmin=(30.0, 30.0), projection="plate_carree"
    )
    assert spec.sides_deg == (10.0, 20.0)
    theta, phi = hp.pix2ang(NSIDE, np.arange(12 * NSIDE**2))
    (patch,) = cut(np.stack([np.pi / 2 - theta, (phi + np.pi) % (2 * np.pi) - np.pi]), spec, np.zeros((1, 3)))
    np.testing.assert_allclose(np.degrees(patch[0]), np.repeat(-4.75 + 0.5 * np.arange(20)[:, None], 40, 1), atol=2e-2)
    np.testing.assert_allclose(np.degrees(patch[1]), np.repeat(9.75 - 0.5 * np.arange(40)[None], 20, 0), atol=2e-2)


def test_axes_are_a_frame() -> None:
    axes = axes_of(uniform(20, np.random.default_rng(8)))
    np.testing.assert_allclose(axes @ axes.transpose(0, 2, 1), np.broadcast_to(np.eye(3), (20, 3, 3)), atol=1e-12)
    # To the left, up, and towards the centre: seen from inside, east is left of north.
    np.testing.assert_allclose(np.linalg.det(axes), 1.0)


def test_bad_patches_are_refused() -> None:
    with pytest.raises(MapError, match=r"is 80 degrees wide; projections bear 60"):
        spec_of(n=80, pixel=60.0)
    with pytest.raises(MapError, match="it needs two pixels a side"):
        spec_of(pixel=0.0)
    with pytest.raises(MapError, match=r"leave \d+ of 49152 pixels of the sphere uncovered; take more centres"):
        Stitcher(spec_of(n=16), rings(spec_of(n=48), 0.2))
    with pytest.raises(MapError, match=r"may overlap by 0 to 0\.9"):
        rings(spec_of(), 0.95)
    with pytest.raises(MapError, match="they must rise"):
        uniform(3, np.random.default_rng(0), latitudes_deg=(30.0, 5.0))
    with pytest.raises(MapError, match="patches must have shape"):
        Patches(np.zeros((2, 1, 8, 9)), spec_of(n=8), np.zeros((2, 3)))
    with pytest.raises(MapError, match="1 of 64 pixel values"):
        Patches(np.where(np.eye(8) * np.arange(8) == 5, np.nan, 0.0)[None, None], spec_of(n=8), np.zeros((1, 3)))
    assert "2.7 times finer than those of nside 64" in spec_of(pixel=20.0).too_fine()
    assert not spec_of().too_fine()
