"""Comparing methods through the program: the same tables in any order, nothing twice, and a bundle to check."""

import csv
import gzip
import hashlib
import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path

import healpy as hp
import numpy as np
import pytest
from astropy.table import Table
from comparing import FOOTINGS, METHODS, NSIDE, SIMS, scores
from outcomes import done

Command = Callable[..., "Outcome"]  # noqa: F821 (of conftest.py)
Analyse = Callable[..., "Outcome"]  # noqa: F821


TABLES = ("summary.ecsv", "summary_rows.csv", "summary_table.md", "summary_latex.tex", "bundle.json.gz")


def tables(root: Path) -> dict[str, bytes]:
    return {name: (root / "sky" / "summary" / "test" / name).read_bytes() for name in TABLES}


@pytest.mark.parametrize("order", [METHODS[::-1], (*METHODS[2:], *METHODS[:2])])
def test_order_of_methods_changes_no_byte(copy: Path, compared: Path, analyse: Analyse, order: tuple[str, ...]) -> None:
    done(analyse(copy, order, "resume=restart"))
    assert tables(copy) == tables(compared)


def test_two_processes_change_no_byte(
    copy: Path, compared: Path, analyse: Analyse, digests: Callable[[Path], dict[str, str]]
) -> None:
    out = done(analyse(copy, METHODS[::-1], "resume=restart", "runner=processes", "runner.workers=2"))
    assert "; 0 were done before" in out
    assert tables(copy) == tables(compared)
    assert digests(copy / "sky") == digests(compared / "sky")


def test_rows_of_the_summary_are_sorted(compared: Path) -> None:
    found = Table.read(compared / "sky/summary/test/summary.ecsv")
    keys = [tuple(row[name] for name in ("footing", "field", "region", "metric", "method")) for row in found]
    assert keys == sorted(keys)
    rows = list(csv.DictReader((compared / "sky/summary/test/summary_rows.csv").open()))
    assert [float(row["mean"]) for row in rows] == pytest.approx(list(found["mean"]), rel=0, nan_ok=True)


def test_summary_is_the_mean_over_simulations(compared: Path) -> None:
    found = Table.read(compared / "sky/summary/test/summary.ecsv")
    for method, footing, metric in itertools.product(METHODS[1:], FOOTINGS, ("mae", "rmse", "psnr_union")):
        each = scores(compared, method, metric, footing)
        keys = {"method": method, "footing": footing, "region": "mask", "metric": metric}
        (row,) = [row for row in found if all(row[name] == value for name, value in keys.items())]
        assert row["n"] == len(SIMS)
        assert row["mean"] == pytest.approx(each.mean(), rel=1e-12)
        assert row["std"] == pytest.approx(each.std(ddof=1), rel=1e-12)
        assert row["ci_low"] <= row["difference"] <= row["ci_high"]


def planned(out: str) -> dict[str, int]:
    """Read the plan that the program printed: units to be done of each stage that has any."""
    rows = [line.split() for line in out.splitlines() if re.match(r"\w+ +\d+ +\d+ ", line)]
    return {row[0]: int(row[1]) for row in rows if row[0] != "total" and row[1] != "0"}


def test_nothing_is_done_twice(copy: Path, analyse: Analyse) -> None:
    assert planned(done(analyse(copy, METHODS, "plan_only=true"))) == {}
    assert planned(done(analyse(copy, METHODS[::-1], "plan_only=true"))) == {}
    assert planned(done(analyse(copy, METHODS[:2], "plan_only=true"))) == {
        "error_bars": 1,
        "recovered": 1,
        "summary": 1,
    }
    again = {"coupling": 1, "power_spectra": 12}
    # Biases of parameters are found from spectra in these bins, and stand among the scores.
    scored = {"metrics": 12, "gathered": 4, "error_bars": 1, "recovered": 1, "summary": 1}
    bins = planned(done(analyse(copy, METHODS, "plan_only=true", "spectra.bin_width=10")))
    assert bins == scored | {"power_spectra": 12}
    assert again.items() <= planned(done(analyse(copy, METHODS, "plan_only=true", "spectra.lmax=30"))).items()


def test_one_more_simulation_redoes_only_what_depends_on_it(
    copy: Path,
    command: Command,
    analyse: Analyse,
    digests: Callable[[Path], dict[str, str]],
    whole_sky: tuple[str, ...],
) -> None:
    before = digests(copy / "sky")
    words = [word for word in whole_sky if not word.startswith("splits.test")]
    done(command("sims", copy, *words, "splits.test={sims: 4, cosmology: shared}"))
    for method in METHODS:
        assert "1 unit of work to do; 3 were done before" in done(
            command("clean", copy, "dataset=sky", f"method={method}")
        )
    out = done(analyse(copy, METHODS, "plan_only=true"))
    each = dict.fromkeys(("common", "metrics", "power_spectra", "shapes", "gathered", "residual"), 4)
    assert planned(out) == each | {"error_bars": 1, "recovered": 1, "summary": 1}
    done(analyse(copy, METHODS))
    after = digests(copy / "sky")
    changed = {path.split("/")[0] for path in before if after[path] != before[path]}
    assert changed == {"gathered", "summary", "residual"}
    assert set(Table.read(copy / "sky/summary/test/summary.ecsv")["n"]) == {4}


# The bundle


def bundle(root: Path) -> dict:
    return json.loads(gzip.decompress((root / "sky/summary/test/bundle.json.gz").read_bytes()))["methods"]


def test_bundle_holds_all_scores_and_can_be_checked(compared: Path) -> None:
    methods = bundle(compared)
    assert list(methods) == sorted(METHODS)
    for method, entry in methods.items():
        assert entry["sims"] == list(SIMS)
        assert entry["sky"] == ["main"] * len(SIMS)
        for i, sim in enumerate(SIMS):
            folder = compared / "sky" / "clean" / method / "test" / sim
            values = hp.read_map(folder / "cleaned_map.fits", dtype=np.float32)
            assert entry["maps"][i]["values_sha256"] == hashlib.sha256(values.astype("<f4").tobytes()).hexdigest()
            assert entry["maps"][i]["nside"] == NSIDE
            own = Table.read(compared / "sky/metrics" / method / "test" / sim / "scores.csv")
            assert len(entry["rows"]["metric"]) == len(own)
            for name in ("value", "floor", "noise_floor", "best"):
                theirs = [of[i] if isinstance(of, list) else of for of in entry["scores"][name]]
                ours = np.where(np.isfinite(own[name]), own[name], np.nan)
                np.testing.assert_allclose(np.array(theirs, float), ours, rtol=1e-8)
