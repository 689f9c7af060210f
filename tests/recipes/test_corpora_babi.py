"""bAbI dialogues: every reply with what came before it."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from antiphon.recipes.corpora import babi

TALK = """1 hi\thello
2 food please\tapi_call thai north
3 the_inn R_phone the_inn_phone
4 the_inn R_rating 4
5 the_inn R_cuisine thai
6 a_barn R_rating 2
7 <SILENCE>\tthe_inn is nice
8 thanks\tbye

1 hi\thello
2 api_call no result
3 <SILENCE>\tsorry
"""


def prepared(tmp_path: Path, **options: Any) -> list[dict[str, Any]]:
    for name in ("train", "valid", "test"):
        (tmp_path / f"{name}.txt").write_text(TALK, encoding="utf-8")
    out = tmp_path / "out"
    out.mkdir()
    babi.prepare({path.name: path for path in tmp_path.glob("*.txt")}, out, **options)
    return [json.loads(line) for line in (out / "test.jsonl").read_text("utf-8").splitlines()]


def test_sources_hold_turns_and_results(tmp_path: Path) -> None:
    rows = prepared(tmp_path)
    assert [row["target"] for row in rows] == [
        "hello",
        "api_call thai north",
        "the_inn is nice",
        "bye",
        "hello",
        "sorry",
    ]
    assert [row["dialogue"] for row in rows] == [0, 0, 0, 0, 1, 1]
    assert rows[2]["source"] == (
        "<user> hi<model> hello<user> food please<model> api_call thai north<result> the_inn<result> a_barn"
        "<user> <SILENCE>"
    )
    assert rows[5]["source"] == "<user> hi<model> hello<result> api_call no result<user> <SILENCE>"


def test_facts_and_limits(tmp_path: Path) -> None:
    rows = prepared(tmp_path, facts=["R_cuisine", "R_rating"], results=1)
    assert "<result> the_inn thai 4<user> <SILENCE>" in rows[2]["source"] and "a_barn" not in rows[2]["source"]
    (tmp_path / "out").rename(tmp_path / "first")
    short = prepared(tmp_path, words=13)  # <SILENCE> is one, the_inn three
    assert short[3]["source"] == "<user> <SILENCE><model> the_inn is nice<user> thanks" and short[0] == rows[0]


def test_a_conversation_is_right_if_every_reply_is(tmp_path: Path) -> None:
    rows = prepared(tmp_path)
    outputs = [row["target"] for row in rows]
    assert babi.per_dialogue(rows, outputs).value == 100
    assert babi.per_dialogue(rows, ["no", *outputs[1:]]).value == 50


def test_the_real_files(tmp_path: Path) -> None:
    data = os.environ.get("ANTIPHON_DATA")
    if not data:
        pytest.skip("ANTIPHON_DATA names no folder of corpora")
    parts = {"train": "trn", "valid": "dev", "test": "tst"}
    files = {f"{a}.txt": Path(data) / "babi_dialog" / f"dialog-babi-task6{b}.txt.gz" for a, b in parts.items()}
    babi.prepare(files, tmp_path, facts=["R_rating"])
    rows = [json.loads(line) for line in (tmp_path / "test.jsonl").read_text("utf-8").splitlines()]
    assert len(rows) == 11237 and len({row["dialogue"] for row in rows}) == 1117  # as Bordes & Weston 2017 have them
