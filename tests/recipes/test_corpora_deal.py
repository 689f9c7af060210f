"""Deal or No Deal: conversations given goals, rare words replaced."""

import json
from pathlib import Path

from antiphon.recipes.corpora import deal

LINE = (
    "<input> 1 4 4 1 1 2 </input> <dialogue> YOU: {} <eos> THEM: deal <eos> YOU: <selection> </dialogue> "
    "<output> item0=1 </output> <partner_input> 1 0 4 2 1 2 </partner_input>\n"
)


def test_rare_words_of_the_training_are_replaced_everywhere(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text(LINE.format("all hats") * 3 + LINE.format("all balls"), encoding="utf-8")
    (tmp_path / "valid.txt").write_text(LINE.format("hats balls books"), encoding="utf-8")
    (tmp_path / "test.txt").write_text(LINE.format("all"), encoding="utf-8")
    out = tmp_path / "out"
    out.mkdir()
    deal.prepare({path.name: path for path in tmp_path.glob("*.txt")}, out, least=3)
    row = json.loads((out / "valid.jsonl").read_text("utf-8"))
    assert row["source"] == "1 4 4 1 1 2 YOU:"
    assert row["target"] == "hats <rare> <rare> <eos> THEM: deal <eos> YOU: <selection>"
    assert len((out / "train.jsonl").read_text("utf-8").splitlines()) == 4
