"""Delexicalisation: values of named slots are replaced by marks in both texts, and filled into outputs again.

A source says what to write as `name[The Mill], near[Zum Adler]` or as a dialogue act, `inform(name='x';price=9)`. A
model can hardly spell a name that it has not seen in training; with `name[<name>]` and `<name> is near <near>` it
learns where a name belongs, and any name can be filled in (Oh and Rudnicky 2000; Wen 2015). Marks are symbols of the
vocabulary.

- A slot's second value is `<name:2>`, its third `<name:3>`; further ones are not replaced.
- Values that mean something by themselves, such as `dontcare`, are not replaced.
- A target without the value is not changed; the source has the mark nevertheless.
- A mark in an output for which the source has no value is kept, so that it can be seen and counted.
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


class Replacement(NamedTuple):
    """Where a mark replaces a value."""

    begin: int  # in the text with marks
    end: int
    raw_begin: int  # in the raw text
    raw_end: int


class Delexicalised(NamedTuple):
    """A source with marks, and the values that they replace."""

    text: str
    values: dict[str, str]  # by mark, in the order of the source
    replacements: list[Replacement]

    def hide(self, target: str) -> str:
        """Replace this source's values by their marks in a target: whole words, in upper or lower case.

        Longer values are replaced first. Slots with equal values get one occurrence each, in the source's order, and
        the last one gets all that follow.
        """
        marks: dict[str, list[str]] = {}
        for mark, value in self.values.items():
            marks.setdefault(_plain(value), []).append(mark)
        if not marks:
            return target
        longest = sorted(marks, key=len, reverse=True)
        pattern = "|".join(f"({_as_words(value)})" for value in longest)

        def mark_of(match: re.Match[str]) -> str:
            unused = marks[longest[(match.lastindex or 1) - 1]]
            return unused.pop(0) if len(unused) > 1 else unused[0]

        return re.sub(pattern, mark_of, target, flags=re.IGNORECASE)

    def fill(self, output: str) -> str:
        """Replace the marks of an output by their values."""
        if not self.values:
            return output
        pattern = "|".join(map(re.escape, self.values))
        return re.sub(pattern, lambda match: self.values[match[0]], output)

    def raw_span(self, span: tuple[int, int]) -> tuple[int, int]:
        """The characters of the raw text that belong to a span of the text with marks."""
        begin, end = span
        shift = 0
        for one in self.replacements:
            if one.begin < end and begin < one.end:
                return one.raw_begin, one.raw_end
            if one.end <= begin:
                shift = one.raw_end - one.end
        return begin + shift, end + shift


class Slots:
    """The slots of a model whose values are replaced by marks.

    Args:
        names: as sources write them; none: nothing is replaced.
        constants: values that are not replaced, in upper or lower case.

    Raises:
        UserError: a name has characters that are not allowed.
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
        """Replace the values of a source by marks, in it and in its target."""
        text = self.read(source)
        return text.text, text.hide(target)

    def read(self, source: str) -> Delexicalised:
        """Replace the values of a source by marks."""
        if not self.names:
            return Delexicalised(source, {}, [])
        parts: list[str] = []
        values: dict[str, str] = {}
        replacements: list[Replacement] = []
        counts: dict[str, int] = {}
        length = last = 0
        for match in self._pattern.finditer(source):
            group = next(g for g in "bqde" if match[g] is not None)
            value, (begin, end) = match[group], match.span(group)
            number = counts.get(match["slot"], 0) + 1
            mark = _mark(match["slot"], number)
            if not value.strip() or _plain(value) in self.constants or number > REPEATS or value == mark:
                continue
            counts[match["slot"]] = number
            values[mark] = value
            parts += [source[last:begin], mark]
            length += begin - last
            replacements.append(Replacement(length, length + len(mark), begin, end))
            length, last = length + len(mark), end
        return Delexicalised("".join([*parts, source[last:]]), values, replacements)


def _mark(name: str, number: int) -> str:
    word = re.sub(r"\s+", "_", name.lower())
    return f"<{word}>" if number == 1 else f"<{word}:{number}>"


def _plain(value: str) -> str:
    return " ".join(value.lower().split())


def _as_words(value: str) -> str:
    """A pattern for a value as whole words; in scripts without spaces a word may continue at either end."""
    before = "" if re.match(f"[{UNSPACED}]", value) else r"(?<!\w)"
    after = "" if re.search(f"[{UNSPACED}]$", value) else r"(?!\w)"
    return before + r"\s+".join(map(re.escape, value.split())) + after
