"""Comparing methods through the program: what may go wrong."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from comparing import METHODS, N_PIX, SIMS, predict
from outcomes import as_if_written, done, refused

Command = Callable[..., "Outcome"]  # noqa: F821 (of conftest.py)
Analyse = Callable[..., "Outcome"]  # noqa: F821


def harm(path: Path, how: str) -> None:
    with fits.open(path, mode="update") as hdus:
        if how == "NaN":
            hdus[1].data.field(0)[0, :2] = np.nan
        else:
            hdus[1].header["TUNIT1"] = how


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("NaN", ["2 of 3072 pixel values are NaN", "cleaned_map.fits", "stage 'clean' will remake it"]),
        ("MJy/sr", ["in 'MJy/sr' cannot be compared with one in 'uK_CMB'", "needs the channel's bandpass"]),
    ],
)
def test_prediction_that_was_tampered_with(copy: Path, analyse: Analyse, how: str, words: list[str]) -> None:
    path = copy / "sky/clean/ilc_pixel/test/sim0001/cleaned_map.fits"
    harm(path, how)
    as_if_written(copy / "sky", path)
    outcome = analyse(copy, ("ilc_pixel",), "resume=restart")
    refused(outcome, "common ilc_pixel/test/sim0001", *words)


def checked(n_pix: int) -> np.ndarray:
    """Return a map that might be of the sky."""
    return np.where(np.arange(n_pix) % 2, 100.0, -100.0)


def test_prediction_too_coarse_for_the_footing(
    copy: Path, take: Callable[..., str], analyse: Analyse, tmp_path: Path
) -> None:
    take(
        copy, "coarse", predict(tmp_path / "given", dict.fromkeys(SIMS, checked(12 * 4**2))), 0.0, "predictions.nside=4"
    )
    outcome = analyse(copy, ("coarse",))
    refused(outcome, "cannot be brought to the footing 'deconvolved'", "nothing above l = 11 (nside 4)", "lmax=11")
    assert not list(copy.rglob("common/coarse/**/*.*"))


def test_beam_too_wide_to_deconvolve(copy: Path, take: Callable[..., str], analyse: Analyse, tmp_path: Path) -> None:
    take(copy, "blurred", predict(tmp_path / "given", dict.fromkeys(SIMS, checked(N_PIX))), 1500.0)
    outcome = analyse(copy, ("blurred",))
    refused(
        outcome, "cannot be brought to the footing 'deconvolved'", "its beam (1500 arcmin) falls below", "wider beam"
    )


def test_pixel_window_that_is_not_there(copy: Path, take: Callable[..., str], analyse: Analyse, tmp_path: Path) -> None:
    folder = predict(tmp_path / "given", dict.fromkeys(SIMS, checked(N_PIX)))
    take(copy, "averaged", folder, 0.0, "predictions.pixel_window=true")
    refused(analyse(copy, ("averaged",)), "averaged over pixels of nside 16", "pixel_window_n0016.fits")


@pytest.mark.parametrize(
    ("methods", "words"),
    [
        (("ilc_pixel", "nilc"), ["'clean nilc/test/sim0000' is not finished in", "run the program that makes it"]),
        (("ilc_pixel", "a/b"), ["'a/b' is no name for a method"]),
        ((), ["methods=[]: name at least one method"]),
        (("ilc_pixel", "ilc_pixel"), ["methods=['ilc_pixel', 'ilc_pixel']: name at least one method, and each once"]),
    ],
)
def test_methods_that_cannot_be_compared(
    compared: Path, analyse: Analyse, methods: tuple[str, ...], words: list[str]
) -> None:
    refused(analyse(compared, methods), *words)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["spectra.lmax=48"], ["the footing 'deconvolved' asks for lmax=48", "the truth ends at l = 47"]),
        (["spectra.bin_width=0"], ["spectra.bin_width", "greater than 0"]),
        (["over={split: [valid]}"], ["over: 'split' has no 'valid'", "allowed are: test"]),
        (["+sky_masks.north=/nowhere/mask.fits"], ["raw file /nowhere/mask.fits cannot be read"]),
        (["spectra.lmx=3"], ["did you mean 'spectra.lmax'?"]),
        (["dataset=none"], ["there is no dataset in", "build it first: python main_sims.py dataset=none"]),
    ],
)
def test_bad_setting(compared: Path, analyse: Analyse, overrides: list[str], words: list[str]) -> None:
    refused(analyse(compared, METHODS, *overrides), *words)


def test_prediction_that_is_missing(copy: Path, analyse: Analyse) -> None:
    (copy / "sky/clean/ilc_pixel/test/sim0002/cleaned_map.fits").unlink()
    words = ("'clean ilc_pixel/test/sim0002' is not as it was written", "sim0002/cleaned_map.fits is missing")
    refused(analyse(copy, ("ilc_pixel",)), *words, "run: python main_clean.py", "method=ilc_pixel")


def test_methods_with_different_test_sets(copy: Path, command: Command, analyse: Analyse) -> None:
    few = ("method=control_zero", "method.name=few", "+over.sim=[sim0001]")
    done(command("clean", copy, "dataset=sky", *few))
    refused(analyse(copy, ("ilc_pixel", "few")), "'clean few/test/sim0000' is not finished in")
    done(command("clean", copy, "dataset=sky", *few[:2]))
    done(analyse(copy, ("ilc_pixel", "few")))


def test_one_simulation_only(
    cleaned: Path, tmp_path: Path, command: Command, analyse: Analyse, whole_sky: tuple[str, ...]
) -> None:
    """There is a mean, and no scatter and no interval."""
    root = Path(shutil.copytree(cleaned, tmp_path / "root"))
    words = [word for word in whole_sky if not word.startswith("splits.test")]
    done(command("sims", root, *words, "splits.test={sims: 1, cosmology: shared}"))
    done(analyse(root))
    found = Table.read(root / "sky/summary/test/summary.ecsv")
    assert set(found["n"]) == {1}
    assert np.isfinite(found["mean"][(found["metric"] == "mae") & (found["region"] == "mask")]).all()
    for column in ("std", "ci_low", "ci_high"):
        assert np.isnan(found[column]).all()
    assert "nan" not in (root / "sky/summary/test/summary_table.md").read_text()


@pytest.mark.parametrize("kept", [0, 3])
def test_mask_that_leaves_nothing(copy: Path, analyse: Analyse, kept: int) -> None:
    for name in ("mask", "mask_apodised"):
        path = copy / "sky" / "mask" / f"{name}.fits"
        with fits.open(path, mode="update") as hdus:
            flat = np.zeros(N_PIX, dtype=">f4")
            flat[:kept] = 1
            hdus[1].data.field(0)[:] = flat.reshape(hdus[1].data.field(0).shape)
        as_if_written(copy / "sky", path)
    outcome = analyse(copy, ("ilc_pixel",), "resume=restart")
    words = (
        ("the mask is empty",) if kept == 0 else ("the 3 pixels that the mask leaves cannot tell", "use a wider one")
    )
    refused(outcome, *words)
