"""Numbers with their nouns."""

from antiphon.words import counted


def test_a_noun_follows_its_number() -> None:
    assert [counted(n, "pair") for n in (0, 1, 2, 1200)] == ["0 pairs", "1 pair", "2 pairs", "1,200 pairs"]
    assert [counted(n, "hypothesis", "hypotheses") for n in (1, 2)] == ["1 hypothesis", "2 hypotheses"]
