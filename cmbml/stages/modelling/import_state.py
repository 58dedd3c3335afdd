"""Take what somebody else's method has learnt, so that it need not be trained here."""

from pathlib import Path
from typing import Any, ClassVar

from cmbml.core.space import Key, Space
from cmbml.core.unit_io import UnitIO
from cmbml.handlers.tensors import TensorFile
from cmbml.methods.base import MethodError
from cmbml.methods.shipped import shipped, weights_file
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
        weights: the file: a `state.safetensors` that the stage `train` has written, here or elsewhere; or the name of
            one that comes with the package.
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
        return (weights_file(self.weights),)

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
            message = f"weights={self.weights}: {error}; take some that were learnt on such maps, or train here"
            raise MethodError(message) from error
        return state


def read_state(path: Path) -> State:
    """Read what a method has learnt.

    Args:
        path: a file, or the name of one that comes with the package.

    Raises:
        MethodError: there is no such file, or it holds no weights of ours.
    """
    found = weights_file(path)
    if not found.is_file():
        message = (
            f"weights={path}: there is no such file, and no weights of that name come with the package, which has "
            f"{', '.join(shipped())}"
        )
        raise MethodError(message)
    try:
        return State(*TensorFile().read(found))
    except ValueError as error:
        message = f"weights={path}: {error}; name a state.safetensors that the stage 'train' has written"
        raise MethodError(message) from error
