"""Attention: how a decoder state weighs the encoder's states.

Shapes: B sentences, S source pieces, Q queries a sentence (target positions in training, hypotheses in search),
H size of an encoder state, D size of a decoder state, A size of a key, N heads. In the equations s is the decoder state
that attends: s_{t-1} in Bahdanau's order, s_t in Luong's.

A query never copies the memory: Q queries share one sentence's keys.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from antiphon.config.kinds import SCORES, Sizes
from antiphon.nn.fused.decoder import FusedScore


class Memory(NamedTuple):
    """What the encoder leaves, made once a sentence."""

    h: Tensor  # [B, S, H]  what attention weighs; multi-head: the values
    keys: Tensor  # [B, S, A]  what a query is compared with
    mask: Tensor  # [B, S]  True on real pieces
    ids: Tensor  # [B, S]  the pieces themselves, for decoders that copy them
    c: Tensor  # [B, C]  the whole source as one vector, for decoders without attention


class Score(nn.Module):
    """e_ti, how a decoder state is compared with an encoder state; each has an entry in `config.kinds.SCORES`.

    A subclass has `e` at least, and `keys` where it projects the memory. Where `recurrent_attention` can compute it, it
    says how by `fused`; where it does not say so itself, a target runs step by step.
    """

    coverage_size = 1  # C of what coverage adds to

    def keys(self, h: Tensor) -> Tensor:
        """What states are compared with, made once a sentence: h [B, S, H] -> [B, S, A]."""
        return h

    def e(self, s: Tensor, keys: Tensor) -> Tensor:
        """States s [B, Q, D] and keys [B, S, A] -> [B, Q, S]."""
        raise NotImplementedError

    def fused(self) -> FusedScore | None:
        """This score in the terms of `recurrent_attention`, which cannot compute others."""
        return None

    def forward(self, s: Tensor, keys: Tensor, coverage: Tensor | None = None) -> Tensor:
        """As `e`, with w_c coverage_i [B, Q, S, C] added, where there is coverage."""
        e = self.e(s, keys)
        return e if coverage is None else e + coverage.squeeze(-1)


class Dot(Score):
    """e_ti = s . h_i (Luong 2015, section 3.1, dot)."""

    def __init__(self, query_size: int, memory_size: int, attention_size: int) -> None:
        super().__init__()

    def e(self, s: Tensor, keys: Tensor) -> Tensor:
        return s @ keys.transpose(1, 2)

    def fused(self) -> FusedScore:
        return FusedScore()


class ScaledDot(Score):
    """e_ti = s . h_i / sqrt(D) (Vaswani 2017, eq. 1)."""

    def __init__(self, query_size: int, memory_size: int, attention_size: int) -> None:
        super().__init__()
        self.scale = 1 / math.sqrt(query_size)

    def e(self, s: Tensor, keys: Tensor) -> Tensor:
        return (s @ keys.transpose(1, 2)) * self.scale

    def fused(self) -> FusedScore:
        return FusedScore(scale=self.scale)


class General(Score):
    """e_ti = s . W_a h_i (Luong 2015, section 3.1, general)."""

    def __init__(self, query_size: int, memory_size: int, attention_size: int) -> None:
        super().__init__()
        self.W_a = nn.Linear(memory_size, query_size, bias=False)

    def keys(self, h: Tensor) -> Tensor:
        return self.W_a(h)  # [B, S, D]

    def e(self, s: Tensor, keys: Tensor) -> Tensor:
        return s @ keys.transpose(1, 2)

    def fused(self) -> FusedScore:
        return FusedScore()


class Additive(Score):
    """e_ti = v_a . tanh(W_a s + U_a h_i + b + w_c coverage_i) (Bahdanau 2015, A.1.2, without b; See 2017, eq. 11)."""

    def __init__(self, query_size: int, memory_size: int, attention_size: int) -> None:
        super().__init__()
        self.coverage_size = attention_size
        self.W_a = nn.Linear(query_size, attention_size, bias=False)
        self.U_a = nn.Linear(memory_size, attention_size)  # b is its bias
        self.v_a = nn.Linear(attention_size, 1, bias=False)

    def keys(self, h: Tensor) -> Tensor:
        return self.U_a(h)  # [B, S, A]

    def forward(self, s: Tensor, keys: Tensor, coverage: Tensor | None = None) -> Tensor:
        inner = self.W_a(s).unsqueeze(2) + keys.unsqueeze(1)  # [B, Q, S, A]
        if coverage is not None:
            inner = inner + coverage
        return self.v_a(torch.tanh(inner)).squeeze(-1)  # [B, Q, S]

    def fused(self) -> FusedScore:
        return FusedScore(self.W_a.weight, self.v_a.weight[0])


class Attention(nn.Module):
    """c_t = sum_i alpha_ti h_i with alpha_t = softmax(e_t) (Bahdanau 2015, eq. 5 and 6)."""

    def __init__(self, score: Score, memory_size: int, coverage: bool = False) -> None:
        super().__init__()
        self.score = score
        self.size = memory_size
        self.w_c = nn.Linear(1, score.coverage_size, bias=False) if coverage else None

    def prepare(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """Project the encoder's states once a sentence: h [B, S, H] -> (what is weighed, keys)."""
        return h, self.score.keys(h)

    def fused_score(self) -> FusedScore | None:
        """How `recurrent_attention` computes this score; None where it cannot.

        A score that inherits from another may compute something else, so only what its own class says counts.
        """
        return self.score.fused() if "fused" in vars(type(self.score)) and self.w_c is None else None

    def forward(self, s: Tensor, memory: Memory, coverage: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Attend with every query at once.

        Args:
            s: decoder states [B, Q, D].
            memory: the encoder's states.
            coverage: sum of the attention so far [B, Q, S], where the attention was built with coverage.

        Returns:
            c_t [B, Q, H] and alpha_t [B, Q, S].
        """
        covered = None if self.w_c is None or coverage is None else self.w_c(coverage.unsqueeze(-1))  # [B, Q, S, C]
        e = self.score(s, memory.keys, covered)
        alpha = normalise(e, memory.mask.unsqueeze(1))  # [B, Q, S]
        return alpha.to(memory.h.dtype) @ memory.h, alpha


class MultiHead(nn.Module):
    """N scaled dot products side by side, joined by W_o (Vaswani 2017, section 3.2.2)."""

    def __init__(self, query_size: int, memory_size: int, attention_size: int, heads: int, out_size: int) -> None:
        super().__init__()
        self.heads = heads
        self.size = out_size
        self.W_q = nn.Linear(query_size, attention_size)
        self.W_k = nn.Linear(memory_size, attention_size)
        self.W_v = nn.Linear(memory_size, attention_size)
        self.W_o = nn.Linear(attention_size, out_size)

    def prepare(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """Project the encoder's states once a sentence: h [B, S, H] -> (values, keys), both [B, S, A]."""
        return self.W_v(h), self.W_k(h)

    def forward(self, s: Tensor, memory: Memory, coverage: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Attend with every query at once; alpha is the mean over the heads. See `Attention.forward`."""
        q, k, v = (self._split(x) for x in (self.W_q(s), memory.keys, memory.h))  # [B, N, Q or S, A/N]
        e = q @ k.transpose(2, 3) / math.sqrt(q.shape[-1])
        alpha = normalise(e, memory.mask[:, None, None])  # [B, N, Q, S]
        c = (alpha.to(v.dtype) @ v).transpose(1, 2).flatten(2)  # [B, Q, A]
        return self.W_o(c), alpha.mean(1)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def attention(kind: str, n: Sizes, heads: int, coverage: bool) -> Attention | MultiHead:
    """An attention whose score is one of `config.kinds.SCORES`, by the class of this module that its entry names."""
    entry = SCORES[kind]
    if entry.heads:
        return globals()[entry.module](n.query, n.memory, n.inner, heads, n.out)
    return Attention(globals()[entry.module](n.query, n.memory, n.inner), n.memory, coverage)


def normalise(e: Tensor, mask: Tensor) -> Tensor:
    """alpha_ti = exp(e_ti) / sum_k exp(e_tk) over real pieces (Bahdanau 2015, eq. 6), in float32 or better."""
    return e.to(torch.promote_types(e.dtype, torch.float32)).masked_fill(~mask, -torch.inf).softmax(-1)
