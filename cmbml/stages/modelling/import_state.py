"""Take what somebody else's method has learnt, so that it need not be trained here."""

from pathlib import Path
from typing import Any, ClassVar

from cmbml.core.space import Key, Space
from cmbml.core.unit_io import UnitIO
from cmbml.handlers.tensors import TensorFile
from cmbml.methods.base import MethodError
from cmbml.methods.trained import State, TrainedMethod
from cmbml.settings import settings
from cmbml.sky.case import CaseSpec
from cmbml.stages.assets import METHOD, STATE
from cmbml.stages.tasks.cases import CaseStage


@settings
class ImportState(CaseStage):
    """Read the weights of one method from a file, check them, and write them as our own asset.

    Attributes:
        method: what they are for.
        weights: the file: a `state.safetensors` that the stage `train` has written, here or elsewhere.
    """

    method: TrainedMethod
    weights: Path
    writes: ClassVar = (STATE,)
    per: ClassVar = (METHOD,)

    def check(self, space: Space) -> None:  # noqa: ARG002
        """Look whether the method accepts such observations, and whether the weights are whole and for them."""
        spec = self.cases.spec()
        self.method.accepts(spec)
        self._read(spec)

    def files(self, key: Key) -> tuple[Path, ...]:  # noqa: ARG002
        """Return the file of the weights."""
        return (self.weights,)

    def disk_bytes(self) -> int:
        """The weights."""
        return self.method.state_bytes(self.cases.spec())

    def process(self, io: UnitIO) -> None:
        """Read, check, write."""
        state = self._read(self.cases.spec())
        io.write(STATE, (state.arrays, state.about))

    def _read(self, spec: CaseSpec[Any]) -> State:
        state = read_state(self.weights)
        try:
            self.method.require_fit(state, spec)
        except ValueError as error:
            raise _unfit(self.weights, error) from error
        return state


def read_state(path: Path) -> State:
    """Read what a method has learnt.

    Raises:
        MethodError: there is no such file, or it holds no weights of ours.
    """
    if not path.is_file():
        message = f"weights={path}: there is no such file"
        raise MethodError(message)
    try:
        return State(*TensorFile().read(path))
    except ValueError as error:
        raise _unfit(path, error) from error


def _unfit(path: Path, error: ValueError) -> MethodError:
    return MethodError(f"weights={path}: {error}; name a state.safetensors that the stage 'train' has written")
