"""Sweeps: the jobs that a command line with `-m` asks for, and the names that keep their results apart.

Hydra reads the command line; the jobs are run here, one after another, for a dataset takes one run at a time. Hydra's
own launcher would end the sweep with the first job that fails, and does not say which keys differ between the jobs.
"""

import hashlib
import itertools
import json
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cmbml.core.errors import CmbmlError, ConfigError

log = logging.getLogger(__name__)
LONGEST_VALUE = 24
HANDS_OVER = ("hydra/launcher", "hydra/sweeper", "hydra.launcher", "hydra.sweeper")


class SweepError(CmbmlError):
    """Some jobs of a sweep failed."""


@dataclass(frozen=True)
class Job:
    """One combination of the values that are swept.

    Attributes:
        overrides: the words of its command line.
        swept: key -> value, of the keys whose value differs between the jobs.
        title: the words that tell it from other jobs.
    """

    overrides: tuple[str, ...]
    swept: Mapping[str, Any]
    title: str


def expand(overrides: Sequence[str], loader: ConfigLoader) -> list[Job]:
    """Work out the jobs of a sweep, every combination of the values.

    Args:
        overrides: as on the command line: `a=1,2`, `a=range(1,4)`, `a=choice(x,y)`, `group=glob(*)`, `a=1`.
        loader: knows the options of groups, for `glob`.

    Raises:
        ConfigError: a word that is no override, or whose values cannot be listed.
    """
    parser = OverridesParser.create(loader)
    options: dict[str, list[tuple[str, str, Any]]] = {}
    for word in overrides:
        try:
            options |= _options(word, parser, loader)
        except HydraException as error:
            hint = str(error).split("\n")[0] if "=" in word.strip("=") else "write KEY=VALUE, or KEY=VALUE,VALUE"
            message = f"'{word}' is no override of a sweep: {hint}"
            raise ConfigError(message) from error
    differing = {key for key, choices in options.items() if len({_canonical(value) for *_, value in choices}) > 1}
    jobs = []
    for combination in itertools.product(*options.values()):
        chosen = list(zip(options, combination, strict=True))
        swept = {place: value for key, (place, _, value) in chosen if key in differing}
        title = " ".join(word for key, (_, word, _) in chosen if len(options[key]) > 1)
        jobs.append(Job(tuple(word for _, word, _ in combination), swept, title or "nothing is swept"))
    return jobs


def _options(word: str, parser: OverridesParser, loader: ConfigLoader) -> dict[str, list[tuple[str, str, Any]]]:
    """Return for the key of an override, `+` and all: its place, the word and the value, of each that it lists."""
    if word.startswith(HANDS_OVER):
        message = f"{word}: a sweep's jobs run one after another, each as parallel as runner= makes it; leave this out"
        raise ConfigError(message)
    override = parser.parse_overrides([word])[0]  # which, unlike the parser of one word, knows the groups
    if override.is_interval_sweep():
        message = f"'{word}': the values between two ends are too many to sweep over; list them, or use range(...)"
        raise ConfigError(message)
    key = override.get_key_element()
    words = [f"{key}={one}" for one in override.sweep_string_iterator()] if override.is_sweep_override() else [word]
    if not words:
        message = f"'{word}' has no value to sweep over"
        raise ConfigError(message)
    place = _place(override.package or override.key_or_group, override.key_or_group, loader)
    return {key: [(place, one, parser.parse_override(one).value()) for one in words]}


def _place(key: str, group: str, loader: ConfigLoader) -> str:
    """Return where in the config a key stands; the files of a group may say that they belong elsewhere."""
    for option in loader.get_group_options(group)[:1]:
        path = f"{group}/{option}"
        for source in loader.get_sources():
            package = (
                source.load_config(path).header["package"] if source.available() and source.is_config(path) else None
            )
            if package not in (None, "_global_"):
                return str(package)
    return key.replace("/", ".")


def suffix(swept: Mapping[str, Any], prefix: str = "method") -> str:
    """Return how the names of a job's results end, so that other jobs of its sweep do not write over them.

    Only keys below `prefix` count, and groups whose files belong there (`network=unet5,unet6`). A choice of the whole
    (`method=nilc,cnilc`) changes the name by itself, and so does `method.name`; what is swept elsewhere (`dataset=a,b`)
    is no matter of a method's name. A key is called by its last part, unless two that are swept share it. Numbers are
    written in one way, so that 1e-1 and 0.1 give one name; of values that a name cannot hold, a hash is added.

    Args:
        swept: key -> value, of the keys whose value differs between the jobs.
        prefix: of the keys that count.

    Returns:
        `-KEY-VALUE` of each; empty where nothing is swept.

    Example:
        >>> suffix({"method.train.learning_rate": 0.1, "method.batch_size": 12, "dataset": "a"})
        '-learning_rate-0.1-batch_size-12'
        >>> suffix({"method.train.rate": 1, "method.decay.rate": 2})
        '-train.rate-1-decay.rate-2'
    """
    counted = {key: value for key, value in swept.items() if f"{key}.".startswith(f"{prefix}.")}
    counted = {key: value for key, value in counted.items() if key not in {"method", f"{prefix}.name"}}
    last = {key: key.rpartition(".")[2] for key in counted}
    often = Counter(last.values())
    labels = {key: last[key] if often[last[key]] == 1 else key.removeprefix(f"{prefix}.") for key in counted}
    return "".join(f"-{re.sub(r'[^A-Za-z0-9_.-]', '_', labels[key])}-{_text(value)}" for key, value in counted.items())


def _text(value: Any) -> str:  # noqa: ANN401
    """Write a value in the characters of a name, with a hash where that says less than the value."""
    plain = value if isinstance(value, str) else _canonical(value)
    if isinstance(value, float):
        plain = plain.replace("e+", "e")
    safe = re.sub(r"[^A-Za-z0-9_.-]+", "_", plain).strip("_")[:LONGEST_VALUE]
    # The words null, true and false are other values than the strings that look like them.
    if safe and safe == plain and not (isinstance(value, str) and value in {"null", "true", "false"}):
        return safe
    digest = hashlib.sha256(_canonical(value).encode()).hexdigest()[:8]
    return f"{safe}-{digest}".lstrip("-")


def _canonical(value: Any) -> str:  # noqa: ANN401
    exact = isinstance(value, float) and value.is_integer() and abs(value) < 1e15
    return json.dumps(int(value) if exact else value, sort_keys=True)


@contextmanager
def naming(job: Job) -> Iterator[None]:
    """Let `${swept:}` in configs, meanwhile, stand for what this job sweeps; `${swept:PREFIX}` for a part of it."""
    _resolve_with(job.swept)
    try:
        yield
    finally:
        _resolve_with({})


def _resolve_with(swept: Mapping[str, Any]) -> None:
    OmegaConf.register_new_resolver("swept", lambda prefix="method": suffix(swept, prefix), replace=True)


_resolve_with({})  # a single run: `${swept:}` is empty


def end_names(config: DictConfig) -> None:
    """Let each name that `swept_names` lists, whoever has given it, end in what is swept beside it."""
    for place in config.get("swept_names", []):
        beside, _, key = place.rpartition(".")
        node = OmegaConf.select(config, beside)
        raw = OmegaConf.to_container(node, resolve=False) if isinstance(node, DictConfig) else {}
        name = raw.get(key) if isinstance(raw, dict) else None
        if name not in (None, "???"):
            OmegaConf.update(config, place, f"{name}${{swept:{beside}}}")


def results_of(config: DictConfig, job: Job) -> str:
    """Say where the results of a job go: which dataset, and under which name in it if they have one."""
    places = config.get("swept_names")
    if not places:
        return str(config.dataset)
    with naming(job):
        # What comes from the dataset itself is not known yet, and is the same for all jobs on it.
        name = OmegaConf.select(config, places[0], throw_on_resolution_failure=False)
    return f"{config.dataset}/{name or suffix(job.swept)}"


def run_jobs(jobs: Sequence[Job], configs: Sequence[DictConfig], run: Callable[[DictConfig], None]) -> None:
    """Run the jobs of a sweep one after another; one that fails leaves the others as they are.

    Args:
        jobs: of the sweep.
        configs: of each, as composed.
        run: does one.

    Raises:
        ConfigError: two would write to one place; nothing has been run.
        SweepError: some failed; the message says which, and why.
    """
    for config in configs:
        end_names(config)
    results = [results_of(config, job) for config, job in zip(configs, jobs, strict=True)]
    _require_apart(jobs, configs, results)
    faults: dict[str, list[str]] = {}
    for number, (job, config) in enumerate(zip(jobs, configs, strict=True), 1):
        log.info("sweep %d of %d: %s", number, len(jobs), job.title)
        try:
            with naming(job):
                run(config)
        except (CmbmlError, OmegaConfBaseException) as error:
            log.info("failed: %s", error)
            faults.setdefault(str(error), []).append(job.title)
    if faults:
        failed = sum(map(len, faults.values()))
        reasons = (f"{', '.join(titles)}: {fault}" for fault, titles in faults.items())
        message = "\n".join([f"{failed} of {len(jobs)} jobs of the sweep failed", *reasons])
        raise SweepError(message)
    log.info("sweep done: %s", ", ".join(results))


def _require_apart(jobs: Sequence[Job], configs: Sequence[DictConfig], results: Sequence[str]) -> None:
    seen: dict[tuple[str, str], Job] = {}
    for job, config, place in zip(jobs, configs, results, strict=True):
        other = seen.setdefault((str(config.system.root), place), job)
        if other is not job:
            same = f"'{job.title}' twice" if job.title == other.title else f"'{other.title}' and '{job.title}'"
            key = (config.get("swept_names") or ["dataset"])[0]
            mend = f"let {key} hold what differs: '{key}=NAME-${{KEY}}', KEY being one that is swept"
            message = f"two jobs of the sweep would write over each other in {place}: {same}; {mend}"
            raise ConfigError(message)
