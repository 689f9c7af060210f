"""A parallel corpus split in two: pairs from its beginning, and texts of one language from the rest.

This shows the gain from texts without translations: those of the rest exist, but are not used.
"""

from collections.abc import Mapping
from itertools import islice
from pathlib import Path

from antiphon.data.corpus import read
from antiphon.files import write
from antiphon.recipes.corpora import rows


def prepare(files: Mapping[str, Path], out: Path, *, source: str, target: str, pairs: int) -> None:
    """Write `pairs.jsonl` and `reverse.jsonl`, the first pairs in both directions, and `texts.txt`, the other targets.

    Args:
        files: the corpus, two aligned files.
        out: the folder to write into.
        source, target: their names.
        pairs: number of pairs to keep.
    """
    corpus = read(f"{files[source]},{files[target]}")
    kept = list(islice(corpus, pairs))
    for name, sides in (("pairs", ("source", "target")), ("reverse", ("target", "source"))):
        rows.write(out / f"{name}.jsonl", ({sides[0]: pair.source, sides[1]: pair.target} for pair in kept))
    write(out / "texts.txt", "".join(f"{pair.target}\n" for pair in corpus))
