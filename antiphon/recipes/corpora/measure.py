"""A corpus's own metrics: functions of a set's pairs and the outputs, in the same order."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from antiphon.evaluation.metrics import Score

Measure = Callable[[Sequence[dict[str, Any]], Sequence[str]], Score]
Faults = Callable[[Mapping[str, Any], str], float]  # of one output, given its pair
