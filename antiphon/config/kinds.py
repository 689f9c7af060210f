"""What a model can be made of: each kind of cell, decoder, score, readout and bridge, one entry each.

Options name these kinds, and all that counts, builds, keeps or exports a model looks its facts up here. A new kind is
one class in `nn`, with the equations, and one entry here, which names the class. No torch here: the runtime reads it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple


def linear(inputs: int, outputs: int, bias: bool = True) -> int:
    """Number of weights of a linear map."""
    return (inputs + bias) * outputs


@dataclass(frozen=True)
class CellKind:
    """A recurrent cell."""

    module: str  # its class in nn.layers
    gates: int  # blocks of H rows that read x
    state: tuple[str, ...]  # names of the state's parts: `s` is h, `cell` is c
    parameters: Callable[[int, int], int]  # from the sizes of input and state, one direction
    normalised: str = ""  # its class with layer-normalised gates, where there is one
    element_wise: bool = False  # no matrix reads h_{t-1}: the recurrence is element-wise, and recalls c alone


CELLS = {
    "lstm": CellKind(
        "Recurrent", 4, ("s", "cell"), lambda inputs, hidden: 4 * hidden * (inputs + hidden + 2), "NormalisedRecurrent"
    ),
    "gru": CellKind(
        "Recurrent", 3, ("s",), lambda inputs, hidden: 3 * hidden * (inputs + hidden + 2), "NormalisedRecurrent"
    ),
    "sru": CellKind("SRU", 3, ("s", "cell"), lambda inputs, hidden: hidden * (3 * inputs + 5), element_wise=True),
}


@dataclass(frozen=True)
class DecoderKind:
    """What a decoder's state depends on."""

    words: str  # what the card of a model says
    attends: bool = False
    feed: Literal["", "context", "readout"] = ""  # what the first layer reads beside the embedding
    between: bool = False  # attention stands above the first layer, and the layers above read its context

    @property
    def stepwise(self) -> bool:
        """Whether a state depends on what was attended to before it, so that a target runs step by step."""
        return self.attends and bool(self.feed)


DECODERS = {
    "initial": DecoderKind("a decoder that gets the encoder's last state only (Sutskever 2014)"),
    "context": DecoderKind("a decoder that reads one context vector at every step (Cho 2014)", feed="context"),
    "bahdanau": DecoderKind(
        "a decoder that attends before each step (Bahdanau 2015)", attends=True, feed="context"
    ),
    "input_feeding": DecoderKind(
        "a decoder that attends after each step and feeds the result back (Luong 2015)", attends=True, feed="readout"
    ),
    "over_outputs": DecoderKind(
        "a decoder that attends after its recurrent layers (Luong 2015 without input feeding)", attends=True
    ),
    "between": DecoderKind(
        "a decoder that attends after its first layer, so that the layers above read the context",
        attends=True, between=True,
    ),
}  # fmt: skip


class Sizes(NamedTuple):
    """What the sizes of an attention follow from."""

    query: int  # a decoder state
    memory: int  # an encoder state
    inner: int  # model.attention_size
    out: int  # what the readout needs as a context


@dataclass(frozen=True)
class ScoreKind:
    """How attention compares a decoder state with an encoder state."""

    module: str  # its class in nn.attention
    key: Callable[[Sizes], int]  # size of a key, which the decoder state is compared with
    parameters: Callable[[Sizes], int]
    equal: bool = False  # compares a state with an encoder state as it is, so both must be of one size
    coverage: Callable[[Sizes], int] = lambda sizes: 1  # size of what coverage adds to
    heads: bool = False  # several scores side by side over projected values; no coverage
    context: Callable[[Sizes], int] = lambda sizes: sizes.memory


SCORES = {
    "dot": ScoreKind("Dot", key=lambda n: n.memory, parameters=lambda n: 0, equal=True),
    "scaled_dot": ScoreKind("ScaledDot", key=lambda n: n.memory, parameters=lambda n: 0, equal=True),
    "general": ScoreKind(
        "General", key=lambda n: n.query, parameters=lambda n: linear(n.memory, n.query, bias=False)
    ),
    "additive": ScoreKind(
        "Additive", key=lambda n: n.inner, coverage=lambda n: n.inner,
        parameters=lambda n: linear(n.query, n.inner, bias=False) + linear(n.memory, n.inner) + n.inner,
    ),
    "multi_head": ScoreKind(
        "MultiHead", key=lambda n: n.inner, heads=True, context=lambda n: n.out,
        parameters=lambda n: linear(n.query, n.inner) + 2 * linear(n.memory, n.inner) + linear(n.inner, n.out),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class ReadoutKind:
    """How the output layer's input is made of a state s, a context c and the previous piece's embedding y."""

    module: str  # its class in nn.decoder
    parameters: Callable[[int, int, int], int]  # from the sizes of [s; c], of y and of the readout
    adds: bool = False  # adds state and context, so all three are of one size


READOUTS = {
    "linear": ReadoutKind("Readout", lambda s_c, y, size: 0 if s_c == size else linear(s_c, size)),
    "tanh": ReadoutKind("TanhReadout", lambda s_c, y, size: linear(s_c, size)),
    "maxout": ReadoutKind("MaxoutReadout", lambda s_c, y, size: linear(s_c + y, 2 * size)),
    "residual": ReadoutKind("ResidualReadout", lambda s_c, y, size: 2 * size, adds=True),
}


@dataclass(frozen=True)
class BridgeKind:
    """How the decoder's initial state is made from the encoder's last one."""

    source: Literal["", "final", "backward"]  # what it reads: nothing, both directions' last states, or the backward's
    maps: bool = False  # through a map of its own for each layer; otherwise as it is


BRIDGES = {
    "zero": BridgeKind(""),
    "last": BridgeKind("final"),
    "dense": BridgeKind("final", maps=True),
    "backward": BridgeKind("backward", maps=True),
}
