"""The page that lists all comparisons of a dataset."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined


@dataclass(frozen=True)
class Entry:
    """One comparison.

    Attributes:
        name: of it.
        methods: that were compared.
        pages: split -> address of its page.
        says: split -> what it comes to, in one sentence.
        changed: the scores, by method and split, that are no longer those of the dataset; none where all hold.
        command: that makes it again; may be empty.
    """

    name: str
    methods: Sequence[str]
    pages: Mapping[str, str]
    says: Mapping[str, str]
    changed: Sequence[str] = ()
    command: str = ""


def render_index(dataset: str, entries: Sequence[Entry]) -> str:
    """Write the list as a page that needs no network, the same for the same entries."""
    environment = Environment(
        loader=PackageLoader("cmbml.figures.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("index.html.jinja").render(dataset=dataset, entries=entries)
