"""CMUdict: pronunciations of a word together, and the split that a word's hash makes."""

import gzip
from pathlib import Path

from prepared import prepared, prepared_from

# Words by what their SHA-1, taken with sha1sum, is modulo 20.
LINES = """\
{test} T EH1 S T # a comment
{dev} D EH1 V
{train} T R EY1 N
{train}(2) T R EH0 N
{train}(3) T R EY2 N
"""


def test_a_word_has_all_its_pronunciations_without_stress(tmp_path: Path) -> None:
    text = LINES.format(test="grum", dev="det", train="snup")
    found = prepared("cmudict", {"cmudict.dict": text}, tmp_path)
    assert found["train.jsonl"] == [
        {"source": "s n u p", "target": "T R EY N"},
        {"source": "s n u p", "target": "T R EH N"},
    ]
    assert found["dev.jsonl"] == [{"source": "d e t", "target": ["D EH V"]}]
    assert found["test.jsonl"] == [{"source": "g r u m", "target": ["T EH S T"]}]


def test_the_split_of_the_real_dictionary(data_folder: Path, tmp_path: Path) -> None:
    folder = data_folder / "cmudict"
    found = prepared_from("cmudict", {"cmudict.dict": folder / "cmudict.dict.gz"}, tmp_path)
    for name in ("train", "dev", "test"):
        with gzip.open(folder / f"{name}.tsv.gz", "rt", encoding="utf-8") as file:
            wanted = [tuple(line.rstrip("\n").split("\t")) for line in file]
        pairs = [
            (row["source"].replace(" ", ""), target)
            for row in found[f"{name}.jsonl"]
            for target in ([row["target"]] if isinstance(row["target"], str) else row["target"])
        ]
        assert sorted(pairs) == sorted(wanted)
