"""Minimum-risk training against the equations of Shen 2016, written out, and against the model's own probabilities."""

import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from tasks import Told, last_checkpoint, log, options, run, same
from torch import Tensor

from antiphon.config import loading, sections
from antiphon.config.search import SearchOptions
from antiphon.config.sections import Text
from antiphon.data.tokenizer import BOS, EOS, PAD, Tokenizer
from antiphon.decoding import search
from antiphon.errors import UserError
from antiphon.nn.model import Model, build, shifted
from antiphon.training import loop
from antiphon.training import risk as risk_module
from antiphon.training.device import Device
from antiphon.training.optim import copied
from antiphon.training.risk import Candidates, Risk, Sampler, expected
from antiphon.training.run import open_run

SOURCES = torch.tensor([[4, 5, 6, EOS], [7, EOS, PAD, PAD], [5, 5, EOS, PAD]])
TARGETS = torch.tensor([[5, 6, EOS], [4, EOS, PAD], [6, 6, EOS]])
FIXED = Candidates(
    [[5, 6], [6], [4, 4, 5], [4], [], [6, 6], [7, 4], [5]],
    [0, 0, 0, 1, 1, 2, 2, 2],
    [0.0, 0.7, 1.0, 0.1, 1.3, 0.0, 0.5, 0.9],
)


class LogP(torch.nn.Module):
    """log p of the fixed candidates as a function of a model's weights."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, targets: Tensor, rows: Tensor) -> Tensor:
        return self.model.log_p(SOURCES, targets, rows)


def tiny(**changes: Any) -> Model:
    torch.manual_seed(2)
    sizes: dict[str, Any] = {
        "embedding": 3,
        "encoder_hidden": 3,
        "decoder_hidden": 4,
        "attention_size": 3,
        "decoder": "bahdanau",
    }
    return build(sections.Model(**(sizes | changes)), 8, 8).double()


def measured(samples: int = 4, **changes: Any) -> Risk:
    chosen = sections.Train(risk="bleu", risk_samples=samples, risk_alpha=0.3, **changes)
    words = Tokenizer.train(["a b c d"], Text(kind="word", size=8), 8)
    return Risk(chosen, words, Device(torch.device("cpu"), False, 0, 1))


def by_hand(model: Model, alpha: float) -> Tensor:
    """R of the fixed candidates: every one alone, by the plain output layer, and eq. 9 to 11 with Python's sums."""
    log_p: list[list[Tensor]] = [[], [], []]
    for ids, row in zip(FIXED.ids, FIXED.rows, strict=True):
        source = SOURCES[row][SOURCES[row] != PAD].unsqueeze(0)
        target = torch.tensor([[*ids, EOS]])
        readout, attended = model(source, shifted(target))
        each = model.output(readout).log_softmax(-1)[0]
        if model.copier is not None:
            p_gen = model.copier.w(readout)[0].sigmoid()
            each = (p_gen * each.exp() + (1 - p_gen) * (attended[0] @ torch.eye(8).double()[source[0]])).log()
        log_p[row].append(torch.stack([each[t, y] for t, y in enumerate(target[0])]).sum())
    total = torch.zeros((), dtype=torch.float64)
    for row in range(3):
        power = [(alpha * one).exp() for one in log_p[row]]
        deltas = [delta for delta, at in zip(FIXED.risk, FIXED.rows, strict=True) if at == row]
        total = total + sum(p / sum(power) * delta for p, delta in zip(power, deltas, strict=True))
    return total


@pytest.mark.parametrize("part", [4096, 1])  # all candidates at once, or each sentence's apart
@pytest.mark.parametrize(
    "changes",
    [{"decoder": d} for d in ("bahdanau", "input_feeding", "over_outputs", "initial")]
    + [{"decoder": "input_feeding", "copy_source": True, "coverage": True}],
    ids=str,
)
def test_the_gradient_is_that_of_the_equations(
    part: int, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, risk = tiny(**changes), measured()
    monkeypatch.setattr(risk_module, "PART", part)
    monkeypatch.setattr(risk, "candidates", lambda *_: FIXED)
    expected_risk = by_hand(model, 0.3)
    grads = torch.autograd.grad(2.5 * expected_risk, list(model.parameters()), allow_unused=True)
    total = risk.backward(model, SOURCES, TARGETS, 2.5, (1, 2))
    assert total == pytest.approx(expected_risk.item(), rel=1e-12)
    for (name, weight), wanted in zip(model.named_parameters(), grads, strict=True):
        zero = torch.zeros_like(weight)
        torch.testing.assert_close(
            zero if weight.grad is None else weight.grad, zero if wanted is None else wanted, rtol=1e-9, atol=1e-12,
            msg=name,
        )  # fmt: skip
    assert max(float(g.abs().max()) for g in grads if g is not None) > 1e-3


def test_the_gradient_passes_a_finite_difference_check() -> None:
    model = tiny()
    names = [name for name, _ in model.named_parameters()]
    targets = torch.full((8, 4), PAD)
    for row, ids in enumerate(FIXED.ids):
        targets[row, : len(ids) + 1] = torch.tensor([*ids, EOS])
    rows, deltas = torch.tensor(FIXED.rows), torch.tensor(FIXED.risk, dtype=torch.float64)

    def R(*weights: Tensor) -> Tensor:
        named = {f"model.{name}": weight for name, weight in zip(names, weights, strict=True)}
        return expected(torch.func.functional_call(LogP(model), named, (targets, rows)), rows, deltas, 0.7)

    weights = tuple(weight.detach().clone().requires_grad_() for weight in model.parameters())
    assert torch.autograd.gradcheck(R, weights, fast_mode=True)


def test_a_sharp_distribution_looks_at_the_best_and_a_flat_one_at_all() -> None:
    log_p, rows = torch.tensor([-3.0, -9.0, -800.0, -5.0]), torch.tensor([0, 0, 0, 1])
    risk = torch.tensor([0.2, 0.9, 0.4, 0.6])
    assert expected(log_p, rows, risk, 1e-7).tolist() == pytest.approx([0.5, 0.6], abs=1e-4)
    assert expected(log_p, rows, risk, 50.0).tolist() == pytest.approx([0.2, 0.6], abs=1e-6)


def test_drawn_pieces_follow_the_model() -> None:
    """Many samples of short outputs beside their probabilities; and each has the log p that the model gives it."""
    model = tiny().float()
    engine = Sampler(model, torch.device("cpu"), (1, 2, 3))
    source, count = [4, 5, EOS], 6000
    samples = search.sample(engine, [source], SearchOptions(nbest=count, top_k=1, max_length=2))[0]
    assert len(samples) == count
    first = Counter(tuple(each.ids) for each in samples if each.finished)
    common = [ids for ids, _ in first.most_common(6)]
    scored = search.score(Sampler(model, torch.device("cpu"), (9,)), [source] * 6, common)
    for ids, one in zip(common, scored, strict=True):
        p = math.exp(one.log_prob)
        assert first[ids] / count == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / count))
        assert next(d for d in samples if tuple(d.ids) == ids).log_prob == pytest.approx(one.log_prob, abs=1e-5)
    banned = search.sample(engine, [source], SearchOptions(nbest=50, top_k=1, min_length=3, max_length=6))[0]
    assert all(len(each.ids) >= 3 and not {PAD, BOS, EOS} & set(each.ids) for each in banned)


def test_candidates_are_different_measured_and_of_their_seed() -> None:
    model, risk = tiny().float(), measured(12)
    candidates = risk.candidates(model, SOURCES, TARGETS, (1, 5))
    assert candidates == risk.candidates(model, SOURCES, TARGETS, (1, 5))
    assert candidates.ids != risk.candidates(model, SOURCES, TARGETS, (1, 6)).ids
    assert candidates.rows == sorted(candidates.rows) and set(candidates.rows) == {0, 1, 2}
    assert (
        len({(row, *ids) for row, ids in zip(candidates.rows, candidates.ids, strict=True)}) == len(candidates.ids) > 12
    )
    for row, reference in enumerate([[5, 6], [4], [6, 6]]):
        at = candidates.rows.index(row)
        assert candidates.ids[at] == reference and candidates.risk[at] == pytest.approx(0, abs=1e-9)
    assert max(candidates.risk) <= 1 and sum(delta > 0.99 for delta in candidates.risk) < len(candidates.risk)
    without = measured(12, risk_reference=False).candidates(model, SOURCES, TARGETS, (1, 5))
    assert len(without.ids) < len(candidates.ids)


@pytest.mark.parametrize("normalise", ["tokens", "sentences"])
def test_a_share_of_the_loss_is_the_cross_entropy(tmp_path: Path, normalise: str) -> None:
    """With SGD and no clipping: an update is the shares' sum of an update by each."""
    plain = {"optimiser": "sgd", "learning_rate": 1.0, "clip": 0.0, "normalise": normalise}
    moved = {}
    for share in (0.0, 0.4, 1.0):
        changes = plain | ({"risk": "chrf", "risk_share": share, "risk_alpha": 0.5} if share else {})
        begun = open_run(options(tmp_path, train=changes), tmp_path / f"model{share}", "", Told())
        before = copied(begun.model)
        update = loop.update(begun)
        moved[share] = {name: weight - before[name] for name, weight in copied(begun.model).items()}
        assert update.risk is None if share == 0 else 0 < (update.risk or 0) / update.sentences < 1
    for name, both in moved[0.4].items():
        torch.testing.assert_close(both, 0.6 * moved[0.0][name] + 0.4 * moved[1.0][name], rtol=1e-3, atol=1e-6)


def test_a_stopped_run_goes_on_bit_for_bit_and_scores_rise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "LOG_EVERY", 3)
    run(tmp_path, options(tmp_path, train={"steps": 60, "learning_rate": 0.01, "metric": "chrf"}), "first")
    risky = {
        "start": str(tmp_path / "first"), "risk": "chrf", "risk_samples": 8, "risk_alpha": 0.5, "accumulate": 2,
        "batch": 8, "steps": 12, "learning_rate": 0.003, "valid_every": 6, "checkpoint_every": 3, "metric": "chrf",
    }  # fmt: skip
    model = {"dropout_output": 0.1}
    run(tmp_path, options(tmp_path, train=risky, model=model), "whole")
    run(tmp_path, options(tmp_path, train=risky | {"steps": 6}, model=model), "parts")
    run(tmp_path, options(tmp_path, train=risky, model=model), "parts")
    assert same(last_checkpoint(tmp_path / "whole"), last_checkpoint(tmp_path / "parts"))
    lines = log(tmp_path / "first") + log(tmp_path / "whole")
    scores = [line["valid_chrf"] for line in lines if "valid_chrf" in line]
    assert scores[-1] > scores[-3] + 5  # after twelve updates; the last of the first run was -3
    risks = [line["train_risk"] for line in lines if "train_risk" in line]
    assert len(risks) == 4 and all(0 < risk < 1 for risk in risks)


def test_the_metric_is_checked() -> None:
    with pytest.raises(UserError, match=r"train\.risk = 'blue'"):
        loading.load(sets=["train.risk=blue"])
