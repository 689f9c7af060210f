"""Training: one visible loop.

    prepare the data -> build the model, or resume a checkpoint -> update, validate, keep the best -> a model folder

A run lives in its output folder: `run/` holds the prepared data, checkpoints, the log and TensorBoard's files, and the
folder itself is the model, the best one so far. The same command resumes a run that was stopped, however it was
stopped, and ends with the same weights, bit for bit on a processor with the same number of threads.
"""

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from antiphon import model_folder
from antiphon.config.sections import Config
from antiphon.data.batches import Rows
from antiphon.errors import UserError
from antiphon.evaluation import metrics
from antiphon.nn.model import shifted
from antiphon.progress import Reporter
from antiphon.training.messages import say_end, say_finished, say_start, say_validation, show
from antiphon.training.optim import Weights, copied, learning_rate, put
from antiphon.training.run import Run, Setup, State, Watch, open_run
from antiphon.training.validate import Validation
from antiphon.version import __version__

LOG_EVERY = 50  # updates between two lines of the log
CHECKPOINT_SECONDS = 600.0  # a long epoch is saved on the way
SHORT_PASS = 10  # updates; shorter passes are not validated one by one
DECODING = 4  # times the work of the development loss that a validation with decoding is
BAD_UPDATES = 20  # updates without a finite gradient, one after the other, that end a run


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


def train(
    config: Config,
    out: Path,
    command: str = "",
    reporter: Reporter | None = None,
    watch: Watch | None = None,
    setup: Setup | None = None,
) -> Outcome:
    """Train a model, or resume a training that was stopped.

    Args:
        config: the run.
        out: the model folder to make; what is needed to resume the run is kept in its `run/`.
        command: the command that does this, for the model's card.
        reporter: where progress goes.
        watch: called after each validation that has a score, with the score; says why to stop, or nothing to continue.
        setup: called with `config` in the first process, once `out` is claimed and before the data are prepared; may
            write what they are made of below `out`, and returns the configuration to train with.

    Returns:
        How the training ended; the model is in `out`.

    Raises:
        UserError: bad data, a folder of something else, options other than the stopped run's, a full disk, or a
            training that diverges (no finite gradients).
    """
    reporter = reporter or Reporter()
    run = open_run(config, out, command, reporter, watch, setup)
    state = run.state
    if state.finished and (reason := end_reason(run)):
        say_finished(run, reason)
        return _outcome(run, reason)
    say_start(run)
    state.finished = False
    tally = Tally()
    with run.log, reporter:
        while not (reason := end_reason(run)):
            began = time.monotonic()
            done = update(run)
            tally.add(done, time.monotonic() - began)
            show(run, tally.loss, tally.speed)
            if state.update % LOG_EVERY == 0:
                run.log.write(state.update, {"epoch": run.epochs, **tally.values(done)})
                if run.config.train.minutes and not state.validated:
                    state.closing = run.device.share(_closing_guess(run, tally.speed))
                tally = Tally()
            if _validation_due(run):
                _validate(run)
            if _checkpoint_due(run):
                run.checkpoint()
        if state.validated < state.update or state.best is None:
            _validate(run, last=True)
        state.finished = True
        run.checkpoint()
        run.device.wait()  # a process that ends while another still writes can break the group
    say_end(run, reason)
    return _outcome(run, reason)


class Update(NamedTuple):
    """What an update did, over all its batches and processes."""

    nll: float  # summed, in nats
    pieces: int  # of the targets
    norm: float  # of the gradient of the normalised loss, before clipping
    learning_rate: float
    sentences: int = 0
    risk: float | None = None  # expected, summed; only in minimum-risk training


class Tally:
    """Loss and speed since the last line of the log."""

    def __init__(self) -> None:
        self.nll = self.pieces = self.seconds = self.risk = self.sentences = 0.0

    def add(self, update: Update, seconds: float) -> None:
        """Add an update and the time that it took; one that was skipped does not count."""
        if math.isfinite(update.norm):
            self.nll += update.nll
            self.pieces += update.pieces
            self.seconds += seconds
            self.risk += update.risk or 0.0
            self.sentences += update.sentences

    @property
    def loss(self) -> float:
        """Nats a target piece."""
        return self.nll / self.pieces if self.pieces else math.nan

    @property
    def speed(self) -> float:
        """Target pieces a second."""
        return self.pieces / max(self.seconds, 1e-9)

    def values(self, last: Update) -> dict[str, float]:
        """The values of a line of the log."""
        values = {
            "train_loss": self.loss,
            "learning_rate": last.learning_rate,
            "gradient": last.norm,
            "pieces_per_second": self.speed,
        }
        return values if last.risk is None else values | {"train_risk": self.risk / max(1, self.sentences)}


def update(run: Run) -> Update:
    """Add up the gradients of the next batches over all processes, and make one step of the optimiser.

    Raises:
        UserError: gradients have not been finite for too long.
    """
    t, state, model = run.config.train, run.state, run.model
    model.train()
    sums = torch.zeros(5, dtype=torch.float64)  # nll, target pieces, sentences, risk, and the first process's time
    for number, rows in enumerate(run.batches[state.position : state.position + t.accumulate]):
        sums += torch.tensor((*_add_gradients(run, rows, number), 0.0), dtype=torch.float64)
    if run.device.first:
        sums[-1] = time.monotonic() - run.began
    nll, pieces, sentences, risk, run.seconds = run.device.total(sums).tolist()
    run.device.total_gradients(model.parameters())
    rate = learning_rate(t, state.update, run.epochs, run.total, state.lowered, run.time, state.extended)
    norm = _step(run, pieces if t.normalise == "tokens" else sentences, rate)
    state.update += 1
    run.average.update(model, state.update)
    run.advance()
    return Update(nll, int(pieces), norm, rate, int(sentences), risk if run.risk else None)


def _add_gradients(run: Run, rows: Rows, number: int) -> tuple[float, int, int, float]:
    """Add the gradient of a batch's loss, the batch of this number in its update; nll, pieces, sentences and risk."""
    t, model = run.config.train, run.model
    sources, targets = run.batch(rows)
    share, risk = (t.risk_share if run.risk else 0.0), 0.0
    with torch.set_grad_enabled(share < 1):
        inputs = sampled_inputs(run, sources, targets)
        with run.device.products():
            loss = model.loss(sources, targets, t.label_smoothing, inputs, t.coverage_loss, t.r_drop)
    if share < 1:
        torch.autograd.backward((1 - share) * loss.total)
    nll, pieces = float(loss.nll), loss.pieces
    del loss  # and with it what its batch left
    if run.risk:
        # The sum of both will be divided by the pieces, or by the sentences; the risk is one of a sentence.
        scale = share * (pieces / len(rows) if t.normalise == "tokens" else 1.0)
        risk = run.risk.backward(model, sources, targets, scale, (t.seed, run.state.update, number, run.device.rank))
    return nll, pieces, len(rows), risk


def _step(run: Run, count: float, rate: float) -> float:
    """Divide the summed gradients by `count`, clip them, make a step, and return the norm that they had."""
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
                f"the training diverges: no finite gradient in {BAD_UPDATES} updates up to {state.update + 1}; "
                "start again in another folder with a lower train.learning_rate, a longer train.warmup, or train.clip"
            )
    run.optimiser.zero_grad()
    return norm


def sampled_inputs(run: Run, sources: torch.Tensor, targets: torch.Tensor) -> torch.Tensor | None:
    """The decoder's inputs under scheduled sampling (Bengio 2015); None without.

    In two passes, as Mihaylova 2019: the model's own pieces are sampled at teacher-forced positions, and a share of the
    inputs is replaced by them. So every decoder keeps its fast whole-target call.

    Args:
        run: the training.
        sources, targets: ids [B, S] and [B, T].
    """
    t = run.config.train
    share = t.scheduled_sampling * min(1.0, run.state.update / t.scheduled_sampling_steps)
    if share == 0:
        return None
    with run.device.products():
        own = shifted(run.model.guesses(sources, targets))
    teacher = shifted(targets)
    return torch.where(torch.rand(teacher.shape, device=teacher.device) < share, own, teacher)


def _validate(run: Run, last: bool = False) -> None:
    """Validate the averaged weights, keep them if they are the best so far, and count towards patience and plateau."""
    state, t, began = run.state, run.config.train, time.monotonic()
    averaged = run.average.at_validation(run.model)
    verdict: tuple[float | None, float, bool] = (None, math.inf, False)
    decode = last or run.epochs >= t.valid_start
    if run.validator is not None:
        now = copied(run.model)
        put(run.model, averaged)
        validation = run.validator.validate(run.model, decode=decode)
        put(run.model, now)
        verdict = judge(t.metric, validation, state)
        _log_validation(run, validation)
        say_validation(run, validation, better=verdict[2])
        if verdict[2]:
            _save_model(run, averaged, validation)
        if run.watch is not None and verdict[0] is not None:
            run.stopped = run.watch(verdict[0])
    closing = (time.monotonic() - began) * (1 if decode else DECODING) + run.saving
    (value, loss, better), run.stopped, closing = run.device.share((verdict, run.stopped, closing))
    if not last:  # the last one's must not move the end that was reached
        state.closing = closing
    state.validated = state.update
    if better:
        state.best, state.best_loss, state.best_update, state.since_best = value, loss, state.update, 0
    elif value is not None:
        state.since_best += 1
        if state.since_best % t.plateau_patience == 0:
            state.lowered += 1


def judge(metric: str, validation: Validation, state: State) -> tuple[float | None, float, bool]:
    """A validation's value and loss, and whether it is the best so far.

    Of equal scores the lower loss is better, as when all are zero at first; no number at all counts as a bad one.
    """
    if validation.score is None:
        return None, validation.loss, False
    value, sign = validation.score.value, 1 if metrics.METRICS[metric].higher_is_better else -1
    if state.best is None or not math.isfinite(value):
        return value, validation.loss, math.isfinite(value)
    better = (sign * value, -validation.loss) > (sign * state.best, -state.best_loss)
    return value, validation.loss, better


def _closing_guess(run: Run, speed: float) -> float:
    """Seconds of a validation before there was one: loss and decoding, like training on as many pieces."""
    return 0.0 if run.validator is None else sum(map(len, run.validator.targets)) / speed


def _log_validation(run: Run, validation: Validation) -> None:
    values: dict[str, Any] = {"epoch": run.epochs, "valid_loss": validation.loss}
    if validation.score is not None and validation.score.name != "loss":
        values[f"valid_{validation.score.name}"] = validation.score.value
    run.log.write(run.state.update, values)


def _save_model(run: Run, weights: Weights, validation: Validation) -> None:
    """Write the model folder with these weights."""
    state = run.state
    card = model_folder.Card(
        command=run.command,
        data=", ".join(run.config.data.train),
        pairs=run.data.pairs,
        recombined=run.data.recombined,
        parameters=sum(w.numel() for w in weights.values()),
        updates=state.update,
        epochs=round(run.epochs, 2),
        minutes=round((time.monotonic() - run.began) / 60, 1),
        scores=[] if validation.score is None else [validation.score],
        seed=run.config.train.seed,
        version=__version__,
        samples=validation.samples,
    )
    arrays = {name: weight.float().cpu().numpy() for name, weight in weights.items()}
    model_folder.save(run.out, run.config, run.data.source, run.data.target, arrays, card)


def end_reason(run: Run) -> str:
    """Why the run is over; empty: it is not."""
    t, state = run.config.train, run.state
    if run.stopped:
        return run.stopped
    if run.epochs >= t.epochs:
        return f"train.epochs = {t.epochs:g} is reached"
    if t.steps and state.update >= t.steps:
        return f"train.steps = {t.steps} is reached"
    if t.patience and state.since_best >= t.patience:
        return f"no better {t.metric} in train.patience = {t.patience} validations"
    if run.time >= 1:
        return f"train.minutes = {t.minutes:g} is reached"
    return ""


def _validation_due(run: Run) -> bool:
    every, state = run.config.train.valid_every, run.state
    limit = run.config.train.minutes * 60
    if limit and run.seconds + 2 * state.closing >= limit:
        return False  # there is time for the last one alone
    if every:
        return state.update % every == 0
    return state.position == 0 and state.update - state.validated >= SHORT_PASS


def _checkpoint_due(run: Run) -> bool:
    state, every = run.state, run.config.train.checkpoint_every
    if state.validated == state.update or (every and state.update % every == 0):
        return True
    if state.update % LOG_EVERY:
        return False  # processes need not agree on the time at every update
    return bool(run.device.share(time.monotonic() - run.saved > CHECKPOINT_SECONDS))


def _outcome(run: Run, reason: str) -> Outcome:
    s = run.state
    return Outcome(run.out, s.best, run.config.train.metric, s.update, run.epochs, s.seconds / 60, reason)
