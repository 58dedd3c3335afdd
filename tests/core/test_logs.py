"""What is said, where."""

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cmbml.core.logs import ROOT, log_file, talk_on_the_console
from cmbml.core.runner import Dask, Processes, Runner


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before = ROOT.handlers, ROOT.level, ROOT.propagate
    yield
    ROOT.handlers, ROOT.level, ROOT.propagate = before


def test_log_holds_what_the_console_does_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("cmbml.core.pipeline")
    talk_on_the_console()
    with log_file(tmp_path):
        logger.debug("the details")
        logger.info("the news")
    logger.info("too late")
    text = (tmp_path / "run.log").read_text()
    assert "DEBUG" in text
    assert "the details" in text
    assert "the news" in text
    assert "too late" not in text
    assert capsys.readouterr().out == "the news\ntoo late\n"


def speak() -> None:
    logging.getLogger("cmbml.methods").info("epoch 1 of 2")


@pytest.mark.parametrize("runner", [Processes(workers=1), Dask(workers=1)], ids=["processes", "dask"])
def test_what_a_worker_says_is_heard_at_once(tmp_path: Path, capfd: pytest.CaptureFixture[str], runner: Runner) -> None:
    """A training in a worker tells of every epoch, as one in this process does."""
    talk_on_the_console()
    with log_file(tmp_path), runner.pool() as pool:
        pool.submit(speak).result()
        while "cmbml.methods: epoch 1 of 2\n" not in (tmp_path / "run.log").read_text():
            time.sleep(0.01)
    assert capfd.readouterr().out == "epoch 1 of 2\n"
    assert (tmp_path / "run.log").read_text().count("epoch 1 of 2") == 1
