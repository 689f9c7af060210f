"""Antiphon: sequence-to-sequence models built on recurrent networks."""

from typing import TYPE_CHECKING, Any

from antiphon.version import __version__

if TYPE_CHECKING:
    from antiphon.result import Result
    from antiphon.seq2seq import Seq2Seq

__all__ = ["Result", "Seq2Seq", "__version__"]


def __getattr__(name: str) -> Any:
    """Import what a program uses only when it does, so that the command line starts at once."""
    if name in ("Result", "Seq2Seq"):
        from antiphon import seq2seq

        return getattr(seq2seq, name)
    raise AttributeError(f"module 'antiphon' has no attribute '{name}'")
