"""How fast this machine trains a configuration, measured by a few real updates on random pieces."""

import time

import numpy as np
import torch

from antiphon.config.sections import Config
from antiphon.data.tokenizer import SPECIALS
from antiphon.nn.model import build
from antiphon.training.device import open_device
from antiphon.training.optim import optimiser

SECONDS = 1.0  # of updates that count
FIRST = 2  # updates that do not: compiled code is loaded, memory is claimed
SHAPES = 0.7, 1.0, 1.3  # lengths of batches, in mean lengths


def pairs_a_second(config: Config, source: int, target: int) -> float:
    """Measure the speed of training.

    Args:
        config: the run; its batch, device and precision count.
        source, target: mean lengths in pieces.

    Returns:
        Pairs a second, of all processes together.
    """
    t = config.train
    device = open_device(t)
    size = config.text.size
    model = build(config.model, config.text.source_size or size, size).to(device.torch).train()
    optim = optimiser(model.parameters(), t)
    rng = np.random.default_rng(1)
    done, began, number = 0, time.monotonic(), 0
    while number <= FIRST or time.monotonic() - began < SECONDS:
        share = SHAPES[number % len(SHAPES)]
        lengths = [max(2, round(share * length)) for length in (source, target)]
        rows = t.batch if t.batch_unit == "sentences" else max(1, t.batch // lengths[1])
        pieces = [rng.integers(len(SPECIALS), size, (rows, length)) for length in lengths]
        sources, targets = (torch.from_numpy(side).to(device.torch) for side in pieces)
        with device.products():
            loss = model.loss(sources, targets, t.label_smoothing)
        torch.autograd.backward(loss.total / loss.pieces)
        optim.step()
        optim.zero_grad()
        float(loss.nll.detach())  # waits for a GPU
        number += 1
        if number == FIRST:
            done, began = 0, time.monotonic()
        elif number > FIRST:
            done += rows
    return device.world * done / (time.monotonic() - began)
