"""A parallel corpus taken apart."""

import json
from pathlib import Path

from antiphon.recipes.corpora import parts


def test_pairs_and_texts_share_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("".join(f"a{n}\n" for n in range(5)), encoding="utf-8")
    (tmp_path / "b").write_text("".join(f"b{n}\n" for n in range(5)), encoding="utf-8")
    out = tmp_path / "out"
    out.mkdir()
    parts.prepare({"x": tmp_path / "a", "y": tmp_path / "b"}, out, source="x", target="y", pairs=2)
    rows = {
        name: [json.loads(line) for line in (out / f"{name}.jsonl").read_text("utf-8").splitlines()]
        for name in ("pairs", "reverse")
    }
    assert rows["pairs"] == [{"source": f"a{n}", "target": f"b{n}"} for n in range(2)]
    assert rows["reverse"] == [{"source": f"b{n}", "target": f"a{n}"} for n in range(2)]
    assert (out / "texts.txt").read_text("utf-8").split() == ["b2", "b3", "b4"]
