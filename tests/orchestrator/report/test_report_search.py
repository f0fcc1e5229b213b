"""What the report says of a search, on ledgers and studies with known answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator.rendering.document import Block, Document, Section, to_html
from orchestrator.rendering.markdown import to_markdown
from orchestrator.report.search.history import running_best
from orchestrator.report.search.importances import Importances, importances
from orchestrator.report.search.parallel_coordinates import BELOW, LINES, drawn_parameters, scale
from orchestrator.report.search.section import search_blocks
from orchestrator.report.search.trials import read_study, read_trials
from orchestrator.storage.run_folder import RunFolder
from orchestrator.tuning.ledger import Ledger
from tests.support.report_searches import by_lr, by_lr_at_best, drawn, write_ledger, write_search, write_study
from tests.support.search_runs import search_summary
from tests.support.webpages import Page, assert_self_contained

HOSTILE = "$\\frac{ <script>alert(1)</script> \u202e\x1b\ud800 'q\" | $"


def page(blocks: Sequence[Block]) -> Page:
    """The blocks as HTML, which holds nothing that runs, and as Markdown, which must not fail."""
    document = Document("t", (), [Section("search", "Search", blocks)], False, "end")
    to_markdown(document)
    read = Page(to_html(document).encode("utf-8", "backslashreplace").decode())
    assert_self_contained(read)
    return read


def test_the_running_best_never_falls_and_passes_over_trials_without_a_value() -> None:
    best = running_best([None, 0.4, 0.2, None, 0.6, 0.5])
    np.testing.assert_array_equal(best, [np.nan, 0.4, 0.4, 0.4, 0.6, 0.6])


def test_the_parameter_that_alone_decides_is_the_most_important_and_the_only_one_beyond_chance(tmp_path: Path) -> None:
    write_search(tmp_path, 120)
    found = importances(read_study(tmp_path), read_trials(tmp_path, "dice"))
    assert isinstance(found, Importances)
    assert found.items[0].name == "lr"
    assert [item.name for item in found.items if item.beyond_chance] == ["lr"]
    assert sum(item.share for item in found.items) == pytest.approx(1)
    assert (found.trials, found.best) == (120, 12)
    again = importances(read_study(tmp_path), read_trials(tmp_path, "dice"))
    assert again == found
    rows = page(search_blocks(tmp_path, None, "dice")).rows("Hyperparameter importances")
    assert rows["lr"][-1] == "120"


def test_importances_are_those_for_the_best_not_for_the_worst(tmp_path: Path) -> None:
    write_search(tmp_path, 200, by_lr_at_best)
    found = importances(read_study(tmp_path), read_trials(tmp_path, "dice"))
    assert isinstance(found, Importances)
    assert [item.name for item in found.items if item.beyond_chance] == ["lr"]


def test_importances_are_of_this_searchs_trials_that_have_a_value(tmp_path: Path) -> None:
    params, values = drawn(40, by_lr)
    write_study(tmp_path, params, [*values[:24], *[None] * 8, *values[32:]])
    # The last 8 of the study are another search's, with which it began; those before failed and were told as 0.
    own = [{"config": params[i], "value": values[i] if i < 24 else None} for i in range(32)]
    write_ledger(tmp_path, own)
    found = importances(read_study(tmp_path), read_trials(tmp_path, "dice"))
    assert isinstance(found, Importances)
    assert (found.trials, found.best) == (24, 5)


@pytest.mark.parametrize(
    ("count", "value", "words"),
    [
        (9, by_lr, "need 10 finished trials, and there are 9"),
        (30, lambda _: 0.5, "the best trials have the same value as the others"),
    ],
)
def test_importances_that_would_say_nothing_are_left_out_in_words(
    tmp_path: Path, count: int, value: Callable[[dict[str, Any]], float], words: str
) -> None:
    write_search(tmp_path, count, value)
    assert words in page(search_blocks(tmp_path, None, "dice")).text


def test_the_budget_adds_up_to_the_ledger(tmp_path: Path) -> None:
    fpn = {"architecture": "fpn"}
    write_ledger(
        tmp_path,
        [
            {"config": {}, "value": 0.5, "epochs": 10, "seconds": 3600.0},
            {"config": fpn, "value": 0.7, "epochs": 2, "seconds": 7200.0, "state": "asha"},
            {"config": fpn, "value": 0.6, "epochs": 10, "seconds": 1800.0},
            {"config": fpn, "value": None, "seconds": 3600.0, "state": "failed"},
        ],
    )
    read = page(search_blocks(tmp_path, search_summary(wall_seconds=16200.0, efficiency=0.5), "dice"))
    rows = read.table("What was spent")
    names = ["architecture", "trials", "completed", "left at a rung", "failed", "epochs", "hours", "GPU-hours", "best"]
    assert rows == [
        names,
        ["fpn", "3", "1", "1", "1", "12", "3.5", "1.75", "0.7000"],
        ["unet", "1", "1", "0", "0", "10", "1.0", "0.50", "0.5000"],
        ["all", "4", "2", "1", "1", "22", "4.5", "2.25", "0.7000"],
    ]
    records = Ledger(tmp_path, hold=False).trials.values()
    assert float(rows[-1][6]) * 3600 == sum(record.seconds for record in records)
    assert float(rows[-1][7]) * 3600 == sum(record.gpu_seconds for record in records)
    time = read.rows("How the time went")
    assert time["left at a rung"] == ["1 (25.0 %), after a median of 2 epochs"]
    assert time["epochs trained"] == ["22 of 40 if all had gone to their end (55.0 %)"]
    assert time["share of it spent training"] == ["50.0 %"]


def test_the_best_are_ranked_with_the_parameters_in_which_they_differ(tmp_path: Path) -> None:
    trials = [{"config": {"lr": 0.01 * i, "batch_size": 8}, "value": 0.5 + i / 100} for i in range(1, 13)]
    write_ledger(tmp_path, [*trials, {"config": {"lr": 1.0, "batch_size": 99}, "value": None, "state": "failed"}])
    read = page(search_blocks(tmp_path, None, "dice"))
    words = "The best 10 of 13 trials, and the parameters in which these differ: ranks"
    first, second = (read.table(f"{words} {ranks}") for ranks in ("1 to 5", "6 to 10"))
    assert first[0] == ["", "#12", "#11", "#10", "#9", "#8"]
    assert second[0][-1] == "#3"
    assert {row[0]: row[1:] for row in first}["lr"] == ["0.12", "0.11", "0.1", "0.09", "0.08"]
    assert [row[0] for row in first] == ["", "Dice", "ended", "epochs done", "architecture", "lr"]


def test_a_journal_whose_last_line_was_cut_is_read_and_nothing_is_written(tmp_path: Path) -> None:
    write_search(tmp_path, 30)
    for name in ("study.journal", "trials.jsonl"):
        with (tmp_path / name).open("a") as file:
            file.write('{"op_code": 4, "wor')
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert "lr" in page(search_blocks(tmp_path, None, "dice")).rows("Hyperparameter importances")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


@pytest.mark.parametrize("fault", ["missing", "empty", "damaged", "lines lost"])
def test_a_journal_that_cannot_be_read_is_said_and_the_rest_is_shown(tmp_path: Path, fault: str) -> None:
    write_search(tmp_path, 30)
    file = RunFolder(tmp_path).study
    lines = file.read_text().splitlines(keepends=True)
    if fault == "missing":
        file.unlink()
    else:
        found = {"empty": [], "damaged": [*lines[:9], "\x00\x00{\n", *lines[9:]], "lines lost": lines[1:]}
        file.write_text("".join(found[fault]))
    read = page(search_blocks(tmp_path, None, "dice"))
    state = "missing" if fault == "missing" else "damaged"
    assert f"Hyperparameter importances are left out: study.journal is {state}." in read.text
    assert read.rows("What was spent")["all"][0] == "30"
    assert file.exists() == (fault != "missing")


@pytest.mark.parametrize("content", [None, "", '{"event": "ended"}\n', "not JSON\n", "[]\n"])
def test_a_ledger_that_says_nothing_is_said(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        RunFolder(tmp_path).ledger.write_text(content)
    (block,) = search_blocks(tmp_path, None, "dice")
    assert ("No trial of this search was started" if content == "" else "damaged") in page([block]).text


def test_a_running_search_is_read_while_it_is_held(tmp_path: Path) -> None:
    write_search(tmp_path, 3)
    holder = Ledger(tmp_path)
    try:
        config = {"architecture": "fpn", "encoder": "e", "recipe": "", "epochs": 10}
        holder.add("asked", "t9", number=4, study_number=3, config=config)
        holder.add("started", "t9")
        read = page(search_blocks(tmp_path, None, "dice"))
    finally:
        holder.close()
    assert "still running" in read.text
    assert read.rows("What was spent")["fpn"][2] == "1"
    assert "still running" not in page(search_blocks(tmp_path, None, "dice")).text


def test_one_trial(tmp_path: Path) -> None:
    write_search(tmp_path, 1)
    read = page(search_blocks(tmp_path, search_summary(launches=2, wall_seconds=30), "dice"))
    assert read.table("The one trial with a value, of 1,")[0] == ["", "#1"]
    assert "there are 1." in read.text
    assert "2 launches" in read.text


def test_all_failed(tmp_path: Path) -> None:
    write_ledger(tmp_path, [{"config": {}, "value": None, "state": "failed"}] * 3)
    read = page(search_blocks(tmp_path, None, "dice"))
    assert "No trial has a validation Dice, of 3 started." in read.text
    assert read.rows("What was spent")["all"][-1] == "-"


def test_two_thousand_trials_stay_small(tmp_path: Path) -> None:
    write_search(tmp_path, 2000)
    blocks = search_blocks(tmp_path, None, "dice")
    html = to_html(Document("t", (), [Section("search", "Search", blocks)], False, "end"))
    assert len(html) < 600_000
    assert f"{LINES} of them drawn" in html
    assert "n = 2,000 trials" in html


def test_names_and_values_are_text(tmp_path: Path) -> None:
    values = [
        HOSTILE,
        HOSTILE * 9,
        None,
        float("nan"),
        float("inf"),
        True,
        [1, {"a": 2}],
        3,
        -4.5,
        "乳腺",
        "",
        "$",
        "a",
    ]
    trials = [
        {"config": {"architecture": HOSTILE, "x": value, HOSTILE: value, "n": i}, "value": i / 20}
        for i, value in enumerate(values)
    ]
    write_ledger(tmp_path, trials)
    read = page(search_blocks(tmp_path, search_summary(why=HOSTILE), "dice"))
    assert "\u202e" not in "".join(cell for row in read.table("What was spent") for cell in row)
    assert any("<script>alert(1)</script>" in row[0] for row in read.table("What was spent"))


def test_an_axis_is_logarithmic_where_its_ends_are_far_apart_and_keeps_the_order() -> None:
    rates = [1e-4, 1e-3, 1e-2, 1e-1, 2e-1, 3e-1, 1.0, None]
    found = scale("lr", rates)
    np.testing.assert_allclose(found.places[:4], [0, 0.25, 0.5, 0.75])
    assert found.places[-1] == BELOW
    assert "(log)" in found.name
    near = scale("dropout", [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 1.0])
    np.testing.assert_allclose(near.places, [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 1.0])
    sizes = scale("batch_size", [32, 8, 16, 8])
    assert [word for _, word in sizes.ticks] == ["8", "16", "32"]
    assert np.abs(sizes.places - [1, 0, 0.5, 0]).max() < 0.1


def test_parameters_are_drawn_that_most_trials_have_and_that_vary(tmp_path: Path) -> None:
    trials = [
        {"config": {"lr": 0.1 * i, "seed": 0, "encoder": "unet", **({"rare": i} if i < 3 else {})}, "value": 0.5}
        for i in range(1, 8)
    ]
    write_ledger(tmp_path, trials)
    assert drawn_parameters(read_trials(tmp_path, "dice")) == ["lr"]
