"""The reference of every config key: comments and values from `cfg/`, types and further settings from the classes."""

import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

import cmbml
from cmbml.sky.instrument import Channel

CONFIG_FOLDER = Path(cmbml.__file__).parent / "cfg"
# Mappings of the files that no `_target_` stands above, for several stages are handed them.
SCHEMAS = {("instrument", "channels"): Mapping[str, Channel]}
TITLES = {
    "assets": "Where raw files are", "cases": "What is shown, and what is asked", "cosmology": "Cosmologies",
    "dust": "Maps that patches of dust are cut from", "footings": "Footings", "hardware": "Hardware",
    "holes": "Holes", "hydrogen": "Neutral hydrogen", "instrument": "Instruments", "mask": "Masks",
    "method": "Methods", "network": "Networks", "noise": "Noise", "observations": "Real maps",
    "recalibration": "Recalibration of error bars", "runner": "Runners", "scenario": "Resolution and fields",
    "sky": "Foregrounds", "splits": "Splits", "stages": "Stages", "system": "Where datasets are",
    "tuning": "How much of a correction is subtracted", "uncertainty": "How sure a network is",
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One key.

    Attributes:
        key: as on the command line; with a `+` before it where the file does not have it.
        value: what it is by default, as it stands in the file or the class.
        kind: what it may be, by its class; empty where no class is named.
        meaning: what it means.
        owner: the class whose setting it is; empty where no class is named.
    """

    key: str
    value: str
    kind: str
    meaning: str
    owner: str = ""


@dataclass(frozen=True)
class Option:
    """One file of `cfg/`.

    Attributes:
        group: its folder; empty for that of a program.
        name: of the file.
        about: the comment that it begins with.
        rows: every key in it, and every further setting of its classes.
    """

    group: str
    name: str
    about: str
    rows: Sequence[Row]


def all_options() -> list[Option]:
    """Read every file in `cfg/`."""
    files = sorted(CONFIG_FOLDER.glob("*.yaml")) + sorted(CONFIG_FOLDER.glob("*/*.yaml"))
    options = [read_option(path) for path in files]
    # What a file leaves to its first comment, or says nothing of, another may say of the key or of the class's setting.
    said = {(f"{option.group}=", option.name): _first_sentence(option.about) for option in options}
    for option in options:
        for row in option.rows:
            if row.meaning not in {"", option.about}:
                said.setdefault((option.group, row.key.lstrip("+")), row.meaning)
                said.setdefault((row.owner, row.key.rpartition(".")[2]), row.meaning)
    return [replace(option, rows=[_told_elsewhere(row, option, said) for row in option.rows]) for option in options]


def _told_elsewhere(row: Row, option: Option, said: Mapping[tuple[str, str], str]) -> Row:
    if row.meaning not in {"", option.about}:
        return row
    if row.kind == "group":
        group = f"{row.key.rstrip('=').partition('@')[0]}="
        return replace(row, meaning=said.get((group, row.value), "an option of this group"))
    places = [(option.group, row.key.lstrip("+")), *([(row.owner, row.key.rpartition(".")[2])] if row.owner else [])]
    return replace(row, meaning=next((said[place] for place in places if place in said), row.meaning))


def read_option(path: Path) -> Option:
    """Read one file of `cfg/`."""
    text = path.read_text()
    group = "" if path.parent == CONFIG_FOLDER else path.parent.name
    package = re.search(r"^# @package (\S+)", text)
    prefix = group if package is None else package[1].replace("_global_", "")
    comments = Comments(text)
    node = yaml.compose(text)
    rows = [] if node is None else list(_rows(node, prefix, None, File(group, comments, {})))
    return Option(group, path.stem, comments.head, rows)


class Comments:
    """What the comments of a file say of its keys.

    A comment explains the key on its line, or that below it and the siblings that follow at once. A key without one has
    been explained before, or is named in another key's.
    """

    def __init__(self, text: str) -> None:
        self.lines = text.splitlines()
        head = []
        for line in self.lines:
            if not line.startswith("#"):
                break
            if not line.startswith("# @package"):
                head.append(line.lstrip("# "))
        self.head = " ".join(head)
        self.n_head = len(head) + text.startswith("# @package")
        inherited = re.search(r"^from_dataset: \[(.*?)\]", text, re.MULTILINE)
        self.inherited = re.findall(r"\w+", inherited[1]) if inherited else []

    def of(self, line: int) -> str:
        """Return the comment on the key of a line; empty if there is none."""
        return self._beside(line) or self._above(line)

    def _beside(self, line: int) -> str:
        """Return the comment on a line, and what goes on below it in the same column."""
        own = _trailing(self.lines[line])
        column = self.lines[line].rfind(f"# {own}")
        for after in self.lines[line + 1 :] if own else []:
            if not after.lstrip().startswith("#") or abs(after.index("#") - column) > 0:
                break
            own += " " + after.strip().lstrip("# ")
        return own

    def _above(self, line: int) -> str:
        indent = _indent(self.lines[line])
        at = line - 1
        while at >= self.n_head and self.lines[at].strip() and not self.lines[at].lstrip().startswith("#"):
            if _indent(self.lines[at]) < indent:
                return ""
            at -= 1
        block: list[str] = []
        while at >= self.n_head and self.lines[at].lstrip().startswith("#") and _indent(self.lines[at]) == indent:
            block.insert(0, self.lines[at].strip().lstrip("# "))
            at -= 1
        return " ".join(block)

    def naming(self, key: str) -> str:
        """Return the comment that names a key: that of another one, or the head of the file; empty if none does."""
        word = re.compile(rf"(?<![\w.]){re.escape(key)}(?![\w=])")
        for line in self.lines[self.n_head :]:
            if word.search(_trailing(line) or (line if line.lstrip().startswith("#") else "")):
                return _trailing(line) or line.strip().lstrip("# ")
        return self.head if word.search(self.head) else ""


def _trailing(line: str) -> str:
    """Return the comment after a value."""
    if line.lstrip().startswith("#"):
        return ""
    found = re.search(r"(?:^|\s)#\s?(.*)$", line)
    return found[1].strip() if found else ""


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" -"))


@dataclass
class File:
    """What is known of a file while its keys are gone through."""

    group: str
    comments: Comments
    told: dict[str, str]


def _rows(node: yaml.Node, place: str, hint: Any, file: File, parent: str = "") -> Iterator[Row]:
    if isinstance(node, yaml.SequenceNode):
        for i, entry in enumerate(node.value):
            yield from _rows(entry, f"{place}.{i}".lstrip("."), hint, file, parent)
        return
    kind = _target(node) or _class_in(hint)
    hints, told, defaults = _settings_of(kind) if kind else ({}, {}, {})
    each = _entries_of(hint) if kind is None else None
    present = set()
    for key_node, value in node.value:
        key = str(key_node.value)
        present.add(key)
        where = f"{place}.{key}".lstrip(".")
        if key in {"_target_", "_partial_", "hydra"}:
            continue
        if key == "defaults" and isinstance(value, yaml.SequenceNode):
            yield from _defaults(value, file.comments)
            continue
        own = each or hints.get(key) or SCHEMAS.get((file.group, key))
        said = file.comments.of(key_node.start_mark.line)
        if said:
            file.told.setdefault(key, said)
        meaning = said or told.get(key, "") or file.told.get(key, "")
        if _is_table(value):
            yield from _table_rows(value, where, own, file, meaning)
        elif _is_nested(value, own):
            target = _target(value)
            meaning = meaning or (_first_sentence(target.__doc__ or "") if target else "")
            if meaning:
                yield Row(where, _path(target), _named(own), meaning)
            yield from _rows(value, where, own, file, meaning)
        else:
            text = _text(value)
            inherited = "taken from the dataset, as main_sims.py made it" if key in file.comments.inherited else ""
            meaning = (
                meaning or _referred(text) or inherited or file.comments.naming(key) or parent or file.comments.head
            )
            yield Row(where, text, _named(own), meaning, _path(kind))
    for name, default in defaults.items():
        if name not in present and name != "over" and _target(node):
            yield Row(f"+{place}.{name}", default, _named(hints.get(name)), told.get(name, ""), _path(kind))


def _path(kind: Any) -> str:
    return f"{kind.__module__}.{kind.__qualname__}" if kind else ""


def _is_nested(node: yaml.Node, hint: Any) -> bool:
    """Say whether a value's keys are settings of their own: a block of them, or a list of such blocks."""
    if isinstance(node, yaml.SequenceNode):
        return any(isinstance(entry, yaml.MappingNode) and not entry.flow_style for entry in node.value)
    plain = all(isinstance(value, yaml.ScalarNode) for _, value in node.value) if _is_mapping(node) else True
    of_scalars = plain and _entries_of(hint) is not None and _class_in(_entries_of(hint)) is None
    return _is_mapping(node) and bool(node.value) and not node.flow_style and not of_scalars


def _is_table(node: yaml.Node) -> bool:
    """Say whether a value is a line of the same settings for each of many names, such as channels."""
    return (
        _is_mapping(node) and bool(node.value) and all(_is_mapping(line) and line.flow_style for _, line in node.value)
    )


def _table_rows(node: yaml.Node, where: str, hint: Any, file: File, meaning: str) -> Iterator[Row]:
    """Give one row for each setting of all the lines, with what each line says."""
    kind = _class_in(_entries_of(hint))
    hints, told, _ = _settings_of(kind) if kind else ({}, {}, {})
    columns: dict[str, list[str]] = {}
    for name, line in node.value:
        for key, value in line.value:
            columns.setdefault(str(key.value), []).append(f"{name.value}: {_text(value)}")
    for key, values in columns.items():
        said = told.get(key, "") or meaning or file.comments.naming(key) or file.comments.head
        yield Row(f"{where}.NAME.{key}", ", ".join(values), _named(hints.get(key)), said)


def _defaults(node: yaml.SequenceNode, comments: Comments) -> Iterator[Row]:
    """Give the groups that a file chooses an option of."""
    for entry in node.value:
        if isinstance(entry, yaml.MappingNode):
            ((key, value),) = entry.value
            name = str(key.value).removeprefix("override ").lstrip("/")
            if "hydra" not in name:
                yield Row(f"{name}=", _text(value), "group", _trailing(comments.lines[key.start_mark.line]))


def _referred(text: str) -> str:
    found = re.fullmatch(r"\$\{([\w.]+)\}", text.strip("'\""))
    return f"what `{found[1]}` says" if found else ""


def _text(node: yaml.Node) -> str:
    """Return a value as it is written in one line."""
    if isinstance(node, yaml.ScalarNode):
        return f'"{node.value}"' if node.style in {"'", '"'} else str(node.value)
    if isinstance(node, yaml.SequenceNode):
        return f"[{', '.join(map(_text, node.value))}]"
    return f"{{{', '.join(f'{_text(key)}: {_text(value)}' for key, value in node.value)}}}"


def _target(node: yaml.Node) -> Any:
    """Return the class or function that a mapping names by `_target_`; None if it names none that is here."""
    named = {str(key.value): value for key, value in getattr(node, "value", [])} if _is_mapping(node) else {}
    path = getattr(named.get("_target_"), "value", None)
    if not path or not path.startswith("cmbml."):
        return None
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


def _is_mapping(node: yaml.Node) -> bool:
    return isinstance(node, yaml.MappingNode)


@cache
def _settings_of(kind: Any) -> tuple[dict[str, Any], dict[str, str], dict[str, str]]:
    """Return the types of a class's settings, what its docstring says of them, and the defaults of those with one."""
    told: dict[str, str] = {}
    for base in reversed(getattr(kind, "__mro__", (kind,))):
        told |= _sections(base.__doc__ or "")
    if not is_dataclass(kind):
        hints = typing.get_type_hints(kind, include_extras=True)
        return {key: hint for key, hint in hints.items() if key != "return"}, told, {}
    hints = typing.get_type_hints(kind, include_extras=True)
    defaults = {}
    for entry in fields(kind):
        value = entry.default if entry.default is not MISSING else entry.default_factory
        if value is not MISSING:
            defaults[entry.name] = _plain(value() if entry.default is MISSING else value)  # type: ignore[operator]
    return hints, told, defaults


def _plain(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(list(value)) if isinstance(value, tuple) else str(value)


def _sections(text: str) -> dict[str, str]:
    """Return what a docstring says below `Attributes:` or `Args:`, by name."""
    found: dict[str, str] = {}
    lines, inside, name, base = text.splitlines(), False, "", 0
    for line in lines:
        if re.fullmatch(r"\s*(Attributes|Args):\s*", line):
            inside, name, base = True, "", _indent(line)
        elif inside and line.strip():
            if _indent(line) <= base:
                inside = False
            elif (start := re.match(rf"\s{{{base + 4}}}(\w+): (.*)", line)) is not None:
                name = start[1]
                found[name] = start[2].strip()
            elif name:
                found[name] += " " + line.strip()
    return found


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=\.)\s", " ".join(text.split()))[0]


def _class_in(hint: Any) -> Any:
    """Return the settings class in a type, if there is one and it is no mapping of them."""
    hint = getattr(hint, "__value__", hint)
    if is_dataclass(hint) and isinstance(hint, type):
        return hint
    if typing.get_origin(hint) in {typing.Union, types.UnionType, typing.Annotated}:
        return next((found for part in typing.get_args(hint) if (found := _class_in(part))), None)
    return None


def _entries_of(hint: Any) -> Any:
    """Return the type of a mapping's or sequence's entries."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in {typing.Union, types.UnionType, typing.Annotated}:
        return next((found for part in args if (found := _entries_of(part))), None)
    return args[-1] if isinstance(origin, type) and issubclass(origin, Mapping) and len(args) == 2 else None


def _named(hint: Any) -> str:
    """Return a type in words.

    Example:
        >>> _named(int | None)
        'int or null'
    """
    if hint is None:
        return ""
    if hint is Any:
        return "anything"
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        limits = [text for part in args[1:] for text in _limits(part)]
        return " ".join([_named(args[0]), *limits])
    if origin is typing.Literal:
        return " or ".join(_plain(value) for value in args)
    if origin in {typing.Union, types.UnionType}:
        return " or ".join(_named(part) for part in args)
    if hint is type(None):
        return "null"
    if origin is Callable:
        return "callable"
    if isinstance(origin, type):
        inner = [_named(part) for part in args if part is not ...]
        kind = "mapping" if issubclass(origin, Mapping) else "list"
        return f"{kind} of {' to '.join(dict.fromkeys(inner))}" if inner else kind
    name = getattr(hint, "__name__", str(hint))
    return {"str": "text", "bool": "true or false", "float": "number", "int": "whole number", "Path": "path"}.get(
        name, name
    )


def _limits(part: Any) -> list[str]:
    """Return the bounds that a constraint sets, such as `> 0`."""
    signs = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
    parts = [part, *getattr(part, "metadata", [])]
    return [f"{sign} {getattr(p, name)}" for p in parts for name, sign in signs.items() if _has(p, name)]


def _has(part: Any, name: str) -> bool:
    return getattr(part, name, None) is not None


def escaped(text: str) -> str:
    """Return text in which Markdown finds nothing but code in backticks."""
    pieces = re.split(r"(`[^`]*`)", text)
    return "".join(
        p.replace("|", "\\|") if i % 2 else re.sub(r"([\\*_<>|$\[\]~{}#])", r"\\\1", p) for i, p in enumerate(pieces)
    )


def code(text: str) -> str:
    """Return text as code, in one line of bearable length."""
    return f"`{text if len(text) <= 160 else f'{text[:157]}...'}`"


def entries(rows: Sequence[Row]) -> str:
    """Return rows as a Markdown list of definitions."""
    return "\n\n".join(map(_entry, rows))


def _entry(row: Row) -> str:
    name = f"`{row.key}`" if row.key.endswith("=") or not row.value else f"`{row.key}` = {code(row.value)}"
    if row.key.endswith("="):
        name = code(f"{row.key}{row.value}")
    kind = f" ({escaped(row.kind)})" if row.kind and not row.key.endswith("=") else ""
    return f"{name}{kind}\n: {escaped(row.meaning)}"


def write_reference(folder: Path) -> None:
    """Write a page for each group, one for the programs, and one that names them all.

    Files that say what they did are left alone, so that Sphinx reads them no second time.
    """
    options = all_options()
    groups = sorted({option.group for option in options} - {""})
    pages = {"programs": _page("Programs", "", [option for option in options if not option.group])}
    for group in groups:
        pages[group] = _page(TITLES[group], group, [option for option in options if option.group == group])
    listed = "\n".join(f"- [`{group}=`]({group}.md): {TITLES[group].lower()}" for group in groups)
    pages["index"] = INDEX.format(listed=listed, pages="\n".join(["programs", *groups]))
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages.items():
        path = folder / f"{name}.md"
        if not path.is_file() or path.read_text() != text:
            path.write_text(text)
    for path in folder.glob("*.md"):
        if path.stem not in pages:
            path.unlink()


def _page(title: str, group: str, options: Sequence[Option]) -> str:
    called = f": `{group}=`" if group else ""
    parts = [f"# {title}{called}"]
    for option in options:
        name = f"`{group}={option.name}`" if group else f"`{option.name}.yaml`"
        parts += [f"## {name}", escaped(option.about)]
        parts += [entries(option.rows)] if option.rows else ["It sets nothing."]
    return "\n\n".join(part for part in parts if part) + "\n"


INDEX = """# Config keys

Every key of every file in `cfg/`, made from the files and from the classes that they name. A key stands as it is
written on the command line, `method.fwhm_arcmin=30`. One with a `+` is a setting that its file leaves at the class's
default: the `+` belongs on the command line, too. `NAME` stands for each name that the file lists, such as a channel.
`GROUP=OPTION` takes another file. A default such as `${{scenario.lmax}}` is what another key says; `???` must be said.
What is given is checked against what stands in brackets before any work.

- [Programs](programs.md): what each main program shares and adds
{listed}

```{{toctree}}
:hidden:
:titlesonly:

{pages}
```
"""
