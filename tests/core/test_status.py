"""What `status` says of a dataset: by records, sizes and times."""

from pathlib import Path

import pytest
from test_upstream import UPSTREAM, Count, make
from toys import Draw, build

from cmbml.core.status import status


def told(root: Path, caplog: pytest.LogCaptureFixture) -> str:
    caplog.clear()
    status(root)
    return caplog.text


def test_status_counts_what_is_made_lost_and_stale(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "cmbml")
    build(tmp_path)
    make(tmp_path, {"count": Count()}, UPSTREAM)
    assert "all that was asked for is made and up to date" in told(tmp_path, caplog)
    rows = {line.split()[0]: line.split()[-4:] for line in caplog.text.splitlines() if line[-1].isdigit()}
    assert rows["signal"] == ["5", "0", "0", "0"]
    (tmp_path / "signal" / "train" / "sim0001" / "signal.npy").unlink()
    found = told(tmp_path, caplog)
    rows = {line.split()[0]: line.split()[-4:] for line in found.splitlines() if line[-1].isdigit()}
    assert rows["signal"] == ["4", "1", "0", "0"]
    assert "run:\n  python main_sims.py dataset=toy" in found


def test_status_sees_what_other_settings_have_outdated(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "cmbml")
    build(tmp_path)
    make(tmp_path, {"count": Count()}, UPSTREAM)
    build(tmp_path, signal=Draw(sigma=2))
    rows = {line.split()[0]: line.split() for line in told(tmp_path, caplog).splitlines() if line[-1].isdigit()}
    assert rows["count"][-4] == "0"
    assert rows["count"][-3] != "0"
