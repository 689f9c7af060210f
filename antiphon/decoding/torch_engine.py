"""The engine on the PyTorch model.

Shapes: B sentences, K hypotheses a sentence, k best next pieces, S source pieces.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from antiphon import model_folder
from antiphon.config.kinds import CELLS
from antiphon.data.batches import pad
from antiphon.data.tokenizer import BOS, PAD
from antiphon.decoding.engine import Step
from antiphon.errors import UserError
from antiphon.model_folder import ModelFolder
from antiphon.nn.attention import Memory
from antiphon.nn.decoder import Named
from antiphon.nn.model import Model, build


class TorchState(NamedTuple):
    """The encoder's memory, once a sentence, and the decoder's named state, once a hypothesis."""

    memory: Memory
    decoder: Named
    banned: Tensor  # [V] True on pieces that cannot be an output


class TorchEngine:
    """A model in PyTorch, seen as a search sees it (see `Engine`)."""

    workers = 1  # PyTorch's own threads share each product

    def __init__(self, model: Model, device: torch.device | str = "cpu") -> None:
        self.model = model.to(device).eval()
        self.device = torch.device(device)

    @property
    def vocabulary(self) -> int:
        """Number of target pieces, specials included."""
        return self.model.vocabulary

    @torch.inference_mode()
    def start(self, sources: Sequence[Sequence[int]], allowed: NDArray[np.int64] | None = None) -> TorchState:
        """Encode the sources; see `Engine.start`."""
        ids = torch.from_numpy(pad([np.asarray(source) for source in sources])).to(self.device)  # [B, S]
        banned = torch.zeros(self.vocabulary, dtype=torch.bool, device=self.device)
        if allowed is not None:
            banned[:] = True
            banned[self._tensor(allowed)] = False
        banned[[PAD, BOS]] = True
        return TorchState(*self.model.encode(ids), banned)

    @torch.inference_mode()
    def step(
        self,
        state: TorchState,
        tokens: NDArray[np.int64],
        parents: NDArray[np.int64],
        k: int,
        ask: NDArray[np.int64] | None = None,
    ) -> tuple[Step, TorchState]:
        """Feed one piece to every hypothesis; see `Engine.step`."""
        fed, rows = self._tensor(tokens), self._tensor(parents)
        logits, decoder, alpha = self.model.step(fed, _chosen(state.decoder, rows), state.memory)
        log_p = logits.float().masked_fill(state.banned, -torch.inf).log_softmax(-1)  # [B, K, V]
        best, ids = self.best(log_p, min(k, self.vocabulary)) if k else (log_p, _every(log_p))
        asked = torch.zeros(fed.shape) if ask is None else log_p.gather(2, self._tensor(ask).unsqueeze(2)).squeeze(2)
        step = Step(
            best.cpu().numpy(),
            ids.cpu().numpy(),
            asked.cpu().numpy(),
            None if alpha is None else alpha.float().cpu().numpy(),
        )
        return step, state._replace(decoder=decoder)

    def best(self, log_p: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """The k best of log p [B, K, V] and their ids, [B, K, k] each."""
        values, ids = log_p.topk(k, dim=-1)
        return values, ids

    @torch.inference_mode()
    def keep(self, state: TorchState, sentences: NDArray[np.int64]) -> TorchState:
        """Drop finished sentences; see `Engine.keep`."""
        stay = self._tensor(sentences)
        memory = Memory(*(part[stay] for part in state.memory))
        longest = int(memory.mask.sum(1).max())
        trimmed = {name: getattr(memory, name)[:, :longest] for name in ("h", "keys", "mask", "ids")}
        memory = memory._replace(**trimmed)
        decoder = {name: part[stay] for name, part in state.decoder.items()}
        if "coverage" in decoder:
            decoder["coverage"] = decoder["coverage"][:, :, :longest]
        return state._replace(memory=memory, decoder=decoder)

    def vectors(self, sources: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Each source as one vector; see `Engine.vectors`."""
        decoder = self.start(sources).decoder
        parts = [decoder[name].flatten(1) for name in CELLS[self.model.decoder.stack.cell].state]
        return np.asarray(torch.cat(parts, 1).float().cpu().numpy())

    def _tensor(self, ids: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(ids)).to(self.device)


def _every(log_p: Tensor) -> Tensor:
    """All ids in their order, for each hypothesis. [B, K, V]"""
    return torch.arange(log_p.shape[2], device=log_p.device).expand(log_p.shape)


def _chosen(state: Named, rows: Tensor) -> Named:
    """The rows [B, K] of every named tensor [B, K', ...] -> [B, K, ...]."""
    sentences = torch.arange(len(rows), device=rows.device).unsqueeze(1)
    return {name: part[sentences, rows] for name, part in state.items()}


def open_engine(opened: ModelFolder, device: str, threads: int) -> TorchEngine:
    """Make the network of a model folder and set its weights; see `opening.open_engine`."""
    if threads:
        torch.set_num_threads(threads)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as e:
        raise UserError(f"device {device}: {str(e).splitlines()[0]}; known: auto, cpu, cuda, cuda:1") from e
    try:
        with torch.random.fork_rng(devices=[]):  # modules draw initial weights of their own, in vain
            model = build(opened.config.model, len(opened.source), len(opened.target), draw=False)
    except (UserError, RuntimeError, ValueError) as e:  # PyTorch's own, where a changed file asks for the impossible
        raise UserError(f"{opened.path / model_folder.CONFIG}: no such model can be built: {e}") from e
    _set_weights(model, opened)
    return TorchEngine(model, device)


def _set_weights(model: Model, opened: ModelFolder) -> None:
    """Set a model's parameters to the folder's, which must be the same by name and shape."""
    path, weights = opened.path / model_folder.WEIGHTS, opened.weights()
    advice = "the folder's files are of different models: copy it again, or train again"
    for name, parameter in model.named_parameters():
        expected = list(parameter.shape)
        if name not in weights:
            raise UserError(f"{path}: has no weight '{name}' of shape {expected}; {advice}")
        weight = weights.pop(name)
        if list(weight.shape) != expected:
            raise UserError(
                f"{path}: weight '{name}' has shape {list(weight.shape)}, but the configuration and the vocabularies "
                f"ask for {expected}; {advice}"
            )
        with torch.no_grad():
            parameter.copy_(torch.tensor(weight))
    if weights:
        raise UserError(f"{path}: weight '{min(weights)}' is not in a model of this configuration; {advice}")
