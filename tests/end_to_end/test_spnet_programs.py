"""The network that sees no CMB by the programs: learnt, with truth and without, tuned, and warned of strangers."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from astropy.io import fits

from cmbml.handlers.yaml_file import YamlFile

pytest.importorskip("lightning")

CONFIGS = Path(__file__).parents[2] / "cfg"

SIMS = (
    "cosmology=fixed",
    "lensing=none",
    "noise=white",
    "splits.train={sims: 3, cosmology: shared}",
    "splits.valid={sims: 1, cosmology: shared}",
    "splits.test={sims: 2, cosmology: shared}",
    "~stages.figures",
    "~stages.sky_figures",
    "runner.threads=1",
)
SPNET = (
    "method=spnet",
    "method.network.widths=[4,6]",
    "method.train.epochs=1",
    "method.train.batch_size=2",
    "method.train.warmup=0",
    "hardware.device=cpu",
    "hardware.threads=1",
    "runner.threads=1",
)


@pytest.fixture(scope="module")
def cleaned(tmp_path_factory: pytest.TempPathFactory, calling: Callable[..., int]) -> Path:
    root = tmp_path_factory.mktemp("spnet")
    assert calling("sims", root, "dataset=sky", *SIMS) == 0
    assert calling("clean", root, "dataset=sky", *SPNET) == 0
    learnt = f"weights={root}/sky/train/spnet/state.safetensors"
    assert calling("clean", root, "dataset=sky", *SPNET, "method.name=tuned", "stages=learnt_tuned", learnt) == 0
    return root


def cleaned_map(root: Path, method: str, dataset: str = "sky") -> tuple[np.ndarray, fits.Header]:
    path = root / f"{dataset}/clean/{method}/test/sim0001/cleaned_map.fits"
    return np.concatenate([row.ravel() for row in fits.getdata(path).field(0)]), fits.getheader(path, 1)


def test_gains_stand_in_the_header_and_move_the_map_by_what_they_say(cleaned: Path) -> None:
    plain, header = cleaned_map(cleaned, "spnet")
    tuned, with_gains = cleaned_map(cleaned, "tuned")
    assert "GAINS" not in header
    gain = float(with_gains["GAINS"])
    assert 0 < gain < 2
    assert (np.any(tuned != plain)) == (abs(gain - 1) > 5e-3)


def test_a_sky_like_no_other_is_told_of(cleaned: Path, command: Callable) -> None:
    """Dust of ten times the brightness: nothing like it was learnt from, and that is seen without its truth."""
    words = ("sky.dust.amplitude=10", "splits.train=1", "splits.test={sims: 2, cosmology: shared}")
    assert command("sims", cleaned, "dataset=bright", *SIMS, *words).status == 0
    learnt = f"weights={cleaned}/sky/train/spnet/state.safetensors"
    told = command("clean", cleaned, "dataset=bright", *SPNET, "stages=learnt", learnt)
    assert told.status == 0
    assert "2 of 2 are unlike what it was trained on (test/sim000" in told.out + told.err
    far = YamlFile().read(cleaned / "bright/clean/spnet/test/sim0001/inference.yaml")["beyond_training"]
    near = YamlFile().read(cleaned / "sky/clean/spnet/test/sim0001/inference.yaml")["beyond_training"]
    assert far > 2 * near


def test_without_the_truth(cleaned: Path, command: Callable) -> None:
    words = ("method=spnet_blind", *SPNET[1:])
    assert command("clean", cleaned, "dataset=sky", *words).status == 0
    blind, _ = cleaned_map(cleaned, "spnet_blind")
    assert np.isfinite(blind).all()
    assert not (cleaned / "sky/clean/spnet_blind/test/sim0001/uncertainty_map.fits").exists()


def as_observed(root: Path, *more: str) -> tuple[str, ...]:
    """Name the maps of a simulation as if a mission had published them."""
    channels = yaml.safe_load((CONFIGS / "instrument/planck_widened.yaml").read_text())["channels"]
    maps = [
        f"observed.maps.{name}={{file: obs_map_{name}.fits, freq_ghz: {entry['freq_ghz']}, fwhm_arcmin: "
        f"{entry['fwhm_arcmin']}, depth_uk_arcmin: {entry['depth_uk_arcmin']}}}"
        for name, entry in channels.items()
    ]
    folder, weights = root / "sky/observe/test/sim0001", root / "sky/train/spnet/state.safetensors"
    words = ("dataset=real", "observations=planck", f"observed.folder={folder}", f"observed.weights={weights}")
    return (*SPNET, *words, "observed.nside=32", "observed.lmax=95", *maps, "~stages.pictures", *more)


def test_observed_maps_are_cleaned_as_simulations_are(cleaned: Path, command: Callable, tmp_path: Path) -> None:
    for method, more in (("spnet", ()), ("tuned", ("method.name=tuned", "stages=clean_observed_tuned"))):
        assert command("clean", tmp_path, *as_observed(cleaned, *more)).status == 0
        path = f"clean/{method}/observed/sim0000"
        for name in ("cleaned_map", "uncertainty_map"):
            found = fits.getdata(tmp_path / f"real/{path}/{name}.fits").field(0)
            wanted = fits.getdata(cleaned / f"sky/clean/{method}/test/sim0001/{name}.fits").field(0)
            np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-2)


def test_what_learns_nothing_is_not_tuned(cleaned: Path, command: Callable, tmp_path: Path) -> None:
    for more, said in (((), "observed.weights"), (("stages=clean_observed_tuned", "observed.weights=null"), "tuning")):
        told = command("clean", tmp_path, "method=nilc", *as_observed(cleaned, *more)[len(SPNET) :])
        assert told.status == 1
        assert f"nilc learns nothing: {said} is for what does" in told.err


def test_weights_of_other_maps_are_refused(cleaned: Path, command: Callable, tmp_path: Path) -> None:
    told = command("clean", tmp_path, *as_observed(cleaned, "observed.maps.30.fwhm_arcmin=33"))
    assert told.status == 1
    assert "fwhm_arcmin is 75.0, not 33.0" in told.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["method=cmbnncs", "stages=learn_tuned"], "only what is subtracted from an estimate can be tuned"),
        (["method=spnet_blind", "method.objective.loss=gaussian_nll"], "take l2"),
        (["method=spnet", "stages=learn_tuned", "tuning.left_out=1"], "tuning.left_out"),
    ],
)
def test_what_cannot_be_is_refused_before_work(
    cleaned: Path, command: Callable, words: list[str], message: str
) -> None:
    told = command("clean", cleaned, "dataset=sky", *words)
    assert told.status != 0
    assert message in told.out + told.err
