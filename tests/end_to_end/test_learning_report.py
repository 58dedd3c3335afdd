"""Other skies, trainings and sweeps through the program, on two splits under two skies."""

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from astropy.table import Table
from comparing import wide
from outcomes import done, refused

from cmbml.core.executor import Executor
from cmbml.core.pipeline import Pipeline
from cmbml.core.runner import Serial
from cmbml.core.space import Space
from cmbml.core.unit_io import UnitIO
from cmbml.settings import settings
from cmbml.stages.assets import METHOD, STATE, TRAINING, TRAINING_CURVE

Command = Callable[..., "Outcome"]  # noqa: F821 (of conftest.py)
Analyse = Callable[..., "Outcome"]  # noqa: F821
METHODS = ("control_truth", "control_channel", "control_zero")
EPOCHS = 3


@settings
class Pretend(Executor):
    """Write what a training leaves, without one."""

    learning_rate: float
    writes: ClassVar = (STATE, TRAINING, TRAINING_CURVE)
    per: ClassVar = (METHOD,)

    def process(self, io: UnitIO) -> None:
        epochs = np.arange(EPOCHS)
        loss = self.learning_rate * 0.5**epochs
        columns = {"epoch": epochs, "train_loss": loss, "valid_loss": 2 * loss, "valid_rmse_uk": 9 * loss}
        found = {"n_parameters": 12345, "epochs": EPOCHS, "kept_epoch": EPOCHS - 1, "valid_loss": float(2 * loss[-1])}
        found["valid_rmse_uk"] = float(9 * loss[-1])
        asked = {"learning_rate": self.learning_rate, "loss": "l1", "seed": len(str(io.key)), "samples": 8} | found
        settings = {"network": {"depth": 5}, "train": {"learning_rate": self.learning_rate, "loss": "l1"}}
        about = {"method": str(io.key), "settings": settings, "holds_for": {}, "training": asked}
        io.write(STATE, ({"weights": np.zeros(2, np.float32)}, about))
        io.write(TRAINING_CURVE, Table(columns))
        facts = {"device": "cpu", "seconds": 77.0, "maps_per_second": 4.5, "waiting_for_data": 0.01}
        io.write(TRAINING, found | facts | {"method": asked})


def learn(root: Path, method: str, learning_rate: float) -> None:
    space = Space((), {METHOD: (method,)})
    pipeline = Pipeline({"train": Pretend(learning_rate=learning_rate)}, space, root / "sky", 1)
    pipeline.run(pipeline.plan(), Serial(threads=1))


@pytest.fixture
def shifted(command: Command, whole_sky: tuple[str, ...], tmp_path: Path) -> Path:
    """Make a small dataset with a second split under a brighter sky, and clean both; return its folder."""
    small = [word for word in whole_sky if not word.startswith(("splits.test", "scenario.channels"))]
    splits = ("splits.test={sims: 2, cosmology: shared}", "+splits.shift={sims: 2, cosmology: shared, model: shifted}")
    sky = ("+sky@skies.shifted=embedded", "skies.shifted.dust.amplitude=4", "skies.shifted.synchrotron.amplitude=4")
    done(command("sims", tmp_path, *small, 'scenario.channels=["100","143"]', *splits, *sky))
    for method in METHODS:
        words = (f"method={method}", "over.split=[test,shift]", "runner.threads=1")
        done(command("clean", tmp_path, "dataset=sky", *words))
    return tmp_path


@pytest.fixture
def analyse(command: Command, shifted: Path) -> Analyse:
    """Return what compares methods, without the slowest figures."""

    def run(*overrides: str, methods: tuple[str, ...] = METHODS) -> "Outcome":  # noqa: F821
        slow = () if "stages=sweep" in overrides else ("residual", "predictions", "comparison", "residual_figures")
        words = (f"methods=[{','.join(methods)}]", "runner.threads=1", *(f"~stages.{name}" for name in slow))
        return command("analysis", shifted, "dataset=sky", *words, *overrides)

    return run


def to_do(text: str) -> int:
    found = re.search(r"(?:(\d+) units? of work|nothing) to do", text)
    assert found
    return int(found.group(1) or 0)


BOTH = "over.split=[test,shift]"


def mean_rmse(root: Path, method: str, split: str, footing: str) -> float:
    tables = [wide(path) for path in (root / "sky" / "metrics" / method / split).rglob("scores.csv")]
    rows = [row for table in tables for row in table if (row["footing"], row["region"]) == (footing, "mask")]
    assert len(rows) == 2
    return float(np.mean([row["rmse"] for row in rows]))


def test_another_sky_is_compared_and_reported(shifted: Path, analyse: Analyse) -> None:
    done(analyse())
    folder = shifted / "sky" / "generalisation"
    assert not folder.exists(), "of one split there is nothing to say"
    report = shifted / "sky" / "report" / "test" / "report.html"
    assert "On another sky" not in report.read_text()
    done(analyse(BOTH))
    table = Table.read(folder / "generalisation.ecsv")
    assert set(table["method"]) == {"control_channel", "control_zero"}, "what sees the truth has no ratio"
    for row in table[(table["metric"] == "rmse") & (table["region"] == "mask")]:
        known, other = (mean_rmse(shifted, row["method"], split, row["footing"]) for split in ("test", "shift"))
        assert row["ratio"] == pytest.approx(other / known, rel=1e-9)
    worst = {method: table[table["method"] == method]["ratio"].max() for method in ("control_channel", "control_zero")}
    # Four times the Galaxy leaves a map that nobody cleaned much worse, and one of zeros as it was.
    assert worst["control_channel"] > 2 > worst["control_zero"]
    assert {path.suffix for path in folder.iterdir()} == {".ecsv", ".csv", ".md", ".png", ".pdf"}
    assert "shift / test [95 %]" in (folder / "generalisation_table.md").read_text()
    for split in ("test", "shift"):
        assert "On another sky" in (shifted / "sky" / "report" / split / "report.html").read_text()
    assert to_do(done(analyse(BOTH))) == 0
    done(analyse())
    assert not list(folder.iterdir()), "what is no longer asked for is gone"
    refused(
        analyse(BOTH, "reference=tset"), "reference=tset: it is not among the splits that are analysed, test, shift"
    )


def test_trainings_are_reported_and_a_new_one_is_seen(
    shifted: Path,
    analyse: Analyse,
) -> None:
    report = shifted / "sky" / "report" / "test" / "report.html"
    done(analyse())
    assert 'id="training"' not in report.read_text()
    learn(shifted, "control_zero", 0.1)
    done(analyse())
    assert 'id="training"' in report.read_text()
    assert '"n_parameters":12345' in report.read_text()
    assert {path.suffix for path in (shifted / "sky" / "learning").iterdir()} == {".png", ".pdf"}
    summary = Table.read(shifted / "sky" / "summary" / "test" / "summary.ecsv")
    assert set(summary[summary["method"] == "control_zero"]["train_seconds"]) == {77.0}
    assert np.isnan(summary[summary["method"] == "control_channel"]["train_seconds"]).all()
    assert to_do(done(analyse())) == 0
    before = report.read_bytes()
    learn(shifted, "control_zero", 0.2)
    done(analyse())
    assert report.read_bytes() != before


@pytest.mark.slow
def test_a_sweep_is_gathered(shifted: Path, analyse: Analyse) -> None:
    learn(shifted, "control_zero", 0.1)
    learn(shifted, "control_channel", 0.2)
    two = ("control_zero", "control_channel")
    text = done(analyse("stages=sweep", methods=two))
    path = shifted / "sky" / "sweep" / "sweep_rows.csv"
    rows = list(csv.DictReader(path.open()))
    assert [row["method"] for row in rows] == list(two)
    assert [float(row["learning_rate"]) for row in rows] == [0.1, 0.2]
    assert not {"loss", "seed", "kind", "samples"} & set(rows[0]), (
        "what is the same, or follows from the name, is left out"
    )
    assert rows[0]["kept epoch"] == str(EPOCHS)
    assert float(rows[1]["validation loss"]) == pytest.approx(2 * 0.2 * 0.25)
    assert (shifted / "sky" / "sweep" / "sweep_table.md").read_text() in text
    done(analyse(BOTH))
    assert to_do(done(analyse("stages=sweep", methods=METHODS))) == 1
    rows = list(csv.DictReader(path.open()))
    scores = {row["method"]: float(row["RMSE, test, 60 arcmin (µK_CMB)"]) for row in rows}
    assert scores["control_zero"] == pytest.approx(mean_rmse(shifted, "control_zero", "test", "60 arcmin"), rel=1e-9)
    assert next(row for row in rows if row["method"] == "control_truth")["learning_rate"] == ""
    refused(analyse("stages=sweep", methods=("control_zero", "control_zer")), "of control_zer there", "'control_zero'")
