"""What every stage that runs a method is told."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from cmbml.core.asset import Asset
from cmbml.core.space import Key, Space
from cmbml.core.unit_io import UnitIO
from cmbml.methods.base import BlindMethod, MethodError
from cmbml.settings import settings
from cmbml.sky.case import Answer, Case, CaseSpec
from cmbml.stages.assets import BANDPOWERS, CLEANED_MAP, METHOD, SAMPLES, UNCERTAINTY_MAP
from cmbml.stages.modelling.external import spec_with_templates, template_windows, with_templates
from cmbml.stages.tasks.cases import CaseStage


@settings
class MethodStage(CaseStage):
    """Run a method on one simulation.

    Attributes:
        method: what answers.
    """

    method: BlindMethod
    looks_at: ClassVar[tuple[str, ...]] = ("shown",)

    def check(self, space: Space) -> None:  # noqa: ARG002
        """Ask the method whether it accepts such cases, and whether the files that it names are there."""
        if missing := [str(path) for path in self.method.files() if not path.is_file()]:
            message = f"{self.method.name} is told to read {', '.join(missing)}, and there is no such file"
            raise MethodError(message)
        self.method.accepts(self.spec())

    def files(self, key: Key) -> tuple[Path, ...]:  # noqa: ARG002
        """Return what the method's settings name, and the windows of the pixels of its templates."""
        return (*self.method.files(), *template_windows(self.method.maps_from_elsewhere()))

    def spec(self) -> CaseSpec[Any]:
        """Say what the method is shown: a case, and the templates that its settings name."""
        return spec_with_templates(self.cases.spec(), self.method.maps_from_elsewhere())

    def shown(self, case: Case[Any]) -> Case[Any]:
        """Put the method's templates beside a case."""
        return with_templates(case, self.method.maps_from_elsewhere())

    def disk_bytes(self) -> int:
        """One answer for each asset."""
        return len(self.writes) * self.cases.disk_bytes()


def write_answer(io: UnitIO, name: str, answer: Answer[Any], promised: Any) -> None:  # noqa: ANN401
    """Check that an answer is what was promised, and write it, in single precision.

    Args:
        io: of a unit that writes CLEANED_MAP, and may write UNCERTAINTY_MAP, SAMPLES and BANDPOWERS.
        name: of the method.
        answer: what it gave.
        promised: what its `accepts` had returned.

    Raises:
        MethodError: it is something else.
    """
    given: list[tuple[Asset[Any], Any]] = [(CLEANED_MAP, answer.value), (UNCERTAINTY_MAP, answer.sigma)]
    found = [(asset, field) for asset, field in given if field is not None]
    for asset, field in found:
        if wrong := field.spec.difference(promised, *(entry.name for entry in fields(promised))):
            message = f"{name} gave another {asset.name} than it had promised: {wrong}"
            raise MethodError(message)
    notes = {"METHOD": io.key[METHOD], **answer.notes} if answer.notes else {}
    for asset, field in found:
        io.write(asset, replace(field, values=field.values.astype(np.float32)), notes=notes)
    if answer.samples:
        io.write(SAMPLES, answer.samples, notes=notes)
    if answer.bandpowers is not None:
        io.write(BANDPOWERS, answer.bandpowers)
