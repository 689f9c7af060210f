"""Lines of files and of standard input, which may be compressed; what is not text is refused.

A file may be compressed with gzip or Zstandard. A line ends at "\\n" or "\\r\\n" and nowhere else, so that text with a
U+2028 or a form feed inside stays one line and aligned files stay aligned.
"""

import gzip
import io
import sys
import zlib
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

from antiphon.errors import UserError, extra

LONGEST_LINE = 1 << 24  # bytes; more is not a line of text
GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
UNPACKING_ERRORS = (EOFError, gzip.BadGzipFile, zlib.error)
FOREIGN = {  # a file's first bytes -> what it is, and what to do with it
    b"PAR1": "a Parquet file; read it with hf:FOLDER:train",
    b"ARROW1": "an Arrow file; read it with hf:FOLDER:train",
    b"PK\x03\x04": "a ZIP archive or a spreadsheet (.xlsx); unpack it, or save the sheet as CSV in UTF-8",
    b"\xd0\xcf\x11\xe0": "an old Excel or Word document; save it as CSV in UTF-8",
    b"%PDF": "a PDF document; extract its text first",
    b"BZh": "a bzip2 file; unpack it with bunzip2",
    b"\xfd7zXZ": "an xz file; unpack it with unxz",
    b"7z\xbc\xaf": "a 7z archive; unpack it first",
    b"SQLite format 3": "an SQLite database; export the table as CSV",
    b"\xff\xfe": "UTF-16 text; convert it with: iconv -f UTF-16 -t UTF-8",
    b"\xfe\xff": "UTF-16 text; convert it with: iconv -f UTF-16 -t UTF-8",
    b"version https://git-lfs": "a Git LFS pointer, not the file itself; fetch it with: git lfs pull",
}


class Line(NamedTuple):
    """A line without its ending, its number from 1, and what is wrong with it."""

    text: str
    number: int
    kind: Literal["", "utf8", "corrupt"] = ""  # "": nothing is wrong
    problem: str = ""  # what is wrong and what to do, in words


def lines_of(path: str) -> Generator[Line, None, None]:
    """Read the lines of a file or of standard input (`-`), one at a time.

    Returns:
        The lines. One that is not UTF-8 is of kind `utf8` and has U+FFFD for its bad bytes; a file that cannot be
        unpacked to its end gives a last line of kind `corrupt`.

    Raises:
        UserError: nothing can be read: no such file, not text, a line without an end.
    """
    with _open(path) as stream:
        number = offset = 0
        while True:
            number += 1
            try:
                raw = stream.readline(LONGEST_LINE)
            except UNPACKING_ERRORS as e:
                problem = f"the compressed file breaks off or is damaged here ({e}); download or copy it again"
                yield Line("", number, "corrupt", problem)
                return
            if not raw:
                return
            if len(raw) == LONGEST_LINE and not raw.endswith(b"\n"):
                raise UserError(
                    f"{called(path)}:{number}: a line of over {LONGEST_LINE >> 20} MiB; is this one text a line?"
                )
            yield _decode(raw, number, offset)
            offset += len(raw)


def called(path: str) -> str:
    """A file's name in messages."""
    return "standard input" if path == "-" else path


@contextmanager
def _open(path: str) -> Iterator[io.BufferedReader]:
    """Open a file or standard input, decompressed, and refuse what is not text."""
    with ExitStack() as stack:
        stream = _standard_input() if path == "-" else stack.enter_context(_open_file(path))
        head = stream.peek(len(ZSTD))
        if head.startswith(GZIP):
            stream = _buffered(stack.enter_context(gzip.GzipFile(fileobj=stream, mode="rb")))
        elif head.startswith(ZSTD):
            stream = _buffered(_Zstandard(stream))
        elif head and path.lower().endswith((".gz", ".zst")):
            raise UserError(f"{path}: not compressed, although its name says so; rename it, or download it again")
        try:
            _refuse_binary(called(path), stream.peek(1 << 13))
        except UNPACKING_ERRORS as e:
            raise UserError(f"{called(path)}: cannot be unpacked ({e}); download or copy it again") from e
        yield stream


def _buffered(raw: Any) -> io.BufferedReader:
    return io.BufferedReader(raw, 1 << 16)


def _standard_input() -> io.BufferedReader:
    stream = sys.stdin.buffer
    return stream if isinstance(stream, io.BufferedReader) else _buffered(stream)


def _open_file(path: str) -> io.BufferedReader:
    p = Path(path)
    try:
        return _buffered(io.FileIO(p))
    except FileNotFoundError as e:
        if not p.parent.is_dir():
            raise UserError(f"{path}: no such file, and no folder {p.parent}") from e
        close = get_close_matches(p.name, [f.name for f in p.parent.iterdir()], n=3)
        hint = f"; did you mean {' or '.join(str(p.with_name(name)) for name in close)}?" if close else ""
        raise UserError(f"{path}: no such file{hint}") from e
    except OSError as e:
        if p.is_dir():
            raise UserError(f"{path}: a folder; name a file in it, or hf:{path}:train for a dataset's folder") from e
        raise UserError(f"{path}: cannot be read: {e.strerror}") from e


def _refuse_binary(path: str, block: bytes) -> None:
    """Refuse a file whose first block is not text; a NUL or a bad byte in a text is the fault of its line alone."""
    for magic, what in FOREIGN.items():
        if block.startswith(magic):
            raise UserError(f"{path}: not text, but {what}")
    if block[257:262] == b"ustar":
        raise UserError(f"{path}: not text, but a tar archive; unpack it first")
    nuls = block.count(0)
    if nuls * 4 > len(block):
        raise UserError(f"{path}: not UTF-8 text: it looks like UTF-16 or a binary file; save it as UTF-8")
    if nuls and block.decode("utf-8", "replace").count("\ufffd") * 20 > len(block):
        raise UserError(f"{path}: not text, but a binary file; give TSV, CSV, JSON lines or two aligned text files")


def _decode(raw: bytes, number: int, offset: int) -> Line:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as e:
        problem = (
            f"not UTF-8: byte 0x{raw[e.start]:02x} at byte {e.start + 1} of the line, offset {offset + e.start} of the "
            "text; convert the file, for example with: iconv -f WINDOWS-1252 -t UTF-8"
        )
        return Line(_strip(raw.decode("utf-8", "replace")), number, "utf8", problem)
    return Line(_strip(text.removeprefix("\ufeff") if number == 1 else text), number)


def _strip(text: str) -> str:
    return text.removesuffix("\n").removesuffix("\r")


class _Zstandard(io.RawIOBase):
    """Decompressed bytes of Zstandard frames; unlike the library's own reader it notices a truncated end."""

    def __init__(self, packed: IO[bytes]) -> None:
        try:
            import zstandard
        except ModuleNotFoundError as e:
            raise UserError(f"Zstandard files need the package zstandard: {extra('train')}") from e
        self.library = zstandard
        self.packed = packed
        self.ready = memoryview(b"")
        self.frame: Any = None  # what unpacks the frame begun; None between frames

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        filled = 0
        while filled < len(buffer) and (self.ready or self._unpack()):
            count = min(len(buffer) - filled, len(self.ready))
            buffer[filled : filled + count] = self.ready[:count]
            self.ready = self.ready[count:]
            filled += count
        return filled

    def _unpack(self) -> bool:
        """Make more bytes ready; False at the end."""
        while not self.ready:
            rest = b""
            if self.frame and self.frame.eof:
                self.frame, rest = None, self.frame.unused_data
            data = rest or self.packed.read(1 << 16)
            if not data and self.frame:
                raise EOFError("the file ends before its last frame does")
            if not data:
                return False
            self.frame = self.frame or self.library.ZstdDecompressor().decompressobj()
            try:
                self.ready = memoryview(self.frame.decompress(data))
            except self.library.ZstdError as e:
                raise zlib.error(str(e)) from e
        return True
