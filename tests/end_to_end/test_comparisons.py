"""Pages of all comparisons of a dataset are kept and listed, and say how to make them again."""

import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from comparing import METHODS
from outcomes import done, refused

from cmbml.stages.analysis.comparisons import comparison_name

Command = Callable[..., "Outcome"]  # noqa: F821 (of conftest.py)
Analyse = Callable[..., "Outcome"]  # noqa: F821


@pytest.fixture(scope="module")
def words(scoring: tuple[str, ...]) -> tuple[str, ...]:
    """Return the overrides of a comparison that writes a page with little on it."""
    dear = ("shapes", "components", "power_spectra", "coupling", "residual", "error_bars", "recovered")
    judges = ("error_bars", "shapes", "foregrounds")
    left_out = (*(f"stages.{stage}" for stage in dear), *(f"stages.metrics.judges.{judge}" for judge in judges))
    return (*(word for word in scoring if word != "~stages.report"), *(f"~{place}" for place in left_out))


@pytest.fixture(scope="module")
def paged(
    tmp_path_factory: pytest.TempPathFactory, cleaned: Path, calling: Callable[..., int], words: tuple[str, ...]
) -> Path:
    """Compare the methods of the dataset `sky` with a page; return the folder that holds it."""
    root = Path(shutil.copytree(cleaned, tmp_path_factory.mktemp("paged") / "root"))
    assert calling("analysis", root, "dataset=sky", f"methods=[{','.join(METHODS)}]", *words) == 0
    return root


@pytest.fixture
def copy(paged: Path, tmp_path: Path) -> Path:
    """Copy it, to be changed."""
    return Path(shutil.copytree(paged, tmp_path / "paged"))


@pytest.fixture
def analyse(command: Command, words: tuple[str, ...]) -> Analyse:
    """Return what compares methods on the dataset `sky` in a folder, with a page."""

    def run(root: Path, methods: tuple[str, ...], *overrides: str) -> "Outcome":  # noqa: F821
        return command("analysis", root, "dataset=sky", f"methods=[{','.join(methods)}]", *words, *overrides)

    return run


def test_pages_of_other_lists_are_kept_and_stale_ones_said(copy: Path, command: Command, analyse: Analyse) -> None:
    kept, newest = copy / "sky/comparisons", copy / "sky/report/test/report.html"
    whole = kept / comparison_name(METHODS) / "test/report.html"
    assert whole.read_bytes() == newest.read_bytes()
    before = whole.read_bytes()
    assert "this comparison is kept as pair; all" in done(analyse(copy, METHODS[2:], "comparison=pair"))
    assert whole.read_bytes() == before
    assert (kept / "pair/test/report.html").read_bytes() == newest.read_bytes() != before
    index = (kept / "index.html").read_text()
    assert "sky: 2 comparisons" in index
    assert "<strong>Stale" not in index
    assert 'href="pair/test/report.html"' in index
    # A method that comes to other scores makes stale what stood on the old ones, and nothing else.
    done(command("clean", copy, "dataset=sky", "method=control_channel", "method.channel=100", "runner.threads=1"))
    done(analyse(copy, ("control_channel", "control_zero"), "comparison=again"))
    entries = (kept / "index.html").read_text().split("<h2")[1:]
    stale = {re.search(">([^<]+)</h2>", entry).group(1): "<strong>Stale" in entry for entry in entries}
    assert stale == {comparison_name(METHODS): True, "pair": False, "again": False}
    assert "control_channel_test is not as when this was written" in (kept / "index.html").read_text()


def test_a_page_says_all_that_makes_it_again(paged: Path) -> None:
    """The dataset with its overrides, each method, the comparison: as they were typed, but for where and how."""
    page = (paged / "sky/report/test/report.html").read_text()
    text = re.search(r'<pre class="wrap" tabindex="0" id="commands">(.*?)</pre>', page, re.DOTALL).group(1)
    lines = [shlex.split(line.replace("&#39;", "'").replace("&#34;", '"')) for line in text.strip().splitlines()]
    programs = [words[1] for words in lines]
    assert programs == ["main_sims.py", *["main_clean.py"] * len(METHODS), "main_analysis.py"]
    assert {"scenario.nside=16", "splits.test={sims: 3, cosmology: shared}", "vary=shared"} <= {*lines[0]}
    assert [next(word for word in words if word.startswith("method=")) for words in lines[1:-1]] == [
        f"method={name}" for name in sorted(METHODS)
    ]
    assert f"methods=[{','.join(METHODS)}]" in lines[-1]
    assert all(words[2] == "system.root=ROOT" and "dataset=sky" in words for words in lines)
    assert not any(word.startswith(("runner", "resume")) for words in lines for word in words)


def test_name_that_no_folder_could_have(copy: Path, analyse: Analyse) -> None:
    refused(analyse(copy, METHODS[:2], "comparison=a/b"), "comparison", "made of letters, digits")


def test_note_of_a_comparison_that_makes_no_sense_is_passed_over(copy: Path, analyse: Analyse) -> None:
    (note,) = (copy / "sky/comparisons").glob("*/comparison.json")
    assert json.loads(note.read_text())["methods"] == sorted(METHODS)
    note.write_text("{}")
    done(analyse(copy, METHODS[2:], "comparison=pair"))
    assert "sky: 1 comparison<" in (copy / "sky/comparisons/index.html").read_text()
