"""A training's run: its data, model and optimiser, how far it has come, and how it is saved and resumed."""

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from antiphon.config.memory import estimate, machine_memory, readable
from antiphon.config.sections import SECTIONS, Config, Train
from antiphon.data.batches import Batches, Rows, epoch_batches, pad
from antiphon.data.prepare import Prepared, prepare
from antiphon.data.store import Store
from antiphon.data.tokenizer import EOS
from antiphon.errors import UserError
from antiphon.nn.model import Model, build
from antiphon.progress import Reporter
from antiphon.training import checkpoint, warm_start, word_vectors
from antiphon.training.device import Device, open_device
from antiphon.training.folder import FORMAT, checkpoint_folder, claimed, data_folder
from antiphon.training.log import Log
from antiphon.training.optim import Average, Weights, copied, optimiser, put, put_rows
from antiphon.training.risk import Risk
from antiphon.training.validate import Validator
from antiphon.words import counted

Watch = Callable[[float], str]
Setup = Callable[[Config], Config]

# The options of [train] that say where a run ends; the schedule `cosine` depends on them.
END = ("epochs", "steps", "minutes")
# Options of [train] that may change when a run is resumed.
FREE = {
    *END, "patience", "samples", "tensorboard", "threads", "device", "checkpoint_every",
}  # fmt: skip


@dataclass
class State:
    """How far a run has come; everything that is not a tensor."""

    update: int = 0  # updates made
    epoch: int = 0  # passes over the data made
    position: int = 0  # batches of the present pass used
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
    extended: int = 0  # the update after which the run was last given another end
    closing: float = 0.0  # seconds that a validation and what it saves take, as far as they are known


@dataclass
class Run:
    """What the loop works on."""

    config: Config
    out: Path  # the model folder
    command: str
    reporter: Reporter
    watch: Watch | None
    device: Device
    data: Prepared
    model: Model
    optimiser: torch.optim.Optimizer
    average: Average
    state: State
    batches: Batches  # of the present pass, for this process
    total: int  # updates of the whole run, as far as it is known
    risk: Risk | None  # only in minimum-risk training
    validator: Validator | None  # only in the first process
    log: Log
    began: float  # on the monotonic clock: when it would have begun, had it never been stopped
    saved: float  # on the monotonic clock: the last checkpoint
    seconds: float  # used so far, by the first process's clock at the last update; equal in all processes
    saving: float = 0.0  # seconds that the last checkpoint took
    stopped: str = ""  # why `watch` has stopped it
    last_output: str | None = None  # the model's output for the development pair that is shown
    warned: set[str] = field(default_factory=set)  # faults of outputs that were reported

    @property
    def epochs(self) -> float:
        """Passes over the data made, with their fraction."""
        return self.state.epoch + self.state.position / len(self.batches)

    @property
    def time(self) -> float:
        """Share of `train.minutes` that is used, but for what the last validation needs; 0 without such a limit."""
        limit = self.config.train.minutes * 60
        if not limit:
            return 0.0
        return min(1.0, self.seconds / (limit - self.state.closing)) if limit > self.state.closing else 1.0

    def batch(self, rows: Rows) -> tuple[torch.Tensor, torch.Tensor]:
        """Sources [B, S] and targets [B, T] of some rows, both ending in EOS."""
        sides = self.data.train.pairs(rows, self.state.epoch % self.data.train.copies)
        sources, targets = (torch.from_numpy(pad(side, eos=EOS)).to(self.device.torch) for side in sides)
        return sources, targets

    def advance(self) -> None:
        """Move on behind the batches of an update, to the next pass where this one is over."""
        self.state.position += self.config.train.accumulate
        if self.state.position >= len(self.batches):
            self.state.epoch, self.state.position = self.state.epoch + 1, 0
            self.batches = _pass(self.data.train, self.config.train, self.state.epoch, self.device)

    def checkpoint(self) -> None:
        """Write everything that is needed to resume from here."""
        began = time.monotonic()
        self.state.seconds = began - self.began
        self.state.logged = self.log.flush()
        tensors = {f"model.{k}": v for k, v in copied(self.model).items()}
        for i, values in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{i}.{k}": v for k, v in values.items() if isinstance(v, torch.Tensor)}
        tensors |= {f"ema.{k}": v for k, v in self.average.ema.items()}
        for i, kept in enumerate(self.average.kept):
            tensors |= {f"kept.{i}.{k}": v for k, v in kept.items()}
        for rank, random in enumerate(_random_states(self.device)):
            tensors[f"random.{rank}"] = random
        if self.device.first:
            meta = {"state": asdict(self.state), "config": self.config.model_dump(), "world": self.device.world}
            checkpoint.save(checkpoint_folder(self.out), self.state.update, tensors, FORMAT | meta)
        self.saved = time.monotonic()
        self.saving = self.saved - began


def open_run(
    config: Config,
    out: Path,
    command: str,
    reporter: Reporter,
    watch: Watch | None = None,
    setup: Setup | None = None,
) -> Run:
    """Prepare a run, new or from its last checkpoint; its log is not open yet.

    Args:
        config: the run.
        out: the model folder.
        command: the command that does this, for the model's card.
        reporter: where progress goes.
        watch: called after each validation that has a score; see `loop.train`.
        setup: called in the first process once the folder is claimed; see `loop.train`.

    Raises:
        UserError: bad data, a folder of something else, other options than the run had, or too little memory.
    """
    config = Config.model_validate(open_device(config.train).once(partial(_prepare, config, out, reporter, setup)))
    device = open_device(config.train)
    data = prepare(data_folder(out), config)
    loaded = checkpoint.load(checkpoint_folder(out))
    device.once(partial(_check, config, data, device, out, loaded and loaded[1]))
    t = config.train
    torch.manual_seed(t.seed)
    model = build(config.model, len(data.source), len(data.target)).to(device.torch)
    torch.manual_seed(t.seed + 1 + device.rank)  # each process has its own dropout
    optim = optimiser(model.parameters(), t)
    if loaded is None:
        for message in _initialise(model, config, data):
            if device.first:
                reporter.say(message)
    average = Average(model, t.ema, t.average_last)
    state = State() if loaded is None else _restore(*loaded, model, optim, average, device)
    if loaded is not None:
        _extend(state, t, loaded[1]["config"]["train"])
    batches = _pass(data.train, t, state.epoch, device)
    first_pass = batches if state.epoch == 0 else _pass(data.train, t, 0, device)
    return Run(
        config, out, command, reporter, watch, device, data, model, optim, average, state, batches,
        total=_total(t, len(first_pass)),
        risk=Risk(t, data.target, device) if t.risk != "none" else None,
        validator=Validator(data.valid, data.source, data.target, config, device) if device.first else None,
        log=Log(out / "run", state.logged, state.update, t.tensorboard, device.first),
        began=time.monotonic() - state.seconds,
        saved=time.monotonic(),
        seconds=state.seconds,
    )  # fmt: skip


def _prepare(config: Config, out: Path, reporter: Reporter, setup: Setup | None) -> dict[str, Any]:
    """Claim the folder and prepare the data in it; returns the configuration to train with, as plain values."""
    with claimed(out):
        config = setup(config) if setup else config
        prepare(data_folder(out), config, reporter.show, warm_start.kept(config))
    reporter.close()
    return config.model_dump()


def _pass(pairs: Store, t: Train, epoch: int, device: Device) -> Batches:
    """The batches of one pass for this process."""
    return epoch_batches(
        *pairs.lengths(epoch % pairs.copies),
        size=t.batch, unit=t.batch_unit, seed=t.seed, epoch=epoch, rank=device.rank, world=device.world,
    )  # fmt: skip


def _total(t: Train, batches: int) -> int:
    """Updates of the whole run, if all passes have as many batches as the first; nearly so in units of tokens."""
    total = math.ceil(t.epochs * math.ceil(batches / t.accumulate))
    return min(total, t.steps) if t.steps else total


def _initialise(model: Model, config: Config, data: Prepared) -> list[str]:
    """Replace initial weights by those of a pretrained model or word vectors; returns what was done, in words."""
    t, messages = config.train, []
    if t.start:
        messages.append(warm_start.load_weights(model, config, data.source, data.target))
    for side, path, tokenizer, embedding in (
        ("source", t.source_vectors, data.source, model.source_embedding.weight),
        ("target", t.target_vectors, data.target, model.target_embedding.weight),
    ):
        if path:
            vectors = word_vectors.read(path, tokenizer, embedding.shape[1])
            put_rows(embedding, vectors)
            messages.append(f"{path}: vectors of {len(vectors):,} of {counted(len(tokenizer), f'{side} piece')}")
    return messages


def _restore(
    tensors: Weights,
    meta: dict[str, Any],
    model: Model,
    optim: torch.optim.Optimizer,
    average: Average,
    device: Device,
) -> State:
    """Set weights, optimiser, averages and random generators to those of a checkpoint; returns its state."""

    def part(prefix: str) -> Weights:
        return {k.removeprefix(prefix): v.to(device.torch) for k, v in tensors.items() if k.startswith(prefix)}

    def numbers(name: str) -> list[int]:
        return sorted({int(key.split(".")[1]) for key in tensors if key.startswith(f"{name}.")})

    put(model, part("model."))
    average.ema = part("ema.")
    average.kept = [part(f"kept.{i}.") for i in numbers("kept")]
    optim.load_state_dict(optim.state_dict() | {"state": {i: part(f"optimiser.{i}.") for i in numbers("optimiser")}})
    random = tensors[f"random.{device.rank}"]
    size = len(torch.get_rng_state())
    torch.set_rng_state(random[:size])
    if device.torch.type == "cuda" and len(random) > size:
        torch.cuda.set_rng_state(random[size:])
    return State(**meta["state"])


def _extend(state: State, t: Train, before: Mapping[str, Any]) -> None:
    """Note that a run under `cosine`, whose rate depends on its end, has another end now than at its checkpoint.

    A run that early stopping has ended is none: it is the patience that has to be raised.
    """
    moved = any(getattr(t, key) != before.get(key, Train.model_fields[key].default) for key in END)
    if moved and t.schedule == "cosine" and not (t.patience and state.since_best >= t.patience):
        state.extended, state.since_best = state.update, 0


def _random_states(device: Device) -> list[torch.Tensor]:
    """The state of every process's random generators: the processor's, and behind it the GPU's."""
    on_cuda = device.torch.type == "cuda"
    random = torch.cat([torch.get_rng_state(), *([torch.cuda.get_rng_state()] if on_cuda else [])])
    return [state.cpu() for state in device.gather(random.to(device.torch))]


def _check(config: Config, data: Prepared, device: Device, out: Path, meta: dict[str, Any] | None) -> None:
    """Refuse what cannot be trained here: too large a model, or a checkpoint of other options."""
    _check_memory(config, data, device)
    if meta is not None:
        if {name: meta.get(name) for name in FORMAT} != FORMAT:
            raise UserError(f"{out / 'run'}: written by another version of Antiphon; train in another folder")
        _check_same(meta, config, device.world, out)


def _check_memory(config: Config, data: Prepared, device: Device) -> None:
    """Refuse a model that cannot be trained in this computer's memory, before the system would kill the process."""
    size, memory = estimate(config, len(data.source), len(data.target)), machine_memory()
    if memory and device.torch.type == "cpu" and size.training_bytes > memory:
        raise UserError(
            f"training {counted(size.parameters, 'weight')} with vocabularies of {size.source_vocabulary:,} and "
            f"{size.target_vocabulary:,} pieces needs about {readable(size.training_bytes)}, and this machine has "
            f"{readable(memory)}: lower text.size, train.batch or the model's sizes"
        )


def _check_same(meta: dict[str, Any], config: Config, world: int, out: Path) -> None:
    """Refuse to resume a run with options that would have made another one; `prepare` has checked data and text."""
    old, new, changes = meta["config"], config.model_dump(), []
    for section in ("model", "train", "search"):
        fields = SECTIONS[section].model_fields
        for key, value in new[section].items():
            before = old.get(section, {}).get(key, fields[key].default)  # an older version did not have every option
            if before != value and not (section == "train" and key in FREE):
                changes.append(f"{section}.{key} was {json.dumps(before)}, now {json.dumps(value)}")
    if meta["world"] != world:
        changes.append(f"{counted(meta['world'], 'process', 'processes')} were training, now {world}")
    if changes:
        raise UserError(
            f"{out} holds a training with other options ({'; '.join(changes)}); "
            "write the new one to another folder, or delete this one"
        )
