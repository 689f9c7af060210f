"""From a model folder to the engine that runs it. PyTorch is imported only where it is asked for."""

from antiphon.decoding import onnx_engine
from antiphon.decoding.engine import Engine
from antiphon.decoding.onnx_engine import OnnxEngine
from antiphon.decoding.shortlist import FILE, Shortlist
from antiphon.errors import UserError, extra, near
from antiphon.model_folder import ModelFolder

ENGINES = ("auto", "torch", "onnx", "onnx-int8")


def open_engine(opened: ModelFolder, name: str = "auto", device: str = "auto", threads: int = 0) -> Engine:
    """Open a model's engine.

    Args:
        opened: the model folder.
        name: `torch`, `onnx` or `onnx-int8` (see `antiphon export`), or `auto`: ONNX Runtime in float32 where the
            folder was exported so and no GPU is asked for, else PyTorch.
        device: `auto` (a GPU if there is one), `cpu`, `cuda`, `cuda:1`.
        threads: processor threads, for the whole process in PyTorch; 0: all cores.

    Raises:
        UserError: no such engine or device, the folder was not exported, its weights do not fit its configuration, or
            PyTorch is not installed.
    """
    if name not in ENGINES:
        raise UserError(f"no engine is called '{name}'{near(name, ENGINES)}")
    exported = name.startswith("onnx")
    if exported or (name == "auto" and device in ("auto", "cpu") and onnx_engine.current(opened.path)):
        return OnnxEngine(opened.path, "int8" if name == "onnx-int8" else "float32", threads)
    try:
        from antiphon.decoding import torch_engine
    except ModuleNotFoundError as e:
        if e.name != "torch":
            raise
        raise UserError(f"to run a model PyTorch is needed: {extra('train')}") from e
    return torch_engine.open_engine(opened, device, threads)


def open_shortlist(opened: ModelFolder) -> Shortlist:
    """Read the shortlist that a model folder was exported with.

    Raises:
        UserError: it was exported without one, or the shortlist cannot be read.
    """
    path = opened.path / onnx_engine.FOLDER / FILE
    return Shortlist.load(path, len(opened.source), len(opened.target))
