"""Recombined training pairs: words that occur in the same environment trade places (after Andreas 2020).

A *fragment* is a source word with the target word that comes with it, such as (red, rouge); what is left of a pair
without it is its *environment*. `a red hat -> un chapeau rouge` and `a pink hat -> un chapeau rose` show two fragments
in one environment: they are *peers*. In another pair with one of them, peers trade places in the source and in the
target: `my red car -> ma voiture rouge` gives `my pink car -> ma voiture rose`. Andreas (arXiv 1904.09545) exchanges
longer fragments, too.

Everything is learnt from the training pairs alone.
"""

import hashlib
import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import count as numbers
from typing import NamedTuple

from antiphon.data.corpus import Pair

MOST = 50_000  # pairs that fragments are learnt from and recombined; of a larger corpus, as many at random
LONGEST = 50  # different words of a side; longer pairs are left out, because their words hardly show what they give
OWN = 0.9  # share of the pairs with a target word that must have its source word
CIRCLE = 64  # peers that a fragment takes from one environment

Progress = Callable[[str, int, int | None], None]


class Fragment(NamedTuple):
    """A source word and the target word that comes with it."""

    source: str
    target: str


class Split(NamedTuple):
    """A pair as words (at the odd places) and what stands between them."""

    source: list[str]
    target: list[str]


def recombine(
    pairs: Iterable[Pair], count: int, seed: int, known: Collection[str] = (), report: Progress | None = None
) -> list[Pair]:
    """Make new pairs from training pairs.

    Args:
        pairs: the training pairs; read once.
        count: most pairs to make; fewer where there are no more.
        seed: another seed chooses other pairs, where there are more than `count`.
        known: sources that no new pair may have, such as those of the development set.
        report: called with the stage, the number of pairs made and `count`.

    Returns:
        Pairs whose sources are all different, and neither those of `known` nor of the pairs that were learnt from.
    """
    generator = random.Random(seed)
    kept = _sample(pairs, generator)
    rows = [split for split in map(_split, kept) if max(map(_different, split)) <= LONGEST]
    owners = _owners(rows)
    peers = _peers(rows, owners, generator)
    seen = {*known, *(pair.source for pair in kept)}
    made: list[Pair] = []
    for pair in _exchanges(rows, owners, peers, generator):
        if len(made) == count:
            break
        if pair.source not in seen:
            seen.add(pair.source)
            made.append(pair)
            if report and len(made) % 10_000 == 0:
                report("recombining", len(made), count)
    if report:
        report("recombining", len(made), len(made))
    return made


def _sample(pairs: Iterable[Pair], generator: random.Random) -> list[Pair]:
    """The different pairs, or MOST of them at random (reservoir sampling), in their order."""
    kept: dict[Pair, int] = {}
    places: list[Pair] = []
    for i, pair in enumerate(pairs):
        if pair in kept:
            continue
        if len(places) < MOST:
            places.append(pair)
        else:
            place = generator.randrange(i + 1)
            if place >= MOST:
                continue
            del kept[places[place]]
            places[place] = pair
        kept[pair] = i
    return sorted(kept, key=kept.__getitem__)


def _split(pair: Pair) -> Split:
    return Split(re.split(r"(\w+)", pair.source), re.split(r"(\w+)", pair.target))


def _different(parts: list[str]) -> int:
    return len(set(parts[1::2]))


def _owners(rows: list[Split]) -> dict[str, str]:
    """For each target word the one source word that it comes with: the likeliest by Dice's coefficient.

    Words of which several source words are equally likely have none, nor have those that often occur without it.
    """
    counts: Counter[str] = Counter()  # pairs with a source word
    places: dict[str, list[int]] = defaultdict(list)  # pairs with a target word
    for i, (source, target) in enumerate(rows):
        counts.update(set(source[1::2]))
        for word in set(target[1::2]):
            places[word].append(i)
    owners = {}
    for word, holders in places.items():
        together = Counter(w for i in holders for w in set(rows[i].source[1::2]))
        dice = {w: 2 * n / (counts[w] + len(holders)) for w, n in together.items()}
        best = max(dice.values(), default=0.0)
        likeliest = [w for w, value in dice.items() if value == best]
        if len(likeliest) == 1 and together[likeliest[0]] >= OWN * len(holders):
            owners[word] = likeliest[0]
    return owners


def _fragments(row: Split, owners: Mapping[str, str]) -> list[Fragment]:
    """The fragments of a pair, in the order of its target."""
    words = dict.fromkeys(row.target[1::2])
    some = (Fragment(owners[word], word) for word in words if word in owners)
    return [fragment for fragment in some if fragment.source in row.source[1::2] and _fits(row, fragment)]


def _fits(row: Split, fragment: Fragment) -> bool:
    """The pair has both words or neither; and the target word as often as the source word, or more often."""
    in_source, in_target = row.source[1::2].count(fragment.source), row.target[1::2].count(fragment.target)
    return in_source <= in_target and (in_source > 0) == (in_target > 0)


def _peers(rows: list[Split], owners: Mapping[str, str], generator: random.Random) -> dict[Fragment, list[Fragment]]:
    """For each fragment those that occur in an environment of its own."""
    environments: dict[bytes, set[Fragment]] = defaultdict(set)
    for row in rows:
        for fragment in _fragments(row, owners):
            environments[_environment(row, fragment)].add(fragment)
    peers: dict[Fragment, set[Fragment]] = defaultdict(set)
    for found in environments.values():
        circle = sorted(found)
        generator.shuffle(circle)
        for i, fragment in enumerate(circle):
            following = (circle[(i + k) % len(circle)] for k in range(1, min(len(circle), CIRCLE + 1)))
            peers[fragment].update(other for other in following if other.source != fragment.source)
    return {fragment: sorted(others) for fragment, others in peers.items() if others}


def _environment(row: Split, fragment: Fragment) -> bytes:
    gaps = (
        "".join("\0" if i % 2 and part == word else part for i, part in enumerate(side))
        for side, word in zip(row, fragment, strict=True)
    )
    return hashlib.blake2b("\1".join(gaps).encode(), digest_size=8).digest()


def _exchanges(
    rows: list[Split],
    owners: Mapping[str, str],
    peers: Mapping[Fragment, list[Fragment]],
    generator: random.Random,
) -> Iterator[Pair]:
    """All exchanges, one of each pair in turn, in a random order."""
    order = [(row, generator.random()) for row in rows]
    generator.shuffle(order)
    for turn in numbers():
        left = []
        for row, start in order:
            choices = [(one, peers[one]) for one in _fragments(row, owners) if one in peers]
            total = sum(len(others) for _, others in choices)
            if turn >= total:
                continue
            left.append((row, start))
            one, other = _choice(choices, (int(start * total) + turn) % total)
            if _fits(row, other):
                yield Pair(_traded(row.source, one.source, other.source), _traded(row.target, one.target, other.target))
        order = left
        if not order:
            return


def _choice(choices: list[tuple[Fragment, list[Fragment]]], number: int) -> tuple[Fragment, Fragment]:
    """The exchange of this number."""
    for one, others in choices:
        if number < len(others):
            return one, others[number]
        number -= len(others)
    raise IndexError(number)


def _traded(parts: list[str], one: str, other: str) -> str:
    trade = {one: other, other: one}
    return "".join(trade.get(part, part) if i % 2 else part for i, part in enumerate(parts))
