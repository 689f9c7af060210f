"""What a training chooses by itself: preset, pieces, size of the model, passes, metric, and how often to validate.

`plan` is a function of the corpus (`data.kind`), of what the user has chosen, and of the machine's measured speed where
there is a time limit. Its values lie over the preset and under all that the user gives. Every number is in the tables.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from antiphon import files
from antiphon.data.kind import MEANING, Facts, Kind, Texts
from antiphon.errors import UserError
from antiphon.words import counted

Values = dict[str, dict[str, Any]]
Chosen = Mapping[str, Mapping[str, Any]]
Speed = Callable[[str, Values, int, int], float]  # preset, values, source and target pieces -> pairs a second

ALWAYS = math.inf
FILE = "plan.json"  # in a training's `run/`


@dataclass(frozen=True)
class Row:
    """What a corpus of at most so many pairs gets."""

    pairs: float
    pieces: int  # of BPE; for words and characters the most that are kept
    passes: int  # over the data; more of them overfit, fewer have not learnt all
    dropout: float
    batch: int  # pairs in a batch, about
    size: str  # of SIZES; where there is a time limit, the next larger or a smaller one that fits


# Few pairs want few pieces, much dropout, small batches and many passes (Sennrich and Zhang 2019). SRU cells (`fast`)
# learn more in the same minutes than LSTMs up to about 200,000 pairs; above, there is time for larger models.
SENTENCES = (
    Row(1_500, 1_000, 60, 0.3, 32, "narrow"),
    Row(3_500, 1_500, 40, 0.3, 48, "usual"),
    Row(12_000, 2_000, 24, 0.3, 64, "usual"),
    Row(25_000, 3_000, 16, 0.2, 100, "usual"),
    Row(60_000, 4_000, 12, 0.2, 130, "usual"),
    Row(200_000, 8_000, 8, 0.1, 160, "wide"),
    Row(500_000, 12_000, 6, 0.1, 200, "small"),
    Row(2_000_000, 16_000, 4, 0.1, 320, "base"),
    Row(ALWAYS, 24_000, 2, 0.1, 320, "base"),
)
# Long sources make an update dear, so that batches are smaller; names are copied, not learnt.
SUMMARIES = (
    Row(1_500, 2_000, 40, 0.3, 24, "narrow"),
    Row(5_000, 4_000, 20, 0.2, 48, "usual"),
    Row(60_000, 6_000, 12, 0.2, 96, "usual"),
    Row(500_000, 12_000, 5, 0.1, 128, "wide"),
    Row(ALWAYS, 16_000, 2, 0.1, 128, "wide"),
)
# Every letter counts: LSTMs, which count and copy better than SRUs, small ones, because there are few symbols.
SPELLINGS = (
    Row(1_500, 500, 50, 0.3, 32, "letters"),
    Row(10_000, 1_000, 25, 0.3, 90, "letters"),
    Row(50_000, 2_000, 14, 0.2, 128, "letters"),
    Row(ALWAYS, 6_000, 8, 0.1, 256, "many letters"),
)
# A closed vocabulary is learnt soon, so that passes are few where pairs are many.
COMMANDS = (
    Row(3_000, 1_000, 40, 0.1, 32, "letters"),
    Row(30_000, 1_000, 16, 0.1, 64, "letters"),
    Row(ALWAYS, 1_000, 5, 0.1, 128, "letters"),
)
ROWS: dict[Kind, tuple[Row, ...]] = {
    "sentences": SENTENCES, "summaries": SUMMARIES, "spellings": SPELLINGS, "commands": COMMANDS,
}  # fmt: skip

# Sizes of the network, the smallest first. A larger one learns more from a pass and takes longer for it.
LADDERS = ("narrow", "usual", "wide", "widest", "small", "base"), ("letters", "many letters")
SIZES: dict[str, dict[str, Any]] = {
    "narrow": {"embedding": 192, "encoder_hidden": 96, "decoder_hidden": 192, "attention_size": 192, "heads": 4},
    "usual": {"embedding": 256, "encoder_hidden": 128, "decoder_hidden": 256, "attention_size": 256, "heads": 4},
    "wide": {"embedding": 384, "encoder_hidden": 192, "decoder_hidden": 384, "attention_size": 384, "heads": 8},
    "widest": {"embedding": 512, "encoder_hidden": 256, "decoder_hidden": 512, "attention_size": 512, "heads": 8},
    "letters": {"embedding": 64, "encoder_hidden": 128, "decoder_hidden": 256, "attention_size": 128, "heads": 1},
    "many letters": {"embedding": 128, "encoder_hidden": 192, "decoder_hidden": 384, "attention_size": 256, "heads": 2},
    "small": {},  # as the preset of this name has it
    "base": {},
}
# Pairs that a size should see, repeated ones too, before it is ahead of the next smaller one; the passes of a large
# corpus need not be complete.
WORTH = {"usual": 1e5, "wide": 4e5, "widest": 7e5, "small": 1.5e6, "base": 6e6, "many letters": 5e5}
LEARNING_RATE = {"wide": 2e-3, "widest": 2e-3}  # of Adam; the others take the preset's

TRAINED = 0.85  # of the minutes; validations, checkpoints and the first preparation take the rest
SPARE = 2  # times the passes of the table at most, where there is time; more would only overfit
VALIDATED = 0.1  # of the time at most goes into decoding development pairs
DECODING = 1.5  # times as long as an update's share takes a pair to decode
VALIDATIONS = 2, 12  # at least, at most
FROM = 0.5  # of the passes: before, validations report the loss alone, because the best model comes late
WARMUP = 150, 0.1  # updates at most, and share of all updates
EMA = ((600, 0.97), (8_000, 0.99), (ALWAYS, 0.998))  # updates at most, and decay: averages over about a tenth
PIECES_A_WORD = 1.3  # of BPE, for the length of texts
CHARACTERS_A_PIECE = 1.5  # in scripts without spaces
PADDING = 1.1
SHORT_LINE = 15  # characters; where both sides have no spaces and lines are as short, every character is a piece
LONGEST = {"summaries": 400, "sentences": 600, "spellings": 600, "commands": 600}  # pieces of a text at most


@dataclass(frozen=True)
class Plan:
    """The options chosen, and why."""

    preset: str
    values: Values  # section -> key -> value
    reasons: list[str]  # for people


def plan(facts: Facts, kind: Kind, chosen: Chosen, speed: Speed | None = None) -> Plan:
    """Choose the options of a training.

    Args:
        facts: the corpus.
        kind: what it looks like.
        chosen: what the user has given, by section and key: it stays as it is, and the plan fits it.
        speed: measures this machine; used where `chosen` has train.minutes.
    """
    row = next(row for row in ROWS[kind] if facts.pairs <= row.pairs)
    unit, why_unit = _unit(facts, kind, chosen)
    text = _text(facts, kind, row, unit, chosen)
    lengths = _pieces(facts.source, unit), _pieces(facts.target, unit)
    batch = int(chosen.get("train", {}).get("batch") or _rounded(row.batch * (lengths[1] + 1) * PADDING))
    base = {"text": text, "data": _limits(facts, kind, unit), "train": {"batch": batch}, "search": _search(kind)}

    def sized(size: str) -> Values:
        return base | {"model": _model(kind, row, size, text["joint"], chosen)}

    minutes = chosen.get("train", {}).get("minutes", 0)
    size, fitting = row.size, ALWAYS
    if minutes and speed:
        size, fitting = _fitted(
            facts.pairs, row, minutes, lambda size: speed(_preset(size), sized(size), *map(int, lengths))
        )
    values = sized(size)
    epochs = min(SPARE * row.passes, max(row.passes, fitting)) if fitting < ALWAYS else row.passes
    # However many passes the user asks for, validations come as often as in the longest training of the table.
    passes = min(float(chosen.get("train", {}).get("epochs", epochs)), fitting, SPARE * row.passes)
    updates = max(1.0, passes * facts.pairs * (lengths[1] + 1) * PADDING / batch)
    values["train"] |= _train(kind, facts, size, math.ceil(epochs), passes, updates)
    return Plan(_preset(size), values, [
        f"the data look like {kind}: {MEANING[kind]}",
        why_unit.format(pieces=text["size"]),
        *_why_size(row, size, fitting, minutes, facts.pairs),
        _why_metric(kind, values["train"]["metric"], facts.target),
    ])  # fmt: skip


def write(run: Path, plan: Plan) -> None:
    """Keep what was chosen in a training's folder `run/`."""
    files.write(run / FILE, json.dumps(asdict(plan), ensure_ascii=False, indent=1) + "\n")


def read(run: Path) -> Plan | None:
    """What was chosen when a training began; None: it begins now.

    Raises:
        UserError: the file is damaged.
    """
    path = run / FILE
    if not path.is_file():
        return None
    try:
        return Plan(**json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError) as e:
        raise UserError(f"{path}: damaged ({e}); delete {run} to start again") from e


def named(chosen: Chosen) -> Values:
    """What is added to a preset or a model that the user names: with minutes, the time decides when it ends."""
    return {"train": {"epochs": 1000.0}} if chosen.get("train", {}).get("minutes") else {}


def _preset(size: str) -> str:
    return "fast" if SIZES[size] else size


def _unit(facts: Facts, kind: Kind, chosen: Chosen) -> tuple[str, str]:
    """The kind of pieces, and why."""
    own = chosen.get("text", {})
    if "kind" in own or own.get("dropout"):
        unit = str(own.get("kind", "bpe"))
        return unit, f"pieces: {unit}, as you ask"
    source, target = facts.source, facts.target
    if kind == "commands":
        return "word", "pieces: whole words, because the vocabulary is closed"
    if kind == "spellings":
        if max(source.one_word, target.one_word) < 0.5:
            return "word", "pieces: the symbols between the spaces"
        return "char", "pieces: characters rather than subwords, because every letter counts"
    if min(source.unspaced, target.unspaced) > 0.5 and target.characters <= SHORT_LINE:
        return "char", "pieces: characters, because lines are short and the script has no spaces"
    return "bpe", f"pieces: {{pieces:,}} subwords (BPE), as many as {counted(facts.pairs, 'pair')} can teach"


def _text(facts: Facts, kind: Kind, row: Row, unit: str, chosen: Chosen) -> dict[str, Any]:
    own = chosen.get("text", {})
    pieces = row.pieces
    if unit != "bpe" and unit != "unigram":
        pieces = 1_000 if kind in ("spellings", "commands") else 6_000
    pieces = max(pieces, _alphabet(facts)) if unit != "word" else pieces
    separate = kind in ("spellings", "commands") and chosen.get("model", {}).get("tie") != "all"
    joint = bool(own.get("joint", not separate and not own.get("source_size")))
    return {"kind": unit, "size": pieces, "joint": joint}


def _alphabet(facts: Facts) -> int:
    """The least number of pieces where scripts have many characters: all that are not rare, and as many words."""
    used = max(facts.source.used_characters, facts.target.used_characters)
    return _rounded(2 * used, 500) if used > 300 else 0


def _limits(facts: Facts, kind: Kind, unit: str) -> dict[str, Any]:
    """The longest texts, raised where too many pairs would be left out."""
    limits = {}
    for side, texts in (("source", facts.source), ("target", facts.target)):
        longest = (
            texts.long_characters
            if unit == "char"
            else PIECES_A_WORD * max(texts.long_words, texts.long_characters / 6)
        )
        if longest > 200:
            limits[f"max_{side}_length"] = max(256, min(LONGEST[kind], _rounded(1.3 * longest)))
    return limits


def _search(kind: Kind) -> dict[str, Any]:
    options: dict[Kind, dict[str, Any]] = {
        "summaries": {"block_ngrams": 3},  # summaries repeat themselves
        "spellings": {"length_penalty": "none"},
        "commands": {"length_penalty": "none", "beam": 1},
    }
    return options.get(kind, {})


def _model(kind: Kind, row: Row, size: str, joint: bool, chosen: Chosen) -> dict[str, Any]:
    own, dropouts = chosen.get("model", {}), ("dropout_embedding", "dropout_recurrent", "dropout_output")
    values: dict[str, Any] = dict.fromkeys(dropouts, row.dropout) | SIZES[size]
    if kind in ("spellings", "commands"):
        values |= {"cell": "lstm"}
    if not joint:
        values["tie"] = "none" if kind in ("spellings", "commands") else "decoder"
    if kind == "summaries" and joint and "decoder" not in own:
        values["copy_source"] = True
    if own.get("score", "multi_head") != "multi_head":
        values["heads"] = 1
    if own.get("decoder_layers") == 1:
        values["decoder"] = "over_outputs"
    return values


def _train(kind: Kind, facts: Facts, size: str, epochs: int, passes: float, updates: float) -> dict[str, Any]:
    decoded = min(500, max(1, facts.pairs // 10))
    possible = VALIDATED * passes * facts.pairs / (DECODING * decoded) / FROM
    validations = max(VALIDATIONS[0], min(VALIDATIONS[1], round(possible)))
    values = {
        "epochs": float(epochs),
        "warmup": max(1, min(WARMUP[0], round(WARMUP[1] * updates))),
        "ema": next(decay for most, decay in EMA if updates <= most),
        "metric": _metric(kind, facts.target),
        "valid_every": max(1, round(updates / validations)),
        "valid_start": round(FROM * passes, 2),
        "patience": 0,
    }
    if size in LEARNING_RATE:
        values["learning_rate"] = LEARNING_RATE[size]
    return values | ({"label_smoothing": 0.0} if kind == "commands" else {})


def _metric(kind: Kind, target: Texts) -> str:
    names: dict[Kind, str] = {"spellings": "exact_match", "commands": "exact_match", "summaries": "rougeL"}
    return "chrf" if target.unspaced > 0.5 and kind != "spellings" else names.get(kind, "bleu")


def _pieces(texts: Texts, unit: str) -> float:
    """Pieces of a text, on average."""
    if unit == "char":
        return texts.mean_characters
    if texts.unspaced > 0.5:
        return texts.mean_characters / CHARACTERS_A_PIECE
    return texts.mean_words * (1 if unit == "word" else PIECES_A_WORD) + 1


def _fitted(pairs: int, row: Row, minutes: float, speed: Callable[[str], float]) -> tuple[str, float]:
    """The largest size that sees enough in time, else the smallest, and how many passes it makes."""
    ladder = next(sizes for sizes in LADDERS if row.size in sizes)

    def passes(size: str) -> float:
        return TRAINED * minutes * 60 * speed(size) / max(1, pairs)

    def enough(size: str, fitting: float) -> bool:
        return fitting >= min(row.passes, WORTH.get(size, 0) / max(1, pairs))

    at = ladder.index(row.size)
    fitting = passes(row.size)
    while at > 0 and not enough(ladder[at], fitting):
        at -= 1
        fitting = passes(ladder[at])
    if ladder[at] == row.size != ladder[-1] and fitting > SPARE * row.passes:
        larger = passes(ladder[at + 1])
        if larger >= row.passes:
            return ladder[at + 1], larger
    return ladder[at], fitting


def _why_size(row: Row, size: str, fitting: float, minutes: float, pairs: int) -> Iterator[str]:
    units = f", decoder of {SIZES[size]['decoder_hidden']} units" if SIZES[size] else ""
    network = f"model: preset {_preset(size)}{units}"
    if fitting == ALWAYS:
        yield f"{network}; {counted(row.passes, 'pass', 'passes')} over the data, for {counted(pairs, 'pair')}"
    elif fitting < row.passes:
        yield (
            f"{network}, which learns most in so short a time: {minutes:g} min on this machine are about "
            f"{fitting:.1f} passes over the data, and {row.passes} would be better, so more minutes give a better model"
        )
    elif fitting <= SPARE * row.passes:
        yield (
            f"{network}, the largest that learns enough in {minutes:g} min on this machine: about {fitting:.0f} passes "
            "over the data"
        )
    else:
        yield (
            f"{network}; {SPARE * row.passes} passes over the data, which end before {minutes:g} min are over: more "
            "would only be learnt by heart"
        )


def _why_metric(kind: Kind, metric: str, target: Texts) -> str:
    reasons: dict[Kind, str] = {
        "spellings": "the share of outputs that are wholly right",
        "commands": "the share of outputs that are wholly right",
        "summaries": "the longest common subsequence with the reference",
        "sentences": "overlap with the reference",
    }
    why = "overlap of characters, because the target has no spaces" if metric == "chrf" else reasons[kind]
    return f"the best model is chosen by {metric}: {why}"


def _rounded(number: float, to: int = 100) -> int:
    """Rounded up to a whole multiple."""
    return to * math.ceil(number / to)
