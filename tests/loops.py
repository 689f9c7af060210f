"""Which element-wise loops a test runs on: the compiled ones, or their twins in PyTorch."""

import pytest
import torch

from antiphon.nn.fused import native


def use_loops(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run on `compiled` or `plain` loops; a machine without a C++ compiler has only the plain ones."""
    if kind == "plain":
        monkeypatch.setattr(native, "available", lambda low, device, real: False)
    elif not native.available(torch.float32, torch.device("cpu"), torch.float32):
        pytest.skip("no C++ compiler, so there are no compiled loops")
