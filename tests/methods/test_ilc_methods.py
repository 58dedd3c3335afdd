"""The methods on maps: needlet and harmonic ILC and template fits, from the handshake to the uncertainty map."""

from pathlib import Path
from typing import Any

import healpy as hp
import numpy as np
import pytest

from cmbml.methods.base import MethodError, plus
from cmbml.methods.ilc.engine import joined_windows
from cmbml.methods.ilc.harmonic import HarmonicIlc
from cmbml.methods.ilc.linear import LinearMethod
from cmbml.methods.ilc.needlet import NeedletIlc, multipole_power
from cmbml.methods.ilc.needlets import CosineNeedlets
from cmbml.methods.ilc.sed import ModifiedBlackBody, PowerLaw, ThermalSz
from cmbml.methods.ilc.template import TemplateFit
from cmbml.methods.ilc.transforms import analysed
from cmbml.sky.case import Observation, ObservationSpec
from cmbml.sky.harmonics import filter_components, random_alm, synthesise
from cmbml.sky.instrument import Channel
from cmbml.sky.maps import Fields, MapError, MapSpec, SkyMap

NSIDE, LMAX = 32, 64
DEPTHS = {"30": 900.0, "70": 600.0, "100": 400.0, "143": 200.0, "217": 300.0, "353": 900.0}
FWHM = {"30": 200.0, "70": 150.0, "100": 120.0, "143": 100.0, "217": 90.0, "353": 90.0}
COMMON = 180.0
DUST, SYNCHROTRON = ModifiedBlackBody(beta=1.6, temperature_k=20.0), PowerLaw(beta=-3.1)
NAMES = tuple(DEPTHS)


def spec_of(fields: Fields = "I", fwhm: dict[str, float] = FWHM, lmax: int | None = LMAX) -> ObservationSpec:
    truth = MapSpec(nside=NSIDE, lmax=lmax, fields=fields)
    channels = {
        name: Channel(freq_ghz=float(name), fwhm_arcmin=width, depth_uk_arcmin=DEPTHS[name], depth_p_uk_arcmin=100.0)
        for name, width in fwhm.items()
    }
    maps = {name: truth.with_(beam="gaussian", fwhm_arcmin=width) for name, width in fwhm.items()}
    return ObservationSpec(maps, truth, channels)


def sky(fields: Fields = "I", seed: int = 1, noise: float = 1.0) -> tuple[Observation, dict[str, dict[str, SkyMap]]]:
    """Observe a CMB, dust and synchrotron, and white noise of the channels' depths."""
    rng, spec, n_comp = np.random.default_rng(seed), spec_of(fields), len(fields)
    ell = np.arange(LMAX + 1.0)
    slope = np.repeat((30 / (ell + 2))[None], n_comp, axis=0)
    cmb, dust, synchrotron = (filter_components(random_alm(rng, LMAX, n_comp), slope) for _ in range(3))
    for alm in (cmb, dust, synchrotron):
        alm[1:, :2] = alm[1:, LMAX + 1] = 0
    area = 4 * np.pi / spec.asked.n_pix * (180 * 60 / np.pi) ** 2
    parts: dict[str, dict[str, SkyMap]] = {"cmb": {}, "foregrounds": {}, "noise": {}}
    for name, channel in spec.channels.items():
        freq = np.array([channel.freq_ghz])
        emission = 300 * dust * DUST.spectrum(freq) + 300 * synchrotron * SYNCHROTRON.spectrum(freq)
        beam = channel.beam(LMAX, n_comp)
        depth = np.array([channel.depth("I"), 100.0, 100.0])[:n_comp, None]
        maps = {
            "cmb": synthesise(filter_components(cmb, beam), NSIDE),
            "foregrounds": synthesise(filter_components(emission, beam), NSIDE),
            "noise": noise * depth / np.sqrt(area) * rng.standard_normal((n_comp, spec.asked.n_pix)),
        }
        for part, values in maps.items():
            parts[part][name] = SkyMap(values, spec.shown[name])
    total = {name: SkyMap(sum(part[name].values for part in parts.values()), spec.shown[name]) for name in NAMES}
    return Observation(spec, total, SkyMap(synthesise(cmb, NSIDE), spec.asked)), parts


def at_common_beam(observation: Observation) -> np.ndarray:
    truth = observation.asked
    assert truth is not None
    alm = analysed(truth.values, LMAX, 1)
    beam = Channel(freq_ghz=1.0, fwhm_arcmin=COMMON, depth_uk_arcmin=1.0).beam(LMAX, len(truth.values))
    return synthesise(filter_components(alm, beam), NSIDE)


def method(kind: str, **settings: Any) -> LinearMethod:
    common: dict[str, Any] = {"name": kind, "channels": NAMES, "fwhm_arcmin": COMMON, "lmax_per_nside": 2.0}
    own: dict[str, dict[str, Any]] = {
        "needlet": {"bands": CosineNeedlets(peaks=(20, 45)), "bias_tolerance": 0.005, "tilt": 1.0},
        "harmonic": {"bin_width": 20},
        "template": {"cleaned": ("143",), "templates": (("30", "70"), ("353", "217")), "galactic_cut_deg": 5.0},
    }
    classes = {"needlet": NeedletIlc, "harmonic": HarmonicIlc, "template": TemplateFit}
    return classes[kind](**(common | own[kind] | settings))


KINDS = ("needlet", "harmonic", "template")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fields", ["I", "IQU"])
def test_cmb_is_found(kind: str, fields: Fields, tmp_path: Path) -> None:
    """Foregrounds that are a hundred times the CMB leave less than what noise does."""
    observation, _ = sky(fields)
    cleaned = method(kind).clean(observation, tmp_path, 1).value
    assert cleaned.spec == method(kind).accepts(observation.spec)
    assert (cleaned.spec.beam, cleaned.spec.fwhm_arcmin, cleaned.spec.lmax) == ("gaussian", COMMON, LMAX)
    truth = at_common_beam(observation)
    for got, wanted, raw in zip(cleaned.values, truth, observation.shown["353"].values, strict=True):
        assert np.std(got - wanted) < 0.25 * np.std(wanted)
        assert np.std(got - wanted) < 0.01 * np.std(raw)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", KINDS)
def test_parts_are_those_of_the_weights(kind: str, tmp_path: Path) -> None:
    observation, parts = sky()
    ours = method(kind)
    found = ours.decompose(observation, parts["foregrounds"], parts["noise"], tmp_path, 1)
    total = sum(part.values.astype(float) for part in found.values())
    np.testing.assert_allclose(total, ours.clean(observation, tmp_path, 1).value.values, atol=1e-3)
    # No CMB is lost: what is called signal is the CMB at the common beam.
    np.testing.assert_allclose(found["signal"].values, at_common_beam(observation), atol=0.02)
    assert found["noise"].values.std() > 0
    # Without a CMB there is no chance correlation with it, and what is cleaned is what foregrounds and noise become.
    rest = plus(parts["foregrounds"], parts["noise"])
    blank = ours.clean(Observation(observation.spec, rest), tmp_path, 1).value.values
    np.testing.assert_allclose(found["foregrounds"].values + found["noise"].values, blank, atol=1e-3)
    again = ours.decompose(Observation(observation.spec, rest), parts["foregrounds"], parts["noise"], tmp_path, 1)
    assert again["chance"].values.std() < 1e-3 * found["chance"].values.std()


def test_chance_correlations_take_the_part_that_they_should(tmp_path: Path) -> None:
    """Of n_mode modes, each of the n_free combinations that weights are free to add takes one."""
    taken = []
    for seed in range(12):
        rng, spec = np.random.default_rng(seed), spec_of()
        noise = {
            name: SkyMap(
                synthesise(filter_components(random_alm(rng, LMAX, 1), spec.channels[name].beam(LMAX, 1)), NSIDE), m
            )
            for name, m in spec.shown.items()
        }
        none = {name: SkyMap(np.zeros_like(found.values), found.spec) for name, found in noise.items()}
        cmb = 1e3 * random_alm(rng, LMAX, 1)
        maps = {
            name: SkyMap(
                found.values + synthesise(filter_components(cmb, spec.channels[name].beam(LMAX, 1)), NSIDE), found.spec
            )
            for name, found in noise.items()
        }
        ours = method("harmonic", bin_width=LMAX + 1)
        found = ours.decompose(Observation(spec, maps), none, noise, tmp_path, 1)
        taken.append(np.mean(found["chance"].values ** 2) / np.mean(found["signal"].values ** 2))
    # Each is a chi-squared of n_free = 5 degrees: the mean of 12 scatters by sqrt(2 / 60).
    n_free, n_modes = len(NAMES) - 1, (LMAX + 1) ** 2
    assert np.mean(taken) == pytest.approx(n_free / n_modes, rel=0.5)


def test_noise_that_counts_more_than_it_is(tmp_path: Path) -> None:
    """Weights move towards those of least noise; what chance correlations do falls, and so does the whole error."""
    observation, parts = sky()
    truth, left = at_common_beam(observation), []
    for noise_weight in (0.0, 10.0, 1e12):
        ours = method("needlet", noise_weight=noise_weight)
        found = ours.decompose(observation, parts["foregrounds"], parts["noise"], tmp_path, 1)
        error = sum(part.values for part in found.values()) - truth
        left.append([error.std(), *(found[name].values.std() for name in ("noise", "chance"))])
    (error, noise, chance), (less_error, _, less_chance), (most_error, least_noise, _) = left
    assert less_error < error
    assert less_chance < chance
    assert least_noise < noise
    assert most_error > 10 * error, "foregrounds that nobody minds are left"
    # In the limit, the weights are those of inverse noise variances, whatever the foregrounds.
    plan = method("needlet", noise_weight=1e12).plan(observation.spec, 0)
    scale = plan.scales[0]
    channels = ours._coefficients(observation.shown, observation.spec, 1)[0]
    _, weights = ours.find(channels, plan, 1)
    inverse = 1 / scale.power(plan.noise * multipole_power(LMAX, ours.tilt) ** 2)
    np.testing.assert_allclose(
        weights[0].values, np.repeat((inverse / inverse.sum())[:, None], weights[0].values.shape[1], axis=1), atol=1e-3
    )


@pytest.mark.parametrize(("nside", "n_scale"), [(64, 3), (128, 3), (256, 4), (512, 4)])
def test_scales_of_few_modes_are_joined(nside: int, n_scale: int) -> None:
    """The published needlets, of which the first has too few modes at low resolution, stay as they are from 256 on."""
    bands = CosineNeedlets(peaks=(200, 715, 1025), nside=512)
    whole = bands.windows(2 * nside, nside)
    joined = joined_windows(whole, 7, 3e-3)
    assert len(joined) == n_scale
    np.testing.assert_allclose((joined**2).sum(axis=0), 1, atol=1e-12)
    modes = ((2 * np.arange(2 * nside + 1) + 1) * joined**2).sum(axis=1)
    assert (7 / modes <= 3e-3).all()
    if nside >= 256:
        np.testing.assert_allclose(joined, whole, atol=1e-12)


@pytest.mark.parametrize("kind", ["needlet", "harmonic"])
@pytest.mark.parametrize("fields", ["I", "IQU"])
def test_uncertainty_is_that_of_the_error(kind: str, fields: Fields, tmp_path: Path) -> None:
    """To a factor: foregrounds that are left everywhere alike go unseen."""
    observation, _ = sky(fields)
    cleaned = method(kind).clean(observation, tmp_path, 1)
    error = cleaned.value.values - at_common_beam(observation)
    assert cleaned.sigma is not None
    for e, sigma in zip(error, cleaned.sigma.values, strict=True):
        assert 0.5 < np.sqrt(np.mean((e / sigma) ** 2)) < 2
    assert method(kind, uncertainty=False).clean(observation, tmp_path, 1).sigma is None


@pytest.mark.parametrize(
    ("kind", "foregrounds"),
    [("needlet", True), ("needlet", False), ("harmonic", True), ("harmonic", False), ("template", False)],
)
def test_uncertainty_over_many_skies(kind: str, foregrounds: bool, tmp_path: Path) -> None:
    """Noise that moves simpler methods is taken for foregrounds, and bars are wide.

    Two templates, of which none can be left out, have no part for foregrounds: where there are some, bars are half of
    what they should be, and that is not tested.
    """
    squares = []
    for seed in range(2 if kind == "needlet" else 6):
        observation, parts = sky(seed=seed)
        maps = observation.shown if foregrounds else plus(parts["cmb"], parts["noise"])
        cleaned = method(kind).clean(Observation(observation.spec, maps), tmp_path, 1)
        assert cleaned.sigma is not None
        error = cleaned.value.values - at_common_beam(observation)
        squares.append(np.mean((error / cleaned.sigma.values) ** 2))
    assert 0.5 < np.sqrt(np.mean(squares)) < 1.3


@pytest.mark.parametrize("kind", ["needlet", "harmonic"])
def test_nulled_components_are_gone(kind: str, tmp_path: Path) -> None:
    """What is left of dust and synchrotron is a millionth of what the least constrained method leaves."""
    observation, parts = sky()
    left = {}
    for nulled in ((), (DUST, SYNCHROTRON)):
        found = method(kind, nulled=nulled).decompose(observation, parts["foregrounds"], parts["noise"], tmp_path, 1)
        left[len(nulled)] = found["foregrounds"].values.std()
    assert left[2] < 1e-4 * left[0]


@pytest.mark.parametrize("kind", ["needlet", "template"])
def test_mask_changes_the_weights_alone(kind: str, tmp_path: Path) -> None:
    observation, _ = sky()
    path = tmp_path / "mask.fits"
    latitude = 90 - np.rad2deg(hp.pix2ang(16, np.arange(12 * 16**2))[0])
    hp.write_map(path, (np.abs(latitude) > 15).astype(np.float32), dtype=np.float32)
    masked, plain = (method(kind, mask=mask).clean(observation, tmp_path, 1).value.values for mask in (path, None))
    truth = at_common_beam(observation)
    assert not np.array_equal(masked, plain)
    assert np.std(masked - truth) < 0.3 * truth.std()


@pytest.mark.parametrize("nside", [16, NSIDE])
def test_what_a_mask_hides_does_not_count(nside: int, tmp_path: Path) -> None:
    """Nothing of the hidden part of the sky reaches the result, whatever the resolution of the mask."""
    observation, _ = sky()
    path = tmp_path / "mask.fits"
    kept = np.abs(90 - np.rad2deg(hp.pix2ang(nside, np.arange(12 * nside**2))[0])) > 15
    hp.write_map(path, kept.astype(np.float32), dtype=np.float32)
    hidden = hp.ud_grade(kept.astype(float), NSIDE) < 0.5
    spoilt = {
        name: SkyMap(np.where(hidden, 1e5, found.values), found.spec) for name, found in observation.shown.items()
    }
    ours = method("needlet", observation_mask=path, uncertainty=False)
    assert ours.files() == (path,)
    usual, other = (
        ours.clean(Observation(observation.spec, maps), tmp_path, 1).value.values
        for maps in (observation.shown, spoilt)
    )
    np.testing.assert_array_equal(usual, other)
    with pytest.raises(MethodError, match=r"the mask nowhere.fits is not there"):
        method("needlet", observation_mask=Path("nowhere.fits")).clean(observation, tmp_path, 1)


@pytest.mark.parametrize(
    ("kind", "settings", "fwhm", "words"),
    [
        ("harmonic", {"channels": ("143",)}, FWHM, "at least 2 channels .* method.channels has 1"),
        ("needlet", {"channels": ("100", "143"), "nulled": (DUST, ThermalSz())}, FWHM, "at least 3 channels"),
        ("needlet", {"nulled": (DUST,)}, FWHM | dict.fromkeys(NAMES[1:], 900.0), "needs more channels than the 1"),
        ("harmonic", {}, dict.fromkeys(NAMES, 900.0), "the bin from l = .* has 0: none of"),
        ("template", {}, dict.fromkeys(NAMES, 1500.0), "no channel of method.cleaned sees anything at l ="),
        ("template", {"nulled": (DUST,)}, FWHM, "fits templates and nulls no components"),
        ("template", {"cleaned": ("545",)}, FWHM, r"method.channels lacks: \['545'\]"),
        ("needlet", {"few_modes": "refuse", "bias_tolerance": 1e-4}, FWHM, "modes .* need 50000 for method.bias_tol"),
    ],
)
def test_observation_that_cannot_be_cleaned(
    kind: str, settings: dict[str, Any], fwhm: dict[str, float], words: str
) -> None:
    with pytest.raises(MethodError, match=words):
        method(kind, **settings).accepts(spec_of(fwhm=fwhm))


@pytest.mark.parametrize("kind", KINDS)
def test_beam_narrower_than_a_pixel(kind: str) -> None:
    """It is harmless only where the signal is band-limited."""
    assert method(kind, fwhm_arcmin=60.0).accepts(spec_of()).fwhm_arcmin == 60
    with pytest.raises(MethodError, match=r"narrower than a pixel of nside 32 \(109.9 arcmin\)"):
        method(kind, fwhm_arcmin=60.0).accepts(spec_of(lmax=None))


@pytest.mark.parametrize("kind", KINDS)
def test_channel_in_another_unit(kind: str) -> None:
    spec = spec_of()
    maps = dict(spec.shown) | {"353": spec.shown["353"].with_(unit="MJy/sr")}
    with pytest.raises(MethodError, match=r"channel 353 .* unit is MJy/sr, not uK_CMB; convert it first"):
        method(kind).accepts(ObservationSpec(maps, spec.asked, spec.channels))


@pytest.mark.parametrize("kind", KINDS)
def test_maps_of_a_channel_are_missing(kind: str, tmp_path: Path) -> None:
    observation, _ = sky()
    maps = {name: found for name, found in observation.shown.items() if name != "217"}
    with pytest.raises(MapError, match="no maps of channel 217; there are of 30, 70, 100, 143, 353"):
        method(kind).clean(Observation(observation.spec, maps), tmp_path, 1)


def test_pixel_that_is_not_a_number() -> None:
    """It never reaches a method."""
    values = np.ones((1, 12 * NSIDE**2))
    values[0, 5] = np.nan
    with pytest.raises(MapError, match="1 of 12288 pixel values are NaN"):
        SkyMap(values, spec_of().shown["30"])


def test_maps_of_other_resolutions_take_part(tmp_path: Path) -> None:
    observation, _ = sky()
    spec, maps = observation.spec, dict(observation.shown)
    coarse = hp.ud_grade(maps["30"].values[0], 16)[None]
    maps["30"] = SkyMap(coarse, spec.shown["30"].with_(nside=16))
    specs = dict(spec.shown) | {"30": maps["30"].spec}
    mixed = Observation(ObservationSpec(specs, spec.asked, spec.channels), maps, observation.asked)
    plan = method("needlet").plan(mixed.spec, 0)
    assert 0 in plan.scales[0].channels
    assert 0 not in plan.scales[-1].channels
    cleaned = method("needlet").clean(mixed, tmp_path, 1).value.values
    truth = at_common_beam(observation)
    assert np.std(cleaned - truth) < 0.3 * truth.std()
