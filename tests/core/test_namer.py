"""The rule by which files are named."""

from toys import EMISSION, FREQ, SIM, SKY, SPLIT, SUMMARY, TOTAL, toy_space

from cmbml.core.namer import Namer
from cmbml.core.space import Key


def test_folders_by_rank_then_name_channel_and_suffix() -> None:
    key = Key.of({FREQ: "a", SIM: "sim0002", SPLIT: "train"})
    assert str(Namer().path("observe", TOTAL, key)) == "observe/train/sim0002/total_a.npy"


def test_an_axis_that_the_asset_lacks_leaves_no_mark() -> None:
    key = Key.of({SKY: "main", FREQ: "a", SIM: "sim0002", SPLIT: "train"})
    assert str(Namer().path("stage", SUMMARY, key)) == "stage/train/summary.yaml"
    assert str(Namer().path("stage", EMISSION, key)) == "stage/main/emission_a.npy"


def test_record_of_each_unit() -> None:
    assert str(Namer().record("observe", Key.of({SPLIT: "train", SIM: "sim0000"}))) == (
        ".records/observe/train_sim0000.json"
    )
    assert str(Namer().record("figure", Key())) == ".records/figure/only.json"


def test_no_two_points_share_a_file() -> None:
    namer, keys = Namer(), toy_space().keys((SPLIT, SIM, FREQ))
    assert len({namer.path("stage", TOTAL, key) for key in keys}) == len(keys)
    units = toy_space().keys((SPLIT, SIM))
    assert len({namer.record("stage", key) for key in units}) == len(units)
