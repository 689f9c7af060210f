"""What measures of a corpus of its own are: a function of a set's objects and the outputs, in their order."""

from collections.abc import Callable, Sequence
from typing import Any

from antiphon.metrics import Score

Measure = Callable[[Sequence[dict[str, Any]], Sequence[str]], Score]
