"""Simulate the microwave sky, clean it, and compare the methods that clean it.

In a notebook or a script of your own (docs/notebook.md):

    data = cmbml.open_dataset("datasets/demo")      what the programs have made, as maps and tables
    nilc = cmbml.load_method("nilc")                a method, on arrays in memory
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cmbml.notebook.dataset import Dataset, open_dataset
    from cmbml.notebook.method import LoadedMethod, load_method, observation
    from cmbml.notebook.skymap import SkyMap

__version__ = "0.1.0"
__all__ = ["Dataset", "LoadedMethod", "SkyMap", "__version__", "load_method", "observation", "open_dataset"]
_PLACES = {
    "Dataset": "dataset",
    "LoadedMethod": "method",
    "SkyMap": "skymap",
    "load_method": "method",
    "observation": "method",
    "open_dataset": "dataset",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401
    """Import what is asked for, and not before: `import cmbml` takes no time."""
    if name not in _PLACES:
        message = f"module 'cmbml' has no attribute '{name}'"
        raise AttributeError(message)
    return getattr(import_module(f"cmbml.notebook.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
