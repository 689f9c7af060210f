"""AESLC: from the official archive to pairs, and which subjects a score is against."""

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest
from prepared import prepared, prepared_from

from antiphon.recipes.corpora import aeslc

EMAIL = (
    "Can we meet\non Friday?\n\n@subject\nMeeting on Friday\n\n@ann0\nFriday meeting\n\n@ann1\nMeet up\n\n@ann2\nHi\n"
)


def archive(path: Path, emails: dict[str, str]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, text in emails.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    return path


def test_packing_takes_one_folder_in_the_order_of_names(tmp_path: Path) -> None:
    emails = {"x/dev/b.subject": EMAIL, "x/dev/a.subject": "Yes.\n\n@subject\nRe\n", "x/train/c.subject": EMAIL}
    aeslc.pack(archive(tmp_path / "a.tar.gz", emails), "x/dev", tmp_path / "dev.jsonl")
    first, second = map(json.loads, (tmp_path / "dev.jsonl").read_text("utf-8").splitlines())
    assert first == {"id": "a", "body": "Yes.", "subject": "Re"}
    assert second["body"] == "Can we meet\non Friday?" and second["ann2"] == "Hi"
    with pytest.raises(KeyError):
        aeslc.pack(tmp_path / "a.tar.gz", "x/test", tmp_path / "test.jsonl")


def test_pairs_have_the_subject_that_was_sent_first(tmp_path: Path) -> None:
    email = {"id": "a", "body": "One two\nthree four", "subject": "The  real one", "ann0": "Another", "ann1": ""}
    found = prepared("aeslc", {"dev.jsonl": json.dumps(email) + "\n"}, tmp_path, words=3)
    assert found["dev.pairs.jsonl"] == [{"source": "One two three", "target": ["The real one", "Another"]}]


def test_scores_are_against_the_subject_sent_or_any() -> None:
    items = [{"target": ["Budget for May", "Costs next month"]}]
    outputs = ["costs next months"]
    assert aeslc.MEASURES["rouge1_sent"](items, outputs).value == 0
    score = aeslc.MEASURES["rouge1_any"](items, outputs)
    assert score.value == pytest.approx(100) and score.name == "rouge1_any" and "stem:yes" in score.signature


def test_the_official_form_packs_to_the_local_file(data_folder: Path, tmp_path: Path) -> None:
    """Written back as the archive has it, an e-mail packs to the line that it was."""
    with gzip.open(data_folder / "aeslc" / "dev.jsonl.gz", "rb") as file:
        content = file.read()
    emails = {}
    for line in content.decode("utf-8").split("\n")[:-1]:
        email = json.loads(line)
        parts = [f"@{key}\n{email[key]}\n\n" for key in ("subject", "ann0", "ann1", "ann2")]
        emails[f"x/dev/{email['id']}.subject"] = f"{email['body']}\n\n{''.join(parts)}"
    aeslc.pack(archive(tmp_path / "a.tar.gz", emails), "x/dev", tmp_path / "dev.jsonl")
    assert hashlib.sha256((tmp_path / "dev.jsonl").read_bytes()).digest() == hashlib.sha256(content).digest()
    found = prepared_from("aeslc", {"dev.jsonl": tmp_path / "dev.jsonl"}, tmp_path, words=100)["dev.pairs.jsonl"]
    assert len(found) == 1960 and {len(pair["target"]) for pair in found} <= {2, 3, 4}
