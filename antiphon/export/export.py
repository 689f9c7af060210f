"""Export: writes a model folder's ONNX graphs and, if asked for, its shortlist.

Needs neither PyTorch nor a network, only the package `onnx`; see `decoding.onnx_engine` for the files.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from antiphon import model_folder
from antiphon.config.sections import Model
from antiphon.config.shapes import shapes
from antiphon.data.tokenizer import EOS
from antiphon.decoding.onnx_engine import FOLDER, FORMAT, GRAPHS, META, VERSION, fingerprint
from antiphon.decoding.shortlist import FILE, Shortlist
from antiphon.errors import UserError, extra
from antiphon.files import whole_folder, write
from antiphon.model_folder import ModelFolder
from antiphon.seq2seq import Seq2Seq
from antiphon.version import __version__

if TYPE_CHECKING:
    import onnx

ENGINES = {"float32": "onnx", "int8": "onnx-int8"}
LIMIT = (1 << 31) - 1  # bytes of a Protocol Buffers file
CHUNK = 1024  # pairs that are aligned at a time

Write = Callable[[Model, "ModelWeights", bool, bool], "onnx.ModelProto"]


class ModelWeights(dict[str, NDArray[np.float32]]):
    """A model's weights by name; one that is missing is refused."""

    def __init__(self, opened: ModelFolder) -> None:
        super().__init__(opened.weights())
        self.path = opened.path / model_folder.WEIGHTS
        tie = opened.config.model.tie  # tied weights have each of their names
        if tie == "all":
            self["target_embedding.weight"] = self["source_embedding.weight"]
        if tie != "none":
            self["output.weight"] = self["target_embedding.weight"]

    def __missing__(self, name: str) -> NDArray[np.float32]:
        raise UserError(f"{self.path}: weight '{name}' is missing; copy the model folder again")


@dataclass(frozen=True)
class Report:
    """What an export wrote."""

    folder: Path
    files: Mapping[str, int]  # bytes by file name


def export(
    folder: str | Path,
    precision: Sequence[str] = ("float32", "int8"),
    training: Iterable[tuple[str, str]] | None = None,
) -> Report:
    """Write a model folder's ONNX graphs into its subfolder `onnx`, in place of those that were there.

    Args:
        folder: the model folder.
        precision: `float32`, `int8` or both.
        training: pairs of texts from which a shortlist is learnt, which is written too; None: no shortlist.

    Raises:
        UserError: the folder cannot be opened, a precision is unknown, `onnx` is not installed, a graph would be above
            2 GiB, the model has something that no graph can be written for, the disk is full, or a shortlist is asked
            of a model that can have none.
    """
    for name in precision or [""]:
        if name not in GRAPHS:
            raise UserError(f"precision '{name}': must be one of {', '.join(GRAPHS)}")
    writers = _writers()
    opened = model_folder.load(folder)
    if training is not None:
        _check_shortlist(opened.config.model)
        training = iter(training)
        training = chain(list(islice(training, 1)), training)  # a file that cannot be read: before anything is written
    path, sizes = opened.path / FOLDER, {}
    # Written one after the other, as all graphs of a large model would fill the memory.
    with whole_folder(path) as unfinished:
        for name, content in _graphs(opened, writers, precision, training is not None):
            write(unfinished / name, content)
            sizes[name] = len(content)
        write(unfinished / META, json.dumps(_meta(opened, precision, training is not None), indent=1))
    if training is not None:
        content = _learn_shortlist(opened, precision[0], training).contents()
        write(path / FILE, content)
        sizes[FILE] = len(content)
    return Report(path, sizes)


def _writers() -> tuple[Write, Write]:
    """The functions that write the graphs of the encoder and of a step."""
    try:
        from antiphon.export.encoder import encoder
        from antiphon.export.step import step
    except ModuleNotFoundError as e:
        if e.name != "onnx":
            raise
        raise UserError(f"exporting a model needs the package onnx: {extra('train')}") from e
    return encoder, step


def _check_shortlist(m: Model) -> None:
    if not shapes(m).attends:
        raise UserError("a shortlist is learnt from attention, and this model has none: export it without a shortlist")
    if m.copy_source:
        raise UserError(
            "a model that copies (model.copy_source) can output any source piece: export it without a shortlist"
        )


def _graphs(
    opened: ModelFolder, writers: tuple[Write, Write], precision: Sequence[str], shortlist: bool
) -> Iterator[tuple[str, bytes]]:
    """The names of the graphs' files and their contents."""
    weights = ModelWeights(opened)
    for name in precision:
        for file, writer in zip(GRAPHS[name], writers, strict=True):
            graph = writer(opened.config.model, weights, name == "int8", shortlist)
            size = graph.ByteSize()
            if size > LIMIT:
                raise UserError(
                    f"{file}: would have {size / 1e9:.1f} GB, and an ONNX file can have 2 at most; "
                    "export with --precision int8 alone"
                )
            yield file, graph.SerializeToString()


def _meta(opened: ModelFolder, precision: Sequence[str], shortlist: bool) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": VERSION,
        "antiphon": __version__,
        "precisions": list(precision),
        "vocabulary": len(opened.target),
        "weights": fingerprint(opened.path / model_folder.WEIGHTS),
        "shortlist": shortlist,
    }


def _learn_shortlist(opened: ModelFolder, precision: str, pairs: Iterable[tuple[str, str]]) -> Shortlist:
    """Learn a shortlist with the graphs that were just written, which need no PyTorch."""
    model = Seq2Seq.load(opened.path, engine=ENGINES[precision])
    return Shortlist.learn(_align(model, iter(pairs)), len(opened.source))


def _align(model: Seq2Seq, pairs: Iterator[tuple[str, str]]) -> Iterator[tuple[list[int], list[int]]]:
    """For each pair its target ids, and for each of them the source id that it attended to most."""
    while chunk := list(islice(pairs, CHUNK)):
        encoded = zip(*model.codec.encode_pairs(chunk), strict=True)
        for (source, target), result in zip(encoded, model.score(*zip(*chunk, strict=True)), strict=True):
            alpha = result.attention  # [U + 1, S]
            assert alpha is not None  # see `_check_shortlist`
            ids = [*source[: alpha.shape[1] - 1], EOS]  # as far as the source was read
            yield target, [ids[i] for i in alpha[: len(target)].argmax(axis=1)]
