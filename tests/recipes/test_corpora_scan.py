"""SCAN: actions as the paper writes them, and development commands that training does not have."""

from pathlib import Path

import pytest
from prepared import prepared, prepared_from

from antiphon.errors import UserError


def test_actions_are_written_as_in_the_paper(tmp_path: Path) -> None:
    files = {"tasks_test_x.txt": "IN: run left and look OUT: I_TURN_LEFT I_RUN I_LOOK\n"}
    found = prepared("scan", files, tmp_path)
    assert found == {"tasks_test_x.jsonl": [{"source": "run left and look", "target": "LTURN RUN LOOK"}]}


def test_one_command_in_twenty_is_held_out_and_none_that_repeats(tmp_path: Path) -> None:
    once = [f"IN: walk {number} OUT: I_WALK\n" for number in range(40)]
    text = "".join(once) + "IN: jump OUT: I_JUMP\n" * 5
    found = prepared("scan", {"tasks_train_x.txt": text}, tmp_path)
    train, dev = ([row["source"] for row in found[f"tasks_{part}_x.jsonl"]] for part in ("train", "dev"))
    assert len(dev) == 2 and not set(dev) & set(train)
    assert sorted(train + dev) == sorted([f"walk {number}" for number in range(40)] + ["jump"] * 5)


def test_another_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a line of SCAN"):
        prepared("scan", {"tasks_test_x.txt": "walk\n"}, tmp_path)


def test_the_real_files(data_folder: Path, tmp_path: Path) -> None:
    names = ["tasks_train_addprim_jump", "tasks_test_addprim_jump"]
    files = {f"{name}.txt": data_folder / "scan" / f"{name}.txt.gz" for name in names}
    found = prepared_from("scan", files, tmp_path)
    train = [row["source"] for row in found["tasks_train_addprim_jump.jsonl"]]
    assert train.count("jump") == 1467 and all("jump" not in command for command in train if command != "jump")
    assert len(train) + len(found["tasks_dev_addprim_jump.jsonl"]) == 14670
    assert len(found["tasks_test_addprim_jump.jsonl"]) == 7706
