"""The element-wise part of a recurrent step and of attention, forward and backward: compiled, or in plain PyTorch.

Results are written into tensors that the caller gives, because they are places in the buffers of a whole sequence.
Products come and go in one type (`low`: bfloat16, or the weights' own); arithmetic and sums are in the weights' type.

Shapes: B rows, H units, S source pieces, A size of a key, M size of an encoder state. Gates are [B, 4 H]: i, f, g, o of
the LSTM; r, z, n and the state's share of n of the GRU (so that one product serves both; see `layers`).
"""

import torch
from torch import Tensor

from antiphon.nn.fused import native


def cell_forward(
    cell: str, from_x: Tensor, from_h: Tensor, before: Tensor, gates: Tensor, after: Tensor, h: Tensor
) -> None:
    """One position of an LSTM or GRU.

    Args:
        cell: `lstm` or `gru`.
        from_x, from_h: shares of the gates [B, 4 H], low.
        before: c_{t-1} of the LSTM, h_{t-1} of the GRU [B, H].
        gates: out: the gates after their functions; the GRU's last quarter stays as it came [B, 4 H].
        after: out: c_t or h_t [B, H].
        h: out: h_t, low; rows may lie apart [B, H].
    """
    B, H = before.shape
    if native.available(h.dtype, h.device, before.dtype):
        native.call(f"{cell}_forward", h.dtype, B * H, B, H, from_x, from_h, before, gates, after, h, h.stride(0))
    elif cell == "lstm":
        i, f, g, o = (from_x.to(before.dtype) + from_h).chunk(4, -1)
        i, f, g, o = torch.sigmoid(i), torch.sigmoid(f), torch.tanh(g), torch.sigmoid(o)
        torch.cat([i, f, g, o], -1, out=gates)
        after.copy_(f * before + i * g)
        h.copy_(o * torch.tanh(after))
    else:
        r, z, n, share = (part.to(before.dtype) for part in from_x.chunk(4, -1))
        hr, hz, hn, hshare = from_h.chunk(4, -1)
        r, z, share = torch.sigmoid(r + hr), torch.sigmoid(z + hz), share + hshare
        n = torch.tanh(n + hn + r * share)
        torch.cat([r, z, n, share], -1, out=gates)
        after.copy_((1 - z) * n + z * before)
        h.copy_(after)


def cell_backward(
    cell: str, gates: Tensor, before: Tensor, after: Tensor, dh: Tensor, dh_more: Tensor, dc: Tensor, d_gates: Tensor
) -> None:
    """The gradient of `cell_forward`.

    Args:
        cell, gates, before, after: as there.
        dh, dh_more: two parts of the gradient of h_t, low; rows may lie apart [B, H].
        dc: in and out: the gradient of `after` that does not come through h_t, replaced by that of `before` [B, H].
        d_gates: out: the gradient of both shares, low [B, 4 H].
    """
    B, H = before.shape
    if native.available(dh.dtype, dh.device, dc.dtype):
        native.call(
            f"{cell}_backward", dh.dtype, B * H, B, H, gates, before, after,
            dh, dh.stride(0), dh_more, dh_more.stride(0), dc, d_gates,
        )  # fmt: skip
        return
    d = dh.to(dc.dtype) + dh_more
    if cell == "lstm":
        i, f, g, o = gates.chunk(4, -1)
        t = torch.tanh(after)
        k = dc + d * o * (1 - t * t)
        parts = [k * g * i * (1 - i), k * before * f * (1 - f), k * i * (1 - g * g), d * t * o * (1 - o)]
        dc.copy_(k * f)
    else:
        r, z, n, share = gates.chunk(4, -1)
        d = d + dc
        dn = d * (1 - z) * (1 - n * n)
        parts = [dn * share * r * (1 - r), d * (before - n) * z * (1 - z), dn, dn * r]
        dc.copy_(d * z)
    d_gates.copy_(torch.cat(parts, -1))


def attend_forward(
    q: Tensor, keys: Tensor, v: Tensor | None, scale: float, h: Tensor, mask: Tensor, alpha: Tensor, c: Tensor
) -> None:
    """One query a sentence: e_i = v . tanh(q + k_i), or scale q . k_i without v; alpha = softmax(e); c = alpha h.

    Args:
        q: queries, low; rows may lie apart [B, A].
        keys, h: of the encoder, low [B, S, A], [B, S, M].
        v: [A].
        scale: of the product.
        mask: True on real pieces [B, S].
        alpha: out [B, S].
        c: out, low; rows may lie apart [B, M].
    """
    (B, S, A), M = keys.shape, h.shape[2]
    if native.available(c.dtype, c.device, alpha.dtype):
        native.call(
            "attend_forward", c.dtype, B * S * A, B, S, A, M, q, q.stride(0), keys, v, scale, h, mask, alpha,
            c, c.stride(0),
        )  # fmt: skip
        return
    real = alpha.dtype
    wide = q.to(real).unsqueeze(1)  # [B, 1, A]
    e = (wide * keys).sum(-1) * scale if v is None else torch.tanh(wide + keys) @ v
    alpha.copy_(e.masked_fill(~mask, -torch.inf).softmax(-1))
    c.copy_((alpha.unsqueeze(1) @ h.to(real)).squeeze(1))


def attend_backward(
    q: Tensor,
    keys: Tensor,
    v: Tensor | None,
    scale: float,
    h: Tensor,
    mask: Tensor,
    alpha: Tensor,
    dc: Tensor,
    dq: Tensor,
    d_keys: Tensor,
    d_v: Tensor,
) -> None:
    """The gradient of `attend_forward`; that of h, the sum of alpha^T dc over the steps, is left to the caller.

    Args:
        q, keys, v, scale, h, mask, alpha: as there.
        dc: gradient of c, low; rows may lie apart [B, M].
        dq: out, low [B, A].
        d_keys: added to [B, S, A].
        d_v: added to, a sentence each [B, A].
    """
    (B, S, A), M = keys.shape, h.shape[2]
    if native.available(dc.dtype, dc.device, alpha.dtype):
        native.call(
            "attend_backward", dc.dtype, B * S * A, B, S, A, M, q, q.stride(0), keys, v, scale, h, mask, alpha,
            dc, dc.stride(0), dq, d_keys, d_v,
        )  # fmt: skip
        return
    real = alpha.dtype
    d_alpha = (h.to(real) @ dc.to(real).unsqueeze(-1)).squeeze(-1)  # [B, S]
    de = (alpha * (d_alpha - (alpha * d_alpha).sum(-1, keepdim=True))).unsqueeze(-1)  # [B, S, 1]
    wide = q.to(real).unsqueeze(1)
    if v is None:
        dq.copy_((de * keys).sum(1) * scale)
        d_keys += de * wide * scale
    else:
        t = torch.tanh(wide + keys)  # [B, S, A]
        inner = de * v * (1 - t * t)
        dq.copy_(inner.sum(1))
        d_keys += inner
        d_v += (de * t).sum(1)
