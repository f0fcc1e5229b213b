"""Every setting of every command, given what nobody means: taken, or refused in one line before anything is done."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from orchestrator.common.errors import UserError
from orchestrator.config import cli
from orchestrator.config.cli import POSITIONAL, make_settings, parse_fields, run_command
from orchestrator.config.command import MOST, CommandSettings
from orchestrator.config.types import LONGEST_SEARCH
from orchestrator.tuning import resume
from tests.support.commands import SETTINGS

NUMBERS = [2**32, 2**63, 2**64, -1, 10**400, float("nan"), float("inf"), float("-inf"), "1e999", "9" * 5000]
BYTES = os.fsdecode(b"caf\xe9")
TEXTS = [
    "",
    " ",
    "a\0b",
    "a\nb",
    "x" * 250,
    "x" * 5000,
    "ä" * 200,
    BYTES,
    "\ud800",
    "../x",
    "~",
    "~nobody-here/x",
    "a" * 300 + "/b",
]
#: Ten lines, and 10**27 words if they were written out.
LAUGHS = "data: &a [x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 1000)}]\n" for old, new in pairwise("abcdefghij")
)
#: What must be given, so that the rest is looked at.
NEEDED = {"predict": {"images": ("a.png",), "task": "seg", "out": "out"}}
EACH = [
    (name, field)
    for name, settings in SETTINGS.items()
    for field, about in settings.model_fields.items()
    if about.description
]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "load_plugins", lambda *files: None)  # nothing there to run


def flag(command: str, field: str) -> str:
    return SETTINGS[command].model_fields[field].alias or field


def outcome(command: str, field: str, value: Any) -> CommandSettings | str:
    """The settings that a value makes; or the line that refuses it."""
    try:
        return make_settings(SETTINGS[command], NEEDED.get(command, {}) | {flag(command, field): value})
    except UserError as error:
        return str(error)


@pytest.mark.parametrize(("command", "field"), EACH, ids=[f"{name}-{field}" for name, field in EACH])
def test_a_value_is_taken_or_refused_in_a_line(command: str, field: str) -> None:
    for value in [*NUMBERS, *TEXTS, [*TEXTS[1:3]], {"a": 1}, [[1]], b"x"]:
        found = outcome(command, field, value)
        if isinstance(found, str):
            assert 0 < len(found) < 1500, (value, found)
            assert "Traceback" not in found
        else:
            taken = getattr(found, field)
            assert not isinstance(taken, int | float) or -1 < taken <= MOST, value
            assert "\0" not in str(taken), value


@pytest.mark.parametrize(
    ("command", "field"), [(name, field) for name, field in EACH if field in ("seed", "split_seed")]
)
def test_seeds_end_where_scikit_learn_ends(command: str, field: str) -> None:
    assert getattr(outcome(command, field, MOST), field) == MOST
    assert str(MOST) in str(outcome(command, field, MOST + 1))


@pytest.mark.parametrize("value", ["", " "])
@pytest.mark.parametrize("command", SETTINGS)
def test_what_is_given_but_empty_is_refused(command: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    model = SETTINGS[command]
    for name, field in model.model_fields.items():
        if not field.description or field.annotation is bool:
            continue
        shown = (field.alias or name).replace("_", "-")
        given = [] if field.is_required() or field.json_schema_extra == POSITIONAL else [f"--{shown}"]
        if not given and not isinstance(field.annotation, type(tuple[str, ...])):
            continue
        needed = ["a.png", "--task", "seg", "--out", "out"] if command == "predict" and given else []
        assert run_command(command, lambda settings: None, model, [*needed, *given, value], None) == 2
        said = capsys.readouterr().err
        assert said == f"error: --{shown}: given, but empty; leave it out for its default, or name something\n"


@pytest.mark.parametrize("command", ["search", "ensemble", "report"])
def test_a_search_is_called_what_files_and_databases_take(command: str, tmp_path: Path) -> None:
    longest = "ä" * (LONGEST_SEARCH // 2)
    assert not isinstance(outcome(command, "name", longest), str)
    assert f"at most {LONGEST_SEARCH}" in str(outcome(command, "name", f"{longest}a"))
    Path(f".{longest}.12345678").mkdir()  # as temporary folders beside it are called
    for other in (BYTES, "x" * 5000, "../x", 5):
        with pytest.raises(UserError, match=r"^--resume "):
            resume.stored(tmp_path, other)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("epochs: 3\nepochs: 4\n", "epochs is given twice; keep one of the lines"),
        ("batch-size: 3\nbatch_size: 4\n", "batch_size is given twice; keep one of the lines"),
        ("[" * 5000, "not valid YAML"),
        (LAUGHS, "write out what *a stands for"),
        ('name: "a\\0b"\n', "holds a NUL byte"),
    ],
    ids=["twice", "two spellings", "deep", "endless", "NUL"],
)
def test_a_file_of_settings_is_refused_in_a_line(content: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.yaml").write_text(content)
    assert run_command("search", lambda settings: None, SETTINGS["search"], ["--config", "a.yaml"], None) == 2
    said = capsys.readouterr().err
    assert told in said
    assert said.count("\n") == 1


def test_a_file_of_settings_that_cannot_be_named_is_none() -> None:
    for name in ("a\0b", "x" * 5000, BYTES):
        with pytest.raises(UserError, match="--config"):
            parse_fields(SETTINGS["search"], ["--config", name], "search", "")
