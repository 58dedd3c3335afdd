"""The page of the notebook interface, where the package has one."""

from importlib.util import find_spec
from pathlib import Path

NOTEBOOK = """# Notebooks

```{eval-rst}
.. autofunction:: cmbml.open_dataset
.. autoclass:: cmbml.Dataset
   :members:
.. autofunction:: cmbml.load_method
.. autofunction:: cmbml.observation
.. autoclass:: cmbml.LoadedMethod
   :members:
.. autoclass:: cmbml.SkyMap
   :members:
```
"""


def write_api(folder: Path) -> None:
    """Write the page, or take it away."""
    path = folder / "notebook.md"
    folder.mkdir(parents=True, exist_ok=True)
    if find_spec("cmbml.notebook") is None:
        path.unlink(missing_ok=True)
    elif not path.is_file() or path.read_text() != NOTEBOOK:
        path.write_text(NOTEBOOK)
