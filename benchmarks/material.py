"""Multi30k for every system: raw text, and the same text in pieces (subword tokens) of Antiphon's tokenizer.

Peers read words that are the ids of the pieces, so that no piece is confused with a space or a special token.
"""

import gzip
import os
from dataclasses import dataclass
from pathlib import Path

from antiphon.config import loading
from antiphon.data.prepare import Prepared, prepare
from antiphon.data.tokenizer import SPECIALS, Tokenizer
from antiphon.errors import UserError

DATA = "ANTIPHON_DATA"
PARTS = {"train": "train", "valid": "val", "test": "test_2016_flickr"}
SOURCE, TARGET = "en", "de"
JOEY_SPECIALS = ["<unk>", "<pad>", "<s>", "</s>"]


@dataclass(frozen=True)
class Material:
    """The corpus in a work folder: `PART.en`, `PART.de` raw; `PART.src`, `PART.tgt` in ids; `vocabulary.txt`."""

    folder: Path
    tokenizer: Tokenizer
    source_lengths: list[int]  # of the training pairs in pieces, the end counted
    target_lengths: list[int]

    def pair(self, part: str) -> str:
        """A corpus as `data.train` names it."""
        return ",".join(str(self.folder / f"{part}.{side}") for side in (SOURCE, TARGET))

    def lines(self, name: str) -> list[str]:
        return (self.folder / name).read_text("utf-8").splitlines()

    def text(self, ids: str) -> str:
        """The text of a line of ids, as a peer wrote it; words that are no ids are left out."""
        return self.tokenizer.decode([int(word) for word in ids.split() if word.isdigit()])


def make(work: Path, sets: list[str]) -> Material:
    """Write the corpus into the work folder, or find it there.

    Args:
        work: the benchmark's folder.
        sets: how the text is cut, as `--set` says it.

    Raises:
        UserError: ANTIPHON_DATA names no folder that has Multi30k.
    """
    folder = work / "multi30k"
    folder.mkdir(parents=True, exist_ok=True)
    _unpack(folder)
    train, valid = (
        ",".join(str(folder / f"{part}.{side}") for side in (SOURCE, TARGET)) for part in ("train", "valid")
    )
    chosen = loading.load(sets=sets, over={"data": {"train": [train], "valid": [valid]}})
    prepared = prepare(work / "prepared", chosen)
    _write_ids(folder, prepared)
    source, target = prepared.train.lengths(0)
    return Material(folder, prepared.target, [int(n) + 1 for n in source], [int(n) + 1 for n in target])


def _unpack(folder: Path) -> None:
    root = os.environ.get(DATA, "")
    if not root:
        raise UserError(f"{DATA} is not set: let it name a folder with multi30k/raw/train.en.gz, as recipes use it")
    for part, name in PARTS.items():
        for side in (SOURCE, TARGET):
            packed = Path(root) / "multi30k" / "raw" / f"{name}.{side}.gz"
            try:
                text = gzip.decompress(packed.read_bytes()).decode("utf-8")
            except OSError as e:
                raise UserError(f"{packed}: cannot be read ({e.strerror or e}); does {DATA} hold Multi30k?") from e
            (folder / f"{part}.{side}").write_text(text, encoding="utf-8", newline="\n")


def _write_ids(folder: Path, prepared: Prepared) -> None:
    for part in PARTS:
        for side, name, tokenizer in ((SOURCE, "src", prepared.source), (TARGET, "tgt", prepared.target)):
            rows = tokenizer.encode_ids((folder / f"{part}.{side}").read_text("utf-8").splitlines())
            _write(folder / f"{part}.{name}", [" ".join(map(str, row)) for row in rows])
    words = [str(i) for i in range(len(SPECIALS), len(prepared.source))]
    _write(folder / "vocabulary.txt", words)
    _write(folder / "vocabulary.joey.txt", [*JOEY_SPECIALS, *words])


def _write(path: Path, lines: list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
