"""How the site is built: `make docs`. It needs no network."""

import os
import sys
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS.parent), str(DOCS)]

from _make.api import write_api  # noqa: E402
from _make.config_reference import write_reference  # noqa: E402
from _make.pictures import draw_all  # noqa: E402
from myst_nb.core import render  # noqa: E402
from sphinx.ext.napoleon.docstring import GoogleDocstring  # noqa: E402

project = "cmbml"
author = "The cmbml developers"
project_copyright = author

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build", "_make", "**.ipynb_checkpoints"]
# The page on notebooks may be there or not; nothing else is matched by a pattern.
suppress_warnings = ["toc.empty_glob"]
nitpicky = False

# No formulas but in plain text: what draws them is fetched from elsewhere by the reader's browser.
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

# Tutorials are run where they are built, each in an empty folder, and kept while their text stays as it is.
nb_execution_mode = "cache"
nb_execution_cache_path = str(DOCS / "_build" / "notebooks")
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 1800
nb_merge_streams = True
nb_render_markdown_format = "gfm"  # the summary of a comparison is a table
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
os.environ["PYTHONPATH"] = os.pathsep.join([str(DOCS.parent), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
os.environ["CMBML_TUTORIALS"] = str(DOCS / "_build" / "tutorials")
os.environ.setdefault("OMP_NUM_THREADS", "1")

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "separated"
autodoc_default_options = {"exclude-members": "__init__, __new__"}
python_use_unqualified_type_names = True
napoleon_use_ivar = True


def _whole_returns(self: GoogleDocstring, preprocess_types: bool = False) -> list[tuple[str, str, list[str]]]:  # noqa: ARG001
    lines = self._dedent(self._consume_to_next_section())
    return [("", "", lines)] if lines else []


# Types stand in signatures; what stands before a colon in `Returns:` or in the docstring of an attribute is text.
GoogleDocstring._consume_returns_section = _whole_returns
GoogleDocstring._consume_inline_attribute = lambda self: ("", list(self._lines))

_coalesce_streams = render.coalesce_streams


def _whole_lines(outputs: list[Any]) -> list[Any]:
    """Join what a cell has printed as it was printed: a shell's words come in pieces that end anywhere in a line."""
    first: dict[str, Any] = {}
    for output in outputs:
        if output["output_type"] == "stream" and output["name"] in first:
            first[output["name"]]["text"] += output["text"]
        elif output["output_type"] == "stream":
            first[output["name"]] = output
    kept = [entry for entry in outputs if entry["output_type"] != "stream" or entry is first[entry["name"]]]
    return _coalesce_streams(kept)


render.coalesce_streams = _whole_lines

html_theme = "pydata_sphinx_theme"
html_title = "cmbml"
html_static_path = ["_static"]
html_css_files = ["own.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": ["theme-version"],
    "navbar_center": [],
}
# The whole of the site in the margin of every page.
html_sidebars = {"**": ["globaltoc.html"]}
linkcheck_timeout = 20
linkcheck_retries = 2
linkcheck_anchors = False

# What is made from the code, before any page is read.
MADE = DOCS / "made"
draw_all(MADE / "pictures")
write_reference(MADE / "config")
write_api(MADE / "api")
