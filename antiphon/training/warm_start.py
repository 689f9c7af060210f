"""Warm start: a training that begins with the options, the vocabulary and the weights of a pretrained model.

The vocabulary of the new run may be another one. A piece that the pretrained model has keeps its rows in the embeddings
and the output layer. A new piece gets the mean of the rows of the old pieces into which its text is split: as an input
it then means about what they did, and its logit is the mean of theirs, which suits the context as they do. Where no
part of it is known, it keeps its initial rows.

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

FREE = {"vocabulary", "dropout", "dropout_copies"}  # options of [text] that leave a vocabulary as it is


def options(model: str) -> Config:
    """The options that a run takes over from a pretrained model: all but its data and its own warm start.

    Raises:
        UserError: it cannot be opened; see `model_folder.load`.
    """
    old = model_folder.load(model).config
    data = Data(max_source_length=old.data.max_source_length, max_target_length=old.data.max_target_length)
    fresh = {"start": "", "source_vectors": "", "target_vectors": ""}
    text = old.text.model_copy(update={"vocabulary": "keep"})
    return old.model_copy(update={"data": data, "text": text, "train": old.train.model_copy(update=fresh)})


def kept(config: Config) -> Callable[[], tuple[Tokenizer, Tokenizer]] | None:
    """What gives a run its vocabulary, where it keeps that of a pretrained model."""
    keeps = config.train.start and config.text.vocabulary == "keep"
    return partial(vocabulary, config) if keeps else None


def vocabulary(config: Config) -> tuple[Tokenizer, Tokenizer]:
    """The tokenizers of the pretrained model of a run.

    Raises:
        UserError: it cannot be opened, or options of [text] ask for another vocabulary than its own.
    """
    opened = model_folder.load(config.train.start)
    for name, old in opened.config.text:
        new = getattr(config.text, name)
        if name not in FREE and new != old:
            raise UserError(
                f"text.{name} = {new!r}, but the vocabulary of {config.train.start} has {old!r}: leave it so, or learn "
                "another vocabulary with text.vocabulary = 'learn'"
            )
    return opened.source, opened.target


def load_weights(model: Model, config: Config, source: Tokenizer, target: Tokenizer) -> str:
    """Set a model's weights to those of the pretrained model of its run.

    Args:
        model: with its initial weights, which stay where the pretrained model has none.
        config: the run.
        source, target: its tokenizers.

    Returns:
        What was done, in words.

    Raises:
        UserError: the pretrained model cannot be opened, or weights other than a vocabulary's rows do not fit; it names
            the options that differ.
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
    initial = []
    for name, parameter in model.named_parameters():
        weight = old.pop(name, None)
        parts = by_piece.get(name)
        first = 0 if parts is None else 1  # of the dimensions that must agree
        if weight is None and parts is None:
            initial.append(name)
            continue
        if weight is None or weight.shape[first:] != tuple(parameter.shape[first:]):
            raise _misfit(name, weight, list(parameter.shape), opened, config)
        rows = weight if parts is None else mapped(weight, parts, parameter.detach().cpu().numpy())
        with torch.no_grad():
            parameter.copy_(torch.tensor(rows))
    if old:
        raise _misfit(min(old), old[min(old)], None, opened, config)
    messages = [f"warm start from {config.train.start}"]
    messages += [_known(side, parts, getattr(opened, side)) for side, parts in sides.items()]
    if initial:
        changes = _changes(opened.config.model, config.model)
        messages.append(f"it has no weights for {', '.join(initial)}, which keep their initial ones{changes}")
    return "; ".join(text for text in messages if text)


def mapped(old: Rows, parts: list[list[int]], initial: Rows) -> Rows:
    """Rows of a new vocabulary: each the mean of some old rows, or its initial one where there are none. [V, ...]"""
    rows = initial.copy()
    for row, ids in enumerate(parts):
        if ids:
            rows[row] = old[ids].mean(0)
    return rows


def _known(side: str, parts: list[list[int]], old: Tokenizer) -> str:
    """How much of a vocabulary the pretrained model knows; empty: all, and nothing else."""
    whole = sum(len(ids) == 1 for ids in parts)
    if parts == [[i] for i in range(len(old))]:
        return ""
    none = sum(not ids for ids in parts)
    mean = len(parts) - whole - none
    return (
        f"of {len(parts):,} {side} pieces {whole:,} keep their rows, {mean:,} get the mean of several, and {none:,} "
        "are new"
    )


def _misfit(
    name: str, old: Rows | None, new: list[int] | None, opened: model_folder.ModelFolder, config: Config
) -> UserError:
    has = "no such weight" if old is None else f"the shape {list(old.shape)}"
    asks = "none" if new is None else str(new)
    why = _changes(opened.config.model, config.model)
    return UserError(
        f"the weights of {opened.path} do not fit: '{name}' has {has}, and this run asks for {asks}"
        f"{why or '; is the folder whole?'}; leave these options as they were"
    )


def _changes(old: sections.Model, new: sections.Model) -> str:
    """The options of two models that differ, in brackets."""
    changes = rules.differences(old, new)
    return f" ({'; '.join(changes)})" if changes else ""
