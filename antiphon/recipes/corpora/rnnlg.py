"""RNNLG: dialogue acts about laptops and televisions to text; github.com/shawnwun/RNNLG, Apache-2.0 (Wen 2015, 2016).

BLEU and the slot error are those of RNNLG's GentScorer.py, on texts normalised as by its nlp.py.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any, NamedTuple

from antiphon.evaluation.metrics import Score
from antiphon.recipes import fetch
from antiphon.recipes.corpora import rows

# resource/special_values: values that are no names or numbers, in one spelling.
SPECIAL = {"none": "none", "true": "yes", "yes": "yes", "false": "no", "no": "no", "dontcare": "dontcare",
           "dont_care": "dontcare"}  # fmt: skip
# resource/detect.pair: slots whose values are names and numbers, and words for slots of yes and no.
GENERAL = {
    "address", "area", "count", "food", "goodformeal", "name", "near", "phone", "postcode", "price", "pricerange",
    "battery", "batteryrating", "design", "dimension", "drive", "driverange", "family", "memory", "platform", "utility",
    "warranty", "weight", "weightrange", "hdmiport", "ecorating", "audio", "accessories", "color", "powerconsumption",
    "resolution", "screensize", "screensizerange",
}  # fmt: skip
BINARY = {
    "kidsallowed": ["child", "kid", "kids", "children"],
    "dogsallowed": ["dog", "dogs", "puppy"],
    "hasinternet": ["internet", "wifi"],
    "acceptscreditcards": ["card", "cards"],
    "isforbusinesscomputing": ["business", "nonbusiness", "home", "personal", "general"],
    "hasusbport": ["usb"],
}
UNCOUNTED = ("?select", "suggest")  # acts with alternatives, which are left out of the slot error

# utils/nlp/mapping.pair, shortened: contractions written out, and endings split off.
_APART = {
    "it's": "it is", "don't": "do not", "doesn't": "does not", "didn't": "did not", "you'd": "you would",
    "you're": "you are", "you'll": "you will", "i'm": "i am", "they're": "they are", "that's": "that is",
    "what's": "what is", "couldn't": "could not", "i've": "i have", "we've": "we have", "can't": "cannot",
    "i'd": "i would", "aren't": "are not", "isn't": "is not", "wasn't": "was not", "weren't": "were not",
    "won't": "will not", "there's": "there is", "there're": "there are", ". .": ".", "cheaper": "cheap -er",
    "children": "child -s", "policies": "policy -s", "inches": "inch -s", "families": "family -s",
    "lunches": "lunch -s", "businesses": "business -s", "accessories": "accessory -s", "truly": "true -ly",
    "kidfriendly": "kid friendly", "st": "street", "ave": "avenue", "upmarket": "expensive", "inpricey": "cheap",
    "driverange": "drive range", "ecorating": "eco rating", "pricerange": "price range",
    "batteryrating": "battery rating", "weightrange": "weight range", "harddrive": "hard drive",
    "batterylife": "battery life", "teh": "the", "#": "number", "&": "and",
}  # fmt: skip
_PLURAL = (
    "restaurants hotels laptops dinners breakfasts prices places venues ranges meals locations areas kids cards uses "
    "dimensions includes computers machines ratings constraints requirements drives specifications hours ports "
    "televisions restrictions drivers factors"
)
_ADVERB = (
    "expensively moderately cheaply extremely actually typically definitely mostly nicely surely certainly totally"
)
_APART |= {word: f"{word[:-1]} -s" for word in _PLURAL.split()}
_APART |= {word: f"{word[:-2]} -ly" for word in _ADVERB.split()}


class Act(NamedTuple):
    """A dialogue act."""

    kind: str
    slots: list[tuple[str, str]]  # name and value; `?` for no value, special values in one spelling

    @property
    def meaning(self) -> tuple[Any, ...]:
        """The act without the values of its slots. Acts with equal meanings share their references."""
        counts = Counter(name for name, value in self.slots if _literal(value))
        special = sorted((name, value) for name, value in self.slots if not _literal(value))
        return self.kind, tuple(sorted(counts.items())), tuple(special)


def parse(act: str) -> Act:
    """Read a dialogue act such as `inform(name=tecra 3;hasusbport=true;pricerange=dontcare)`."""
    kind, _, rest = act.partition("(")
    slots = []
    for part in rest.split("(")[0].replace(")", "").split(";"):
        name, equals, value = (side.strip("'\"") for side in part.partition("="))
        if part:
            value = SPECIAL.get(value, value) if equals else "?"
            slots.append((name.replace("_", "").replace(" ", ""), value))
    return Act(kind, slots)


def normalise(text: str) -> str:
    """Normalise a text as RNNLG does: lower case, punctuation and some endings split off, none at the end."""
    text = re.sub(r" [.?!]$", "", text).lower().strip()
    text = re.sub(r'[":<>@]', "", text.replace(";", ",").replace("/", " and ")).replace(" - ", "")
    text = re.sub(r"(?<!\d)([?.,!])|([?.,!])(?!\d)", r" \1\2 ", text)
    text = re.sub(r"^'|'$", "", re.sub(r"\s+", " ", text).strip())
    text = re.sub(r"'\s|\s'", " ", text)
    for word, apart in _APART.items():
        text = f" {text} ".replace(f" {word} ", f" {apart} ")[1:-1]
    words: list[str] = []
    for word in text.replace("'s", " 's").split():
        if words and word.isdecimal() and re.fullmatch(r"\d+", words[-1]):
            words[-1] += word
        else:
            words.append(word)
    return " ".join(words)


def delexicalise(text: str, act: Act) -> str:
    """Replace the first occurrence of each value by `SLOT_NAME`, longer values first; `a and b` is also `b or a`."""
    for name, value in sorted(act.slots, key=lambda slot: -len(slot[1])):
        orders = list(permutations(value.replace(" or ", " and ").split(" and ")))
        written = [" and ".join(order) for order in orders] + [" or ".join(order) for order in orders]
        match = next((each for each in written if each in text), None) if _literal(value) else None
        if match:
            text = f" {text} ".replace(f" {match} ", f" SLOT_{name.upper()} ", 1)[1:-1]
    return text


def lexicalise(text: str, act: Act) -> str:
    """Put the values back, each at the first occurrence of its slot."""
    for name, value in sorted(act.slots, key=lambda slot: -len(slot[0])):
        if _literal(value):
            text = f" {text} ".replace(f" SLOT_{name.upper()} ", f" {value} ", 1)[1:-1]
    return text


def prepare(files: Mapping[str, Path], out: Path, domain: str) -> None:
    """Write train.jsonl, valid.jsonl and test.jsonl; the last two with the references of all acts of equal meaning.

    Args:
        files: DOMAIN.train.json, DOMAIN.valid.json and DOMAIN.test.json.
        out: the folder to write into.
        domain: `laptop` or `tv`.
    """
    for name in ("train", "valid", "test"):
        content = fetch.text(files[f"{domain}.{name}.json"])
        examples = json.loads("".join(line for line in content.splitlines(keepends=True) if not line.startswith("#")))
        acts = [parse(act) for act, _, _ in examples]
        texts = [delexicalise(normalise(text), act) for act, (_, text, _) in zip(acts, examples, strict=True)]
        same: dict[Any, list[str]] = {}
        for act, text in zip(acts, texts, strict=True):
            same.setdefault(act.meaning, []).append(text)
        pairs = [
            {"source": source, "target": lexicalise(text, act)}
            if name == "train"
            else {"source": source, "target": [lexicalise(each, act) for each in same[act.meaning]]}
            for act, text, (source, _, _) in zip(acts, texts, examples, strict=True)
        ]
        rows.write(out / f"{name}.jsonl", pairs)


def bleu_gentscorer(items: Sequence[Mapping[str, Any]], outputs: Sequence[str]) -> Score:
    """BLEU-4 of RNNLG: words between spaces, the length of the first closest reference, 0-1.

    It differs from sacreBLEU in the tokens, and where two references are equally close.
    """
    right, total = [0] * 4, [0] * 4
    r = c = 0
    for item, output in zip(items, outputs, strict=True):
        words = output.split()
        references = [reference.split() for reference in item["target"]]
        r += len(min(references, key=lambda reference: abs(len(reference) - len(words))))
        c += len(words)
        for n in range(1, 5):
            most: Counter[tuple[str, ...]] = Counter()
            for reference in references:
                most |= _ngrams(reference, n)
            grams = _ngrams(words, n)
            total[n - 1] += grams.total()
            right[n - 1] += (grams & most).total()
    value = math.exp(min(0.0, 1 - r / c)) if c else 0.0
    value *= math.exp(sum(math.log(a / (b + 1e-7) + 1e-7) for a, b in zip(right, total, strict=True)) / 4)
    return Score("bleu_gentscorer", value, "bleu|n:4|case:lc|tok:rnnlg|nrefs:var|as:GentScorer", True, scale="0-1")


def slot_error(items: Sequence[Mapping[str, Any]], outputs: Sequence[str]) -> Score:
    """Slot error rate (Wen 2015, eq. 13): missing and redundant slots for 100 slots."""
    slots = errors = 0
    for item, output in zip(items, outputs, strict=True):
        act = parse(item["source"])
        if act.kind not in UNCOUNTED:
            few, many = _slot_errors(act, output)
            slots += few
            errors += many
    value = 100 * errors / max(slots, 1)
    return Score("slot_error", value, "slot_error|per cent|as:GentScorer", False, scale="errors per 100 slots")


def faults(item: Mapping[str, Any], output: str) -> float:
    """Slot errors of one output."""
    return _slot_errors(parse(item["source"]), output)[1]


def _slot_errors(act: Act, output: str) -> tuple[int, int]:
    """The numbers of an act's slots, and of those that an output misses or repeats.

    A slot of yes and no is recognised by its words; other slots with `dontcare` are not counted.
    """
    words = Counter(delexicalise(output, act).split())
    required = Counter(name for name, value in act.slots if _literal(value) or (name in BINARY and value != "?"))
    slots = errors = 0
    for name in GENERAL:
        slots += required[name]
        errors += abs(required[name] - words[f"SLOT_{name.upper()}"])
    for name, known in BINARY.items():
        slots += required[name]
        errors += abs(required[name] - sum(words[word] for word in known))
    return slots, errors


def _literal(value: str) -> bool:
    """Whether a value is a name or a number, which a text contains as it is."""
    return value not in SPECIAL.values() and value != "?"


def _ngrams(words: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


MEASURES = {"bleu_gentscorer": bleu_gentscorer, "slot_error": slot_error}
