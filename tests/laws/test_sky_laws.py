"""Laws of spheres, patches, windows and footings, for any input that hypothesis finds."""

import healpy as hp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cmbml.methods.ilc.needlets import (
    CosineNeedlets,
    GaussianNeedlets,
    MexicanNeedlets,
    StandardNeedlets,
    TopHatBands,
)
from cmbml.metrics.footing import Footing
from cmbml.metrics.intervals import mean_interval
from cmbml.sky.beams import gaussian_window
from cmbml.sky.maps import MapSpec
from cmbml.sky.patches import Cutter, PatchSpec
from cmbml.sky.symmetry import turned
from cmbml.sky.units import TEMPERATURES, microkelvin

RISING = st.lists(st.integers(2, 400), min_size=1, max_size=6, unique=True).map(sorted).map(tuple)
FALLING = st.lists(st.floats(5, 3000), min_size=1, max_size=6, unique=True).map(lambda x: tuple(sorted(x)[::-1]))
BASES = st.floats(1.2, 5)
NEEDLETS = st.one_of(
    st.builds(CosineNeedlets, peaks=RISING),
    st.builds(GaussianNeedlets, fwhm_arcmin=FALLING),
    st.builds(TopHatBands, edges=RISING),
    st.builds(StandardNeedlets, base=BASES, first=st.floats(2, 50), n_scale=st.integers(2, 9)),
    st.builds(MexicanNeedlets, base=BASES, first=st.floats(2, 50), n_scale=st.integers(2, 9), order=st.integers(1, 3)),
)


@given(NEEDLETS, st.integers(8, 300))
def test_needlets_are_a_partition_of_unity(bands, lmax):
    """The squares of all windows add up to 1 at every multipole, so that a map is the sum of its scales."""
    windows = bands.windows(lmax, nside=64)
    np.testing.assert_allclose(np.square(windows).sum(axis=0), 1, atol=1e-9)
    assert (windows >= 0).all()


@given(st.floats(0, 120), st.floats(5, 120), st.sampled_from(["cut", "wiener"]), st.floats(1e-3, 0.3))
def test_a_footing_gives_a_map_its_own_beam_or_less(own_arcmin, wanted_arcmin, kind, epsilon):
    """Never more of the sky than the truth has there; all of it where the map need only be smoothed."""
    footing = Footing(name="f", fwhm_arcmin=wanted_arcmin, regularisation=kind, epsilon=epsilon)
    own, beam = gaussian_window(own_arcmin, 500)[None], footing.beam(500, 1)
    inverse = footing.inverse(own, beam)
    assert (inverse * own <= beam * (1 + 1e-9)).all()
    assert (inverse <= 1 / epsilon * (1 + epsilon**2)).all()
    smoothed = own >= beam
    np.testing.assert_allclose((inverse * own)[smoothed], beam[smoothed], rtol=1e-9, atol=1e-300)


CENTRES = st.tuples(st.floats(0, 360), st.floats(-89, 89), st.floats(-180, 180))


@settings(max_examples=40)
@given(CENTRES, st.sampled_from(["gnomonic", "plate_carree"]), st.integers(0, 2))
def test_a_patch_sees_what_lies_there(centre, projection, axis):
    """The middle of a patch is its centre, and no pixel lies farther away than its corner, whatever its angle."""
    spec = PatchSpec(maps=MapSpec(nside=64), height=9, width=9, pixel_arcmin=(60.0, 60.0), projection=projection)
    towards = np.stack(_vectors_of_pixels(64))
    centre_of = _vector(centre[0], centre[1])
    cosine = (towards.T @ centre_of).astype(np.float32)
    seen = Cutter(spec, np.array([centre])).cut(cosine[None])[0, 0]
    assert seen[4, 4] > np.cos(np.radians(1.0))
    assert (seen > np.cos(np.radians(4 * np.sqrt(2) + 1.0))).all()
    coordinate = Cutter(spec, np.array([centre])).cut(towards[axis][None].astype(np.float32))[0, 0]
    assert abs(coordinate[4, 4] - centre_of[axis]) < 0.02


def _vectors_of_pixels(nside):

    return hp.pix2vec(nside, np.arange(12 * nside**2))


def _vector(lon, lat):
    lon, lat = np.radians([lon, lat])
    return np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])


@given(st.integers(0, 15), st.integers(0, 2**31))
def test_a_turned_map_has_the_same_pixels(number, seed):
    values = np.random.default_rng(seed).normal(size=(1, 12 * 8**2)).astype(np.float32)
    there = turned(values, number)
    np.testing.assert_array_equal(np.sort(there), np.sort(values))


@given(st.sampled_from(sorted(TEMPERATURES)), st.sampled_from(sorted(TEMPERATURES)))
def test_units_convert_there_and_back(one, other):
    ratio = microkelvin(one) / microkelvin(other)
    assert ratio * microkelvin(other) == microkelvin(one) or np.isclose(ratio * microkelvin(other), microkelvin(one))
    assert microkelvin(one) > 0


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30), st.randoms(use_true_random=False), st.floats(0.1, 10))
def test_intervals_know_neither_order_nor_unit(values, random, factor):
    shuffled = values.copy()
    random.shuffle(shuffled)
    found, again = mean_interval(np.array(values)), mean_interval(np.array(shuffled))
    np.testing.assert_allclose([found.low, found.high], [again.low, again.high], rtol=1e-6, atol=1e-6)
    if np.isfinite(found.low):
        assert found.low <= found.high
        scaled = mean_interval(factor * np.array(values))
        size = factor * (1 + max(map(abs, values)))
        np.testing.assert_allclose(
            [scaled.low, scaled.high], [factor * found.low, factor * found.high], atol=1e-5 * size
        )
