"""Numbers with their nouns, as messages say them."""


def counted(number: int, noun: str, plural: str = "") -> str:
    """1, 'pair' -> '1 pair'; 1200, 'pair' -> '1,200 pairs'.

    Args:
        number: how many.
        noun: the thing counted, in the singular.
        plural: its plural, where that is not the singular and an s.
    """
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"
