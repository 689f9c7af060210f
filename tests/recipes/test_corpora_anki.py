"""Anki's pairs: no sentence on two sides, and the split that the repository's figures are of."""

import gzip
from pathlib import Path

from prepared import prepared, prepared_from


def test_pairs_that_share_a_sentence_stay_together(tmp_path: Path) -> None:
    chain = [("Go on!", "走吧。"), ("Go on!", "继续。"), ("Carry on!", "继续。"), ("Carry on!", "接着走。")]
    others = [(f"This is the number {number}.", f"这是{number}。") for number in range(60)]
    lines = "".join(f"{english}\t{chinese}\tby somebody\n" for english, chinese in others + chain)
    found = prepared("anki", {"cmn.txt": lines}, tmp_path)
    sides = [{(row["en"], row["zh"]) for row in rows} for rows in found.values()]
    assert max(map(len, sides)) < sum(map(len, sides)) == 64
    assert sum(bool(side & set(chain)) for side in sides) == 1


def test_the_split_of_the_real_file(data_folder: Path, tmp_path: Path) -> None:
    folder = data_folder / "anki_cmn_eng"
    found = prepared_from("anki", {"cmn.txt": folder / "cmn.txt.gz"}, tmp_path)
    for name in ("train", "dev", "test"):
        with gzip.open(folder / f"{name}.tsv.gz", "rt", encoding="utf-8") as file:
            wanted = [line.rstrip("\n").split("\t") for line in file]
        assert [[row["en"], row["zh"]] for row in found[f"{name}.jsonl"]] == wanted
