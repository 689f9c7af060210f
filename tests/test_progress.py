"""Progress: plain lines where nobody watches, a bar on a terminal, silence when asked for."""

import io
import re
import sys
import time
from collections.abc import Callable

import pytest

from antiphon.progress import Reporter, clock


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def screen(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """What has been written to standard error, which is not a terminal."""
    monkeypatch.setenv("FORCE_COLOR", "1")  # as some CI services set it
    return lambda: capsys.readouterr().err


def test_plain_lines_now_and_then(screen: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    with Reporter() as reporter:
        for done in range(1, 101):
            reporter.show("training", done, 100, f"loss {done / 100:.3f}")
            clock.now += 1
    text = screen()
    assert text.splitlines() == [
        "training  31% loss 0.310 1 min 9 s left",
        "training  61% loss 0.610 39 s left",
        "training  91% loss 0.910 9 s left",
        "training 100% loss 1.000",
    ]
    assert "\x1b" not in text and "\r" not in text


def test_a_continued_stage_reckons_from_where_it_began(
    screen: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    reporter = Reporter()
    for done in (901, 931):
        reporter.show("training", done, 1000)
        clock.now += 30
    reporter.show("training", 961, 1000)
    assert screen().splitlines()[-1] == "training  96%  39 s left"


def test_what_is_over_at_once_is_not_told(screen: Callable[[], str]) -> None:
    reporter = Reporter()
    reporter.show("reading", 10, 10)
    reporter.show("tokenising", 10, 10)
    assert screen() == ""


def test_an_unknown_end(screen: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    reporter = Reporter()
    reporter.show("reading", 10_000, None)
    clock.now += 31
    reporter.show("reading", 20_000, None)
    assert screen() == "reading 20,000\n"


def test_quiet_leaves_messages_alone(screen: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    reporter = Reporter(quiet=True)
    for done in range(100):
        reporter.show("training", done, 100)
        clock.now += 60
    reporter.say("over")
    assert screen() == "over\n"


def test_messages_are_printed_as_they_are(screen: Callable[[], str]) -> None:
    text = "[bold]x[/bold] :smile: <2de> " + "long " * 100 + "末\n    second"
    Reporter().say(text)
    assert screen() == f"{text}\n"


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    with Reporter() as reporter:
        reporter.show("training", 1, 4, "loss 2.000")
        reporter.say("a message")
        reporter.show("training", 2, 4, "loss 1.000")
    text = screen.getvalue()
    assert "training" in text and "50%" in text and "loss 1.000" in text and "a message\n" in text and "\x1b" in text


def moving_line(shown: str) -> str:
    """The last state of the moving line, as a terminal shows it."""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    return [line for line in re.split(r"[\r\n]", plain) if line.strip()][-1].rstrip()


def terminal(monkeypatch: pytest.MonkeyPatch, columns: int = 80) -> Terminal:
    """A terminal in the place of standard error."""
    screen = Terminal()
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm-256color")
    return screen


@pytest.mark.parametrize(("columns", "parts"), [(60, 1), (80, 2), (100, 3), (140, 4)])
def test_the_moving_line_fits_and_keeps_its_times(columns: int, parts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch, columns)
    detail = ["loss 2.345", "best exact_match 12.34", "epoch 1.23", "12,345 pieces/s"]
    with Reporter() as reporter:
        for done in (100, 200):
            reporter.show("training", done, 1000, ", ".join(detail))
    line = moving_line(screen.getvalue())
    assert re.match(r"training \S+ +20% 0:00:0\d \S+ left ", line)
    assert line.endswith(f" left {', '.join(detail[:parts])}") and len(line) <= columns


def test_the_clock_of_a_resumed_training_continues(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    with Reporter() as reporter:
        reporter.show("training", 100, 1000, "loss 2.345", elapsed=3723)
    assert " 1:02:03 " in moving_line(screen.getvalue())


def test_a_reporter_without_messages(screen: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    reporter = Reporter().without_messages()
    reporter.say("a message")
    reporter.show("training", 1, 2)
    clock.now += 31
    reporter.show("training", 2, 2)
    assert screen() == "training 100%\n"


def test_clock() -> None:
    assert [clock(s) for s in (0.4, 12.3, 59.6, 200, 9000)] == ["0 s", "12 s", "1 min 0 s", "3 min 20 s", "2 h 30 min"]
