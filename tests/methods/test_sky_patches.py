"""Patches of the sphere become samples, and replies to them a sky."""

from dataclasses import replace

import numpy as np
import pytest

from cmbml.methods.base import MethodError
from cmbml.methods.cenn.network import Cenn
from cmbml.methods.patch_unet import FacePatches
from cmbml.methods.patches import SkyPatches, WholePatches
from cmbml.sky.case import CaseSpec, Observation, ObservationSpec
from cmbml.sky.instrument import Channel
from cmbml.sky.maps import MapError, MapSpec, SkyMap
from cmbml.sky.patches import PatchSpec

NSIDE, LMAX = 32, 64
CHANNELS = {
    "143": Channel(freq_ghz=143.0, fwhm_arcmin=200.0, depth_uk_arcmin=10.0),
    "217": Channel(freq_ghz=217.0, fwhm_arcmin=150.0, depth_uk_arcmin=10.0),
}


def observation(fields: str = "I") -> Observation:
    rng = np.random.default_rng(3)
    truth = MapSpec(nside=NSIDE, lmax=LMAX, fields=fields)
    specs = {n: truth.with_(beam="gaussian", fwhm_arcmin=c.fwhm_arcmin) for n, c in CHANNELS.items()}
    shape = (len(fields), truth.n_pix)
    maps = {name: SkyMap(rng.standard_normal(shape).astype(np.float32), spec) for name, spec in specs.items()}
    asked = SkyMap(rng.standard_normal(shape).astype(np.float32), truth)
    return Observation(ObservationSpec(specs, truth, CHANNELS), maps, asked)


def patches(**changes: object) -> SkyPatches:
    chosen = {"name": "p", "channels": ("143", "217"), "n_pixels": 32, "pixel_arcmin": 60.0, "per_simulation": 3}
    return SkyPatches(**(chosen | changes))


def test_patches_that_are_learnt_from_are_drawn_anew_and_hang_on_the_generator_alone() -> None:
    examples, case = patches(), observation()
    first, again, other = (examples.choose(case.spec, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)
    assert examples.features(case, first).shape == (3, 2, 32, 32)
    assert examples.target(case, first).shape == (3, 1, 32, 32)
    north = patches(half="north", per_simulation=50).choose(case.spec, np.random.default_rng(1))
    assert (north[:, 1] > 0).all()


def test_symmetries_of_the_square() -> None:
    values = np.random.default_rng(1).standard_normal((6, 8, 8)).astype(np.float32)
    values.flags.writeable = False  # as those of a file are
    seen = [patches().turned(values, number, 1) for number in range(8)]
    np.testing.assert_array_equal(seen[0], values)
    assert len({image.tobytes() for image in seen}) == 8
    # A half turn leaves axes what they were, a quarter turn swaps them: Q and U change sign; a reflection changes U.
    signs = [(1, 1), (-1, -1), (1, 1), (-1, -1), (1, -1), (-1, 1), (1, -1), (-1, 1)]
    for number, sign in enumerate(signs):
        polarised = patches().turned(values, number, 3).reshape(2, 3, 8, 8)
        plain = seen[number].reshape(2, 3, 8, 8)
        np.testing.assert_array_equal(polarised[:, 0], plain[:, 0])
        for field in (1, 2):
            np.testing.assert_array_equal(polarised[:, field], sign[field - 1] * plain[:, field])


def test_uncertainty_is_stitched_too() -> None:
    examples, case = patches(), observation()
    replies = examples.target(case)
    answer = examples.answer(replies, np.full_like(replies, 2.0), case.spec)
    np.testing.assert_allclose(answer.sigma.values, 2.0, rtol=1e-5)
    assert answer.sigma.spec == answer.value.spec == examples.accepts(case.spec)


def test_bad_settings_are_refused_with_the_mend() -> None:
    spec = observation().spec
    with pytest.raises(MethodError, match=r"multiples of 64, not on 32 x 32; set method.examples.n_pixels=64, 128"):
        Cenn().require_shape(32, 32)
    with pytest.raises(MapError, match="is 64 degrees wide; projections bear 60"):
        patches(n_pixels=64).accepts(spec)
    with pytest.raises(MapError, match="no channel '353'"):
        patches(channels=("143", "353")).accepts(spec)
    with pytest.raises(MapError, match="no channel '353'"):
        patches(target_channel="353").accepts(spec)
    with pytest.raises(ValueError, match="name each once"):
        patches(channels=("143", "143"))
    with pytest.raises(MapError, match="uncovered; take more centres"):
        # Weights fall to zero at the edges, so that patches which merely touch leave bare lines.
        patches(overlap=0.01).accepts(spec)
    with pytest.raises(MethodError, match="n_pixels=12 does not divide nside 32"):
        FacePatches(name="f", channels=("143",), n_pixels=12).accepts(spec)
    tabulated = replace(spec, shown=dict(spec.shown) | {"217": spec.shown["217"].with_(beam="window")})
    with pytest.raises(MethodError, match="its beam is tabulated"):
        patches(target_channel="217").accepts(tabulated)
    with pytest.raises(MethodError, match="read without its true answer"):
        patches().target(replace(observation(), asked=None))


def test_pixels_that_are_too_fine_are_spoken_of_once(caplog: pytest.LogCaptureFixture) -> None:
    spec = observation().spec
    for _ in range(2):
        patches(n_pixels=48, pixel_arcmin=27.0).accepts(spec)
    warnings = [record.message for record in caplog.records if "times finer" in record.message]
    assert warnings == [
        "patch pixels of 27' are 4.1 times finer than those of nside 32 (109.9'): there is nothing more to see in them"
    ]


def test_what_drawn_patches_have_taught_is_asked_about_a_sphere() -> None:
    """What drawn patches have taught holds for maps of the same channels, beams and pixels, and for no others."""
    spec = observation().spec
    grid = {"height": 32, "width": 32, "pixel_arcmin": (60.0, 60.0)}
    shown = {name: PatchSpec(maps=maps.with_(nside=64, lmax=None), **grid) for name, maps in spec.shown.items()}
    drawn = CaseSpec(shown, shown["143"], CHANNELS)
    learnt = WholePatches(name="drawn_patches", channels=("143", "217"))
    asked = patches(learnt_from="drawn")
    assert (asked.about(), asked.describe(spec)) == (learnt.about(), learnt.describe(drawn))
    for other in (patches(), patches(learnt_from="drawn", channels=("217", "143"))):
        assert other.about() != learnt.about()
    finer = patches(learnt_from="drawn", pixel_arcmin=50.0)
    blunter = replace(spec, shown=spec.shown | {"143": spec.shown["143"].with_(fwhm_arcmin=210.0)})
    assert learnt.describe(drawn) not in (finer.describe(spec), asked.describe(blunter))
    with pytest.raises(MethodError, match=r"learnt_from=drawn: nothing is learnt .* weights=FILE"):
        asked.n_lessons(spec)
    assert patches().about()["kind"] == "SkyPatches" and "learnt_from" not in patches().about()
