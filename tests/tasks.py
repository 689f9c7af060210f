"""Small tasks and small models for the tests of training."""

import json
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import torch

from antiphon.config import loading
from antiphon.config.sections import Config
from antiphon.progress import Reporter
from antiphon.training.loop import Outcome, train

SMALL = {"embedding": 16, "encoder_hidden": 16, "decoder_hidden": 32, "attention_size": 16}
PLAIN = {
    "batch": 16, "batch_unit": "sentences", "tensorboard": False, "threads": 1, "precision": "float32",
    "device": "cpu", "metric": "exact_match", "samples": 0,
}  # fmt: skip


class Told(Reporter):
    """A reporter that keeps what is said."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.messages: list[str] = []

    def say(self, text: str) -> None:
        self.messages.append(text)

    @property
    def text(self) -> str:
        return "\n".join(self.messages)


def write_pairs(path: Path, count: int, reverse: bool = False, seed: int = 1, longest: int = 5) -> Path:
    """Write a copy or reverse task: `a b c` and what is to be made of it."""
    random = Random(seed)
    rows = [[random.choice("abcdefgh") for _ in range(random.randint(2, longest))] for _ in range(count)]
    text = "".join(f"{' '.join(row)}\t{' '.join(row[::-1] if reverse else row)}\n" for row in rows)
    path.write_text(text, encoding="utf-8", newline="\n")
    return path


def options(folder: Path, pairs: int = 200, **sections: Mapping[str, Any]) -> Config:
    """A run on a copy task, with a tiny model and no dropout; its corpora are written to `folder`."""
    corpora = [(name, folder / f"{name}.tsv", n) for name, n in (("train", pairs), ("valid", 30))]
    for seed, (_, path, count) in enumerate(corpora):
        if not path.exists():
            write_pairs(path, count, seed=seed)
    base: dict[str, dict[str, Any]] = {
        "data": {name: [str(path)] for name, path, _ in corpora},
        "text": {"kind": "word", "size": 50},
        "model": SMALL,
        "train": PLAIN,
    }
    return loading.load(over={name: values | dict(sections.get(name, {})) for name, values in base.items()})


def run(folder: Path, chosen: Config, out: str = "model") -> tuple[Outcome, Told]:
    told = Told()
    return train(chosen, folder / out, "antiphon train", told), told


def log(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "run" / "log.jsonl").read_text("utf-8").splitlines()]


def weights(path: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return dict(load_file(path))


def last_checkpoint(out: Path) -> dict[str, torch.Tensor]:
    return weights(max((out / "run" / "checkpoints").glob("*.safetensors")))


def same(first: Mapping[str, torch.Tensor], second: Mapping[str, torch.Tensor]) -> bool:
    """Whether two sets of tensors are equal bit for bit."""
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
