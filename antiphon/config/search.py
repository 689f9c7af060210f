"""Search options: each declared once, with its type, default, range and meaning.

The section [search] of a configuration, the keywords of `Seq2Seq.generate` and the flags of the command line all derive
from the two classes here. No pydantic, so that the command line starts at once.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from antiphon.errors import UserError, near

LengthPenalty = Literal["none", "average", "gnmt"]


class AtLeast(NamedTuple):
    """A value's lower limit."""

    ge: float

    def broken(self, value: float) -> str:
        """What a value must be, if it is not."""
        return "" if value >= self.ge else f"{self.ge} or more"


class Above(NamedTuple):
    """What a value must be larger than."""

    gt: float

    def broken(self, value: float) -> str:
        """What a value must be, if it is not."""
        return "" if value > self.gt else f"above {self.gt}"


class AtMost(NamedTuple):
    """A value's upper limit."""

    le: float

    def broken(self, value: float) -> str:
        """What a value must be, if it is not."""
        return "" if value <= self.le else f"at most {self.le}"


Limit = AtLeast | Above | AtMost


class Option(NamedTuple):
    """What the declaration of an option says."""

    hint: Any  # its type, as annotated
    kind: type  # bool, int, float or str
    default: Any
    meaning: str
    choices: tuple[str, ...]  # of a str; empty: any
    limits: tuple[Limit, ...]


@dataclass(frozen=True)
class Search:
    """How outputs are searched for, unless a call says otherwise."""

    beam: Annotated[int, AtLeast(1), "hypotheses kept at each step; 1: greedy search"] = 5
    length_penalty: Annotated[
        LengthPenalty,
        "what a hypothesis's log-probability is divided by: 1 (none), length ** alpha (average) or "
        "((5 + length) / 6) ** alpha (gnmt)",
    ] = "average"
    alpha: Annotated[float, AtLeast(0), "strength of the length penalty, its exponent"] = 1.0
    coverage_penalty: Annotated[
        float, AtLeast(0), "weight of the coverage penalty (beta of Wu 2016, eq. 14); 0: none; needs attention"
    ] = 0.0
    min_length: Annotated[int, AtLeast(0), "fewest pieces of an output"] = 0
    max_length: Annotated[int, AtLeast(0), "most pieces of an output; 0: twice the source's length plus 20"] = 0
    block_ngrams: Annotated[int, AtLeast(0), "never write an n-gram of this size twice; 0: allow"] = 0


@dataclass(frozen=True)
class SearchOptions(Search):
    """All options of one search.

    Raises:
        UserError: a value has the wrong type or is out of its range, or two values contradict each other.
    """

    nbest: Annotated[int, AtLeast(1), "number of outputs for each text: the best of the beam, or samples"] = 1
    no_unk: Annotated[bool, "never write an unknown word"] = False
    groups: Annotated[
        int, AtLeast(1), "groups of diverse beam search, among which the beam is divided; 1: one beam"
    ] = 1
    diversity: Annotated[
        float, AtLeast(0), "penalty of a piece for each hypothesis of an earlier group that has just added it"
    ] = 0.5
    temperature: Annotated[float, Above(0), "sampling: log-probabilities are divided by it"] = 1.0
    top_k: Annotated[int, AtLeast(0), "sampling: only from the k most probable pieces; 0: from all"] = 0
    top_p: Annotated[
        float,
        Above(0),
        AtMost(1),
        "sampling: only from the fewest most probable pieces that reach this probability together",
    ] = 1.0
    min_p: Annotated[
        float, AtLeast(0), AtMost(1), "sampling: only from pieces at least this fraction as probable as the best"
    ] = 0.0
    seed: Annotated[int, AtLeast(0), "random seed for sampling"] = 1

    def __post_init__(self) -> None:
        for name, option in OPTIONS.items():
            _check(name, getattr(self, name), option)
        if self.max_length and self.min_length > self.max_length:
            raise UserError(f"min_length = {self.min_length} is above max_length = {self.max_length}")
        if self.beam % self.groups:
            raise UserError(
                f"beam = {self.beam} cannot be divided among groups = {self.groups}: choose a multiple of it"
            )

    @classmethod
    def over(cls, defaults: Search, given: Mapping[str, Any]) -> "SearchOptions":
        """The options of a call laid over those of a configuration.

        Args:
            defaults: the configuration's section [search].
            given: options of the call by name.

        Raises:
            UserError: no option has such a name, or a value is refused.
        """
        for name in given:
            if name not in OPTIONS:
                raise UserError(f"no search option is called '{name}'{near(name, OPTIONS)}")
        return cls(**(vars(defaults) | dict(given)))


KINDS: dict[type, type] = {bool: bool, int: Integral, float: Real, str: str}  # NumPy's numbers are numbers too
SAMPLING_ONLY = ("temperature", "top_k", "top_p", "min_p", "seed")  # options of sampling alone


def declared(kind: type[Search]) -> dict[str, Option]:
    """The options that a class declares, by name and in their order."""
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: _option(field.default, *get_args(hints[field.name])) for field in fields(kind)}


def _option(default: Any, hint: Any, *metadata: Any) -> Option:
    choices = get_args(hint) if get_origin(hint) is Literal else ()
    limits = tuple(one for one in metadata if isinstance(one, Limit))
    return Option(hint, str if choices else hint, default, metadata[-1], choices, limits)


def _check(name: str, value: Any, option: Option) -> None:
    """Refuse a value of the wrong type or out of range."""
    right = isinstance(value, KINDS[option.kind]) and isinstance(value, bool) == (option.kind is bool)
    if not right:
        kind = option.kind.__name__
        raise UserError(f"{name} = {value!r}: must be of the type {kind}, such as {option.default!r}")
    if option.choices and value not in option.choices:
        raise UserError(f"{name} = {value!r}: must be {' or '.join(map(repr, option.choices))}")
    if option.kind is float and not math.isfinite(value):
        raise UserError(f"{name} = {value}: must be a finite number")
    for limit in option.limits:
        if words := limit.broken(value):
            raise UserError(f"{name} = {value}: must be {words}")


OPTIONS = declared(SearchOptions)  # every option by name
