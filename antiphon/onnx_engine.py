"""The engine on ONNX Runtime: a model folder that was exported answers without PyTorch.

onnx/encoder.onnx, onnx/step.onnx               the graphs, float32 (see `export`)
onnx/encoder.int8.onnx, onnx/step.int8.onnx     the same with int8 weights and products
onnx/meta.json                                  format, version, what was exported and from which weights

Shapes: B sentences, K hypotheses a sentence, k best next pieces, S source pieces, N = B K rows.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from antiphon.batches import pad
from antiphon.engine import Step
from antiphon.errors import UserError
from antiphon.folder import WEIGHTS

FOLDER, META = "onnx", "meta.json"
FORMAT, VERSION = "antiphon onnx", 1
GRAPHS = {
    "float32": ("encoder.onnx", "step.onnx"),
    "int8": ("encoder.int8.onnx", "step.int8.onnx"),
}
Arrays = dict[str, NDArray[Any]]

BLOCKS, BLOCK = 16, 1 << 16  # what a fingerprint reads of the weights


class OnnxState(NamedTuple):
    """The encoder's memory, once a sentence, and the decoder's named state, once a hypothesis."""

    memory: Arrays  # `memory.*`
    decoder: Arrays  # `state.*`, each [rows, ..]
    first: NDArray[np.int64]  # [B] where in these rows a sentence's hypotheses begin


class OnnxEngine:
    """An exported model, seen as a search sees it (see `Engine`)."""

    def __init__(self, folder: str | Path, precision: str = "float32", threads: int = 0) -> None:
        """Open the graphs of a model folder.

        Args:
            folder: the model folder, or a copy of it without model.safetensors.
            precision: `float32`, which answers as PyTorch does, or `int8`: a quarter of the size and faster, about as
                good. In int8 the rows of one step share the scale to which they are rounded, so what else is in the
                batch may change the last digits of a score.
            threads: processor threads; 0: one for each core.

        Raises:
            UserError: ONNX Runtime is not installed, or the folder was not exported, not in this precision, or before
                its weights changed.
        """
        if precision not in GRAPHS:
            raise UserError(f"precision '{precision}': must be one of {', '.join(GRAPHS)}")
        path = Path(folder) / FOLDER
        meta = _meta(path, precision)
        self._vocabulary = int(meta["vocabulary"])
        self._encoder, self._step = (_session(path / name, threads) for name in GRAPHS[precision])
        self._memories = [output.name for output in self._encoder.get_outputs()]
        self._answers = [output.name for output in self._step.get_outputs()]

    @property
    def vocabulary(self) -> int:
        """Number of target pieces, specials included."""
        return self._vocabulary

    def start(self, sources: Sequence[Sequence[int]]) -> OnnxState:
        """Read the sources; see `Engine.start`."""
        ids = pad([np.asarray(source) for source in sources])  # [B, S]
        found = dict(zip(self._memories, self._encoder.run(self._memories, {"sources": ids}), strict=True))
        memory = {name: value for name, value in found.items() if name.startswith("memory.")}
        decoder = {name: value for name, value in found.items() if name.startswith("state.")}
        return OnnxState(memory, decoder, np.arange(len(ids)))

    def step(
        self,
        state: OnnxState,
        tokens: NDArray[np.int64],
        parents: NDArray[np.int64],
        k: int,
        ask: NDArray[np.int64] | None = None,
    ) -> tuple[Step, OnnxState]:
        """Feed one piece to every hypothesis; see `Engine.step`."""
        shape = B, K = tokens.shape
        asked = np.zeros(shape, np.int64) if ask is None else ask
        feed = {
            "tokens": np.ascontiguousarray(tokens, np.int64).ravel(),
            "rows": (state.first[:, None] + parents).ravel(),
            "k": np.array([min(k, self.vocabulary)]),
            "ask": np.ascontiguousarray(asked, np.int64).reshape(-1, 1),
            **state.memory,
            **state.decoder,
        }
        found = dict(zip(self._answers, self._step.run(self._answers, feed), strict=True))
        step = Step(
            found["scores"].reshape(B, K, -1),
            found["ids"].reshape(B, K, -1),
            found["asked"].reshape(B, K),
            found.get("attention"),
        )
        after = {name: found[name.replace("state.", "next.")] for name in state.decoder}
        return step, OnnxState(state.memory, after, np.arange(B) * K)

    def keep(self, state: OnnxState, sentences: NDArray[np.int64]) -> OnnxState:
        """Let finished sentences go; see `Engine.keep`. The decoder's rows go at the next step."""
        memory, decoder = state.memory, state.decoder
        if "memory.mask" in memory:
            longest = int((memory["memory.mask"][sentences] == 0).sum(2).max())
            memory = {name: value[..., :longest] if name == "memory.mask" else value[..., :longest, :]
                      for name, value in memory.items()}  # fmt: skip
            decoder = {name: value[:, :longest] if name == "state.coverage" else value
                       for name, value in decoder.items()}  # fmt: skip
        memory = {name: np.ascontiguousarray(value[sentences]) for name, value in memory.items()}
        return OnnxState(memory, decoder, state.first[sentences])


def fingerprint(weights: Path) -> str:
    """What tells one file of weights from another, from a sample of it: training changes every weight."""
    size = weights.stat().st_size
    digest = hashlib.blake2b(str(size).encode(), digest_size=16)
    with weights.open("rb") as file:
        for i in range(BLOCKS):
            file.seek(max(0, size - BLOCK) * i // (BLOCKS - 1))
            digest.update(file.read(BLOCK))
    return digest.hexdigest()


def current(folder: Path) -> bool:
    """Whether a model folder holds float32 graphs of the weights that it has now."""
    try:
        _meta(folder / FOLDER, "float32")
    except UserError:
        return False
    return True


def _meta(path: Path, precision: str) -> Mapping[str, Any]:
    """Read meta.json and see that the graphs are there and of the folder's weights."""
    file, advice = path / META, f"run: antiphon export {path.parent}"
    try:
        meta = json.loads(file.read_text("utf-8"))
    except FileNotFoundError as e:
        raise UserError(f"{path.parent}: not exported to ONNX yet; {advice}") from e
    except (OSError, ValueError) as e:
        raise UserError(f"{file}: cannot be read: {e}; {advice}") from e
    if not isinstance(meta, dict) or meta.get("format") != FORMAT or meta.get("version") != VERSION:
        raise UserError(f"{file}: not of this version of Antiphon; {advice}")
    if precision not in meta["precisions"]:
        raise UserError(f"{path}: has no {precision} graphs, only {', '.join(meta['precisions'])}; {advice}")
    weights = path.parent / WEIGHTS
    if weights.exists() and fingerprint(weights) != meta["weights"]:
        raise UserError(f"{path}: exported from other weights than {weights} has now; {advice}")
    return meta


def _session(path: Path, threads: int) -> Any:
    try:
        import onnxruntime  # type: ignore[import-untyped]
    except ModuleNotFoundError as e:
        if e.name != "onnxruntime":
            raise
        raise UserError("to run an exported model ONNX Runtime is needed: pip install onnxruntime") from e
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    # Threads that wait by spinning take the processor from tokenizers and the search, and from other programs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as e:  # onnxruntime has a class for each of its errors and no common one
        advice = f"run: antiphon export {path.parent.parent}"
        raise UserError(f"{path}: cannot be opened: {str(e).splitlines()[0]}; {advice}") from e
