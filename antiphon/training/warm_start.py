"""Starting a training from a model: its options, its vocabulary and its weights.

The vocabulary of the new run may be another one. A piece that the old model has keeps its rows in the embeddings and
the output layer. A new piece gets the mean of the rows of the old pieces that its text is cut into: as an input it then
means about what they did, and its logit is the mean of theirs, which suits the context as they do. Where no part of it
is known, its rows stay as they were drawn.

Shapes: V pieces of the new vocabulary.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from antiphon import model_folder
from antiphon.config import rules, sections
from antiphon.config.sections import Config, Data
from antiphon.data.tokenizer import Tokenizer
from antiphon.errors import UserError
from antiphon.nn.model import Model

Rows = NDArray[np.float32]

CUTTING = {"vocabulary", "dropout", "dropout_copies"}  # options of [text] that leave a vocabulary as it is


def options(model: str) -> Config:
    """The options that a run takes over from the model it starts from: all but its data and its own start.

    Raises:
        UserError: it cannot be opened; see `folder.load`.
    """
    old = model_folder.load(model).config
    data = Data(max_source_length=old.data.max_source_length, max_target_length=old.data.max_target_length)
    fresh = {"start": "", "source_vectors": "", "target_vectors": ""}
    text = old.text.model_copy(update={"vocabulary": "keep"})
    return old.model_copy(update={"data": data, "text": text, "train": old.train.model_copy(update=fresh)})


def kept(config: Config) -> Callable[[], tuple[Tokenizer, Tokenizer]] | None:
    """What gives a run its vocabulary, where it is that of the model it starts from."""
    keeps = config.train.start and config.text.vocabulary == "keep"
    return partial(vocabulary, config) if keeps else None


def vocabulary(config: Config) -> tuple[Tokenizer, Tokenizer]:
    """The tokenizers of the model that a run starts from.

    Raises:
        UserError: it cannot be opened, or options of [text] ask for another vocabulary than its own.
    """
    opened = model_folder.load(config.train.start)
    for name, old in opened.config.text:
        new = getattr(config.text, name)
        if name not in CUTTING and new != old:
            raise UserError(
                f"text.{name} = {new!r}, but the vocabulary of {config.train.start} has {old!r}: leave it so, or learn "
                "another vocabulary with text.vocabulary = 'learn'"
            )
    return opened.source, opened.target


def begin(model: Model, config: Config, source: Tokenizer, target: Tokenizer) -> str:
    """Set a model's weights to those of the model that its run starts from.

    Args:
        model: with its drawn weights, which stay where the old model has none.
        config: the run.
        source, target: its tokenizers.

    Returns:
        What was done, to be told.

    Raises:
        UserError: the old model cannot be opened, or weights other than a vocabulary's rows do not fit; it names the
            options that differ.
    """
    opened = model_folder.load(config.train.start)
    old = opened.weights()
    sides = {"source": opened.source.parts(source), "target": opened.target.parts(target)}
    by_piece = {
        "source_embedding.weight": sides["source"],
        "target_embedding.weight": sides["target"],
        "output.weight": sides["target"],
        "output.bias": sides["target"],
    }
    drawn = []
    for name, parameter in model.named_parameters():
        found = old.pop(name, None)
        parts = by_piece.get(name)
        first = 0 if parts is None else 1  # of the dimensions that must agree
        if found is None and parts is None:
            drawn.append(name)
            continue
        if found is None or found.shape[first:] != tuple(parameter.shape[first:]):
            raise _misfit(name, found, list(parameter.shape), opened, config)
        rows = found if parts is None else mapped(found, parts, parameter.detach().cpu().numpy())
        with torch.no_grad():
            parameter.copy_(torch.tensor(rows))
    if old:
        raise _misfit(min(old), old[min(old)], None, opened, config)
    said = [f"starting from {config.train.start}"]
    said += [_known(side, parts, getattr(opened, side)) for side, parts in sides.items()]
    if drawn:
        said.append(f"drawn anew, since it has none: {', '.join(drawn)}{_changes(opened.config.model, config.model)}")
    return "; ".join(text for text in said if text)


def mapped(old: Rows, parts: list[list[int]], drawn: Rows) -> Rows:
    """Rows of a new vocabulary: each the mean of some old rows, or as drawn where there are none. [V, ...]"""
    rows = drawn.copy()
    for row, ids in enumerate(parts):
        if ids:
            rows[row] = old[ids].mean(0)
    return rows


def _known(side: str, parts: list[list[int]], old: Tokenizer) -> str:
    """How much of a vocabulary the old model knows; empty: all, and nothing else."""
    whole = sum(len(ids) == 1 for ids in parts)
    if parts == [[i] for i in range(len(old))]:
        return ""
    none = sum(not ids for ids in parts)
    return f"of {len(parts):,} {side} pieces {whole:,} have a row, {len(parts) - whole - none:,} several, {none:,} none"


def _misfit(
    name: str, found: Rows | None, wanted: list[int] | None, opened: model_folder.ModelFolder, config: Config
) -> UserError:
    has = "no such weight" if found is None else f"the shape {list(found.shape)}"
    asks = "none" if wanted is None else str(wanted)
    why = _changes(opened.config.model, config.model)
    return UserError(
        f"the weights of {opened.path} do not fit: '{name}' has {has}, and this run asks for {asks}"
        f"{why or '; is the folder whole?'}; leave these options as they were"
    )


def _changes(old: sections.Model, new: sections.Model) -> str:
    """The options of two models that differ, in brackets."""
    changes = rules.differences(old, new)
    return f" ({'; '.join(changes)})" if changes else ""
