"""A page as blocks: the same words and tables in HTML and in Markdown, whatever they hold."""

from __future__ import annotations

import pytest

from orchestrator.rendering.document import (
    Answer,
    Document,
    Figure,
    Gallery,
    Heading,
    Section,
    SideBySide,
    Statement,
    Statements,
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
    return Document("Title", ["- a line"], [section], synthetic, "Made by us.")


def test_html_shows_hostile_words_and_runs_nothing() -> None:
    page = Page(
        to_html(
            document(
                TABLE,
                Text(HOSTILE),
                Statements([Statement(HOSTILE, "for", 0.5)]),
                Heading(HOSTILE),
                Answer(HOSTILE, "weak", "amber", [("why", HOSTILE)]),
            )
        )
    )
    assert_self_contained(page)
    assert page.text.count(seen(HOSTILE)) == 6
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


def test_an_answer_is_red_below_the_floor_and_the_same_in_markdown() -> None:
    answer = Answer("seg", "not usable", "red", [("why", "0 of 4 lesions"), ("for what", "nothing")])
    page = Page(to_html(document(answer)))
    assert ("div", {"class": "answer red"}) in page.tags
    assert "seg: not usable" in page.text
    lines = to_markdown(document(answer)).splitlines()
    assert lines[6:10] == ["**seg: not usable**", "", "- why: 0 of 4 lesions", "- for what: nothing"]


def test_a_sentence_has_its_side_and_one_rule_for_figures() -> None:
    figures = [Figure("recall", 0.5, (0.25, 0.75), 12, "benign images"), Figure("precision", 0.25, None, 1)]
    one = Statement("A.", "against", 1.5, figures, "More.", floor=True)
    assert one.evidence == "Recall: 0.500 (0.250 to 0.750), n = 12 benign images; precision: 0.250, n = 1 image. More."
    both = document(Statements([one, Statement("B.", "for", 0.1)]))
    classes = [given.get("class") for tag, given in Page(to_html(both)).tags if tag == "li"]
    assert classes == ["floor", "for"]
    assert "- **B.**" in to_markdown(both).splitlines()


def test_what_has_nothing_to_show_is_left_out() -> None:
    empty = document(Statements([]), SideBySide([]), Gallery("none", []))
    assert "One &amp; only" not in to_html(empty)
    assert "One" not in to_markdown(empty)


def test_synthetic_data_are_announced_before_anything_else() -> None:
    made = document(TABLE, synthetic=True)
    assert Page(to_html(made)).text.index(SYNTHETIC) < Page(to_html(made)).text.index("a line")
    assert to_markdown(made).splitlines()[2] == f"**{SYNTHETIC}**"


def test_two_sections_of_one_id_are_an_error_of_ours() -> None:
    twice = Document("T", [], [Section("a", "A", [TABLE]), Section("a", "B", [TABLE])], False, "")
    with pytest.raises(AssertionError):
        to_html(twice)
