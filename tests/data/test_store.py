"""The store: what goes in comes out, whole or not at all, for any number of workers."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from antiphon.config.sections import Text
from antiphon.data import store
from antiphon.data.codec import Codec
from antiphon.data.corpus import Pair
from antiphon.data.slots import Slots
from antiphon.data.store import Store, build
from antiphon.data.tokenizer import Tokenizer
from antiphon.errors import UserError

WORDS = ["the", "red", "bird", "sings", "loudly", "near", "a", "green", "river", "today"]


def make_pairs(n: int) -> list[Pair]:
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 12, (n, 2))
    return [Pair(*(" ".join(rng.choice(WORDS, size)) for size in both)) for both in lengths]


PAIRS = make_pairs(500)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train((text for pair in PAIRS for text in pair), Text(), 320)


def built(folder: Path, tokenizer: Tokenizer, pairs: list[Pair] = PAIRS, **more: float | str) -> Store:
    limits = {"max_source": 50, "max_target": 50}
    return build(folder / "store", pairs, Codec(tokenizer, tokenizer, Slots([])), **limits | more)  # type: ignore[arg-type]


def rows_of(a_store: Store, copy: int = 0) -> list[tuple[list[int], list[int]]]:
    sources, targets = a_store.pairs(np.arange(len(a_store)), copy)
    return [(s.tolist(), t.tolist()) for s, t in zip(sources, targets, strict=True)]


def expected(tokenizer: Tokenizer, pairs: list[Pair]) -> list[tuple[list[int], list[int]]]:
    return [(tokenizer.encode(p.source).ids, tokenizer.encode(p.target).ids) for p in pairs]


def test_what_goes_in_comes_out(tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "CHUNK", 64)  # several chunks, the last one short
    seen: list[tuple[int, int | None]] = []
    codec = Codec(tokenizer, tokenizer, Slots([]))
    made = build(
        tmp_path / "s",
        iter(PAIRS),
        codec,
        max_source=50,
        max_target=50,
        total=500,
        fingerprint="f",
        progress=lambda *report: seen.append(report),
    )
    opened = Store.open(tmp_path / "s")
    for s in (made, opened):
        assert (len(s), s.copies, s.fingerprint, s.left_out) == (500, 1, "f", {"empty": 0, "long": 0})
        assert rows_of(s) == expected(tokenizer, PAIRS)
        source, target = s.lengths()
        assert source.dtype == target.dtype == np.int32
        assert [(len(a), len(b)) for a, b in rows_of(s)] == list(zip(source.tolist(), target.tolist(), strict=True))
    assert seen[0] == (64, 500)
    assert seen[-1] == (500, 500)
    some = np.array([7, 7, 499, 0])
    assert [ids.tolist() for ids in opened.pairs(some)[0]] == [rows_of(opened)[i][0] for i in some]


def test_empty_and_long_pairs_are_left_out_and_counted(tmp_path: Path, tokenizer: Tokenizer) -> None:
    long = " ".join(WORDS * 9)
    bad = [Pair("", "a"), Pair("a", ""), Pair("", long), Pair(long, "a"), Pair("a", long)]
    pairs = [pair for i, good in enumerate(PAIRS[:5]) for pair in (bad[i], good)]
    s = built(tmp_path, tokenizer, pairs)
    assert s.left_out == {"empty": 3, "long": 2}
    assert rows_of(s) == expected(tokenizer, PAIRS[:5])


def test_dropout_copies_differ_and_do_not_depend_on_workers(
    tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "CHUNK", 100)
    one = built(tmp_path / "1", tokenizer, dropout=0.3, copies=2, workers=1)
    two = built(tmp_path / "2", tokenizer, dropout=0.3, copies=2, workers=2)
    assert one.copies == 2
    for copy in range(2):
        assert rows_of(one, copy) == rows_of(two, copy)
        assert [tokenizer.decode(s) for s, _ in rows_of(one, copy)] == [pair.source for pair in PAIRS]
        assert [len(s) for s, _ in rows_of(one, copy)] == one.lengths(copy)[0].tolist()
    assert rows_of(one, 0) != rows_of(one, 1)
    assert rows_of(one, 0) != rows_of(built(tmp_path / "3", tokenizer, dropout=0.3, copies=2, seed=2), 0)


def test_a_large_vocabulary_gets_wide_ids(
    tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert built(tmp_path, tokenizer).pairs(np.array([0]))[0][0].dtype == np.uint16
    monkeypatch.setattr(Tokenizer, "__len__", lambda self: 70_000)
    wide = built(tmp_path, tokenizer)
    assert wide.pairs(np.array([0]))[0][0].dtype == np.uint32
    assert rows_of(wide) == expected(tokenizer, PAIRS)


def test_nothing_left_is_an_error_that_says_why(tmp_path: Path, tokenizer: Tokenizer) -> None:
    with pytest.raises(
        UserError, match=r"none of the 3 training pairs can be used: 1 .*empty.*, 2 .*data\.max_source_length = 2"
    ):
        built(tmp_path, tokenizer, [Pair("", "a"), *PAIRS[5:7]], max_source=2, max_target=1)
    with pytest.raises(UserError, match="the training data are empty"):
        built(tmp_path, tokenizer, [])
    assert list(tmp_path.iterdir()) == []


def failing() -> Iterator[Pair]:
    yield from PAIRS
    raise UserError("pairs.tsv:501: not UTF-8")


def test_a_failed_build_leaves_what_was_there(tmp_path: Path, tokenizer: Tokenizer) -> None:
    with pytest.raises(UserError, match="501"):
        build(tmp_path / "store", failing(), Codec(tokenizer, tokenizer, Slots([])), max_source=50, max_target=50)
    assert list(tmp_path.iterdir()) == []
    before = rows_of(built(tmp_path, tokenizer))
    with pytest.raises(UserError, match="501"):
        build(tmp_path / "store", failing(), Codec(tokenizer, tokenizer, Slots([])), max_source=50, max_target=50)
    assert rows_of(Store.open(tmp_path / "store")) == before
    assert [f.name for f in tmp_path.iterdir()] == ["store"]


KILLED = """
import sys, time
from pathlib import Path
from antiphon.data import store
from antiphon.data.codec import Codec
from antiphon.data.corpus import Pair
from antiphon.data.slots import Slots
from antiphon.data.tokenizer import Tokenizer
store.CHUNK = 10
def pairs():
    while True:
        print("alive", flush=True)
        yield Pair("a red bird", "the river")
tokenizer = Tokenizer.from_json(Path(sys.argv[1]).read_text("utf-8"), "t")
store.build(Path(sys.argv[2]), pairs(), Codec(tokenizer, tokenizer, Slots([])), max_source=50, max_target=50)
"""


def test_a_killed_build_leaves_nothing_that_opens_and_the_next_one_works(tmp_path: Path, tokenizer: Tokenizer) -> None:
    (tmp_path / "t.json").write_text(tokenizer.to_json(), "utf-8")
    command = [sys.executable, "-c", KILLED, str(tmp_path / "t.json"), str(tmp_path / "store")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        for _ in range(100):
            assert process.stdout.readline()
        process.kill()
    with pytest.raises(UserError, match="not a store"):
        Store.open(tmp_path / "store")
    assert rows_of(built(tmp_path, tokenizer)) == expected(tokenizer, PAIRS)
    assert sorted(f.name for f in tmp_path.iterdir()) == ["store", "t.json"]


@pytest.mark.skipif(sys.platform == "win32", reason="no file size limits")
def test_a_full_disk_is_an_error_that_names_folder_and_need(tmp_path: Path, tokenizer: Tokenizer) -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))
    try:
        with pytest.raises(
            UserError,
            match=r"store: cannot be written: the disk is full; .*: the tokenised pairs need about 0.0 MB, and \d+ MB",
        ):
            built(tmp_path, tokenizer, total=500)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []


def test_broken_and_foreign_folders_are_refused(tmp_path: Path, tokenizer: Tokenizer) -> None:
    folder = tmp_path / "store"
    with pytest.raises(UserError, match="not a store"):
        Store.open(folder)

    def refused(name: str, content: bytes | None, message: str) -> None:
        built(tmp_path, tokenizer)
        if content is None:
            (folder / name).unlink()
        else:
            (folder / name).write_bytes(content)
        with pytest.raises(UserError, match=message):
            Store.open(folder)

    meta = json.loads((built(tmp_path, tokenizer).folder / "meta.json").read_text("utf-8"))
    ids = (folder / "source.0.ids").read_bytes()
    refused("meta.json", b"{", "not JSON")
    refused("meta.json", b"{}", "not a store")
    refused("meta.json", json.dumps(meta | {"version": 9}).encode(), "version 9; this Antiphon reads version 1")
    refused("meta.json", json.dumps({k: v for k, v in meta.items() if k != "pieces"}).encode(), "incomplete")
    refused("meta.json", json.dumps(meta | {"dtype": "|O"}).encode(), "incomplete")
    refused("source.0.ids", None, r"source\.0\.ids is missing")
    refused("source.0.ids", ids[:-2], rf"source\.0\.ids has {len(ids) - 2} bytes instead of {len(ids)}; delete")
    refused("target.0.offsets", bytes(501 * 8), r"target\.0\.offsets does not fit")


def test_opening_and_reading_take_no_time(tmp_path: Path, tokenizer: Tokenizer) -> None:
    s = built(tmp_path, tokenizer)
    rows = np.random.default_rng(0).integers(0, len(s), 100_000)
    begin = time.process_time()
    s.pairs(rows)
    assert time.process_time() - begin < 2
