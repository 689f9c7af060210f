"""Attention: how a decoder state looks at the encoder's states.

Shapes: B sentences, S source pieces, Q queries a sentence (target positions in training, hypotheses in search),
H size of an encoder state, D size of a decoder state, A size of a key, N heads.

A query never copies the memory: Q queries share one sentence's keys.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from antiphon.nn.fused.decoder import Attending


class Memory(NamedTuple):
    """What the encoder leaves, made once a sentence."""

    h: Tensor  # [B, S, H]  what attention weighs; multi-head: the values
    keys: Tensor  # [B, S, A]  what a query is compared with
    mask: Tensor  # [B, S]  True on real pieces
    ids: Tensor  # [B, S]  the pieces themselves, for decoders that copy them
    c: Tensor  # [B, C]  the whole source as one vector, for decoders without attention


class Dot(nn.Module):
    """e_ti = s_t . h_i (Luong 2015, section 3.1, dot)."""

    scale = 1.0

    def __init__(self, query_size: int, memory_size: int, attention_size: int) -> None:
        super().__init__()

    def keys(self, h: Tensor) -> Tensor:
        return h

    def forward(self, s: Tensor, keys: Tensor, coverage: Tensor | None = None) -> Tensor:
        return (s @ keys.transpose(1, 2)) * self.scale  # [B, Q, S]


class ScaledDot(Dot):
    """e_ti = s_t . h_i / sqrt(D) (Vaswani 2017, eq. 1)."""

    def __init__(self, query_size: int, memory_size: int, attention_size: int) -> None:
        super().__init__(query_size, memory_size, attention_size)
        self.scale = 1 / math.sqrt(query_size)


class General(Dot):
    """e_ti = s_t . W_a h_i (Luong 2015, section 3.1, general)."""

    def __init__(self, query_size: int, memory_size: int, attention_size: int) -> None:
        super().__init__(query_size, memory_size, attention_size)
        self.W_a = nn.Linear(memory_size, query_size, bias=False)

    def keys(self, h: Tensor) -> Tensor:
        return self.W_a(h)  # [B, S, D]


class Additive(nn.Module):
    """e_ti = v_a . tanh(W_a s_t + U_a h_i + w_c coverage_i) (Bahdanau 2015, A.1.2; See 2017, eq. 11)."""

    scale = 1.0

    def __init__(self, query_size: int, memory_size: int, attention_size: int) -> None:
        super().__init__()
        self.W_a = nn.Linear(query_size, attention_size, bias=False)
        self.U_a = nn.Linear(memory_size, attention_size)
        self.v_a = nn.Linear(attention_size, 1, bias=False)

    def keys(self, h: Tensor) -> Tensor:
        return self.U_a(h)  # [B, S, A]

    def forward(self, s: Tensor, keys: Tensor, coverage: Tensor | None = None) -> Tensor:
        inner = self.W_a(s).unsqueeze(2) + keys.unsqueeze(1)  # [B, Q, S, A]
        if coverage is not None:
            inner = inner + coverage  # already projected to [B, Q, S, A]
        return self.v_a(torch.tanh(inner)).squeeze(-1)  # [B, Q, S]


SCORES: dict[str, type[Dot] | type[Additive]] = {
    "dot": Dot,
    "scaled_dot": ScaledDot,
    "general": General,
    "additive": Additive,
}


class Attention(nn.Module):
    """c_t = sum_i alpha_ti h_i with alpha_t = softmax(e_t) (Bahdanau 2015, eq. 5 and 6)."""

    def __init__(
        self, score: str, query_size: int, memory_size: int, attention_size: int, coverage: bool = False
    ) -> None:
        super().__init__()
        self.score = SCORES[score](query_size, memory_size, attention_size)
        self.size = memory_size
        self.w_c: nn.Linear | None = None
        if coverage:
            self.w_c = nn.Linear(1, attention_size if score == "additive" else 1, bias=False)

    def prepare(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """Project the encoder's states once a sentence: h [B, S, H] -> (what is weighed, keys)."""
        return h, self.score.keys(h)

    def attending(self, memory: Memory) -> Attending:
        """What `recurrent_attention` needs of the memory and of this score, without coverage."""
        score, v_a, W_a = self.score, None, None
        if isinstance(score, Additive):
            v_a, W_a = score.v_a.weight[0], score.W_a.weight
        return Attending(memory.keys, memory.h, memory.mask, W_a, v_a, score.scale)

    def forward(self, s: Tensor, memory: Memory, coverage: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Attend with every query at once.

        Args:
            s: decoder states [B, Q, D].
            memory: the encoder's states.
            coverage: sum of the attention so far [B, Q, S], where the attention was built with coverage.

        Returns:
            c_t [B, Q, H] and alpha_t [B, Q, S].
        """
        if self.w_c is None or coverage is None:
            e = self.score(s, memory.keys)
        elif isinstance(self.score, Additive):
            e = self.score(s, memory.keys, self.w_c(coverage.unsqueeze(-1)))
        else:
            e = self.score(s, memory.keys) + self.w_c(coverage.unsqueeze(-1)).squeeze(-1)
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


def normalise(e: Tensor, mask: Tensor) -> Tensor:
    """alpha_ti = exp(e_ti) / sum_k exp(e_tk) over real pieces (Bahdanau 2015, eq. 6), in float32 or better."""
    return e.to(torch.promote_types(e.dtype, torch.float32)).masked_fill(~mask, -torch.inf).softmax(-1)
