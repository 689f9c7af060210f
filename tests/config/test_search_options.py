"""Search options: one declaration for the configuration, Python and the command line."""

from typing import Any

import numpy as np
import pytest

from antiphon.config import loading
from antiphon.config.search import OPTIONS, Above, AtLeast, AtMost, Search, SearchOptions, declared
from antiphon.config.sections import SECTIONS
from antiphon.errors import UserError


def test_the_section_has_the_declared_options() -> None:
    fields = SECTIONS["search"].model_fields
    assert list(fields) == list(declared(Search))
    for name, option in declared(Search).items():
        assert fields[name].default == option.default and fields[name].description == option.meaning
    assert list(OPTIONS)[: len(fields)] == list(fields)


def search_options(name: str, value: Any) -> SearchOptions:
    given: dict[str, Any] = {name: value}
    return SearchOptions(**given)


@pytest.mark.parametrize("name", OPTIONS)
def test_values_out_of_range_are_refused_by_name(name: str) -> None:
    option = OPTIONS[name]
    for limit in option.limits:
        value = limit[0] + {AtLeast: -1, Above: 0, AtMost: 1}[type(limit)]
        value = option.kind(value)
        with pytest.raises(UserError, match=rf"^{name} = {value}: must be "):
            search_options(name, value)
    if option.choices:
        with pytest.raises(UserError, match="must be 'none' or 'average' or 'gnmt'"):
            search_options(name, "log")
    if option.kind is float:
        with pytest.raises(UserError, match="finite"):
            search_options(name, float("inf"))
    wrong: Any = "x" if option.kind is not str else 1
    with pytest.raises(UserError, match=rf"^{name} = .*must be of the type {option.kind.__name__}"):
        search_options(name, wrong)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"min_length": 5, "max_length": 4}, "min_length = 5 is above max_length = 4"),
        ({"beam": 5, "groups": 2}, "beam = 5 cannot be divided among groups = 2"),
    ],
)
def test_values_that_contradict_each_other_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        SearchOptions(**given)


def test_a_call_lies_over_the_configuration() -> None:
    config = loading.load(over={"search": {"beam": 7, "alpha": 0.5}})
    options = SearchOptions.over(config.search, {"alpha": np.float64(0.25), "nbest": np.int64(2)})
    assert (options.beam, options.alpha, options.nbest) == (7, 0.25, 2)
    assert SearchOptions.over(config.search, {}) == SearchOptions(beam=7, alpha=0.5)
    with pytest.raises(UserError, match="no search option is called 'beem'; did you mean 'beam'"):
        SearchOptions.over(config.search, {"beem": 3})
