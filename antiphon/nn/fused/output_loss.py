"""Output layer and loss as one operation, beside its plain twin, which the tests hold it to.

Shapes: N target positions, R readout size, V vocabulary.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from antiphon.nn.fused import native

CHUNK = 1 << 23  # logits held at once: 16 MB in bfloat16
ROWS = 64  # chunks are filled up to a multiple of so many rows: the library makes, and keeps, code for every shape


def chunk_rows(vocabulary: int) -> int:
    """Positions whose logits are held at once."""
    rows = CHUNK // vocabulary
    return max(1, rows - rows % ROWS if rows > ROWS else rows)


Copying = tuple[Tensor, Tensor]  # [N] each: the logit of p_gen, and what copying gives the target piece


def plain_output_loss(
    r: Tensor,
    weight: Tensor,
    bias: Tensor,
    targets: Tensor,
    smoothing: float,
    copying: Copying | None = None,
    r_drop: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Output layer and label-smoothed cross entropy, as the equations stand.

    Args:
        r: readouts [N, R].
        weight: output embeddings [V, R].
        bias: [V].
        targets: the pieces to predict [N].
        smoothing: probability mass spread evenly over the vocabulary (Szegedy 2016, section 7). With copying it smooths
            what the vocabulary's part costs: -log(p_gen exp(-smoothed loss) + (1 - p_gen) copied).
        copying: of a model that copies (See 2017, eq. 9).
        r_drop: weight of (KL(p || q) + KL(q || p)) / 2 in the loss, where p is of an even row and q of the next one,
            the same position under two dropouts (Wu 2021, eq. 2). Not with copying.

    Returns:
        the summed smoothed loss, and the summed negative log-likelihood, which has no gradient.
    """
    log_p = F.linear(r, weight, bias).log_softmax(-1)
    nll = -log_p.gather(1, targets.unsqueeze(1)).squeeze(1)
    loss = (1 - smoothing) * nll - smoothing * log_p.mean(-1)
    if copying is not None:
        p_gen, mass = copying[0].sigmoid(), copying[1]
        loss, nll = (-(p_gen * (-cost).exp() + (1 - p_gen) * mass).log() for cost in (loss, nll))
    total = loss.sum()
    if r_drop:
        log_q, log_p = log_p[1::2], log_p[::2]
        total = total + r_drop / 2 * ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum()
    return total, nll.sum().detach()


class _OutputLoss(torch.autograd.Function):
    """`plain_output_loss` in chunks: the gradient is made while a chunk's logits are at hand, so none are kept."""

    @staticmethod
    def forward(
        ctx: Any, r: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, smoothing: float, low: torch.dtype,
        r_drop: float, z: Tensor | None, mass: Tensor | None,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        w, rows = weight.to(low), chunk_rows(len(weight))
        rows += rows % 2 if r_drop else 0  # both rows of a pair
        grad_r = torch.empty(r.shape, dtype=r.dtype, device=r.device)
        grad_weight, grad_bias = torch.zeros_like(weight), torch.zeros_like(bias)
        loss, nll = r.new_zeros((), dtype=bias.dtype), r.new_zeros((), dtype=bias.dtype)
        grad_z, grad_mass = (None if part is None else torch.empty_like(part) for part in (z, mass))
        for i in range(0, len(r), rows):
            y = targets[i : i + rows]
            n = len(y)
            x = F.pad(r[i : i + rows].to(low), (0, 0, 0, -n % ROWS))
            logits = x @ w.T
            apart, pull = _disagreement(logits[:n], bias) if r_drop else (None, None)
            chunk_loss, chunk_nll = cross_entropy(logits[:n], bias, y, smoothing)
            grad = logits  # in their place
            if apart is not None and pull is not None:
                loss += r_drop * apart
                grad[:n].add_(pull, alpha=r_drop)
            grad[n:] = 0
            if z is not None and mass is not None and grad_z is not None and grad_mass is not None:
                mixed = _mixed(chunk_loss, chunk_nll, z[i : i + rows], mass[i : i + rows])
                chunk_loss, chunk_nll, share, grad_z[i : i + rows], grad_mass[i : i + rows] = mixed
                grad[:n] *= share.to(low).unsqueeze(1)
            loss, nll = loss + chunk_loss.sum(), nll + chunk_nll.sum()
            grad_bias += (grad.new_ones(1, len(grad)) @ grad)[0]  # a product is far faster than a sum over rows
            grad_r[i : i + rows] = (grad @ w)[:n]
            grad_weight += grad.T @ x
        ctx.save_for_backward(grad_r, grad_weight, grad_bias)
        ctx.copying = grad_z, grad_mass
        ctx.mark_non_differentiable(nll)
        return loss, nll

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        scale = grads[0]
        grad_r, grad_weight, grad_bias = ctx.saved_tensors
        copying = (None if part is None else part * scale for part in ctx.copying)
        return grad_r * scale.to(grad_r.dtype), grad_weight * scale, grad_bias * scale, None, None, None, None, *copying


def _mixed(loss: Tensor, nll: Tensor, z: Tensor, mass: Tensor) -> tuple[Tensor, ...]:
    """The vocabulary's costs [n] mixed with copying; see `plain_output_loss`.

    Returns:
        loss and nll of the mixture; d loss / d of the vocabulary's loss, which is the share that it has in p; d loss /
        d z; d loss / d mass. [n] each
    """
    log_gen, log_copy = F.logsigmoid(z), F.logsigmoid(-z)
    mixed, likely = (-torch.logaddexp(log_gen - cost, log_copy + mass.log()) for cost in (loss, nll))
    share = (log_gen - loss + mixed).exp()
    return mixed, likely, share, z.sigmoid() - share, -(log_copy + mixed).exp()


def _disagreement(logits: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """(KL(p || q) + KL(q || p)) / 2 over the pairs of rows of a chunk, and its gradient in the logits.

    With d = log p - log q it is the sum of (p - q) d / 2, and twice its gradient in the logits of p is
    p (d - E_p[d]) + p - q. In both a constant of the row drops out of d, so differences of logits do.

    Args:
        logits: without the bias, rows of p and q in turn [n, V].
        bias: [V].

    Returns:
        the sum [], and the gradient [n, V].
    """
    total, grad = bias.new_zeros(()), torch.empty_like(logits)
    for part, out in zip(logits.split(ROWS), grad.split(ROWS), strict=True):  # as much as a cache holds
        pairs = part.to(bias.dtype).unflatten(0, (-1, 2))  # [m, 2, V]
        p, q = (pairs + bias).softmax(-1).unbind(1)  # [m, V]
        d, apart = pairs[:, 0] - pairs[:, 1], p - q
        total += torch.linalg.vecdot(apart, d).sum() / 2
        out[::2] = torch.addcmul(apart, p, d - torch.linalg.vecdot(p, d).unsqueeze(1)) / 2
        out[1::2] = torch.addcmul(apart, q, d - torch.linalg.vecdot(q, d).unsqueeze(1)) / -2
    return total, grad


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


def log_p_of(r: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    """log p of each target [N] under the output layer, in nats; arguments as of `plain_output_loss`.

    A chunk's logits are made again for its gradient, so no more than `CHUNK` of them are in memory.
    """

    def picked(r: Tensor, weight: Tensor, bias: Tensor, y: Tensor) -> Tensor:
        return F.linear(r, weight, bias).to(bias.dtype).log_softmax(-1).gather(1, y.unsqueeze(1)).squeeze(1)

    rows = chunk_rows(len(weight))
    parts = [
        checkpoint(picked, r[i : i + rows], weight, bias, targets[i : i + rows], use_reentrant=False)
        for i in range(0, len(r), rows)
    ]
    return torch.cat(parts) if parts else r.new_zeros(0, dtype=bias.dtype)


def output_loss(
    r: Tensor,
    weight: Tensor,
    bias: Tensor,
    targets: Tensor,
    smoothing: float,
    copying: Copying | None = None,
    r_drop: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """`plain_output_loss` without more than `CHUNK` logits in memory, and without a second pass.

    Products run in bfloat16 under autocast; sums and softmax stay in float32. Arguments and returns as there.
    """
    if not torch.is_grad_enabled():
        rows = chunk_rows(len(weight))
        rows += rows % 2 if r_drop else 0
        chunks = [slice(i, i + rows) for i in range(0, len(r), rows)]
        parts = [
            plain_output_loss(
                r[at].to(weight.dtype), weight, bias, targets[at], smoothing,
                None if copying is None else (copying[0][at], copying[1][at]), r_drop,
            )
            for at in chunks
        ]  # fmt: skip
        return torch.stack([p[0] for p in parts]).sum(), torch.stack([p[1] for p in parts]).sum()
    device = r.device.type
    low = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
    with torch.autocast(device, enabled=False):
        loss, nll = _OutputLoss.apply(r, weight, bias, targets, smoothing, low, r_drop, *(copying or (None, None)))
    return loss, nll
