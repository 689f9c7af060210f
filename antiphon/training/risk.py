"""Minimum-risk training (Shen 2016): the expected error of the model's own outputs is made small.

    R(theta)      = sum_s sum_{y in S(x_s)} Q(y | x_s) Delta(y, y_s)                (eq. 9 and 10)
    Q(y | x_s)    = P(y | x_s)^alpha / sum_{y' in S(x_s)} P(y' | x_s)^alpha         (eq. 11)

S(x_s) are candidates sampled from the model, each counted once, and Delta is 1 - metric of a single sentence.

Shapes: B sentences, N candidates of all of them, T target positions, V pieces, K samples a sentence, k best pieces.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from antiphon.config.search import SearchOptions
from antiphon.config.sections import Train
from antiphon.data.batches import pad
from antiphon.data.tokenizer import EOS, PAD, Tokenizer
from antiphon.decoding import search
from antiphon.decoding.torch_engine import TorchEngine
from antiphon.evaluation import metrics
from antiphon.nn.model import Model
from antiphon.training.device import Device

PART = 4096  # target positions of one pass, or as many as the batch has
LONGEST = 1.5, 5  # a candidate has at most so many times the pieces of the longest reference, and so many more


class Candidates(NamedTuple):
    """The subspaces S(x) of some sentences, one after the other."""

    ids: list[list[int]]  # N, without EOS
    rows: list[int]  # N, ascending: which sentence each is for
    risk: list[float]  # N, Delta


class Risk:
    """The risk of a run's batches."""

    def __init__(self, options: Train, tokenizer: Tokenizer, device: Device) -> None:
        self.options, self.tokenizer, self.device = options, tokenizer, device

    def backward(self, model: Model, sources: Tensor, targets: Tensor, scale: float, seed: Sequence[int]) -> float:
        """Add `scale` times the gradient of R to the weights' gradients.

        Args:
            model: in training mode.
            sources, targets: ids [B, S] and [B, T], EOS at their ends, padded.
            scale: the factor of R.
            seed: random seed for sampling the candidates.

        Returns:
            R, summed over the sentences.
        """
        candidates = self.candidates(model, sources, targets, seed)
        model.train()
        total, rows = 0.0, np.array(candidates.rows)
        longest = 1 + max(map(len, candidates.ids))
        size = max(1, max(targets.numel(), PART) // ((self.options.risk_samples + 1) * longest))
        for begin in range(0, len(sources), size):
            first, last = np.searchsorted(rows, [begin, begin + size]).tolist()
            ids = pad([np.array(y, np.int64) for y in candidates.ids[first:last]], eos=EOS)
            part, risk = rows[first:last] - begin, np.array(candidates.risk[first:last])
            y, row, delta = (torch.from_numpy(a).to(sources.device) for a in (ids, part, risk))
            with self.device.products():
                log_p = model.log_p(sources[begin : begin + size], y, row)
            R = expected(log_p, row, delta.to(log_p.dtype), self.options.risk_alpha).sum()
            torch.autograd.backward(scale * R)
            total += float(R.detach())
        return total

    def candidates(self, model: Model, sources: Tensor, targets: Tensor, seed: Sequence[int]) -> Candidates:
        """Sample candidates for sources [B, S], and score them against targets [B, T]; leaves the model in evaluation
        mode."""
        o = self.options
        engine = Sampler(model, sources.device, seed)
        longest = round(LONGEST[0] * targets.shape[1]) + LONGEST[1]
        with self.device.products():
            sampled = search.sample(
                engine, _listed(sources), SearchOptions(nbest=o.risk_samples, top_k=1, max_length=longest)
            )
        references = [row[:-1] for row in _listed(targets)]
        ids, rows = [], []
        for row, (reference, samples) in enumerate(zip(references, sampled, strict=True)):
            all_ids = [tuple(reference)] * o.risk_reference + [tuple(sample.ids) for sample in samples]
            for each in dict.fromkeys(all_ids):
                ids.append(list(each))
                rows.append(row)
        texts = self.tokenizer.decode_all(references)
        scores = metrics.sentences(o.risk, self.tokenizer.decode_all(ids), [texts[row] for row in rows]) / 100
        return Candidates(ids, rows, (1 - scores if metrics.METRICS[o.risk].higher_is_better else scores).tolist())


class Sampler(TorchEngine):
    """A model whose best next pieces are sampled: those of the highest log p + Gumbel noise.

    The first is a sample of the distribution itself (Gumbel 1954), so a search that keeps the one best samples, without
    a sorted vocabulary.
    """

    def __init__(self, model: Model, device: torch.device, seed: Sequence[int]) -> None:
        super().__init__(model, device)
        number = int(np.random.SeedSequence(seed).generate_state(1)[0])
        self.generator = torch.Generator(device).manual_seed(number)

    def best(self, log_p: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """The k sampled pieces, in order, with their log p."""
        noise = -torch.empty_like(log_p).exponential_(generator=self.generator).log()
        ids = (log_p + noise).topk(k, dim=-1).indices
        return log_p.gather(-1, ids), ids


def expected(log_p: Tensor, rows: Tensor, risk: Tensor, alpha: float) -> Tensor:
    """sum_y Q(y | x) Delta(y) of each sentence (Shen 2016, eq. 9 to 11). [B]

    Args:
        log_p: of each candidate, in nats [N].
        rows: which sentence each candidate is for, of 0 to B - 1, every one of them [N].
        risk: Delta of each candidate [N].
        alpha: the sharpness of Q.
    """
    count = int(rows.max()) + 1
    scaled = alpha * log_p
    most = scaled.detach().new_full((count,), -torch.inf).scatter_reduce(0, rows, scaled.detach(), "amax")
    power = (scaled - most[rows]).exp()
    norm = power.new_zeros(count).index_add(0, rows, power)
    return power.new_zeros(count).index_add(0, rows, power / norm[rows] * risk)


def _listed(ids: Tensor) -> list[list[int]]:
    """The rows of padded ids [B, T] without their padding."""
    return [row[row != PAD].tolist() for row in ids.cpu()]
