"""Copying from the source, and the loss of attending twice (See, Liu & Manning 2017, pointer-generator networks).

Shapes: B sentences, S source pieces, T target positions, Q queries a sentence (positions or hypotheses), R readout,
V vocabulary.
"""

import torch
from torch import Tensor, nn


class Copier(nn.Module):
    """p(w) = p_gen P_vocab(w) + (1 - p_gen) sum_{i: x_i = w} alpha_ti (See 2017, eq. 9).

    p_gen = sigmoid(w . r_t + b): of the readout, which is made of s_t and c_t, as eq. 8 asks. The vocabulary is one of
    subword pieces for both sides, so nothing in a source is outside of it, and no extended vocabulary is needed. The
    source's EOS can be copied like any other piece: what attention lays on it ends the output.
    """

    def __init__(self, readout_size: int) -> None:
        super().__init__()
        self.w = nn.Linear(readout_size, 1)

    def gate(self, readout: Tensor) -> Tensor:
        """The logit of p_gen: readouts [.., R] -> [..], in float32 or better."""
        z = self.w(readout).squeeze(-1)
        return z.to(torch.promote_types(z.dtype, torch.float32))

    def forward(self, logits: Tensor, gate: Tensor, alpha: Tensor, sources: Tensor) -> Tensor:
        """The mixture.

        Args:
            logits: of P_vocab [B, Q, V].
            gate: of p_gen [B, Q].
            alpha: attention [B, Q, S], 0 on padding.
            sources: source ids [B, S].

        Returns:
            log p [B, Q, V].
        """
        p_gen = gate.sigmoid().unsqueeze(-1)
        p = p_gen * logits.to(gate.dtype).softmax(-1)
        ids = sources.unsqueeze(1).expand(alpha.shape)
        return p.scatter_add(2, ids, (1 - p_gen) * alpha.to(p.dtype)).log()


def copied(alpha: Tensor, sources: Tensor, targets: Tensor) -> Tensor:
    """sum_{i: x_i = y_t} alpha_ti, what copying gives each target piece.

    Args:
        alpha: attention [B, T, S].
        sources: ids [B, S].
        targets: ids [B, T].

    Returns:
        [B, T].
    """
    return (alpha * (sources.unsqueeze(1) == targets.unsqueeze(2))).sum(-1)


def coverage_loss(alpha: Tensor, real: Tensor) -> Tensor:
    """sum_t sum_i min(alpha_ti, sum_{t' < t} alpha_t'i) over real positions (See 2017, eq. 12).

    Args:
        alpha: attention [B, T, S].
        real: True on real target positions [B, T].
    """
    before = alpha.cumsum(1) - alpha
    return (torch.minimum(alpha, before).sum(-1) * real).sum()
