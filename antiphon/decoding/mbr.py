"""Minimum Bayes risk decoding: the candidate that is most like all the others (Kumar & Byrne 2004).

Samples of the model stand for its distribution (Eikema & Aziz 2020), so that the expected utility of a
candidate is its mean utility against all of them. An output that is probable but unlike the rest, as an empty one often
is, is not chosen.
"""

from collections import Counter
from collections.abc import Callable, Sequence

from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from antiphon.errors import UserError, near
from antiphon.evaluation.metrics import tokenizer_for

Ranker = Callable[[str, Sequence[str]], Sequence[int]]  # a source and its candidates -> their positions, best first
Utility = Callable[[str, str], float]  # of a candidate, if another one is right


def _chrf(texts: Sequence[str]) -> Utility:
    metric = CHRF()
    return lambda candidate, other: float(metric.sentence_score(candidate, [other]).score)


def _bleu(texts: Sequence[str]) -> Utility:
    metric = BLEU(effective_order=True, tokenize=tokenizer_for(texts))
    return lambda candidate, other: float(metric.sentence_score(candidate, [other]).score)


UTILITIES: dict[str, Callable[[Sequence[str]], Utility]] = {"chrf": _chrf, "bleu": _bleu}


def least_risk(utility: str = "chrf") -> Ranker:
    """An order by expected utility, the highest first; equal ones stay as they were.

    Args:
        utility: `chrf` or `bleu`, of sentences.

    Raises:
        UserError: no such utility.
    """
    if utility not in UTILITIES:
        raise UserError(f"no utility is called '{utility}'{near(utility, UTILITIES)}")

    def order(source: str, texts: Sequence[str]) -> Sequence[int]:
        counts, of = Counter(texts), UTILITIES[utility](texts)
        expected = {text: sum(n * of(text, other) for other, n in counts.items()) / len(texts) for text in counts}
        return sorted(range(len(texts)), key=lambda i: -expected[texts[i]])

    return order
