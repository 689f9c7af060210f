"""Antiphon: its public `train` and `Seq2Seq`, in this project's own environment."""

import json
from collections.abc import Sequence
from contextlib import suppress
from inspect import signature
from pathlib import Path
from typing import Any

from benchmarks.peers.watch import Curve, Job, Over, Watch, main, read, translate

DROPOUT = 0.3  # where OpenNMT-py and Eole have it: of embeddings, between layers, and before the output layer


def sets(shape: dict[str, Any]) -> list[str]:
    """The configuration of a benchmark's shape, as `antiphon train --set` takes it."""
    values: dict[str, Any] = {
        "text.kind": "bpe", "text.size": shape["vocabulary"], "text.joint": True,
        "model.cell": "lstm", "model.embedding": shape["embedding"],
        "model.encoder_hidden": shape["encoder_hidden"], "model.encoder_layers": shape["layers"],
        "model.bidirectional": shape["directions"] == 2, "model.bridge": "last",
        "model.decoder": shape["decoder"],
        "model.decoder_hidden": shape["decoder_hidden"], "model.decoder_layers": shape["layers"],
        "model.score": shape["score"], "model.attention_size": shape["attention"] or 1,
        "model.readout": shape["readout"], "model.tie": "none",
        "model.dropout_embedding": DROPOUT, "model.dropout_output": DROPOUT,
        "model.dropout_recurrent": DROPOUT if shape["layers"] > 1 else 0.0,
        "train.optimiser": "adam", "train.learning_rate": 0.001, "train.clip": 1.0,
        "train.batch": shape["batch"], "train.batch_unit": "sentences",
    }  # fmt: skip
    return [f"{key}={json.dumps(value)}" for key, value in values.items()]


def _config(job: Job) -> Any:
    from antiphon.config import loading

    chosen = [] if job["preset"] else sets(job["shape"])
    run = {
        "train.threads": job["threads"],
        "train.precision": job["precision"],
        "train.valid_start": 1_000_000.0,  # decode the development set once, when the training is over
        "train.patience": 0,
        "train.tensorboard": False,
        "train.epochs": float(job.get("epochs", 1_000_000.0)),
        "train.minutes": job.get("budget", 0) / 60,
    }
    over = {"data": {"train": [job["train"]], "valid": [job["valid"]]}}
    return loading.load(job["preset"], sets=[*chosen, *(f"{k}={json.dumps(v)}" for k, v in run.items())], over=over)


def train(job: Job) -> dict[str, Any]:
    """Train with a clock in the place of the progress bar."""
    from antiphon.config.memory import parameters
    from antiphon.data.batches import epoch_batches
    from antiphon.data.store import Store
    from antiphon.progress import Reporter
    from antiphon.training import loop as training

    config, out, watch = _config(job), Path(job["out"]), Watch(job)
    sizes: list[int] = []  # target pieces of each update

    def extend() -> None:
        store = Store.open(out / "run" / "data" / "train")
        epoch, t = len(passes), config.train
        lengths = store.lengths(epoch % store.copies)
        passes.append(int(lengths[1].sum()) + len(lengths[1]))
        for rows in epoch_batches(*lengths, size=t.batch, unit=t.batch_unit, seed=t.seed, epoch=epoch):
            sizes.append(int(lengths[1][rows].sum()) + len(rows))

    class Clock(Reporter):
        """Reads the time after every update."""

        def show(self, stage: str, done: float, total: float | None, detail: str = "", elapsed: float = 0.0) -> None:
            if stage == "training":
                while len(sizes) <= done:
                    extend()
                watch.begin(sizes[int(done)])

    passes: list[int] = []  # target pieces of each pass
    if job.get("budget"):
        watch.budget = 1e9  # the option train.minutes ends it
    with suppress(Over):
        training.train(config, out, "make bench", Clock(quiet=True))
    sides = [_vocabulary(path) for path in sorted((out / "run" / "data").glob("tokenizer*.json"))]
    weights = parameters(config.model, sides[0], sides[-1])
    if job.get("budget"):
        _export(out, job["train"])
    return watch.result() | {"weights": weights, "pass_pieces": passes[0]}


def learn(job: Job) -> dict[str, Any]:
    """Train for some updates; the losses are those of the training's own validations."""
    from antiphon.config import loading
    from antiphon.nn.model import Model
    from antiphon.progress import Reporter
    from antiphon.training import loop as training
    from antiphon.training.validate import Validator

    run = {
        "train.threads": job["threads"], "train.precision": "float32", "train.tensorboard": False,
        "train.seed": job["seed"], "train.steps": job["updates"], "train.valid_every": job["every"],
        "train.epochs": 1_000_000.0, "train.valid_start": 1_000_000.0, "train.patience": 0, "train.metric": "loss",
    }  # fmt: skip
    over = {"data": {"train": [job["train"]], "valid": [job["valid"]]}}
    config = loading.load(sets=[*sets(job["shape"]), *(f"{k}={json.dumps(v)}" for k, v in run.items())], over=over)
    curve, inner, weights = Curve(), Validator.loss, 0

    def loss(self: Validator, model: Model) -> float:
        nonlocal weights
        weights = sum(p.numel() for p in model.parameters())
        curve.begin()
        mean, pieces = inner(self, model), sum(len(target) + 1 for target in self.targets)
        curve.add((len(curve.losses) + 1) * int(job["every"]), mean * pieces, pieces)
        return mean

    Validator.loss = loss  # type: ignore[method-assign]
    training.train(config, Path(job["out"]), "make learning", Reporter(quiet=True))
    return curve.result() | {"weights": weights}


def _export(out: Path, train: str) -> None:
    """Write the graphs, and a shortlist where this version has them."""
    from antiphon.data.corpus import read as pairs
    from antiphon.export.export import export

    learnt: dict[str, Any] = {"training": pairs(train)} if "training" in signature(export).parameters else {}
    export(out, **learnt)


def _vocabulary(path: Path) -> int:
    from antiphon.data.tokenizer import Tokenizer

    return len(Tokenizer.from_json(path.read_text("utf-8"), str(path)))


def speak(job: Job) -> dict[str, Any]:
    """Translate raw text; cutting it into pieces is timed with it."""
    from antiphon import Seq2Seq

    options: dict[str, Any] = {"beam": job["beam"], "batch": job["batch"]}
    if job["length"]:
        options |= {"min_length": job["length"], "max_length": job["length"]}
    opening: dict[str, Any] = {"device": "cpu", "threads": job["threads"], "engine": job["engine"]}
    if job.get("shortlist"):
        opening["shortlist"] = True
    model = Seq2Seq.load(job["model"], **opening)

    def run(lines: list[str]) -> Sequence[Any]:
        results = model.generate(lines, **options)
        return [(result.text, result) for result in results]

    return translate(job, read(job["text"]), run, lambda out: len(out[1].pieces), lambda out: str(out[0]))


if __name__ == "__main__":
    main(train=train, translate=speak, learn=learn)
