"""What a long work reports while it runs: a moving line on a terminal, a line now and then elsewhere; on stderr."""

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

QUIET_SECONDS = 30.0  # between two lines where nobody watches
BAR = 10  # characters
FIXED = BAR + len(" 100% 0:00:00 0:00:00 left ")  # characters of the moving line beside its stage and its detail


class Reporter:
    """Progress and messages of one command.

    On a terminal: one line that moves, and messages above it. Elsewhere: messages, and the progress as a plain line at
    most every half minute, so that a log stays short.
    """

    def __init__(self, quiet: bool = False, messages: bool = True) -> None:
        """Report to stderr.

        Args:
            quiet: show no progress.
            messages: print messages.
        """
        watched = sys.stderr.isatty()  # whatever FORCE_COLOR says: a moving line fills a log
        self.console = Console(stderr=True, force_terminal=watched, highlight=False, emoji=False, soft_wrap=True)
        self.quiet, self._messages = quiet, messages
        self.moving = self.console.is_terminal and not quiet
        self._bar: Progress | None = None
        self._stage = ""
        self._began = self._said = time.monotonic()
        self._first = 0.0  # where the stage began; a resumed one not at 0
        self._ended = False

    def say(self, text: str) -> None:
        """Print a message."""
        if self._messages:
            self.console.print(text, markup=False)

    def show(self, stage: str, done: float, total: float | None, detail: str = "", elapsed: float = 0.0) -> None:
        """Show how far a stage has come.

        Args:
            stage: what is being done; a new name begins a new bar.
            done, total: in any unit; total None: not known.
            detail: what else to show, such as loss and speed, separated by ", ", the most important first; what does
                not fit on a terminal's line is left out.
            elapsed: seconds that the stage has lasted, where it began before this call.
        """
        if self.quiet:
            return
        if stage != self._stage:
            self.close()
            self._stage, self._first, self._began, self._ended = stage, done, time.monotonic(), False
            self._said = self._began
        if self.moving:
            self._move(stage, done, total, detail, elapsed)
        elif time.monotonic() - self._said >= QUIET_SECONDS or (self._over(done, total) and not self._ended):
            if time.monotonic() - self._began < 2:
                return  # over before anybody could wonder
            self._said, self._ended = time.monotonic(), self._over(done, total)
            share = f"{done / total:4.0%}" if total else f"{done:,.0f}"
            self.console.print(f"{stage} {share} {detail} {self._left(done, total)}".rstrip(), markup=False)

    def without_messages(self) -> "Reporter":
        """A reporter of the same progress that prints no messages."""
        return Reporter(self.quiet, messages=False)

    def close(self) -> None:
        """End the line that is shown."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        self._stage = ""

    def __enter__(self) -> "Reporter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        sys.stderr.flush()

    @staticmethod
    def _over(done: float, total: float | None) -> bool:
        return total is not None and done >= total

    def _move(self, stage: str, done: float, total: float | None, detail: str, elapsed: float) -> None:
        if self._bar is None:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(BAR),
                TextColumn("{task.percentage:>3.0f}%" if total else "{task.completed:,.0f}"),
                TimeElapsedColumn(),
                *([TimeRemainingColumn(), TextColumn("left")] if total else []),
                TextColumn("{task.fields[detail]}"),
            )
            self._bar = Progress(*columns, console=self.console, transient=True)
            self._bar.start()
            self._bar.add_task(stage, total=total, detail="")
            self._bar.tasks[0].start_time = self._bar.get_time() - elapsed
        detail = fitting(detail, self.console.width - len(stage) - FIXED)
        self._bar.update(self._bar.task_ids[0], completed=done, total=total, detail=detail)

    def _left(self, done: float, total: float | None) -> str:
        if not total or done <= self._first:
            return ""
        seconds = (time.monotonic() - self._began) * (total - done) / (done - self._first)
        return f"{clock(seconds)} left" if seconds >= 1 else ""


def fitting(detail: str, width: int) -> str:
    """As many parts of a detail as fit into a width: 'a, b, c', 5 -> 'a, b'."""
    parts = detail.split(", ")
    while parts and len(", ".join(parts)) > width:
        parts.pop()
    return ", ".join(parts)


def clock(seconds: float) -> str:
    """12.3 -> '12 s', 200 -> '3 min 20 s', 9000 -> '2 h 30 min'."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
