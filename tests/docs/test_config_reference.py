"""The reference of config keys: every key of every file is in it, with a meaning."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT / "docs"))
try:
    from _make.config_reference import CONFIG_FOLDER, TITLES, all_options, escaped, read_option, write_reference
finally:
    sys.path.remove(str(PROJECT / "docs"))

FILES = sorted(CONFIG_FOLDER.rglob("*.yaml"))
OPTIONS = {(option.group, option.name): option for option in all_options()}


def leaves(node: Any, place: str = "") -> Iterator[str]:
    """Give the keys of what a YAML file holds, by the parser alone."""
    if isinstance(node, dict):
        for key, value in node.items():
            if str(key) not in {"_target_", "_partial_", "defaults", "hydra"}:
                yield from leaves(value, f"{place}.{key}".lstrip("."))
    elif isinstance(node, list) and any(isinstance(entry, dict) for entry in node):
        for i, entry in enumerate(node):
            yield from leaves(entry, f"{place}.{i}".lstrip("."))
    else:
        yield place


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_key_is_there_with_a_meaning(path: Path) -> None:
    group = "" if path.parent == CONFIG_FOLDER else path.parent.name
    option = OPTIONS[group, path.stem]
    known = {row.key.lstrip("+").split(".", option_depth(path, group))[-1] for row in option.rows}
    for key in leaves(yaml.safe_load(path.read_text())):
        assert covered(key, known), f"{key} is not in the reference"
    for row in option.rows:
        assert row.meaning, f"{row.key} has no meaning in the reference"


def option_depth(path: Path, group: str) -> int:
    """Return how many words of a key come from the file's place, and not from the file."""
    first = path.read_text().partition("\n")[0]
    package = first.removeprefix("# @package ") if first.startswith("# @package ") else group
    return 0 if package in {"_global_", ""} else len(package.split("."))


def covered(key: str, known: set[str]) -> bool:
    """Say whether a key is known: by itself, as one of a table's lines, or inside of a value that is shown whole."""
    words = key.split(".")
    as_lines = {".".join([*words[:i], "NAME", *words[i + 1 :]]) for i in range(len(words))}
    whole = {".".join(words[:i]) for i in range(1, len(words))}
    return key in known or bool(as_lines & known) or bool(whole & known)


def test_every_group_has_a_page_and_a_title(tmp_path: Path) -> None:
    write_reference(tmp_path)
    groups = {group for group, _ in OPTIONS} - {""}
    assert set(TITLES) == groups
    assert {path.stem for path in tmp_path.glob("*.md")} == groups | {"programs", "index"}
    text = (tmp_path / "method.md").read_text()
    assert "`method.noise_weight` = `10.0` (number \\>= 0)\n: how many times more" in text


def test_settings_that_a_file_leaves_out_are_there_with_a_plus() -> None:
    rows = {row.key: row for row in OPTIONS["runner", "slurm"].rows}
    assert rows["+runner.timeout_s"].kind == "number > 0"
    assert rows["runner.workers"].meaning == "Dask workers, each doing one unit at a time"


def test_comments_are_read_as_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "group" / "some.yaml"
    path.parent.mkdir()
    path.write_text(
        "# What it is for.\n"
        "first: 1  # said beside,\n"
        "          # and below\n"
        "# said above, of both\n"
        "second: 2\n"
        "third: 3\n\n"
        "lines:\n"
        '  "30": {fwhm: 1}  # beams\n'
        '  "44": {fwhm: 2}\n'
        "other: ${first}\n"
    )
    rows = {row.key: (row.value, row.meaning) for row in read_option(path).rows}
    assert rows == {
        "group.first": ("1", "said beside, and below"),
        "group.second": ("2", "said above, of both"),
        "group.third": ("3", "said above, of both"),
        "group.lines.NAME.fwhm": ("30: 1, 44: 2", "What it is for."),
        "group.other": ("${first}", "what `first` says"),
    }


def test_markdown_finds_nothing_in_what_comments_say() -> None:
    assert escaped("a*b | c_d, `x|y`") == "a\\*b \\| c\\_d, `x\\|y`"
