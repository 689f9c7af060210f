"""The recurrent cells, for all who count, keep or export what belongs to them; their equations are in `nn`."""

from typing import NamedTuple

from antiphon.config.sections import Model


class Shape(NamedTuple):
    """What a cell's weights and its state look like."""

    gates: int  # blocks of H rows that read x
    state: tuple[str, ...]  # what the decoder calls the parts of the state: `s` is h, `cell` is c
    light: bool = False  # no matrix reads h_{t-1}


CELLS = {
    "lstm": Shape(4, ("s", "cell")),
    "gru": Shape(3, ("s",)),
    "sru": Shape(3, ("s", "cell"), light=True),
}


def readout_size(model: Model) -> int:
    """Units of the readout, which the output layer reads."""
    if model.readout == "residual":
        return model.decoder_hidden
    return model.readout_size or (model.decoder_hidden if model.tie == "none" else model.embedding)
