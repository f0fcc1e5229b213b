"""What every page is made of: tables, charts, pictures and figures as text, and the templates that set them.

A page is one file. Charts are SVG in the text, pictures JPEG in `data:` addresses, the style stands in the head, and
there is no script; the page's own policy forbids whatever would be fetched or run.
"""

from __future__ import annotations

import base64
import io
import re
import warnings
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import cv2
import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from orchestrator.rendering.document import Chart, Picture

JPEG_QUALITY = 82
#: Inches that fill a page's column, and half of it.
FULL, HALF = 11.0, 5.2
INK, FAINT = "#22272d", "#d5d9de"
STYLE: Any = {
    "font.size": 9,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#eceef0",
    "text.color": INK,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "text.parse_math": False,  # names may hold dollars
}
Drawing = ParamSpec("Drawing")
Drawn = TypeVar("Drawn")


def styled(draw: Callable[Drawing, Drawn]) -> Callable[Drawing, Drawn]:
    """A function that draws charts, in the pages' style."""

    @wraps(draw)
    def inside(*args: Drawing.args, **kwargs: Drawing.kwargs) -> Drawn:
        with matplotlib.rc_context(STYLE):
            return draw(*args, **kwargs)

    return inside


def chart(name: str, figure: Figure, caption: str) -> Chart:
    """A figure as SVG that stands in the page's text and takes its font; call it from what is `styled`.

    Args:
        name: letters and hyphens, another for each chart of a page: identifiers of its parts begin with it.
    """
    figure.patch.set_visible(False)
    stream = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the browser sets the words, in a font of its own
        figure.savefig(stream, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    svg = stream.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)  # it would hold for the whole page
    svg = re.sub(r"font-family: [^;\"]*", "font-family: inherit", svg)
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    sized = r'role="img" style="--drawn: calc(\1 * 4px / 3); max-width: var(--drawn)"'
    svg = re.sub(r'width="([\d.]+)pt" height="[\d.]+pt"', sized, svg, count=1)
    return Chart(Markup(svg), caption)  # matplotlib escapes the words in it


def canvas(width: float, height: float, columns: int = 1, *, sharey: bool = False) -> tuple[Figure, list[Axes]]:
    """An empty figure, in inches, and its panels side by side."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(figure.subplots(1, columns, squeeze=False, sharey=sharey)[0])


def picture(pixels: np.ndarray, shows: str, lines: Sequence[str] = ()) -> Picture:
    """A picture from pixels, uint8 RGB [H,W,3] or grey [H,W], as JPEG."""
    stored = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.ndim == 3 else pixels
    done, content = cv2.imencode(".jpg", stored, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    assert done
    address = "data:image/jpeg;base64," + base64.b64encode(content.tobytes()).decode()
    return Picture(address, pixels.shape[1], pixels.shape[0], shows, tuple(lines))
