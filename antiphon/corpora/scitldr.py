"""SciTLDR: abstracts of papers to one sentence (Cachola 2020); github.com/allenai/scitldr, Apache-2.0."""

import json
from collections.abc import Mapping
from pathlib import Path

from antiphon import fetch
from antiphon.corpora import rouge, rows

# Against the best of a paper's summaries; and the same of its abstract's first sentence, the baseline.
MEASURES = rouge.measures("any") | rouge.measures("lead1", field="lead")


def prepare(files: Mapping[str, Path], out: Path, *, words: int) -> None:
    """Write each set as pairs of an abstract and its summaries, and train.each.jsonl, a pair for each summary.

    Args:
        files: train.jsonl, dev.jsonl and test.jsonl of SciTLDR-A.
        out: the folder to write into.
        words: how many words of an abstract are kept.
    """
    for name, path in files.items():
        papers = [json.loads(line) for line in fetch.lines(path)]
        pairs = [
            {
                "source": " ".join(" ".join(paper["source"]).split()[:words]),
                "target": [" ".join(summary.split()) for summary in paper["target"]],
                "lead": " ".join(paper["source"][0].split()),
            }
            for paper in papers
        ]
        rows.write(out / f"{Path(name).stem}.pairs.jsonl", pairs)
