"""Parity: how close the outputs of an exported model are to PyTorch's."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from antiphon import model_folder
from antiphon.decoding.onnx_engine import FOLDER, GRAPHS, OnnxEngine
from antiphon.decoding.opening import open_shortlist
from antiphon.decoding.shortlist import FILE
from antiphon.errors import UserError
from antiphon.evaluation import metrics
from antiphon.seq2seq import Seq2Seq

MOST_DIFFERENCE = 1e-4  # nats; a larger difference of float32's log p is warned about
MOST_LOSS = 0.3  # BLEU; a larger loss is warned about
TEXTS = 64  # a batch


def parity(
    folder: str | Path,
    sources: Sequence[str],
    references: Sequence[str] | None = None,
    threads: int = 0,
    **options: Any,
) -> dict[str, dict[str, float]]:
    """Compare the outputs of an exported model with those of PyTorch.

    Args:
        folder: the model folder, exported in any precision.
        sources: texts.
        references: a reference for each text, for BLEU.
        threads: processor threads.
        **options: search options; see `Seq2Seq.generate`.

    Returns:
        For `torch`, each exported precision, and each with the shortlist if there is one: `texts`, their number;
        `equal`, the share of outputs that are the same as PyTorch's; `difference`, the largest difference of log p in
        nats for one piece of PyTorch's outputs, which no shortlist changes; `bleu` where there are references.

    Raises:
        UserError: the folder cannot be opened or was not exported, or the number of references is another.
    """
    if references is not None and len(references) != len(sources):
        raise UserError(f"{len(sources)} sources and {len(references)} references: give one reference for each source")
    models = _models(Path(folder), threads)
    outputs = {
        name: [r.text for r in model.generate(sources, batch=TEXTS, **options)] for name, model in models.items()
    }
    expected = outputs["torch"]
    log_p = {name: [r.token_log_probs for r in model.score(sources, expected)] for name, model in models.items()}
    report: dict[str, dict[str, float]] = {}
    for name in models:
        equal = [a == b for a, b in zip(outputs[name], expected, strict=True)]
        differences = [
            np.abs(np.subtract(a, b)).max(initial=0) for a, b in zip(log_p[name], log_p["torch"], strict=True)
        ]
        report[name] = {
            "texts": len(equal),
            "equal": sum(equal) / max(1, len(equal)),
            "difference": max(differences, default=0),
        }
        if references is not None:
            report[name]["bleu"] = metrics.measure(["bleu"], outputs[name], references)["bleu"].value
    return report


def _models(folder: Path, threads: int) -> dict[str, Seq2Seq]:
    """The model in PyTorch, in each exported precision, and in each with its shortlist."""
    exported = [name for name, files in GRAPHS.items() if (folder / FOLDER / files[0]).exists()]
    engines = {name: OnnxEngine(folder, name, threads) for name in exported or ["float32"]}
    torch = Seq2Seq.load(folder, device="cpu", threads=threads, engine="torch")
    models = {"torch": torch} | {name: replace(torch, engine=engine) for name, engine in engines.items()}
    if (folder / FOLDER / FILE).exists():
        shortlist = open_shortlist(model_folder.load(folder))
        models |= {f"{name}, shortlist": replace(models[name], shortlist=shortlist) for name in engines}
    return models


def warnings(report: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    """Warnings about a parity report, for people."""
    for name, row in report.items():
        if name == "float32" and not row["difference"] <= MOST_DIFFERENCE:  # nor is NaN
            yield f"float32 differs from PyTorch by {row['difference']:.1e} in log p; please report this"
        loss = report["torch"].get("bleu", 0.0) - row.get("bleu", 0.0)
        if loss > MOST_LOSS:
            advice = "leave out --shortlist" if "shortlist" in name else "use --engine onnx"
            yield f"{name} loses {loss:.2f} BLEU; {advice} where that matters"
