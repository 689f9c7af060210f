"""What a corpus measures by itself: functions of a set's objects and the outputs, in their order."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from antiphon.evaluation.metrics import Score

Measure = Callable[[Sequence[dict[str, Any]], Sequence[str]], Score]
Faults = Callable[[Mapping[str, Any], str], float]  # what is wrong with one output
