"""What a method has learnt, as a file to hand on: weights with a card that says what they are."""

import logging
import os
from pathlib import Path
from typing import Any

import numpy as np

from cmbml import __version__
from cmbml.core.errors import ConfigError, MissingAssetError, StaleError
from cmbml.core.handler import Stamp
from cmbml.core.store import storage_errors
from cmbml.handlers.tensors import TensorFile
from cmbml.notebook.dataset import Dataset
from cmbml.settings import settings
from cmbml.stages.assets import STATE, TRAINING

log = logging.getLogger(f"cmbml.{__name__}")
SAID = ("seed", "scenario", "splits", "vary", "lensing", "cosmology", "skies", "noise")
"""Of what a dataset was made with, what a card says."""


@settings
class Export:
    """Write the state of a method, with a card.

    Attributes:
        method: its name; None where nobody has said it, which is refused.
        to: the file, `.safetensors`.
        licence: under which it may be used.
        limits: what its user should know.
        footing: of the scores in the card; all where None.
        beside: other methods whose scores on the same maps the card tells, to compare with.
    """

    method: str | None
    to: Path
    licence: str | None = None
    limits: str | None = None
    footing: str | None = None
    beside: tuple[str, ...] = ()

    def __call__(self, root: Path) -> None:
        """Write the file, whole or not at all.

        Args:
            root: the dataset's folder.

        Raises:
            ConfigError: the file cannot be called so, or is there already.
            MissingAssetError: the method has learnt nothing here, its weights are stale, or a method beside it was not
                compared.
        """
        path = self.to.expanduser()
        suffix = STATE.handler.suffix
        if path.suffix != suffix or path.exists():
            fault = "is there already" if path.exists() else f"must end in {suffix}"
            message = f"to={self.to}: the file {fault}; name another"
            raise ConfigError(message)
        data = Dataset(root)
        try:
            arrays, about = data.read(STATE.name, method=self.method)
        except StaleError:
            raise
        except (MissingAssetError, ConfigError) as error:
            there = ", ".join(name for name in data.methods if _has_learnt(data, name)) or "none"
            fault = f"={self.method} has learnt nothing in {root}" if self.method else "= must name a method of it"
            message = f"method{fault}; those that have learnt: {there}"
            raise MissingAssetError(message) from error
        card = self.card(data)
        part = path.with_name(f".{path.stem}.{os.getpid()}.part{suffix}")
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                TensorFile().write(part, (arrays, {**about, "card": card}), Stamp("export", ""))
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
        if not card["scores"]:
            log.info("the card has no scores: compare %s first, main_analysis.py", self.method)
        log.info("%s: %.1f MB; use it with stages=learnt weights=%s", path, path.stat().st_size / 1e6, path)

    def card(self, data: Dataset) -> dict[str, Any]:
        """Say what the weights are: plain values."""
        made = data.config
        try:
            training = dict(data.read(TRAINING.name, method=self.method))
        except MissingAssetError:
            training = {}
        beside = {name: self._scores(data, name) for name in self.beside}
        if missing := [name for name, found in beside.items() if not found]:
            where = f" at footing={self.footing}" if self.footing else ""
            message = f"beside={missing[0]}: it has no scores{where} in {data.root}: compare it first, main_analysis.py"
            raise MissingAssetError(message)
        return {
            "method": self.method,
            "cmbml": __version__,
            "licence": self.licence,
            "limits": self.limits,
            "holds": (
                "for maps as 'holds_for' describes them; on skies, noise or beams unlike those of 'data' nothing is "
                "known of it but what 'scores' shows"
            ),
            "data": {"dataset": data.root.name, **{name: made[name] for name in SAID if name in made}},
            "training": training,
            "scores": self._scores(data, self.method),
            "beside": beside,
        }

    def _scores(self, data: Dataset, method: str | None) -> list[dict[str, Any]]:
        """Return mean and scatter of each score over the simulations of each split that was compared."""
        try:
            table = data.scores()
        except MissingAssetError:
            return []
        table = table[table["method"] == method]
        if self.footing is not None:
            table = table[table["footing"] == self.footing]
        if not len(table):
            return []
        found: list[dict[str, Any]] = []
        for group in table.group_by(["split", "footing", "field", "region", "metric"]).groups:
            values = np.asarray(group["value"], float)
            if not np.isfinite(values.mean()):
                continue
            first = {name: str(group[name][0]) for name in ("split", "footing", "field", "region", "metric", "unit")}
            scatter = float(values.std(ddof=1)) if len(values) > 1 else None
            found.append(first | {"mean": float(values.mean()), "scatter": scatter, "simulations": len(values)})
        return found


def _has_learnt(data: Dataset, method: str) -> bool:
    try:
        data.path(STATE.name, method=method)
    except MissingAssetError:
        return False
    return True
