"""Fused training kernels, each beside its plain twin, which the tests hold it to.

Shapes: N target positions, R readout size, V vocabulary.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

# Positions whose logits are held at once: 512 x 8,000 float32 are 16 MB, which stay in the processor's cache.
CHUNK = 512


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
        w = weight.to(low)
        grad_r = torch.empty(r.shape, dtype=r.dtype, device=r.device)
        grad_weight, grad_bias = torch.zeros_like(weight), torch.zeros_like(bias)
        loss, nll = r.new_zeros((), dtype=bias.dtype), r.new_zeros((), dtype=bias.dtype)
        for i in range(0, len(r), CHUNK):
            x, y = r[i : i + CHUNK].to(low), targets[i : i + CHUNK, None]
            logits = torch.addmm(bias, x, w.T) if low == bias.dtype else (x @ w.T).to(bias.dtype).add_(bias)
            total = logits.logsumexp(-1, keepdim=True)  # [n, 1]
            chunk_nll = (total - logits.gather(1, y)).sum()
            nll += chunk_nll
            loss += (1 - smoothing) * chunk_nll
            if smoothing:
                loss += smoothing * (total.sum() - logits.mean(-1).sum())
            # d loss / d logits = p - (1 - smoothing) [y] - smoothing / V, made in place of the logits.
            grad = logits.sub_(total).exp_().sub_(smoothing / len(weight))
            grad.scatter_add_(1, y, grad.new_full((1, 1), smoothing - 1).expand(y.shape))
            grad_bias += grad.sum(0)
            grad = grad.to(low)
            grad_r[i : i + CHUNK] = grad @ w
            grad_weight += (grad.T @ x).to(weight.dtype)
        ctx.save_for_backward(grad_r, grad_weight, grad_bias)
        ctx.mark_non_differentiable(nll)
        return loss, nll

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        scale = grads[0]
        grad_r, grad_weight, grad_bias = ctx.saved_tensors
        return grad_r * scale.to(grad_r.dtype), grad_weight * scale, grad_bias * scale, None, None, None


def output_loss(r: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
    """`plain_output_loss` without the logits of more than `CHUNK` positions in memory, and without a second pass.

    Products run in bfloat16 under autocast; sums and softmax stay in float32. Arguments and returns as there.
    """
    if not torch.is_grad_enabled():
        parts = [
            plain_output_loss(r[i : i + CHUNK].to(weight.dtype), weight, bias, targets[i : i + CHUNK], smoothing)
            for i in range(0, len(r), CHUNK)
        ]
        return torch.stack([p[0] for p in parts]).sum(), torch.stack([p[1] for p in parts]).sum()
    device = r.device.type
    low = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
    with torch.autocast(device, enabled=False):
        loss, nll = _OutputLoss.apply(r, weight, bias, targets, smoothing, low)
    return loss, nll
