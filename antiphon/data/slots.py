"""Delexicalisation: values of named slots become marks in both texts, and come back in outputs.

A source says what to write as `name[The Mill], near[Zum Adler]` or as a dialogue act, `inform(name='x';price=9)`. A
name that training has never seen cannot be written piece by piece; with `name[<name>]` and `<name> is near <near>` the
model learns where a name goes, and any name can stand there (Oh and Rudnicky 2000; Wen 2015). Marks are symbols of the
vocabulary.

- A slot's second value is `<name:2>`, its third `<name:3>`; further ones stay as they are.
- Values that say something themselves, such as `dontcare`, stay as they are.
- Where the target does not have a value, it stays as it is; the source has the mark all the same.
- A mark in an output for which the source has no value is left standing, so that it can be seen and counted.
"""

import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import chain
from typing import NamedTuple

from antiphon.data.tokenizer import UNSPACED
from antiphon.errors import UserError

REPEATS = 3  # values of one slot that have marks
_VALUE = (
    r"\s*(?:\[\s*(?P<b>[^\]]*?)\s*\]|=\s*(?:'(?P<q>[^']*)'|\"(?P<d>[^\"]*)\"|"
    r"(?P<e>[^\s;)'\"][^;)]*?)(?=\s*(?:[;)]|,\s*[\w -]+=|$))))"
)


class Cut(NamedTuple):
    """Where a mark stands for a value."""

    begin: int  # in the text with marks
    end: int
    raw_begin: int  # in the raw text
    raw_end: int


class Delexicalised(NamedTuple):
    """A source with marks, and what they stand for."""

    text: str
    values: dict[str, str]  # by mark, in the order of the source
    cuts: list[Cut]

    def hide(self, target: str) -> str:
        """Put marks where a target has this source's values, as whole words and in either case.

        Longer values go first. Of slots with equal values each takes one occurrence in the source's order, the last
        one all that follow.
        """
        marks: dict[str, list[str]] = {}
        for mark, value in self.values.items():
            marks.setdefault(_plain(value), []).append(mark)
        if not marks:
            return target
        longest = sorted(marks, key=len, reverse=True)
        pattern = "|".join(f"({_as_words(value)})" for value in longest)

        def mark_of(found: re.Match[str]) -> str:
            waiting = marks[longest[(found.lastindex or 1) - 1]]
            return waiting.pop(0) if len(waiting) > 1 else waiting[0]

        return re.sub(pattern, mark_of, target, flags=re.IGNORECASE)

    def fill(self, output: str) -> str:
        """Put the values back."""
        if not self.values:
            return output
        pattern = "|".join(map(re.escape, self.values))
        return re.sub(pattern, lambda found: self.values[found[0]], output)

    def raw_span(self, span: tuple[int, int]) -> tuple[int, int]:
        """The raw text's characters that a span of the text with marks stands for."""
        begin, end = span
        shift = 0
        for cut in self.cuts:
            if cut.begin < end and begin < cut.end:
                return cut.raw_begin, cut.raw_end
            if cut.end <= begin:
                shift = cut.raw_end - cut.end
        return begin + shift, end + shift


class Slots:
    """The slots of a model whose values become marks.

    Args:
        names: as sources write them; none: nothing is ever replaced.
        constants: values that stay as they are, in either case.

    Raises:
        UserError: a name cannot be one.
    """

    def __init__(self, names: Sequence[str], constants: Iterable[str] = ()) -> None:
        for name in names:
            if not re.fullmatch(r"[^\W_](?:[\w -]*\w)?", name):
                raise UserError(
                    f"text.slots: '{name}' must be letters, digits, - and single words, such as price range"
                )
        self.names = list(names)
        self.constants = {_plain(value) for value in constants}

    @property
    def marks(self) -> list[str]:
        """All marks, which must be symbols of the vocabulary."""
        return list(chain.from_iterable((_mark(name, i) for i in range(1, REPEATS + 1)) for name in self.names))

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        names = "|".join(map(re.escape, sorted(self.names, key=len, reverse=True)))
        return re.compile(rf"(?:^|(?<=[(,;|\n]))\s*(?P<slot>{names}){_VALUE}")

    def hide(self, source: str, target: str) -> tuple[str, str]:
        """Replace a pair's values by marks, in both texts."""
        text = self.read(source)
        return text.text, text.hide(target)

    def read(self, source: str) -> Delexicalised:
        """Replace a source's values by marks."""
        if not self.names:
            return Delexicalised(source, {}, [])
        parts: list[str] = []
        values: dict[str, str] = {}
        cuts: list[Cut] = []
        counts: dict[str, int] = {}
        length = last = 0
        for found in self._pattern.finditer(source):
            group = next(g for g in "bqde" if found[g] is not None)
            value, (begin, end) = found[group], found.span(group)
            number = counts.get(found["slot"], 0) + 1
            mark = _mark(found["slot"], number)
            if not value.strip() or _plain(value) in self.constants or number > REPEATS or value == mark:
                continue
            counts[found["slot"]] = number
            values[mark] = value
            parts += [source[last:begin], mark]
            length += begin - last
            cuts.append(Cut(length, length + len(mark), begin, end))
            length, last = length + len(mark), end
        return Delexicalised("".join([*parts, source[last:]]), values, cuts)


def _mark(name: str, number: int) -> str:
    word = re.sub(r"\s+", "_", name.lower())
    return f"<{word}>" if number == 1 else f"<{word}:{number}>"


def _plain(value: str) -> str:
    return " ".join(value.lower().split())


def _as_words(value: str) -> str:
    """A pattern for a value where no word goes on at either end; scripts without spaces have no such ends."""
    before = "" if re.match(f"[{UNSPACED}]", value) else r"(?<!\w)"
    after = "" if re.search(f"[{UNSPACED}]$", value) else r"(?!\w)"
    return before + r"\s+".join(map(re.escape, value.split())) + after
