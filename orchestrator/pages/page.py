"""What every page is made of: tables, charts, pictures and figures as text, and the templates that set them.

A page is one file. Charts are SVG in the text, pictures JPEG in `data:` addresses, the style stands in the head, and
there is no script; the page's own policy forbids whatever would be fetched or run.
"""

from __future__ import annotations

import base64
import contextlib
import io
import os
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec, TypeVar

import cv2
import matplotlib
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from orchestrator.cli import UserError

JPEG_QUALITY = 82
#: The end of a page's name by its format.
SUFFIXES = {"html": (".html", ".htm"), "md": (".md", ".markdown")}
#: Control characters but tabs and line breaks, and those that turn the direction of text.
_HIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
SYNTHETIC = "SYNTHETIC DATA: phantom images made by this program. Their figures say nothing about patients."
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


@dataclass(frozen=True)
class Table:
    """A table; its first `texts` columns are words, the others are numbers and stand to the right.

    Attributes:
        caption: what it shows, and of how many.
        columns: names. rows: cells as text, or whole numbers.
        rules: rows that stand below a heavier line.
        total: the last row is a sum of others.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | int]]
    rules: Sequence[int] = ()
    texts: int = 1
    total: bool = False


@dataclass(frozen=True)
class Chart:
    """A chart as SVG, and a caption that says what is seen, and of how many."""

    svg: Markup
    caption: str


@dataclass(frozen=True)
class Picture:
    """A picture: the address of its pixels, its size in them, what it shows, and lines below it; names are text."""

    address: str
    width: int
    height: int
    shows: str
    lines: Sequence[str] = field(default_factory=tuple)


class Observation(NamedTuple):
    """A sentence, and what it rests on."""

    claim: str
    evidence: str


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
    svg = re.sub(
        r'width="([\d.]+)pt" height="[\d.]+pt"', r'role="img" style="max-width: calc(\1 * 4px / 3)"', svg, count=1
    )
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


def render(template: str, **values: Any) -> str:
    """A page from a template of `orchestrator/pages/templates`; text is escaped, wherever it comes from."""
    environment = Environment(
        loader=PackageLoader("orchestrator.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
    environment.filters.update(count=count, counted=counted, kind=lambda block: type(block).__name__)
    environment.globals.update(SYNTHETIC=SYNTHETIC)
    return environment.get_template(template).render(**values)


def check_place(file: Path, format: str = "html") -> None:
    """Refuse a page's place before any work is done for it.

    Args:
        format: html or md.

    Raises:
        UserError: another suffix than such a page has, a folder, or a folder above it that cannot be written to.
    """
    if file.is_dir():
        raise UserError(f"--out {file}: a folder; name the page, for example {file / f'page.{format}'}")
    if file.suffix.lower() not in SUFFIXES[format]:
        kinds = [kind for kind, suffixes in SUFFIXES.items() if file.suffix.lower() in suffixes]
        advice = f"give --format {kinds[0]}" if kinds else f"name it {file.stem}{SUFFIXES[format][0]}"
        raise UserError(f"--out {file}: not the name of a page of this format; {advice}")
    above = next(folder for folder in file.parents if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise UserError(f"--out {file}: {above} cannot be written to; name another folder")


def visible(text: str) -> str:
    """Text in which what cannot be seen, and what turns its direction, is a replacement character."""
    return _HIDDEN.sub("\ufffd", text)


def write(file: Path, html: str) -> None:
    """Write a page under a temporary name, then rename; names that are no UTF-8 stand as their codes.

    Raises:
        UserError: the file cannot be written.
    """
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(html.encode("utf-8", "backslashreplace"))
        part.replace(file)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise UserError(f"--out {file}: {error.strerror}") from None


def count(value: str | int) -> str:
    """A whole number with its thousands apart; text as it is."""
    return f"{value:,}" if isinstance(value, int) else value


def counted(value: int, noun: str) -> str:
    """A count with its noun, which takes an s."""
    return f"{value:,} {noun}{'' if value == 1 else 's'}"


def number(value: float, digits: int, sign: bool = False) -> str:
    """A number with a true minus; `-` where it is not known."""
    if not np.isfinite(value):
        return "-"
    text = f"{value:{'+' if sign else ''},.{digits}f}"
    return text.replace("-", "−")


def with_interval(value: float, interval: Sequence[float] | None, digits: int = 3, sign: bool = False) -> str:
    """A figure and its interval in brackets, if there is one: `0.708 (0.637 to 0.775)`."""
    text = number(value, digits, sign)
    if interval is None or not np.isfinite(interval).all():
        return text
    low, high = interval
    return f"{text} ({spanned(low, high, digits, sign)})"


def percent(part: float, whole: float, digits: int = 1) -> str:
    """A share in per cent; `-` of nothing."""
    return f"{100 * part / whole:.{digits}f} %" if whole else "-"


def spanned(low: float, high: float, digits: int, sign: bool = False) -> str:
    """Bounds in words, with more digits than given where one of them would look like the zero that it is not."""
    while digits < 4 and any(bound and not round(bound, digits) for bound in (low, high)):
        digits += 1
    return f"{number(low, digits, sign)} to {number(high, digits, sign)}"
