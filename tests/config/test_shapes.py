"""What is written down about the cells, against the layers themselves."""

from typing import get_args

import pytest

from antiphon.config import sections
from antiphon.config.shapes import CELLS
from antiphon.nn.layers import layer


def test_the_configuration_knows_every_cell() -> None:
    assert get_args(sections.Cell) == tuple(CELLS)


@pytest.mark.parametrize("cell", CELLS)
def test_shapes_are_those_of_the_layers(cell: str) -> None:
    made = layer(cell, 5, 4, "none")
    assert len(made.weight_ih) == 4 * CELLS[cell].gates
    assert len(made.zero_state(2)) == len(CELLS[cell].state)
    assert hasattr(made, "weight_hh") != CELLS[cell].light
