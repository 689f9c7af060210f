"""Training: one visible loop.

    prepare the data -> build the model, or go on from a checkpoint -> update, validate, keep the best -> a model folder

A run lives in its output folder: `run/` holds the prepared data, checkpoints, the log and TensorBoard's files, and the
folder itself is the model, the best one so far. The same command continues a run that was stopped, however it was
stopped, and ends with the same weights, bit for bit on a processor with the same number of threads.
"""

import json
import math
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from antiphon import __version__, checkpoint, folder, metrics
from antiphon.batches import epoch_batches, pad
from antiphon.config import Config
from antiphon.errors import UserError
from antiphon.log import Log
from antiphon.machine import Machine, machine
from antiphon.nn.model import Model, build, shifted
from antiphon.optim import Average, Weights, copied, learning_rate, optimiser, put
from antiphon.prepare import Prepared, prepare
from antiphon.progress import Reporter, clock
from antiphon.text import EOS
from antiphon.validate import Validation, Validator

LOG_EVERY = 50  # updates between two lines of the log
CHECKPOINT_SECONDS = 600.0  # a long epoch is saved on the way
BAD_UPDATES = 20  # updates without a finite gradient, one after the other, that end a run

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
    lowered: int = 0  # times that `plateau` has lowered the learning rate
    best: float | None = None  # the best validation's score
    best_update: int = 0
    since_best: int = 0  # validations without a better one
    bad: int = 0  # updates without a finite gradient, one after the other
    seconds: float = 0.0  # of training, over all its parts
    logged: int = 0  # bytes of the log
    finished: str = ""  # why the run ended; empty: it goes on
    limits: list[float] = field(default_factory=list)  # under which it ended: epochs, steps, minutes, patience


@dataclass(frozen=True)
class Outcome:
    """How a training ended."""

    model: Path
    best: float | None
    metric: str
    updates: int
    epochs: float
    minutes: float
    reason: str


class Run:
    """What the loop works on."""

    def __init__(self, config: Config, out: Path, command: str, reporter: Reporter) -> None:
        self.config, self.out, self.command, self.reporter = config, out, command, reporter
        self.machine: Machine = machine(config.train)
        self.data: Prepared = self._prepared()
        torch.manual_seed(config.train.seed)
        self.model: Model = build(config.model, len(self.data.source), len(self.data.target)).to(self.machine.device)
        torch.manual_seed(config.train.seed + 1 + self.machine.rank)  # each process has its own dropout
        self.optimiser = optimiser(self.model.parameters(), config.train)
        self.average = Average(self.model, config.train.ema, config.train.average_last)
        self.state = State()
        self._resume()
        self.began = time.monotonic() - self.state.seconds
        self.saved = time.monotonic()
        self.log = Log(out / "run", self.state.logged, self.state.update, config.train.tensorboard, self.machine.first)
        data, first = self.data, self.machine.first
        self.validator = Validator(data.valid, data.source, data.target, config, self.machine) if first else None
        self.per_epoch = math.ceil(len(self.batches(0)) / config.train.accumulate)
        self.total = math.ceil(config.train.epochs * self.per_epoch)
        if config.train.steps:
            self.total = min(self.total, config.train.steps)

    @property
    def epochs(self) -> float:
        """Passes over the data made, with their fraction."""
        return self.state.epoch + self.state.position / max(1, self.per_epoch * self.config.train.accumulate)

    def batches(self, epoch: int) -> Any:
        """The batches of one pass for this process."""
        t, copy = self.config.train, epoch % self.data.train.copies
        lengths = self.data.train.lengths(copy)
        rank, world = self.machine.rank, self.machine.world
        return epoch_batches(
            *lengths, size=t.batch, unit=t.batch_unit, seed=t.seed, epoch=epoch, rank=rank, world=world
        )

    def batch(self, rows: Any, epoch: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Sources [B, S] and targets [B, T] of some rows, both ending in EOS."""
        sides = self.data.train.pairs(rows, epoch % self.data.train.copies)
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
            meta = {"state": asdict(self.state), "config": self.config.model_dump(), "world": self.machine.world}
            checkpoint.save(self.out / "run" / "checkpoints", self.state.update, tensors, meta)
        self.saved = time.monotonic()

    def _random(self) -> list[torch.Tensor]:
        """Every process's random state: the processor's, and behind it the GPU's."""
        on_cuda = self.machine.device.type == "cuda"
        random = torch.cat([torch.get_rng_state(), *([torch.cuda.get_rng_state()] if on_cuda else [])])
        return [r.cpu() for r in self.machine.gather(random.to(self.machine.device))]

    def _resume(self) -> None:
        loaded = checkpoint.load(self.out / "run" / "checkpoints")
        if loaded is None:
            return
        tensors, meta = loaded
        _check_same(meta, self.config, self.machine.world, self.out)
        self.state = State(**meta["state"])
        put(self.model, _part(tensors, "model."))
        self.average.ema = _part(tensors, "ema.")
        kept = sorted({int(name.split(".")[1]) for name in tensors if name.startswith("kept.")})
        self.average.kept = [_part(tensors, f"kept.{i}.") for i in kept]
        values = self.optimiser.state_dict()
        indices = {int(name.split(".")[1]) for name in tensors if name.startswith("optimiser.")}
        values["state"] = {i: _part(tensors, f"optimiser.{i}.") for i in sorted(indices)}
        self.optimiser.load_state_dict(values)
        random = tensors[f"random.{self.machine.rank}"]
        size = len(torch.get_rng_state())
        torch.set_rng_state(random[:size])
        if self.machine.device.type == "cuda" and len(random) > size:
            torch.cuda.set_rng_state(random[size:])

    def _prepared(self) -> Prepared:
        """Prepare the data once for all processes."""
        if self.machine.first:
            _check_out(self.out)
            prepared = prepare(self.out / "run" / "data", self.config, self.reporter.show)
            self.reporter.close()
        self.machine.wait()
        return prepared if self.machine.first else prepare(self.out / "run" / "data", self.config)


def train(config: Config, out: Path, command: str = "", reporter: Reporter | None = None) -> Outcome:
    """Train a model, or go on with a training that was stopped.

    Args:
        config: the run.
        out: the model folder to make; what the run needs to go on is kept in its `run/`.
        command: the command that does this, for the model's card.
        reporter: where progress goes.

    Returns:
        How the training ended; the model is in `out`.

    Raises:
        UserError: bad data, a folder of something else, options other than the stopped run's, a full disk, or a
            training that has lost its way (no finite gradients).
    """
    reporter = reporter or Reporter()
    run = Run(config, out, command, reporter)
    state, t = run.state, config.train
    limits = [t.epochs, t.steps, t.minutes, t.patience]
    if state.finished and state.limits == limits:
        reporter.say(f"{out}: this training is finished ({state.finished}); raise train.epochs to go on with it")
        return _outcome(run)
    _say_start(run)
    state.finished, state.limits = "", limits
    tally = Tally()
    while not state.finished:
        batches = run.batches(state.epoch)
        while state.position < len(batches) and not state.finished:
            tally.add(_update(run, batches[state.position : state.position + t.accumulate]))
            state.position += t.accumulate
            _report(run, tally)
            if t.valid_every and state.update % t.valid_every == 0:
                _validate(run)
            state.finished = state.finished or _limit_reached(run)
            if _checkpoint_due(run):
                run.checkpoint()
        if state.position >= len(batches):
            state.epoch, state.position = state.epoch + 1, 0
            if not t.valid_every:
                _validate(run)
            run.checkpoint()
    if state.position and not (t.valid_every and state.update % t.valid_every == 0):
        _validate(run)  # stopped within a pass
    run.checkpoint()
    run.log.close()
    reporter.close()
    _say_end(run)
    return _outcome(run)


class Tally:
    """Losses and speed since the last line of the log."""

    def __init__(self) -> None:
        self.sums = torch.zeros(3, dtype=torch.float64)  # nll, target pieces, sentences
        self.began = time.monotonic()
        self.norm = self.rate = 0.0

    def add(self, update: tuple[torch.Tensor, float, float]) -> None:
        """Take in an update's sums, gradient norm and learning rate."""
        self.sums += update[0]
        self.norm, self.rate = update[1:]

    @property
    def loss(self) -> float:
        """Nats a target piece."""
        return float(self.sums[0] / self.sums[1].clamp(min=1))

    @property
    def speed(self) -> float:
        """Target pieces a second."""
        return float(self.sums[1]) / (time.monotonic() - self.began + 1e-9)


def _update(run: Run, group: list[Any]) -> tuple[torch.Tensor, float, float]:
    """Add up the gradients of some batches over all processes, and take one step of the optimiser.

    Returns:
        [nll, target pieces, sentences] summed, the gradient's norm, and the learning rate.
    """
    t, state, model = run.config.train, run.state, run.model
    model.train()
    sums = torch.zeros(3, dtype=torch.float64)
    for rows in group:
        sources, targets = run.batch(rows, state.epoch)
        with run.machine.products():
            inputs = _sampled(run, sources, targets)
            loss = model.loss(sources, targets, t.label_smoothing, inputs)
        torch.autograd.backward(loss.total)
        sums += torch.tensor([float(loss.nll), loss.pieces, len(rows)], dtype=torch.float64)
    sums = run.machine.total(sums)
    run.machine.total_gradients(model.parameters())
    grads = [weight.grad for weight in model.parameters() if weight.grad is not None]
    count = float(sums[1] if t.normalise == "tokens" else sums[2])
    norm = float(torch.nn.utils.get_total_norm(grads)) / count
    rate = learning_rate(t, state.update, run.epochs, run.total, state.lowered)
    if math.isfinite(norm):
        torch._foreach_mul_(grads, min(1.0, t.clip / (norm + 1e-12)) / count if t.clip else 1 / count)
        for parameters in run.optimiser.param_groups:
            parameters["lr"] = rate
        run.optimiser.step()
        state.bad = 0
    else:
        state.bad += 1
        if state.bad == BAD_UPDATES:
            raise UserError(
                f"the training has lost its way: no finite gradient in {BAD_UPDATES} updates up to {state.update}; "
                "lower train.learning_rate, lengthen train.warmup, or set train.clip"
            )
    run.optimiser.zero_grad()
    state.update += 1
    run.average.update(model, state.update)
    return sums, norm, rate


def _sampled(run: Run, sources: torch.Tensor, targets: torch.Tensor) -> torch.Tensor | None:
    """The decoder's inputs under scheduled sampling (Bengio 2015); None without.

    In two passes, as Mihaylova 2019: the model's own pieces are drawn at teacher-forced positions, and a share of the
    inputs is replaced by them. So every decoder keeps its fast whole-target call.
    """
    t = run.config.train
    share = t.scheduled_sampling * min(1.0, run.state.update / t.scheduled_sampling_steps)
    if share == 0:
        return None
    own, given = shifted(run.model.guesses(sources, targets)), shifted(targets)
    return torch.where(torch.rand(given.shape, device=given.device) < share, own, given)


def _report(run: Run, tally: Tally) -> None:
    state, metric = run.state, run.config.train.metric
    best = "" if state.best is None else f", best {metric} {state.best:.2f}"
    detail = f"epoch {run.epochs:.2f}, loss {tally.loss:.3f}, {tally.speed:,.0f} pieces/s{best}"
    if run.machine.first:
        run.reporter.show("training", state.update, run.total, detail)
    if state.update % LOG_EVERY == 0:
        values = {"epoch": run.epochs, "train_loss": tally.loss, "learning_rate": tally.rate, "gradient": tally.norm}
        run.log.write(state.update, values | {"pieces_per_second": tally.speed})
        tally.__init__()  # type: ignore[misc]


def _validate(run: Run) -> None:
    """Measure the averaged weights, keep them if they are the best so far, and decide on patience and plateau."""
    state, t = run.state, run.config.train
    averaged = run.average.at_validation(run.model)
    verdict: tuple[float | None, bool] = (None, False)
    if run.validator is not None:
        now = copied(run.model)
        put(run.model, averaged)
        found = run.validator.measure(run.model, decode=run.epochs >= t.valid_start)
        put(run.model, now)
        value = None if found.score is None else found.score.value
        better = value is not None and (
            state.best is None or (value > state.best if metrics.HIGHER_IS_BETTER[t.metric] else value < state.best)
        )
        _say_validation(run, found, better)
        if better:
            save_model(run, averaged, found)
        verdict = value, better
    value, better = run.machine.share(verdict)
    if better:
        state.best, state.best_update, state.since_best = value, state.update, 0
    elif value is not None:
        state.since_best += 1
        if state.since_best % t.plateau_patience == 0:
            state.lowered += 1
        if t.patience and state.since_best >= t.patience:
            state.finished = f"no better {t.metric} in {t.patience} validations"


def save_model(run: Run, weights: Weights, found: Validation) -> None:
    """Write the model folder with these weights."""
    state = run.state
    card = folder.Card(
        command=run.command,
        data=", ".join(run.config.data.train),
        pairs=run.data.pairs,
        parameters=sum(w.numel() for w in weights.values()),
        updates=state.update,
        epochs=round(run.epochs, 2),
        minutes=round((time.monotonic() - run.began) / 60, 1),
        scores=[] if found.score is None else [found.score],
        seed=run.config.train.seed,
        version=__version__,
        samples=found.samples,
    )
    arrays = {name: weight.float().cpu().numpy() for name, weight in weights.items()}
    folder.save(run.out, run.config, run.data.source, run.data.target, arrays, card)


def _say_validation(run: Run, found: Validation, better: bool) -> None:
    state = run.state
    values: dict[str, Any] = {"epoch": run.epochs, "valid_loss": found.loss}
    score = ""
    if found.score is not None and found.score.name != "loss":
        values[f"valid_{found.score.name}"] = found.score.value
        score = f", {found.score.name} {found.score.value:.2f}{' (best so far)' if better else ''}"
    run.log.write(state.update, values)
    perplexity = math.exp(min(found.loss, 20))
    minutes = clock(time.monotonic() - run.began)
    run.reporter.say(
        f"update {state.update}, epoch {run.epochs:.2f}, {minutes}: "
        f"validation loss {found.loss:.3f} (perplexity {perplexity:.2f}){score}"
    )
    for source, output, reference in found.samples:
        run.reporter.say(f"    source    {source}\n    output    {output}\n    reference {reference}")
    for warning in found.warnings:
        run.reporter.say(f"    warning: {warning}")


def _say_start(run: Run) -> None:
    if not run.machine.first:
        return
    count = sum(weight.numel() for weight in run.model.parameters())
    precision = "bfloat16 products" if run.machine.bfloat16 else "float32"
    processes = f", {run.machine.world} processes" if run.machine.world > 1 else ""
    left_out = ", ".join(f"{n:,} {why}" for why, n in run.data.train.left_out.items() if n)
    run.reporter.say(
        f"{len(run.data.train):,} training pairs{f' (left out: {left_out})' if left_out else ''}, "
        f"{len(run.data.valid):,} development pairs; {len(run.data.source):,} source and "
        f"{len(run.data.target):,} target pieces\n"
        f"{count:,} weights, {run.machine.device}, {precision}{processes}, {run.total:,} updates at most"
    )
    if run.state.update:
        run.reporter.say(f"going on from update {run.state.update:,} (epoch {run.epochs:.2f})")


def _say_end(run: Run) -> None:
    if run.machine.first:
        state, metric = run.state, run.config.train.metric
        best = "" if state.best is None else f"; best {metric} {state.best:.2f} at update {state.best_update:,}"
        run.reporter.say(f"{state.finished} after {clock(state.seconds)}{best}; the model is in {run.out}")


def _limit_reached(run: Run) -> str:
    t, state = run.config.train, run.state
    late = bool(t.minutes) and time.monotonic() - run.began >= t.minutes * 60
    if run.machine.share(late):
        return f"{t.minutes:g} minutes are over"
    return f"all {state.update:,} updates are made" if state.update >= run.total else ""


def _checkpoint_due(run: Run) -> bool:
    t, update = run.config.train, run.state.update
    if t.checkpoint_every and update % t.checkpoint_every == 0:
        return True
    if t.valid_every and update % t.valid_every == 0:
        return True
    return bool(run.machine.share(time.monotonic() - run.saved > CHECKPOINT_SECONDS))


def _outcome(run: Run) -> Outcome:
    s = run.state
    return Outcome(run.out, s.best, run.config.train.metric, s.update, run.epochs, s.seconds / 60, s.finished)


def _part(tensors: Weights, prefix: str) -> Weights:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _check_out(out: Path) -> None:
    """Refuse an output folder that holds something else."""
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; name a folder for the model")
    if out.is_dir() and not (out / "run").is_dir() and any(out.iterdir()):
        raise UserError(f"{out} is not empty and holds no training to go on with; name another folder for the model")


def _check_same(meta: dict[str, Any], config: Config, world: int, out: Path) -> None:
    """Refuse to continue a run with options that would have made another one."""
    old, new = meta["config"], config.model_dump()
    changes = [
        f"{section}.{key} was {json.dumps(old.get(section, {}).get(key))}, now {json.dumps(value)}"
        for section in ("data", "text", "model", "train")
        for key, value in new[section].items()
        if old.get(section, {}).get(key) != value and not (section == "train" and key in FREE)
    ]
    if meta["world"] != world:
        changes.append(f"{meta['world']} processes were training, now {world}")
    if changes:
        raise UserError(
            f"{out} holds a training with other options ({'; '.join(changes)}); "
            "write the new one to another folder, or delete this one"
        )
