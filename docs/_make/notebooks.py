"""The tutorials as notebooks, run as the site runs them."""

from pathlib import Path

import nbformat
from myst_nb.core.read import read_myst_markdown_notebook
from nbclient import NotebookClient

MARK = "file_format: mystnb"


def notebooks(docs: Path) -> list[Path]:
    """Return the pages that are notebooks."""
    return [path for path in sorted(docs.rglob("*.md")) if MARK in path.read_text()[:200]]


def run(path: Path, folder: Path, timeout_s: int = 1800) -> nbformat.NotebookNode:
    """Run a notebook in a folder.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    notebook = read_myst_markdown_notebook(path.read_text(), path=path)
    return NotebookClient(notebook, timeout=timeout_s, resources={"metadata": {"path": str(folder)}}).execute()


def printed(notebook: nbformat.NotebookNode) -> str:
    """Return all that its cells have printed."""
    return "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))
