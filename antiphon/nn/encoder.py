"""The encoder: from a source's embeddings to states h_1..h_S and the state it ends in.

Shapes: B sentences, S source pieces, I input size, H units a direction, R directions (1 or 2), M size of a state h_i.
"""

import torch
from torch import Tensor, nn

from antiphon.nn.dropout import Dropout
from antiphon.nn.layers import Recurrent, layer
from antiphon.nn.sru import SRU, State


class Encoder(nn.Module):
    """A stack of recurrent layers, each in one direction or two."""

    def __init__(
        self,
        cell: str,
        input_size: int,
        hidden: int,
        layers: int,
        *,
        bidirectional: bool,
        merge: str,
        residual: bool,
        reverse: bool,
        layer_norm: str,
        dropout: float,
    ) -> None:
        super().__init__()
        self.merge, self.residual, self.reverse = merge, residual, reverse
        self.directions = 2 if bidirectional else 1
        self.hidden = hidden
        self.size = hidden * self.directions if merge == "concat" else hidden  # M
        self.layers = nn.ModuleList()
        self.norms = nn.ModuleList()
        for i in range(layers):
            size = input_size if i == 0 else self.size
            self.layers.append(nn.ModuleList(layer(cell, size, hidden, layer_norm) for _ in range(self.directions)))
            self.norms.append(nn.LayerNorm(self.size) if layer_norm == "output" else nn.Identity())
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, list[State]]:
        """Read a batch of sources.

        Args:
            x: embeddings [B, S, I].
            mask: [B, S], True on real pieces.

        Returns:
            h [B, S, M] in the source's own order, and each layer's last state: (h, c) or (h,), each [B, R, H], the
            forward direction (which ends at the last piece) before the backward one (which ends at the first).
        """
        padding = None if bool(mask.all()) else mask
        order = reversal(mask) if self.reverse else None
        if order is not None:
            x = reordered(x, order)
        final: list[State] = []
        for directions, norm in zip(self.layers, self.norms, strict=True):
            y, state = self._both(directions, x, padding)
            y = self.dropout(norm(y))
            x = x + y if self.residual and x.shape == y.shape else y
            final.append(state)
        return (x if order is None else reordered(x, order)), final

    def _both(self, directions: nn.Module, x: Tensor, mask: Tensor | None) -> tuple[Tensor, State]:
        outputs, states = [], []
        for i, direction in enumerate(directions.children()):
            # Padding passes a state through, so the backward direction may simply begin with the padding.
            assert isinstance(direction, Recurrent | SRU)
            ahead, real = (x, mask) if i == 0 else (x.flip(1), None if mask is None else mask.flip(1))
            y, state = direction(ahead, direction.zero_state(len(x)), real)
            outputs.append(y if i == 0 else y.flip(1))
            states.append(state)
        y = torch.cat(outputs, -1) if self.merge == "concat" else torch.stack(outputs).sum(0)
        return y, tuple(torch.stack(part, 1) for part in zip(*states, strict=True))


def reversal(mask: Tensor) -> Tensor:
    """Positions that turn each row's pieces round, its EOS and padding staying where they are: [B, S] -> [B, S]."""
    positions = torch.arange(mask.shape[1], device=mask.device).expand(mask.shape)
    eos = mask.sum(1, keepdim=True) - 1
    return torch.where(positions < eos, eos - 1 - positions, positions)


def reordered(x: Tensor, order: Tensor) -> Tensor:
    """Take the positions `order` [B, S] of x [B, S, I]."""
    return x.gather(1, order.unsqueeze(-1).expand(x.shape))
