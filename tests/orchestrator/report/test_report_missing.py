"""The report where something is missing, damaged, of other data or of hostile names: what is there is shown."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from orchestrator.report.__main__ import main
from tests.support.home import Home
from tests.support.webpages import Page, assert_self_contained, seen

pytestmark = pytest.mark.slow

TASKS = ("seg", "cls", "multi")
HOSTILE = "a \"b\" 'c' <script>alert(1)<b> & | `ünï` 乳腺 \u202e(x)"


def test_without_the_data_the_page_says_so(home: Home, tmp_path: Path) -> None:
    storage = home.copied(tmp_path, data=str(tmp_path / "moved away"))
    assert main(["--storage", str(storage), "--name", *TASKS, "--out", str(tmp_path / "out.html")]) == 0
    page = Page((tmp_path / "out.html").read_text())
    assert "No pictures and no sub-groups" in page.sections["answer"]
    assert "moved away" in page.sections["answer"]
    assert not [given for tag, given in page.tags if tag == "img"]
    assert page.rows("Data of all models")["groups"]
    assert page.rows("Scores on images")


def test_hostile_names_are_shown_and_not_run(home: Home, tmp_path: Path) -> None:
    data = shutil.copytree(home.phantom, tmp_path / "it's <i>odd<i>")
    for file in (data / "benign").glob("*.png"):
        file.rename(file.with_stem(f"{HOSTILE} {file.stem}"))
    storage = home.copied(tmp_path, data=str(data))
    for kind in ("html", "md"):
        out = tmp_path / f"out.{kind}"
        assert main(["--storage", str(storage), "--name", *TASKS, "--out", str(out), "--format", kind]) == 0
    page = Page((tmp_path / "out.html").read_text())
    assert_self_contained(page)
    assert f"benign/{seen(HOSTILE)}" in page.sections["cases"]
    assert "<script>" not in (tmp_path / "out.md").read_text().replace("\\<script\\>", "")


def test_other_data_are_never_mixed(home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    storage = home.copied(tmp_path)
    found = home.found("cls")
    found["data"]["fingerprint"] = "0" * 64
    (storage / "cls" / "ensemble.json").write_text(json.dumps(found))
    flags = ["--storage", str(storage), "--out", str(tmp_path / "out.html")]
    assert main([*flags, "--name", "seg", "cls"]) == 2
    error = capsys.readouterr().err
    assert "different data" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out.html").exists()
    assert main(flags) == 0  # the newest alone, whose data are not those in the folder any more
    page = Page((tmp_path / "out.html").read_text())
    assert len(page.table("Scores on images")[0]) == 2
    assert "have changed since they were scored" in page.sections["answer"]
    assert "ensembles of other data" in page.sections["answer"]


@pytest.mark.parametrize("left_out", ["ensemble.json", "winners"])
def test_what_is_not_there_is_one_line(
    left_out: str, home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = home.copied(tmp_path)
    if left_out == "winners":
        shutil.rmtree(storage / ".cache" / "winners")
    else:
        (storage / "cls" / left_out).unlink()
    assert main(["--storage", str(storage), "--name", "cls", "--out", str(tmp_path / "out.html")]) == 2
    error = capsys.readouterr().err
    assert "run python -m orchestrator.ensemble --task cls --name cls" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("settings.yaml", "task: [seg"),
        ("settings.yaml", ""),
        ("ensemble.json", "[]"),
        ("ensemble.json", '{"digest": "x"}'),
    ],
)
def test_one_damaged_search_leaves_the_others(home: Home, tmp_path: Path, file: str, content: str, capsys) -> None:
    storage = home.copied(tmp_path)
    (storage / "cls" / file).write_text(content)
    flags = ["--storage", str(storage), "--tracking-uri", home.uri, "--out", str(tmp_path / "r.html")]
    assert main(flags) == 0
    text = Page((tmp_path / "r.html").read_text()).text
    assert "cls" in capsys.readouterr().out
    assert "segmentation" in text
    assert "Not shown" in text or "not shown" in text
    assert main([*flags, "--name", "cls"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_predictions_of_which_a_byte_is_wrong_are_missing_ones(home: Home, tmp_path: Path, capsys) -> None:
    storage = home.copied(tmp_path)
    digest = json.loads((storage / "cls" / "ensemble.json").read_text())["digest"]
    stored = storage / ".cache" / "winners" / digest / "test.npz"
    content = bytearray(stored.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 10] = b"\xff" * 10
    stored.write_bytes(content)
    flags = ["--storage", str(storage), "--tracking-uri", home.uri, "--out", str(tmp_path / "r.html")]
    assert main([*flags, "--name", "cls"]) == 2
    assert "orchestrator.ensemble --task cls --name cls --storage" in capsys.readouterr().err
