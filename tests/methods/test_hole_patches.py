"""Patches of maps with holes, and maps whose holes are filled from the replies."""

from dataclasses import replace

import healpy as hp
import numpy as np
import pytest

from cmbml.methods.base import MethodError
from cmbml.methods.holes.case import HOLED, MASK, NOISE, HoledMap
from cmbml.methods.holes.patches import HolePatches
from cmbml.sky.case import CaseSpec, ObservationSpec
from cmbml.sky.harmonics import random_alm, synthesise
from cmbml.sky.maps import MapSpec, SkyMap

NSIDE, LMAX, FWHM = 64, 96, 120.0
N_PIX = 12 * NSIDE**2
LON, LAT = hp.pix2ang(NSIDE, np.arange(N_PIX), lonlat=True)
SPEC = MapSpec(nside=NSIDE, lmax=LMAX, beam="gaussian", fwhm_arcmin=FWHM)
EXAMPLES = HolePatches(name="patches", height=48, width=48, pixel_arcmin=(40.0, 40.0), per_simulation=20)


def disks(*places: tuple[float, float, float]) -> np.ndarray:
    observed = np.ones(N_PIX, dtype=bool)
    for lon, lat, radius in places:
        observed[hp.query_disc(NSIDE, hp.ang2vec(lon, lat, lonlat=True), np.radians(radius))] = False
    return observed


SOME = disks((40, 50, 3), (41, 62, 2), (200, -10, 5), (0, 89, 4))


def case_of(observed: np.ndarray, fields: str = "I") -> HoledMap:
    rng = np.random.default_rng(3)
    spec = SPEC.with_(fields=fields)
    sky = synthesise(random_alm(rng, LMAX, len(fields)) * 30, NSIDE)
    beam = hp.gauss_beam(np.radians(FWHM / 60), LMAX)
    sky = np.stack([hp.alm2map(hp.almxfl(hp.map2alm(field, LMAX), beam), NSIDE, LMAX) for field in sky])
    noise = np.full(sky.shape, 0.5)
    flat = spec.with_(unit="", fields="I", beam="none", fwhm_arcmin=0.0)
    shown = {
        HOLED: SkyMap(np.where(observed, sky + 0.5 * rng.standard_normal(sky.shape), 0.0).astype(np.float32), spec),
        MASK: SkyMap(observed[np.newaxis].astype(np.float32), flat),
        NOISE: SkyMap(noise.astype(np.float32), spec),
    }
    whole = CaseSpec({HOLED: spec, MASK: flat, NOISE: spec}, spec)
    truth = SkyMap(sky.astype(np.float32), spec)
    told = {"spectra": np.ones((1, 1, LMAX + 1)), "window": beam[np.newaxis], "correlated": np.zeros((1, LMAX + 1))}
    return HoledMap(whole, shown, truth, **told, seed=1)


BAND = np.abs(LAT) > 6


@pytest.mark.parametrize("observed", [SOME, BAND & disks((40, 50, 3))], ids=["holes", "a band"])
def test_true_replies_make_the_true_map_and_the_rest_stays_to_the_bit(observed: np.ndarray) -> None:
    """Holes that a patch holds, and a band that takes many; what splines lose is a hundredth of the signal."""
    case = case_of(observed)
    answer = EXAMPLES.completed(EXAMPLES.target(case), np.full((len(EXAMPLES.arranged(case)), 1, 48, 48), 7.0), case)
    holed, truth = case.shown[HOLED].values, case.asked.values
    np.testing.assert_array_equal(answer.value.values[:, observed], holed[:, observed])
    error = (answer.value.values - truth)[:, ~observed]
    assert np.sqrt(np.mean(error**2)) < 0.01 * truth.std()
    np.testing.assert_allclose(answer.sigma.values[:, ~observed], 7.0, rtol=1e-5)
    np.testing.assert_allclose(answer.sigma.values[:, observed], 0.5, rtol=1e-5)
    assert answer.value.spec == EXAMPLES.accepts(case.spec)


def test_features_hold_what_is_known_and_nothing_of_the_holes() -> None:
    case = case_of(SOME)
    features, target = EXAMPLES.features(case), EXAMPLES.target(case)
    assert (features.shape[1:], target.shape[1:]) == EXAMPLES.shapes(case.spec)
    assert len(features) == len(target) == 4
    known = features[:, 1] > 0
    assert (features[:, 0][~known] == 0).all()
    # What the mean of four pixels smooths of a beam of two: a tenth (`cut` has 9 % for one of three).
    error = (features[:, :1] - target)[known[:, np.newaxis]]
    assert np.sqrt(np.mean(error**2)) < 0.13 * target.std()
    hidden = replace(case, shown=case.shown | {HOLED: SkyMap(case.asked.values, SPEC)})
    np.testing.assert_array_equal(EXAMPLES.features(hidden)[:, 1], features[:, 1])
    assert (EXAMPLES.features(hidden)[:, 0][~known] == 0).all(), "what a file may have in holes is not looked at"


@pytest.mark.parametrize("observed", [SOME, BAND], ids=["holes", "a band"])
def test_patches_that_are_learnt_from_are_drawn_about_holes(observed: np.ndarray) -> None:
    case = case_of(observed)
    first, second = (EXAMPLES.choose(case.spec, np.random.default_rng(seed)) for seed in (1, 2))
    features = EXAMPLES.features(case, first)
    assert features.shape == (20, 2, 48, 48)
    share = features[:, 1].mean(axis=(1, 2))
    assert ((share > 0.3) & (share < 1)).all(), "each has a hole, and something around it"
    assert (EXAMPLES.features(case, second) != features).any()
    target = EXAMPLES.target(case, first)
    known = features[:, 1] > 0
    assert np.corrcoef(features[:, 0][known], target[:, 0][known])[0, 1] > 0.99, "of the same places"


def test_centres_stay_within_their_jitter() -> None:
    case = case_of(disks((100, 20, 3)))
    chosen = EXAMPLES.choose(case.spec, np.random.default_rng(5))
    features = EXAMPLES.features(case, chosen)
    for patch in features[:, 1]:
        rows, columns = np.nonzero(patch == 0)
        # 0.15 of 48 pixels, and one of the sphere, 1.4 pixels of the patch.
        assert abs(rows.mean() - 23.5) < 0.15 * 48 + 2
        assert abs(columns.mean() - 23.5) < 0.15 * 48 + 2


def test_a_hole_wider_than_the_patch_is_refused_with_a_remedy() -> None:
    case = case_of(disks((0, 0, 60)))
    with pytest.raises(
        MethodError, match=r"a hole that reaches 60\.\d degrees .* is wider than the patches of 32 x 32"
    ):
        EXAMPLES.features(case)
    with pytest.raises(MethodError, match=r"take larger patches .* or method=constrained_realisation"):
        EXAMPLES.features(case)


def test_what_is_no_map_of_intensity_with_holes_is_refused() -> None:
    with pytest.raises(MethodError, match=r"fills holes in a map: run main_inpaint\.py"):
        EXAMPLES.accepts(ObservationSpec({"100": SPEC}, SPEC))
    with pytest.raises(MethodError, match="networks fill holes in intensity alone"):
        EXAMPLES.accepts(case_of(SOME, "IQU").spec)
    with pytest.raises(MethodError, match="no map was shown"):
        EXAMPLES.answer(np.zeros((1, 1, 48, 48), np.float32), None, case_of(SOME).spec)


def test_rectangles_of_the_paper_are_twice_as_wide_as_high() -> None:
    """Rows of half the columns' side: a hole that is round on the sky is twice as high in pixels."""
    paper = HolePatches(
        name="paper", height=48, width=48, pixel_arcmin=(20.0, 40.0), projection="plate_carree", per_simulation=1
    )
    observed = disks((70, 30, 5))
    rows, columns = np.nonzero(paper.features(case_of(observed))[0, 1] == 0)
    # To a pixel of the sphere, a tenth of the hole's width.
    assert rows.std() / columns.std() == pytest.approx(2, rel=0.1)
