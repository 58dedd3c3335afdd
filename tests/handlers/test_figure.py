"""Figures are pictures that say who made them."""

from pathlib import Path

import pytest
from matplotlib.figure import Figure

from cmbml.core.handler import Stamp
from cmbml.handlers.figure import PngFigure

STAMP = Stamp("stage", "0123456789abcdef" * 4)


def test_figure_is_a_picture_that_says_who_made_it(tmp_path: Path) -> None:
    figure = Figure(figsize=(1, 1))
    figure.subplots().plot([1, 2])
    PngFigure().write(tmp_path / "f.png", figure, STAMP)
    content = (tmp_path / "f.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    assert b"stage 0123456789abcdef" in content
    with pytest.raises(TypeError, match="not read back"):
        PngFigure().read(tmp_path / "f.png")
