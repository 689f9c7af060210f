"""Building the compiled loops, and doing without them."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from antiphon.nn.fused import native
from antiphon.nn.layers import Recurrent

CPU = torch.device("cpu")
HAS_COMPILER = any(shutil.which(name) for name in ("c++", "g++", "clang++")) and sys.platform != "win32"


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of its own, and nothing loaded yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(native, "_library", native._library.__wrapped__)
    return tmp_path / "antiphon"


@pytest.mark.skipif(not HAS_COMPILER, reason="no C++ compiler")
def test_the_library_is_built_once_and_kept(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert native.available(torch.bfloat16, CPU, torch.float32)
    [built] = fresh.iterdir()
    before = built.stat().st_mtime_ns
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: pytest.fail("compiled again"))
    assert native.available(torch.float64, CPU, torch.float64)
    assert [path.stat().st_mtime_ns for path in fresh.iterdir()] == [before]


@pytest.mark.skipif(not HAS_COMPILER, reason="no C++ compiler")
def test_every_function_has_a_signature_of_the_source(fresh: Path) -> None:
    source = native.SOURCE.read_text("utf-8")
    for name, codes in native.SIGNATURES.items():
        begin = source.index(f"EXPORT void {name}_##suffix(") + len(f"EXPORT void {name}_##suffix(")
        arguments = source[begin : source.index(")", begin)].replace("\\", "").split(",")
        kinds = ["p" if "*" in a else "d" if a.split()[0] == "double" else "i" for a in arguments]
        assert "".join(kinds) == codes + "i", name


def test_without_a_compiler_there_is_no_library(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert not native.available(torch.float32, CPU, torch.float32)


def test_a_compiler_that_fails_leaves_nothing_behind(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(command: list[str], **kwargs: object) -> None:
        Path(command[command.index("-o") + 1]).write_bytes(b"half")
        raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(shutil, "which", lambda name: name or None)
    monkeypatch.setattr(subprocess, "run", fail)
    assert not native.available(torch.float32, CPU, torch.float32)
    assert not fresh.exists() or list(fresh.iterdir()) == []


def test_only_processors_and_known_types_are_served() -> None:
    assert not native.available(torch.float16, CPU, torch.float32)
    assert not native.available(torch.float32, torch.device("meta"), torch.float32)
    assert not native.available(torch.bfloat16, CPU, torch.bfloat16)  # sums would overrun their buffers
    assert not native.available(torch.bfloat16, CPU, torch.float64)


def test_a_model_all_in_bfloat16_runs_on_plain_loops() -> None:
    torch.manual_seed(0)
    layer = Recurrent("lstm", 8, 8)
    for weight in layer.parameters():
        torch.nn.init.uniform_(weight, -0.3, 0.3)
    x = torch.randn(2, 3, 8)
    exact, _ = layer(x, layer.zero_state(2))
    layer.bfloat16()
    low, _ = layer(x.bfloat16(), layer.zero_state(2))
    torch.testing.assert_close(low.float(), exact, rtol=0, atol=0.02)
