"""Output layer and loss as one operation, beside its plain twin, which the tests hold it to.

Shapes: N target positions, R readout size, V vocabulary.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from antiphon.nn import native

CHUNK = 1 << 23  # logits held at once: 16 MB in bfloat16
ROWS = 64  # chunks are filled up to a multiple of so many rows: the library makes, and keeps, code for every shape


def chunk_rows(vocabulary: int) -> int:
    """Positions whose logits are held at once."""
    rows = CHUNK // vocabulary
    return max(1, rows - rows % ROWS if rows > ROWS else rows)


def plain_output_loss(
    r: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, smoothing: float
) -> tuple[Tensor, Tensor]:
    """Output layer and label-smoothed cross entropy, as the equations stand.

    Args:
        r: readouts [N, R].
        weight: output embeddings [V, R].
        bias: [V].
        targets: the pieces to predict [N].
        smoothing: probability mass spread evenly over the vocabulary (Szegedy 2016, section 7).

    Returns:
        the summed smoothed loss, and the summed negative log-likelihood, which has no gradient.
    """
    log_p = F.linear(r, weight, bias).log_softmax(-1)
    nll = -log_p.gather(1, targets.unsqueeze(1)).sum()
    return (1 - smoothing) * nll - smoothing * log_p.mean(-1).sum(), nll.detach()


class _OutputLoss(torch.autograd.Function):
    """`plain_output_loss` in chunks: the gradient is made while a chunk's logits are at hand, so none are kept."""

    @staticmethod
    def forward(
        ctx: Any, r: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, smoothing: float, low: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        w, rows = weight.to(low), chunk_rows(len(weight))
        grad_r = torch.empty(r.shape, dtype=r.dtype, device=r.device)
        grad_weight, grad_bias = torch.zeros_like(weight), torch.zeros_like(bias)
        loss, nll = r.new_zeros((), dtype=bias.dtype), r.new_zeros((), dtype=bias.dtype)
        for i in range(0, len(r), rows):
            y = targets[i : i + rows]
            n = len(y)
            x = F.pad(r[i : i + rows].to(low), (0, 0, 0, -n % ROWS))
            logits = x @ w.T
            chunk_loss, chunk_nll = cross_entropy(logits[:n], bias, y, smoothing)
            grad = logits  # in their place
            grad[n:] = 0
            loss, nll = loss + chunk_loss.sum(), nll + chunk_nll.sum()
            grad_bias += (grad.new_ones(1, len(grad)) @ grad)[0]  # a product is far faster than a sum over rows
            grad_r[i : i + rows] = (grad @ w)[:n]
            grad_weight += grad.T @ x
        ctx.save_for_backward(grad_r, grad_weight, grad_bias)
        ctx.mark_non_differentiable(nll)
        return loss, nll

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        scale = grads[0]
        grad_r, grad_weight, grad_bias = ctx.saved_tensors
        return grad_r * scale.to(grad_r.dtype), grad_weight * scale, grad_bias * scale, None, None, None


def cross_entropy(logits: Tensor, bias: Tensor, targets: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
    """Label-smoothed cross entropy of a chunk, with its gradient in the place of the logits.

    Args:
        logits: without the bias, contiguous; overwritten by d loss / d logits = p - (1 - smoothing) [y] - smoothing / V
            [n, V].
        bias: [V].
        targets: [n].
        smoothing: as in `plain_output_loss`.

    Returns:
        loss [n] and nll [n] in the bias's type.
    """
    n, V = logits.shape
    if native.available(logits.dtype, logits.device, bias.dtype):
        loss, nll = bias.new_empty(n), bias.new_empty(n)
        native.call("cross_entropy", logits.dtype, n * V, n, V, logits, bias, targets, smoothing, loss, nll)
        return loss, nll
    x, y = logits.to(bias.dtype).add_(bias), targets.unsqueeze(1)
    total = x.logsumexp(-1, keepdim=True)  # [n, 1]
    nll = (total - x.gather(1, y)).squeeze(1)
    loss = (1 - smoothing) * nll + smoothing * (total.squeeze(1) - x.mean(-1))
    grad = x.sub_(total).exp_().sub_(smoothing / V)
    grad.scatter_add_(1, y, grad.new_full((1, 1), smoothing - 1).expand(y.shape))
    logits.copy_(grad)
    return loss, nll


def output_loss(r: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
    """`plain_output_loss` without more than `CHUNK` logits in memory, and without a second pass.

    Products run in bfloat16 under autocast; sums and softmax stay in float32. Arguments and returns as there.
    """
    if not torch.is_grad_enabled():
        rows = chunk_rows(len(weight))
        parts = [
            plain_output_loss(r[i : i + rows].to(weight.dtype), weight, bias, targets[i : i + rows], smoothing)
            for i in range(0, len(r), rows)
        ]
        return torch.stack([p[0] for p in parts]).sum(), torch.stack([p[1] for p in parts]).sum()
    device = r.device.type
    low = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
    with torch.autocast(device, enabled=False):
        loss, nll = _OutputLoss.apply(r, weight, bias, targets, smoothing, low)
    return loss, nll
