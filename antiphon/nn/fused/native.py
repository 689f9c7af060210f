"""The compiled loops of loops.cpp: built on first use with the system's C++ compiler, kept, and called by ctypes.

Where there is no compiler, `available` is False and the callers use their plain PyTorch twins. The library is kept in
the user's cache folder under a name made of its source, the flags and the processor, so that it is built once.
"""

import atexit
import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

SOURCE = Path(__file__).with_name("loops.cpp")
FLAGS = ("-O3", "-std=c++17", "-shared", "-fPIC", "-fvisibility=hidden", "-fno-math-errno", "-fno-trapping-math")
TUNED = (  # the first that works
    ("-march=native", "-fopenmp"), ("-march=native", "-fopenmp-simd"), ("-mcpu=native", "-fopenmp-simd"),
    ("-fopenmp-simd",),
)  # fmt: skip
SUFFIXES = {torch.float32: "float", torch.bfloat16: "bfloat16", torch.float64: "double"}
SECONDS = 120.0  # longest compilation
GRAIN = 8192  # numbers that are worth another thread

# Arguments before the number of threads: i an integer, p a tensor, d a number.
SIGNATURES = {
    "lstm_forward": "iippppppi",
    "gru_forward": "iippppppi",
    "lstm_backward": "iippppipipp",
    "gru_backward": "iippppipipp",
    "sru_forward": "iiipppppp",
    "sru_backward": "iiippppppppp",
    "attend_forward": "iiiipippdpp" + "ppi",
    "attend_backward": "iiiipippdpp" + "ppippp",
    "cross_entropy": "iipppdpp",
}
CTYPES = {"i": ctypes.c_int64, "p": ctypes.c_void_p, "d": ctypes.c_double}


def available(low: torch.dtype, device: torch.device, real: torch.dtype) -> bool:
    """Whether the compiled loops can be used for products in `low`, with weights and sums in `real`, on `device`."""
    fits = device.type == "cpu" and low in SUFFIXES and real == torch.promote_types(low, torch.float32)
    return fits and _library() is not None


def call(name: str, low: torch.dtype, work: int, *arguments: Tensor | int | float | None) -> None:
    """Call a loop of loops.cpp.

    Args:
        name: the function.
        low: the type in which its products come and go: float32, bfloat16 (with float32 arithmetic) or float64.
        work: numbers that it goes over, which decides on how many threads.
        *arguments: its arguments but the number of threads; tensors must be laid out as it expects.
    """
    threads = max(1, min(torch.get_num_threads(), work // GRAIN))
    plain = (x.data_ptr() if isinstance(x, Tensor) else x for x in arguments)
    _function(name, low)(*plain, threads)


@functools.cache
def _function(name: str, low: torch.dtype) -> Callable[..., None]:
    function: Callable[..., None] = getattr(_library(), f"{name}_{SUFFIXES[low]}")
    function.argtypes = [CTYPES[code] for code in SIGNATURES[name]] + [ctypes.c_int]  # type: ignore[attr-defined]
    function.restype = None  # type: ignore[attr-defined]
    return function


@functools.cache
def _library() -> ctypes.CDLL | None:
    """Load the library, after building it if it is not there; None without a compiler, or where it cannot be loaded."""
    compiler = next(filter(None, map(shutil.which, (os.environ.get("CXX", ""), "c++", "g++", "clang++"))), None)
    if sys.platform == "win32" or compiler is None:
        return None
    for tuned in TUNED:
        with suppress(OSError, subprocess.SubprocessError):
            return ctypes.CDLL(str(_built(compiler, (*FLAGS, *tuned))))
    return None


def _built(compiler: str, flags: tuple[str, ...]) -> Path:
    """The library's file, built whole or not at all."""
    source = SOURCE.read_bytes()
    mark = hashlib.sha256(b"\0".join([source, compiler.encode(), *(f.encode() for f in flags), _processor()]))
    path = _cache() / f"kernels-{mark.hexdigest()[:16]}.so"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            built = Path(folder) / path.name
            subprocess.run([compiler, *flags, "-o", built, SOURCE], check=True, capture_output=True, timeout=SECONDS)
            built.replace(path)
    return path


def _processor() -> bytes:
    """What the code is made for: a home may be shared by machines of several kinds."""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next((line for line in lines if line.startswith(("flags", "Features"))), "").encode()
    return platform.processor().encode()


def _cache() -> Path:
    """The user's cache folder, or one that lasts as long as the process where that cannot be written."""
    named = os.environ.get("XDG_CACHE_HOME")
    with suppress(OSError, RuntimeError):  # RuntimeError: nobody's home
        home = Path(named) if named else Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")
        folder = home / "antiphon"
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    own = tempfile.mkdtemp(prefix="antiphon-")
    atexit.register(shutil.rmtree, own, ignore_errors=True)
    return Path(own)
