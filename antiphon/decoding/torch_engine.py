"""The engine on the PyTorch model.

Shapes: B sentences, K hypotheses a sentence, k best next pieces, S source pieces.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from antiphon.data.batches import pad
from antiphon.data.tokenizer import BOS, PAD
from antiphon.decoding.engine import Step
from antiphon.nn.attention import Memory
from antiphon.nn.decoder import Named
from antiphon.nn.model import Model


class TorchState(NamedTuple):
    """The encoder's memory, once a sentence, and the decoder's named state, once a hypothesis."""

    memory: Memory
    decoder: Named


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
    def start(self, sources: Sequence[Sequence[int]]) -> TorchState:
        """Read the sources; see `Engine.start`."""
        ids = torch.from_numpy(pad([np.asarray(source) for source in sources])).to(self.device)  # [B, S]
        return TorchState(*self.model.encode(ids))

    @torch.inference_mode()
    def vectors(self, sources: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Each source as one vector, the decoder's first state of all layers (Sutskever 2014, figure 2). [B, D]"""
        decoder = self.start(sources).decoder
        parts = [decoder[name].flatten(1) for name in ("s", "cell") if name in decoder]
        return np.asarray(torch.cat(parts, 1).float().cpu().numpy())

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
        logits = logits.float()
        logits[..., [PAD, BOS]] = -torch.inf
        log_p = logits.log_softmax(-1)  # [B, K, V]
        best, ids = self.best(log_p, min(k, self.vocabulary)) if k else (log_p, _every(log_p))
        asked = torch.zeros(fed.shape) if ask is None else log_p.gather(2, self._tensor(ask).unsqueeze(2)).squeeze(2)
        step = Step(
            best.cpu().numpy(),
            ids.cpu().numpy(),
            asked.cpu().numpy(),
            None if alpha is None else alpha.float().cpu().numpy(),
        )
        return step, TorchState(state.memory, decoder)

    def best(self, log_p: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """The k best of log p [B, K, V] and their ids, [B, K, k] each."""
        values, ids = log_p.topk(k, dim=-1)
        return values, ids

    @torch.inference_mode()
    def keep(self, state: TorchState, sentences: NDArray[np.int64]) -> TorchState:
        """Let finished sentences go; see `Engine.keep`."""
        stay = self._tensor(sentences)
        memory = Memory(*(part[stay] for part in state.memory))
        longest = int(memory.mask.sum(1).max())
        trimmed = {name: getattr(memory, name)[:, :longest] for name in ("h", "keys", "mask", "ids")}
        memory = memory._replace(**trimmed)
        decoder = {name: part[stay] for name, part in state.decoder.items()}
        if "coverage" in decoder:
            decoder["coverage"] = decoder["coverage"][:, :, :longest]
        return TorchState(memory, decoder)

    def _tensor(self, ids: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(ids)).to(self.device)


def _every(log_p: Tensor) -> Tensor:
    """All ids in their order, for each hypothesis. [B, K, V]"""
    return torch.arange(log_p.shape[2], device=log_p.device).expand(log_p.shape)


def _chosen(state: Named, rows: Tensor) -> Named:
    """The rows [B, K] of every named tensor [B, K', ...] -> [B, K, ...]."""
    sentences = torch.arange(len(rows), device=rows.device).unsqueeze(1)
    return {name: part[sentences, rows] for name, part in state.items()}
