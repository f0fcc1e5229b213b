"""What lies below `runs/NAME`, edited or cut: one line says which file, and where in it, or it is read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from orchestrator.common.errors import UserError
from orchestrator.config.cli import make_settings
from orchestrator.config.search import SearchSettings
from orchestrator.ensemble.candidates import search_settings
from orchestrator.storage.run_folder import RunFolder
from orchestrator.tuning import resume
from orchestrator.tuning.identity import Identity
from orchestrator.tuning.ledger import Ledger
from orchestrator.tuning.notification import notifying
from orchestrator.tuning.searcher import open_study
from orchestrator.tuning.summary import SearchSummary
from tests.support.mutations import changed, cut, refusal, refused
from tests.support.search_runs import search_summary, trial_summary
from trainables.stored import DamagedError

CONFIG = {"architecture": "unet", "encoder": "", "recipe": "", "epochs": 4, "lr": 0.1}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A search with a trial, as its launch left it."""
    monkeypatch.chdir(tmp_path)
    Path("mlflow.db").touch()  # a search is not resumed without its store
    settings = make_settings(SearchSettings, {"storage": tmp_path, "name": "mine", "arch": ["unet"]})
    resume.make_folder(settings.folder, settings.stored())
    ledger = Ledger(settings.folder)
    ledger.launch(Identity(task="seg", choices=[("unet", "", 4, "")], weights={"a": "random"}), 0.5)
    ledger.add("asked", "t1", number=1, study_number=0, config=CONFIG)
    ledger.add("started", "t1")
    ledger.add("result", "t1", epoch=1, metrics={"best/dice": 0.5, "best/epoch": 1})
    ledger.add("checkpoint", "t1", path="tune/1/t1/checkpoint_0", epoch=1)
    ledger.add("ended", "t1", state="completed", reason="")
    ledger.close()
    return settings.files


def _read(run: RunFolder) -> None:
    """As a page and a resumed search do: what a page shows of each trial, and a lock that is let go again."""
    for ledger in (Ledger(run.path, hold=False), Ledger(run.path)):
        assert all(
            record.label and record.config["epochs"] and record.saved in (True, False)
            for record in ledger.trials.values()
        )
    ledger.close()


def test_any_value_of_the_ledger_is_read_or_named_by_its_line(run: RunFolder) -> None:
    lines = run.ledger.read_bytes().splitlines()
    for number, line in enumerate(lines):
        for keys, value, whole in changed(json.loads(line)):
            run.ledger.write_bytes(b"\n".join([*lines[:number], whole, *lines[number + 1 :], b""]))
            line = refusal(run.ledger, lambda: _read(run), UserError)
            # A trial of another id, or never asked for, is first missed where it goes on.
            named = f"trials.jsonl: line {number + 1}: " in line or keys in (("trial",), ("event",))
            assert not line or named, (keys, value, line)


def test_a_path_of_a_checkpoint_stays_inside(run: RunFolder) -> None:
    whole = run.ledger.read_text()
    for path in ("/etc", "../../other"):
        run.ledger.write_text(whole.replace("tune/1/t1/checkpoint_0", path))
        with pytest.raises(
            UserError, match=r"trials.jsonl: line 5: path: leads out of the search's folder; the ledger is"
        ):
            Ledger(run.path)


def test_a_line_that_is_cut_is_dropped_at_the_end_and_named_before(run: RunFolder) -> None:
    content = run.ledger.read_bytes()
    run.ledger.write_bytes(content[:-10])
    _read(run)
    assert Ledger(run.path, hold=False).trials["t1"].state == "running"
    middle = content.splitlines(keepends=True)
    for damaged in (middle[2][:9] + b"\n", b"\x00" * 30 + b"\n", b"\n", b"[" * 100_000 + b"\n", b"\xff\n"):
        whole = b"".join([*middle[:2], damaged, *middle[3:]])
        run.ledger.write_bytes(whole)
        with pytest.raises(UserError, match=r"trials.jsonl: line 3: "):
            Ledger(run.path)
        assert run.ledger.read_bytes() == whole, "what can still be mended is left alone"


def test_any_stored_setting_is_read_or_named(run: RunFolder) -> None:
    storage, kept = run.path.parent, run.settings.read_bytes()
    assert search_settings(storage, "mine").arch == ("unet",)
    for keys, value, whole in changed(yaml.safe_load(kept)):
        run.settings.write_bytes(whole)  # JSON is YAML, too
        refusal(run.settings, lambda: resume.load({"resume": "mine", "storage": storage}), UserError, (keys, value))
    run.settings.write_bytes(kept.replace(b"image_size: 96", b"image_size: 1000000000"))
    for read in (resume.load, lambda fields: search_settings(fields["storage"], fields["resume"])):
        with pytest.raises(UserError, match=r"settings.yaml: image_size: input should be less than or equal to 2048"):
            read({"resume": "mine", "storage": storage})
    for content in (
        *cut(kept),
        b"a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n",
        kept + b"x: " + b"[" * 999,
        kept + b"x: " + b"9" * 5000,
    ):
        run.settings.write_bytes(content)
        refusal(run.settings, lambda: resume.stored(run.path.parent, "mine"), UserError, content[:20])


def test_yaml_that_grows_or_is_deep_is_refused_from_the_user_too(tmp_path: Path) -> None:
    from orchestrator.config.cli import parse_fields

    file = tmp_path / "mine.yaml"
    laughs = "a: &a [x, x]\n" + "".join(
        f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    for text, words in {
        laughs: "write out what",
        "a: " + "[" * 5000: "deeper than 20",
        "a: 2001-99-99": "month",
    }.items():
        file.write_text(text)
        with pytest.raises(UserError, match=words) as found:
            parse_fields(SearchSettings, ["--config", str(file)], "x", None)
        assert str(found.value).startswith(f"--config {file}: not valid YAML: ")
        assert "\n" not in str(found.value)


@pytest.mark.parametrize("damage", [b"\x00" * 40 + b"\n", b"{}\n", b"[]\n", b'{"op_code": 0, "worker_id": 3}\n'])
def test_a_study_that_is_damaged_is_named(run: RunFolder, damage: bytes) -> None:
    open_study(run.path, "mine").ask()
    first, *others = run.study.read_bytes().splitlines(keepends=True)
    run.study.write_bytes(b"".join([first, damage, *others]))
    assert "bring it back" in refusal(run.study, lambda: open_study(run.path, "mine"), UserError)


def test_any_value_of_the_summary_is_read_or_named(tmp_path: Path, run: RunFolder) -> None:
    run.summary.write_text(search_summary(trials=(trial_summary(checkpoint=tmp_path / "x"),)).to_json())
    assert len(refused(run.summary, lambda: SearchSummary.read(run.summary), DamagedError)) > 100
    for content in cut(run.summary.read_bytes()):
        run.summary.write_bytes(content)
        assert refusal(run.summary, lambda: SearchSummary.read(run.summary), DamagedError)


@pytest.mark.parametrize("content", ["[]", "{", "", "\x00"])
def test_who_is_notified_is_told_of_the_end_whatever_the_summary_holds(run: RunFolder, content: str) -> None:
    run.summary.write_text(content)
    told = run.path / "told.json"
    with pytest.raises(ValueError, match="no"), notifying(f"cat > '{told}'", run.summary):
        raise ValueError("no")
    assert json.loads(told.read_text()) == {"name": "mine", "status": "failed", "why": "no"}
