"""ROUGE as in publications on summarisation: F1 with Porter stemming, the best of several references."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from antiphon.evaluation import metrics
from antiphon.evaluation.metrics import Score
from antiphon.recipes.corpora.measure import Measure

NAMES = ("rouge1", "rouge2", "rougeL")

Pairs = Sequence[dict[str, Any]]


def measures(suffix: str, *, first: bool = False, field: str = "") -> dict[str, Measure]:
    """ROUGE-1, 2 and L as a corpus's own metrics, named `rouge1_<suffix>` and so on.

    Args:
        suffix: of the names.
        first: score against the first reference only.
        field: of the pairs, scored instead of the outputs, as a baseline.
    """
    return {f"{name}_{suffix}": partial(_measure, name, suffix, first, field) for name in NAMES}


def _measure(name: str, suffix: str, first: bool, field: str, items: Pairs, outputs: Sequence[str]) -> Score:
    groups = [item["target"] if isinstance(item["target"], list) else [item["target"]] for item in items]
    references = [group[:1] for group in groups] if first else groups
    texts = [item[field] for item in items] if field else outputs
    score = metrics.measure([name], texts, references, language="en", stem=True)[name]
    return replace(score, name=f"{name}_{suffix}")
