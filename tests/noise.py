"""Outputs with mistakes, for the tests of what measures them."""

import random


def sentences(seed: int, count: int, noise: float) -> tuple[list[str], list[list[str]]]:
    """References of few words and outputs that are noisy copies of them."""
    r = random.Random(seed)
    references = [[" ".join(r.choices("abcdefgh", k=r.randint(5, 20))) for _ in range(2)] for _ in range(count)]
    outputs = [" ".join(r.choice("abcdefgh") if r.random() < noise else w for w in a.split()) for a, _ in references]
    return outputs, references
