"""The one error a user sees: what is wrong, where, and what to do about it."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Bad input, said in words for the person who gave it.

    The command line prints the message without a traceback and exits with status 2.
    """


class ReportedElsewhere(UserError):
    """An error that another process of the same command reports; this one ends without a word."""


def near(name: str, known: Iterable[str]) -> str:
    """A hint that names the known word closest to a misspelt one.

    Args:
        name: the word that was given.
        known: the words that would have been right.

    Returns:
        `; did you mean 'x'?`, or, if nothing is close, `; known: a, b, c`.
    """
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else f"; known: {', '.join(known)}"


def extra(name: str) -> str:
    """How to install one of the package's extras, for the end of a message."""
    return f'install the extra "{name}", in a clone of Antiphon: python -m pip install -e ".[{name}]"'
