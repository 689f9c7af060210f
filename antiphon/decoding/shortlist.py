"""A lexical shortlist: the few target pieces that the pieces of a source may need, so that others are not computed.

Shapes: V source pieces and V' target pieces in the vocabularies, C candidates of a source piece, W pieces on a list.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from antiphon.data.tokenizer import EOS, UNK
from antiphon.errors import UserError

FILE = "shortlist.safetensors"
CANDIDATES, FREQUENT = 50, 200  # pieces for each source piece, and for all


@dataclass(frozen=True)
class Shortlist:
    """What the target pieces of a text may be, by its source pieces."""

    candidates: NDArray[np.int32]  # [V, C]  most often aligned first; EOS where there are fewer
    frequent: NDArray[np.int32]  # [FREQUENT]  the most frequent target pieces, which always may be

    @classmethod
    def learn(
        cls, aligned: Iterable[tuple[Sequence[int], Sequence[int]]], vocabulary: int, most: int = CANDIDATES
    ) -> "Shortlist":
        """Count which pieces stand for each other.

        Args:
            aligned: for each pair of texts its target pieces, and for each of them the source piece that it looked at.
            vocabulary: source pieces, V.
            most: candidates of a source piece.
        """
        size = 1 << 32
        keys, counts = np.empty(0, np.int64), np.empty(0, np.int64)
        waiting: list[NDArray[np.int64]] = []
        for targets, sources in aligned:
            waiting.append(np.asarray(sources, np.int64) * size + np.asarray(targets, np.int64))
            if len(waiting) == 1 << 16:  # pairs, so that a large corpus is not kept
                keys, counts, waiting = *_added(keys, counts, waiting), []
        keys, counts = _added(keys, counts, waiting)
        source, target = np.divmod(keys, size)
        total = np.bincount(target, counts) if len(target) else np.zeros(1)
        frequent = np.argsort(-total, kind="stable")[:FREQUENT]
        order = np.lexsort((target, -counts, source))
        source, target = source[order], target[order]
        place = np.arange(len(source)) - np.searchsorted(source, source)  # among the candidates of its source piece
        best = place < most
        candidates = np.full((vocabulary, most), EOS, np.int32)
        candidates[source[best], place[best]] = target[best]
        return cls(candidates, frequent[total[frequent] > 0].astype(np.int32))

    def allowed(self, sources: Sequence[Sequence[int]], more: Iterable[int] = ()) -> NDArray[np.int64]:
        """The pieces that outputs of these sources may have, ascending. [W]

        Args:
            sources: ids.
            more: other target pieces that must be on the list.
        """
        seen = np.unique(np.concatenate([np.asarray(source, np.int64) for source in sources]))
        parts = [self.candidates[seen].ravel(), self.frequent, [UNK, EOS], list(more)]
        return np.unique(np.concatenate([np.asarray(part, np.int64) for part in parts]))

    def contents(self) -> bytes:
        """The file that `load` reads."""
        return safetensors.numpy.save({"candidates": self.candidates, "frequent": self.frequent})

    @classmethod
    def load(cls, path: Path, vocabulary: int, targets: int) -> "Shortlist":
        """Read a shortlist.

        Args:
            path: the file.
            vocabulary, targets: how many source and target pieces there are.

        Raises:
            UserError: it is missing, damaged, or of another model.
        """
        advice = f"run: antiphon export {path.parent.parent} --shortlist TRAINING_PAIRS"
        try:
            tensors = safetensors.numpy.load_file(path)
            shortlist = cls(tensors["candidates"], tensors["frequent"])
        except FileNotFoundError as e:
            raise UserError(f"{path.parent.parent}: has no shortlist; {advice}") from e
        except (OSError, SafetensorError, KeyError, ValueError) as e:
            raise UserError(f"{path}: damaged: {e}; {advice}") from e
        ids = np.concatenate([shortlist.candidates.ravel(), shortlist.frequent])
        if len(shortlist.candidates) != vocabulary or (len(ids) and not 0 <= ids.min() <= ids.max() < targets):
            raise UserError(f"{path}: of another model; {advice}")
        return shortlist


def _added(
    keys: NDArray[np.int64], counts: NDArray[np.int64], waiting: Sequence[NDArray[np.int64]]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Keys and how often each was seen, with more of them."""
    if not waiting:
        return keys, counts
    new, times = np.unique(np.concatenate(waiting), return_counts=True)
    both, where = np.unique(np.concatenate([keys, new]), return_inverse=True)
    return both, np.bincount(where, np.concatenate([counts, times])).astype(np.int64)
