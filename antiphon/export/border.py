"""What the encoder's graph hands to the step's graph, declared once for both.

Whatever the encoder puts out as `memory.*` and `state.*` goes into the step, which puts the state after it out as
`next.*`. Between the two stands the engine, which knows no more than these names.

Shapes: B sentences, S source pieces, N rows (hypotheses of all sentences), A size of a key, M size of an encoder state,
D decoder state, C context vector, R readout.
"""

from collections.abc import Mapping
from typing import NamedTuple

from antiphon.config.kinds import DECODERS
from antiphon.config.sections import Model
from antiphon.config.shapes import shapes
from antiphon.export.cells import CellState


class Memory(NamedTuple):
    """What a step reads of the source, once a sentence: names of values, '' where a model has no such thing."""

    mask: str = ""  # [B, 1, S]  0 on real pieces, -inf on padding
    ids: str = ""  # [B, S]  the source pieces, for decoders that copy them
    h: str = ""  # [B, S, M]  what attention weighs; multi-head: the values [B, heads, S, A / heads]
    keys: str = ""  # [B, S, A]  what a query is compared with, where that is not h; multi-head: as the values
    c: str = ""  # [B, C]  the whole source as one vector, for decoders without attention


class State(NamedTuple):
    """A decoder's state, once a hypothesis: names of values, '' where a model has no such thing."""

    layers: tuple[CellState, ...]  # from the bottom up, parts [N, D]
    feed: str = ""  # [N, R]  the readout before, for input feeding
    coverage: str = ""  # [N, S]  sum of the attention so far

    def named(self, parts: tuple[str, ...]) -> dict[str, str]:
        """The values by the names that they have at the border; `parts`: what a cell's parts are called."""
        layers = {
            f"{part}.{i}": value
            for i, layer in enumerate(self.layers)
            for part, value in zip(parts, layer, strict=True)
        }
        return layers | {name: value for name in ("feed", "coverage") if (value := getattr(self, name))}

    @classmethod
    def of(cls, named: Mapping[str, str], parts: tuple[str, ...], layers: int) -> "State":
        """The inverse of `named`."""
        states = (tuple(named[f"{part}.{i}"] for part in parts) for i in range(layers))
        return cls(tuple(states), named.get("feed", ""), named.get("coverage", ""))


class Port(NamedTuple):
    """The type and the shape of a value at the border."""

    kind: int
    shape: tuple[str | int, ...]


def state_sizes(m: Model) -> dict[str, int | str]:
    """The last axis of each part of `State` that a model has, by the names of `named`."""
    size = shapes(m)
    sizes: dict[str, int | str] = {
        f"{part}.{i}": m.decoder_hidden for i in range(m.decoder_layers) for part in size.state
    }
    if DECODERS[m.decoder].feed == "readout":
        sizes["feed"] = size.readout
    if m.coverage and size.stepwise:
        sizes["coverage"] = "S"
    return sizes
