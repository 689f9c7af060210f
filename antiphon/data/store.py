"""Tokenised pairs on disk, memory-mapped, so that a corpus may be larger than memory.

A store is a folder: `meta.json`, and for each side and copy `<side>.<copy>.ids` (all pieces, one row after the other)
and `<side>.<copy>.offsets` (where each row begins, and the end). It is written whole or not at all.

Shapes: N pairs.
"""

import json
import multiprocessing
import os
import shutil
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, closing
from functools import lru_cache, partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from antiphon.data.codec import Codec
from antiphon.data.corpus import Pair
from antiphon.data.slots import Slots
from antiphon.data.tokenizer import Tokenizer
from antiphon.errors import UserError
from antiphon.files import FULL, reason, whole_folder
from antiphon.words import counted

FORMAT = "antiphon store"
VERSION = 1
META = "meta.json"
SIDES = ("source", "target")
OFFSET = np.dtype("<i8")
CHUNK = 1 << 14  # pairs tokenised at once; the segmentations by dropout are kept for as long as a chunk lasts

Key = tuple[str, int]  # side and copy
Ids = NDArray[np.unsignedinteger[Any]]
Progress = Callable[[int, int | None], None]


class Store:
    """Tokenised pairs, read through memory maps; ids carry neither BOS nor EOS."""

    def __init__(self, folder: Path, meta: dict[str, Any]) -> None:
        dtype = np.dtype(meta["dtype"])
        self.folder = folder
        self.fingerprint: str = meta["fingerprint"]
        self.copies: int = meta["copies"]
        self.left_out: dict[str, int] = meta["left_out"]
        self._size: int = meta["pairs"]
        self._ids = {key: _map(folder / f"{_stem(key)}.ids", dtype) for key in _keys(self.copies)}
        self._offsets = {key: _map(folder / f"{_stem(key)}.offsets", OFFSET) for key in _keys(self.copies)}

    @classmethod
    def open(cls, folder: Path) -> "Store":
        """Open a store.

        Raises:
            UserError: the folder is not a store, or a file of it is missing or of the wrong size.
        """
        meta = _read_meta(folder)
        dtype = np.dtype(meta["dtype"])
        for key in _keys(meta["copies"]):
            _check_size(folder / f"{_stem(key)}.ids", meta["pieces"][_stem(key)] * dtype.itemsize)
            _check_size(folder / f"{_stem(key)}.offsets", (meta["pairs"] + 1) * OFFSET.itemsize)
        store = cls(folder, meta)
        for key, offsets in store._offsets.items():
            if offsets[0] != 0 or offsets[-1] != len(store._ids[key]):
                raise _broken(folder, f"{_stem(key)}.offsets does not fit {_stem(key)}.ids")
        return store

    def __len__(self) -> int:
        return self._size

    def lengths(self, copy: int = 0) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Lengths of the sources and of the targets in pieces, [N] each: new arrays of 4 bytes a row."""
        return self._lengths("source", copy), self._lengths("target", copy)

    def pairs(self, rows: NDArray[np.int64], copy: int = 0) -> tuple[list[Ids], list[Ids]]:
        """The ids of some rows, as views of the files.

        Args:
            rows: row numbers, [B].
            copy: which of the copies, each segmented anew by BPE-dropout.

        Returns:
            Sources and targets, B arrays each.
        """
        return self._rows("source", rows, copy), self._rows("target", rows, copy)

    def _lengths(self, side: str, copy: int) -> NDArray[np.int32]:
        offsets = self._offsets[side, copy]
        lengths = np.empty(len(self), np.int32)  # [N]
        np.subtract(offsets[1:], offsets[:-1], out=lengths, casting="same_kind")
        return lengths

    def _rows(self, side: str, rows: NDArray[np.int64], copy: int) -> list[Ids]:
        ids, offsets = self._ids[side, copy], self._offsets[side, copy]
        return [ids[begin:end] for begin, end in zip(offsets[rows].tolist(), offsets[rows + 1].tolist(), strict=True)]


def build(
    folder: Path,
    pairs: Iterable[Pair],
    codec: Codec,
    *,
    max_source: int,
    max_target: int,
    dropout: float = 0.0,
    copies: int = 1,
    seed: int = 1,
    workers: int = 0,
    fingerprint: str = "",
    total: int | None = None,
    progress: Progress | None = None,
) -> Store:
    """Tokenise pairs into a new store, in their order, with all cores and in constant memory.

    Pairs with an empty side, or longer than a limit in any copy, are left out and counted. The result does not depend
    on the number of workers.

    Args:
        folder: the store's folder; an older store in it is replaced.
        pairs: the pairs, read once, lazily.
        codec: the tokenizers of the two sides, and the slots.
        max_source, max_target: largest lengths in pieces.
        dropout: BPE-dropout; above 0 worker processes tokenise, at 0 the tokenizers' own threads.
        copies: number of copies to write, each segmented anew.
        seed: seed of the dropout.
        workers: worker processes; 0: as many as cores.
        fingerprint: kept in the store for the caller.
        total: number of pairs, if known, for the progress and to estimate the room that a full disk lacks.
        progress: called with pairs done and `total`.

    Raises:
        UserError: no pairs are left, or the disk is full.
    """
    limits = (max_source, max_target)
    dtype = np.dtype("<u2" if max(len(codec.source), len(codec.target)) <= 1 << 16 else "<u4")
    encode = partial(_encode, limits=limits, dtype=dtype, dropout=dropout, copies=copies, seed=seed)
    workers = (workers or os.cpu_count() or 1) if dropout else 1
    size = min(CHUNK, max(CHUNK // 8, -(-total // workers))) if total else CHUNK  # work for every worker
    chunks = _tokenise(encode, _chunks(pairs, size), codec, workers)
    with closing(chunks), whole_folder(folder) as unfinished:
        writer = _Writer(unfinished, copies, dtype)
        try:
            writer.write(chunks, lambda done: progress(done, total) if progress else None)
        except OSError as e:
            if e.errno in FULL:
                raise UserError(_disk_full(folder, writer, total, e)) from e
            raise
        if not writer.kept:
            raise UserError(_nothing_left(writer, limits))
        writer.write_meta(fingerprint)
    return Store.open(folder)


class _Chunk(NamedTuple):
    """Some tokenised pairs: the ids kept, one row after the other, by side and copy, and the numbers left out."""

    ids: dict[Key, Ids]
    lengths: dict[Key, NDArray[np.int64]]
    kept: int
    empty: int
    long: int


def _encode(
    codec: Codec,
    pairs: list[Pair],
    *,
    limits: tuple[int, int],
    dtype: np.dtype[Any],
    dropout: float,
    copies: int,
    seed: int,
) -> _Chunk:
    ids: dict[Key, Ids] = {}
    lengths: dict[Key, NDArray[np.int64]] = {}
    empty, long = np.zeros(len(pairs), np.bool_), np.zeros(len(pairs), np.bool_)  # [N]
    for copy in range(copies):
        sides = codec.encode_pairs(pairs, dropout, seed * copies + copy)
        for side, rows, limit in zip(SIDES, sides, limits, strict=True):
            key = side, copy
            lengths[key] = np.fromiter(map(len, rows), np.int64, len(rows))
            ids[key] = np.fromiter(chain.from_iterable(rows), dtype, int(lengths[key].sum()))
            empty |= lengths[key] == 0
            long |= lengths[key] > limit
    keep = ~(empty | long)
    ids = {key: some[np.repeat(keep, lengths[key])] for key, some in ids.items()}
    lengths = {key: some[keep] for key, some in lengths.items()}
    return _Chunk(ids, lengths, int(keep.sum()), int(empty.sum()), int((long & ~empty).sum()))


Encode = Callable[[Codec, list[Pair]], _Chunk]


@lru_cache(maxsize=2)
def _tokenizer(text: str) -> Tokenizer:
    return Tokenizer.from_json(text, "the tokenizer handed to a worker")


def _encode_remote(encode: Encode, source: str, target: str, slots: Slots, pairs: list[Pair]) -> _Chunk:
    return encode(Codec(_tokenizer(source), _tokenizer(target), slots), pairs)


def _tokenise(
    encode: Encode, chunks: Iterator[list[Pair]], codec: Codec, workers: int
) -> Generator[_Chunk, None, None]:
    """Tokenise chunks in order, here or in worker processes, at most a few ahead of the writer."""
    first = list(islice(chunks, 2))
    if workers == 1 or len(first) < 2:  # a single chunk takes less time than starting a worker
        for chunk in chain(first, chunks):
            yield encode(codec, chunk)
        return
    remote = partial(_encode_remote, encode, codec.source.to_json(), codec.target.to_json(), codec.slots)
    waiting: deque[Future[_Chunk]] = deque()
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        try:
            for chunk in chain(first, chunks):
                waiting.append(pool.submit(remote, chunk))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as e:
            raise UserError(
                "a process that tokenised was killed, perhaps for lack of memory; run the same command again"
            ) from e
        finally:
            pool.shutdown(cancel_futures=True)


def _chunks(pairs: Iterable[Pair], size: int) -> Iterator[list[Pair]]:
    rest = iter(pairs)
    while chunk := list(islice(rest, size)):
        yield chunk


class _Writer:
    """Appends chunks to the files of a new store and counts pairs and pieces."""

    def __init__(self, folder: Path, copies: int, dtype: np.dtype[Any]) -> None:
        self.folder, self.copies, self.dtype = folder, copies, dtype
        self.pieces = dict.fromkeys(_keys(copies), 0)
        self.kept = self.empty = self.long = 0

    @property
    def seen(self) -> int:
        return self.kept + self.empty + self.long

    @property
    def bytes(self) -> int:
        return sum(n * self.dtype.itemsize + self.kept * OFFSET.itemsize for n in self.pieces.values())

    def write(self, chunks: Iterable[_Chunk], progress: Callable[[int], None]) -> None:
        """Write all chunks, without meta.json."""
        with ExitStack() as stack:
            files: dict[Key, tuple[BinaryIO, BinaryIO]] = {}
            for key in self.pieces:
                paths = (self.folder / f"{_stem(key)}.{kind}" for kind in ("ids", "offsets"))
                files[key] = stack.enter_context(next(paths).open("wb")), stack.enter_context(next(paths).open("wb"))
                files[key][1].write(np.zeros(1, OFFSET).tobytes())
            for chunk in chunks:
                begins = dict(self.pieces)
                self._count(chunk)
                for key, (ids, offsets) in files.items():
                    ids.write(chunk.ids[key].tobytes())
                    offsets.write((begins[key] + np.cumsum(chunk.lengths[key])).astype(OFFSET).tobytes())
                progress(self.seen)

    def _count(self, chunk: _Chunk) -> None:
        for key, ids in chunk.ids.items():
            self.pieces[key] += len(ids)
        self.kept += chunk.kept
        self.empty += chunk.empty
        self.long += chunk.long

    def write_meta(self, fingerprint: str) -> None:
        meta = {
            "format": FORMAT,
            "version": VERSION,
            "fingerprint": fingerprint,
            "pairs": self.kept,
            "left_out": {"empty": self.empty, "long": self.long},
            "copies": self.copies,
            "dtype": self.dtype.str,
            "pieces": {_stem(key): n for key, n in self.pieces.items()},
        }
        (self.folder / META).write_bytes(json.dumps(meta, indent=1).encode())


def _keys(copies: int) -> list[Key]:
    return [(side, copy) for copy in range(copies) for side in SIDES]


def _stem(key: Key) -> str:
    return f"{key[0]}.{key[1]}"


def _map(path: Path, dtype: np.dtype[Any]) -> NDArray[Any]:
    return np.asarray(np.memmap(path, dtype, mode="r"))  # a plain array over the map: its slices are cheap


def _read_meta(folder: Path) -> dict[str, Any]:
    try:
        meta = json.loads((folder / META).read_text("utf-8"))
    except FileNotFoundError as e:
        raise UserError(f"{folder}: not a store of tokenised pairs: it has no {META}") from e
    except OSError as e:
        raise UserError(f"{folder / META}: cannot be read: {e.strerror}") from e
    except ValueError as e:
        raise _broken(folder, f"{META} is not JSON: {e}") from e
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise UserError(f"{folder}: not a store of tokenised pairs: {META} belongs to something else")
    if meta.get("version") != VERSION:
        raise UserError(f"{folder}: a store of version {meta.get('version')}; this Antiphon reads version {VERSION}")
    needed = {"fingerprint", "pairs", "left_out", "copies", "dtype", "pieces"}
    if needed - meta.keys() or meta["dtype"] not in ("<u2", "<u4"):
        raise _broken(folder, f"{META} is incomplete")
    return meta


def _check_size(path: Path, size: int) -> None:
    actual = path.stat().st_size if path.is_file() else None
    if actual is None:
        raise _broken(path.parent, f"{path.name} is missing")
    if actual != size:
        raise _broken(path.parent, f"{path.name} has {actual} bytes instead of {size}")


def _broken(folder: Path, what: str) -> UserError:
    return UserError(f"{folder}: the store is damaged: {what}; delete the folder to prepare the data again")


def _nothing_left(writer: _Writer, limits: tuple[int, int]) -> str:
    if not writer.seen:
        return "no pairs to tokenise: the training data are empty"
    return (
        f"none of the {counted(writer.seen, 'training pair')} can be used: {writer.empty} with an empty side after "
        f"tokenisation, {writer.long} longer than data.max_source_length = {limits[0]} or "
        f"data.max_target_length = {limits[1]}"
    )


def _disk_full(folder: Path, writer: _Writer, total: int | None, error: OSError) -> str:
    share = writer.seen / total if total else 0.0
    need = f"about {writer.bytes / share / 1e6:.1f} MB" if share else f"more than {writer.bytes / 1e6:.1f} MB"
    free = shutil.disk_usage(folder.parent).free / 1e6
    return f"{folder}: cannot be written: {reason(error)}: the tokenised pairs need {need}, and {free:.0f} MB are free"
