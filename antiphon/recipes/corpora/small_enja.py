"""Part of the Tanaka corpus, English and Japanese, 4 to 16 words a line; github.com/odashi/small_parallel_enja."""

from collections.abc import Mapping
from pathlib import Path

from antiphon.recipes import fetch
from antiphon.recipes.corpora import rows

SETS = ("train", "dev", "test")


def prepare(files: Mapping[str, Path], out: Path) -> None:
    """Write train.jsonl, dev.jsonl and test.jsonl, whose fields are `en` and `ja`.

    English is not changed: tokens in lower case. Japanese is written without the spaces between the corpus's tokens, so
    that BLEU uses its own tokeniser.

    Args:
        files: `<set>.en` and `<set>.ja`, aligned.
        out: the folder to write into.
    """
    for name in SETS:
        english, japanese = (fetch.lines(files[f"{name}.{language}"]) for language in ("en", "ja"))
        pairs = zip(english, japanese, strict=True)
        rows.write(out / f"{name}.jsonl", ({"en": en, "ja": ja.replace(" ", "")} for en, ja in pairs))
