"""The size of a model and of its training, by arithmetic from the configuration alone.

It must follow `nn.model.build`; a test holds the count of parameters to it over every option.
"""

import os
from dataclasses import dataclass

from antiphon.config.sections import Config, Model
from antiphon.config.shapes import CELLS, readout_size


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
        config: the run's
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
    positions = config.train.batch * (1 if config.train.batch_unit == "tokens" else sentence)
    gates = 2 * (CELLS[m.cell].gates + 2)  # gates and states, and their gradients
    encoder = m.encoder_layers * (2 if m.bidirectional else 1) * gates * m.encoder_hidden
    decoder = m.decoder_layers * gates * m.decoder_hidden
    attends = m.decoder not in ("initial", "context")
    attention = 2 * sentence * (m.attention_size if m.score == "additive" else m.heads) if attends else 0
    logits = min(positions, 512) * vocabulary * 2  # the output layer works in chunks
    return positions * (4 * m.embedding + encoder + decoder + attention + 4 * m.decoder_hidden) + logits


def parameters(model: Model, source_vocabulary: int, target_vocabulary: int) -> int:
    """Count a model's parameters from its configuration alone, as `nn.model.build` would make it."""
    m = model
    directions = 2 if m.bidirectional else 1
    memory = m.encoder_hidden * (directions if m.merge == "concat" else 1)
    last = m.encoder_hidden * directions
    sizes = [m.embedding] + [memory] * (m.encoder_layers - 1)
    encoder = sum(directions * _recurrent(m, size, m.encoder_hidden) + _norm(m, memory) for size in sizes)
    attention, context = _attention(m, memory)
    summary = 0
    if m.decoder == "context":
        summary, context = _linear(last, m.decoder_hidden), m.decoder_hidden
    readout = readout_size(m)
    feed = {"context": context, "bahdanau": context, "input_feeding": readout}.get(m.decoder, 0)
    sizes = [m.embedding + feed] + [m.decoder_hidden] * (m.decoder_layers - 1)
    if m.decoder == "between" and m.decoder_layers > 1:
        sizes[1] += context
    decoder = sum(_recurrent(m, size, m.decoder_hidden) + _norm(m, m.decoder_hidden) for size in sizes)
    embeddings = m.embedding * (target_vocabulary + (0 if m.tie == "all" else source_vocabulary))
    output = target_vocabulary * (1 if m.tie != "none" else readout + 1)
    gate = _linear(readout, 1) if m.copy_source else 0
    bridge, deep_output = _bridge(m, last), _readout(m, context, readout)
    return sum((encoder, summary, attention, bridge, decoder, deep_output, embeddings, output, gate))


def _linear(inputs: int, outputs: int, bias: bool = True) -> int:
    return (inputs + bias) * outputs


def _recurrent(m: Model, inputs: int, hidden: int) -> int:
    """Weights of a layer in one direction: W, U, two biases; with normalised gates also gains and biases.

    Those of an SRU: W, a bias, v_f and v_r.
    """
    rows = CELLS[m.cell].gates * hidden
    if CELLS[m.cell].light:
        return rows * (inputs + 1) + 2 * hidden
    norms = 4 * rows + (2 * hidden if m.cell == "lstm" else 0) if m.layer_norm == "gates" else 0
    return rows * (inputs + hidden + 2) + norms


def _norm(m: Model, size: int) -> int:
    return 2 * size if m.layer_norm == "output" else 0


def _attention(m: Model, memory: int) -> tuple[int, int]:
    """Parameters of the attention, and the size of the context it gives."""
    state, inner = m.decoder_hidden, m.attention_size
    if m.decoder in ("initial", "context"):
        return 0, 0
    if m.score == "multi_head":
        context = state if m.readout == "residual" else inner
        return _linear(state, inner) + 2 * _linear(memory, inner) + _linear(inner, context), context
    counts = {
        "dot": 0,
        "scaled_dot": 0,
        "general": _linear(memory, state, bias=False),
        "additive": _linear(state, inner, bias=False) + _linear(memory, inner) + inner,
    }
    coverage = (inner if m.score == "additive" else 1) if m.coverage else 0
    return counts[m.score] + coverage, memory


def _bridge(m: Model, last: int) -> int:
    if m.bridge not in ("dense", "backward"):
        return 0
    size = m.encoder_hidden if m.bridge == "backward" else last
    maps = 1 if CELLS[m.cell].light else len(CELLS[m.cell].state)
    return _linear(size, m.decoder_hidden) * m.decoder_layers * maps


def _readout(m: Model, context: int, size: int) -> int:
    joined = m.decoder_hidden + context
    if m.readout == "maxout":
        return _linear(joined + m.embedding, 2 * size)
    if m.readout == "residual":
        return 2 * size
    return 0 if m.readout == "linear" and joined == size else _linear(joined, size)


def machine_memory() -> int:
    """This machine's memory in bytes; 0 where the system does not tell."""
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
