"""The pure parts of the learning table; training needs peers and hours."""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from antiphon.config import loading
from antiphon.errors import UserError
from antiphon.nn.decoder import Readout, TanhReadout
from antiphon.nn.model import build
from benchmarks import learning, learning_table
from benchmarks.learning import OURS, Cell, cells
from benchmarks.learning_table import BEGIN, CHINESE, END, block, into_page, render
from benchmarks.peers.antiphon import sets
from benchmarks.peers.watch import Curve
from benchmarks.systems import EOLE, JOEY, ONMT


def result(cell: Cell, *losses: float) -> dict[str, Any]:
    """A cell of the results, with losses after 250, 500, 750 and 1,000 updates."""
    return {
        "system": cell.system.name, "own": cell.system.own, "row": cell.row, "readout": cell.shape.readout,
        "seed": cell.seed, "settings": cell.settings(), "date": "2026-01-02", "weights": 10, "update_seconds": 0.1,
        "seconds": 9.0, "losses": dict(zip(("250", "500", "750", "1000"), losses, strict=True)),
    }  # fmt: skip


def cell(system: Any, row: str, readout: str = "tanh", seed: int = 1) -> Cell:
    return next(
        c for c in cells(seeds=seed) if (c.system, c.row, c.shape.readout, c.seed) == (system, row, readout, seed)
    )


def test_every_peer_has_a_cell_of_ours_beside_it() -> None:
    every = cells()
    rows = {c.shape: [other.system for other in every if other.shape == c.shape] for c in every}
    assert all(OURS in systems and len(systems) > 1 for systems in rows.values())
    assert len({c.row for c in every if c.system is ONMT}) == len({c.row for c in every if c.system is EOLE}) == 7
    assert len({c.row for c in every if c.system is JOEY}) == 4
    assert len({c.key for c in every}) == len(every)
    assert [c.seed for c in cells(seeds=2) if c.system is OURS][:2] == [1, 2]


@pytest.mark.parametrize("readout, kind", [("tanh", TanhReadout), ("linear", Readout)])
def test_our_cells_have_the_readout_and_dropout_of_the_peers(readout: str, kind: type) -> None:
    shape = replace(learning.SHAPE, readout=readout)
    options = loading.load(sets=sets(shape.as_dict()))
    assert type(build(options.model, 9, 9, draw=False).decoder.readout) is kind
    dropouts = options.model.dropout_embedding, options.model.dropout_recurrent, options.model.dropout_output
    assert dropouts == (0.3, 0.0, 0.3) and options.train.batch == 64 and options.text.size == 4000


def test_a_curve_has_mean_losses_and_the_time_of_an_update(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0.0, 5.0, 6.0, 16.0, 19.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(times))
    curve = Curve()
    for update, nll in ((20, 80.0), (40, 60.0)):
        curve.begin()
        curve.add(update, nll, 20)
    assert curve.result() == {
        "losses": {"20": 4.0, "40": 3.0}, "pieces": 20, "update_seconds": 0.5, "validation_seconds": 2.0,
    }  # fmt: skip


def test_only_what_is_missing_or_has_other_settings_is_trained() -> None:
    dot, general, additive = (
        cell(ONMT, "input_feeding dot"),
        cell(EOLE, "initial", "linear"),
        cell(OURS, "initial", "linear"),
    )
    results = {"cells": {c.key: result(c, 4.0, 3.0, 2.5, 2.0) for c in (dot, general, additive)}}
    assert list(learning.missing([dot, general, additive], results, [])) == []
    assert list(learning.missing([dot, general, additive], results, ["Eole"])) == [general]
    results["cells"][dot.key]["settings"]["updates"] = 999
    del results["cells"][general.key]["losses"]
    assert list(learning.missing([dot, general, additive], results, [])) == [dot, general]


def test_results_are_kept_in_the_order_of_the_rows_and_without_old_ones(tmp_path: Path) -> None:
    first, last = cell(OURS, "input_feeding dot", seed=2), cell(EOLE, "initial", "linear")
    old = result(last, 4.0, 3.0, 2.5, 2.0)
    results = {"cells": {last.key: old, first.key: result(first, 4.0, 3.0, 2.5, 2.0), "an old name": old}}
    learning.save(results, tmp_path / "learning.json")
    assert list(learning.read(tmp_path / "learning.json")["cells"]) == [first.key, last.key]
    assert (tmp_path / "learning.md").read_text("utf-8") == render(results)


def test_the_lowest_losses_are_bold_and_failures_say_why() -> None:
    ours, theirs = cell(OURS, "over_outputs general"), cell(ONMT, "over_outputs general")
    failed = result(cell(JOEY, "over_outputs general"), 4.0, 3.0, 2.5, 2.0)
    del failed["losses"]
    results = {
        "cells": {
            "1": result(ours, 4.0, 3.0, 2.5, 2.0),
            "2": result(cell(OURS, "over_outputs general", seed=2), 4.2, 3.0, 2.5, 2.2),
            "3": result(theirs, 4.05, 3.004, 2.5, 2.2),
            "4": failed | {"reason": "not installed"},
        }
    }
    page = block(results)
    line = (
        "| `over_outputs` | `general` | `tanh` | 4.10 / **3.00** / **2.10** | **4.05** / **3.00** / 2.20 |  | failed |"
    )
    assert line in page and "means of 2 seeds" in page and "Joey NMT, over_outputs general: not installed." in page
    assert "| 失败 |" in block(results, CHINESE)
    assert "| 4.050 | 3.004 | 2.500 | 2.200 | 10 | 0.100 | 2026-01-02 |" in render(results)


def test_the_block_takes_its_place_in_a_page(tmp_path: Path) -> None:
    results = {"cells": {"1": result(cell(ONMT, "initial", "linear"), 4.0, 3.0, 2.5, 2.0)}}
    page = into_page(f"a\n\n{BEGIN}\nold\n{END}\n\nb\n", results, tmp_path / "page.md")
    assert page == f"a\n\n{BEGIN}\n\n{block(results)}\n\n{END}\n\nb\n"
    assert into_page(page, results, tmp_path / "page.md") == page
    with pytest.raises(UserError, match="no place"):
        into_page("nothing", results, tmp_path / "page.md")


@pytest.mark.parametrize("path", learning_table.PAGES, ids=lambda path: path.name)
def test_the_pages_have_the_table_of_the_results(path: Path) -> None:
    results = json.loads(learning.RESULTS.read_text("utf-8"))
    page = path.read_text("utf-8")
    assert into_page(page, results, path) == page
    assert learning.RESULTS.with_suffix(".md").read_text("utf-8") == render(results)


def test_unknown_systems_and_rows_are_told() -> None:
    for words, message in (
        (["--systems", "Moses"], "'Moses'.*there are Antiphon"),
        (["--again", "Moses"], "'Moses'"),
        (["--rows", "dot,bilinear"], "--rows bilinear"),
    ):
        with pytest.raises(UserError, match=message):
            learning.chosen(learning.arguments(words))
    some = learning.chosen(learning.arguments(["--systems", "Joey NMT", "--rows", "input_feeding"]))
    assert {c.row for c in some} == {"input_feeding general", "input_feeding additive"}
