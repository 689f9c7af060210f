"""Pretrained word vectors: the text files of word2vec, GloVe and fastText.

A line is a word and its numbers between spaces. Word2vec and fastText have a first line with the number of words and
the size. A file may be packed; see `data.lines`.
"""

from collections.abc import Iterator
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray

from antiphon.data.lines import Line, lines_of
from antiphon.data.tokenizer import UNK, Tokenizer
from antiphon.errors import UserError
from antiphon.words import counted

CHUNK = 2000  # words tokenised at once


def read(path: str, tokenizer: Tokenizer, size: int) -> dict[int, NDArray[np.float32]]:
    """Read the vectors of the pieces that are words of a file.

    A word counts where the tokenizer makes one piece of it, so that what it does to texts (case, normalisation, the
    space before a word) is done to the words too. Of several words that become one piece the first, which is the most
    frequent in the usual files, counts.

    Args:
        path: the file.
        tokenizer: gives the pieces.
        size: E, the numbers that a vector must have.

    Returns:
        Vectors by the pieces' ids, [E] each.

    Raises:
        UserError: no such file, vectors of another size, or a line that is no word with its numbers.
    """
    lines = lines_of(path)
    first = next(lines, None)
    if first is None:
        raise UserError(f"{path}: empty; give a text file of word vectors")
    fields = first.text.rstrip().split(" ")
    header = len(fields) == 2 and all(field.isdigit() for field in fields)
    file_size = int(fields[1]) if header else len(fields) - 1
    if file_size != size:
        raise UserError(
            f"{path}: its vectors have {counted(file_size, 'number')}, and the embeddings {size}: set "
            f"model.embedding = {file_size}, or name other vectors"
        )
    vectors: dict[int, NDArray[np.float32]] = {}
    every: Iterator[Line] = lines if header else chain([first], lines)
    while chunk := list(islice(every, CHUNK)):
        rows = [_split(path, line, size) for line in chunk]
        for line, (_, numbers), ids in zip(chunk, rows, tokenizer.encode_ids([word for word, _ in rows]), strict=True):
            if len(ids) == 1 and ids[0] != UNK and ids[0] not in vectors:
                vectors[ids[0]] = _vector(path, line, numbers)
    return vectors


def _split(path: str, line: Line, size: int) -> tuple[str, list[str]]:
    """A line's word, in which GloVe has spaces too, and its numbers."""
    if line.kind:
        raise UserError(f"{path}:{line.number}: {line.problem}")
    word, *numbers = line.text.rstrip(" ").rsplit(" ", size)
    if len(numbers) != size:
        raise UserError(
            f"{path}:{line.number}: {counted(len(numbers), 'number')}, and {size} before; is the file whole?"
        )
    return word, numbers


def _vector(path: str, line: Line, numbers: list[str]) -> NDArray[np.float32]:
    try:
        vector = np.array([float(number) for number in numbers], np.float32)
    except ValueError as e:
        raise UserError(f"{path}:{line.number}: {e}; give a text file of word vectors, not a binary one") from e
    if not np.isfinite(vector).all():
        raise UserError(f"{path}:{line.number}: a number that is not finite")
    return vector
