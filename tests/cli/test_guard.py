"""Errors of commands: one message in words and an exit status, and nothing that hides a fault of the program."""

import errno
import os

import pytest
import typer

from antiphon.cli.guard import guarded
from antiphon.errors import UserError


def stopped(error: BaseException, name: str = "score") -> int:
    """The exit status of a command that meets an error."""

    def command(number: int) -> None:
        assert number == 3
        raise error

    command.__name__ = name
    guard = guarded(command)
    assert guard.__name__ == name
    with pytest.raises(typer.Exit) as exit_:
        guard(3)
    assert exit_.value.__cause__ is None
    return exit_.value.exit_code


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (UserError("pairs.tsv:3: 1 column"), "pairs.tsv:3: 1 column"),
        (MemoryError(), "out of memory; lower the batch, or for a training text.size or the model's sizes"),
        (RuntimeError("CUDA out of memory. Tried"), "out of memory; lower the batch"),
        (PermissionError(errno.EACCES, "Permission denied", "out.txt"), "out.txt: Permission denied"),
        (OSError(errno.ENOSPC, "No space left", "m"), "m: the disk is full; make room and run the same command"),
        (OSError("no number"), "no number"),
    ],
    ids=str,
)
def test_what_a_user_can_mend_is_told_in_one_message(
    error: Exception, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stopped(error) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(f"antiphon: {message}") and printed.err.count("\n") == 1
    assert not printed.out


@pytest.mark.parametrize("error", [RuntimeError("shapes do not fit"), ValueError("x"), KeyError("x")], ids=str)
def test_a_fault_of_the_program_is_not_hidden(error: Exception) -> None:
    @guarded
    def command() -> None:
        raise error

    with pytest.raises(type(error)):
        command()


@pytest.mark.parametrize(("name", "more"), [("train", "; the same command continues"), ("score", "")])
def test_what_is_stopped_says_whether_it_goes_on(name: str, more: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert stopped(KeyboardInterrupt(), name) == 130
    assert capsys.readouterr().err == f"antiphon: stopped{more}\n"


def test_a_closed_pipe_is_left_quietly(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    replaced: list[int] = []
    monkeypatch.setattr(os, "dup2", lambda _, descriptor: replaced.append(descriptor))
    assert stopped(BrokenPipeError()) == 141
    assert len(replaced) == 1
    assert capfd.readouterr() == ("", "")


def test_a_command_that_ends_well_is_left_alone() -> None:
    @guarded
    def command() -> None:
        """Its help."""

    command()
    assert command.__doc__ == "Its help."
