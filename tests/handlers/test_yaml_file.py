"""YAML files hold plain values, in their order."""

from pathlib import Path

import pytest

from cmbml.core.handler import Stamp
from cmbml.handlers.yaml_file import YamlFile

STAMP = Stamp("stage", "0123456789abcdef" * 4)


def test_yaml_keeps_numbers_and_order(tmp_path: Path) -> None:
    before = {"z": 0.1 + 0.2, "a": 2.1005e-9, "n": 3, "flag": True}
    YamlFile().write(tmp_path / "p.yaml", before, STAMP)
    found = YamlFile().read(tmp_path / "p.yaml")
    assert found == before
    assert list(found) == ["z", "a", "n", "flag"]
    assert "stage stage" in (tmp_path / "p.yaml").read_text()


@pytest.mark.parametrize(("text", "words"), [("", "no mapping"), ("- 1", "no mapping"), ("a: [1", "no YAML")])
def test_yaml_that_is_no_mapping(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(ValueError, match=words):
        YamlFile().read(tmp_path / "p.yaml")


def test_yaml_holds_plain_values_only(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("a: !!python/object/apply:os.getcwd []")
    with pytest.raises(ValueError, match="no YAML"):
        YamlFile().read(tmp_path / "p.yaml")
