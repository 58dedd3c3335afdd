"""From the command line to a run: compose the config, build the pipeline, plan, run."""

import logging
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.errors import HydraException, InstantiationException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException
from pydantic import ValidationError

from cmbml.core.errors import (
    CmbmlError,
    ConfigError,
    StorageError,
    UnitFailedError,
    import_fault,
    nearest,
    setting_faults,
)
from cmbml.core.executor import Executor
from cmbml.core.manifest import lock, log_file, newest_config, run_folder, write_manifest
from cmbml.core.pipeline import Pipeline
from cmbml.core.plan import Plan, human_bytes
from cmbml.core.runner import Runner
from cmbml.core.space import Space
from cmbml.core.store import Store
from cmbml.core.sweep import expand, run_jobs

log = logging.getLogger(__name__)
CONFIG_FOLDER = Path(__file__).resolve().parents[2] / "cfg"
COMPOSING = (HydraException, OmegaConfBaseException, yaml.YAMLError, ValueError)
RESUME = ("fresh", "restart", "refuse")


def main(name: str) -> None:
    """Run the main program `name`: compose `cfg/{name}.yaml` with the command line's overrides and do what it says.

    Exits with 0 when all is done, 1 after an error (one message on standard error), 130 when interrupted.
    """
    _talk_on_the_console()
    with _errors_as_messages():
        overrides = [word for word in sys.argv[1:] if not word.startswith("-")]
        flags = set(sys.argv[1:]) - set(overrides)
        if flags <= {"-m", "--multirun"} and (flags or "hydra.mode=MULTIRUN" in overrides):
            sweep(name, overrides)
            return
        if not flags:
            _check_overrides(name, overrides)
        hydra.main(version_base=None, config_path=str(CONFIG_FOLDER), config_name=name)(_job(name))()


def _job(name: str) -> Any:  # noqa: ANN401
    def job(config: DictConfig) -> None:
        with _errors_as_messages():
            run(name, config)

    return job


def sweep(name: str, overrides: list[str]) -> None:
    """Run a main program once for every combination of the values that the overrides list.

    Args:
        name: of the main program.
        overrides: as Hydra takes them with `-m`.

    Raises:
        ConfigError: one of them cannot be composed, or two would write to one place; nothing has been run.
        SweepError: some jobs failed, which leaves the others as they are.
    """
    Plugins.instance()
    with hydra.initialize_config_dir(version_base=None, config_dir=str(CONFIG_FOLDER)):
        jobs = expand(overrides, GlobalHydra.instance().config_loader())
    run_jobs(jobs, [_check_overrides(name, list(job.overrides)) for job in jobs], partial(run, name))


def run(name: str, config: DictConfig) -> None:
    """Build the pipeline that a config declares, then plan it, fetch for it, or run it.

    Args:
        name: of the main program, for the run's folder.
        config: composed by Hydra.

    Raises:
        CmbmlError: something is wrong; the message says what, and what to do.
    """
    if config.resume not in RESUME:
        message = f"resume={config.resume}: {nearest(str(config.resume), RESUME)}"
        raise ConfigError(message)
    for place in ("system.root", "dataset"):
        if not OmegaConf.select(config, place):
            message = f"{place}= must name a folder"
            raise ConfigError(message)
    root = Path(config.system.root).expanduser().resolve() / str(config.dataset)
    _take_over(config, root)
    pipeline, runner = build_pipeline(config, root)
    if config.fetch_only:
        try:
            for executor in pipeline.graph.stages.values():
                executor.fetch()
        except (OSError, ValueError) as error:
            raise StorageError(str(error)) from error
        log.info("all raw files that the config needs are there")
        return
    if config.plan_only:
        log.info("%s\n%s", root, pipeline.plan(config.resume).table())
        return
    with lock(root):
        removed = Store(root).remove_parts()
        plan = pipeline.plan(config.resume)
        _check_disk(root, plan)
        if config.resume == "restart":
            Store(root).remove_work((stage.stage, key.name) for stage in plan.stages for key in stage.todo)
        folder = run_folder(root, name)
        with log_file(folder):
            if removed:
                log.debug("removed %d half-written files of an earlier run", removed)
            rows = {stage.stage: {"todo": len(stage.todo), "fresh": stage.fresh} for stage in plan.stages}
            write_manifest(folder, _plain(config), rows)
            log.info("%s: %d units to do, %d fresh", root, plan.n_todo, sum(stage.fresh for stage in plan.stages))
            started = time.perf_counter()
            try:
                pipeline.run(plan, runner)
            except UnitFailedError:
                log.info("details: %s", folder / "run.log")
                raise
            log.info("done in %.1f s; log and manifest: %s", time.perf_counter() - started, folder)


def build_pipeline(config: DictConfig, root: Path) -> tuple[Pipeline, Runner]:
    """Make the stages, the space and the runner that a config declares.

    Raises:
        ConfigError: settings that cannot be; one message lists all of them.
    """
    if not isinstance(config.seed, int) or config.seed < 0:
        message = f"seed={config.seed}: a whole number, zero or more, is needed"
        raise ConfigError(message)
    faults: dict[str, None] = {}
    built: dict[str, Any] = {}
    kinds: dict[str, type] = {f"stages.{stage}": Executor for stage in config.stages if config.stages[stage]}
    for place, kind in {"space": Space, "runner": Runner, **kinds}.items():
        try:
            # A copy, for Hydra resolves what a node refers to in place, and then its origin cannot be told any more.
            built[place] = hydra.utils.instantiate(OmegaConf.select(deepcopy(config), place), _convert_="all")
        except (InstantiationException, OmegaConfBaseException) as error:
            faults |= dict.fromkeys(_describe(error, place, config))
            continue
        if not isinstance(built[place], kind):
            faults[f"{place}: its _target_ must name a subclass of {kind.__name__}"] = None
    if faults:
        raise ConfigError("\n".join(faults))
    stages = {place.removeprefix("stages."): built[place] for place in kinds}
    given = {stage: hydra.utils.get_class(place) for stage, place in config.get("given", {}).items()}
    done = {stage: kind for stage, kind in given.items() if (root / ".records" / stage).is_dir()}
    return Pipeline(stages, built["space"], root, config.seed, done), built["runner"]


def _take_over(config: DictConfig, root: Path) -> None:
    """Fill in what a program takes from the dataset it works on: the keys that `inherit` names.

    Raises:
        ConfigError: there is no dataset.
    """
    if not config.get("inherit"):
        return
    made = newest_config(root, "sims")
    if made is None:
        message = f"there is no dataset in {root}; build it first: python main_sims.py dataset={config.dataset}"
        raise ConfigError(message)
    for name in config.inherit:
        config[name] = made[name]


def _plain(config: DictConfig) -> dict[str, Any]:
    plain: Any = OmegaConf.to_container(config, resolve=True)
    return dict(plain)


def _check_disk(root: Path, plan: Plan) -> None:
    free = shutil.disk_usage(root).free
    if plan.disk_bytes > free:
        message = (
            f"the run would write about {human_bytes(plan.disk_bytes)} and {root} has {human_bytes(free)} free; "
            "ask for fewer simulations, free some space, or point system.root at another disk"
        )
        raise StorageError(message)


def _describe(error: Exception, place: str, config: DictConfig) -> Iterator[str]:
    """Say what is wrong with a setting, at the place where the user would change it."""
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
            cause, lambda key: _origin(f"{where}.{key}", config), lambda parent: _settings_at(parent, config)
        )
    elif isinstance(cause, CmbmlError):
        yield str(cause)
    elif target := re.match(r"Error loading '([\w.]+)'", str(cause)):
        yield f"{_origin(where, config)}: {target.group(0)}: {import_fault(target.group(1))}"
    else:
        yield " ".join(f"{_origin(where, config)}: {cause}".split("\n")[:2])


def _undecorated(place: str, config: DictConfig) -> str:
    """Return the name of a class that lists settings and was not made to take them."""
    target = OmegaConf.select(config, f"{place}._target_")
    kind = hydra.utils.get_object(target) if target else None
    if not isinstance(kind, type) or set(vars(kind).get("__annotations__", ())) <= set(_settings_at(place, config)):
        return ""
    return kind.__name__


def _settings_at(place: str, config: DictConfig) -> list[str]:
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
    return [str(name) for sibling in siblings if isinstance(sibling, DictConfig) for name in sibling]


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


def _check_overrides(name: str, overrides: list[str]) -> DictConfig:
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
        for key in _unread(config, overrides):
            known = list(_keys(hydra.compose(name, [word for word in overrides if _is_choice(word)])))
            if key in known:
                continue
            message = f"'+{key}' adds a key that nothing reads; {nearest(key, known)}"
            raise ConfigError(message)
        return config


def _unread(config: DictConfig, overrides: list[str]) -> Iterator[str]:
    """Find the added keys that no class is given, neither by themselves nor as part of a whole."""
    links = set(re.findall(r"\$\{(?:[\w.]+:)?([\w.]+)\}", str(OmegaConf.to_container(config, resolve=False))))
    for key in (word.lstrip("+").split("=")[0] for word in overrides if word.startswith("+")):
        parts = key.split(".")
        wholes = {".".join(parts[: i + 1]) for i in range(len(parts))}
        if "@" not in key and not wholes & links and parts[0] not in {"space", "runner", "stages", "hydra"}:
            yield key


def _explain(error: Exception, name: str, overrides: list[str]) -> str:
    """Say which override is at fault, and what may have been meant."""
    text = str(error)
    if file := _file_at_fault(error):
        return file
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
            and setting in _settings_at(parent, config)
        ):
            return f"'{key}' is a setting that the config leaves out; write +{blamed[0]}"
        if key not in known:
            return f"'{key}' is no key of the config; {nearest(key, known)}"
    bad = next((word for word in overrides if "=" not in word.strip("=") and not word.startswith("~")), "")
    if bad:
        return f"'{bad}' is no override; write KEY=VALUE"
    if several := next((word for word in overrides if f"'{word}'" in text and "Ambiguous value" in text), ""):
        return f"{several}: several values are a sweep, which needs -m; one value that is a list is written '[A,B]'"
    culprit = next((f"{word}: " for word in reversed(overrides) if not _composes(name, [word])), "")
    return culprit + text.split("\n")[0]


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
    return f"{CONFIG_FOLDER / file}.yaml: {problem}{hint}"


def _composes(name: str, overrides: list[str]) -> bool:
    try:
        hydra.compose(name, overrides)
    except COMPOSING:
        return False
    return True


def _is_choice(override: str) -> bool:
    """Say whether an override picks one of the files of a folder of `cfg/`."""
    return (CONFIG_FOLDER / override.split("=")[0] / f"{override.partition('=')[2]}.yaml").is_file()


def _keys(node: Any, prefix: str = "") -> Iterator[str]:  # noqa: ANN401
    if isinstance(node, DictConfig):
        for key in map(str, node):
            yield f"{prefix}{key}"
            if not OmegaConf.is_interpolation(node, key) and not OmegaConf.is_missing(node, key):
                yield from _keys(node[key], f"{prefix}{key}.")


def _talk_on_the_console() -> None:
    handler = logging.StreamHandler(sys.stdout)
    handler.setLevel(logging.INFO)
    handler.setFormatter(logging.Formatter("%(message)s"))
    root = logging.getLogger("cmbml")
    root.handlers = [handler]
    root.setLevel(logging.DEBUG)
    root.propagate = False


@contextmanager
def _errors_as_messages() -> Iterator[None]:
    """Show a user's error as one message, and end the program."""
    try:
        yield
    except (CmbmlError, OmegaConfBaseException) as error:
        logging.getLogger("cmbml").debug("failed", exc_info=True)
        _leave(f"error: {error}\n", 1)
    except KeyboardInterrupt:
        _leave("\nstopped; what was finished is kept, and the same command goes on from here\n", 130)


def _leave(message: str, status: int) -> None:
    sys.stdout.flush()
    sys.stderr.write(message)
    sys.stderr.flush()
    os._exit(status) if status == 130 else sys.exit(status)
