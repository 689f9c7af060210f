"""Optimisers, learning-rate schedules, and averaged weights.

Everything here is a plain function of the run's options and of how far it has come, so that a resumed run continues as
if it had never been stopped.
"""

import math
from collections.abc import Iterable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from antiphon.config.sections import Train

Weights = dict[str, Tensor]

RISE = 100  # updates over which the rate of an extended run rises again, if `warmup` is shorter


def optimiser(parameters: Iterable[nn.Parameter], options: Train) -> torch.optim.Optimizer:
    """The optimiser a run asks for, at its highest learning rate."""
    o, weights = options, list(parameters)
    betas = (o.beta1, o.beta2)
    match o.optimiser:
        case "sgd":
            return torch.optim.SGD(weights, lr=o.learning_rate)
        case "adadelta":
            return torch.optim.Adadelta(weights, lr=o.learning_rate, rho=o.rho, eps=o.epsilon)
        case "adam":
            return torch.optim.Adam(weights, lr=o.learning_rate, betas=betas, eps=o.epsilon, fused=True)
        case "adamw":
            return torch.optim.AdamW(
                weights, lr=o.learning_rate, betas=betas, eps=o.epsilon, weight_decay=o.weight_decay, fused=True
            )


def learning_rate(
    options: Train, update: int, epoch: float, total: int, lowered: int, time: float = 0.0, extended: int = 0
) -> float:
    """The learning rate of an update: linear warm-up, then the schedule.

    `cosine` follows the larger of two shares, that of the updates and that of the time, so it reaches zero at whichever
    limit comes first. Where the end was moved, the rate rises again from zero to the new curve.

    Args:
        options: the `[train]` section.
        update: updates made so far.
        epoch: passes over the data made so far, with their fraction.
        total: updates of the whole run, as far as it is known; `cosine` reaches zero there.
        lowered: times that `plateau` has lowered the rate.
        time: share of `minutes` that is used; 0 without such a limit.
        extended: the update after which the run was last given another end; 0: never.
    """
    o = options
    if update < o.warmup:
        return o.learning_rate * (update + 1) / o.warmup
    steps = max(0, math.floor((epoch - o.decay_start) / o.decay_every) + 1) if epoch >= o.decay_start else 0
    done = min(1.0, max(time, (update - o.warmup) / max(1, total - o.warmup)))
    factors: dict[str, float] = {
        "constant": 1.0,
        "halving": o.decay**steps,  # Sutskever 2014, section 3.4
        "exponential": o.decay ** max(0.0, (epoch - o.decay_start) / o.decay_every),
        "inverse_sqrt": math.sqrt(max(1, o.warmup) / max(1, o.warmup, update + 1)),  # Vaswani 2017, eq. 3
        "cosine": (1 + math.cos(math.pi * done)) / 2 * _risen(options, update, total, extended),
        "plateau": o.decay**lowered,
    }
    return o.learning_rate * factors[o.schedule]


def _risen(options: Train, update: int, total: int, extended: int) -> float:
    """Warm-up of an extended run, as a share of the schedule's rate; it takes a quarter of what is left at most."""
    if not extended:
        return 1.0
    return min(1.0, (update - extended + 1) / max(1, min(max(options.warmup, RISE), (total - extended) // 4)))


class Average:
    """Averaged weights, which are validated and kept instead of the last ones.

    `ema`: an exponential moving average over updates, its decay rising from 0 as (1 + n) / (10 + n) so that the first
    weights are soon forgotten. `last`: the mean of the weights at the last k validations, of the averaged ones where
    both are on.
    """

    def __init__(self, model: nn.Module, decay: float, last: int) -> None:
        self.decay, self.last = decay, last
        self.ema: Weights = copied(model) if decay else {}
        self.kept: list[Weights] = []

    @torch.no_grad()
    def update(self, model: nn.Module, updates: int) -> None:
        """Average the weights after an update; `updates` counts it."""
        if self.ema:
            decay = min(self.decay, (1 + updates) / (10 + updates))
            for name, weight in model.named_parameters():
                self.ema[name].lerp_(weight, 1 - decay)

    @torch.no_grad()
    def at_validation(self, model: nn.Module) -> Weights:
        """The weights to validate now; remembers them for the mean of the last k."""
        now = {name: w.clone() for name, w in self.ema.items()} if self.ema else copied(model)
        if not self.last:
            return now
        self.kept = [*self.kept, now][-self.last :]
        return {name: torch.stack([w[name] for w in self.kept]).mean(0) for name in now}


def copied(model: nn.Module) -> Weights:
    """A copy of a model's weights by name, tied ones once."""
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


@torch.no_grad()
def put(model: nn.Module, weights: Weights) -> None:
    """Set a model's weights."""
    for name, weight in model.named_parameters():
        weight.copy_(weights[name])


@torch.no_grad()
def put_rows(weight: Tensor, rows: Mapping[int, NDArray[np.float32]]) -> None:
    """Set some rows of a matrix [V, E], by number, [E] each."""
    for number, row in rows.items():
        weight[number] = torch.from_numpy(row)
