"""What the command line changes in a config, checked before Hydra takes it."""

import logging
import re
from collections.abc import Iterator, Sequence
from typing import Any

import hydra
import yaml
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from cmbml.core.config_faults import settings_at
from cmbml.core.errors import ConfigError, nearest
from cmbml.core.intent import script_of
from cmbml.core.own_configs import CONFIG_FOLDER, config_file

log = logging.getLogger(__name__)

RENAMED_KEYS = {
    "method.train.loss": "method.objective.loss",
    "given": "upstream",
    "inherit": "from_dataset",
}
"""Keys of the last release by their old names; they are taken with a warning, and go with the next."""
NAMES_OF_GROUPS = {"export": {"method": "action.method"}}
"""Program -> key of its command line that elsewhere picks from a group, and here is a plain word -> where it stands."""
COMPOSING = (HydraException, OmegaConfBaseException, yaml.YAMLError, ValueError)


def as_plain_words(name: str, words: list[str]) -> list[str]:
    """Put those words of a program's command line in place that Hydra would take for a choice from a group.

    Example:
        >>> as_plain_words("export", ["method=nilc", "to=x"])
        ['action.method=nilc', 'to=x']
    """
    places = NAMES_OF_GROUPS.get(name, {})
    pairs = [word.partition("=") for word in words]
    return [f"{places.get(key, key)}{equals}{value}" for key, equals, value in pairs]


def renamed(words: list[str]) -> list[str]:
    """Call keys in overrides by their new names, and say so.

    Example:
        >>> renamed(["method.train.loss=l2", "dataset=demo"])
        ['method.objective.loss=l2', 'dataset=demo']
    """
    found = []
    for word in words:
        key, equals, value = word.partition("=")
        sign = key[: len(key) - len(key.lstrip("+~"))]
        new = RENAMED_KEYS.get(key.lstrip("+~"))
        if new:
            log.warning("%s is called %s now; the old name goes with the next release", key.lstrip("+~"), new)
        found.append(f"{sign}{new}{equals}{value}" if new else word)
    return found


def take_new_names(config: DictConfig) -> None:
    """Move what a config of the user's says under an old name to the new one, and say so."""
    for old, new in RENAMED_KEYS.items():
        parent, _, key = old.rpartition(".")
        holder = OmegaConf.select(config, parent) if parent else config
        if not OmegaConf.is_dict(holder) or key not in holder:
            continue
        log.warning("%s is called %s now; the old name goes with the next release", old, new)
        with open_dict(config):
            OmegaConf.update(config, new, holder.pop(key), merge=True)


def check_overrides(name: str, overrides: list[str]) -> DictConfig:
    """Compose once by hand, so that a misspelt override gets a message with the nearest key.

    Returns:
        the config.

    Raises:
        ConfigError: an override cannot be applied.
    """
    Plugins.instance()
    with hydra.initialize_config_dir(version_base=None, config_dir=str(CONFIG_FOLDER)):
        try:
            config = hydra.compose(name, overrides)
        except COMPOSING as error:
            raise ConfigError(_explain(error, name, overrides)) from error
        if foreign := _stages_of_others(name, config, overrides):
            raise ConfigError(foreign)
        for key in _unread(config, overrides):
            known = list(_keys(hydra.compose(name, [word for word in overrides if _is_choice(word)])))
            if key in known:
                continue
            if elsewhere := _group_of_others(name, overrides):
                raise ConfigError(elsewhere)
            message = f"'+{key}' adds a key that nothing reads; {nearest_key(key, known)}"
            raise ConfigError(message)
        return config


def nearest_key(key: str, known: Sequence[str]) -> str:
    """Say which key a misspelt one is nearest to: on its own level first; or list those of the level that there is.

    Example:
        >>> nearest_key("a.b.fwhm", ["a", "a.b", "a.b.fwhm_arcmin", "a.fwhm"])
        "did you mean 'a.b.fwhm_arcmin'?"
        >>> nearest_key("zzz.bar", ["a", "a.b", "seed"])
        'allowed are: a, seed'
    """
    parent = above = key.rpartition(".")[0]
    while above and above not in known:
        above = above.rpartition(".")[0]
    here, anywhere = nearest(key, [name for name in known if name.rpartition(".")[0] == above]), nearest(key, known)
    # Where a level itself is misspelt, a key of the right one says more than the level.
    first, second = (here, anywhere) if parent == above else (anywhere, here)
    return next((said for said in (first, second) if said.startswith("did you mean")), here)


def _stages_of_others(name: str, config: DictConfig, overrides: list[str]) -> str:
    """Say which programs a choice of stages is for, if this one lacks what they need."""
    for word in overrides:
        group, _, option = word.partition("=")
        if group != "stages" or not _is_choice(word):
            continue
        needed = {link.partition(".")[0] for link in _links(config.stages)}
        if not (lacking := sorted(needed - set(map(str, config)))):
            return ""
        fitting = [other for other in _programs() if _composes(other, [word])]
        able = [other for other in fitting if needed <= set(map(str, hydra.compose(other, [word])))]
        own = [other for other in able if option.startswith(other)] or able
        told = ", ".join(f"`{one}`" for one in lacking)
        return (
            f"{word} needs {told}, which {script_of(name)} does not know: it is for {' or '.join(map(script_of, own))}"
        )
    return ""


def _links(node: Any) -> set[str]:  # noqa: ANN401
    """Return the keys that interpolations below a node refer to."""
    return set(re.findall(r"\$\{(?:[\w.]+:)?([\w.]+)\}", str(OmegaConf.to_container(node, resolve=False))))


def _programs() -> list[str]:
    """Return the names of the main programs."""
    return [path.stem for path in sorted(CONFIG_FOLDER.glob("*.yaml")) if path.stem != "common"]


def _unread(config: DictConfig, overrides: list[str]) -> Iterator[str]:
    """Find the added keys that no class is given, neither by themselves nor as part of a whole."""
    links = _links(config)
    for key in (word.lstrip("+").split("=")[0] for word in overrides if word.startswith("+")):
        parts = key.split(".")
        wholes = {".".join(parts[: i + 1]) for i in range(len(parts))}
        if "@" not in key and not wholes & links and parts[0] not in {"space", "runner", "stages", "hydra"}:
            yield key


def _explain(error: Exception, name: str, overrides: list[str]) -> str:
    """Say which override is at fault, and what may have been meant."""
    text = str(error)
    if plain := _file_at_fault(error) or _group_of_others(name, overrides):
        return plain
    if option := re.search(
        r"Could not find '(.+)/(.+)'.*Available options in '.+?':\n(.*?)\n\S", text + "\n.", re.DOTALL
    ):
        group, asked, known = option.groups()
        options = known.split()
        return f"{group}={asked}: there is no such option; {nearest(asked, options)} (of {', '.join(options)})"
    blamed = [word for word in overrides if f"'{word.lstrip('+~').split('=')[0].split('@')[0]}'" in text]
    if blamed and "=" in blamed[0]:
        key = blamed[0].lstrip("+~").split("=")[0].split("@")[0]
        config = hydra.compose(name, [word for word in overrides if _is_choice(word)])
        known, (parent, _, setting) = list(_keys(config)), key.rpartition(".")
        if (
            key not in known
            and OmegaConf.select(config, f"{parent}._target_")
            and setting in settings_at(parent, config)
        ):
            return f"'{key}' is a setting that the config leaves out; write +{blamed[0]}"
        if key not in known:
            return f"'{key}' is no key of the config; {nearest_key(key, known)}"
    bad = next((word for word in overrides if "=" not in word.strip("=") and not word.startswith("~")), "")
    if bad:
        return f"'{bad}' is no override; write KEY=VALUE"
    if several := next((word for word in overrides if f"'{word}'" in text and "Ambiguous value" in text), ""):
        return f"{several}: several values are a sweep, which needs -m; one value that is a list is written '[A,B]'"
    culprit = next((f"{word}: " for word in reversed(overrides) if not _composes(name, [word])), "")
    if foreign := sorted({letter for letter in culprit if not letter.isascii()}):
        named = "names are made of letters from a to z, digits, '_', '-' and '.'; " * (".name=" in culprit)
        return (
            f"{culprit}{', '.join(foreign)} cannot stand there as it is; {named}other text in quotes: 'KEY=\"VALUE\"'"
        )
    if "LexerNoViableAlt" in text:
        return f"{culprit}it has a character that must stand in quotes: 'KEY=\"VALUE\"'"
    return culprit + text.split("\n")[0]


def _group_of_others(name: str, overrides: list[str]) -> str:
    """Say which programs have a group of options that this one lacks, if an override picks from such a group."""
    mine = _groups(name)
    for word in overrides:
        group = word.lstrip("+~").partition("=")[0]
        if "/" in group or group in mine or not (CONFIG_FOLDER / group).is_dir():
            continue
        others = [other for other in _programs() if group in _groups(other)]
        taken = f"; here {group} is what the dataset was made with" if group in hydra.compose(name) else ""
        programs = ", ".join(script_of(other) for other in others)
        return f"{word.lstrip('+~')}: '{group}' is no group of {script_of(name)}, but of {programs}{taken}"
    return ""


def _groups(name: str) -> set[str]:
    """Return the groups from which a program picks options."""
    return set(hydra.compose(name, return_hydra_config=True).hydra.runtime.choices)


def _file_at_fault(error: Exception) -> str:
    """Say which file of `cfg/` cannot be read or composed, and why, if that is what is wrong."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        mark, hint = error.problem_mark, "; indent with spaces" if "'\\t'" in str(error.problem) else ""
        return f"{mark.name}, line {mark.line + 1}, column {mark.column + 1}: {error.problem}{hint}"
    found = re.match(r"In '?([\w/]+)'?: (.+)", str(error))
    if not found or "/" not in found.group(1):
        return ""
    file, problem = found.group(1), found.group(2).rstrip(".")
    hint = "; is its first line '# @package _global_'?" if re.search(r"override '[^']*@", problem) else ""
    return f"{config_file(f'{file}.yaml')}: {problem}{hint}"


def _composes(name: str, overrides: list[str]) -> bool:
    try:
        hydra.compose(name, overrides)
    except COMPOSING:
        return False
    return True


def _is_choice(override: str) -> bool:
    """Say whether an override picks one of the files of a folder of `cfg/`."""
    group, _, option = override.partition("=")
    return config_file(f"{group}/{option}.yaml").is_file()


def _keys(node: Any, prefix: str = "") -> Iterator[str]:  # noqa: ANN401
    if isinstance(node, DictConfig):
        for key in map(str, node):
            yield f"{prefix}{key}"
            if not OmegaConf.is_interpolation(node, key) and not OmegaConf.is_missing(node, key):
                yield from _keys(node[key], f"{prefix}{key}.")
