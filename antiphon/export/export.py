"""Export: a model folder's graphs for ONNX Runtime, and how near their answers are to PyTorch's.

Needs neither PyTorch nor a network, only the package `onnx`; see `onnx_engine` for what it writes.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from antiphon import model_folder
from antiphon.config.sections import Config
from antiphon.data.store import FULL
from antiphon.data.tokenizer import EOS
from antiphon.decoding.onnx_engine import FOLDER, FORMAT, GRAPHS, META, VERSION, OnnxEngine, fingerprint
from antiphon.decoding.opening import open_shortlist
from antiphon.decoding.shortlist import FILE, Shortlist
from antiphon.errors import UserError
from antiphon.evaluation import metrics
from antiphon.seq2seq import Seq2Seq
from antiphon.version import __version__

if TYPE_CHECKING:
    from antiphon.export.graph import Weights

APART = 1e-4  # nats, above which float32's log p are warned about
LOSS = 0.3  # BLEU, above which a loss is warned about
ENGINES = {"float32": "onnx", "int8": "onnx-int8"}
LIMIT = (1 << 31) - 1  # bytes of a Protocol Buffers file
TEXTS = 64  # texts that are compared at a time
ALIGNED = 1024  # pairs that are aligned at a time


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
        training: pairs of texts, from whose alignments a shortlist is learnt, which is written too; None: none.

    Raises:
        UserError: the folder cannot be opened, a precision is unknown, `onnx` is not installed, a graph would be above
            2 GiB, the disk is full, or a shortlist is asked of a model without attention.
    """
    unknown = [name for name in precision if name not in GRAPHS]
    if unknown or not precision:
        raise UserError(f"precision '{(unknown or [''])[0]}': must be one of {', '.join(GRAPHS)}")
    graph = _graph_module()
    opened = model_folder.load(folder)
    if training is not None:
        if opened.config.model.decoder in ("initial", "context"):
            raise UserError("a shortlist is learnt from attention, and this model has none: export without it")
        if opened.config.model.copy_source:
            raise UserError("a model that copies (model.copy_source) can write any source piece: export it without one")
        training = iter(training)
        training = chain(list(islice(training, 1)), training)  # what cannot be read is told before anything is written
    path = opened.path / FOLDER
    weights = _named(opened.config, opened.weights())
    meta = {
        "format": FORMAT,
        "version": VERSION,
        "antiphon": __version__,
        "precisions": list(precision),
        "vocabulary": len(opened.target),
        "weights": fingerprint(opened.path / model_folder.WEIGHTS),
        "shortlist": training is not None,
    }
    try:
        path.mkdir(exist_ok=True)
        contents = _contents(graph, opened.config, weights, precision, training is not None)
        files = _replace(path, contents, meta)
        if training is not None:
            # The graphs are those that align: they need no PyTorch.
            found = _aligned(Seq2Seq.load(opened.path, engine=ENGINES[precision[0]]), training)
            content = Shortlist.learn(found, len(opened.source)).contents()
            try:
                _partial(path, FILE).write_bytes(content)
                _partial(path, FILE).replace(path / FILE)
            finally:
                _partial(path, FILE).unlink(missing_ok=True)
            files[FILE] = len(content)
    except KeyError as e:
        raise UserError(f"{opened.path / model_folder.WEIGHTS}: has no weight {e}: copy the folder again") from e
    except OSError as e:
        what = "the disk is full; make room and start again" if e.errno in FULL else e.strerror
        raise UserError(f"{path}: the graphs cannot be written: {what}") from e
    return Report(path, files)


def parity(
    folder: str | Path,
    sources: Sequence[str],
    references: Sequence[str] | None = None,
    threads: int = 0,
    **options: Any,
) -> dict[str, dict[str, float]]:
    """Compare the answers of an exported model with those of PyTorch.

    Args:
        folder: the model folder, exported in any precision.
        sources: texts.
        references: for each text a reference, for BLEU.
        threads: processor threads.
        **options: of the search; see `Seq2Seq.generate`.

    Returns:
        For `torch`, each exported precision, and each with the shortlist if there is one: `texts`; `equal`, the share
        of outputs that are the same as PyTorch's; `difference`, the largest difference of log p in nats for one piece
        of PyTorch's outputs, which no shortlist changes; `bleu` where there are references.

    Raises:
        UserError: the folder cannot be opened or was not exported, or references are not as many as sources.
    """
    if references is not None and len(references) != len(sources):
        raise UserError(f"{len(sources)} sources and {len(references)} references: give one reference for each source")
    exported = [name for name, files in GRAPHS.items() if (Path(folder) / FOLDER / files[0]).exists()]
    engines = {name: OnnxEngine(folder, name, threads) for name in exported or ["float32"]}
    model = Seq2Seq.load(folder, device="cpu", threads=threads, engine="torch")
    models = {"torch": model} | {name: replace(model, engine=engine) for name, engine in engines.items()}
    if (Path(folder) / FOLDER / FILE).exists():
        listed = open_shortlist(model_folder.load(folder))
        models |= {f"{name}, shortlist": replace(models[name], shortlist=listed) for name in engines}
    wanted = [result.text for result in model.generate(sources, batch=TEXTS, **options)]
    log_p = [result.token_log_probs for result in model.score(sources, wanted)]
    report = {}
    for name, other in models.items():
        found = wanted if other is model else [r.text for r in other.generate(sources, batch=TEXTS, **options)]
        scored = [result.token_log_probs for result in other.score(sources, wanted)]
        apart = [np.abs(np.subtract(a, b)).max(initial=0) for a, b in zip(scored, log_p, strict=True)]
        same = [a == b for a, b in zip(found, wanted, strict=True)]
        report[name] = {"texts": len(same), "equal": sum(same) / max(1, len(same)), "difference": max(apart, default=0)}
        if references is not None:
            report[name]["bleu"] = metrics.measure(["bleu"], found, references)["bleu"].value
    return report


def warnings(report: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    """What in a parity report asks for attention, for people."""
    for name, row in report.items():
        if name == "float32" and not row["difference"] <= APART:  # nor is NaN
            yield f"float32 differs from PyTorch by {row['difference']:.1e} in log p; please report this"
        lost = report["torch"].get("bleu", 0.0) - row.get("bleu", 0.0)
        if lost > LOSS:
            advice = "leave out --shortlist" if "shortlist" in name else "use --engine onnx"
            yield f"{name} loses {lost:.2f} BLEU; {advice} where that matters"


def _aligned(model: Seq2Seq, pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[list[int], list[int]]]:
    """The target pieces of each pair and the source pieces that they looked at, by the model's own attention."""
    pairs = iter(pairs)
    while some := list(islice(pairs, ALIGNED)):
        sources, targets = zip(*some, strict=True)
        pairs_ids = zip(*model.codec.encode_pairs(some), strict=True)
        for (source, target), result in zip(pairs_ids, model.score(sources, targets), strict=True):
            assert result.attention is not None  # `export` has seen to it
            looked = result.attention[: len(target)].argmax(axis=1)  # the last column is EOS's
            yield target, [[*source, EOS][s] if s < result.attention.shape[1] - 1 else EOS for s in looked]


def _named(config: Config, weights: "Weights") -> "Weights":
    """The weights with tied ones under each of their names."""
    named = dict(weights)
    if config.model.tie == "all":
        named["target_embedding.weight"] = named["source_embedding.weight"]
    if config.model.tie != "none":
        named["output.weight"] = named["target_embedding.weight"]
    return named


def _graph_module() -> Any:
    try:
        from antiphon.export import model
    except ModuleNotFoundError as e:
        if e.name != "onnx":
            raise
        raise UserError("to export a model the package onnx is needed: pip install onnx") from e
    return model


def _contents(
    graph: Any, config: Config, weights: "Weights", precision: Sequence[str], shortlist: bool
) -> Iterator[tuple[str, bytes]]:
    """The graphs one after the other, as a large one fills the memory."""
    for name in precision:
        for file, make in zip(GRAPHS[name], (graph.encoder, graph.step), strict=True):
            model = make(config.model, weights, name == "int8", shortlist)
            size = model.ByteSize()
            if size > LIMIT:
                raise UserError(
                    f"{file}: would have {size / 1e9:.1f} GB, and an ONNX file has at most 2; try int8 alone"
                )
            yield file, model.SerializeToString()


def _replace(path: Path, contents: Iterator[tuple[str, bytes]], meta: Mapping[str, Any]) -> dict[str, int]:
    """Write the graphs, all or none, then meta.json; return the graphs' sizes."""
    sizes = {}
    try:
        for name, content in contents:
            sizes[name] = len(content)
            _partial(path, name).write_bytes(content)
        _partial(path, META).write_text(json.dumps(meta, indent=1), encoding="utf-8")
        (path / META).unlink(missing_ok=True)  # until all is renamed, the folder has graphs of two models
        for file in {FILE, *(file for files in GRAPHS.values() for file in files)} - set(sizes):
            (path / file).unlink(missing_ok=True)
        for name in [*sizes, META]:
            _partial(path, name).replace(path / name)
    finally:
        for name in [*sizes, META]:
            with suppress(OSError):
                _partial(path, name).unlink(missing_ok=True)
    return sizes


def _partial(path: Path, name: str) -> Path:
    return path / f".{name}.partial"
