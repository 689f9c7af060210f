"""What a training finds to run on."""

import pytest
import torch

from antiphon.config.sections import Train
from antiphon.errors import UserError
from antiphon.training import device as module
from antiphon.training.device import Device, open_device, torch_device

CPU = torch.device("cpu")


def test_one_process_needs_no_others() -> None:
    device = open_device(Train(device="cpu", threads=1, precision="float32"))
    assert (device.torch, device.rank, device.world, device.first, device.bfloat16) == (CPU, 0, 1, True, False)
    assert torch.get_num_threads() == 1
    device.wait()
    values = torch.ones(2)
    assert device.total(values) is values and device.share("x") == "x" and device.gather(values) == [values]
    weight = torch.nn.Parameter(torch.ones(2))
    device.total_gradients([weight])
    assert weight.grad is None


@pytest.mark.parametrize("name", ["tpu", "cuda:99", "meta", ""])
def test_a_device_that_is_not_there(name: str) -> None:
    with pytest.raises(UserError, match=rf"train\.device = '{name}' cannot be used: .*; use auto, cpu, cuda"):
        torch_device(name)


def test_auto_takes_the_processor_where_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert torch_device("auto", 1) == CPU


@pytest.mark.parametrize(
    ("capabilities", "fast"),
    [({}, False), ({"avx2": True}, False), ({"amx_bf16": True}, True), ({"avx512_bf16": True}, True)],
)
def test_auto_takes_bfloat16_where_it_is_fast(
    capabilities: dict[str, bool], fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert module.has_fast_bfloat16(CPU) == fast
    assert open_device(Train(device="cpu", threads=1)).bfloat16 == fast
    assert open_device(Train(device="cpu", threads=1, precision="bfloat16")).bfloat16


def test_a_gpu_has_it_from_ampere_on(monkeypatch: pytest.MonkeyPatch) -> None:
    for capability, fast in (((7, 5), False), ((8, 0), True), ((9, 0), True)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _, c=capability: c)
        assert module.has_fast_bfloat16(torch.device("cuda", 0)) == fast


def test_products_run_in_the_precision_asked_for() -> None:
    x = torch.ones(2, 2)
    for low, dtype in ((True, torch.bfloat16), (False, torch.float32)):
        with Device(CPU, low, 0, 1).products():
            assert (x @ x).dtype == dtype
