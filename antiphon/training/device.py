"""What a training runs on: the device and its precision, and the other processes of the same training."""

import atexit
import os
import platform
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, autocast, nn
from torch import device as TorchDevice

from antiphon.config.sections import Train
from antiphon.errors import ReportedElsewhere, UserError


@dataclass(frozen=True)
class Device:
    """This process's device and precision, and its place among the processes that train together."""

    torch: TorchDevice
    bfloat16: bool
    rank: int
    world: int

    @property
    def first(self) -> bool:
        """Whether this process writes files and messages for all."""
        return self.rank == 0

    def products(self) -> autocast:
        """A context in which matrix products run in this device's precision."""
        return autocast(self.torch.type, dtype=torch.bfloat16, enabled=self.bfloat16)

    def wait(self) -> None:
        """Wait for the other processes."""
        if self.world > 1:
            with _connected():
                dist.barrier()

    def total(self, values: Tensor) -> Tensor:
        """The sum of a small tensor over all processes."""
        if self.world == 1:
            return values
        summed = values.to(self.torch)
        with _connected():
            dist.all_reduce(summed)
        return summed.cpu()

    def total_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Sum the gradients over all processes, in one message."""
        if self.world > 1:
            grads = [p.grad for p in parameters if p.grad is not None]
            flat = torch.cat([g.flatten() for g in grads])
            with _connected():
                dist.all_reduce(flat)
            for grad, part in zip(grads, torch.split(flat, [g.numel() for g in grads]), strict=True):
                grad.copy_(part.view_as(grad))

    def share(self, value: Any) -> Any:
        """Give the first process's value to all."""
        box = [value]
        if self.world > 1:
            with _connected():
                dist.broadcast_object_list(box, src=0)
        return box[0]

    def once(self, work: Callable[[], Any]) -> Any:
        """Do something in the first process alone, and give its result to all.

        Raises:
            UserError: the first process was refused; in the others it is a `ReportedElsewhere`.
        """
        result, refused = None, ""
        if self.first:
            try:
                result = work()
            except UserError as e:
                self.share((None, str(e)))
                raise
        result, refused = self.share((result, refused))
        if refused:
            raise ReportedElsewhere(refused)
        return result

    def gather(self, value: Tensor) -> list[Tensor]:
        """Every process's tensor, in order of rank, in all of them."""
        if self.world == 1:
            return [value]
        parts = [torch.empty_like(value) for _ in range(self.world)]
        with _connected():
            dist.all_gather(parts, value)
        return parts


def open_device(options: Train) -> Device:
    """Find the device, precision and processes that a run asks for, and set the number of threads.

    Under `torchrun` the processes join here; each must be started with the same options.

    Raises:
        UserError: the device cannot be used.
    """
    world, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    device = torch_device(options.device, int(os.environ.get("LOCAL_RANK", "0")))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    torch.set_num_threads(options.threads or max(1, cores // local))
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if world > 1 and not dist.is_initialized():
        # The others wait while the first prepares a large corpus; torchrun ends them if it fails.
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=timedelta(days=7))
        atexit.register(dist.destroy_process_group)  # its threads must end before the interpreter does
    bfloat16 = options.precision == "bfloat16" or (options.precision == "auto" and has_fast_bfloat16(device))
    return Device(device, bfloat16, rank, world)


def torch_device(name: str, local_rank: int = 0) -> TorchDevice:
    """The device of a name: `auto` is a GPU if PyTorch can use one, else the processor.

    `auto` and `cuda` give each process of a machine its own GPU.

    Raises:
        UserError: it cannot be used.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = TorchDevice("cuda", local_rank) if name == "cuda" else TorchDevice(name)
        torch.empty(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as e:
        why = str(e).partition(". ")[0].splitlines()[0]
        raise UserError(f"train.device = '{name}' cannot be used: {why}; use auto, cpu, cuda or cuda:1") from e
    return device


def has_fast_bfloat16(device: TorchDevice) -> bool:
    """Whether bfloat16 products are faster than float32's: AMX or AVX-512 BF16 on processors, Ampere on GPUs."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return any(capabilities.get(name, False) for name in ("amx_bf16", "avx512_bf16"))


def processor() -> str:
    """The processor's name, for results."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


@contextmanager
def _connected() -> Iterator[None]:
    """Report the end of another process of the training, which gloo says in its own terms."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as e:
        raise UserError(f"another process of this training has ended, so this one ends too ({e})") from e
