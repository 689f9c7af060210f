"""Bootstrap and length bins against scoring each sampled corpus and each bin by itself."""

from collections.abc import Callable

import numpy as np
import pytest
from noise import sentences

from antiphon.errors import UserError
from antiphon.evaluation.metrics import measure
from antiphon.evaluation.significance import by_length, paired_bootstrap


def value(name: str, outputs: list[str], references: list[list[str]]) -> float:
    return measure([name], outputs, references, tokenize="none")[name].value


@pytest.mark.parametrize("metric", ["bleu", "chrf", "rougeL", "exact_match", "wer"])
def test_bootstrap_equals_scoring_each_sampled_corpus(metric: str) -> None:
    a, references = sentences(1, 25, 0.4)
    b, _ = sentences(1, 25, 0.4)
    b = [r[0] if i % 4 == 0 else text for i, (text, r) in enumerate(zip(b, references, strict=True))]
    comparison = paired_bootstrap(a, b, references, metric, samples=40, seed=3, tokenize="none")
    generator = np.random.default_rng(3)
    sampled = []
    for _ in range(40):
        rows = generator.integers(25, size=25)
        refs = [references[i] for i in rows]
        sampled.append([value(metric, [side[i] for i in rows], refs) for side in (a, b)])
    values = np.array(sampled)
    difference = values[:, 1] - values[:, 0]
    assert comparison.interval_a == pytest.approx(tuple(np.quantile(values[:, 0], [0.025, 0.975])))
    assert comparison.interval_b == pytest.approx(tuple(np.quantile(values[:, 1], [0.025, 0.975])))
    assert comparison.interval == pytest.approx(tuple(np.quantile(difference, [0.025, 0.975])))
    assert (comparison.a, comparison.b) == (value(metric, a, references), value(metric, b, references))
    better = difference > 0 if comparison.difference > 0 else difference < 0
    assert comparison.p_value == pytest.approx((np.sum(~better) + 1) / 41)


def test_bootstrap_of_equal_outputs_shows_no_difference() -> None:
    a, references = sentences(2, 200, 0.3)
    comparison = paired_bootstrap(a, a, references)
    assert (comparison.difference, comparison.p_value, comparison.interval) == (0, 1, (0, 0))


def test_bootstrap_depends_on_the_seed_only() -> None:
    (a, references), (b, _) = sentences(3, 50, 0.3), sentences(3, 50, 0.5)
    one, again, other = (paired_bootstrap(a, b, references, samples=50, seed=s) for s in (1, 1, 2))
    assert one == again != other


def test_length_bins_part_the_sentences() -> None:
    outputs, references = sentences(4, 60, 0.3)
    sources = [text + " x" * (i % 50) for i, text in enumerate(outputs)]
    bins = by_length(sources, outputs, references, bins=(10, 20, 30), tokenize="none")
    assert [(b.low, b.high) for b in bins] == [(0, 10), (11, 20), (21, 30), (31, None)]
    assert sum(b.sentences for b in bins) == 60
    for b in bins:
        inside = [i for i, s in enumerate(sources) if b.low <= len(s.split()) <= (b.high or 1000)]
        assert len(inside) == b.sentences
        expected = value("bleu", [outputs[i] for i in inside], [references[i] for i in inside])
        assert b.value == pytest.approx(expected)


def test_length_of_chinese_is_in_characters_and_empty_bins_are_left_out() -> None:
    bins = by_length(["我喜欢猫", "我们今天去学校"], ["a", "b"], ["a", "c"], "exact_match", bins=(4, 5, 6))
    assert bins == [(0, 4, 1, 100.0), (7, None, 1, 0.0)]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: by_length(["a"], ["a", "b"], ["a", "b"]), "1 sources for 2 outputs"),
        (lambda: by_length(["a"], ["a"], ["a"], bins=(3, 3)), "rising"),
        (lambda: by_length(["a"], ["a"], ["a"], "blue"), "did you mean 'bleu'"),
        (lambda: paired_bootstrap(["a"], ["a", "b"], ["a"]), "2 second outputs"),
        (lambda: paired_bootstrap(["a"], ["b"], ["a"], samples=0), "at least one"),
        (lambda: paired_bootstrap(["a"], ["b"], ["a", "b"]), "2 references for 1 outputs"),
    ],
)
def test_bad_input_is_said_in_words(call: Callable[[], object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        call()
