"""docs/recipes.md: every recipe, and figures only from summaries."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.report.recipes import main
from search_spaces.recipes import RECIPES
from tests.support.search_runs import search_summary, trial_summary


def test_table_quotes_the_best_run_of_each_recipe(tmp_path: Path) -> None:
    trials = (
        trial_summary(recipe="unet", metric=0.5, epochs=6),
        trial_summary(recipe="unet", metric=0.625, epochs=7),
        trial_summary(recipe="resunet", metric=None, epochs=0),
    )
    (tmp_path / "summary.json").write_text(search_summary(trials=trials).to_json())
    assert main([str(tmp_path / "summary.json"), "--out", str(tmp_path / "recipes.md")]) == 0
    lines = {
        line.split("`")[1]: line for line in (tmp_path / "recipes.md").read_text().splitlines() if line[:3] == "| `"
    }
    assert set(lines) == set(RECIPES)
    assert "dice 0.625, weights random | 64 px, 7 epochs" in lines["unet"]
    assert all("not run" in lines[name] for name in RECIPES if name != "unet")


def test_wrong_file_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.json").write_text("{}")
    assert main([str(tmp_path / "x.json"), "--out", str(tmp_path / "recipes.md")]) == 2
    assert capsys.readouterr().err.startswith("error: not a summary of a search")
