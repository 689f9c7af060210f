"""The demo's runs with many seeds: what is left to run, the table, and that README says what was measured."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import demos

ROOT = Path(demos.__file__).parents[1]
HERE = {"processor": "a processor", "configuration": "c0ffee"}


def a_run(seed: int, test: float = 100.0, unseen_pairs: float = 100.0, seconds: float = 100.0) -> dict[str, Any]:
    scores = {"test": test, "unseen_pairs": unseen_pairs, "seconds": seconds, "updates": 9, "versions": {}}
    return HERE | {"seed": seed, "precision": "float32", "loops": "compiled"} | scores


def test_seeds_are_ranges_and_lists() -> None:
    assert demos.seeds("1-3") == [1, 2, 3] and demos.seeds("2,4-5") == [2, 4, 5]


def test_what_is_done_is_not_run_again_but_for_another_machine_or_demo() -> None:
    settings = [(seed, "float32", loops) for seed in (1, 2) for loops in demos.LOOPS]
    left = demos.wanted([a_run(1)], settings, HERE)
    assert left == [setting for setting in settings if setting != (1, "float32", "compiled")]
    assert demos.wanted([a_run(1)], settings, HERE | {"processor": "another"}) == settings
    assert demos.wanted([a_run(1)], settings, HERE | {"configuration": "another"}) == settings


def test_the_table_names_the_worst_and_what_missed_a_goal() -> None:
    text = demos.table([a_run(1), a_run(2, test=99.1, seconds=170.0), a_run(3, unseen_pairs=99.2)])
    assert "| a processor | float32 | compiled | 3 | 99.1 (mean 99.70) | 99.2 (mean 99.73) | 170 s |" in text
    assert "1 of the runs missed one" in text and "- seed 2, float32, compiled loops" in text


@pytest.mark.skipif(not demos.RESULTS.is_file(), reason="no demos were run")
def test_readme_states_the_worst_that_was_measured() -> None:
    runs = json.loads(demos.RESULTS.read_text("utf-8"))["runs"]
    low = demos.worst(runs)
    assert demos.TABLE.read_text("utf-8") == demos.table(runs)
    for name in ("README.md", "README.zh-CN.md"):
        text = (ROOT / name).read_text("utf-8")
        for said in (f"{low['test']:.1f} %", f"{low['unseen_pairs']:.1f} %", f"{low['seconds']:.0f}", f"{len(runs)}"):
            assert said in text, f"{name} does not say {said}, the worst in {demos.RESULTS.name}"
