"""Training: one visible loop.

    prepare the data -> build the model, or go on from a checkpoint -> update, validate, keep the best -> a model folder

A run lives in its output folder: `run/` holds the prepared data, checkpoints, the log and TensorBoard's files, and the
folder itself is the model, the best one so far. The same command continues a run that was stopped, however it was
stopped, and ends with the same weights, bit for bit on a processor with the same number of threads.
"""

import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from antiphon import __version__, checkpoint, folder, metrics
from antiphon.batches import Batches, Rows, epoch_batches, pad
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
    validated: int = 0  # the update of the last validation
    lowered: int = 0  # times that `plateau` has lowered the learning rate
    best: float | None = None  # the best validation's score
    best_update: int = 0
    since_best: int = 0  # validations without a better one
    bad: int = 0  # updates without a finite gradient, one after the other
    seconds: float = 0.0  # of training, over all its parts
    logged: int = 0  # bytes of the log
    finished: bool = False  # the last validation is made and the model is written


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
        self.batches = self._pass(self.state.epoch)
        self.total = self._total()
        self.began = time.monotonic() - self.state.seconds
        self.saved = time.monotonic()
        data, first = self.data, self.machine.first
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
    state = run.state
    if state.finished and (reason := _over(run)):
        if run.machine.first:
            reporter.say(f"{out}: this training is finished ({reason}); to go on with it, raise that limit")
        return _outcome(run, reason)
    _say_start(run)
    tally = Tally()
    with run.begin(), reporter:
        while not (reason := _over(run)):
            began = time.monotonic()
            update = _update(run)
            tally.add(update, time.monotonic() - began)
            _show(run, tally)
            if state.update % LOG_EVERY == 0:
                run.log.write(state.update, {"epoch": run.epochs, **tally.values(update)})
                tally = Tally()
            if _validation_due(run):
                _validate(run)
            if _checkpoint_due(run):
                run.checkpoint()
        if state.validated < state.update or state.best is None:
            _validate(run, last=True)
        state.finished = True
        run.checkpoint()
    _say_end(run, reason)
    return _outcome(run, reason)


class Update(NamedTuple):
    """What an update did, over all its batches and processes."""

    nll: float  # summed, in nats
    pieces: int  # of the targets
    norm: float  # of the gradient of the normalised loss, before clipping
    learning_rate: float


class Tally:
    """Loss and speed since the last line of the log."""

    def __init__(self) -> None:
        self.nll = self.pieces = self.seconds = 0.0

    def add(self, update: Update, seconds: float) -> None:
        """Take in an update and the time that it took; one that was skipped does not count."""
        if math.isfinite(update.norm):
            self.nll += update.nll
            self.pieces += update.pieces
            self.seconds += seconds

    @property
    def loss(self) -> float:
        """Nats a target piece."""
        return self.nll / self.pieces if self.pieces else math.nan

    @property
    def speed(self) -> float:
        """Target pieces a second."""
        return self.pieces / max(self.seconds, 1e-9)

    def values(self, last: Update) -> dict[str, float]:
        """What the log says."""
        return {
            "train_loss": self.loss,
            "learning_rate": last.learning_rate,
            "gradient": last.norm,
            "pieces_per_second": self.speed,
        }


def _update(run: Run) -> Update:
    """Add up the gradients of the next batches over all processes, and take one step of the optimiser."""
    t, state, model = run.config.train, run.state, run.model
    model.train()
    sums = torch.zeros(3, dtype=torch.float64)  # nll, target pieces, sentences
    for rows in run.batches[state.position : state.position + t.accumulate]:
        sources, targets = run.batch(rows)
        inputs = _sampled(run, sources, targets)
        with run.machine.products():
            loss = model.loss(sources, targets, t.label_smoothing, inputs)
        torch.autograd.backward(loss.total)
        sums += torch.tensor([float(loss.nll), loss.pieces, len(rows)], dtype=torch.float64)
    nll, pieces, sentences = run.machine.total(sums).tolist()
    run.machine.total_gradients(model.parameters())
    rate = learning_rate(t, state.update, run.epochs, run.total, state.lowered)
    norm = _step(run, pieces if t.normalise == "tokens" else sentences, rate)
    state.update += 1
    run.average.update(model, state.update)
    run.advance()
    return Update(nll, int(pieces), norm, rate)


def _step(run: Run, count: float, rate: float) -> float:
    """Divide the summed gradients by `count`, clip them, take a step, and return the norm that they had.

    Raises:
        UserError: gradients have not been finite for too long.
    """
    state, clip = run.state, run.config.train.clip
    grads = [weight.grad for weight in run.model.parameters() if weight.grad is not None]
    norm = float(torch.nn.utils.get_total_norm(grads)) / count
    if math.isfinite(norm):
        torch._foreach_mul_(grads, min(1.0, clip / (norm + 1e-12)) / count if clip else 1 / count)
        for group in run.optimiser.param_groups:
            group["lr"] = rate
        run.optimiser.step()
        state.bad = 0
    else:
        state.bad += 1
        if state.bad == BAD_UPDATES:
            raise UserError(
                f"the training has lost its way: no finite gradient in {BAD_UPDATES} updates up to {state.update + 1}; "
                "start again in another folder with a lower train.learning_rate, a longer train.warmup, or train.clip"
            )
    run.optimiser.zero_grad()
    return norm


def _sampled(run: Run, sources: torch.Tensor, targets: torch.Tensor) -> torch.Tensor | None:
    """The decoder's inputs under scheduled sampling (Bengio 2015); None without.

    In two passes, as Mihaylova 2019: the model's own pieces are drawn at teacher-forced positions, and a share of the
    inputs is replaced by them. So every decoder keeps its fast whole-target call.
    """
    t = run.config.train
    share = t.scheduled_sampling * min(1.0, run.state.update / t.scheduled_sampling_steps)
    if share == 0:
        return None
    with run.machine.products():
        own = shifted(run.model.guesses(sources, targets))
    given = shifted(targets)
    return torch.where(torch.rand(given.shape, device=given.device) < share, own, given)


def _validate(run: Run, last: bool = False) -> None:
    """Measure the averaged weights, keep them if they are the best so far, and count towards patience and plateau."""
    state, t = run.state, run.config.train
    averaged = run.average.at_validation(run.model)
    verdict: tuple[float | None, bool] = (None, False)
    if run.validator is not None:
        now = copied(run.model)
        put(run.model, averaged)
        found = run.validator.measure(run.model, decode=last or run.epochs >= t.valid_start)
        put(run.model, now)
        verdict = _judge(t.metric, found.score, state.best)
        _say_validation(run, found, verdict[1])
        if verdict[1]:
            _save_model(run, averaged, found)
    value, better = run.machine.share(verdict)
    state.validated = state.update
    if better:
        state.best, state.best_update, state.since_best = value, state.update, 0
    elif value is not None:
        state.since_best += 1
        if state.since_best % t.plateau_patience == 0:
            state.lowered += 1


def _judge(metric: str, score: metrics.Score | None, best: float | None) -> tuple[float | None, bool]:
    """A validation's value, and whether it is the best so far; no number at all counts as a bad one."""
    if score is None:
        return None, False
    value = score.value
    if best is None or not math.isfinite(value):
        return value, math.isfinite(value)
    return value, value > best if metrics.HIGHER_IS_BETTER[metric] else value < best


def _save_model(run: Run, weights: Weights, found: Validation) -> None:
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


def _show(run: Run, tally: Tally) -> None:
    if run.machine.first:
        state, metric = run.state, run.config.train.metric
        best = "" if state.best is None else f", best {metric} {state.best:.2f}"
        detail = f"epoch {run.epochs:.2f}, loss {tally.loss:.3f}, {tally.speed:,.0f} pieces/s{best}"
        run.reporter.show("training", state.update, run.total, detail)


def _say_end(run: Run, reason: str) -> None:
    if run.machine.first:
        state, metric = run.state, run.config.train.metric
        best = "" if state.best is None else f"; best {metric} {state.best:.2f} at update {state.best_update:,}"
        run.reporter.say(f"{reason} after {clock(state.seconds)}{best}; the model is in {run.out}")


def _over(run: Run) -> str:
    """Why the run is over; empty: it is not."""
    t, state = run.config.train, run.state
    if run.epochs >= t.epochs:
        return f"train.epochs = {t.epochs:g} is reached"
    if t.steps and state.update >= t.steps:
        return f"train.steps = {t.steps} is reached"
    if t.patience and state.since_best >= t.patience:
        return f"no better {t.metric} in train.patience = {t.patience} validations"
    if t.minutes and run.machine.share(time.monotonic() - run.began >= t.minutes * 60):
        return f"train.minutes = {t.minutes:g} is reached"
    return ""


def _validation_due(run: Run) -> bool:
    every = run.config.train.valid_every
    return run.state.update % every == 0 if every else run.state.position == 0


def _checkpoint_due(run: Run) -> bool:
    state, every = run.state, run.config.train.checkpoint_every
    if state.validated == state.update or (every and state.update % every == 0):
        return True
    if state.update % LOG_EVERY:
        return False  # processes need not agree on the time at every update
    return bool(run.machine.share(time.monotonic() - run.saved > CHECKPOINT_SECONDS))


def _outcome(run: Run, reason: str) -> Outcome:
    s = run.state
    return Outcome(run.out, s.best, run.config.train.metric, s.update, run.epochs, s.seconds / 60, reason)


def _check_out(out: Path) -> None:
    """Refuse an output folder that holds something else."""
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; name a folder for the model")
    if out.is_dir() and not (out / "run").is_dir() and any(out.iterdir()):
        raise UserError(f"{out} is not empty and holds no training to go on with; name another folder for the model")


def _check_same(meta: dict[str, Any], config: Config, world: int, out: Path) -> None:
    """Refuse to continue a run with options that would have made another one; `prepare` has seen to data and text."""
    old, new = meta["config"], config.model_dump()
    changes = [
        f"{section}.{key} was {json.dumps(old.get(section, {}).get(key))}, now {json.dumps(value)}"
        for section in ("model", "train")
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
