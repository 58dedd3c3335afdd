"""A task from outside the package, as docs/add_a_task.md has it, is trained, answered and judged by the programs."""

import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from cmbml.core.app import main

pytest.importorskip("lightning")

PROJECT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"(?:^`(?P<path>[\w/.]+)`:\n\n)?^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = list(BLOCK.finditer((PROJECT / "docs" / "add_a_task.md").read_text()))
FILES = {block["path"]: block["text"] for block in BLOCKS if block["path"]}
COMMANDS = [line for block in BLOCKS if block["kind"] == "sh" for line in block["text"].splitlines()]


def test_task_from_outside(tmp_path: Path, smallest: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for path, text in FILES.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    shared = [word for word in smallest if not word.startswith(("dataset=", "splits."))]
    few = {"sims": shared, "clean": ["hardware.device=cpu", "hardware.threads=1"], "analysis": []}
    for line in COMMANDS:
        python, program, *words = shlex.split(line)
        name = program.removeprefix("main_").removesuffix(".py")
        assert python == "python" and (PROJECT / program).is_file()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", [program, *words, *few[name]])
            main(name)
    scores = Table.read(tmp_path / "datasets/toy/metrics/foretell/test/sim0000/scores.csv")
    found = dict(zip(scores["metric"], scores["value"], strict=True))
    # Both channels see the same sky under different beams, with different noise: what a factor can foretell.
    assert 0.5 < found["correlation"] < 1
    assert np.isfinite(found["rmse"])
    # Its metrics are those of its judge alone, in the table, the verdict and the report.
    table = (tmp_path / "datasets/toy/summary/test/summary_table.md").read_text()
    assert "| Beam | Method | → 1 correlation with the truth | ↓ RMSE (µK_CMB) |" in table
    assert "correlation with the truth at as asked, in all sky: foretell" in table
    assert "correlation with the truth" in (tmp_path / "datasets/toy/report/test/report.html").read_text()
    sys.modules.pop("my_task", None)


def test_page_has_the_blocks_that_it_speaks_of() -> None:
    assert list(FILES) == [
        "my_task.py",
        "configs/cases/other_channel.yaml",
        "configs/method/foretell.yaml",
        "configs/stages/foretelling.yaml",
    ]
    assert len(COMMANDS) == 3
