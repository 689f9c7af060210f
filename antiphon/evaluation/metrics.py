"""Scores of outputs against references: BLEU, chrF, TER, ROUGE, error rates and exact match, each with a signature.

Every metric counts something in each sentence, and computes one value from the sums of its counts. A whole corpus, the
sentences of one length and a bootstrap sample are therefore all scored from the same rows, counted once.

A new metric is a function that counts and an entry of `METRICS`; `config.sections` lists the names that a training can
use.

Shapes: N sentences, D counts of a metric.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein
from sacrebleu.metrics.base import Metric as SacreMetric
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER

from antiphon.data.scripts import ONE_CHARACTER_OR_WORD, Writing, writing_of
from antiphon.errors import UserError, extra, near

References = Sequence[str] | Sequence[Sequence[str]]
Rows = NDArray[np.float64]

TOKENIZERS = ("13a", "intl", "zh", "ja-mecab", "char", "none")


@dataclass(frozen=True)
class Score:
    """One metric's value and what it takes to reproduce it."""

    name: str
    value: float
    signature: str  # of the metric's settings
    higher_is_better: bool
    note: str = ""  # what to know before the value is compared
    scale: str = ""  # what the value's numbers are, such as "0-100" or "edits per 100 words"


class Counts(NamedTuple):
    """What a metric counted in each sentence, and how the sums of its counts become its value."""

    rows: Rows  # [N, D]
    value: Callable[[Rows], float]  # [D] -> value
    signature: str
    note: str = ""


class _Settings(NamedTuple):
    lowercase: bool
    tokenize: str
    writing: Writing
    stem: bool
    note: str


Counting = Callable[[list[str], list[list[str]], _Settings], Counts]  # outputs, each one's references, settings


def measure(
    names: Iterable[str],
    outputs: Sequence[str],
    references: References,
    *,
    lowercase: bool = False,
    tokenize: str = "",
    language: str = "",
    stem: bool = False,
) -> dict[str, Score]:
    """Score outputs against their references.

    Args:
        names: keys of `METRICS`, all but the loss.
        outputs: one text a sentence.
        references: one text a sentence, or several, as many as each sentence has.
        lowercase: ignore case. TER (as Tercom) and ROUGE always do.
        tokenize: BLEU's tokeniser, one of `TOKENIZERS`; empty: by language, see `tokenizer_for`.
        language: language code of the references; empty: detected from their script.
        stem: Porter stemming in ROUGE, for English.

    Returns:
        A score for each name, on the scale that `METRICS` names. WER and PER are edits of whitespace-separated words or
        symbols over the reference's number of them, CER of characters; they can pass 100, and among several references
        the one with the lowest rate counts. `word_error` is what grapheme-to-phoneme tasks such as SIGMORPHON's call
        WER, the share of words that are not exactly right.

    Raises:
        UserError: no sentences, unequal numbers of them, an unknown metric or tokeniser.
    """
    texts, grouped = list(outputs), _grouped(outputs, references)
    settings = _settings(grouped, lowercase, tokenize, language, stem)
    return {name: _score(name, _counts(name, texts, grouped, settings)) for name in names}


def count(
    name: str,
    outputs: Sequence[str],
    references: References,
    *,
    lowercase: bool = False,
    tokenize: str = "",
    language: str = "",
) -> Counts:
    """Count what a metric needs in every sentence; arguments and errors as of `measure`."""
    grouped = _grouped(outputs, references)
    return _counts(name, list(outputs), grouped, _settings(grouped, lowercase, tokenize, language, False))


def sentences(name: str, outputs: Sequence[str], references: References, **how: Any) -> Rows:
    """Score every sentence on its own, as `measure` scores a corpus. [N]

    BLEU takes only the orders of n-grams that a sentence has, and smooths those without a match, as sacreBLEU does for
    single sentences. Arguments and errors as of `count`.
    """
    counts = count(name, outputs, references, **how)
    value = counts.value
    if name == "bleu":
        metric = BLEU(effective_order=True)
        value = lambda row: float(metric._compute_score_from_stats(row.tolist()).score)  # noqa: E731
    return np.array([value(row) for row in counts.rows])


def tokenised_bleu(outputs: Sequence[str], references: References, lowercase: bool = True) -> Score:
    """BLEU of texts that are tokenised already, as published before sacreBLEU (multi-bleu.perl); see `moses`."""
    return measure(["bleu"], outputs, references, lowercase=lowercase, tokenize="none")["bleu"]


def tokenizer_for(texts: Iterable[str], language: str = "") -> str:
    """BLEU's tokeniser for a language: zh, ja-mecab, char for other writing without spaces, and 13a for the rest.

    Args:
        texts: references, from which the script is detected when no language is named.
        language: language code such as `zh`, `ja-JP`; empty: by script.

    Returns:
        A name of `TOKENIZERS`. Japanese gets `char` where MeCab is not installed.
    """
    return _tokenizer(writing_of(texts, language))[0]


def moses(texts: Iterable[str], language: str, lowercase: bool = True) -> list[str]:
    """Normalise punctuation and tokenise as the Moses scripts do; published references are made so.

    Args:
        texts: raw texts.
        language: language code, for abbreviations and quotation marks.
        lowercase: lower case first, as Multi30k's references are.

    Returns:
        Tokens separated by spaces, special characters escaped (`&quot;`).

    Raises:
        UserError: sacremoses is not installed.
    """
    try:
        from sacremoses import MosesPunctNormalizer, MosesTokenizer
    except ImportError as e:
        raise UserError(f"Moses tokens need sacremoses: {extra('train')}") from e
    normalizer, tokenizer = MosesPunctNormalizer(lang=language), MosesTokenizer(lang=language)
    cased = (text.lower() if lowercase else text for text in texts)
    return [str(tokenizer.tokenize(normalizer.normalize(text), escape=True, return_str=True)) for text in cased]


def same_number(first: int, first_name: str, second: int, second_name: str) -> None:
    """Refuse two lists of texts that do not belong together: unequal numbers of them."""
    if first != second:
        raise UserError(f"{first} {first_name} for {second} {second_name}; give one for each, in the same order")


# The metrics: each counts in every sentence.


def _bleu(outputs: list[str], references: list[list[str]], settings: _Settings) -> Counts:
    # force: sacreBLEU's advice on tokenised input goes to the log, where nobody looks; ours goes with the score.
    metric = BLEU(lowercase=settings.lowercase, tokenize=settings.tokenize, force=True)
    counts = _sacrebleu(metric, outputs, references)
    if settings.tokenize == "13a" and np.mean([text.endswith(" .") for text in outputs]) > 0.5:
        return counts._replace(note="the outputs look tokenised: detokenise them, or use the tokeniser `none`")
    return counts._replace(note=settings.note)


def _chrf(outputs: list[str], references: list[list[str]], settings: _Settings) -> Counts:
    return _sacrebleu(CHRF(lowercase=settings.lowercase), outputs, references)


def _chrf_words(outputs: list[str], references: list[list[str]], settings: _Settings) -> Counts:
    return _sacrebleu(CHRF(lowercase=settings.lowercase, word_order=2), outputs, references)


def _ter(outputs: list[str], references: list[list[str]], settings: _Settings) -> Counts:
    asian = settings.writing in ("zh", "ja")  # without it a Chinese sentence is one word
    return _sacrebleu(TER(normalized=asian, asian_support=asian), outputs, references)


def _sacrebleu(metric: SacreMetric, outputs: list[str], references: list[list[str]]) -> Counts:
    # These two are not public, but sacreBLEU's own significance tests are built on them.
    rows = metric._extract_corpus_statistics(outputs, list(zip_longest(*references)))
    result = metric._compute_score_from_stats(np.asarray(rows, float).sum(0).tolist())
    return Counts(
        np.asarray(rows, float),
        lambda sums: float(metric._compute_score_from_stats(sums.tolist()).score),
        f"{result.name}|{metric.get_signature()}",
    )


def _rouge(name: str) -> Counting:
    def count(outputs: list[str], references: list[list[str]], settings: _Settings) -> Counts:
        try:
            from rouge_score.rouge_scorer import RougeScorer
        except ModuleNotFoundError as e:
            raise UserError(f"ROUGE needs the package rouge-score: {extra('train')}") from e
        tokens = _rouge_tokens(references, settings)
        own = {"chars": _Words(ONE_CHARACTER_OR_WORD), "words": _Words(re.compile(r"\w+")), "default": None}[tokens]
        scorer = RougeScorer([name], use_stemmer=settings.stem, tokenizer=own)
        f = [scorer.score_multi(group, text)[name].fmeasure for text, group in zip(outputs, references, strict=True)]
        stem = "yes" if settings.stem and own is None else "no"
        signature = f"{name}|nrefs:{_nrefs(references)}|case:lc|tok:{tokens}|stem:{stem}"
        return _mean(f, f"{signature}|version:{version('rouge-score')}")

    return count


class _Words:
    """A tokeniser for rouge-score, whose own keeps nothing but a-z and 0-9."""

    def __init__(self, pattern: re.Pattern[str]):
        self.pattern = pattern

    def tokenize(self, text: str) -> list[str]:
        return self.pattern.findall(text.lower())


def _rouge_tokens(references: list[list[str]], settings: _Settings) -> str:
    if settings.writing != "spaced":
        return "chars"
    letters = [c for group in references for text in group for c in text if c.isalpha()]
    english = sum(c.isascii() for c in letters) >= 0.99 * len(letters)
    return "default" if english else "words"


def _exact_match(outputs: list[str], references: list[list[str]], settings: _Settings) -> Counts:
    right = [
        _plain(text, settings) in {_plain(r, settings) for r in group}
        for text, group in zip(outputs, references, strict=True)
    ]
    return _mean(right, f"exact_match|{_described(references, settings)}")


def _word_error(outputs: list[str], references: list[list[str]], settings: _Settings) -> Counts:
    right = _exact_match(outputs, references, settings)
    return _mean([1 - hit for hit in right.rows[:, 0]], right.signature.replace("exact_match", "word_error"))


def _error_rate(name: str, symbols: Callable[[str], Sequence[str]]) -> Counting:
    def count(outputs: list[str], references: list[list[str]], settings: _Settings) -> Counts:
        rows = []
        for text, group in zip(outputs, references, strict=True):
            output = symbols(_plain(text, settings))
            wanted = [symbols(_plain(reference, settings)) for reference in group]
            pairs = [(Levenshtein.distance(output, reference), len(reference)) for reference in wanted]
            rows.append(min(pairs, key=lambda pair: pair[0] / max(pair[1], 1)))
        signature = f"{name}|{_described(references, settings)}|rapidfuzz:{version('rapidfuzz')}"
        return Counts(np.asarray(rows, float), _rate, signature)

    return count


def _rate(sums: Rows) -> float:
    edits, length = sums
    if length == 0:
        return 100.0 if edits else 0.0
    return float(100 * edits / length)


def _mean(values: Sequence[float], signature: str) -> Counts:
    rows = np.stack([np.asarray(values, float), np.ones(len(values))], 1)
    return Counts(rows, lambda sums: float(100 * sums[0] / sums[1]), signature)


def _loss(outputs: list[str], references: list[list[str]], settings: _Settings) -> Counts:
    raise UserError("the loss is the model's own and cannot be computed from texts; name another metric")


@dataclass(frozen=True)
class Metric:
    """A metric: how it counts, what people call it, and how to read its value."""

    count: Counting
    title: str
    scale: str
    higher_is_better: bool = True


METRICS: dict[str, Metric] = {
    "loss": Metric(_loss, "loss", "nats a target piece", higher_is_better=False),
    "bleu": Metric(_bleu, "BLEU", "0-100"),
    "chrf": Metric(_chrf, "chrF", "0-100"),
    "chrf++": Metric(_chrf_words, "chrF++", "0-100"),
    "ter": Metric(_ter, "TER", "edits per 100 words", higher_is_better=False),
    "rouge1": Metric(_rouge("rouge1"), "ROUGE-1", "0-100"),
    "rouge2": Metric(_rouge("rouge2"), "ROUGE-2", "0-100"),
    "rougeL": Metric(_rouge("rougeL"), "ROUGE-L", "0-100"),
    "exact_match": Metric(_exact_match, "exact match", "per cent of texts"),
    "word_error": Metric(_word_error, "word error", "per cent of texts", higher_is_better=False),
    "wer": Metric(_error_rate("wer", str.split), "WER", "edits per 100 words", higher_is_better=False),
    "per": Metric(_error_rate("per", str.split), "PER", "edits per 100 symbols", higher_is_better=False),
    "cer": Metric(_error_rate("cer", str), "CER", "edits per 100 characters", higher_is_better=False),
}


def _counts(name: str, outputs: list[str], references: list[list[str]], settings: _Settings) -> Counts:
    if name not in METRICS:
        raise UserError(f"no metric is called '{name}'{near(name, METRICS)}")
    return METRICS[name].count(outputs, references, settings)


def _score(name: str, counts: Counts) -> Score:
    metric, value = METRICS[name], counts.value(counts.rows.sum(0))
    return Score(name, value, counts.signature, metric.higher_is_better, counts.note, metric.scale)


# Texts and words.


def _grouped(outputs: Sequence[str], references: References) -> list[list[str]]:
    same_number(len(references), "references", len(outputs), "outputs")
    if not outputs:
        raise UserError("nothing to score: there are no outputs")
    grouped = [[entry] if isinstance(entry, str) else list(entry) for entry in references]
    for number, group in enumerate(grouped, 1):
        if not group:
            raise UserError(f"sentence {number} has no reference; every sentence needs at least one")
    return grouped


def _settings(references: list[list[str]], lowercase: bool, tokenize: str, language: str, stem: bool) -> _Settings:
    if tokenize and tokenize not in TOKENIZERS:
        raise UserError(f"no tokeniser of BLEU is called '{tokenize}'{near(tokenize, TOKENIZERS)}")
    if tokenize == "ja-mecab" and not _mecab():
        raise UserError(f"the tokeniser ja-mecab needs MeCab: use `char`, or {extra('ja')}")
    writing = writing_of((text for group in references for text in group), language)
    chosen, note = (tokenize, "") if tokenize else _tokenizer(writing)
    return _Settings(lowercase, chosen, writing, stem, note)


def _tokenizer(writing: Writing) -> tuple[str, str]:
    if writing == "ja" and not _mecab():
        return "char", f"MeCab is not installed, so BLEU is over characters; for words {extra('ja')}"
    return {"spaced": "13a", "zh": "zh", "ja": "ja-mecab", "unspaced": "char"}[writing], ""


def _mecab() -> bool:
    return find_spec("MeCab") is not None and find_spec("ipadic") is not None


def _plain(text: str, settings: _Settings) -> str:
    text = " ".join(text.split())
    return text.lower() if settings.lowercase else text


def _nrefs(references: list[list[str]]) -> str:
    numbers = {len(group) for group in references}
    return str(numbers.pop()) if len(numbers) == 1 else "var"


def _described(references: list[list[str]], settings: _Settings) -> str:
    return f"nrefs:{_nrefs(references)}|case:{'lc' if settings.lowercase else 'mixed'}|space:normalised"
