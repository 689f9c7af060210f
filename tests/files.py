"""Files for the tests of reading: plain and packed, with every character that other programs take for a line's end."""

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import zstandard

ODD_BREAKS = "one\x0btwo\x0cthree\x1cfour\x85five\u2028six\u2029seven\reight"
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".zst": lambda data: zstandard.compress(data[:9]) + zstandard.compress(data[9:]),  # two frames
}


def write(path: Path, text: str | bytes) -> str:
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    return str(path)


def random_lines(count: int) -> bytes:
    """Text that hardly packs, so that half of the packed bytes hold whole lines."""
    return b"".join(os.urandom(20).hex().encode() + b"\tb\n" for _ in range(count))
