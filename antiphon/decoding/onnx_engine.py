"""The engine on ONNX Runtime: a model folder that was exported answers without PyTorch.

onnx/encoder.onnx, onnx/step.onnx               the graphs, float32 (see `export`)
onnx/encoder.int8.onnx, onnx/step.int8.onnx     the same with int8 weights and products
onnx/shortlist.safetensors                      candidates for source pieces, if asked for (see `shortlist`)
onnx/meta.json                                  format, version, what was exported and from which weights

Shapes: B sentences, K hypotheses a sentence, k best next pieces, S source pieces, N = B K rows, W
pieces on a shortlist.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from antiphon.data.batches import pad
from antiphon.decoding.engine import Step
from antiphon.errors import UserError
from antiphon.model_folder import WEIGHTS

FOLDER, META = "onnx", "meta.json"
FORMAT, VERSION = "antiphon onnx", 1
GRAPHS = {
    "float32": ("encoder.onnx", "step.onnx"),
    "int8": ("encoder.int8.onnx", "step.int8.onnx"),
}
Arrays = dict[str, NDArray[Any]]

BLOCKS, BLOCK = 16, 1 << 16  # what a fingerprint reads of the weights
LARGE = 100 << 20  # bytes of a step's graph from which its products are worth sharing among threads
EVERY = np.empty(0, np.int64)  # no shortlist: every piece is allowed


class OnnxState(NamedTuple):
    """The encoder's memory, once a sentence, and the decoder's named state, once a hypothesis."""

    memory: Arrays  # `memory.*`
    decoder: Arrays  # `state.*`, each [rows, ..]
    first: NDArray[np.int64]  # [B] where in these rows a sentence's hypotheses begin
    words: Arrays  # `words.*`, the output layer's share of `allowed`, where the graphs know shortlists
    allowed: NDArray[np.int64]  # [W] the pieces on the shortlist; empty: all pieces


class OnnxEngine:
    """An exported model, seen as a search sees it (see `Engine`)."""

    def __init__(self, folder: str | Path, precision: str = "float32", threads: int = 0) -> None:
        """Open the graphs of a model folder.

        Args:
            folder: the model folder, or a copy of it without model.safetensors.
            precision: `float32`, which answers as PyTorch does, or `int8`: a quarter of the size and faster, about as
                good. In int8 the rows of one step share the scale to which they are rounded, so what else is in the
                batch may change the last digits of a score.
            threads: processor threads; 0: one for each core. A step is too small to be shared among them, so that each
                works on a batch of its own (see `workers`); only of a large model all work on one.

        Raises:
            UserError: ONNX Runtime is not installed, or the folder was not exported, not in this precision, or before
                its weights changed.
        """
        if precision not in GRAPHS:
            raise UserError(f"precision '{precision}': must be one of {', '.join(GRAPHS)}")
        path = Path(folder) / FOLDER
        meta = _meta(path, precision)
        self._vocabulary = int(meta["vocabulary"])
        self._shortlist = bool(meta.get("shortlist"))
        files = [path / name for name in GRAPHS[precision]]
        threads = threads or _cores()
        large = files[1].exists() and files[1].stat().st_size > LARGE
        self.workers = 1 if large else threads
        self._encoder, self._step = (_session(file, threads if large else 1) for file in files)
        self._memories = [output.name for output in self._encoder.get_outputs()]
        self._answers = [output.name for output in self._step.get_outputs()]

    @property
    def vocabulary(self) -> int:
        """Number of target pieces, specials included."""
        return self._vocabulary

    def start(self, sources: Sequence[Sequence[int]], allowed: NDArray[np.int64] | None = None) -> OnnxState:
        """Encode the sources; see `Engine.start`."""
        if allowed is not None and not self._shortlist:
            raise UserError("this model was exported without a shortlist: run antiphon export with --shortlist")
        pieces = EVERY if allowed is None else allowed
        ids = pad([np.asarray(source) for source in sources])  # [B, S]
        feed = {"sources": ids} | ({"allowed": pieces} if self._shortlist else {})
        values = dict(zip(self._memories, self._encoder.run(self._memories, feed), strict=True))
        memory, decoder, words = (
            {name: value for name, value in values.items() if name.startswith(kind)}
            for kind in ("memory.", "state.", "words.")
        )
        return OnnxState(memory, decoder, np.arange(len(ids)), words, pieces)

    def step(
        self,
        state: OnnxState,
        tokens: NDArray[np.int64],
        parents: NDArray[np.int64],
        k: int,
        ask: NDArray[np.int64] | None = None,
    ) -> tuple[Step, OnnxState]:
        """Feed one piece to every hypothesis; see `Engine.step`."""
        B, K = tokens.shape
        allowed = state.allowed
        asked = np.zeros((B, K), np.int64) if ask is None else np.ascontiguousarray(ask, np.int64)
        if len(allowed):
            asked = np.searchsorted(allowed[:-1], asked)  # PAD, which asks for nothing, is found somewhere
        feed = {
            "tokens": np.ascontiguousarray(tokens, np.int64).reshape(-1),
            "rows": (state.first[:, None] + parents).reshape(-1),
            "k": np.array([min(k or self.vocabulary, len(allowed) or self.vocabulary)]),
            "ask": asked.reshape(-1, 1),
            **state.words,
            **state.memory,
            **state.decoder,
        }
        values = dict(zip(self._answers, self._step.run(self._answers, feed), strict=True))
        scores, ids = values["scores"].reshape(B, K, -1), values["ids"].reshape(B, K, -1)
        if len(allowed):
            ids = allowed[ids]
        if not k:
            scores, ids = _in_order(scores, ids, self.vocabulary)
        step = Step(
            scores,
            ids,
            values["asked"].reshape(B, K),
            values.get("attention"),
        )
        after = {name: values[name.replace("state.", "next.")] for name in state.decoder}
        return step, state._replace(decoder=after, first=np.arange(B) * K)

    def keep(self, state: OnnxState, sentences: NDArray[np.int64]) -> OnnxState:
        """Drop finished sentences; see `Engine.keep`. The decoder's rows follow at the next step."""
        memory, decoder = state.memory, state.decoder
        if "memory.mask" in memory:
            longest = int((memory["memory.mask"][sentences] == 0).sum(2).max())
            memory = {name: value[..., :longest] if name in ("memory.mask", "memory.ids") else value[..., :longest, :]
                      for name, value in memory.items()}  # fmt: skip
            decoder = {name: value[:, :longest] if name == "state.coverage" else value
                       for name, value in decoder.items()}  # fmt: skip
        memory = {name: np.ascontiguousarray(value[sentences]) for name, value in memory.items()}
        return state._replace(memory=memory, decoder=decoder, first=state.first[sentences])

    def vectors(self, sources: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Each source as one vector; see `Engine.vectors`."""
        first = self.start(sources).decoder  # state.s.0, state.cell.0, state.s.1, ..
        parts = dict.fromkeys(name.split(".")[1] for name in first if name.count(".") == 2)  # s, cell
        names = [name for part in parts for name in first if name.startswith(f"state.{part}.")]
        return np.concatenate([first[name] for name in names], axis=1)


def _in_order(
    scores: NDArray[np.float32], ids: NDArray[np.int64], vocabulary: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The scores of all tokens in the order of their ids, -inf for those that are not among `ids`. [B, K, V] each"""
    every = np.full((*ids.shape[:2], vocabulary), -np.inf, np.float32)
    np.put_along_axis(every, ids, scores, 2)
    return every, np.broadcast_to(np.arange(vocabulary), every.shape)


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


def _cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
    options.enable_mem_pattern = False  # it keeps a plan for each shape that it meets, and a stream has many
    # Threads that wait by spinning take the processor from tokenizers and the search, and from other programs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as e:  # onnxruntime has a class for each of its errors and no common one
        advice = f"run: antiphon export {path.parent.parent}"
        raise UserError(f"{path}: cannot be opened: {str(e).splitlines()[0]}; {advice}") from e
