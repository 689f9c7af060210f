"""Preparing a run's data: tokenizers, a store of tokenised pairs, and development pairs.

All are written to one folder; `prepared.json`, written last, says what they were made from. The same command uses them
again; other data or options than before are an error that says what has changed.
"""

import hashlib
import heapq
import json
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from antiphon.config.sections import Config, Data, Text
from antiphon.data import store
from antiphon.data.codec import Codec
from antiphon.data.corpus import Pair, read, records
from antiphon.data.recombine import recombine
from antiphon.data.slots import Slots
from antiphon.data.store import Store
from antiphon.data.tokenizer import Tokenizer
from antiphon.errors import UserError
from antiphon.files import told, whole_path, write
from antiphon.words import counted

FORMAT = "antiphon data"
VERSION = 1
STATE = "prepared.json"
VALID = "valid.jsonl"
RECOMBINED = "recombined.jsonl"  # only to be read by people: the pairs are in the store
PROBE = 1000  # pairs that normalisation is tested with before a vocabulary is learnt
EVERY = 10_000  # pairs between two calls of the progress

Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class Prepared:
    """What training reads."""

    train: Store
    valid: list[Pair]
    source: Tokenizer
    target: Tokenizer  # the same object as `source` where the vocabulary is joint
    pairs: int  # in the training corpora, as read
    recombined: int = 0  # added to them


def prepare(
    folder: Path,
    config: Config,
    progress: Progress | None = None,
    vocabulary: Callable[[], tuple[Tokenizer, Tokenizer]] | None = None,
) -> Prepared:
    """Prepare a run's data in a folder, or open them if they are prepared already.

    If no development corpus is given, `data.held_out` pairs are held out, at most a tenth of all and half of the
    distinct ones. They are those with the lowest hashes, so that the choice depends on the pairs and not on their
    order, and no duplicate of one is trained on.

    Args:
        folder: where the data are kept; made if missing.
        config: the run; its sections data and text are used, and its seed for BPE-dropout and recombined pairs.
        progress: called with the stage, the number of pairs done and, if known, the number of all.
        vocabulary: gives the tokenizers, called if the data are not prepared yet; None: they are learnt.

    Raises:
        UserError: bad data, no pairs left, a folder prepared with other data or options, a full disk.
    """
    report = progress or (lambda stage, done, total: None)
    if not config.data.train:
        raise UserError("no training data: set data.train to a corpus, such as pairs.tsv or text.en,text.de")
    with told(folder):
        folder.mkdir(parents=True, exist_ok=True)
    data = _spooled(folder, config.data)
    state = _read_state(folder)
    origin = _origin(data, config, state)
    if state is None:
        return _prepare(folder, config.model_copy(update={"data": data}), origin, report, vocabulary)
    changes = _changes(state, origin)
    if changes:
        raise UserError(
            f"{folder} was prepared with other data or options: {'; '.join(changes)}; write the new run to another "
            "folder, or delete the old one to start again"
        )
    return _load(folder, state)


def training_pairs(data: Data, folder: Path | None = None) -> Iterator[tuple[str, str]]:
    """The sources and targets of the training corpora, for a look at them before they are prepared.

    Without a folder, what cannot be read is left out: a training reports it. Standard input needs a folder:
    it is kept there, as `prepare` does, so that it can be read again.
    """
    if folder is None:
        for spec in data.train:
            with suppress(UserError):
                yield from (record[:2] for record in records(spec, data.source, data.target) if not record.kind)
        return
    with told(folder):
        folder.mkdir(parents=True, exist_ok=True)
    yield from _read(_spooled(folder, data), "train")


# What was prepared, and what is asked for now


def _origin(data: Data, config: Config, state: dict[str, Any] | None) -> dict[str, Any]:
    """Everything that the prepared data depend on: options by name, corpora by content."""
    options = {f"data.{k}": v for k, v in data.model_dump(exclude={"train", "valid"}).items()}
    options |= {f"text.{k}": v for k, v in config.text.model_dump().items()}
    del options["text.vocabulary"]
    if config.train.start and config.text.vocabulary == "keep":
        options["train.start"] = config.train.start
    if data.valid:
        del options["data.held_out"]
    if not data.recombine:
        del options["data.recombine"]
    if config.text.hyphens == "keep":
        del options["text.hyphens"]
    if not config.text.slots:
        del options["text.slots"], options["text.slot_constants"]
    if config.text.dropout or data.recombine:
        options["train.seed"] = config.train.seed
    if not config.text.dropout:
        del options["text.dropout_copies"]
    known = state["files"] if state else {}
    files = {str(path): _identify(path, known.get(str(path))) for path in map(Path, _all_files(data))}
    corpora = {
        name: [[spec, [files[f]["sha256"] for f in _files(spec)]] for spec in specs]
        for name, specs in (("data.train", data.train), ("data.valid", data.valid))
    }
    return {"options": options, "corpora": corpora, "files": files}


def _identify(path: Path, known: dict[str, Any] | None) -> dict[str, Any]:
    """A file's size, time and content; the content is read only if size or time are new."""
    if not path.is_file():
        return {"size": 0, "time": 0, "sha256": ""}  # reading it will raise the error
    stat = path.stat()
    if known and (known["size"], known["time"]) == (stat.st_size, stat.st_mtime_ns):
        return known
    return {"size": stat.st_size, "time": stat.st_mtime_ns, "sha256": _digest(path)}


def _digest(path: Path) -> str:
    with told(path, "cannot be read"), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fingerprint(origin: dict[str, Any]) -> str:
    contents = {name: [digests or spec for spec, digests in some] for name, some in origin["corpora"].items()}
    text = json.dumps([VERSION, origin["options"], contents], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _changes(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What differs between two origins, in words; a file that only moved does not."""
    changes = []
    for name in sorted(old["options"].keys() | new["options"].keys()):
        was, now = old["options"].get(name), new["options"].get(name)
        if was != now:
            changes.append(f"{name} was {_show(was)} and is {_show(now)}")
    for name, corpora in new["corpora"].items():
        before = old["corpora"][name]
        if len(before) != len(corpora):
            changes.append(f"{name} was {_show([spec for spec, _ in before])} and is {_show([s for s, _ in corpora])}")
            continue
        for (spec, digests), (old_spec, old_digests) in zip(corpora, before, strict=True):
            if digests != old_digests or (not digests and spec != old_spec):
                now = "has changed" if spec == old_spec else f"is not what {old_spec} was"
                changes.append(f"{name}: {spec} {now}")
    return changes


def _show(value: Any) -> str:
    return "not set" if value is None else json.dumps(value, ensure_ascii=False)


def _read_state(folder: Path) -> dict[str, Any] | None:
    path = folder / STATE
    if not path.is_file():
        return None
    try:
        state = json.loads(path.read_text("utf-8"))
        known = (state["format"], state["version"]) == (FORMAT, VERSION) and {"pairs", "fingerprint"} <= state.keys()
    except (ValueError, KeyError, TypeError):
        known = False
    if not known:
        raise UserError(f"{path}: not written by this version of Antiphon, or damaged; delete {folder} to start again")
    return dict(state)


# Standard input and other corpora


def _spooled(folder: Path, data: Data) -> Data:
    """The same data with a copy in place of standard input, because corpora are read more than once."""
    pipes = [spec for spec in (*data.train, *data.valid) if _is_pipe(spec)]
    if not pipes:
        return data
    if len(pipes) > 1:
        raise UserError("standard input (-) is given twice in data.train and data.valid; it can be read only once")
    path = str(_spool(folder, pipes[0]))
    swap = partial(_swap, pipes[0], path)
    return data.model_copy(update={"train": swap(data.train), "valid": swap(data.valid)})


def _swap(old: str, new: str, specs: list[str]) -> list[str]:
    return [new if spec == old else spec for spec in specs]


def _is_pipe(spec: str) -> bool:
    return spec == "-" or spec.startswith("-:")


def _spool(folder: Path, spec: str) -> Path:
    """Copy standard input into the folder; where it is empty or a terminal, an earlier copy is used."""
    path = folder / f"stdin.{spec.partition(':')[2] or 'tsv'}"
    if path.is_file() and sys.stdin.isatty():
        return path
    first = sys.stdin.buffer.read(1 << 20)
    if path.is_file() and not first:
        return path
    with whole_path(path) as unfinished:
        with unfinished.open("wb") as file:
            file.write(first)
            shutil.copyfileobj(sys.stdin.buffer, file, 1 << 20)
        if (folder / STATE).is_file() and not (path.is_file() and _digest(path) == _digest(unfinished)):
            raise UserError(
                f"{folder} was prepared with other data: standard input has changed; write the new run to another "
                "folder, or delete the old one to start again"
            )
    return path


def _files(spec: str) -> list[str]:
    """The files of a corpus; none where it is not on this disk."""
    if spec.startswith("hf:"):
        return []
    return spec.split(",") if "," in spec and not Path(spec).exists() else [spec]


def _all_files(data: Data) -> list[str]:
    return [file for spec in (*data.train, *data.valid) for file in _files(spec)]


def _read(data: Data, name: str) -> Iterator[Pair]:
    for spec in getattr(data, name):
        yield from read(spec, data.source, data.target)


def _has_text(pair: Pair) -> bool:
    return bool(pair.source.strip() and pair.target.strip())


# Preparing


def _prepare(
    folder: Path,
    config: Config,
    origin: dict[str, Any],
    report: Progress,
    vocabulary: Callable[[], tuple[Tokenizer, Tokenizer]] | None,
) -> Prepared:
    data, text = config.data, config.text
    slots = Slots(text.slots, text.slot_constants)
    pairs = _counted(_read(data, "train"), "reading", None, report)
    survey = _survey(pairs, 0 if data.valid else data.held_out)
    valid = list(filter(_has_text, _read(data, "valid"))) if data.valid else list(survey.held.values())
    _check_survey(survey, data, valid)
    _check_text(config, survey.probe)

    def training(stage: str) -> Iterator[Pair]:
        kept = (pair for pair in _read(data, "train") if not survey.held or _hash(pair) not in survey.held)
        return _counted(kept, stage, survey.pairs, report)

    learn = vocabulary or partial(_learn, config, slots, partial(training, "learning the vocabulary"))
    source, target = learn()
    for name, tokenizer in zip(_tokenizer_names(text.joint), (source, target), strict=False):
        write(folder / name, tokenizer.to_json())
    rows = ({"source": pair.source, "target": pair.references} for pair in valid)
    write(folder / VALID, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    made = _recombined(folder, config, training, valid, report) if data.recombine else []
    store.build(
        folder / "train",
        chain(training("tokenising"), made),
        Codec(source, target, slots),
        max_source=data.max_source_length,
        max_target=data.max_target_length,
        dropout=text.dropout,
        copies=text.dropout_copies if text.dropout else 1,
        seed=config.train.seed,
        fingerprint=_fingerprint(origin),
        total=survey.pairs + len(made),
    )
    counts = {"pairs": survey.pairs, "recombined": len(made)}
    state = {"format": FORMAT, "version": VERSION, **counts, "fingerprint": _fingerprint(origin)} | origin
    write(folder / STATE, json.dumps(state, ensure_ascii=False, indent=1))
    return _load(folder, state)


def _recombined(
    folder: Path,
    config: Config,
    training: Callable[[str], Iterator[Pair]],
    valid: list[Pair],
    report: Progress,
) -> list[Pair]:
    """Recombine training pairs; none of the new ones has the source of a development pair."""
    known = {pair.source for pair in valid}
    made = recombine(training("learning fragments"), config.data.recombine, config.train.seed, known, report)
    rows = ({"source": pair.source, "target": pair.target} for pair in made)
    write(folder / RECOMBINED, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return made


def _load(folder: Path, state: dict[str, Any]) -> Prepared:
    names = _tokenizer_names(state["options"]["text.joint"])
    tokenizers = [Tokenizer.from_json(_read_text(folder / name), str(folder / name)) for name in names]
    train = Store.open(folder / "train")
    if train.fingerprint != state["fingerprint"]:
        raise UserError(f"{train.folder}: belongs to other data than {folder / STATE}; delete {folder} to start again")
    try:
        valid = [_from_row(json.loads(line)) for line in _read_text(folder / VALID).split("\n") if line]
    except (ValueError, TypeError, KeyError, IndexError) as e:
        raise UserError(f"{folder / VALID}: damaged ({e}); delete {folder} to start again") from e
    return Prepared(train, valid, tokenizers[0], tokenizers[-1], state["pairs"], state.get("recombined", 0))


def _from_row(row: dict[str, Any]) -> Pair:
    first, *others = [row["target"]] if isinstance(row["target"], str) else row["target"]
    return Pair(row["source"], first, others)


def _tokenizer_names(joint: bool) -> list[str]:
    return ["tokenizer.json"] if joint else ["tokenizer.source.json", "tokenizer.target.json"]


def _read_text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise UserError(f"{path}: missing or damaged; delete {path.parent} to prepare the data again") from e


def _counted(pairs: Iterable[Pair], stage: str, total: int | None, report: Progress) -> Iterator[Pair]:
    done = 0
    for done, pair in enumerate(pairs, start=1):
        yield pair
        if done % EVERY == 0:
            report(stage, done, total)
    report(stage, done, done)


class _Survey(NamedTuple):
    pairs: int  # all that were read
    sound: int  # those with text on both sides
    held: dict[int, Pair]  # the development pairs by their hash, in its order
    probe: list[Pair]  # some pairs to test normalisation with


def _survey(pairs: Iterable[Pair], most: int) -> _Survey:
    """Count pairs and choose the development pairs, the `most` of lowest hash, in flat memory."""
    total = sound = 0
    lowest: list[int] = []  # a heap of negated hashes: the highest comes first
    chosen: dict[int, Pair] = {}
    size = max(2 * most, PROBE)
    for pair in pairs:
        total += 1
        if not _has_text(pair):
            continue
        sound += 1
        key = _hash(pair)
        if (len(lowest) < size or key < -lowest[0]) and key not in chosen:
            chosen[key] = pair
            heapq.heappush(lowest, -key)
            if len(lowest) > size:
                del chosen[-heapq.heappop(lowest)]
    keys = sorted(chosen)
    held = keys[: min(most, sound // 10, len(keys) // 2)]
    return _Survey(total, sound, {key: chosen[key] for key in held}, [chosen[key] for key in keys[-PROBE:]])


def _hash(pair: Pair) -> int:
    text = f"{pair.source}\0{pair.target}".encode()  # no corpus has a NUL
    return int.from_bytes(hashlib.blake2b(text, digest_size=8, person=b"held out").digest())


def _check_survey(survey: _Survey, data: Data, valid: list[Pair]) -> None:
    corpora = ", ".join(data.train)
    if not survey.sound:
        raise UserError(
            f"{corpora}: all {counted(survey.pairs, 'pair has', 'pairs have')} an empty side; "
            "are these the right columns?"
        )
    if not valid and data.valid:
        raise UserError(f"{', '.join(data.valid)}: all development pairs have an empty side")
    if not valid:
        raise UserError(
            f"{corpora}: {counted(survey.sound, 'pair is', 'pairs are')} too few to hold out development pairs; give "
            "at least 10 different pairs, or name a development corpus in data.valid"
        )


def _learn(config: Config, slots: Slots, pairs: Callable[[], Iterator[Pair]]) -> tuple[Tokenizer, Tokenizer]:
    """Learn the vocabulary, or both; the tokenizer samples a large corpus itself."""
    text = _with_marks(config.text)

    def texts(*sides: int) -> Iterator[str]:
        for pair in pairs():
            hidden = slots.hide(*pair)
            yield from (hidden[side] for side in sides)

    if text.joint:
        tokenizer = Tokenizer.train(texts(0, 1), text, text.size)
        return tokenizer, tokenizer
    source = Tokenizer.train(texts(0), text, text.source_size or text.size)
    return source, Tokenizer.train(texts(1), text, text.size)


def _with_marks(text: Text) -> Text:
    """The options of a vocabulary in which the slots' marks are symbols."""
    return text.model_copy(update={"symbols": [*text.symbols, *Slots(text.slots).marks]})


def _check_text(config: Config, probe: list[Pair]) -> None:
    """Refuse a corpus of which normalisation removes nearly everything, before a vocabulary is learnt."""
    characters = _with_marks(config.text).model_copy(update={"kind": "char", "size": 1 << 21})
    tokenizer = Tokenizer.train((text for pair in probe for text in pair), characters, characters.size)
    for side in store.SIDES:
        texts = [getattr(pair, side) for pair in probe]
        letters = [any(c.isalnum() for c in tokenizer.normalised(text)) for text in texts]
        lost = [text for text, left in zip(texts, letters, strict=True) if not left and any(map(str.isalnum, text))]
        if 2 * len(lost) > len(texts):
            raise UserError(_all_lost(config, side, lost[0], len(lost) / len(texts)))


def _all_lost(config: Config, side: str, example: str, share: float) -> str:
    data = config.data
    corpus = (record for spec in data.train for record in records(spec, data.source, data.target))
    place = next(record.place for record in corpus if getattr(record, side) == example)
    return (
        f"text.normalise = '{config.text.normalise}' leaves nothing of {share:.0%} of the {side} lines, such as "
        f"{place}: {example[:60]!r}; choose another normalisation, such as text.normalise = 'nfc'"
    )
