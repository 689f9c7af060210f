"""Words to phones: what is decomposed and what is not."""

from pathlib import Path

from prepared import prepared, prepared_from


def test_words_are_decomposed_and_phones_are_not(tmp_path: Path) -> None:
    files = {"kor_train.tsv": "간\tk a̠ n\n", "vie_dev.tsv": "ệ\tẽ ˧˨ ʔ\n"}
    found = prepared("sigmorphon2020", files, tmp_path)
    assert found["kor_train.jsonl"] == [{"source": "\u1100 \u1161 \u11ab", "target": "k a̠ n"}]
    assert found["vie_dev.jsonl"] == [{"source": "e \u0323 \u0302", "target": "ẽ ˧˨ ʔ"}]


def test_the_real_files(data_folder: Path, tmp_path: Path) -> None:
    names = [f"{language}_{part}" for language in ("kor", "vie") for part in ("train", "dev", "test")]
    files = {f"{name}.tsv": data_folder / "sigmorphon2020_g2p" / f"{name}.tsv.gz" for name in names}
    found = prepared_from("sigmorphon2020", files, tmp_path)
    assert [len(found[f"{name}.jsonl"]) for name in names] == [3600, 450, 450] * 2
    assert all(pair["source"].strip() and pair["target"].strip() for rows in found.values() for pair in rows)
