"""A training's run: its data, model and optimiser, where it stands, and how it is saved and found again."""

import json
import math
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from antiphon.config.memory import estimate, machine_memory, readable
from antiphon.config.sections import SECTIONS, Config
from antiphon.data.batches import Batches, Rows, epoch_batches, pad
from antiphon.data.prepare import Prepared, prepare
from antiphon.data.store import FULL
from antiphon.data.tokenizer import EOS, Tokenizer
from antiphon.errors import UserError
from antiphon.nn.model import Model, build
from antiphon.progress import Reporter
from antiphon.training import checkpoint, warm_start, word_vectors
from antiphon.training.device import Machine, machine
from antiphon.training.log import Log
from antiphon.training.optim import Average, Weights, copied, optimiser, put, put_rows
from antiphon.training.risk import Risk
from antiphon.training.validate import Validator

FORMAT = {"format": "antiphon run", "version": 1}
Watch = Callable[[float], str]

MARK = "run.json"  # in `run/`: shows that the folder is ours

# Options of [train] that a run may be continued with other values of.
FREE = {
    "epochs", "steps", "minutes", "patience", "samples", "tensorboard", "threads", "device", "checkpoint_every",
}  # fmt: skip


@dataclass
class State:
    """Where a run stands; everything that is not a tensor."""

    update: int = 0  # updates made
    epoch: int = 0  # passes over the data made
    position: int = 0  # batches of the present pass taken
    validated: int = 0  # the update of the last validation
    lowered: int = 0  # times that `plateau` has lowered the learning rate
    best: float | None = None  # the best validation's score
    best_loss: float = math.inf  # the best validation's loss, which decides between equal scores
    best_update: int = 0
    since_best: int = 0  # validations without a better one
    bad: int = 0  # updates without a finite gradient, one after the other
    seconds: float = 0.0  # of training, over all its parts
    logged: int = 0  # bytes of the log
    finished: bool = False  # the last validation is made and the model is written


class Run:
    """What the loop works on."""

    def __init__(self, config: Config, out: Path, command: str, reporter: Reporter, watch: Watch | None = None) -> None:
        self.config, self.out, self.command, self.reporter, self.watch = config, out, command, reporter, watch
        self.stopped = ""  # why `watch` has stopped it
        self.machine: Machine = machine(config.train)
        self.data: Prepared = self._prepared()
        _check_memory(config, self.data, self.machine.device)
        torch.manual_seed(config.train.seed)
        self.model: Model = build(config.model, len(self.data.source), len(self.data.target)).to(self.machine.device)
        torch.manual_seed(config.train.seed + 1 + self.machine.rank)  # each process has its own dropout
        self.optimiser = optimiser(self.model.parameters(), config.train)
        self.state = State()
        loaded = checkpoint.load(self.out / "run" / "checkpoints")
        if loaded is None:
            self._first_weights()
        self.average = Average(self.model, config.train.ema, config.train.average_last)
        if loaded is not None:
            self._resume(*loaded)
        self.batches = self._pass(self.state.epoch)
        self.total = self._total()
        self.began = time.monotonic() - self.state.seconds
        self.saved = time.monotonic()
        data, first = self.data, self.machine.first
        self.risk = Risk(config.train, data.target, self.machine) if config.train.risk != "none" else None
        self.validator = Validator(data.valid, data.source, data.target, config, self.machine) if first else None

    def begin(self) -> Log:
        """Open the log behind what the checkpoint knows of it."""
        state, tensorboard = self.state, self.config.train.tensorboard
        state.finished = False
        self.log = Log(self.out / "run", state.logged, state.update, tensorboard, self.machine.first)
        return self.log

    @property
    def epochs(self) -> float:
        """Passes over the data made, with their fraction."""
        return self.state.epoch + self.state.position / len(self.batches)

    def advance(self) -> None:
        """Go on behind the batches of an update, to the next pass where this one is over."""
        self.state.position += self.config.train.accumulate
        if self.state.position >= len(self.batches):
            self.state.epoch, self.state.position = self.state.epoch + 1, 0
            self.batches = self._pass(self.state.epoch)

    def _pass(self, epoch: int) -> Batches:
        """The batches of one pass for this process."""
        t, machine = self.config.train, self.machine
        lengths = self.data.train.lengths(epoch % self.data.train.copies)
        return epoch_batches(
            *lengths, size=t.batch, unit=t.batch_unit, seed=t.seed, epoch=epoch, rank=machine.rank, world=machine.world
        )

    def _total(self) -> int:
        """Updates of the whole run, if all passes have as many batches as the first; nearly so in units of tokens."""
        t = self.config.train
        first = self.batches if self.state.epoch == 0 else self._pass(0)
        total = math.ceil(t.epochs * math.ceil(len(first) / t.accumulate))
        return min(total, t.steps) if t.steps else total

    def batch(self, rows: Rows) -> tuple[torch.Tensor, torch.Tensor]:
        """Sources [B, S] and targets [B, T] of some rows, both ending in EOS."""
        sides = self.data.train.pairs(rows, self.state.epoch % self.data.train.copies)
        sources, targets = (torch.from_numpy(pad(side, eos=EOS)).to(self.machine.device) for side in sides)
        return sources, targets

    def checkpoint(self) -> None:
        """Write everything the run needs to go on from here."""
        self.state.seconds = time.monotonic() - self.began
        self.state.logged = self.log.flush()
        tensors = {f"model.{k}": v for k, v in copied(self.model).items()}
        for i, values in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{i}.{k}": v for k, v in values.items() if isinstance(v, torch.Tensor)}
        tensors |= {f"ema.{k}": v for k, v in self.average.ema.items()}
        for i, kept in enumerate(self.average.kept):
            tensors |= {f"kept.{i}.{k}": v for k, v in kept.items()}
        for rank, random in enumerate(self._random()):
            tensors[f"random.{rank}"] = random
        if self.machine.first:
            meta = FORMAT | {
                "state": asdict(self.state),
                "config": self.config.model_dump(),
                "world": self.machine.world,
            }
            checkpoint.save(self.out / "run" / "checkpoints", self.state.update, tensors, meta)
        self.saved = time.monotonic()

    def _random(self) -> list[torch.Tensor]:
        """Every process's random state: the processor's, and behind it the GPU's."""
        on_cuda = self.machine.device.type == "cuda"
        random = torch.cat([torch.get_rng_state(), *([torch.cuda.get_rng_state()] if on_cuda else [])])
        return [r.cpu() for r in self.machine.gather(random.to(self.machine.device))]

    def _first_weights(self) -> None:
        """Lay what the run begins with over the drawn weights."""
        if self.config.train.start:
            self._say(warm_start.begin(self.model, self.config, self.data.source, self.data.target))
        t, data, model = self.config.train, self.data, self.model
        self._first_vectors("source", t.source_vectors, data.source, model.source_embedding.weight)
        self._first_vectors("target", t.target_vectors, data.target, model.target_embedding.weight)

    def _first_vectors(self, side: str, path: str, tokenizer: Tokenizer, embedding: torch.Tensor) -> None:
        if path:
            found = word_vectors.read(path, tokenizer, embedding.shape[1])
            put_rows(embedding, found)
            self._say(f"{path}: vectors of {len(found):,} of {len(tokenizer):,} {side} pieces")

    def _say(self, text: str) -> None:
        if self.machine.first:
            self.reporter.say(text)

    def _resume(self, tensors: Weights, meta: dict[str, Any]) -> None:
        if {name: meta.get(name) for name in FORMAT} != FORMAT:
            raise UserError(f"{self.out / 'run'}: written by another version of Antiphon; train in another folder")
        _check_same(meta, self.config, self.machine.world, self.out)
        self.state = State(**meta["state"])
        put(self.model, self._part(tensors, "model."))
        self.average.ema = self._part(tensors, "ema.")
        kept = sorted({int(name.split(".")[1]) for name in tensors if name.startswith("kept.")})
        self.average.kept = [self._part(tensors, f"kept.{i}.") for i in kept]
        values = self.optimiser.state_dict()
        indices = {int(name.split(".")[1]) for name in tensors if name.startswith("optimiser.")}
        values["state"] = {i: self._part(tensors, f"optimiser.{i}.") for i in sorted(indices)}
        self.optimiser.load_state_dict(values)
        random = tensors[f"random.{self.machine.rank}"]
        size = len(torch.get_rng_state())
        torch.set_rng_state(random[:size])
        if self.machine.device.type == "cuda" and len(random) > size:
            torch.cuda.set_rng_state(random[size:])

    def _part(self, tensors: Weights, prefix: str) -> Weights:
        device = self.machine.device
        return {k.removeprefix(prefix): v.to(device) for k, v in tensors.items() if k.startswith(prefix)}

    def _prepared(self) -> Prepared:
        """Prepare the data once for all processes."""
        if self.machine.first:
            with claimed(self.out):
                kept = warm_start.kept(self.config)
                prepared = prepare(self.out / "run" / "data", self.config, self.reporter.show, kept)
            self.reporter.close()
        self.machine.wait()
        return prepared if self.machine.first else prepare(self.out / "run" / "data", self.config)


def check_out(out: Path) -> None:
    """Refuse an output folder that holds something else."""
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; name a folder for the model")
    if out.is_dir() and not (out / "run" / MARK).is_file() and any(out.iterdir()):
        raise UserError(f"{out} is not empty and holds no training to go on with; name another folder for the model")


def claim(out: Path) -> bool:
    """Make an output folder, marked as ours, or find it so; returns whether it was made.

    Raises:
        UserError: it holds something else, or cannot be written.
    """
    check_out(out)
    mark = out / "run" / MARK
    if mark.is_file():
        return False
    try:
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.write_text(json.dumps(FORMAT) + "\n", encoding="utf-8", newline="\n")
    except OSError as e:
        mark.unlink(missing_ok=True)
        for folder in (mark.parent, out):
            with suppress(OSError):  # it is not empty, or not there
                folder.rmdir()
        what = "the disk is full; make room and run the same command again" if e.errno in FULL else e.strerror
        raise UserError(f"{mark.parent}: cannot be written: {what}") from e
    return True


@contextmanager
def claimed(out: Path) -> Iterator[None]:
    """An output folder of ours while data are prepared in it; taken away again if they are refused and it is new."""
    made = claim(out)
    try:
        yield
    except UserError:
        if made and not (out / "run" / "data" / "prepared.json").exists():
            shutil.rmtree(out / "run", ignore_errors=True)
            with suppress(OSError):  # it holds something else
                out.rmdir()
        raise


def _check_memory(config: Config, data: Prepared, device: torch.device) -> None:
    """Refuse a model that cannot be trained in this machine's memory, before the system would kill the process."""
    size, memory = estimate(config, len(data.source), len(data.target)), machine_memory()
    if memory and device.type == "cpu" and size.training_bytes > memory:
        raise UserError(
            f"training {size.parameters:,} weights with vocabularies of {size.source_vocabulary:,} and "
            f"{size.target_vocabulary:,} pieces needs about {readable(size.training_bytes)}, and this machine has "
            f"{readable(memory)}: lower text.size, train.batch or the model's sizes"
        )


def _check_same(meta: dict[str, Any], config: Config, world: int, out: Path) -> None:
    """Refuse to continue a run with options that would have made another one; `prepare` has seen to data and text."""
    old, new = meta["config"], config.model_dump()
    # A cosine is drawn over the whole run: with another end, all of it would have been another.
    free = FREE - {"epochs", "steps"} if config.train.schedule == "cosine" else FREE
    changes = []
    for section in ("model", "train", "search"):
        fields = SECTIONS[section].model_fields
        for key, value in new[section].items():
            before = old.get(section, {}).get(key, fields[key].default)  # an older version did not have every option
            if before != value and not (section == "train" and key in free):
                changes.append(f"{section}.{key} was {json.dumps(before)}, now {json.dumps(value)}")
    if meta["world"] != world:
        changes.append(f"{meta['world']} processes were training, now {world}")
    if changes:
        raise UserError(
            f"{out} holds a training with other options ({'; '.join(changes)}); "
            "write the new one to another folder, or delete this one"
        )
