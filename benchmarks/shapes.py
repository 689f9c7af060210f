"""The two shapes that every system trains, and the operations that one of their updates needs.

Letters: E embedding, H encoder units a direction, R directions, D decoder units, L layers, A units of the additive
attention (0: none), V vocabulary, S source pieces, T target pieces.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

PASSES = 3  # forward, and backward for the inputs and for the weights


@dataclass(frozen=True)
class Shape:
    """A recurrent encoder and decoder with separate embeddings; input feeding is of D units."""

    name: str
    embedding: int
    encoder_hidden: int
    directions: int
    decoder_hidden: int
    layers: int
    attention: int
    vocabulary: int = 8000
    decoder: str = "input_feeding"  # as `model.decoder` names it
    score: str = "additive"  # as `model.score` names it; of no use to the decoder `initial`
    readout: str = "tanh"  # of Antiphon, as `model.readout` names it; the peers have no choice
    batch: int = 128  # sentences an update

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


SMALL = Shape(  # its readout as OpenNMT-py's and Eole's after an additive score
    "small", embedding=256, encoder_hidden=256, directions=2, decoder_hidden=512, layers=1, attention=512,
    readout="linear",
)  # fmt: skip
LARGE = Shape(
    "large", embedding=1000, encoder_hidden=1000, directions=1, decoder_hidden=1000, layers=4, attention=0,
    decoder="initial", readout="linear",
)  # fmt: skip
SHAPES = {shape.name: shape for shape in (SMALL, LARGE)}


def products(shape: Shape, sources: Sequence[int], targets: Sequence[int]) -> dict[str, float]:
    """Multiply-adds of one forward pass a target piece, by part of the model.

    Padding is work that a better batch would save, so it does not count; nor does what is no matrix product.

    Args:
        shape: the model's sizes.
        sources, targets: the lengths of the pairs, in pieces; the end of a sentence counts where it is read or written.
    """
    T = sum(targets)
    source = sum(sources) / T  # source pieces a target piece
    seen = sum(s * t for s, t in zip(sources, targets, strict=True)) / T  # source pieces that a target piece attends to
    D, A, memory = shape.decoder_hidden, shape.attention, shape.encoder_hidden * shape.directions
    inputs = [shape.embedding] + [memory] * (shape.layers - 1)
    encoder = sum(shape.directions * 4 * shape.encoder_hidden * (size + shape.encoder_hidden) for size in inputs)
    feed = D if A else 0
    inputs = [shape.embedding + feed] + [D] * (shape.layers - 1)
    return {
        "encoder": source * encoder,
        "attention": A * (source * memory + D + seen) + (seen * memory if A else 0),  # keys, query, scores, context
        "decoder": float(sum(4 * D * (size + D) for size in inputs)),
        "readout": float((D + memory) * D if A else 0),
        "output": float(D * shape.vocabulary),
    }


def training_operations(shape: Shape, sources: Sequence[int], targets: Sequence[int]) -> float:
    """Floating-point operations of training a target piece: two a multiply-add, three passes."""
    return 2 * PASSES * sum(products(shape, sources, targets).values())


def weights(shape: Shape) -> int:
    """Weights of the shape with two biases a recurrent layer, as PyTorch's LSTM has them."""
    E, D, A, V = shape.embedding, shape.decoder_hidden, shape.attention, shape.vocabulary
    memory = shape.encoder_hidden * shape.directions
    inputs = [E] + [memory] * (shape.layers - 1)
    encoder = sum(shape.directions * 4 * shape.encoder_hidden * (i + shape.encoder_hidden + 2) for i in inputs)
    inputs = [E + (D if A else 0)] + [D] * (shape.layers - 1)
    decoder = sum(4 * D * (i + D + 2) for i in inputs)
    attention = A * (memory + D + 1) + A + (D + memory + 1) * D if A else 0  # one bias, v, readout
    return 2 * V * E + encoder + decoder + attention + (D + 1) * V
