"""Optimisers by hand, schedules against written values, averages against a loop."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from antiphon.config.sections import Train
from antiphon.training.optim import Average, copied, learning_rate, optimiser, put


def rate(
    update: int = 0,
    epoch: float = 0.0,
    total: int = 100,
    lowered: int = 0,
    time: float = 0.0,
    extended: int = 0,
    **options: Any,
) -> float:
    return learning_rate(Train(**options), update, epoch, total, lowered, time, extended)


@pytest.mark.parametrize(
    ("epoch", "expected"),
    [(0, 0.7), (4.99, 0.7), (5, 0.35), (5.49, 0.35), (5.5, 0.175), (6, 0.0875), (6.5, 0.04375), (7, 0.021875)],
)
def test_sutskever_halves_every_half_epoch_after_five(epoch: float, expected: float) -> None:
    assert rate(10**6, epoch, learning_rate=0.7, schedule="halving") == pytest.approx(expected)


def test_luong_halves_every_epoch_after_eight() -> None:
    options: dict[str, Any] = {"learning_rate": 1.0, "schedule": "halving", "decay_start": 8.0, "decay_every": 1.0}
    assert [rate(0, e, **options) for e in (7.9, 8.0, 8.9, 9.0, 11.5)] == [1.0, 0.5, 0.5, 0.25, 0.0625]


def test_warmup_rises_in_equal_steps() -> None:
    rates = [rate(u, learning_rate=0.4, warmup=4) for u in range(6)]
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.4])


def test_inverse_square_root_goes_on_from_the_peak() -> None:
    rates = [rate(u, learning_rate=2.0, warmup=100, schedule="inverse_sqrt") for u in range(500)]
    assert max(rates) == rates[99] == 2.0
    assert rates[100] == pytest.approx(2.0 * math.sqrt(100 / 101))
    assert rates[399] == pytest.approx(1.0)
    without = [rate(u, learning_rate=2.0, schedule="inverse_sqrt") for u in range(4)]
    assert without == pytest.approx([2.0, 2 / math.sqrt(2), 2 / math.sqrt(3), 1.0])


def test_cosine_ends_at_zero() -> None:
    options: dict[str, Any] = {"learning_rate": 1.0, "warmup": 20, "schedule": "cosine", "total": 120}
    assert [rate(u, **options) for u in (19, 20, 70, 120, 150)] == pytest.approx([1, 1, 0.5, 0, 0], abs=1e-12)
    assert rate(45, **options) == pytest.approx((1 + math.cos(math.pi / 4)) / 2)
    assert rate(5, total=0, schedule="cosine", learning_rate=1.0) == pytest.approx(0)


def test_cosine_follows_the_time_where_that_ends_first() -> None:
    options: dict[str, Any] = {"learning_rate": 1.0, "schedule": "cosine", "total": 10**6}
    assert [rate(9, time=share, **options) for share in (0.25, 0.5, 1.0)] == pytest.approx(
        [(1 + math.cos(math.pi / 4)) / 2, 0.5, 0], abs=1e-9
    )
    assert rate(750_000, time=0.5, **options) == rate(750_000, **options)


def test_an_extended_cosine_rises_from_zero_to_the_longer_one() -> None:
    options: dict[str, Any] = {"learning_rate": 1.0, "warmup": 200, "schedule": "cosine", "total": 3000}
    risen = [rate(u, extended=1000, **options) / rate(u, **options) for u in (1000, 1099, 1199, 1200, 2500)]
    assert risen == pytest.approx([1 / 200, 0.5, 1, 1, 1])
    assert rate(3000, extended=1000, **options) == pytest.approx(0)
    short = {**options, "total": 1040, "warmup": 0}  # a quarter of what is left, at most
    assert rate(1009, extended=1000, **short) == rate(1009, **short) > 0


def test_exponential_falls_smoothly_from_its_start() -> None:
    options: dict[str, Any] = {
        "learning_rate": 1.0,
        "schedule": "exponential",
        "decay": 0.25,
        "decay_start": 2.0,
        "decay_every": 1.0,
    }
    assert [rate(0, e, **options) for e in (0.0, 2.0, 2.5, 3.0, 4.0)] == pytest.approx([1, 1, 0.5, 0.25, 0.0625])


def test_plateau_lowers_as_often_as_it_was_told() -> None:
    options: dict[str, Any] = {"learning_rate": 1.0, "schedule": "plateau", "decay": 0.5}
    assert [rate(9, lowered=n, **options) for n in range(4)] == [1, 0.5, 0.25, 0.125]
    assert rate(9, 9.0, lowered=3, learning_rate=1.0) == 1  # `constant` is


def quadratic(name: Any, steps: int, **options: Any) -> list[float]:
    """The course of x under f(x) = x^2 / 2, whose gradient is x, from 1."""
    x = nn.Parameter(torch.ones(1, dtype=torch.float64))
    made = optimiser([x], Train(optimiser=name, **options))
    course = []
    for _ in range(steps):
        x.grad = x.detach().clone()
        made.step()
        course.append(float(x.detach()))
    return course


def test_sgd_has_no_momentum() -> None:
    assert quadratic("sgd", 3, learning_rate=0.5) == pytest.approx([0.5, 0.25, 0.125])


def test_adadelta_is_zeilers() -> None:
    x, squared, moved, expected = 1.0, 0.0, 0.0, []
    for _ in range(4):  # Zeiler 2012, algorithm 1
        squared = 0.9 * squared + 0.1 * x * x
        step = math.sqrt(moved + 1e-4) / math.sqrt(squared + 1e-4) * x
        moved = 0.9 * moved + 0.1 * step * step
        x -= step
        expected.append(x)
    assert quadratic("adadelta", 4, learning_rate=1.0, rho=0.9, epsilon=1e-4) == pytest.approx(expected)


@pytest.mark.parametrize(("name", "decay"), [("adam", 0.0), ("adamw", 0.1)])
def test_adam_is_kingmas_and_adamw_loshchilovs(name: str, decay: float) -> None:
    x, first, second, expected = 1.0, 0.0, 0.0, []
    for t in range(1, 5):
        gradient = x
        x -= 0.05 * decay * x  # decoupled
        first, second = 0.8 * first + 0.2 * gradient, 0.98 * second + 0.02 * gradient**2
        x -= 0.05 * (first / (1 - 0.8**t)) / (math.sqrt(second / (1 - 0.98**t)) + 1e-3)
        expected.append(x)
    options: dict[str, Any] = {"learning_rate": 0.05, "beta1": 0.8, "beta2": 0.98, "epsilon": 1e-3, "weight_decay": 0.1}
    assert quadratic(name, 4, **options) == pytest.approx(expected)


def model() -> nn.Linear:
    torch.manual_seed(1)
    return nn.Linear(2, 2)


def test_the_moving_average_is_a_loop() -> None:
    linear = model()
    average, expected = Average(linear, 0.6, 0), linear.weight.detach().clone()
    for n in range(1, 30):
        with torch.no_grad():
            linear.weight += torch.randn(2, 2)
        average.update(linear, n)
        decay = min(0.6, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * linear.weight.detach()
    torch.testing.assert_close(average.at_validation(linear)["weight"], expected)


def test_the_mean_of_the_last_validations() -> None:
    linear = model()
    average, seen = Average(linear, 0.0, 3), []
    for n in range(5):
        with torch.no_grad():
            linear.weight += torch.randn(2, 2)
        average.update(linear, n)
        seen.append(linear.weight.detach().clone())
        torch.testing.assert_close(average.at_validation(linear)["weight"], torch.stack(seen[-3:]).mean(0))


def test_without_averages_the_weights_themselves_are_kept() -> None:
    linear = model()
    kept = Average(linear, 0.0, 0).at_validation(linear)
    before = linear.weight.detach().clone()
    with torch.no_grad():
        linear.weight += 1
    assert torch.equal(kept["weight"], before)
    put(linear, kept)
    assert torch.equal(linear.weight, before) and copied(linear).keys() == {"weight", "bias"}
