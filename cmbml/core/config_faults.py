"""Say what is wrong with a setting, at the place where the user would change it."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue
from pydantic import ValidationError

from cmbml.core.errors import CmbmlError, import_fault, setting_faults
from cmbml.core.intent import DATASET_PROGRAM, script_of
from cmbml.core.own_configs import CONFIG_FOLDER


def describe(error: Exception, place: str, config: DictConfig) -> Iterator[str]:
    """Say what is wrong with what stands at a place of a config.

    Args:
        error: what making it came to.
        place: such as `stages.noise`.
        config: composed.
    """
    found = re.search(r"full_key: (\S+)", str(error))
    full = found.group(1) if found else place
    where = full if full.startswith(place) or OmegaConf.select(config, full) is not None else f"{place}.{full}"
    cause = error.__cause__ or error
    if isinstance(error, MissingMandatoryValue):
        yield f"{_origin(where, config)}: must be given"
    elif isinstance(cause, ValidationError):
        if kind := _undecorated(where, config):
            yield f"{_origin(where, config)}: {kind} takes no settings; it needs @settings (cmbml/settings.py) above it"
            return
        yield from setting_faults(
            cause, lambda key: _origin(f"{where}.{key}", config), lambda parent: settings_at(parent, config)
        )
    elif isinstance(cause, CmbmlError):
        yield str(cause)
    elif lacking := re.search(r"access ((\w+)[\w.]*): node `\2` is not a container", str(cause)):
        maker = f"{script_of(DATASET_PROGRAM)} stages={_stages_with(lacking.group(1))}"
        yield f"{place}: it is for datasets with `{lacking.group(2)}`, which this is not; {maker} makes one"
    elif (lacking := re.search(r"Interpolation key '((\w+)\.[\w.]+)' not found", str(cause))) and lacking.group(
        2
    ) in config.get("from_dataset", ()):
        yield (
            f"this needs `{lacking.group(1)}`, which the record of the dataset lacks: an earlier release made it; "
            f"give its command of {script_of(DATASET_PROGRAM)} once more (what is done stays)"
        )
    elif (foreign := re.search(r"Interpolation key '(\w+)[\w.]*' not found", str(cause))) and programs(
        foreign.group(1)
    ):
        yield f"this needs `{foreign.group(1)}`, which this program does not know; run {programs(foreign.group(1))}"
    elif target := re.match(r"Error loading '([\w.]+)'", str(cause)):
        yield f"{_origin(where, config)}: {target.group(0)}: {import_fault(target.group(1))}"
    else:
        yield " ".join(f"{_origin(where, config)}: {cause}".split("\n")[:2])


def _stages_with(key: str) -> str:
    """Name the choice of stages that makes datasets which have a key: it sets the key, or chooses the group of it."""
    for path in sorted((CONFIG_FOLDER / "stages").glob("*.yaml")):
        chosen = re.search(rf"override /{key.partition('.')[0]}:", path.read_text())
        if chosen or OmegaConf.select(OmegaConf.load(path), key.rpartition(".")[0]) is not None:
            return path.stem
    return key.partition(".")[0]


def programs(group: str) -> str:
    """Name the main programs in which a group of options is chosen, or else a key stands; empty where none is."""
    texts = {path.stem: path.read_text() for path in sorted(CONFIG_FOLDER.glob("*.yaml"))}
    for place in (rf"^  - {group}:", rf"^{group}:"):
        if found := [name for name, text in texts.items() if re.search(place, text, re.MULTILINE)]:
            return " or ".join(map(script_of, found))
    return ""


def _undecorated(place: str, config: DictConfig) -> str:
    """Return the name of a class that lists settings and was not made to take them."""
    target = OmegaConf.select(config, f"{place}._target_")
    kind = hydra.utils.get_object(target) if target else None
    if not isinstance(kind, type) or set(vars(kind).get("__annotations__", ())) <= set(settings_at(place, config)):
        return ""
    return kind.__name__


def settings_at(place: str, config: DictConfig) -> list[str]:
    """Return the names of the settings that there are, or that others have used, at a place of the config."""
    node = OmegaConf.select(config, place)
    if not isinstance(node, DictConfig):
        return []
    if "_target_" in node:
        try:
            return list(getattr(hydra.utils.get_object(node["_target_"]), "__dataclass_fields__", {}))
        except ImportError:
            return []
    siblings = OmegaConf.select(config, place.rpartition(".")[0]).values()
    return list(dict.fromkeys(str(name) for one in siblings if isinstance(one, DictConfig) for name in one))


def _origin(place: str, config: DictConfig) -> str:
    """Follow interpolations back: `stages.noise.channels.100` is really `instrument.channels.100`."""
    node: Any = OmegaConf.to_container(config, resolve=False)
    parts = place.split(".")
    for i, part in enumerate(parts):
        node = node.get(part) if isinstance(node, Mapping) else None
        link = re.fullmatch(r"\$\{([\w.]+)\}", node) if isinstance(node, str) else None
        if link:
            return _origin(".".join([link.group(1), *parts[i + 1 :]]), config)
    return place
