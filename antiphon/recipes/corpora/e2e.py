"""E2E: restaurant facts to text, several references each; github.com/tuetschek/e2e-dataset, CC BY-SA 4.0."""

import csv
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from antiphon.evaluation import captions
from antiphon.evaluation.metrics import Score
from antiphon.recipes import fetch
from antiphon.recipes.corpora import rows

# Wrong characters that the official script corrects in references.
CORRECTED = {"Ł": "£", "Â£": "£", "Ã©": "é", "ã©": "é"}

# Words for the values of slots.
VALUES = {
    "eatType": {"pub": r"\bpubs?\b", "coffee shop": r"\bcoff?ee|\bcafe\b", "restaurant": r"\brestaurant"},
    "food": {
        "Chinese": "chinese", "English": "english|british", "Fast food": r"fast[ -]food|burgers?\b", "French": "french",
        "Indian": "indian", "Italian": "italian|pasta", "Japanese": "japan|sushi",
    },
    "priceRange": {
        "cheap": r"cheap|inexpensive|low[ -]?(?:er)?[ -]?(?:pric|cost)|afford|budget|price[^.]*\blow\b",
        "high": r"high[ -]?(?:er)?[ -]?(?:end|pric|cost)|expensive|price[^.]*\bhigh\b|pricey",
        "less than £20": r"(?:less|under|below|lower|cheaper)[^.]*20|low[ -]pric",
        "moderate": r"moderate|mid[ -]?(?:range|pric)|average(?:ly)?[ -](?:pric|cost)|reasonabl|medium[ -]pric|fair",
        "more than £30": r"(?:more|over|above|higher)[^.]*30|high[ -]pric|expensive",
        "£20-25": r"20.{0,6}25",
    },
    "customer rating": {
        "1 out of 5": r"\b(?:1|one)\b|low",
        "3 out of 5": r"\b(?:3|three)\b|average", "5 out of 5": r"\b(?:5|five)\b|high",
        "average": r"average|medium|decent|3", "high": r"high|excellent|great|good|5", "low": r"low|poor|bad|1",
    },
    "area": {"city centre": r"cent(?:re|er)|city|downtown", "riverside": r"river"},
    "familyFriendly": {
        "yes": r"famil|child|kid",
        "no": r"(?:not|n't|\bno|non|un|adult)[^.]*(?:famil|child|kid)|(?:famil|child|kid)[^.]*not\b|adult",
    },
}  # fmt: skip
# Words that show that a slot is mentioned.
MENTIONS = {
    "eatType": r"\bpubs?\b|\bcoffee",
    "food": r"chinese|english|british|fast[ -]food|french|indian|italian|japan|sushi|pasta",
    "priceRange": r"£|pric|cheap|expensive|cost",
    "customer rating": r"\brat(?:ed|ing)|\bstars?\b|out of|review",
    "area": r"\briver|\b(?:city|town)[ -]cent|downtown",
    "familyFriendly": r"famil|child|kid|adult",
}


def prepare(files: Mapping[str, Path], out: Path) -> None:
    """Write train.jsonl with a pair for each reference; valid.jsonl and test.jsonl with all references of a meaning.

    Args:
        files: trainset.csv, devset.csv and testset_w_refs.csv, with the columns mr and ref.
        out: the folder to write into.
    """
    train = _rows(files["trainset.csv"])
    rows.write(out / "train.jsonl", ({"source": mr, "target": ref} for mr, ref in train))
    for name, file in (("valid", "devset.csv"), ("test", "testset_w_refs.csv")):
        references: dict[str, list[str]] = {}
        for mr, ref in _rows(files[file]):
            references.setdefault(mr, []).append(ref)
        rows.write(out / f"{name}.jsonl", ({"source": mr, "target": refs} for mr, refs in references.items()))


def _rows(path: Path) -> list[tuple[str, str]]:
    text = fetch.text(path)
    for wrong, right in CORRECTED.items():
        text = text.replace(wrong, right)
    return [(row["mr"], row["ref"]) for row in csv.DictReader(text.lstrip("\ufeff").splitlines(keepends=True))]


def faults(item: Mapping[str, Any], output: str) -> float:
    """Slots of the source that an output misses, and slots that it adds.

    Rules made from the words of the training set: they recognise that a slot is mentioned, and its value, but no irony
    and no unusual wording.
    """
    slots = dict(re.findall(r"(\w[\w ]*)\[([^\]]*)\]", item["source"]))
    text = " ".join(output.lower().split())
    names = [slots.pop(name).lower() for name in ("name", "near") if name in slots]
    wrong = sum(name not in text for name in names) + len(re.findall(r"<\w+>", text))
    for name in sorted(names, key=len, reverse=True):
        text = text.replace(name, "X")
    for slot, values in VALUES.items():
        if slot in slots:
            wrong += not re.search(values.get(slots[slot], re.escape(slots[slot].lower())), text)
        else:
            wrong += bool(re.search(MENTIONS[slot], text))
    return float(wrong)


def slot_faults(items: Sequence[Mapping[str, Any]], outputs: Sequence[str]) -> Score:
    """Slots missed or added for each output, by the rules of `faults`."""
    total = sum(faults(item, output) for item, output in zip(items, outputs, strict=True))
    return Score("slot_faults", total / len(outputs), "slot_faults|rules|an output", False, scale="faults an output")


def bleu_mteval(outputs: Sequence[str], references: Sequence[Sequence[str]]) -> Score:
    """BLEU as in the challenge's mteval-v13a, 0-100: it ignores case, unlike the metric `bleu`."""
    return replace(captions.bleu(outputs, references), name="bleu_mteval")


def _official(
    measure: Callable[[Sequence[str], Sequence[Sequence[str]]], Score],
) -> Callable[[Sequence[Mapping[str, Any]], Sequence[str]], Score]:
    return lambda items, outputs: measure(outputs, [item["target"] for item in items])


MEASURES = {
    "bleu_mteval": _official(bleu_mteval),
    "nist": _official(captions.nist),
    "meteor": _official(captions.meteor),
    "rouge_l": _official(captions.rouge_l),
    "cider": _official(captions.cider),
    "slot_faults": slot_faults,
}
