"""Training: each update by hand, the options that change it, and small tasks learnt."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tasks import Told, log, options, run, weights, write_pairs

from antiphon import Seq2Seq
from antiphon.data.tokenizer import BOS, EOS, PAD
from antiphon.errors import UserError
from antiphon.evaluation import metrics
from antiphon.nn.model import Loss, Model, shifted
from antiphon.training import checkpoint, loop
from antiphon.training.optim import Average, copied
from antiphon.training.run import Run, State, open_run
from antiphon.training.validate import Validation, Validator

SGD: dict[str, Any] = {"optimiser": "sgd", "learning_rate": 0.7, "schedule": "constant"}


def made(folder: Path, out: str = "model", model: dict[str, Any] | None = None, **changes: Any) -> Run:
    """A run that stands before its first update."""
    return open_run(options(folder, train=changes, model=model or {}), folder / out, "", Told())


def by_hand(begun: Run, rows: Any, smoothing: float, divide_by: str, clip: float) -> dict[str, torch.Tensor]:
    """The weights after one step of SGD on some rows, as Sutskever's table describes it."""
    sources, targets = begun.batch(rows)
    begun.model.train()
    readout, _ = begun.model(sources, shifted(targets))
    log_p = begun.model.output(readout).log_softmax(-1)  # [B, T, V]
    real = targets != PAD
    nll = -log_p.gather(2, targets.unsqueeze(2)).squeeze(2)[real].sum()
    loss = (1 - smoothing) * nll - smoothing * log_p[real].mean(-1).sum()
    count = len(rows) if divide_by == "sentences" else int(real.sum())
    names, parameters = zip(*begun.model.named_parameters(), strict=True)
    grads = [g / count for g in torch.autograd.grad(loss, parameters)]
    norm = float(sum(g.pow(2).sum() for g in grads)) ** 0.5
    scale = clip / norm if clip and norm > clip else 1.0
    rate = begun.config.train.learning_rate
    return {n: (p - rate * scale * g).detach() for n, p, g in zip(names, parameters, grads, strict=True)}


def check_close(actual: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert actual.keys() == expected.keys()
    for name, weight in actual.items():
        torch.testing.assert_close(weight, expected[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("divide_by", "clip", "smoothing"),
    [("sentences", 5.0, 0.0), ("sentences", 0.05, 0.0), ("tokens", 0.01, 0.1), ("tokens", 0.0, 0.3)],
)
def test_one_update_by_hand(tmp_path: Path, divide_by: str, clip: float, smoothing: float) -> None:
    begun = made(tmp_path, **SGD, normalise=divide_by, clip=clip, label_smoothing=smoothing)
    expected = by_hand(begun, begun.batches[0], smoothing, divide_by, clip)
    loop.update(begun)
    check_close(copied(begun.model), expected)
    assert (begun.state.update, begun.state.position, begun.state.bad) == (1, 1, 0)


@pytest.mark.parametrize("divide_by", ["sentences", "tokens"])
def test_accumulated_batches_are_one(tmp_path: Path, divide_by: str) -> None:
    """Also where one of them has more and longer rows, so that a mean of means would be another."""
    begun = made(tmp_path, **SGD, normalise=divide_by, accumulate=2)
    lengths = begun.data.train.lengths()[1]
    order = np.argsort(lengths, kind="stable")
    parts = [order[:5], order[-12:]]
    expected = by_hand(begun, np.concatenate(parts), 0.0, divide_by, 1.0)
    begun.batches = parts  # type: ignore[assignment]
    update = loop.update(begun)
    assert update.pieces == int(lengths[order[:5]].sum() + lengths[order[-12:]].sum()) + 17
    check_close(copied(begun.model), expected)


def test_passes_end_where_their_batches_do(tmp_path: Path) -> None:
    """In units of tokens passes differ in length; a run of 3 epochs still sees every pair 3 times."""
    chosen = options(tmp_path, train={"batch_unit": "tokens", "batch": 40, "accumulate": 3, "epochs": 3.0})
    begun = open_run(chosen, tmp_path / "model", "", Told())
    seen = np.zeros(len(begun.data.train), int)
    while not loop.end_reason(begun):
        for rows in begun.batches[begun.state.position : begun.state.position + 3]:
            seen[rows] += 1
        before = begun.epochs
        begun.advance()
        assert before < begun.epochs <= 3
    assert (seen == 3).all() and begun.state.position == 0


def test_scheduled_sampling_rises_from_nothing(tmp_path: Path) -> None:
    begun = made(tmp_path, scheduled_sampling=0.8, scheduled_sampling_steps=100)
    sources, targets = begun.batch(np.arange(100))
    given = shifted(targets)
    assert loop.sampled_inputs(begun, sources, targets) is None
    vocabulary = begun.model.vocabulary
    for update, share in ((25, 0.2), (50, 0.4), (100, 0.8), (10_000, 0.8)):
        begun.state.update = update
        inputs = loop.sampled_inputs(begun, sources, targets)
        assert inputs is not None and (inputs[:, 0] == BOS).all() and inputs.shape == given.shape
        changed = float((inputs != given)[:, 1:].float().mean())  # an untrained model samples evenly
        assert changed == pytest.approx(share * (1 - 1 / vocabulary), abs=0.08)


def test_without_scheduled_sampling_nothing_is_sampled(tmp_path: Path) -> None:
    begun = made(tmp_path)
    begun.state.update = 1000
    state = torch.get_rng_state()
    assert loop.sampled_inputs(begun, *begun.batch(np.arange(5))) is None
    assert torch.equal(state, torch.get_rng_state())


def test_bfloat16_learns_as_float32_does(tmp_path: Path) -> None:
    losses = {}
    for precision in ("float32", "bfloat16"):
        changes = {"precision": precision, "learning_rate": 0.01, "steps": 60, "scheduled_sampling": 0.1}
        run(tmp_path, options(tmp_path, train=changes), precision)
        losses[precision] = [line["valid_loss"] for line in log(tmp_path / precision) if "valid_loss" in line]
        kept = weights(tmp_path / precision / "model.safetensors")
        assert {weight.dtype for weight in kept.values()} == {torch.float32}
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.03)
    assert losses["bfloat16"] != losses["float32"] and losses["bfloat16"][-1] < 0.8 * losses["bfloat16"][0]


@pytest.mark.parametrize(
    ("valid_every", "message"),
    [
        (1000, r"no finite gradient in 20 updates.*another folder with a lower train\.learning_rate"),
        (5, r"weights are not finite.*lower train\.learning_rate"),
    ],
)
def test_a_run_that_diverges_ends_and_says_what_to_do(tmp_path: Path, valid_every: int, message: str) -> None:
    chosen = {"optimiser": "sgd", "learning_rate": 3e38, "clip": 0.0, "valid_every": valid_every}
    with pytest.raises(UserError, match=message):
        run(tmp_path, options(tmp_path, train=chosen))


def test_a_bad_update_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = made(tmp_path)
    before, whole = copied(begun.model), begun.model.loss

    def broken(*arguments: Any) -> Loss:
        loss = whole(*arguments)
        return loss._replace(total=loss.total * math.nan, nll=loss.nll * math.nan)

    tally = loop.Tally()
    monkeypatch.setattr(begun.model, "loss", broken)
    tally.add(loop.update(begun), 1.0)
    after = copied(begun.model)
    assert begun.state.bad == 1 and all(torch.equal(after[name], weight) for name, weight in before.items())
    monkeypatch.setattr(begun.model, "loss", whole)
    tally.add(loop.update(begun), 1.0)
    assert (
        begun.state.bad == 0
        and begun.state.update == 2
        and not torch.equal(copied(begun.model)["output.weight"], before["output.weight"])
    )
    assert math.isfinite(tally.loss) and tally.seconds == 1.0


LEARNERS: dict[str, dict[str, Any]] = {
    "over_outputs": {"decoder": "over_outputs", "score": "general", "embedding": 32, "encoder_hidden": 32},
    "bahdanau": {"decoder": "bahdanau", "score": "additive", "cell": "gru", "embedding": 32, "encoder_hidden": 32},
}


@pytest.mark.parametrize("name", LEARNERS)
def test_a_copy_task_is_learnt(tmp_path: Path, name: str) -> None:
    chosen = options(
        tmp_path, 1500, model={**LEARNERS[name], "decoder_hidden": 64},
        train={"batch": 32, "learning_rate": 0.01, "epochs": 6.0, "schedule": "cosine", "valid_every": 200},
    )  # fmt: skip
    outcome, told = run(tmp_path, chosen)
    assert outcome.best is not None and outcome.best >= 95 and outcome.metric == "exact_match"
    assert f"best exact_match {outcome.best:.2f}" in told.text
    model = Seq2Seq.load(tmp_path / "model", device="cpu")
    pairs = [line.split("\t") for line in write_pairs(tmp_path / "test.tsv", 100, seed=9).read_text().splitlines()]
    outputs = [result.text for result in model.generate([source for source, _ in pairs])]
    score = metrics.measure(["exact_match"], outputs, [target for _, target in pairs])["exact_match"]
    assert score.value >= 95


def test_a_plateau_lowers_the_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "LOG_EVERY", 1)
    changes = {"schedule": "plateau", "learning_rate": 1e-12, "plateau_patience": 2, "valid_every": 1, "steps": 7}
    run(tmp_path, options(tmp_path, train={**changes, "patience": 0}))
    rates = [line["learning_rate"] for line in log(tmp_path / "model") if "learning_rate" in line]
    assert rates == pytest.approx([1e-12] * 3 + [5e-13] * 2 + [2.5e-13] * 2)


def test_minutes_end_a_run(tmp_path: Path) -> None:
    outcome, told = run(tmp_path, options(tmp_path, train={"minutes": 1e-6}))
    assert outcome.updates == 1 and "train.minutes = 1e-06 is reached" in told.text and outcome.best is not None
    assert "with a larger train.minutes" in told.text


class Clock:
    """A clock of its own: each update takes two seconds, and a validation seven."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr("time.monotonic", lambda: self.now)
        whole, validate = Run.batch, Validator.validate

        def batch(run: Run, rows: Any) -> Any:
            self.now += 2
            return whole(run, rows)

        def validated(*arguments: Any, **named: Any) -> Validation:
            self.now += 7
            return validate(*arguments, **named)

        monkeypatch.setattr(Run, "batch", batch)
        monkeypatch.setattr(Validator, "validate", validated)


TIMED = {"schedule": "cosine", "minutes": 2.0, "epochs": 1000.0, "valid_every": 20, "checkpoint_every": 7}


def test_a_cosine_ends_with_the_minutes_and_so_does_the_last_validation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    monkeypatch.setattr(loop, "LOG_EVERY", 1)
    outcome, _ = run(tmp_path, options(tmp_path, train=TIMED))
    assert 118 <= clock.now <= 122 and outcome.minutes == pytest.approx(clock.now / 60)
    lines = log(tmp_path / "model")
    rates = [line["learning_rate"] for line in lines if "learning_rate" in line]
    assert rates[-1] < 1e-6 and max(rates) == rates[0] > 0.99e-3 and rates == sorted(rates, reverse=True)
    assert [line["step"] for line in lines if "valid_loss" in line] == [20, 40, outcome.updates]
    again, told = run(tmp_path, options(tmp_path, train=TIMED))
    assert again.updates == outcome.updates and "finished (train.minutes = 2 is reached)" in told.text


def test_a_validation_is_left_out_where_there_is_time_for_the_last_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    outcome, _ = run(tmp_path, options(tmp_path, train={**TIMED, "valid_every": 25}))  # due at 114 s of 120
    steps = [line["step"] for line in log(tmp_path / "model") if "valid_loss" in line]
    assert steps == [25, outcome.updates] and outcome.updates > 50 and clock.now <= 122


def test_a_stopped_run_goes_on_where_its_time_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "_validate", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(tmp_path, options(tmp_path, train=TIMED))
    clock.now = 10_000.0
    outcome, told = run(tmp_path, options(tmp_path, train=TIMED))  # from update 14, after 28 s
    assert "resuming from update 14" in told.text and 89 <= clock.now - 10_000 <= 94
    assert outcome.minutes == pytest.approx(2, abs=0.04)


def test_the_best_model_is_kept_not_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = iter([3.0, 1.0, 2.0, math.nan])
    validated: list[dict[str, torch.Tensor]] = []

    def loss(_: object, model: Model) -> float:
        validated.append(copied(model))
        return next(values)

    monkeypatch.setattr("antiphon.training.validate.Validator.loss", loss)
    outcome, _ = run(tmp_path, options(tmp_path, train={"metric": "loss", "epochs": 4.0, "ema": 0.5}))
    assert outcome.best == 1.0
    kept = weights(tmp_path / "model" / "model.safetensors")
    assert [all(torch.equal(kept[n], w) for n, w in some.items()) for some in validated] == [False, True, False, False]


def test_the_best_mean_of_the_last_validations_is_kept_and_the_last_one_is_judged_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also at an end between two validations; each mean is of the weights at that validation and those before."""
    plain: list[dict[str, torch.Tensor]] = []
    judged: list[dict[str, torch.Tensor]] = []
    whole, values = Average.at_validation, iter([5.0, 4.0, 3.0, 2.0])

    def at_validation(self: Average, model: Model) -> dict[str, torch.Tensor]:
        plain.append(copied(model))
        return whole(self, model)

    def loss(_: object, model: Model) -> float:
        judged.append(copied(model))
        return next(values)

    monkeypatch.setattr(Average, "at_validation", at_validation)
    monkeypatch.setattr("antiphon.training.validate.Validator.loss", loss)
    chosen = {"metric": "loss", "steps": 17, "valid_every": 5, "average_last": 3, "learning_rate": 0.01}
    outcome, _ = run(tmp_path, options(tmp_path, train=chosen))
    assert outcome.best == 2.0 and len(plain) == len(judged) == 4
    kept = weights(tmp_path / "model" / "model.safetensors")
    for name, weight in kept.items():
        mean = torch.stack([some[name] for some in plain[1:]]).mean(0)
        torch.testing.assert_close(weight, mean)
        assert torch.equal(weight, judged[3][name]) and not torch.equal(weight, plain[3][name])


def test_r_drop_trains_and_validates_without_it(tmp_path: Path) -> None:
    chosen: dict[str, Any] = {"train": {"r_drop": 2.0, "steps": 40, "learning_rate": 0.01, "valid_every": 20}}
    run(tmp_path, options(tmp_path, model={"dropout_output": 0.2}, **chosen))
    losses = [line["valid_loss"] for line in log(tmp_path / "model") if "valid_loss" in line]
    assert losses[1] < losses[0] < 3.5


def test_a_value_that_is_no_number_is_never_the_best() -> None:
    def judged(value: float, best: float | None, metric: str = "loss", loss: float = 3.0) -> bool:
        validation = Validation(loss, metrics.Score(metric, value, "", metric == "bleu"))
        return loop.judge(metric, validation, State(best=best, best_loss=3.0))[2]

    assert [judged(math.nan, None), judged(math.inf, None), judged(math.nan, 2.0)] == [False] * 3
    assert [judged(1.0, None), judged(1.0, 2.0), judged(2.0, 2.0), judged(3.0, 2.0)] == [True, True, False, False]
    assert [judged(1.0, 2.0, "bleu"), judged(3.0, 2.0, "bleu")] == [False, True]
    assert [judged(2.0, 2.0, "bleu", loss) for loss in (2.9, 3.0, 3.1)] == [True, False, False]  # equal: the loss
    assert loop.judge("bleu", Validation(1.0), State(best=2.0)) == (None, 1.0, False)


@pytest.mark.parametrize(("start", "decoded"), [(2.0, [26, 39]), (9.0, [39])])
def test_decoding_begins_at_valid_start_and_at_the_end_in_any_case(
    tmp_path: Path, start: float, decoded: list[int]
) -> None:
    outcome, _ = run(tmp_path, options(tmp_path, train={"valid_start": start, "epochs": 3.0}))
    lines = [line for line in log(tmp_path / "model") if "valid_loss" in line]
    assert [line["step"] for line in lines if "valid_exact_match" in line] == decoded
    assert {line["step"] for line in lines} == {13, 26, 39} and outcome.best is not None
    assert (tmp_path / "model" / "model.safetensors").exists()


def test_a_full_disk_ends_a_run_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = options(tmp_path, train={"steps": 3})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_file", full)
        with pytest.raises(UserError, match="the disk is full; make room and run the same command again"):
            run(tmp_path, chosen)
    assert run(tmp_path, chosen)[0].updates == 3


def test_the_first_weights_depend_on_the_seed_alone(tmp_path: Path) -> None:
    def first(out: str, seed: int) -> dict[str, torch.Tensor]:
        return copied(made(tmp_path, out, seed=seed).model)

    one, again, other = first("a", 1), first("b", 1), first("c", 2)
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["output.weight"], other["output.weight"])


def test_sources_and_targets_end_in_eos(tmp_path: Path) -> None:
    begun = made(tmp_path)
    for side in begun.batch(np.arange(4)):
        assert ((side == EOS).sum(1) == 1).all()
