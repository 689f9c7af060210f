"""The codec: the same ids by every way, values hidden on the way in and filled in on the way out."""

import pytest

from antiphon.config.sections import Text
from antiphon.data.codec import Codec
from antiphon.data.slots import Slots
from antiphon.data.tokenizer import Tokenizer
from antiphon.errors import UserError

SLOTS = Slots(["name"])
PAIRS = [
    ("name[The Owl], food[Thai]", "The Owl has Thai food"),
    ("name[Zebra 7]", "zebra 7 is here"),
    ("food[Thai]", "Thai food"),
    ("", ""),
]


@pytest.fixture(scope="module")
def codec() -> Codec:
    def made(text: str, size: int) -> Tokenizer:
        return Tokenizer.train([text] * 3, Text(symbols=SLOTS.marks), size)

    return Codec(made("name[], food[Thai] owl zebra", 320), made("the has food is here Thai", 300), SLOTS)


def test_pairs_become_ids_with_the_values_of_the_source_hidden_on_both_sides(codec: Codec) -> None:
    sources, targets = codec.encode_pairs(PAIRS)
    texts = [(codec.source.decode(s), codec.target.decode(t)) for s, t in zip(sources, targets, strict=True)]
    assert texts == [
        ("name[<name>], food[Thai]", "<name> has Thai food"),
        ("name[<name>]", "<name> is here"),
        ("food[Thai]", "Thai food"),
        ("", ""),
    ]
    assert (sources[3], targets[3]) == ([], [])


def test_sources_and_targets_alone_have_the_ids_that_pairs_have(codec: Codec) -> None:
    sources = codec.encode_sources([source for source, _ in PAIRS])
    targets = codec.encode_targets(sources, [target for _, target in PAIRS])
    assert ([source.ids for source in sources], targets) == codec.encode_pairs(PAIRS)


def test_decoding_fills_in_the_values_of_each_source(codec: Codec) -> None:
    sources = codec.encode_sources([source for source, _ in PAIRS])
    (row,) = codec.encode_targets(sources[:1], ["The Owl is here"])
    assert codec.decode(sources, [row] * 4) == [
        "The Owl is here",
        "Zebra 7 is here",
        "<name> is here",
        "<name> is here",
    ]


def test_pieces_of_a_source_point_at_the_raw_text_as_far_as_it_was_kept(codec: Codec) -> None:
    raw = "name[Zebra 7], food[Thai]"
    (source,) = codec.encode_sources([raw])
    ids, pieces, spans = codec.pieces(source)
    assert ids == source.ids
    assert raw[slice(*spans[pieces.index("<name>")])] == "Zebra 7" and raw[slice(*spans[-1])] == "]"
    assert codec.pieces(source._replace(ids=ids[:3])) == (ids[:3], pieces[:3], spans[:3])


def test_dropout_changes_with_its_seed_and_what_is_not_unicode_is_refused(codec: Codec) -> None:
    assert codec.encode_pairs(PAIRS, 0.5, 1) == codec.encode_pairs(PAIRS, 0.5, 1) != codec.encode_pairs(PAIRS, 0.5, 2)
    with pytest.raises(UserError, match="not valid Unicode"):
        codec.encode_pairs([("a", "\ud800")])
