"""The E2E challenge's measures: small examples by hand, and the papers' formulas in NumPy."""

import math
from collections import Counter
from importlib.util import find_spec

import numpy as np
import pytest

from antiphon.errors import UserError
from antiphon.evaluation import captions
from antiphon.evaluation.captions import bleu, cider, meteor, nist, ptb, rouge_l

OUTPUTS = ["The Owl is a cheap pub.", "Near the river, Bo serves fish for £20-25.", "It isn't family-friendly"]
REFERENCES = [
    ["The Owl is a cheap pub by the river.", "A cheap pub is The Owl."],
    ["Bo is near the river and serves fish for £20-25."],
    ["It is not family-friendly.", "This isn't for families.", "Not a family-friendly place."],
]


def test_tokens_are_those_of_the_treebank_without_signs() -> None:
    assert ptb("The Owl's pub isn't £20-25; it can't be, (really) “5-star”...") == [
        "the", "owl", "'s", "pub", "is", "n't", "#", "20-25", "it", "ca", "n't", "be", "really", "5-star",
    ]  # fmt: skip


def test_rouge_l_takes_the_best_precision_and_the_best_recall() -> None:
    # "the cat sat" against "the cat" (LCS 2: P 2/3, R 1) and "the dog sat down" (LCS 2: P 2/3, R 1/2)
    p, r, b = 2 / 3, 1.0, 1.2**2
    expected = (1 + b) * p * r / (r + b * p)
    assert rouge_l(["The cat sat."], [["the cat", "The dog sat down"]]).value == pytest.approx(100 * expected)
    assert rouge_l(["", "x"], [["a b"], ["a b"]]).value == 0


def test_nist_by_hand() -> None:
    # References: "a b" and "a c": a is 2 of 4 words, b and c 1 of 4; "a b" follows one of two a.
    information = {"a": 1.0, "b": 2.0, "ab": 1.0}
    # Output "a b x": unigrams a and b match of three, bigram "a b" of two; 3 words over (4 words / 2 references).
    expected = (information["a"] + information["b"]) / 3 + information["ab"] / 2
    assert nist(["a b x"], [["a b", "a c"]]).value == pytest.approx(expected)
    # One word where references have two on average: ratio 1/2; beta makes 2/3 count half.
    beta = -math.log(0.5) / math.log(1.5) ** 2
    assert nist(["a"], [["a b", "a c"]]).value == pytest.approx(1.0 * math.exp(-beta * math.log(0.5) ** 2))
    assert nist(["a b", "a"], [["a b", "a c"], ["d d d d"]]).value > 0


def test_nist_counts_the_references_words_over_their_mean_number() -> None:
    groups = [["a b c d", "e f"], ["g h"]]
    length = 8 / 1.5  # not 3 + 2, which is the sum of the sentences' own means
    value = sum(math.log2(8) for _ in "ab") / 2 + 0.0  # "a" and "b" of 8 words, "a b" says nothing new
    beta = math.log(0.5) / math.log(1.5) ** 2
    assert nist(["a b", ""], groups).value == pytest.approx(value * math.exp(beta * math.log(2 / length) ** 2))


def tf_idf(n: int) -> list[list[np.ndarray]]:
    """For each sentence the vectors of its output and its references over all n-grams."""

    def grams(text: str) -> Counter[tuple[str, ...]]:
        words = ptb(text)
        return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))

    groups = [[grams(text), *map(grams, refs)] for text, refs in zip(OUTPUTS, REFERENCES, strict=True)]
    names = sorted({gram for group in groups for counts in group for gram in counts})
    found_in = np.array([sum(any(name in ref for ref in group[1:]) for group in groups) for name in names])
    idf = math.log(len(groups)) - np.log(np.maximum(found_in, 1))
    return [[np.array([counts[name] for name in names]) * idf for counts in group] for group in groups]


def test_cider_is_the_papers_formula() -> None:
    values = np.zeros(len(OUTPUTS))
    for n in range(1, 5):
        for i, (g_c, *references) in enumerate(tf_idf(n)):
            for reference, text in zip(references, REFERENCES[i], strict=True):
                norm = np.linalg.norm(g_c) * np.linalg.norm(reference)
                cosine = np.minimum(g_c, reference) @ reference / norm if norm else 0.0
                apart = len(ptb(OUTPUTS[i])) - len(ptb(text))
                values[i] += cosine * math.exp(-(apart**2) / 72) / 4 / len(references)
    assert cider(OUTPUTS, REFERENCES).value == pytest.approx(10 * values.mean())
    same = [refs[0] for refs in REFERENCES]
    assert cider(same, [[text] for text in same]).value == pytest.approx(10)


def test_bleu_is_in_lower_case_and_of_all_references() -> None:
    assert bleu(["THE OWL IS HERE NOW"], [["something else", "The owl is here now"]]).value == pytest.approx(100)


@pytest.mark.skipif(find_spec("pycocoevalcap") is None, reason="pycocoevalcap is not installed")
def test_meteor_runs_its_own_program() -> None:
    same = meteor(["a small pub by the river", ""], [["a small pub by the river"], ["x"]])
    assert 0 < same.value <= 100 and "1.5" in same.signature


def test_meteor_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captions, "find_spec", lambda name: None)
    with pytest.raises(UserError, match='install the extra "captions"'):
        meteor(OUTPUTS, REFERENCES)


@pytest.mark.parametrize("measure", [bleu, nist, rouge_l, cider, meteor])
def test_unequal_numbers_are_refused(measure: object) -> None:
    assert callable(measure)
    with pytest.raises(UserError, match="1 references for 2 outputs"):
        measure(["a", "b"], [["a"]])
