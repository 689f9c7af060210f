"""Learning a vocabulary from text: BPE, unigram, words or characters.

The library's trainers work on texts in which symbols, and characters too rare for a piece of their own, are gaps. The
same texts in the same order give the same vocabulary.
"""

import json
import math
import random
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

import tokenizers
from tokenizers import Regex, models, pre_tokenizers, trainers

from antiphon.errors import UserError

LONGEST_PIECE = 16  # characters of the longest learnt piece, as in SentencePiece; longer ones are memorised phrases
SAMPLE_BYTES = 16_000_000  # most text that a vocabulary is learnt from, about 250,000 sentences
GAP = "\0"  # in place of what the trainers must not see: symbols, and characters too rare for the vocabulary


def sample(lines: Iterable[str], generator: random.Random) -> list[str]:
    """Keep all lines, or of a large corpus a random part of at most SAMPLE_BYTES.

    Args:
        lines: texts; read once.
        generator: random numbers that choose the part.

    Raises:
        UserError: there is no text.
    """
    kept: list[str] = []
    size, rate = 0, 1.0
    for line in lines:
        if rate < 1 and generator.random() >= rate:
            continue
        kept.append(line)
        size += len(line.encode(errors="replace"))
        while size > SAMPLE_BYTES and len(kept) > 1:
            rate /= 2
            kept = [line for line in kept if generator.random() < 0.5]
            size = sum(len(line.encode(errors="replace")) for line in kept)
    if not any(kept):
        raise UserError("there is no text to learn a vocabulary from")
    return kept


def learn(texts: list[str], kind: str, pattern: str, size: int, reserved: list[str], symbol: str) -> Any:
    """Learn pieces and put the reserved ones before them.

    Args:
        texts: normalised texts; gaps are put into them in place, since a copy would double the memory.
        kind: `bpe`, `unigram`, `word` or `char`.
        pattern: matches the pre-tokens, which no piece extends beyond.
        size: largest number of pieces, the reserved ones included.
        reserved: specials, <unk> among them; then symbols; then the byte pieces <0x00>.., if there are any.
        symbol: matches the symbols.

    Returns:
        A model of the library `tokenizers`, which has no common type for them.

    Raises:
        UserError: `size` is too small.
    """
    room = size - len(reserved)
    _blank(texts, symbol)
    if kind in ("bpe", "unigram"):
        _blank_rare(texts, size, len(reserved))
    elif room < 1:
        raise UserError(f"text.size = {size} is too small: there are {len(reserved)} specials and symbols already")
    with_bytes = "<0x00>" in reserved
    pre_tokeniser = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(GAP, "removed"), pre_tokenizers.Split(Regex(pattern), "isolated")]
    )
    if kind == "bpe":
        pieces, merges = _learn_bpe(texts, pre_tokeniser, room)
        # ignore_merges: a pre-token that is a piece stays whole, so that symbols need no merges.
        vocabulary = _numbered(reserved + pieces)
        return models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=with_bytes, ignore_merges=True)
    if kind == "unigram":
        # Of the reserved pieces only symbols are pre-tokens, and no segmentation scores better than 0 = log 1.
        scores = [(piece, 0.0) for piece in reserved] + _learn_unigram(texts, pre_tokeniser, room)
        return models.Unigram(scores, unk_id=reserved.index("<unk>"), byte_fallback=with_bytes)
    trainer = trainers.WordLevelTrainer(vocab_size=room, show_progress=False)
    learnt = _learn(texts, pre_tokeniser, models.WordLevel(unk_token="<unk>"), trainer)["vocab"]
    return models.WordLevel(_numbered(reserved + sorted(learnt, key=learnt.__getitem__)), unk_token="<unk>")


def _blank_rare(texts: list[str], size: int, reserved: int) -> None:
    """Put gaps, in place, for the characters that get no piece.

    The alphabet may fill half of the vocabulary, so that thousands of Chinese characters leave room for words; the
    rarer ones become bytes. Ties are broken by code point, because the library's own limit is not reproducible.
    """
    room = size - reserved
    counts: Counter[str] = Counter()
    for line in texts:
        counts.update(line)
    del counts[GAP]
    ordered = sorted(counts, key=lambda c: (-counts[c], c))
    needed, covered, frequent = 0, 0, 0.98 * counts.total()
    while covered < frequent:
        covered += counts[ordered[needed]]
        needed += 1
    if room <= needed:
        raise UserError(
            f"text.size = {size} is too small: there are {reserved} specials, symbols and bytes, and the text has "
            f"{len(ordered)} characters, {needed} of which are frequent; set it to {reserved + 2 * needed} or more"
        )
    rare = ordered[max(room // 2, needed) :]
    if rare:
        _blank(texts, f"[{re.escape(''.join(rare))}]")


def _blank(texts: list[str], pattern: str) -> None:
    gap = re.compile(pattern)
    for i, line in enumerate(texts):
        texts[i] = gap.sub(GAP, line)


def _learn(texts: list[str], pre_tokeniser: Any, model: Any, trainer: Any) -> dict[str, Any]:
    hf = tokenizers.Tokenizer(model)
    hf.pre_tokenizer = pre_tokeniser
    hf.train_from_iterator(texts, trainer)
    learnt: dict[str, Any] = json.loads(hf.to_str())["model"]
    return learnt


def _learn_bpe(texts: list[str], pre_tokeniser: Any, room: int) -> tuple[list[str], list[tuple[str, str]]]:
    room = min(room, 2 * sum(map(len, texts)))  # more pieces there cannot be, and the library reserves memory for all
    trainer = trainers.BpeTrainer(vocab_size=room, min_frequency=2, max_token_length=LONGEST_PIECE, show_progress=False)
    model = _learn(texts, pre_tokeniser, models.BPE(), trainer)
    pieces = sorted(model["vocab"], key=model["vocab"].__getitem__)
    return pieces, [(left, right) for left, right in model["merges"]]


def _learn_unigram(texts: list[str], pre_tokeniser: Any, room: int) -> list[tuple[str, float]]:
    """Pieces and log-probabilities of a unigram model (Kudo 2018), pruned from a BPE vocabulary four times as large.

    The library's own trainer is not used: two runs of it differ, and as it takes candidates from the list of distinct
    words, it misses most whole words. Here every count is a whole number, from the best segmentation of each word
    (Viterbi instead of the sum over segmentations), so that results are the same in every run.
    """
    candidates, merges = _learn_bpe(texts, pre_tokeniser, 4 * room)
    words = Counter(word for line in texts for word, _ in pre_tokeniser.pre_tokenize_str(line))
    parents: dict[str, tuple[str, str]] = {}
    for left, right in merges:
        parents.setdefault(left + right, (left, right))  # the first merge that gave a piece: its parts are older
    counts = Counter(dict.fromkeys(candidates, 0))
    bpe = models.BPE(_numbered(candidates), merges)
    counts.update(_used(bpe, words))
    for left, right in reversed(merges):  # a piece occurs wherever a piece that is merged from it does
        counts[left] += counts[left + right]
        counts[right] += counts[left + right]
    while True:
        for _ in range(2):
            scores = _scores(counts)
            used = _used(models.Unigram([("<unk>", 0.0), *scores.items()], unk_id=0), words)
            counts = Counter({piece: used[piece] for piece in counts})
        if len(counts) <= room:
            return sorted(_scores(counts).items(), key=lambda item: (-item[1], item[0]))
        loss = _losses(counts, _scores(counts), parents)
        keep = max(room, len(counts) * 3 // 4)
        kept = sorted(counts, key=lambda piece: (-loss.get(piece, math.inf), piece))[:keep]
        counts = Counter({piece: counts[piece] for piece in kept})


def _used(model: Any, words: Counter[str]) -> Counter[str]:
    """How often each piece is used in the words' segmentations."""
    hf = tokenizers.Tokenizer(model)
    used: Counter[int] = Counter()
    for encoding, count in zip(hf.encode_batch_fast(list(words)), words.values(), strict=True):
        for i in encoding.ids:
            used[i] += count
    return Counter({hf.id_to_token(i) or "": count for i, count in used.items()})


def _scores(counts: Counter[str]) -> dict[str, float]:
    total = math.log(counts.total() + len(counts))
    return {piece: math.log(count + 1) - total for piece, count in counts.items()}


def _losses(counts: Counter[str], scores: dict[str, float], parents: dict[str, tuple[str, str]]) -> dict[str, float]:
    """The log-likelihood lost when a piece is replaced by its two parts; none for characters."""
    best = dict(scores)  # parts come before the pieces merged from them; a pruned part is replaced by its own parts
    losses = {}
    for piece, (left, right) in parents.items():
        instead = best[left] + best[right]
        if piece in scores:
            losses[piece] = counts[piece] * (scores[piece] - instead)
        else:
            best[piece] = instead
    return losses


def _numbered(pieces: list[str]) -> dict[str, int]:
    return {piece: i for i, piece in enumerate(pieces)}
