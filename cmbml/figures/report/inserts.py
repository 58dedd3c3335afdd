"""What stages hand to the page beside scores: pictures and tables, as JSON."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict

from matplotlib.figure import Figure

from cmbml.figures.report.embed import figure_uri
from cmbml.figures.results import Section, TextTable


def inserts(pictures: Mapping[str, Figure], sections: Sequence[Section] = ()) -> str:
    """Write down figures by their captions, and tables."""
    drawn = {caption: figure_uri(figure) for caption, figure in pictures.items()}
    return json.dumps({"pictures": drawn, "sections": [asdict(section) for section in sections]})


def joined(texts: Iterable[str | None]) -> tuple[dict[str, str], list[Section]]:
    """Return what several stages have written down: caption -> data URI of a picture, and tables."""
    pictures: dict[str, str] = {}
    sections: list[Section] = []
    for text in texts:
        found = json.loads(text or "{}")
        pictures |= found.get("pictures", {})
        sections += [Section(**one | {"table": TextTable(**one["table"])}) for one in found.get("sections", [])]
    return pictures, sections
