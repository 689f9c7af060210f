"""What a training says in the terminal; the first process speaks for all."""

import math
import re
import time

import torch

from antiphon.nn.fused import native
from antiphon.progress import clock
from antiphon.training.run import Run
from antiphon.training.validate import Validation
from antiphon.words import counted


def say_start(run: Run) -> None:
    """Say what is trained, on what, and whether it is resumed."""
    if not run.device.first:
        return
    weights = sum(weight.numel() for weight in run.model.parameters())
    minutes = run.config.train.minutes
    precision = "bfloat16 products" if run.device.bfloat16 else "float32"
    loops = ""
    if run.device.torch.type == "cpu":
        compiled = native.available(torch.float32, run.device.torch, torch.float32)
        loops = ", compiled loops" if compiled else ", plain loops (slower: no C++ compiler that works)"
    processes = f", {run.device.world} processes" if run.device.world > 1 else ""
    left_out = ", ".join(f"{n:,} {why}" for why, n in run.data.train.left_out.items() if n)
    if run.config.data.recombine:
        run.reporter.say(f"{counted(run.data.recombined, 'recombined pair')} added to the training data")
    run.reporter.say(
        f"{counted(len(run.data.train), 'training pair')}{f' (left out: {left_out})' if left_out else ''}, "
        f"{counted(len(run.data.valid), 'development pair')}; {len(run.data.source):,} source and "
        f"{len(run.data.target):,} target pieces\n"
        f"{weights:,} weights, {run.device.torch}, {precision}{loops}{processes}, "
        f"{counted(run.total, 'update')}{f' or {clock(60 * minutes)}' if minutes else ''} at most"
    )
    if run.state.update:
        run.reporter.say(f"resuming from update {run.state.update:,} (epoch {run.epochs:.2f})")
        if run.state.extended == run.state.update:
            run.reporter.say(
                "the training has another end now: its learning rate rises again from zero to the new curve"
            )


def show(run: Run, loss: float, speed: float) -> None:
    """Show how far the training has come.

    Args:
        run: the training.
        loss: of late, in nats a target piece.
        speed: of late, in target pieces a second.
    """
    if run.device.first:
        state, metric = run.state, run.config.train.metric
        best = [] if state.best is None else [f"best {metric} {state.best:.2f}"]
        detail = [f"loss {loss:.3f}", *best, f"epoch {run.epochs:.2f}", f"{speed:,.0f} pieces/s"]
        elapsed = time.monotonic() - run.began
        limit = run.config.train.minutes * 60
        done = max(state.update, run.total * min(1.0, elapsed / limit) if limit else 0)  # whichever ends it
        run.reporter.show("training", done, run.total, ", ".join(detail), elapsed)


def say_validation(run: Run, validation: Validation, better: bool) -> None:
    """Say a validation's scores, and what is new in its outputs and warnings.

    Args:
        run: the training; what was said is noted in it.
        validation: its result.
        better: whether it is the best so far.
    """
    state, score = run.state, ""
    if validation.score is not None and validation.score.name != "loss":
        score = f", {validation.score.name} {validation.score.value:.2f}{' (best so far)' if better else ''}"
    run.reporter.say(
        f"update {state.update}, epoch {run.epochs:.2f}, {clock(time.monotonic() - run.began)}: "
        f"validation loss {validation.loss:.3f} (perplexity {math.exp(min(validation.loss, 20)):.2f}){score}"
    )
    for source, output, reference in validation.samples[:1]:  # the model's card has them all
        if run.last_output is None:
            run.reporter.say(f"    source    {source}\n    reference {reference}")
        if run.last_output != output:
            run.reporter.say(f"    output    {output}")
        run.last_output = output
    for warning in validation.warnings:
        fault = re.sub(r"\d+", "", warning)
        if fault not in run.warned:
            run.reporter.say(f"    warning: {warning}")
        run.warned.add(fault)


def say_finished(run: Run, reason: str) -> None:
    """Say that there is nothing left to train."""
    if run.device.first:
        run.reporter.say(f"{run.out}: this training is finished ({reason}){_advice(reason)}")


def say_end(run: Run, reason: str) -> None:
    """Say why the training has ended, and what it has reached."""
    if run.device.first:
        state, metric = run.state, run.config.train.metric
        best = "" if state.best is None else f"; best {metric} {state.best:.2f} at update {state.best_update:,}"
        run.reporter.say(f"{reason} after {clock(state.seconds)}{best}; the model is in {run.out}{_advice(reason)}")


def _advice(reason: str) -> str:
    """How to continue, where an option has ended the training."""
    option = re.search(r"train\.\w+", reason)
    return f"; to train for longer, run the same command with a larger {option[0]}" if option else ""
