"""What noise alone allows: of the channels that the dataset has, and that a method was shown."""

import csv
import math
from collections.abc import Callable
from pathlib import Path

import healpy as hp
import numpy as np
import pytest
import yaml
from comparing import FOOTINGS, SIMS, predict, scores
from outcomes import done

from cmbml.core.app import CONFIG_FOLDER
from cmbml.sky.beams import gaussian_window

Command = Callable[..., "Outcome"]  # noqa: F821 (of conftest.py)
Analyse = Callable[..., "Outcome"]  # noqa: F821
LMAX_SCORED = 32
OBSERVED = ("100", "143", "217", "353", "545")
INSTRUMENT = yaml.safe_load((CONFIG_FOLDER / "instrument" / "planck_widened.yaml").read_text())["channels"]


def expected(channels: tuple[str, ...], fwhm_arcmin: float) -> float:
    """Sum up, multipole by multipole, what the inverse-variance combination of some channels leaves."""
    variance = 0.0
    for ell in range(2, LMAX_SCORED + 1):
        weight = 0.0
        for channel in (INSTRUMENT[name] for name in channels):
            white = math.radians(channel["depth_uk_arcmin"] / 60) ** 2
            noise = white * (1 + (channel["knee_multipole"] / ell) ** channel["slope"])
            weight += gaussian_window(channel["fwhm_arcmin"], LMAX_SCORED)[ell] ** 2 / noise
        variance += (2 * ell + 1) / (4 * math.pi) * gaussian_window(fwhm_arcmin, LMAX_SCORED)[ell] ** 2 / weight
    return math.sqrt(variance)


@pytest.mark.parametrize("footing", FOOTINGS)
@pytest.mark.parametrize(
    ("method", "shown"), [("control_channel", ("143",)), ("ilc_pixel", OBSERVED), ("control_zero", OBSERVED)]
)
def test_the_floor_is_that_of_the_channels_that_a_method_was_shown(
    compared: Path, method: str, shown: tuple[str, ...], footing: str
) -> None:
    found = scores(compared, method, "noise_rmse", footing)
    np.testing.assert_allclose(found, expected(shown, FOOTINGS[footing]), rtol=1e-9)
    assert expected(OBSERVED, FOOTINGS[footing]) < 0.95 * min(expected((name,), FOOTINGS[footing]) for name in OBSERVED)


def test_cleaning_says_which_channels_it_was_shown(compared: Path) -> None:
    shown = {"control_channel": ["143"], "ilc_pixel": list(OBSERVED), "control_truth": list(OBSERVED)}
    for method, channels in shown.items():
        path = compared / "sky" / "clean" / method / "test" / "sim0000" / "inference.yaml"
        assert yaml.safe_load(path.read_text())["channels"] == channels


def test_of_an_imported_map_all_channels_of_the_dataset_count(
    copy: Path, take: Callable[..., str], analyse: Analyse, tmp_path: Path
) -> None:
    truth = {sim: hp.read_map(copy / "sky" / "cmb" / "test" / sim / "cmb_map.fits") for sim in SIMS}
    take(copy, "theirs", predict(tmp_path / "given", truth))
    done(analyse(copy, ("theirs",)))
    for footing, fwhm_arcmin in FOOTINGS.items():
        found = scores(copy, "theirs", "noise_rmse", footing)
        np.testing.assert_allclose(found, expected(OBSERVED, fwhm_arcmin), rtol=1e-9)


def test_a_dataset_of_one_channel_has_its_floor(
    program: Analyse, command: Command, scoring: tuple[str, ...], tmp_path: Path
) -> None:
    """Nobody can use the noise of channels that nobody has."""
    splits = ("splits.train=0", "splits.test={sims: 2, cosmology: shared}", "scenario.lmax_scored=16")
    done(program("scenario.channels=[100]", *splits))
    done(command("clean", tmp_path, "dataset=small", "method=control_zero"))
    done(command("analysis", tmp_path, "dataset=small", "methods=[control_zero]", *scoring, "spectra.lmax=16"))
    of = list(csv.DictReader((tmp_path / "small/summary/test/summary_rows.csv").open(encoding="utf-8")))
    (row,) = [row for row in of if (row["footing"], row["region"], row["metric"]) == ("60 arcmin", "mask", "rmse")]
    ell = np.arange(2, 17)
    channel = INSTRUMENT["100"]
    noise = math.radians(channel["depth_uk_arcmin"] / 60) ** 2 * (
        1 + (channel["knee_multipole"] / ell) ** channel["slope"]
    )
    ratio = gaussian_window(60.0, 16)[2:] / gaussian_window(channel["fwhm_arcmin"], 16)[2:]
    wanted = math.sqrt(float(np.sum((2 * ell + 1) / (4 * math.pi) * noise * ratio**2)))
    assert float(row["noise_floor"]) == pytest.approx(wanted, rel=1e-9)
