"""One model of several: the mean of their weights."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from antiphon import model_folder
from antiphon.config import rules
from antiphon.errors import UserError


def average(models: Sequence[Path], out: Path) -> None:
    """Write the model whose every weight is the arithmetic mean of some models' weights.

    Args:
        models: two model folders or more, with equal options of [model] and equal vocabularies; a folder that is named
            twice counts twice.
        out: the model folder to make; its options are the first model's.

    Raises:
        UserError: fewer than two models, one that cannot be opened or differs from the first, an `out` that is not
            empty or cannot be written.
    """
    if len(models) < 2:
        raise UserError("a mean needs two models or more: antiphon average model1 model2 --out mean")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is there already; name a new folder for the mean")
    opened = [model_folder.load(path) for path in models]
    first = opened[0]
    for other in opened[1:]:
        _check_alike(first, other)
    sums = {name: weight.astype(np.float64) for name, weight in first.weights().items()}
    for other in opened[1:]:
        weights = other.weights()
        if {name: w.shape for name, w in weights.items()} != {name: w.shape for name, w in sums.items()}:
            raise UserError(f"the weights of {first.path} and {other.path} differ in name or shape; is one damaged?")
        for name, weight in weights.items():
            sums[name] += weight
    mean = {name: total / len(opened) for name, total in sums.items()}
    model_folder.save(out, first.config, first.source, first.target, mean)


def _check_alike(first: model_folder.ModelFolder, other: model_folder.ModelFolder) -> None:
    changes = rules.differences(first.config.model, other.config.model)
    if changes:
        raise UserError(f"{first.path} and {other.path} are different networks: {'; '.join(changes)}")
    for side in ("source", "target"):
        if getattr(first, side).to_json() != getattr(other, side).to_json():
            raise UserError(
                f"{first.path} and {other.path} have different {side} vocabularies; the mean of their weights has no "
                "meaning: start the second from the first (antiphon train --from), which keeps its vocabulary"
            )
