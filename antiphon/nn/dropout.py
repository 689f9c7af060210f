"""Dropout (Srivastava 2014) whose mask costs a quarter of the library's on a processor."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Dropout(nn.Module):
    """Set a share of the numbers to zero in training, and scale the others so that the mean stays.

    PyTorch draws a processor's mask number by number; here one random 64-bit word decides about four numbers, each by
    16 bits, so the share is kept to 1 / 65536. Elsewhere PyTorch's own is used.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """x of any shape -> the same shape."""
        if not self.training or self.p == 0:
            return x
        if x.device.type != "cpu":
            return F.dropout(x, self.p)
        words = torch.empty((x.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
        random = words.view(torch.int16)[: x.numel()].view(x.shape)
        return x * (random >= round(self.p * 2**16) - 2**15).to(x.dtype).mul_(1 / (1 - self.p))

    def extra_repr(self) -> str:
        """What `print` shows."""
        return f"p={self.p}"
