"""Options: every one declared is one that a command has, under a name of its own and with a line of help."""

import inspect
from typing import Annotated, Any, get_args, get_origin

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from antiphon import __version__
from antiphon.cli import flags, main
from antiphon.config import loading, sections
from antiphon.config.search import OPTIONS

DECLARED = {name: value for name, value in vars(flags).items() if get_origin(value) is Annotated}


def commands(group: Any) -> list[Any]:
    """A group and all commands below it."""
    return [group, *(command for each in getattr(group, "commands", {}).values() for command in commands(each))]


def test_every_option_declared_is_one_that_a_command_has() -> None:
    functions = [command.callback for command in commands(get_command(main.app)) if command.callback]
    used = [parameter.annotation for f in functions for parameter in inspect.signature(f).parameters.values()]
    assert len(DECLARED) > 30
    for name, declared in DECLARED.items():
        assert declared in used, f"flags.{name} belongs to no command"
    assert all(annotation in used for annotation, _ in flags.LOADING.values())


def test_search_flags_derive_from_the_search_options() -> None:
    generate = next(one for one in commands(get_command(main.app)) if one.name == "generate")
    by_flag = {name: parameter for parameter in generate.params for name in parameter.opts}
    for name, option in OPTIONS.items():
        parameter = by_flag[f"--{name.replace('_', '-')}"]
        assert parameter.default is None  # the configuration's value, not the flag's
        assert option.meaning.removeprefix("sampling: ")[1:] in parameter.help, name


def test_every_option_says_what_it_is_for() -> None:
    for name, declared in DECLARED.items():
        _, info = get_args(declared)
        assert info.help and info.help.endswith("."), name


def test_no_command_has_two_options_of_one_name() -> None:
    found = commands(get_command(main.app))
    assert {command.name for command in found} >= {"train", "generate", "evaluate", "score", "check", "export", "demo"}
    for command in found:
        names = [name for parameter in command.params for name in parameter.opts if name.startswith("-")]
        assert len(names) == len(set(names)), command.name


@pytest.mark.parametrize(
    ("arguments", "printed"), [(["--version"], [f"antiphon {__version__}"]), (["train", "--options"], ["# preset"])]
)
def test_questions_are_answered_before_what_is_missing_is_asked(arguments: list[str], printed: list[str]) -> None:
    result = CliRunner().invoke(main.app, arguments)
    assert result.exit_code == 0
    assert all(text in result.stdout for text in printed)


def test_options_prints_every_preset_and_option() -> None:
    text = CliRunner().invoke(main.app, ["train", "--options"]).stdout
    assert all(f"# preset {name}: " in text for name in loading.presets())
    for name, section in sections.SECTIONS.items():
        assert f"[{name}]" in text and all(f"\n{key} = " in text for key in section.model_fields)
