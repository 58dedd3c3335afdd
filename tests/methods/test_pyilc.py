"""The adapter of pyilc: what it hands over, how it fails, and, where pyilc is (PYILC_PYTHON), what comes back."""

import os
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from textwrap import dedent
from typing import Any

import healpy as hp
import numpy as np
import pytest
import yaml

from cmbml.methods.base import MethodError
from cmbml.methods.ilc.needlets import CosineNeedlets
from cmbml.methods.pyilc import Pyilc, PyilcHarmonic, PyilcNeedlets
from cmbml.sky.beams import gaussian_window
from cmbml.sky.case import Observation, ObservationSpec
from cmbml.sky.harmonics import filter_alm, random_alm, synthesise
from cmbml.sky.instrument import Channel
from cmbml.sky.maps import MapError, MapSpec, SkyMap

NSIDE, LMAX, FWHM = 16, 32, 300.0
CHANNELS = {"high": (545.0, 200.0), "low": (30.0, 400.0), "mid": (143.0, 300.0)}
NAMES = tuple(CHANNELS)

# What stands in for the package: the mean of the maps, in uK, and what it was told; or what goes wrong.
STAND_IN = dedent(
    """
    import os, sys, shutil
    from pathlib import Path
    import healpy as hp, numpy as np, yaml

    def main():
        told = yaml.safe_load(Path(sys.argv[1]).read_text())
        Path("left_behind").write_text("x")
        if wrong := os.environ.get("STAND_IN_RAISES"):
            print("working", flush=True)
            raise AssertionError(wrong)
        if os.environ.get("STAND_IN_QUITS"):
            print("preserved component response failed")
            quit()
        maps = [hp.read_map(path) for path in told.get("maps_to_apply_weights", told["freq_map_files"])]
        result = Path(told["output_dir"] + "needletILCmap_component_CMB.fits")
        assert not result.exists()
        hp.write_map(result, 1e6 * np.mean(maps, axis=0), dtype=np.float64)
        if keep := os.environ.get("STAND_IN_KEEPS"):
            shutil.copytree(".", keep, dirs_exist_ok=True)
            Path(keep, "threads").write_text(os.environ["OMP_NUM_THREADS"] + os.environ["NUMBA_NUM_THREADS"])
    """
)


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a checkout of a package that is as little as the adapter needs."""
    root = tmp_path_factory.mktemp("checkout")
    (root / "pyilc").mkdir()
    files = {
        "__init__": "",
        "main": STAND_IN,
        "input": "class ILCInfo: pass",
        "wavelets": "import numpy as np",
    }
    for name, text in files.items():
        (root / "pyilc" / f"{name}.py").write_text(text)
    return root


@pytest.fixture(scope="module")
def observation() -> Observation:
    """Observe a CMB, a foreground thirty times as strong, and a little noise."""
    rng = np.random.default_rng(3)
    cmb, falling = random_alm(rng, LMAX), 30 * random_alm(rng, LMAX)
    channels = {n: Channel(freq_ghz=f, fwhm_arcmin=b, depth_uk_arcmin=1.0) for n, (f, b) in CHANNELS.items()}
    truth = MapSpec(nside=NSIDE, lmax=LMAX)
    specs = {n: truth.with_(beam="gaussian", fwhm_arcmin=c.fwhm_arcmin) for n, c in channels.items()}
    maps = {}
    for name, channel in channels.items():
        alm = filter_alm(cmb + falling * (channel.freq_ghz / 143) ** -1.5, channel.beam(LMAX, 1)[0])
        maps[name] = SkyMap(synthesise(alm, NSIDE) + 0.3 * rng.standard_normal((1, truth.n_pix)), specs[name])
    return Observation(ObservationSpec(specs, truth, channels), maps, SkyMap(synthesise(cmb, NSIDE), truth))


def needlets(**changes: Any) -> PyilcNeedlets:
    bands = CosineNeedlets(nside=32, peaks=(24, 66))
    common = {"name": "n", "channels": NAMES, "fwhm_arcmin": FWHM, "lmax_per_nside": 2.0, "bias_tolerance": 0.05}
    return PyilcNeedlets(**{**common, "bands": bands, "few_modes": "use_all", **changes})


def harmonic(**changes: Any) -> PyilcHarmonic:
    common = {"name": "h", "channels": NAMES, "fwhm_arcmin": FWHM, "lmax_per_nside": 2.0, "bin_width": 8}
    return PyilcHarmonic(**{**common, **changes})


KINDS = {"needlets": needlets, "harmonic": harmonic}


# What it hands over


@pytest.mark.parametrize("kind", KINDS)
def test_result_is_described_and_scratch_is_left_empty(
    kind: str, stand_in: Path, observation: Observation, tmp_path: Path
) -> None:
    method = KINDS[kind](checkout=stand_in)
    cleaned = method.clean(observation, tmp_path, 1).value
    assert cleaned.spec == method.accepts(observation.spec)
    assert cleaned.spec == MapSpec(nside=NSIDE, lmax=LMAX, beam="gaussian", fwhm_arcmin=FWHM)
    mean = np.mean([sky.values for sky in observation.shown.values()], axis=0)
    np.testing.assert_allclose(cleaned.values, mean, rtol=1e-12, atol=1e-12)
    assert not list(tmp_path.iterdir())


def test_package_is_told_what_the_settings_say(
    stand_in: Path, observation: Observation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN_KEEPS", str(tmp_path / "kept"))
    needlets(checkout=stand_in, beam_criterion=0.02).clean(observation, tmp_path, 3)
    told = yaml.safe_load((tmp_path / "kept" / "input.yml").read_text())
    assert told["freqs_delta_ghz"] == [30.0, 143.0, 545.0], "from the widest beam to the narrowest"
    assert (told["wavelet_type"], told["N_scales"], told["ellmin"]) == ("CosineNeedlets", 3, 0)
    assert told["ellpeaks"] == [12.0, LMAX + 1], "moved with nside, the last to just above lmax"
    assert (told["ELLMAX"], told["N_side"], told["taper_width"], told["N_deproj"]) == (LMAX, NSIDE, 0, 0)
    assert (told["perform_ILC_at_beam"], told["ILC_bias_tol"], told["wavelet_beam_criterion"]) == (FWHM, 0.05, 0.02)
    assert told["work_in_healpix"] == told["override_ILCbiastol_threshold"] == "yes"
    assert (tmp_path / "kept" / "threads").read_text() == "33"
    for place, name in enumerate(("low", "mid", "high")):
        beam = np.loadtxt(tmp_path / "kept" / Path(told["beam_files"][place]).name)
        np.testing.assert_array_equal(beam[:, 0], np.arange(LMAX + 1))
        np.testing.assert_allclose(beam[:, 1], gaussian_window(CHANNELS[name][1], LMAX), rtol=1e-15)
        kept, header = hp.read_map(tmp_path / "kept" / Path(told["freq_map_files"][place]).name, h=True)
        np.testing.assert_allclose(1e6 * kept, observation.shown[name].values[0], rtol=1e-14)
        assert dict(header)["TUNIT1"] == "K_CMB"


@pytest.mark.slow
def test_parts_are_weighed_like_the_whole(stand_in: Path, observation: Observation, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    parts = [
        {n: SkyMap(rng.standard_normal(sky.values.shape), sky.spec) for n, sky in observation.shown.items()}
        for _ in range(2)
    ]
    method = needlets(checkout=stand_in)
    found = method.decompose(observation, *parts, tmp_path, 1)
    total = found["signal"].values + found["foregrounds"].values + found["noise"].values
    np.testing.assert_allclose(total, method.clean(observation, tmp_path, 1).value.values, atol=1e-12)
    for name, part in zip(("foregrounds", "noise"), parts, strict=True):
        np.testing.assert_allclose(found[name].values, np.mean([p.values for p in part.values()], axis=0), atol=1e-12)
    assert not list(tmp_path.iterdir())


# What goes wrong


@pytest.mark.parametrize("kind", KINDS)
def test_missing_package_is_said_before_any_work(kind: str, observation: Observation, tmp_path: Path) -> None:
    (tmp_path / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n')
    (tmp_path / "python").chmod(0o755)
    with pytest.raises(MethodError, match=r"needs the package pyilc: .* lacks pyilc, numpy.*") as caught:
        KINDS[kind](python=tmp_path / "python").accepts(observation.spec)
    for word in ("pip install '.[pyilc]'", "method.checkout=FOLDER", "github.com/jcolinhill/pyilc", "method="):
        assert word in str(caught.value)


def test_interpreter_that_is_not_there(observation: Observation) -> None:
    with pytest.raises(MethodError, match=r"method\.python=/nowhere/python cannot be run \(No such file"):
        needlets(python=Path("/nowhere/python")).accepts(observation.spec)


def test_what_the_package_says_is_passed_on(
    stand_in: Path, observation: Observation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN_RAISES", "not enough modes")
    with pytest.raises(MethodError, match=r"status 1 and no map: AssertionError: not enough modes\n") as caught:
        needlets(checkout=stand_in).clean(observation, tmp_path, 1)
    assert "working" in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_package_that_leaves_in_silence(
    stand_in: Path, observation: Observation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN_QUITS", "1")
    with pytest.raises(MethodError, match="status 0 and no map: preserved component response failed"):
        harmonic(checkout=stand_in).clean(observation, tmp_path, 1)


@pytest.mark.parametrize(
    ("method", "words"),
    [
        (needlets(channels=("low",)), "at least two channels, and method.channels has 1"),
        (
            needlets(bands=CosineNeedlets(peaks=(10, 20))),
            "just above the highest multipole, 32, and here it would at 20",
        ),
    ],
)
def test_settings_that_cannot_be_met(method: Pyilc, words: str, observation: Observation) -> None:
    with pytest.raises(MethodError, match=words):
        method.accepts(observation.spec)


def test_channel_that_is_not_there(observation: Observation) -> None:
    with pytest.raises(MapError, match="no channel 'other'"):
        needlets(channels=("low", "other")).accepts(observation.spec)


# Programs


def test_program_of_the_paper_cleans_with_our_engine(command: Callable[..., Any], sky: Path) -> None:
    outcome = command("pyilc", sky, "dataset=sky", "method.channels=[100,143,217,353]", "runner.threads=1")
    assert (outcome.status, outcome.err) == (0, "")
    assert (sky / "sky/clean/cnilc/test/sim0002/cleaned_map.fits").is_file()


def test_missing_package_stops_the_program_with_one_message(
    command: Callable[..., Any], sky: Path, tmp_path: Path
) -> None:
    words = ("method.channels=[100,143,217,353]", "method.python=/nowhere/python")
    outcome = command("pyilc", sky, "dataset=sky", "method=pyilc_cnilc", *words)
    assert outcome.status == 1
    assert outcome.err.startswith("error: clean: pyilc_cnilc: method.python=/nowhere/python cannot be run")
    assert "github.com/jcolinhill/pyilc" in outcome.err
    assert not (sky / "sky/clean/pyilc_cnilc").exists()


# The package itself


@pytest.fixture
def python(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the interpreter that has the package; skip the test where none is named."""
    found = os.environ.get("PYILC_PYTHON")
    if not found:
        pytest.skip("needs pyilc: set PYILC_PYTHON to an interpreter that has it")
    # Compiling takes pyilc longer than the maps of a test do.
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    return Path(found)


def test_harmonic_ilc_of_the_package_is_the_closed_form(python: Path, observation: Observation, tmp_path: Path) -> None:
    """Weights C^-1 1 / (1^T C^-1 1) in each bin, from spectra over the bin; the rest of a bin joins the last."""
    found = harmonic(python=python).clean(observation, tmp_path, 2).value.values[0]
    alm = np.stack([hp.map2alm(sky.values[0], lmax=LMAX) for sky in observation.shown.values()])
    common = gaussian_window(FWHM, LMAX)
    alm = np.stack(
        [hp.almxfl(one, common / gaussian_window(CHANNELS[n][1], LMAX)) for n, one in zip(NAMES, alm, strict=True)]
    )
    ell, total = np.arange(LMAX + 1), np.zeros(alm.shape[1], dtype=complex)
    cross = np.array([[hp.alm2cl(a, b) for b in alm] for a in alm])
    edges = [*range(0, LMAX, 8), LMAX + 1]
    for first, last in pairwise(edges):
        inside = (ell >= first) & (ell < last)
        solved = np.linalg.solve((cross * (2 * ell + 1) * inside).sum(axis=-1), np.ones(3))
        for weight, one in zip(solved / solved.sum(), alm, strict=True):
            total += hp.almxfl(one, weight * inside)
    # Two ways of solving agree to rounding times the condition number, which is 1e9 or so.
    np.testing.assert_allclose(found, hp.alm2map(total, NSIDE), atol=1e-6 * found.std())


@pytest.mark.parametrize("kind", KINDS)
def test_package_finds_the_cmb(kind: str, python: Path, observation: Observation, tmp_path: Path) -> None:
    """With one foreground, thirty times the CMB: what is left are chance correlations, of 5 % in power or so."""
    first, second = (KINDS[kind](python=python).clean(observation, tmp_path, threads).value for threads in (1, 2))
    assert first.values.tobytes() == second.values.tobytes()
    truth = hp.smoothing(observation.asked.values[0], np.deg2rad(FWHM / 60))
    assert np.std(first.values[0] - truth) < 0.25 * truth.std()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", KINDS)
def test_package_weighs_parts(kind: str, python: Path, observation: Observation, tmp_path: Path) -> None:
    """What is linear: the parts of a part add up."""
    parts = [{n: SkyMap(s * sky.values, sky.spec) for n, sky in observation.shown.items()} for s in (0.25, 0.5)]
    found = KINDS[kind](python=python).decompose(observation, *parts, tmp_path, 2)
    whole = sum(part.values for part in found.values())
    for name, share in {"signal": 0.25, "foregrounds": 0.25, "noise": 0.5}.items():
        np.testing.assert_allclose(found[name].values, share * whole, atol=1e-9 * whole.std())
