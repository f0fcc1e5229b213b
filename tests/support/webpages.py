"""What a page holds, read as a browser would, and how it looks in one."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

#: Below this width, in pixels, a table may be scrolled within the page.
NARROW = 860
VOID = {"br", "img", "link", "meta"}


def seen(name: str) -> str:
    """A name as pages show it: what turns the direction of text is a replacement character."""
    return name.replace("\u202e", "\ufffd")


class Page(HTMLParser):
    """Tables, texts and elements of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.sections: dict[str, str] = {}
        self.text = ""
        self._open: list[str] = []
        self._section = ""
        self._caption = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.tags.append((tag, given))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "h2":
            self._section = given["id"]
        elif tag == "table":
            self._caption = given["aria-label"]
            self.tables[self._caption] = []
        elif tag == "tr":
            self.tables[self._caption].append([])
        elif tag in ("td", "th"):
            self.tables[self._caption][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self._open:
            return
        self.text += data
        self.sections[self._section] = self.sections.get(self._section, "") + data
        if {"td", "th"} & set(self._open):
            self.tables[self._caption][-1][-1] += data

    def table(self, words: str) -> list[list[str]]:
        """The one table whose caption begins so; its first row are the columns' names."""
        (found,) = [rows for caption, rows in self.tables.items() if caption.startswith(words)]
        return found

    def rows(self, words: str) -> dict[str, list[str]]:
        """The rows of `table` by their first cell."""
        return {row[0]: row[1:] for row in self.table(words)[1:]}


def assert_self_contained(page: Page) -> None:
    """No script, nothing fetched, nothing that would run."""
    for tag, given in page.tags:
        assert tag not in ("script", "iframe", "link", "object", "embed", "form", "base"), tag
        assert not [name for name in given if name.startswith("on")], given
        for name in ("src", "href", "xlink:href"):
            assert re.match(r"#|data:image/(jpeg|png);base64,|$", given.get(name, "")), given[name][:80]
        assert "url(" not in given.get("style", "").replace("url(#", ""), given["style"]


def looked_at(file: Path, folder: Path, width: int) -> dict[str, Any]:
    """A page in headless Chromium at a width: what stands beyond its right edge, and what the console says.

    Skips the test where there is no Chromium.
    """
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium on this machine")
    # The page has no script and allows none: another one, around it, measures it.
    frame = folder / f"frame-{width}.html"
    frame.write_text(
        f"""<!DOCTYPE html><meta charset="utf-8"><body style="margin:0"><pre id="found"></pre>
<iframe src="{file.resolve().as_uri()}" style="width:{width}px;height:900px;border:0"></iframe><script>
onload = () => {{
  const inside = document.querySelector("iframe").contentDocument;
  const scrolls = {"true" if width < NARROW else "false"};
  const wide = [...inside.querySelectorAll("body *")].filter(one => !one.closest("svg") &&
    !(scrolls && one.closest(".table")) &&
    (one.getBoundingClientRect().right > {width} || one.scrollWidth > one.clientWidth + 1 && one.clientWidth));
  const broken = [...inside.images].filter(one => !one.naturalWidth);
  document.getElementById("found").textContent = "FOUND" + JSON.stringify({{
    scroll: inside.documentElement.scrollWidth, title: inside.title, broken: broken.length,
    wide: wide.map(one => one.tagName + "." + one.className + " " + one.textContent.slice(0, 40))}}) + "END";
}};
</script>"""
    )
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    flags += ["--allow-file-access-from-files", "--enable-logging=stderr", f"--user-data-dir={folder / 'browser'}"]
    flags += [f"--window-size={width + 20},1000", "--virtual-time-budget=10000", "--dump-dom", frame.as_uri()]
    done = subprocess.run([browser, *flags], capture_output=True, text=True, timeout=120)
    found = re.search(r"FOUND(.*)END</pre>", done.stdout)
    assert found, done.stdout[:500] + done.stderr[-2000:]
    unescaped = found[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    return {**json.loads(unescaped), "console": [line for line in done.stderr.splitlines() if ":CONSOLE" in line]}
