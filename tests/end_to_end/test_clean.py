"""Cleaning a dataset through the program: methods, maps made elsewhere, parts, and what may go wrong."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, final

import healpy as hp
import numpy as np
import pytest
import yaml
from astropy.io import fits
from outcomes import as_if_written, done, refused

from cmbml.methods.base import BlindMethod
from cmbml.methods.ilc.linear import LinearMethod
from cmbml.methods.ilc.pixel import PixelIlc
from cmbml.settings import settings
from cmbml.sky.case import Answer, Observation, ObservationSpec
from cmbml.sky.maps import MapSpec, SkyMap

Command = Callable[..., "Outcome"]  # noqa: F821 (of conftest.py)
Clean = Callable[..., "Outcome"]  # noqa: F821
SIMS = ("sim0000", "sim0001", "sim0002")


# Methods that break their word, as a newcomer's may


@final
@settings
class Liar(BlindMethod):
    """Promise one map and give another.

    Attributes:
        what: in which it breaks its word.
    """

    what: str
    GIVEN: ClassVar = {
        "beam": lambda spec: spec.with_(beam="gaussian", fwhm_arcmin=5.0),
        "nside": lambda spec: spec.with_(nside=8),
        "unit": lambda spec: spec.with_(unit="K_CMB"),
    }

    def accepts(self, spec: ObservationSpec) -> MapSpec:
        return spec.asked

    def clean(self, observation: Observation, scratch: Path, threads: int) -> Answer:  # noqa: ARG002
        spec = observation.spec.asked
        if self.what == "nothing":
            return Answer(SkyMap(np.full((1, spec.n_pix), np.nan), spec))
        given = spec if self.what == "uncertainty" else self.GIVEN[self.what](spec)
        sky = SkyMap(np.zeros((1, given.n_pix)), given)
        bars = self.GIVEN["nside"](spec)
        return Answer(sky, SkyMap(np.ones((1, bars.n_pix)), bars) if self.what == "uncertainty" else None)


@final
@settings
class Median(BlindMethod):
    """Take the median over channels, which is not linear, and its scatter for an error bar."""

    def accepts(self, spec: ObservationSpec) -> MapSpec:
        return spec.asked

    def clean(self, observation: Observation, scratch: Path, threads: int) -> Answer:  # noqa: ARG002
        (scratch / "notes").write_text("gone afterwards")
        values = np.stack([sky.values for sky in observation.shown.values()])
        spec = observation.spec.asked
        return Answer(SkyMap(np.median(values, axis=0), spec), SkyMap(values.std(axis=0), spec))


@pytest.fixture
def clean(command: Command) -> Clean:
    """Return what cleans the dataset `sky` in a folder."""
    return lambda root, *overrides: command("clean", root, "dataset=sky", *overrides)


def read(root: Path, method: str, sim: str = "sim0000", asset: str = "cleaned_map", stage: str = "clean") -> np.ndarray:
    return hp.read_map(root / "sky" / stage / method / "test" / sim / f"{asset}.fits", dtype=None)


def made(root: Path, place: str) -> np.ndarray:
    """Return a map of the simulation."""
    return hp.read_map(root / "sky" / place, dtype=None)


# What is there


@pytest.mark.parametrize("sim", SIMS)
def test_controls_give_what_they_are(cleaned: Path, sim: str) -> None:
    np.testing.assert_array_equal(read(cleaned, "control_truth", sim), made(cleaned, f"cmb/test/{sim}/cmb_map.fits"))
    observed = made(cleaned, f"observe/test/{sim}/obs_map_143.fits")
    np.testing.assert_array_equal(read(cleaned, "control_channel", sim), observed)
    assert not read(cleaned, "control_zero", sim).any()


@pytest.mark.parametrize(
    ("method", "beam", "fwhm_arcmin"),
    [("control_truth", "none", 0.0), ("control_channel", "gaussian", 32.4), ("ilc_pixel", "gaussian", 45.0)],
)
def test_header_says_what_the_map_is(cleaned: Path, method: str, beam: str, fwhm_arcmin: float) -> None:
    header = fits.getheader(cleaned / "sky" / "clean" / method / "test" / "sim0000" / "cleaned_map.fits", 1)
    assert (header["BEAMTYPE"], header["FWHM"], header["LMAX"]) == (beam, fwhm_arcmin, 47)
    assert (header["TUNIT1"], header["NSIDE"], header["STAGE"]) == ("uK_CMB", 16, "clean")


def test_time_of_each_inference_is_kept(cleaned: Path) -> None:
    found = yaml.safe_load((cleaned / "sky/clean/ilc_pixel/test/sim0000/inference.yaml").read_text())
    unit = json.loads((cleaned / "sky/.records/clean/ilc_pixel_test_sim0000.json").read_text())
    assert 0 < found["inference_seconds"] < unit["seconds"] + 1e-3, "of the work alone; both are rounded"
    assert found["threads"] == 1


def test_methods_do_not_disturb_each_other(sky: Path, clean: Clean, digests: Callable[[Path], dict[str, str]]) -> None:
    before = digests(sky / "sky")
    for method in ("control_truth", "control_channel", "control_zero", "ilc_pixel"):
        assert "nothing to do: all 3 units" in done(clean(sky, f"method={method}"))
    assert "3 units of work to do" in done(
        clean(sky, "method=control_channel", "method.channel=100", "method.name=low")
    )
    after = digests(sky / "sky")
    assert before.items() <= after.items()
    assert {path.split("/")[1] for path in after.keys() - before} == {"low"}
    np.testing.assert_array_equal(read(sky, "low"), made(sky, "observe/test/sim0000/obs_map_100.fits"))


def test_another_setting_cleans_again_and_no_more(sky: Path, clean: Clean) -> None:
    assert "3 units of work to do" in done(clean(sky, "method=ilc_pixel", "method.fwhm_arcmin=60"))
    assert "nothing to do" in done(clean(sky, "method=ilc_pixel", "method.fwhm_arcmin=60"))
    assert "nothing to do: all 3 units" in done(clean(sky, "method=control_zero"))


def test_parallel_runs_give_the_same_bytes(sky: Path, clean: Clean, digests: Callable[[Path], dict[str, str]]) -> None:
    before = digests(sky / "sky")
    shutil.rmtree(sky / "sky" / "clean" / "ilc_pixel")
    assert "3 units of work to do" in done(clean(sky, "method=ilc_pixel", "runner=processes", "runner.workers=2"))
    after = digests(sky / "sky")
    changed = {path for path in before if before[path] != after[path]}
    assert all(path.endswith("inference.yaml") for path in changed)


# Parts of the error


@pytest.mark.parametrize(
    "method",
    [
        ("ilc_pixel",),
        ("control_truth",),
        ("control_zero", "method._target_=test_clean.Median", "method.name=median"),
    ],
    ids=["linear", "shown the truth", "paired runs"],
)
def test_parts_add_up_to_the_cleaned_map(sky: Path, clean: Clean, method: tuple[str, ...]) -> None:
    name = method[-1].rpartition("=")[2]
    done(clean(sky, f"method={method[0]}", *method[1:], "stages=clean_with_parts"))
    for sim in SIMS:
        folder = sky / "sky" / "parts" / name / "test" / sim
        parts = [hp.read_map(path) for path in sorted(folder.glob("*_part.fits"))]
        assert len(parts) >= 3
        whole = read(sky, name, sim)
        np.testing.assert_allclose(np.sum(parts, axis=0, dtype=float), whole, atol=2e-6 * np.abs(parts).max())


BROKEN = {
    "swapped": lambda foregrounds, noise: (noise, foregrounds),
    "half of the foregrounds": lambda foregrounds, noise: (0.5 * foregrounds, noise),
    "no noise": lambda foregrounds, noise: (foregrounds, 0 * noise),
    "one pixel to the right": lambda foregrounds, noise: (np.roll(foregrounds, 1), noise),
}


@pytest.mark.parametrize("how", BROKEN)
@pytest.mark.parametrize("method", ["ilc_pixel", "hilc"])
def test_decompose_that_is_broken_is_caught(
    sky: Path, clean: Clean, monkeypatch: pytest.MonkeyPatch, method: str, how: str
) -> None:
    """Parts that add up, as the signal is what is left, and are wrong all the same."""
    kind = PixelIlc if method == "ilc_pixel" else LinearMethod
    right = kind.decompose

    def decompose(self: BlindMethod, *given: object) -> dict[str, SkyMap]:
        parts = right(self, *given)
        spec, whole = parts["signal"].spec, sum(part.values for part in parts.values())
        foregrounds, noise = BROKEN[how](parts["foregrounds"].values, parts["noise"].values)
        values = {"signal": whole - foregrounds - noise, "foregrounds": foregrounds, "noise": noise}
        return {name: SkyMap(part.astype(np.float32), spec) for name, part in values.items()}

    monkeypatch.setattr(kind, "decompose", decompose)
    more = () if method == "ilc_pixel" else ('method.channels=["100","143","217","353"]', "method.fwhm_arcmin=60")
    outcome = clean(sky, f"method={method}", *more, "stages=clean_with_parts")
    refused(outcome, "the weights make something else of the CMB than the signal part", "decompose")


@pytest.mark.parametrize("method", ["hilc", "nilc", "template_fit"])
def test_decompose_of_linear_methods_is_whole(sky: Path, clean: Clean, method: str) -> None:
    more = ['method.channels=["100","143","217","353"]', "method.fwhm_arcmin=60"]
    if method == "template_fit":
        more += ['method.cleaned=["143"]', 'method.templates=[["353","217"]]']
    done(clean(sky, f"method={method}", *more, "stages=clean_with_parts"))


@pytest.mark.parametrize("method", ["hilc", "nilc", "template_fit"])
def test_templates_from_elsewhere(sky: Path, clean: Clean, tmp_path: Path, method: str) -> None:
    """They are foregrounds of the parts, their bytes are in the fingerprint, and the header names them."""
    path = tmp_path / "dust.fits"

    def write(values: np.ndarray) -> None:
        hp.write_map(path, values, coord="G", column_units="K km/s", overwrite=True, dtype=np.float64)

    write(np.random.default_rng(1).standard_normal(12 * 16**2))
    more = ['method.channels=["100","143","217","353"]', "method.fwhm_arcmin=60", "method.name=helped"]
    if method == "template_fit":
        more += ['method.cleaned=["143"]', 'method.templates=[["353","217"]]']
    external = f"method.external=[{{file: {path}, fwhm_arcmin: 0}}]"
    words = (f"method={method}", *more, external, "stages=clean_with_parts")
    done(clean(sky, *words))
    header = fits.getheader(sky / "sky/clean/helped/test/sim0000/cleaned_map.fits", 1)
    assert header["TEMPL0"] == "dust.fits: K km/s, nside 16, no beam"
    parts = [hp.read_map(part) for part in sorted((sky / "sky/parts/helped/test/sim0000").glob("*_part.fits"))]
    np.testing.assert_allclose(np.sum(parts, axis=0, dtype=float), read(sky, "helped"), atol=1e-3)
    assert "nothing to do: all 6 units" in done(clean(sky, *words))
    write(np.random.default_rng(2).standard_normal(12 * 16**2))
    assert "6 units of work to do" in done(clean(sky, *words))
    path.unlink()
    refused(clean(sky, *words), "there is no such file", str(path))


def test_parts_of_a_single_channel_are_those_of_the_simulation(sky: Path, clean: Clean) -> None:
    """Which shows that the noise made again from the seed is the noise that was observed."""
    done(clean(sky, "method=control_channel", "stages=clean_with_parts"))
    foregrounds = made(sky, "sky/main/foreground_map_143.fits")
    signal, foreground, noise = (
        read(sky, "control_channel", "sim0001", f"{part}_part", "parts") for part in ("signal", "foreground", "noise")
    )
    # What is subtracted again is rounded like the sum, whose brightest pixels are far above the CMB.
    rounding = 1e-6 * np.abs(foregrounds).max()
    np.testing.assert_allclose(foreground, foregrounds, atol=rounding)
    alm = np.load(sky / "sky" / "cmb" / "test" / "sim0001" / "cmb_alm.npy")[0].astype(complex)
    seen = hp.alm2map(hp.smoothalm(alm, fwhm=np.deg2rad(32.4 / 60), inplace=False), 16)
    np.testing.assert_allclose(signal, seen, atol=rounding + 1e-4)
    assert noise.std() > 10 * rounding


# Error bars


def test_uncertainty_is_kept_where_a_method_gives_one(sky: Path, clean: Clean) -> None:
    folder = sky / "sky" / "clean" / "mine" / "test" / "sim0000"
    done(clean(sky, "method=control_zero", "method._target_=test_clean.Median", "method.name=mine"))
    channels = [made(sky, f"observe/test/sim0000/obs_map_{name}.fits") for name in (100, 143, 217, 353, 545)]
    np.testing.assert_allclose(hp.read_map(folder / "uncertainty_map.fits"), np.std(channels, axis=0), rtol=1e-5)
    assert not list((sky / "sky").rglob(".scratch/*/*"))
    # Another method of that name gives none: the old one must not be taken for its.
    done(clean(sky, "method=control_zero", "method.name=mine"))
    assert (folder / "cleaned_map.fits").is_file()
    assert not (folder / "uncertainty_map.fits").exists()


# Maps that somebody else has cleaned


def predictions(
    folder: Path, nside: int = 16, unit: str = "uK_CMB", nest: bool = False, sims: tuple[str, ...] = SIMS
) -> dict[str, np.ndarray]:
    """Write a prediction of each simulation; return their values, uK_CMB, RING."""
    scale = {"uK_CMB": 1.0, "mK_CMB": 1e-3, "K_CMB": 1e-6}[unit]
    values = {sim: np.random.default_rng(i).normal(0, 100, 12 * nside**2) for i, sim in enumerate(sims)}
    (folder / "test").mkdir(parents=True, exist_ok=True)
    for sim, sky in values.items():
        given = hp.reorder(sky, r2n=True) if nest else sky
        path = folder / "test" / f"{sim}.fits"
        hp.write_map(path, given * scale, nest=nest, column_units=unit, dtype=np.float64, overwrite=True)
    return values


@pytest.fixture
def theirs(clean: Clean, tmp_path: Path) -> Callable[..., "Outcome"]:  # noqa: F821
    """Return what imports the predictions in a folder."""
    words = ("method=imported", "method.name=theirs", f"predictions.folder={tmp_path / 'given'}")
    return lambda root, *more: clean(root, *words, "predictions.fwhm_arcmin=20", *more)


@pytest.mark.parametrize(("unit", "nest", "nside"), [("K_CMB", True, 16), ("mK_CMB", False, 8), ("uK_CMB", True, 32)])
def test_imported_prediction(sky: Path, theirs: Clean, tmp_path: Path, unit: str, nest: bool, nside: int) -> None:
    values = predictions(tmp_path / "given", nside, unit, nest)
    assert "3 units of work to do" in done(theirs(sky, f"predictions.nside={nside}"))
    for sim, expected in values.items():
        np.testing.assert_allclose(read(sky, "theirs", sim), expected, rtol=1e-6, atol=1e-6)
    header = fits.getheader(sky / "sky/clean/theirs/test/sim0000/cleaned_map.fits", 1)
    assert (header["NSIDE"], header["TUNIT1"], header["ORDERING"]) == (nside, "uK_CMB", "RING")
    assert (header["BEAMTYPE"], header["FWHM"], header["LMAX"]) == ("gaussian", 20, 3 * nside - 1)
    assert "nothing to do: all 3 units" in done(theirs(sky, f"predictions.nside={nside}"))


def test_imported_prediction_with_its_uncertainty(sky: Path, theirs: Clean, tmp_path: Path) -> None:
    predictions(tmp_path / "given", unit="K_CMB")
    bars = {sim: np.abs(values) for sim, values in predictions(tmp_path / "given" / "sigma", unit="K_CMB").items()}
    for sim, values in bars.items():
        path = tmp_path / "given" / "sigma" / "test" / f"{sim}.fits"
        hp.write_map(path, 1e-6 * values, column_units="K_CMB", dtype=np.float64, overwrite=True)
    done(theirs(sky, "predictions.uncertainty='sigma/{split}/{sim}.fits'"))
    found = read(sky, "theirs", "sim0002", "uncertainty_map")
    np.testing.assert_allclose(found, bars["sim0002"], rtol=1e-6, atol=1e-6)


def test_prediction_that_changed_is_imported_again(sky: Path, theirs: Clean, tmp_path: Path) -> None:
    predictions(tmp_path / "given")
    done(theirs(sky))
    other = np.where(np.arange(3072) % 2, 1e-4, -1e-4)
    hp.write_map(tmp_path / "given/test/sim0001.fits", other, column_units="K_CMB", dtype=float, overwrite=True)
    assert "1 unit of work to do; 2 were done before" in done(theirs(sky))
    np.testing.assert_allclose(read(sky, "theirs", "sim0001"), 1e6 * other, rtol=1e-6)


def test_pixels_that_a_mask_left_unseen_are_filled_and_said_to_be(sky: Path, theirs: Clean, tmp_path: Path) -> None:
    values = predictions(tmp_path / "given")
    hidden = values["sim0000"].copy()
    hidden[1400:1700] = hp.UNSEEN
    path = tmp_path / "given/test/sim0000.fits"
    hp.write_map(path, hidden, column_units="uK_CMB", dtype=np.float64, overwrite=True)
    out = done(theirs(sky))
    assert f"{path}: 300 of 3072 pixels are UNSEEN, and are filled with zero" in out
    found = read(sky, "theirs", "sim0000")
    assert (found[1400:1700] == 0).all()
    np.testing.assert_allclose(found[:1400], values["sim0000"][:1400], rtol=1e-6)
    # What is no number at all is still refused.
    hidden[5] = np.nan
    hp.write_map(path, hidden, column_units="uK_CMB", dtype=np.float64, overwrite=True)
    refused(theirs(sky), "1 of 3072 pixel values are NaN")


def test_prediction_without_a_unit_is_told_the_key(sky: Path, theirs: Clean, tmp_path: Path) -> None:
    values = predictions(tmp_path / "given")
    for sim, given in values.items():
        hp.write_map(tmp_path / f"given/test/{sim}.fits", given, dtype=np.float64, overwrite=True)
    refused(theirs(sky), "unit '' is not known", "say the unit of the numbers with predictions.unit=")
    done(theirs(sky, "predictions.unit=uK_CMB"))


IMPLAUSIBLE = {
    "microkelvin called kelvin": (100.0, {}, [], ["taken as K_CMB", "rms of I at |b| > 30", "e+07 uK_CMB"]),
    "kelvin called microkelvin": (1e-4, {"unit": "uK_CMB"}, [], ["taken as uK_CMB", "between 1 and 30000"]),
    "millikelvin called microkelvin": (0.1, {"unit": "uK_CMB"}, [], ["set predictions.unit to the unit"]),
    "of another nside": (1e-4, {"nside": 8}, [], ["has nside 8, and 16 is expected", "set predictions.nside=8"]),
    "a beam in another unit": (1e-4, {}, ["predictions.fwhm_arcmin=1e6"], ["predictions.fwhm_arcmin=1e+06 arcmin"]),
    "of another frame": (1e-4, {"coord": "C"}, ["predictions.frame=G"], ["COORDSYS=C, and predictions.frame=G"]),
}


@pytest.mark.parametrize("fault", IMPLAUSIBLE)
def test_prediction_that_cannot_be_what_it_says(sky: Path, theirs: Clean, tmp_path: Path, fault: str) -> None:
    rms, header, overrides, words = IMPLAUSIBLE[fault]
    predictions(tmp_path / "given")
    values = rms * np.random.default_rng(0).standard_normal(12 * header.get("nside", 16) ** 2)
    path = tmp_path / "given/test/sim0002.fits"
    more = {"column_units": header.get("unit", "K_CMB"), "coord": header.get("coord")}
    hp.write_map(path, values, dtype=np.float64, overwrite=True, **more)
    refused(theirs(sky, *overrides), *words)


def test_implausible_error_bars(sky: Path, theirs: Clean, tmp_path: Path) -> None:
    predictions(tmp_path / "given")
    given = "predictions.uncertainty='sigma/{split}/{sim}.fits'"
    predictions(tmp_path / "given" / "sigma")
    refused(theirs(sky, given), "a standard deviation is -", "it cannot be negative")
    for path in (tmp_path / "given" / "sigma").rglob("*.fits"):
        hp.write_map(path, np.full(3072, 1e-4), column_units="uK_CMB", dtype=np.float64, overwrite=True)
    refused(theirs(sky, given), "median standard deviation is 0.0001 uK_CMB", "set predictions.unit")


def test_frame_of_a_prediction_is_what_its_header_says(sky: Path, theirs: Clean, tmp_path: Path) -> None:
    predictions(tmp_path / "given", sims=("sim0000", "sim0001", "sim0002"))
    for path in (tmp_path / "given").rglob("*.fits"):
        fits.setval(path, "COORDSYS", value="C", ext=1)
    done(theirs(sky))
    assert fits.getheader(sky / "sky/clean/theirs/test/sim0000/cleaned_map.fits", 1)["COORDSYS"] == "C"


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["predictions.folder=/nowhere"], ["3 of 3 predictions are missing, first /nowhere/test/sim0000.fits"]),
        (["predictions.template='{split}/map.fits'"], ["several maps one name", "{split} and {sim}"]),
        (["predictions.template='{split}/{number}.fits'"], ["cannot be filled in", "{split}, {sim}"]),
        (["predictions.fwhm_arcmin=-5"], ["predictions.fwhm_arcmin", "greater than or equal to 0"]),
        (["predictions.frame=B"], ["predictions.frame", "'G', 'C' or 'E'"]),
        (["predictions.unit=MJy/sr"], ["unit 'MJy/sr' is not known to be a thermodynamic temperature"]),
        (["predictions.fhwm_arcmin=5"], ["predictions.fhwm_arcmin", "did you mean 'predictions.fwhm_arcmin'?"]),
    ],
)
def test_bad_setting_of_predictions(
    sky: Path, theirs: Clean, tmp_path: Path, overrides: list[str], words: list[str]
) -> None:
    predictions(tmp_path / "given")
    refused(theirs(sky, *overrides), *words)
    assert not list(sky.rglob("clean/theirs/**/*.fits"))


def test_predictions_of_too_few_simulations(sky: Path, theirs: Clean, tmp_path: Path) -> None:
    predictions(tmp_path / "given", sims=SIMS[:1])
    refused(theirs(sky, "plan_only=true"), "2 of 3 predictions are missing", "test/sim0001.fits; check predictions.*")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_prediction_with_pixels_that_hold_nothing(sky: Path, theirs: Clean, tmp_path: Path, value: float) -> None:
    predictions(tmp_path / "given")
    with fits.open(tmp_path / "given/test/sim0001.fits", mode="update") as hdus:
        hdus[1].data.field(0)[0, :2] = value
    refused(theirs(sky), "sim0001.fits: 2 of 3072 pixel values are NaN, infinite or UNSEEN")


# What may go wrong


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["method=ilc_pixl"], ["method=ilc_pixl: there is no such option; did you mean 'ilc_pixel'?"]),
        (["method=control_channel", "method.channel=144"], ["clean: the observation has no channel '144'", "143"]),
        (["method=ilc_pixel", 'method.channels=["100","30"]'], ["has no channel '30'; it has 100, 143, 217, 353, 545"]),
        (["method=ilc_pixel", 'method.channels=["100"]'], ["at least two channels", "method.channels has 1"]),
        (["method=ilc_pixel", "method.fwhm_arcmin=wide"], ["method.fwhm_arcmin", "valid number", "'wide'"]),
        (["method=ilc_pixel", "method.fwhm=5"], ["'method.fwhm' is no key", "did you mean 'method.fwhm_arcmin'?"]),
        (["method=ilc_pixel", "method.zone_edges_deg=[95]"], ["method.zone_edges_deg.0", "less than 90"]),
        (
            ["method=ilc_pixel", "method.zone_edges_deg=[30,30]"],
            ["method.zone_edges_deg: name each once"],
        ),
        (["method=ilc_pixel", "method.channels=[100,100]"], ["method.channels: name each once"]),
        (["method=nilc", "method.channels=[100,100]"], ["method.channels: name each once"]),
        (["method.name=a/b"], ["'a/b' is no name for a method"]),
        (["method.name=null"], ["'None' is no name for a method"]),
        ([f"method.name={'x' * 120}"], ["is no name for a method", "a hundred at most"]),
        (["over={split: [tests]}"], ["over: 'split' has no 'tests'", "did you mean 'test'?"]),
        (["dataset=skies"], ["there is no dataset in", "skies; build it first: python main_sims.py dataset=skies"]),
        (["method._target_=cmbml.methods.control.Nothing"], ["method: Error loading", "Nothing"]),
    ],
)
def test_bad_setting(cleaned: Path, clean: Clean, overrides: list[str], words: list[str]) -> None:
    refused(clean(cleaned, *overrides), *words)


@pytest.mark.parametrize(
    ("program", "method", "stages"), [("predict", "hi_integrated", "hi"), ("generate", "control_real", "dust_patches")]
)
def test_programs_for_other_datasets_say_how_those_are_made(
    cleaned: Path, command: Command, program: str, method: str, stages: str
) -> None:
    ran = command(program, cleaned, "dataset=sky", f"method={method}")
    refused(ran, f"main_sims.py stages={stages} makes one")
    assert "Error trying to access" not in ran.err


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("beam", ["gave another cleaned_map than it had promised: beam is gaussian, not none, fwhm_arcmin is 5.0"]),
        ("nside", ["gave another cleaned_map than it had promised: nside is 8, not 16"]),
        ("unit", ["gave another cleaned_map than it had promised: unit is K_CMB, not uK_CMB"]),
        ("uncertainty", ["gave another uncertainty_map than it had promised: nside is 8, not 16"]),
        ("nothing", ["3072 of 3072 pixel values are NaN"]),
    ],
)
def test_method_that_breaks_its_word(sky: Path, clean: Clean, what: str, words: list[str]) -> None:
    liar = ("method=control_zero", "method._target_=test_clean.Liar", "method.name=liar", f"+method.what={what}")
    refused(clean(sky, *liar), *words)
    assert not list(sky.rglob("clean/liar/**/*.*"))


def test_beam_too_wide_to_be_brought_to_the_common_one(command: Command, program: Clean, tmp_path: Path) -> None:
    assert program("instrument.channels.100.fwhm_arcmin=3000", "splits.test=1").status == 0
    ilc = ("method=ilc_pixel", 'method.channels=["100","143"]')
    outcome = command("clean", tmp_path, "dataset=small", *ilc)
    refused(outcome, "channel 100 sees", "leave it out of method.channels, or widen method.fwhm_arcmin")


@pytest.mark.parametrize("path", ["observe/test/sim0001/obs_map_217.fits", "cmb/test/sim0001/cmb_map.fits"])
def test_simulation_that_lost_a_file(sky: Path, clean: Clean, path: str) -> None:
    (sky / "sky" / path).unlink()
    stage = path.split("/")[0]
    outcome = clean(sky, "method=control_channel", "method.name=again")
    lost = f"'{stage} test/sim0001' is not as it was written: {sky / 'sky' / path} is missing"
    refused(outcome, f"{lost}; run: python main_sims.py system.root=", "dataset=sky")
    assert not list(sky.rglob("clean/again/**/*.fits"))


def test_observation_of_another_instrument(sky: Path, clean: Clean) -> None:
    """The maps' headers are believed before what the manifest says of the dataset."""
    path = sky / "sky" / "observe" / "test" / "sim0001" / "obs_map_217.fits"
    with fits.open(path, mode="update") as hdus:
        hdus[1].header["FWHM"] = 10.0
    as_if_written(sky / "sky", path)
    outcome = clean(sky, "method=control_channel", "method.name=again")
    refused(outcome, "clean again/test/sim0001", "the map of channel 217", "fwhm_arcmin is 10.0, not 22.3")


def test_what_is_cleaned_can_be_chosen(sky: Path, clean: Clean) -> None:
    out = done(clean(sky, "method=control_zero", "method.name=few", "+over.sim=[sim0001]"))
    assert "1 unit of work to do" in out
    assert re.search(r"done in [\d.]+ s", out)
    assert [path.parent.name for path in sky.rglob("clean/few/**/*.fits")] == ["sim0001"]
