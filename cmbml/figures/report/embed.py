"""What is embedded in the page: numbers as JSON, maps as pictures."""

import base64
import gzip
import io
import json
import math
from typing import Any

import numpy as np
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from PIL import Image

from cmbml.figures.maps import mollweide_pixels
from cmbml.figures.results import Values
from cmbml.figures.style import GREY, planck_colours

DIGITS = 6
COLOURS = 254  # of a map; two more are for what the mask leaves out, and for what is no sky
MASKED, OUTSIDE = COLOURS, COLOURS + 1


def as_json(value: Any) -> str:  # noqa: ANN401
    r"""Write JSON that can stand inside a script element.

    Numbers have six digits; those that are not finite become null, except infinity, which becomes a word.

    Example:
        >>> as_json({"a": [1.23456789, float("nan")], "b": "</script>"})
        '{"a":[1.23457,null],"b":"\\u003c/script>"}'
    """
    text = json.dumps(_plain(value), allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _plain(value: Any) -> Any:  # noqa: ANN401
    """Turn arrays and numpy's numbers into what JSON knows."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(item) for item in value]
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return _number(float(value))
    return value if value is None else str(value)


def _number(value: float) -> float | int | str | None:
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if math.isnan(value):
        return None
    short = float(f"{value:.{DIGITS}g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short


def packed_script(script: str) -> str:
    """Return a script as compressed base64, a third of its size, which the page unpacks."""
    return base64.b64encode(gzip.compress(script.encode("utf-8"), mtime=0)).decode("ascii")


def picture(values: Values, mask: Values, limit: float, width: int) -> str:
    """Draw a map in the Mollweide projection in Planck's colours, as a data URI of a PNG with a palette.

    Args:
        values: `(n_pix,)`, RING order.
        mask: `(n_pix,)`: 1 keep, 0 leave out: drawn grey.
        limit: the colours span -limit to limit.
        width: points along the equator.

    Returns:
        `data:image/png;base64,...`, the same for the same values.
    """
    nside = round(math.sqrt(values.size / 12))
    place = np.clip(0.5 * (np.asarray(values, dtype=np.float64) / limit + 1), 0, 1)
    index = np.where((mask > 0.5) & np.isfinite(place), np.nan_to_num(np.round(place * (COLOURS - 1))), MASKED).astype(
        np.uint8
    )
    pixels = mollweide_pixels(nside, width)
    raster = np.where(pixels < 0, np.uint8(OUTSIDE), index[pixels])
    image = Image.fromarray(raster, mode="P")
    image.putpalette(_palette().tobytes())
    file = io.BytesIO()
    image.save(file, format="PNG", optimize=True, transparency=OUTSIDE)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def figure_uri(figure: Figure) -> str:
    """Return a figure as a data URI of a PNG, the same for the same figure."""
    file = io.BytesIO()
    figure.savefig(file, dpi=110, format="png", metadata={"Software": None})
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def _palette() -> np.ndarray[Any, np.dtype[np.uint8]]:
    colours = planck_colours()(np.linspace(0, 1, COLOURS))[:, :3]
    both = np.vstack([colours, to_rgb(GREY), (1.0, 1.0, 1.0)])
    return np.round(255 * both).astype(np.uint8)


def gradient(stops: int = 25) -> str:
    """Return Planck's colours as a CSS gradient, for the maps' colour bars."""
    colours = [to_hex(colour) for colour in planck_colours()(np.linspace(0, 1, stops))]
    return f"linear-gradient(to right, {', '.join(colours)})"
