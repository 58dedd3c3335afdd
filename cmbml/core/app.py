"""From the command line to a run: compose the config, build the pipeline, plan, run."""

import logging
import os
import re
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stdout
from copy import deepcopy
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.errors import InstantiationException
from omegaconf import Container, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cmbml.core.config_faults import describe
from cmbml.core.errors import (
    CmbmlError,
    ConfigError,
    MissingAssetError,
    StorageError,
    UnitFailedError,
    nearest,
)
from cmbml.core.executor import Executor
from cmbml.core.integrity import INTEGRITY
from cmbml.core.intent import DATASET_PROGRAM, NOBODY, Origin, is_part, script_of
from cmbml.core.logs import log_file, talk_on_the_console
from cmbml.core.manifest import lock, newest_config, run_folder, write_manifest
from cmbml.core.overrides import as_plain_words, check_overrides, renamed, take_new_names
from cmbml.core.own_configs import CONFIG_FOLDER, own_words, take_own_configs
from cmbml.core.pipeline import Pipeline
from cmbml.core.plan import Plan, human_bytes
from cmbml.core.runner import Runner
from cmbml.core.space import Space
from cmbml.core.status import status
from cmbml.core.store import Store
from cmbml.core.sweep import expand, run_jobs
from cmbml.core.verify import verify
from cmbml.core.wording import spoken

log = logging.getLogger(__name__)
RESUME = ("fresh", "restart", "refuse")
IDENTITY = ("nside", "nside_sky", "lmax", "fields")
"""Keys of a scenario that make every map another one."""


def main(name: str) -> None:
    """Run the main program `name`: compose `cfg/{name}.yaml` with the command line's overrides and do what it says.

    Exits with 0 when all is done, 1 after an error (one message on standard error), 130 when interrupted.
    """
    talk_on_the_console()
    with _errors_as_messages():
        sys.argv[1:] = as_plain_words(name, renamed(take_own_configs(sys.argv[1:])))
        overrides = [word for word in sys.argv[1:] if not word.startswith("-")]
        flags = set(sys.argv[1:]) - set(overrides)
        if flags <= {"-m", "--multirun"} and (flags or "hydra.mode=MULTIRUN" in overrides):
            sweep(name, overrides)
            return
        if not flags:
            check_overrides(name, overrides)
        with _spoken_help(flags):
            hydra.main(version_base=None, config_path=str(CONFIG_FOLDER), config_name=name)(_job(name))()


@contextmanager
def _spoken_help(flags: Collection[str]) -> Iterator[None]:
    """Print Hydra's help, where that is asked for, in the words by which the user calls the programs."""
    if not {"--help", "-h"} & set(flags):
        yield
        return
    said = StringIO()
    try:
        with redirect_stdout(said):
            yield
    finally:
        sys.stdout.write(spoken(said.getvalue()))


def _job(name: str) -> Any:  # noqa: ANN401
    def job(config: DictConfig) -> None:
        with _errors_as_messages():
            _work(name)(config)

    return job


def _work(name: str) -> Callable[[DictConfig], None]:
    """Return what a main program does with its config."""
    return LOOKING[name] if name in LOOKING else partial(run, name)


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
    run_jobs(jobs, [check_overrides(name, list(job.overrides)) for job in jobs], _work(name))


def run(name: str, config: DictConfig) -> None:
    """Build the pipeline that a config declares, then plan it, fetch for it, or run it.

    Args:
        name: of the main program, for the run's folder.
        config: composed by Hydra.

    Raises:
        CmbmlError: something is wrong; the message says what, and what to do.
    """
    for key, allowed in (("resume", RESUME), ("integrity", INTEGRITY)):
        if key in config and config[key] not in allowed:
            message = f"{key}={config[key]}: {nearest(str(config[key]), allowed)}"
            raise ConfigError(message)
    take_new_names(config)
    root = dataset_folder(config)
    if "action" in config:
        made_of(config, "action")(_there(config))
        return
    _take_over(config, root)
    pipeline, runner = build_pipeline(config, root, origin_of(name))
    follow_ups = _follow_ups(config)
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
        _require_consent(config, root, pipeline, plan)
        _check_disk(root, plan)
        if config.resume == "restart":
            Store(root).remove_work((stage.stage, key.name) for stage in plan.stages for key in stage.todo)
        folder = run_folder(root, name)
        with log_file(folder):
            if removed:
                log.debug("removed %d half-written files of an earlier run", removed)
            # Before the manifest, from which other programs take what the dataset is: none may believe the one alone.
            pipeline.announce(plan)
            rows = {stage.stage: {"todo": len(stage.todo), "fresh": stage.fresh} for stage in plan.stages}
            write_manifest(folder, _plain(config), rows)
            log.info("%s: %s", root, plan.sentence())
            started = time.perf_counter()
            try:
                pipeline.run(plan, runner)
            except UnitFailedError:
                log.info("details: %s", folder / "run.log")
                raise
            for follow_up in follow_ups:
                follow_up(root, pipeline.origin.command)
            log.info("done in %.1f s; log and manifest: %s", time.perf_counter() - started, folder)


def _follow_ups(config: DictConfig) -> list[Callable[[Path, str], None]]:
    """Make what is called once all is done: with the dataset's folder, and the command that was given.

    Raises:
        ConfigError: settings that cannot be.
    """
    made = []
    for name in config.get("afterwards") or {}:
        try:
            made.append(hydra.utils.instantiate(deepcopy(config).afterwards[name], _convert_="all"))
        except (InstantiationException, OmegaConfBaseException) as error:
            raise ConfigError("\n".join(describe(error, f"afterwards.{name}", config))) from error
    return made


def verify_dataset(config: DictConfig) -> None:
    """Look whether every file of a dataset is what was written, and up to date.

    Raises:
        MissingAssetError: there is no dataset.
        StaleError: something is not as it should be.
    """
    root = _there(config)
    with lock(root) if os.access(root, os.W_OK) else nullcontext():
        verify(root)


def tell_status(config: DictConfig) -> None:
    """Say what of a dataset is made, what is stale, and what would make the rest; a run may be going on meanwhile.

    Raises:
        MissingAssetError: there is no dataset.
    """
    status(_there(config))


LOOKING: dict[str, Callable[[DictConfig], None]] = {"verify": verify_dataset, "status": tell_status}
"""Programs that only look at a dataset."""


def _there(config: DictConfig) -> Path:
    """Return the folder of a dataset that is there.

    Raises:
        MissingAssetError: it is not.
    """
    root = dataset_folder(config)
    if not (root / ".records").is_dir():
        message = f"there is no dataset in {root}; build it first: {_building(config)}"
        raise MissingAssetError(message)
    return root


def dataset_folder(config: DictConfig) -> Path:
    """Return the folder of the dataset that a config names.

    Raises:
        ConfigError: it names none, or one that lies elsewhere.
    """
    for place in ("system.root", "dataset"):
        if not OmegaConf.select(config, place):
            message = f"{place}= must name a folder"
            raise ConfigError(message)
    if isinstance(config.dataset, Container) or not re.fullmatch(r"(?!\s)[^\n]{1,200}(?<!\s)", str(config.dataset)):
        message = (
            f"dataset={config.dataset}: it is no name of a folder: one word of at most 200 characters, without blanks "
            "at its ends"
        )
        raise ConfigError(message)
    name = Path(str(config.dataset))
    if name.is_absolute() or ".." in name.parts or name == Path():
        message = f"dataset={name}: it is a folder below system.root; name that one, too, if the dataset lies elsewhere"
        raise ConfigError(message)
    try:
        return Path(config.system.root).expanduser().resolve() / name
    except (RuntimeError, OSError) as error:
        message = f"system.root={config.system.root} cannot be found: {error}"
        raise ConfigError(message) from error


def origin_of(name: str) -> Origin:
    """Say who asks: a main program, with the words of this command line but for those that say how to begin."""
    words = [*own_words(), *(word for word in sys.argv[1:] if not word.startswith("resume="))]
    return Origin(name, shlex.join(["python", script_of(name), *words]))


def composed(name: str, overrides: list[str]) -> DictConfig:
    """Compose the config of a main program, without running it.

    Raises:
        ConfigError: an override cannot be applied; the message says what may have been meant.
    """
    return check_overrides(name, overrides)


def made_of(config: Any, place: str) -> Any:  # noqa: ANN401
    """Make what a place of a config declares: what it has `_target_`s for, or the plain values that it holds.

    Args:
        config: composed, or the plain values of a manifest.
        place: such as `space`, or `instrument.channels`.

    Raises:
        ConfigError: the settings there cannot be.
    """
    whole = config if isinstance(config, DictConfig) else OmegaConf.create(dict(config))
    try:
        return hydra.utils.instantiate(OmegaConf.select(deepcopy(whole), place), _convert_="all")
    except (InstantiationException, OmegaConfBaseException) as error:
        raise ConfigError("\n".join(describe(error, place, whole))) from error


def build_pipeline(config: DictConfig, root: Path, origin: Origin = NOBODY) -> tuple[Pipeline, Runner]:
    """Make the stages, the space and the runner that a config declares.

    Args:
        config: composed.
        root: the dataset's folder.
        origin: who asks for it.

    Raises:
        ConfigError: settings that cannot be; one message lists all of them.
    """
    for switch in ("plan_only", "fetch_only"):
        if not isinstance(config.get(switch, False), bool):
            message = f"{switch}={config[switch]}: true or false is needed"
            raise ConfigError(message)
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
            faults |= dict.fromkeys(describe(error, place, config))
            continue
        if not isinstance(built[place], kind):
            faults[f"{place}: its _target_ must name a subclass of {kind.__name__}"] = None
    if faults:
        raise ConfigError("\n".join(faults))
    stages = {place.removeprefix("stages."): built[place] for place in kinds}
    upstream = {stage: hydra.utils.get_class(place) for stage, place in config.get("upstream", {}).items()}
    done = {stage: kind for stage, kind in upstream.items() if is_part(root, stage)}
    _require_kind(stages, upstream, done, root)
    pipeline = Pipeline(stages, built["space"], root, config.seed, done, origin, config.integrity)
    return pipeline, built["runner"]


def _require_kind(
    stages: Mapping[str, Executor], upstream: Mapping[str, type[Executor]], done: Collection[str], root: Path
) -> None:
    """Look whether the dataset is of the kind that the stages are for: one that shares nothing with it is not.

    Raises:
        ConfigError: it is of another kind.
    """
    mine = {asset.name for executor in stages.values() for asset in executor.writes}
    wanted = {asset.name for executor in stages.values() for asset in executor.needs()} - mine
    makers = {stage: {asset.name for asset in kind.writes} for stage, kind in upstream.items()}
    asked = {stage for stage, made in makers.items() if made & wanted}
    there = sorted(stage for stage in done if any(asset.name not in mine for asset in upstream[stage].writes))
    if done and asked and not asked & set(done):
        message = (
            f"the dataset in {root} is of another kind: it has what {', '.join(there)} made, and what "
            f"{', '.join(sorted(asked))} make is needed; take another method= or stages= for it, or another dataset="
        )
        raise ConfigError(message)
    there_is = {name for stage in done for name in makers[stage]}
    lacking = {stage: sorted(made & wanted - there_is) for stage, made in makers.items() if made & wanted - there_is}
    if done and lacking:
        parts = [f"{', '.join(map(repr, names))}, which stage '{stage}' makes" for stage, names in lacking.items()]
        message = f"the dataset in {root} lacks {', and '.join(parts)}: run the program that has that stage first"
        raise ConfigError(message)


def _take_over(config: DictConfig, root: Path) -> None:
    """Fill in what a program takes from the dataset it works on: the keys that `from_dataset` names.

    Raises:
        ConfigError: there is no dataset.
    """
    if not config.get("from_dataset"):
        return
    made = newest_config(root, DATASET_PROGRAM)
    if made is None and (cleaned := newest_config(root, "clean")) is not None and "observed" in cleaned:
        message = (
            f"{root} holds real maps that were cleaned, of which nobody knows the truth: there is nothing to score "
            f"them against. What main_clean.py has drawn of each stands in {root / 'pictures'}: map, weights, spectrum"
        )
        raise ConfigError(message)
    if made is None:
        message = f"there is no dataset in {root}; build it first: {_building(config)}"
        raise ConfigError(message)
    unsaid = [name for name in config.from_dataset if name not in made]
    if lacking := [name for name in unsaid if name not in config.kinds]:
        message = (
            f"{root} was made by an older version, which did not say {', '.join(lacking)}; build it again: "
            f"{_building(config)}"
        )
        raise ConfigError(message)
    for name in config.from_dataset:
        config[name] = made.get(name)


def _building(config: DictConfig) -> str:
    """Return the command that lays out the dataset of a config."""
    return f"python {script_of(DATASET_PROGRAM)} dataset={config.dataset}"


def _plain(config: DictConfig) -> dict[str, Any]:
    plain: Any = OmegaConf.to_container(config, resolve=True)
    return dict(plain)


def _require_consent(config: DictConfig, root: Path, pipeline: Pipeline, plan: Plan) -> None:
    """Look whether what makes a dataset another one has changed, and work that was finished would be done again.

    Raises:
        ConfigError: it would, and nobody has said that it may.
    """
    if not pipeline.origin.whole or config.resume != "fresh" or not (redone := pipeline.redone(plan)):
        return
    before, now = newest_config(root, pipeline.origin.program) or {}, _plain(config)
    changed = [f"{key} was {old}, and is now {new}" for key, old, new in _identity(before, now) if old != new]
    if changed:
        message = (
            f"{'; '.join(changed)}: this is another dataset than {root}, of which {redone} finished "
            "units of work would be done again, and all that was cleaned and scored with them would be stale. Give it "
            "another dataset=, "
            "or replace it with resume=restart"
        )
        raise ConfigError(message)


def _identity(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Yield what says which dataset it is: the key, what it was, and what it is."""
    if "seed" in before:
        yield "seed", before["seed"], now["seed"]
    old, new = before.get("scenario") or {}, now.get("scenario") or {}
    for key in IDENTITY:
        if key in old and key in new:
            yield f"scenario.{key}", old[key], new[key]


def _check_disk(root: Path, plan: Plan) -> None:
    free = shutil.disk_usage(root).free
    if plan.disk_bytes > free:
        message = (
            f"the run would write about {human_bytes(plan.disk_bytes)} and {root} has {human_bytes(free)} free; "
            "ask for fewer simulations, free some space, or point system.root at another disk"
        )
        raise StorageError(message)


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
    sys.stderr.write(spoken(message))
    sys.stderr.flush()
    os._exit(status) if status == 130 else sys.exit(status)
