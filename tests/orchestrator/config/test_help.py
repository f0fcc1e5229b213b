"""`--help` of every command: flags in groups, each with its default and a value that means something; two examples."""

from __future__ import annotations

import argparse
import shlex

import pytest

from orchestrator.__main__ import COMMANDS
from orchestrator.common.errors import UserError
from orchestrator.config.cli import make_parser
from orchestrator.config.command import CommandSettings
from tests.support.commands import SETTINGS


@pytest.fixture(params=sorted(COMMANDS))
def command(request: pytest.FixtureRequest) -> type[CommandSettings]:
    return SETTINGS[request.param]


def parser(command: type[CommandSettings]) -> argparse.ArgumentParser:
    return make_parser(command, "any", None)


def test_every_setting_is_a_flag_of_one_group(command: type[CommandSettings]) -> None:
    grouped = [name for names in command.GROUPS.values() for name in names]
    described = [name for name, field in command.model_fields.items() if field.description]
    assert sorted(grouped) == sorted(described)
    assert len(command.GROUPS) > 1


def test_every_line_has_a_default_and_a_value_that_means_something(command: type[CommandSettings]) -> None:
    for action in parser(command)._actions:
        if action.dest == "help":
            continue
        assert action.help
        assert action.help.endswith("]"), action.dest
        assert "[]" not in action.help, action.dest
        assert "[None]" not in action.help, action.dest
        if not isinstance(action, argparse.BooleanOptionalAction):
            assert action.metavar not in (None, action.dest.upper()), action.dest


def test_its_two_examples_are_commands(command: type[CommandSettings]) -> None:
    shown = parser(command).format_help()
    assert len(command.EXAMPLES) == 2
    for words in command.EXAMPLES:
        parser(command).parse_args(shlex.split(words))
        assert f"  any {words}\n" in shown


def test_an_unknown_flag_is_refused() -> None:
    with pytest.raises(UserError, match="--no-such"):
        parser(SETTINGS["search"]).parse_args(["--no-such", "1"])


def test_every_command_is_known_here() -> None:
    assert set(SETTINGS) == set(COMMANDS)
