"""Metrics against second implementations written here, brute force and cases worked by hand."""

import gzip
import math
import os
import re
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import get_args

import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st
from noise import sentences

from antiphon.config import sections
from antiphon.errors import UserError
from antiphon.evaluation import metrics
from antiphon.evaluation.metrics import measure


def value(name: str, outputs: list[str], references: metrics.References, **options: bool | str) -> float:
    return measure([name], outputs, references, **options)[name].value  # type: ignore[arg-type]


def multi_bleu(outputs: list[str], references: list[list[str]]) -> float:
    """Papineni 2002, equations of sections 2.1 to 2.3, unsmoothed: BP * exp(mean of log p_n)."""
    matched, total, output_length, reference_length = [0] * 4, [0] * 4, 0, 0
    for output, group in zip(outputs, references, strict=True):
        words, wanted = output.split(), [r.split() for r in group]
        output_length += len(words)
        reference_length += min((abs(len(r) - len(words)), len(r)) for r in wanted)[1]
        for n in range(1, 5):
            grams = Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
            in_references = [Counter(tuple(r[i : i + n]) for i in range(len(r) - n + 1)) for r in wanted]
            matched[n - 1] += sum(min(c, max(r[g] for r in in_references)) for g, c in grams.items())
            total[n - 1] += sum(grams.values())
    brevity = min(0.0, 1 - reference_length / output_length)
    return 100 * math.exp(brevity + sum(math.log(m / t) for m, t in zip(matched, total, strict=True)) / 4)


def test_bleu_by_hand() -> None:
    # 1-grams 5/6, 2-grams 3/5, 3-grams 1/4; 4-grams 0/3, which counts as 1/2 of one: 1/6
    score = measure(["bleu"], ["the cat is on the mat"], ["the cat sat on the mat"], tokenize="none")["bleu"]
    assert score.value == pytest.approx(100 * (5 / 6 * 3 / 5 * 1 / 4 * 1 / 6) ** 0.25)
    assert "tok:none" in score.signature and score.higher_is_better


@pytest.mark.parametrize("seed", range(3))
def test_bleu_equals_the_papers_formula_with_several_references(seed: int) -> None:
    outputs, references = sentences(seed, 30, 0.3)
    references = [group[: 1 + i % 2] for i, group in enumerate(references)]
    outputs[0] = outputs[0][:5]
    assert value("bleu", outputs, references, tokenize="none") == pytest.approx(multi_bleu(outputs, references))


def test_tokenised_bleu_ignores_case_and_says_so() -> None:
    outputs, references = sentences(5, 20, 0.2)
    score = metrics.tokenised_bleu([o.upper() for o in outputs], references)
    assert score.value == pytest.approx(multi_bleu(outputs, references))
    assert "case:lc" in score.signature and "tok:none" in score.signature
    assert metrics.tokenised_bleu([o.upper() for o in outputs], references, lowercase=False).value == 0


def test_chrf_by_hand() -> None:
    # characters: precision 3/4, 2/3, 1/2, 0/1 and recall the same: F = mean = 23/48
    assert value("chrf", ["abcx"], ["abcd"]) == pytest.approx(100 * (3 / 4 + 2 / 3 + 1 / 2 + 0) / 4)
    # one word, not matched: a fifth order of precision and recall 0
    assert value("chrf++", ["abcx"], ["abcd"]) == pytest.approx(100 * (3 / 4 + 2 / 3 + 1 / 2 + 0) / 5)


def test_ter_counts_a_moved_phrase_once() -> None:
    assert value("ter", ["c d e a b"], ["a b c d e"]) == pytest.approx(100 / 5)
    assert value("wer", ["c d e a b"], ["a b c d e"]) == pytest.approx(100 * 4 / 5)


def edit_distance(a: tuple[str, ...], b: tuple[str, ...]) -> int:
    @cache
    def distance(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        replaced = distance(i - 1, j - 1) + (a[i - 1] != b[j - 1])
        return min(replaced, distance(i - 1, j) + 1, distance(i, j - 1) + 1)

    return distance(len(a), len(b))


texts = st.text("ab é", max_size=8).map(lambda text: " ".join(text.split()))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=4))
def test_error_rates_equal_brute_force(pairs: list[tuple[str, str]]) -> None:
    outputs, references = [a for a, _ in pairs], [b for _, b in pairs]
    for name, cut in (("wer", str.split), ("per", str.split), ("cer", list)):
        cuts = [(tuple(cut(a)), tuple(cut(b))) for a, b in pairs]
        edits, length = sum(edit_distance(a, b) for a, b in cuts), sum(len(b) for _, b in cuts)
        expected = 100 * edits / length if length else 100.0 * (edits > 0)
        assert value(name, outputs, references) == pytest.approx(expected)


def test_error_rates_take_the_nearest_reference() -> None:
    assert value("wer", ["a b c", "a"], [["x y", "a b d"], ["a b"]]) == pytest.approx(100 * 2 / 5)
    assert value("per", ["k æ t", "d ɔ"], ["k æ t", "d ɔ g"]) == pytest.approx(100 / 6)
    assert value("exact_match", ["k æ t", "d ɔ"], ["k æ t", "d ɔ g"]) == 50


def test_exact_match_of_any_reference_with_spaces_and_case() -> None:
    outputs, references = [" a  b ", "C", "d"], [["x", "a b"], ["c"], ["e"]]
    assert value("exact_match", outputs, references) == pytest.approx(100 / 3)
    assert value("exact_match", outputs, references, lowercase=True) == pytest.approx(200 / 3)


def test_rouge_by_hand() -> None:
    outputs, references = ["the cat sat on the mat"], ["the cat was on a mat today"]
    # the, cat, on, mat of 6 and 7 words; "the cat" of 5 and 6 pairs; the longest common subsequence is those 4
    assert value("rouge1", outputs, references) == pytest.approx(100 * 2 * 4 / (6 + 7))
    assert value("rouge2", outputs, references) == pytest.approx(100 * 2 * 1 / (5 + 6))
    assert value("rougeL", outputs, references) == pytest.approx(100 * 2 * 4 / (6 + 7))


def test_rouge_stems_and_takes_the_best_reference() -> None:
    assert value("rouge1", ["cats running"], ["cat runs"]) == 0
    score = measure(["rouge1"], ["cats running"], ["cat runs"], stem=True)["rouge1"]
    assert score.value == 100 and "stem:yes" in score.signature
    assert value("rouge1", ["a b"], [["c d", "a c", "a b"]]) == 100


def test_rouge_keeps_letters_beyond_english() -> None:
    german = measure(["rouge1"], ["für Mütter"], ["fein möchte"])["rouge1"]
    assert german.value == 0 and "tok:words" in german.signature  # cut at the umlauts, both would hold f and m
    chinese = measure(["rouge1", "rougeL"], ["猫坐在椅子上"], ["猫在椅子上睡觉"])
    assert chinese["rouge1"].value == pytest.approx(100 * 2 * 5 / (6 + 7))
    assert chinese["rougeL"].value == pytest.approx(100 * 2 * 5 / (6 + 7))
    assert "tok:chars" in chinese["rouge1"].signature


def test_chinese_bleu_is_over_characters() -> None:
    outputs, references = ["我今天去学校。", "他很高兴见到你。"], ["我今天去学校了。", "他很高兴见到你。"]
    score = measure(["bleu"], outputs, references)["bleu"]
    cut = [[" ".join(text) for text in side] for side in (outputs, references)]
    assert score.value == pytest.approx(multi_bleu(cut[0], [[r] for r in cut[1]]))
    assert "tok:zh" in score.signature
    assert value("bleu", outputs, references, tokenize="13a") < score.value  # a sentence is one word there
    assert value("ter", outputs, references) == pytest.approx(100 / 16)


@pytest.mark.parametrize(
    ("text", "language", "tokenizer"),
    [
        ("A dog runs.", "", "13a"),
        ("她喜欢看书。", "", "zh"),
        ("她说の很可爱，我们今天一起去公园里散步看花吧", "", "zh"),
        ("今日は学校に行きます。", "", "ja-mecab"),
        ("สวัสดีครับ", "", "char"),
        ("안녕하세요 여러분", "", "13a"),
        ("He said 你好 to all of his friends.", "", "13a"),
        ("2024", "zh-Hans", "zh"),
        ("2024", "ja_JP", "ja-mecab"),
        ("他", "de", "13a"),
        ("", "", "13a"),
    ],
)
def test_tokenizer_follows_language_or_script(text: str, language: str, tokenizer: str) -> None:
    if tokenizer == "ja-mecab":
        pytest.importorskip("MeCab")
    assert metrics.tokenizer_for([text], language) == tokenizer


def test_japanese_bleu_is_over_mecabs_words() -> None:
    pytest.importorskip("MeCab")
    score = measure(["bleu"], ["私は学校に行きます。"], ["私は今日学校に行きます。"])["bleu"]
    cut = ["私 は 学校 に 行き ます 。", "私 は 今日 学校 に 行き ます 。"]
    assert score.value == pytest.approx(multi_bleu(cut[:1], [cut[1:]]))
    assert "tok:ja-mecab" in score.signature


def test_without_mecab_japanese_falls_back_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "find_spec", lambda name: None)
    score = measure(["bleu"], ["今日は学校に行きます。"], ["今日は学校に行きます。"])["bleu"]
    assert "tok:char" in score.signature and "MeCab" in score.note
    with pytest.raises(UserError, match='the extra "ja"'):
        measure(["bleu"], ["あ"], ["あ"], tokenize="ja-mecab")


def test_tokenised_outputs_are_noted() -> None:
    assert "none" in measure(["bleu"], ["a dog runs ."], ["A dog runs."])["bleu"].note
    assert not measure(["bleu"], ["A dog runs."], ["A dog runs."])["bleu"].note


def test_metrics_and_the_configurations_names_are_the_same() -> None:
    assert {*get_args(sections.Metric)} == {*metrics.METRICS}
    assert {*get_args(sections.Risk)} == {*metrics.METRICS, "none"} - {"loss"}


@pytest.mark.parametrize("name", [name for name in metrics.METRICS if name != "loss"])
def test_every_metric_scores_and_says_its_scale(name: str) -> None:
    reference = ["a dog runs in the park"]
    score = measure([name], reference, reference)[name]
    assert score.value == pytest.approx(100 if score.higher_is_better else 0)
    assert (score.scale, score.higher_is_better) == (
        metrics.METRICS[name].scale,
        metrics.METRICS[name].higher_is_better,
    )
    assert re.search("0-100|per cent|100", score.scale)
    assert name.split("+")[0] in score.signature.lower().replace("rougel", "rougeL")
    assert value(name, [""], reference) == (0 if score.higher_is_better else 100)


def test_the_loss_is_not_computed_from_texts() -> None:
    with pytest.raises(UserError, match="the model's own"):
        measure(["loss"], ["a"], ["a"])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: measure(["bleu"], ["a"], ["a", "b"]), "2 references for 1 outputs"),
        (lambda: measure(["bleu"], [], []), "nothing to score"),
        (lambda: measure(["blue"], ["a"], ["a"]), "did you mean 'bleu'"),
        (lambda: measure(["loss"], ["a"], ["a"]), "cannot be computed from texts"),
        (lambda: measure(["bleu"], ["a"], ["a"], tokenize="13b"), "did you mean '13a'"),
        (lambda: measure(["bleu"], ["a", "b"], [["a"], []]), "sentence 2 has no reference"),
    ],
)
def test_bad_input_is_said_in_words(call: Callable[[], object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        call()


def multi30k(name: str) -> list[str]:
    folder = Path(os.environ.get("ANTIPHON_DATA", ""), "multi30k")
    if not os.environ.get("ANTIPHON_DATA") or not folder.is_dir():
        pytest.skip("ANTIPHON_DATA names no folder with multi30k")
    with gzip.open(folder / name, "rt", encoding="utf-8") as lines:
        return lines.read().split("\n")[:-1]


@pytest.mark.parametrize(("split", "language"), [("test_2016_flickr", "de"), ("test_2016_flickr", "en"), ("val", "de")])
def test_moses_makes_multi30ks_own_tokens(split: str, language: str) -> None:
    pytest.importorskip("sacremoses")
    raw, tokens = multi30k(f"raw/{split}.{language}.gz"), multi30k(f"tok/{split}.lc.norm.tok.{language}.gz")
    same = sum(ours == theirs for ours, theirs in zip(metrics.moses(raw, language), tokens, strict=True))
    assert same >= 0.998 * len(raw)


def test_moses_by_hand() -> None:
    pytest.importorskip("sacremoses")
    assert metrics.moses(["Er sagt: „Ja!“"], "de") == ["er sagt : &quot; ja ! &quot;"]
    assert metrics.moses(["A dog's ball."], "en", lowercase=False) == ["A dog &apos;s ball ."]


def test_moses_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sacremoses", None)
    with pytest.raises(UserError, match="install the extra"):
        metrics.moses(["a"], "en")


def test_single_sentences_are_scored_as_sacrebleu_does() -> None:
    outputs, references = sentences(3, 40, 0.4)
    outputs, references = [*outputs, "a b", "", "c d e"], [*references, ["a b"] * 2, ["a"] * 2, ["f", "g h"]]
    bleu = [sacrebleu.sentence_bleu(o, group).score for o, group in zip(outputs, references, strict=True)]
    assert metrics.sentences("bleu", outputs, references).tolist() == pytest.approx(bleu)
    assert min(bleu) == 0 and max(bleu) == pytest.approx(100) and len(set(bleu)) > 30
    for name in ("chrf", "exact_match", "wer"):
        alone = [value(name, [o], [group]) for o, group in zip(outputs, references, strict=True)]
        assert metrics.sentences(name, outputs, references).tolist() == pytest.approx(alone)


def test_word_error_is_the_share_of_outputs_that_are_not_right() -> None:
    outputs, references = ["k a t", "d o", "f i"], [["k a t"], ["d o g", "d o"], ["f i ʃ"]]
    score = metrics.measure(["word_error"], outputs, references)["word_error"]
    assert score.value == pytest.approx(100 / 3) and not score.higher_is_better
    assert score.value == pytest.approx(
        100 - metrics.measure(["exact_match"], outputs, references)["exact_match"].value
    )
