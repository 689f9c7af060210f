"""Learning a vocabulary: what is sampled, which pieces are learnt, how large it gets, and the same on every run."""

import json
import math
import os
import random
import re
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import tokenizers

from antiphon.config import sections
from antiphon.data import vocabulary
from antiphon.data.tokenizer import Tokenizer
from antiphon.errors import UserError

TEXTS = ["the keeper of the tower keeps the keys", "he kept the key to the other tower", "they keep thee there"] * 3
PATTERN = r" ?\w+|\W"
RESERVED = ["<pad>", "<unk>", "<s>", "</s>", "<2de>"]


def train(lines: list[str], kind: str, size: int) -> Tokenizer:
    return Tokenizer.train(lines, sections.Text.model_validate({"kind": kind}), size)


def test_large_corpora_are_sampled_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary, "SAMPLE_BYTES", 10_000)
    kept, again = (vocabulary.sample((f"line {i}" for i in range(50_000)), random.Random(7)) for _ in range(2))
    assert 4_000 < sum(map(len, kept)) <= 10_000
    assert kept == again
    numbers = [int(line.split()[1]) for line in kept]
    assert 20_000 < sum(numbers) / len(numbers) < 30_000


def test_small_corpora_are_taken_whole() -> None:
    assert vocabulary.sample(["a", "", "b"], random.Random(7)) == ["a", "", "b"]


@pytest.mark.parametrize("lines", [[], ["", ""]])
def test_no_text_is_refused(lines: list[str]) -> None:
    with pytest.raises(UserError, match="no text"):
        vocabulary.sample(lines, random.Random(7))


def learnt(texts: list[str], kind: str, size: int) -> Any:
    """The library's model, as its JSON says it."""
    model = vocabulary.learn(list(texts), kind, PATTERN, size, RESERVED, "<2de>")
    return json.loads(tokenizers.Tokenizer(model).to_str())["model"]


def test_bpe_merges_the_most_frequent_pair_each_time() -> None:
    """Sennrich 2016, algorithm 1, replayed; which of several equally frequent pairs goes first is not looked at."""
    model = learnt(TEXTS, "bpe", 60)
    words = Counter(tuple(word) for text in TEXTS for word in re.findall(PATTERN, text))
    assert len(model["merges"]) > 15
    for left, right in model["merges"]:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, count in words.items():
            for pair in pairwise(word):
                pairs[pair] += count
        assert pairs[left, right] == max(pairs.values())
        words = Counter({merged(word, left, right): count for word, count in words.items()})


def merged(word: tuple[str, ...], left: str, right: str) -> tuple[str, ...]:
    parts: list[str] = []
    for part in word:
        if parts and (parts[-1], part) == (left, right):
            parts[-1] += right
        else:
            parts.append(part)
    return tuple(parts)


def test_unigram_scores_are_log_probabilities_of_pieces_with_every_character() -> None:
    vocab = learnt(TEXTS, "unigram", 35)["vocab"]
    scores = dict(map(tuple, vocab[len(RESERVED) :]))
    assert [piece for piece, _ in vocab[: len(RESERVED)]] == RESERVED and len(vocab) == 35
    assert sum(map(math.exp, scores.values())) == pytest.approx(1)
    assert set("".join(TEXTS)) <= set(scores)
    assert list(scores.values()) == sorted(scores.values(), reverse=True)


@pytest.mark.parametrize("kind", ["bpe", "unigram", "word", "char"])
def test_nothing_is_learnt_across_symbols(kind: str) -> None:
    texts = ["no<2de>where"] * 9
    pieces = list(dict(learnt(texts, kind, 60)["vocab"]))[len(RESERVED) :]
    assert pieces and not any("<" in piece or "ow" in piece for piece in pieces)


@pytest.mark.parametrize("kind", ["bpe", "unigram", "word", "char"])
def test_training_in_another_process_gives_the_same_json(kind: str) -> None:
    program = (
        "import sys; from antiphon.data.tokenizer import Tokenizer; from antiphon.config.sections import Text; "
        "n = [i * j for i in range(60) for j in range(60)]; "
        "lines = [f'{chr(97 + i % 26)}{chr(0x4E00 + i % 700)} w{i % 97}' for i in n]; "
        f"sys.stdout.buffer.write(Tokenizer.train(lines, Text(kind='{kind}'), 1500).to_json().encode())"
    )
    documents = {
        subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            check=True,
            cwd=Path(__file__).parents[2],
            env={**os.environ, "TOKENIZERS_PARALLELISM": parallel, "PYTHONHASHSEED": seed},
        ).stdout
        for parallel, seed in (("true", "1"), ("false", "2"))
    }
    assert len(documents) == 1


@pytest.mark.parametrize("kind", ["bpe", "unigram", "word", "char"])
def test_size_is_an_upper_limit_and_rare_characters_become_bytes(kind: str) -> None:
    lines = [chr(0x4E00 + i * 7 % 3000) + chr(0x4E00 + i % 200) for i in range(20_000)]
    tokenizer = train(lines, kind, 5000)
    assert 3000 < len(tokenizer) <= 5000
    assert tokenizer.decode(tokenizer.encode(lines[7]).ids) == lines[7]


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_characters_beyond_the_vocabulary_become_bytes(kind: str) -> None:
    lines = ["ab" * 50] * 200 + [chr(0x4E00 + i) for i in range(300)]
    tokenizer = train(lines, kind, 400)
    assert len(tokenizer) <= 400
    assert all(tokenizer.decode(ids) == line for line, ids in zip(lines, tokenizer.encode_ids(lines), strict=True))


@pytest.mark.parametrize("kind", ["bpe", "unigram", "word", "char"])
def test_a_size_beyond_all_pieces_is_harmless(kind: str) -> None:
    assert train(TEXTS, kind, 10**11).to_json() == train(TEXTS, kind, 10**6).to_json()


@pytest.mark.parametrize(("kind", "size"), [("bpe", 270), ("unigram", 100), ("word", 4), ("char", 4)])
def test_a_size_too_small_is_refused(kind: str, size: int) -> None:
    with pytest.raises(UserError, match=rf"text\.size = {size} is too small"):
        train(TEXTS, kind, size)
