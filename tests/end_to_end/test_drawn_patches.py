"""Datasets of patches: drawn, cleaned by what learns and what does not, and judged, by the programs."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from outcomes import done, refused

pytest.importorskip("lightning")

SMALL = (
    "dataset=patches",
    "stages=patches",
    "patches.number=3",
    "patches.lmax=1500",
    "patches.grid.n_pixels=64",
    "patches.grid.pixel_arcmin=6",
    "patches.l_edges=[50,150,300,600,1000,1500]",
    "cosmology=fixed",
    "splits.train={sims: 2, cosmology: shared}",
    "splits.valid={sims: 1, cosmology: shared}",
    "splits.test={sims: 2, cosmology: shared}",
    "+stages.spectrum.camb={min_lmax: 500, margin: 150, lens_potential_accuracy: 1, halofit_version: takahashi}",
    "runner.threads=1",
)
NETWORK = ("method=cenn_drawn", "method.train.epochs=2", "method.train.batch_size=2", "hardware.device=cpu")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory, calling: Callable[..., int]) -> Path:
    root = tmp_path_factory.mktemp("patches")
    assert calling("sims", root, *SMALL) == 0
    for words in (("method=flat_wiener",), ("method=flat_ilc",), NETWORK):
        assert calling("clean", root, "dataset=patches", *words) == 0
    names = "methods=[cenn_drawn,flat_wiener,flat_ilc]"
    assert calling("analysis", root, "dataset=patches", "stages=patch_analysis", names) == 0
    return root / "patches"


def test_files_say_what_they_are(drawn: Path) -> None:
    for path in (
        "patches/test/sim0000/obs_patches_217.fits",
        "patches/test/sim0000/cmb_patches.fits",
        "clean/cenn_drawn/test/sim0001/cleaned_map.fits",
        "clean/flat_ilc/test/sim0001/cleaned_map.fits",
    ):
        header = fits.getheader(drawn / path)
        assert (header["NAXIS4"], header["NAXIS1"], header["BUNIT"], header["FWHM"]) == (3, 64, "uK_CMB", 5.021)


def test_table_has_every_method_and_what_was_published(drawn: Path) -> None:
    text = (drawn / "patch_comparison/test/patch_table.md").read_text()
    for method in ("cenn_drawn", "flat_wiener", "flat_ilc"):
        assert f"| {method} | all sky | 6 |" in text
    assert "| CENN, as published |" in text and "13 ± 113" in text and "-18 ± 150" in text
    for name in ("patch_spectra", "patch_residual_spectra", "patch_examples"):
        assert (drawn / f"patch_comparison/test/{name}.png").stat().st_size > 10_000


def test_record_of_an_earlier_release_is_said_to_be_one(drawn: Path, command: Callable, tmp_path: Path) -> None:
    """A key that a later release has brought is not in what the dataset's last run has written of its config."""
    shutil.copytree(drawn, tmp_path / "patches")
    for path in tmp_path.glob("patches/runs/*_sims/manifest.json"):
        manifest = json.loads(path.read_text())
        del manifest["config"]["patches"]["target_channel"]
        path.write_text(json.dumps(manifest))
    ran = command("clean", tmp_path, "dataset=patches", "method=flat_ilc")
    refused(ran, "this needs `patches.target_channel`, which the record of the dataset lacks", "main_sims.py once more")


def test_patches_of_two_splits_are_compared(drawn: Path, command: Callable, tmp_path: Path) -> None:
    """No mask is on patches: what is compared is what decides, wherever that is."""
    shutil.copytree(drawn, tmp_path / "patches")
    done(command("clean", tmp_path, "dataset=patches", "method=flat_ilc", "over.split=[valid]"))
    words = ("dataset=patches", "stages=patch_analysis", "methods=[flat_ilc]", "over.split=[valid,test]")
    done(command("analysis", tmp_path, *words))
    assert "| flat_ilc |" in (tmp_path / "patches/generalisation/generalisation_table.md").read_text()


def test_every_simulation_has_a_sky_of_its_own(drawn: Path) -> None:
    said = (drawn / "summary/test/summary_table.md").read_text()
    assert "foregrounds drawn anew with every patch, 2 skies" in said
    assert "rms of a residual patch at 217 GHz beam, in all sky: flat_wiener" in said


def test_components_add_up_to_what_is_seen(drawn: Path) -> None:
    """The power of the sum is the sum of the powers, to what independent parts share by chance."""
    seen = fits.getdata(drawn / "patches/test/sim0000/obs_patches_217.fits")[:, 0]
    cmb = fits.getdata(drawn / "patches/test/sim0000/cmb_patches.fits")[:, 0]
    assert np.corrcoef(seen[0].ravel(), cmb[0].ravel())[0, 1] > 0.3
    table = fits.getdata(drawn / "patches/test/sim0000/component_spectra_rows.fits")
    assert set(table.names) == {"latitude", "cmb", "dust", "cib", "radio", "infrared", "sz", "noise"}
    assert table["cmb"].shape == (3, 5)


def test_two_workers_draw_the_same(drawn: Path, command: Callable, tmp_path: Path) -> None:
    ran = command("sims", tmp_path, *SMALL, "runner=processes", "runner.workers=2", "splits.train=0", "splits.valid=0")
    assert ran.status == 0, ran.err
    for sim in ("sim0000", "sim0001"):
        for name in ("cmb_patches", "obs_patches_143", "obs_patches_353"):
            ours, theirs = (
                fits.getdata(root / f"patches/test/{sim}/{name}.fits") for root in (drawn, tmp_path / "patches")
            )
            np.testing.assert_array_equal(ours, theirs)


def test_nothing_is_done_twice(drawn: Path, command: Callable) -> None:
    for words in (NETWORK, ("method=flat_wiener",)):
        assert "nothing to do" in command("clean", drawn.parent, "dataset=patches", *words).out


def test_weights_of_another_patch_size_are_refused(drawn: Path, command: Callable, tmp_path: Path) -> None:
    other = [word for word in SMALL if "pixel_arcmin" not in word]
    splits = ("splits.train=0", "splits.valid=0", "splits.test={sims: 1, cosmology: shared}")
    assert command("sims", tmp_path, *other, "patches.grid.pixel_arcmin=8", *splits).status == 0
    weights = f"weights={drawn}/train/cenn_drawn/state.safetensors"
    ran = command("clean", tmp_path, "dataset=patches", "method=cenn_drawn", "stages=learnt", weights)
    assert ran.status == 1
    assert "observations.pixel_arcmin is [6.0, 6.0], not [8.0, 8.0]" in ran.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["patches.grid.n_pixels=1000"], "is 100 degrees wide; projections bear 60"),
        (["patches.target_channel=545"], "patches.target_channel=545: the dataset has channels 143, 217, 353"),
        (["patches.sky.nois=2"], "'patches.sky.nois'"),
        (["patches.number=0"], "patches.number"),
    ],
)
def test_impossible_patches_are_refused_before_work(
    command: Callable, tmp_path: Path, words: list[str], message: str
) -> None:
    ran = command("sims", tmp_path, *SMALL, *words)
    assert ran.status == 1
    assert message in ran.err
    assert not (tmp_path / "patches" / "patches").exists()


def test_method_for_maps_is_refused_on_patches(drawn: Path, command: Callable) -> None:
    for method in ("nilc", "cenn"):
        ran = command("clean", drawn.parent, "dataset=patches", f"method={method}")
        assert ran.status == 1
        assert "is of another kind: it has what patches made" in ran.err


def test_a_patch_that_a_network_cannot_halve_is_refused(drawn: Path, command: Callable) -> None:
    ran = command(
        "clean", drawn.parent, "dataset=patches", "method=cenn_drawn", "method.network.widths=[4,4,4,4,4,4,4]"
    )
    assert ran.status == 1
    assert "kernels has 6 entries, widths has 7" in ran.err
