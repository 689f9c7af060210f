"""The model folder: everything that a trained model needs, without pickles, and a card that describes it.

config.json          format, version and the whole configuration; written last, so that a folder with it is complete
tokenizer.json       one vocabulary for both sides; otherwise tokenizer.source.json and tokenizer.target.json
model.safetensors    the weights by name, float32; tied weights are there once
README.md            the card: what the model is, what made it, how good it is, how to use it
"""

import html
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from antiphon.config import loading
from antiphon.config.kinds import DECODERS
from antiphon.config.sections import Config
from antiphon.data.tokenizer import Tokenizer
from antiphon.errors import UserError, near
from antiphon.evaluation.metrics import Score
from antiphon.files import write_all
from antiphon.version import __version__

FORMAT = "antiphon model"
VERSION = 1
CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
JOINT, SEPARATE = ["tokenizer.json"], ["tokenizer.source.json", "tokenizer.target.json"]

# Files that folders of other toolkits have; if a folder has several, the first one counts.
FOREIGN = {
    "model.bin": "CTranslate2",
    "params.best": "Sockeye",
    "*.npz": "Marian",
    "*.ckpt": "Joey NMT or PyTorch Lightning",
    "pytorch_model*.bin": "Hugging Face transformers",
    "*.pt": "PyTorch (a pickle)",
    "*.pth": "PyTorch (a pickle)",
    "*.onnx": "ONNX",
}
PICKLES = (".pt", ".pth", ".ckpt", ".bin", ".pkl")


class Sample(NamedTuple):
    """A held-out pair and the model's output."""

    source: str
    output: str
    reference: str


@dataclass(frozen=True)
class Card:
    """What a model folder's README.md says about the model."""

    command: str  # the command that made it
    data: str  # the corpora
    pairs: int  # training pairs
    parameters: int
    updates: int
    epochs: float
    minutes: float
    seed: int
    scores: Sequence[Score] = ()
    samples: Sequence[Sample | tuple[str, str, str]] = ()  # source, output, reference
    version: str = __version__  # of Antiphon
    recombined: int = 0  # pairs made from the training pairs and added to them


@dataclass(frozen=True)
class ModelFolder:
    """A model folder that was opened; its weights are read by `weights`."""

    path: Path
    config: Config
    source: Tokenizer
    target: Tokenizer  # the same object if the vocabulary is joint

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """Read the weights.

        Raises:
            UserError: their file is missing or damaged.
        """
        path = self.path / WEIGHTS
        try:
            weights = safetensors.numpy.load_file(path)
        except FileNotFoundError as e:
            raise UserError(f"{path}: missing; copy the whole model folder again, or train again") from e
        except (OSError, SafetensorError, KeyError, ValueError, TypeError) as e:
            raise UserError(f"{path}: damaged or not safetensors: {e}; copy it again, or train again") from e
        return {name: np.asarray(weight, np.float32) for name, weight in weights.items()}


def save(
    path: str | Path,
    config: Config,
    source: Tokenizer,
    target: Tokenizer,
    weights: Mapping[str, NDArray[np.floating[Any]]],
    card: Card | None = None,
) -> None:
    """Write a model folder, or a newer model into one.

    All of it is on the disk before anything is replaced, so that a full disk leaves an earlier model as it was.

    Args:
        path: the folder; made if missing.
        config: the whole configuration.
        source, target: the tokenizers, equal if `config.text.joint`.
        weights: by the names of the model's `named_parameters()`.
        card: what README.md says; None: README.md is not written.

    Raises:
        UserError: the folder cannot be made, or the disk is full.
    """
    folder = Path(path)
    names, others = (JOINT, SEPARATE) if config.text.joint else (SEPARATE, JOINT)
    document = {"format": FORMAT, "version": VERSION, "antiphon": __version__, "config": config.model_dump(mode="json")}
    files = {name: side.to_json().encode() for name, side in zip(names, (source, target), strict=False)}
    files[WEIGHTS] = safetensors.numpy.save({k: np.ascontiguousarray(v, np.float32) for k, v in weights.items()})
    if card is not None:
        files[CARD] = _card(folder.resolve().name, config, source, target, card).encode()
    files[CONFIG] = json.dumps(document, indent=1, ensure_ascii=False).encode()
    write_all(folder, files, last=CONFIG, stale=others)


def load(path: str | Path) -> ModelFolder:
    """Open a model folder.

    Raises:
        UserError: there is no such folder, it is not a model folder or one of another toolkit, or a file of it is
            missing, damaged or of a newer version.
    """
    folder = Path(path)
    _check_folder(folder)
    document = _document(folder)
    try:
        config = loading.from_dict(document.get("config"), str(folder / CONFIG))
    except UserError as e:
        written = document.get("antiphon")
        hint = "" if written == __version__ else f"; it was written by Antiphon {written}, and this is {__version__}"
        raise UserError(f"{e}{hint}") from e
    sides = [_tokenizer(folder / name) for name in (JOINT if config.text.joint else SEPARATE)]
    return ModelFolder(folder, config, sides[0], sides[-1])


def _check_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    if folder.is_file():
        pickle = folder.suffix in PICKLES
        what = "a pickle, which could run any program and is never opened" if pickle else "a file"
        parent = folder.absolute().parent
        advice = f"give its folder, {parent}" if (parent / CONFIG).is_file() else "give a model folder"
        raise UserError(f"{folder}: {what}, not a model folder; {advice}")
    parent = folder.absolute().parent
    if not parent.is_dir():
        raise UserError(f"{folder}: no such model folder, and no folder {parent}")
    with suppress(OSError):
        models = [p.name for p in parent.iterdir() if (p / CONFIG).is_file()]
        raise UserError(f"{folder}: no such model folder{near(folder.name, models) if models else ''}")
    raise UserError(f"{folder}: no such model folder, and {parent} cannot be read")


def _document(folder: Path) -> dict[str, Any]:
    """Read config.json and check that it is a model of ours."""
    path = folder / CONFIG
    try:
        document = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as e:
        raise UserError(f"{folder}: not a model folder: it has no {CONFIG}{_foreign(folder)}") from e
    except OSError as e:
        raise UserError(f"{path}: cannot be read: {e.strerror}") from e
    except ValueError as e:
        raise UserError(f"{path}: damaged, not JSON: {e}; copy the model folder again, or train again") from e
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise UserError(f"{path}: not written by Antiphon{_foreign(folder, document)}")
    if document.get("version") != VERSION:
        raise UserError(
            f"{path}: version {document.get('version')} of the model folder, written by Antiphon "
            f"{document.get('antiphon')}; this is Antiphon {__version__}, which reads version {VERSION}: "
            "install a newer version of Antiphon"
        )
    return document


def _foreign(folder: Path, document: Any = None) -> str:
    """What a folder that is not a model of ours may be, and what to do."""
    if document is None and (folder / "run").is_dir():
        return "; a training has begun here but has not saved a model yet: wait, or run the same command again"
    toolkit = next((name for pattern, name in FOREIGN.items() if any(folder.glob(pattern))), "")
    if isinstance(document, dict) and ("model_type" in document or "architectures" in document):
        toolkit = "Hugging Face transformers"
    if toolkit:
        return f": it looks like a model of {toolkit}, which Antiphon cannot open; give a folder from `antiphon train`"
    return "; give a folder from `antiphon train`"


def _tokenizer(path: Path) -> Tokenizer:
    try:
        return Tokenizer.from_json(path.read_text("utf-8"), str(path))
    except FileNotFoundError as e:
        raise UserError(f"{path}: missing; copy the whole model folder again, or train again") from e
    except UnicodeDecodeError as e:
        raise UserError(f"{path}: damaged: not UTF-8 at byte {e.start}; copy it again, or train again") from e
    except OSError as e:
        raise UserError(f"{path}: cannot be read: {e.strerror}") from e


def _card(name: str, config: Config, source: Tokenizer, target: Tokenizer, card: Card) -> str:
    m = config.model
    directions = "bidirectional " if m.bidirectional else ""
    vocabulary = f"{len(source):,} {config.text.kind} pieces" + (
        ", both sides in one" if config.text.joint else f" of the source, {len(target):,} of the target"
    )
    facts = {
        "Encoder": f"{directions}{m.cell.upper()}, {m.encoder_layers} x {m.encoder_hidden} units",
        "Decoder": f"{m.cell.upper()}, {m.decoder_layers} x {m.decoder_hidden} units: {DECODERS[m.decoder].words}"
        + ("; it can copy pieces of the source (See 2017)" if m.copy_source else ""),
        "Vocabulary": vocabulary,
        "Parameters": f"{card.parameters:,}",
        "Data": _escaped(card.data),
        "Training pairs": f"{card.pairs:,}"
        + (f", {card.recombined:,} recombined ones added" if card.recombined else ""),
        "Training": f"{card.updates:,} updates, {card.epochs:.1f} epochs, {card.minutes:.1f} minutes",
        "Preset": _escaped(config.preset or "none"),
        "Seed": str(card.seed),
        "Antiphon": _escaped(card.version),
    }
    text = card.samples[0][0] if card.samples else "A text."
    parts = [
        f"# {_escaped(name)}",
        "A sequence-to-sequence model built on recurrent networks, trained with Antiphon.",
        _table(["", ""], [[key, value] for key, value in facts.items()]),
        "Made by:" if card.command else "",
        _fenced(card.command, "sh") if card.command else "",
        "## Scores" if card.scores else "",
        _table(
            ["metric", "value", "signature"],
            [[s.name, f"{s.value:.2f}", _escaped(s.signature + (f" ({s.note})" if s.note else ""))]
             for s in card.scores],
        ) if card.scores else "",
        "## Samples" if card.samples else "",
        _table(["source", "output", "reference"], [[_escaped(part) for part in sample] for sample in card.samples])
        if card.samples else "",
        "## Use",
        "In the shell:",
        _fenced(f"echo {shlex.quote(text)} | antiphon generate {shlex.quote(name)}", "sh"),
        "In Python:",
        _fenced(
            f"from antiphon import Seq2Seq\n\nmodel = Seq2Seq.load({_quoted(name)})\n"
            f"for result in model.generate([{_quoted(text)}]):\n    print(result.text)",
            "python",
        ),
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _escaped(text: str) -> str:
    """Any text as plain words on one line of Markdown."""
    one_line = html.escape(" ".join(text.split()), quote=False)
    return re.sub(r"([\\`*_\[\]|~#$])", r"\\\1", one_line)


def _fenced(text: str, language: str) -> str:
    """A block of code whose fence is longer than any that the text could close it with."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{text}\n{fence}"


def _quoted(text: str) -> str:
    """A Python string literal that shows every script as it is."""
    return json.dumps(text, ensure_ascii=False)
