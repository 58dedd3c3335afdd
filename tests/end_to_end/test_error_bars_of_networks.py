"""How sure networks are: passes, ensembles and likelihoods by the programs, recalibrated, and judged."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from cmbml.handlers.bandpower_file import BandpowerFile
from cmbml.handlers.yaml_file import YamlFile

pytest.importorskip("lightning")

SMALL = (
    "dataset=patches",
    "stages=patches",
    "patches.number=4",
    "patches.lmax=1100",
    "patches.lensing=none",
    "patches.grid.n_pixels=32",
    "patches.grid.pixel_arcmin=10",
    "patches.l_edges=[100,300,600,1000]",
    "cosmology=fixed",
    "splits.train={sims: 3, cosmology: shared}",
    "splits.valid={sims: 2, cosmology: shared}",
    "splits.test={sims: 2, cosmology: shared}",
    "+stages.spectrum.camb={min_lmax: 500, margin: 150, lens_potential_accuracy: 1, halofit_version: takahashi}",
    "runner.threads=1",
)
RESUNET = (
    "method=resunet_drawn",
    "method.network.widths=[4,4,6]",
    "method.network.dropout=[0.05,0.05,0.1]",
    "method.train.epochs=1",
    "method.train.batch_size=4",
    "dropout.passes=3",
    "hardware.device=cpu",
    "hardware.threads=1",
)


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory, calling: Callable[..., int]) -> Path:
    root = tmp_path_factory.mktemp("uncertainty")
    assert calling("sims", root, *SMALL) == 0
    learnt = f"weights={root}/patches/train/resunet_drawn/state.safetensors"
    for words in (
        (),
        ("method.name=calibrated", "stages=learnt_calibrated", learnt, "recalibration.classes=4"),
        ("method.name=ensemble", "uncertainty=ensemble", "ensemble.members=2"),
        ("method.name=likelihood", "uncertainty=gaussian_nll"),
    ):
        assert calling("clean", root, "dataset=patches", *RESUNET, *words) == 0
    names = "methods=[resunet_drawn,calibrated,ensemble,likelihood]"
    # Tested beside the patches of the CMB, and what all comparisons have in common elsewhere.
    elsewhere = ("patch_scores", "patch_comparison", "generalisation", "learning")
    words = (*(f"~stages.{stage}" for stage in elsewhere), "runner.threads=1")
    assert calling("analysis", root, "dataset=patches", "stages=patch_analysis", names, *words) == 0
    return root / "patches"


def read(answered: Path, method: str, name: str) -> np.ndarray:
    return fits.getdata(answered / f"clean/{method}/test/sim0001/{name}.fits")


def test_every_method_says_how_sure_it_is(answered: Path) -> None:
    for method in ("resunet_drawn", "calibrated", "ensemble", "likelihood"):
        assert (read(answered, method, "uncertainty_map") > 0).all()
    for method in ("resunet_drawn", "calibrated", "ensemble"):
        found = BandpowerFile().read(answered / f"clean/{method}/test/sim0001/bandpowers.fits")
        assert found.d_ell.shape == found.sigma.shape == (4, 8)
        # Of patches of 320 arcmin, in rings two fundamentals wide.
        np.testing.assert_allclose(found.l_edges[:2], 360 * 60 / 320 * np.array([0.5, 2.5]))
        assert (found.patch.height, found.patch.pixel_arcmin) == (32, (10.0, 10.0))
    assert not (answered / "clean/likelihood/test/sim0001/bandpowers.fits").exists()


def test_recalibration_multiplies_by_what_the_validation_split_says(answered: Path) -> None:
    told = YamlFile().read(answered / "calibrate/calibrated/calibration.yaml")
    assert (told["split"], told["simulations"], told["tracer"], len(told["edges"])) == ("valid", 2, "353", 3)
    before, after = (read(answered, method, "uncertainty_map") for method in ("resunet_drawn", "calibrated"))
    tracer = fits.getdata(answered / "patches/test/sim0001/obs_patches_353.fits")
    wanted = np.array(told["factors"][0])[np.digitize(tracer, told["edges"])]
    np.testing.assert_allclose(after / before, wanted, rtol=1e-5)
    one, other = (read(answered, method, "cleaned_map") for method in ("resunet_drawn", "calibrated"))
    np.testing.assert_array_equal(one, other)
    spectra = [
        BandpowerFile().read(answered / f"clean/{m}/test/sim0001/bandpowers.fits")
        for m in ("resunet_drawn", "calibrated")
    ]
    ratio = spectra[1].sigma / spectra[0].sigma
    np.testing.assert_allclose(ratio, np.broadcast_to(told["bandpowers"], ratio.shape), rtol=1e-6)


def test_error_bars_are_judged_on_the_page_in_a_table_and_in_a_figure(answered: Path) -> None:
    table = (answered / "error_bars/test/error_bars_table.md").read_text()
    for method in ("resunet_drawn", "calibrated", "ensemble", "likelihood"):
        for region in ("all sky", "dust 1/5", "dust 5/5"):
            assert f"| {method} | as given | {region} |" in table
    assert "| ensemble | spectra of patches | l 34-169 |" in table
    assert "| likelihood | spectra of patches |" not in table
    assert (answered / "error_bars/test/error_bars.png").stat().st_size > 20_000
    page = (answered / "report/test/report.html").read_text()
    assert "Whether error bars are those of the errors" in page


def test_recovered_spectra_stand_beside_what_was_published(answered: Path) -> None:
    table = (answered / "recovered/test/recovered_table.md").read_text()
    for method in ("resunet_drawn", "calibrated", "ensemble"):
        assert f"| {method} | spectra of patches | l = 34-" in table
    assert "ResUNet, as published" in table
    assert (answered / "recovered/test/recovered.png").stat().st_size > 20_000
    page = (answered / "report/test/report.html").read_text()
    assert "Spectra that are recovered on patches" in page
    assert "(figure 7 of the paper)" in page


def test_more_passes_train_nothing_anew(answered: Path, command: Callable) -> None:
    ran = command("clean", answered.parent, "dataset=patches", *RESUNET, "dropout.passes=4", "plan_only=true")
    assert ran.status == 0
    to_do = {line.split()[0]: line.split()[1] for line in ran.out.splitlines() if len(line.split()) > 3}
    assert (to_do["train"], to_do["predict"], to_do["clean"]) == ("0", "1", "2")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["method.network.dropout=[0,0,0]"], "the network has no dropout, or none at a rate above 0"),
        pytest.param(["dropout.passes=1"], "dropout.passes", marks=pytest.mark.slow),
        (["dropout.ring_width=20"], "rings of 20 fundamentals are wider than all that patches of 32 x 32"),
        (["method.network.dropout=[0.1]"], "dropout has 1 entries, widths has 3"),
        (
            ["method.network.widths=[4,4,4,4,4,4,4]", "method.network.dropout=[0.1,0.1,0.1,0.1,0.1,0.1,0.1]"],
            "multiples of 64",
        ),
        pytest.param(["uncertainty=ensemble", "ensemble.members=1"], "ensemble.members", marks=pytest.mark.slow),
        (["stages=learn_calibrated", "recalibration.tracer=545"], "no channel '545'"),
        pytest.param(
            ["stages=learn_calibrated", "recalibration.kind=none"], "recalibration.kind", marks=pytest.mark.slow
        ),
        pytest.param(["method.objective.spectrum=-1"], "method.objective.spectrum", marks=pytest.mark.slow),
    ],
)
def test_impossible_settings_are_refused_before_work(
    answered: Path, command: Callable, words: list[str], message: str
) -> None:
    ran = command("clean", answered.parent, "dataset=patches", *RESUNET, "method.name=other", *words)
    assert ran.status == 1
    assert message in ran.err


@pytest.mark.slow
def test_recalibration_needs_a_validation_split(answered: Path, command: Callable, tmp_path: Path) -> None:
    words = ("splits.train=0", "splits.valid=0", "splits.test={sims: 1, cosmology: shared}")
    assert command("sims", tmp_path, *SMALL, *words).status == 0
    weights = f"weights={answered}/train/resunet_drawn/state.safetensors"
    ran = command("clean", tmp_path, "dataset=patches", *RESUNET, "stages=learnt_calibrated", weights)
    assert ran.status == 1
    assert "learn.valid=valid: error bars are recalibrated there" in ran.err


def test_weights_of_another_size_are_refused(answered: Path, command: Callable) -> None:
    weights = f"weights={answered}/train/resunet_drawn/state.safetensors"
    words = ("method.name=other", "stages=learnt", weights, "method.network.widths=[4,4,8]")
    ran = command("clean", answered.parent, "dataset=patches", *RESUNET, *words)
    assert ran.status == 1
    assert "network.widths is [4, 4, 6], not [4, 4, 8]" in ran.err
