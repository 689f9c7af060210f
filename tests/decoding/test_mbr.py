"""Minimum Bayes risk: the sum written out, and through a model."""

import pytest
import sacrebleu

from antiphon.decoding.mbr import least_risk
from antiphon.errors import UserError

TEXTS = ["a dog runs in the park", "a dog runs in a park", "cats", "a dog runs in the park now", "cats"]


def test_the_candidate_most_like_all_others_comes_first() -> None:
    expected = [sum(sacrebleu.sentence_chrf(a, [b]).score for b in TEXTS) / len(TEXTS) for a in TEXTS]
    order = least_risk("chrf")("source", TEXTS)
    assert [expected[i] for i in order] == sorted(expected, reverse=True)
    assert list(order).index(2) + 1 == list(order).index(4), "equal ones stay in their order"


def test_bleu_is_of_sentences() -> None:
    expected = [sum(sacrebleu.sentence_bleu(a, [b], use_effective_order=True).score for b in TEXTS) for a in TEXTS]
    assert least_risk("bleu")("source", TEXTS)[0] == max(range(5), key=lambda i: expected[i])


def test_an_unknown_utility_is_told() -> None:
    with pytest.raises(UserError, match="no utility is called 'chrv'; did you mean 'chrf'"):
        least_risk("chrv")
