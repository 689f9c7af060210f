"""English and Japanese: the corpus's spaces leave the Japanese alone."""

from pathlib import Path

from prepared import prepared


def test_japanese_has_no_spaces(tmp_path: Path) -> None:
    files = {f"{part}.en": "the dog sleeps .\n" for part in ("train", "dev", "test")}
    files |= {f"{part}.ja": "犬 は 眠 る 。\n" for part in ("train", "dev", "test")}
    found = prepared("small_enja", files, tmp_path)
    assert found["dev.jsonl"] == [{"en": "the dog sleeps .", "ja": "犬は眠る。"}]
