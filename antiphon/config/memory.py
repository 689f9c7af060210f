"""The size of a model and of its training, by arithmetic from the configuration alone.

It must follow `nn.model.build`; a test holds the count of parameters to it over every option.
"""

import os
from dataclasses import dataclass

from antiphon.config.kinds import BRIDGES, CELLS, READOUTS, SCORES, linear
from antiphon.config.sections import Config, Model
from antiphon.config.shapes import Shapes, shapes, sizes


@dataclass(frozen=True)
class Estimate:
    """Size of a model and of its training; bytes are estimates, and PyTorch itself comes on top."""

    parameters: int
    weights_bytes: int
    training_bytes: int
    source_vocabulary: int
    target_vocabulary: int


def estimate(config: Config, source_size: int, target_size: int) -> Estimate:
    """Estimate the size of a model and of its training.

    Args:
        config: the run's.
        source_size: pieces in the source vocabulary.
        target_size: pieces in the target vocabulary; joint vocabularies have this size on both sides.

    Returns:
        The exact number of parameters, and bytes: of the weights, and of weights, gradients, optimiser, averages and
        one batch's activations.
    """
    source_size = target_size if config.text.joint else source_size
    count = parameters(config.model, source_size, target_size)
    train = config.train
    copies = (
        2
        + {"sgd": 0, "adadelta": 2, "adam": 2, "adamw": 2}[train.optimiser]
        + (train.ema > 0)
        + (train.average_last > 0)
    )
    training = 4 * (count * copies + _activations(config, target_size))
    return Estimate(count, 4 * count, training, source_size, target_size)


def _activations(config: Config, vocabulary: int) -> int:
    """Numbers kept for the backward pass of one batch, roughly: the larger tensors of every position."""
    m, sentence = config.model, 32  # pieces in a usual sentence
    size = shapes(m)
    positions = config.train.batch * (1 if config.train.batch_unit == "tokens" else sentence)
    positions *= 2 if config.train.r_drop else 1
    gates = 2 * (CELLS[m.cell].gates + 2)  # gates and states, and their gradients
    encoder = m.encoder_layers * size.directions * gates * m.encoder_hidden
    decoder = m.decoder_layers * gates * m.decoder_hidden
    attention = 2 * sentence * max(m.heads, SCORES[m.score].coverage(sizes(m))) if size.attends else 0
    logits = min(positions, 512) * vocabulary * 2  # the output layer works in chunks
    return positions * (4 * m.embedding + encoder + decoder + attention + 4 * m.decoder_hidden) + logits


def parameters(model: Model, source_vocabulary: int, target_vocabulary: int) -> int:
    """Count a model's parameters from its configuration alone, as `nn.model.build` would make it."""
    m, size = model, shapes(model)
    inputs = [m.embedding] + [size.memory] * (m.encoder_layers - 1)
    encoder = sum(size.directions * _layer(m, i, m.encoder_hidden) + _norm(m, size.memory) for i in inputs)
    inputs = [m.embedding + size.feed] + [m.decoder_hidden] * (m.decoder_layers - 1)
    if size.below < m.decoder_layers:
        inputs[size.below] += size.context
    decoder = sum(_layer(m, i, m.decoder_hidden) + _norm(m, m.decoder_hidden) for i in inputs)
    summary = linear(size.final, m.decoder_hidden) if size.context and not size.attends else 0
    readout = READOUTS[m.readout].parameters(m.decoder_hidden + size.context, m.embedding, size.readout)
    embeddings = m.embedding * (target_vocabulary + (0 if m.tie == "all" else source_vocabulary))
    output = target_vocabulary * (1 if m.tie != "none" else size.readout + 1)
    copier = linear(size.readout, 1) if m.copy_source else 0
    bridge = _bridge(m, size)
    return sum((encoder, summary, _attention(m, size), bridge, decoder, readout, embeddings, output, copier))


def _layer(m: Model, inputs: int, hidden: int) -> int:
    """Weights of a layer in one direction; with normalised gates also gains and biases."""
    cell = CELLS[m.cell]
    norms = 4 * cell.gates * hidden + (2 * hidden if "cell" in cell.state else 0) if m.layer_norm == "gates" else 0
    return cell.parameters(inputs, hidden) + norms


def _norm(m: Model, size: int) -> int:
    return 2 * size if m.layer_norm == "output" else 0


def _attention(m: Model, size: Shapes) -> int:
    if not size.attends:
        return 0
    score, n = SCORES[m.score], sizes(m)
    return score.parameters(n) + (score.coverage(n) if m.coverage else 0)


def _bridge(m: Model, size: Shapes) -> int:
    if not BRIDGES[m.bridge].maps:
        return 0
    maps = 1 if CELLS[m.cell].element_wise else len(size.state)
    return linear(size.bridge, m.decoder_hidden) * m.decoder_layers * maps


def machine_memory() -> int:
    """This computer's memory in bytes; 0 where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows
        return 0


def readable(count: float) -> str:
    """Bytes for people: 1536 -> '2 KiB'."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:,.0f} {unit}"
        count /= 1024
    return f"{count:,.1f} GiB"
