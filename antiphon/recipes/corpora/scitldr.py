"""SciTLDR: abstracts of papers to one sentence (Cachola 2020); github.com/allenai/scitldr, Apache-2.0."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from antiphon.recipes import fetch
from antiphon.recipes.corpora import rouge, rows

# Against the best of a paper's summaries; and the same for its abstract's first sentence, as a baseline.
MEASURES = rouge.measures("any") | rouge.measures("lead1", field="lead")


def prepare(files: Mapping[str, Path], out: Path, *, words: int) -> None:
    """Write each set twice: pairs of an abstract and its summaries, and of an abstract and one of its sentences.

    `<set>.pairs.jsonl` has the summaries, and the abstract's first sentence as `lead`. The target of
    `<set>.sentences.jsonl` is the sentence that the corpus marks as closest to a summary.

    Args:
        files: train.jsonl, dev.jsonl and test.jsonl of SciTLDR-A.
        out: the folder to write into.
        words: number of words of an abstract to keep.
    """
    for name, path in files.items():
        papers = [json.loads(line) for line in fetch.lines(path)]
        abstracts = [" ".join(" ".join(paper["source"]).split()[:words]) for paper in papers]
        rows.write(out / f"{Path(name).stem}.pairs.jsonl", map(_pair, abstracts, papers))
        rows.write(out / f"{Path(name).stem}.sentences.jsonl", map(_sentence, abstracts, papers))


def _pair(abstract: str, paper: Mapping[str, Any]) -> dict[str, Any]:
    return {"source": abstract, "target": list(map(_spaced, paper["target"])), "lead": _spaced(paper["source"][0])}


def _sentence(abstract: str, paper: Mapping[str, Any]) -> dict[str, Any]:
    return {"source": abstract, "target": _spaced(paper["source"][paper["source_labels"].index(1)])}


def _spaced(text: str) -> str:
    return " ".join(text.split())
