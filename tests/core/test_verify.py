"""A whole dataset is looked through."""

import os
from pathlib import Path

import pytest
from test_upstream import UPSTREAM, Count, make
from toys import Draw, build, overwrite

from cmbml.core.errors import StaleError
from cmbml.core.runner import Serial
from cmbml.core.verify import verify

SERIAL = Serial(threads=1)


def test_whole_dataset_is_verified(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    build(tmp_path)
    caplog.set_level("INFO", "cmbml")
    verify(tmp_path)
    assert "21 files of 16 units are as they were written" in caplog.text
    folder = tmp_path / "total" / "train"
    overwrite(folder / "sim0000" / "total_a.npy")
    (folder / "sim0001" / "total_a.npy").unlink()
    os.truncate(folder / "sim0002" / "total_b.npy", 100)
    caplog.clear()
    with pytest.raises(StaleError, match=r"3 faults in .*\nrun: python main_sims.py dataset=toy"):
        verify(tmp_path)
    for place, words in (("0/total_a", "is altered"), ("1/total_a", "is missing"), ("2/total_b", "is cut short")):
        assert f"sim000{place}.npy {words}" in caplog.text


def test_stale_units_are_verified_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    build(tmp_path)
    make(tmp_path, {"count": Count()}, UPSTREAM)
    build(tmp_path, signal=Draw(sigma=2))
    caplog.set_level("INFO", "cmbml")
    with pytest.raises(StaleError, match="2 faults"):
        verify(tmp_path)
    assert "count/train/count.yaml is stale: 'total train_sim0000' has been made anew since" in caplog.text
