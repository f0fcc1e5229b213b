"""A page as blocks: the same words and tables in HTML and in Markdown, whatever they hold."""

from __future__ import annotations

import pytest

from orchestrator.rendering.document import (
    Document,
    Gallery,
    Heading,
    Observation,
    Observations,
    Section,
    SideBySide,
    Table,
    Text,
    to_html,
)
from orchestrator.rendering.html import SYNTHETIC
from orchestrator.rendering.markdown import to_markdown
from tests.support.webpages import Page, assert_self_contained, seen

HOSTILE = "a|b *c* _d_ <script>alert(1)</script> [x](y) `z` & $1$ www.x.org http://y \u202e乳腺"
TABLE = Table("Counts of 3 images", ["class", "n"], [[HOSTILE, 1200], ["all", 3]], total=True)


def document(*blocks: object, synthetic: bool = False) -> Document:
    section = Section("one", "One & only", blocks)  # type: ignore[arg-type]
    return Document("Title", ["- a line"], [("images", 1200)], [section], synthetic, "Made by us.")


def test_html_shows_hostile_words_and_runs_nothing() -> None:
    page = Page(
        to_html(document(TABLE, Text(HOSTILE), Observations([Observation(HOSTILE, "n = 3")]), Heading(HOSTILE)))
    )
    assert_self_contained(page)
    assert page.text.count(seen(HOSTILE)) == 4
    assert page.table("Counts")[1:] == [[seen(HOSTILE), "1,200"], ["all", "3"]]


def test_markdown_has_the_same_table_and_no_mark_of_a_name() -> None:
    lines = to_markdown(document(TABLE)).splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert [row.replace("\\|", "").count("|") for row in rows] == [3] * 4
    assert rows[1] == "| :-- | --: |"
    assert rows[3] == "| **all** | **3** |"
    bare = rows[2].replace("\\\\", "")
    for mark in "*_<>[]`&$":
        assert bare.count(mark) == bare.count(f"\\{mark}"), mark
    assert "http\\://y" in bare
    assert "www\\.x" in bare
    assert "\u202e" not in bare
    assert "乳腺" in bare


@pytest.mark.parametrize("words", ["- item", "1. item", "---", "+ x", "2) x", "- "])
def test_no_line_of_markdown_begins_a_list_by_its_words(words: str) -> None:
    lines = to_markdown(document(Text(words))).splitlines()
    line = lines[lines.index("## One \\& only") + 2]
    assert line.replace("\\", "") == words.strip()
    assert not line.startswith(("-", "+", "1.", "2)"))


def test_what_has_nothing_to_show_is_left_out() -> None:
    empty = document(Observations([]), SideBySide([]), Gallery("none", []))
    assert "One &amp; only" not in to_html(empty)
    assert "One" not in to_markdown(empty)


def test_synthetic_data_are_announced_before_anything_else() -> None:
    made = document(TABLE, synthetic=True)
    assert Page(to_html(made)).text.index(SYNTHETIC) < Page(to_html(made)).text.index("images")
    assert to_markdown(made).splitlines()[2] == f"**{SYNTHETIC}**"


def test_two_sections_of_one_id_are_an_error_of_ours() -> None:
    twice = Document("T", [], [], [Section("a", "A", [TABLE]), Section("a", "B", [TABLE])], False, "")
    with pytest.raises(AssertionError):
        to_html(twice)
