"""What is derived from a model's options, against the network itself."""

import pytest
import torch
from variants import Options, variants

from antiphon.config import loading
from antiphon.config.kinds import CELLS
from antiphon.config.shapes import shapes
from antiphon.nn.decoder import StepwiseDecoder
from antiphon.nn.layers import Recurrent, layer
from antiphon.nn.model import build
from antiphon.nn.sru import SRU

SMALL = {"embedding": 6, "encoder_hidden": 4, "decoder_hidden": 8, "attention_size": 6}


@pytest.mark.parametrize("cell", CELLS)
def test_cells_are_as_their_layers(cell: str) -> None:
    made = layer(cell, 5, 4, "none")
    assert len(made.weight_ih) == 4 * CELLS[cell].gates
    assert len(made.zero_state(2)) == len(CELLS[cell].state)
    assert hasattr(made, "weight_hh") != CELLS[cell].element_wise
    assert sum(weight.numel() for weight in made.parameters()) == CELLS[cell].parameters(5, 4)


@pytest.mark.parametrize("options", variants(), ids=lambda o: "-".join(f"{v}" for v in o.values()))
def test_shapes_are_those_of_the_network(options: Options) -> None:
    m = loading.load(over={"model": SMALL | options}).model
    size, model = shapes(m), build(m, 11, 11)
    memory, state = model.encode(torch.tensor([[4, 5, 3]]))
    assert memory.h.shape[2] == (size.key if m.score == "multi_head" and size.attends else size.memory)
    assert not size.attends or memory.keys.shape[2] == size.key
    assert size.attends == (model.decoder.attention is not None)
    assert size.stepwise == isinstance(model.decoder, StepwiseDecoder)
    attention = model.decoder.attention
    assert size.context == (attention.size if attention else memory.c.shape[1] if m.decoder == "context" else 0)
    first = model.decoder.stack.layers[0]
    assert isinstance(first, Recurrent | SRU) and first.input_size == m.embedding + size.feed
    assert len(model.decoder.stack.layers) == size.below
    assert model.output.weight.shape[1] == size.readout
    assert set(size.state) == {name for name in state if name not in ("feed", "coverage")}
