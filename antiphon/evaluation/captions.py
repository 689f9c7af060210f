"""Scores against several references, as the script of the E2E challenge defines them (tuetschek/e2e-metrics).

NIST is that of mteval-v13a; ROUGE-L, CIDEr and METEOR are those of MS-COCO's caption evaluation, on tokens without
punctuation. METEOR 1.5 is a Java program with tables of paraphrases, which the package pycocoevalcap contains (extra
`captions`).
"""

import math
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from rapidfuzz.distance import LCSseq
from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

from antiphon.errors import UserError, extra
from antiphon.evaluation.metrics import Score, measure, same_number

Tokens = list[str]
NGram = tuple[str, ...]

_TOKENIZE: Callable[[str], str] = Tokenizer13a()  # type: ignore[no-untyped-call]

BETA = math.log(0.5) / math.log(1.5) ** 2  # NIST: outputs of two thirds of the references' length count half
SIGMA = 6.0  # CIDEr: of the Gaussian penalty of lengths

# PTB tokens, lowercased, as the Stanford tokeniser splits such texts.
_PTB = re.compile(
    r"[^\W_]+n(?=n't\b)|[^\W_]+(?=n't\b)|n't\b|can(?=not\b)|'(?:s|re|ve|ll|d|m)\b|"
    r"(?:[^\W\d_]\.){2,}|(?:st|mr|mrs|dr)\.|"
    r"\d+(?:[.,]\d+)+|[^\W_]+(?:(?:[-/]|(?<=\bd)'|(?<=\bo)')[^\W_]+)*|\.\.\.|--|\S"
)
_PUNCTUATION = {*"'`.?!,:-;()[]{}\"“”‘’", "''", "``", "--", "..."}


def bleu(outputs: Sequence[str], references: Sequence[Sequence[str]]) -> Score:
    """BLEU-4 as mteval-v13a computes it: in lower case, its own tokens, the nearest reference's length; 0-100."""
    return measure(["bleu"], outputs, references, lowercase=True, tokenize="13a")["bleu"]


def nist(outputs: Sequence[str], references: Sequence[Sequence[str]]) -> Score:
    """NIST-5 (Doddington 2002, eq. 3): matches of n-grams weighted by their information in bits.

    The references' length is, as in the challenge's mteval-v13a, all their words over the mean number of references.

    Raises:
        UserError: unequal numbers of outputs and references.
    """
    same_number(len(references), "references", len(outputs), "outputs")
    hypotheses = [_mteval(text) for text in outputs]
    groups = [[_mteval(text) for text in group] for group in references]
    counts = Counter(gram for group in groups for tokens in group for gram in _ngrams(tokens, 5))
    words = sum(len(tokens) for group in groups for tokens in group)
    counts[()] = words
    info, total = [0.0] * 6, [0] * 6
    for tokens, group in zip(hypotheses, groups, strict=True):
        most: Counter[NGram] = Counter()
        for reference in group:
            most |= Counter(_ngrams(reference, 5))
        for gram, count in Counter(_ngrams(tokens, 5)).items():
            total[len(gram)] += count
            info[len(gram)] += min(count, most[gram]) * _information(gram, counts) if gram in most else 0.0
    length = words / (sum(map(len, groups)) / len(groups))
    value = sum(info[n] / max(total[n], 1) for n in range(1, 6)) * _nist_penalty(total[1] / length)
    return Score("nist", value, "nist|n:5|case:lc|tok:13a|nrefs:var|as:mteval-v13a", True, scale="bits")


def rouge_l(outputs: Sequence[str], references: Sequence[Sequence[str]]) -> Score:
    """ROUGE-L as in MS-COCO's evaluation: F of the best precision and the best recall, beta = 1.2; mean in 0-100.

    Raises:
        UserError: unequal numbers of outputs and references.
    """
    same_number(len(references), "references", len(outputs), "outputs")
    values = [_rouge_l(ptb(text), [ptb(ref) for ref in group]) for text, group in zip(outputs, references, strict=True)]
    value = 100 * sum(values) / len(values)
    return Score("rouge_l", value, "rouge_l|beta:1.2|case:lc|tok:ptb|nrefs:var|as:coco", True, scale="0-100")


def cider(outputs: Sequence[str], references: Sequence[Sequence[str]]) -> Score:
    """CIDEr-D (Vedantam 2015, section 6): cosine of TF-IDF vectors of 1- to 4-grams, clipped; 0-10.

    Raises:
        UserError: unequal numbers of outputs and references.
    """
    same_number(len(references), "references", len(outputs), "outputs")
    groups = [[Counter(_ngrams(ptb(ref), 4)) for ref in group] for group in references]
    groups_with = Counter(gram for group in groups for gram in set().union(*group))
    idf = {gram: math.log(len(groups)) - math.log(count) for gram, count in groups_with.items()}
    unseen = math.log(len(groups))
    total = 0.0
    for text, group in zip(outputs, groups, strict=True):
        hypothesis = Counter(_ngrams(ptb(text), 4))
        total += sum(_cider(hypothesis, reference, idf, unseen) for reference in group) / len(group)
    signature = "cider|D|n:4|sigma:6|case:lc|tok:ptb|nrefs:var|as:coco"
    return Score("cider", 10 * total / len(groups), signature, True, scale="0-10")


def meteor(outputs: Sequence[str], references: Sequence[Sequence[str]]) -> Score:
    """METEOR 1.5 for English (Denkowski and Lavie 2014), by its own Java program; 0-100.

    Raises:
        UserError: unequal numbers of outputs and references; Java or the package pycocoevalcap is missing.
    """
    same_number(len(references), "references", len(outputs), "outputs")
    package = find_spec("pycocoevalcap")
    java = shutil.which("java")
    if package is None or not package.submodule_search_locations or java is None:
        raise UserError(f"METEOR 1.5 needs Java and the package pycocoevalcap: {extra('captions')}")
    folder = Path(package.submodule_search_locations[0]) / "meteor"

    def run(lines: Sequence[str]) -> list[str]:
        command = [java, "-jar", "-Xmx2G", "meteor-1.5.jar", "-", "-", "-stdio", "-l", "en", "-norm"]
        text = "".join(f"{line}\n" for line in lines)
        try:
            done = subprocess.run(command, cwd=folder, input=text, capture_output=True, check=True, encoding="utf-8")
        except (OSError, subprocess.CalledProcessError) as e:
            raise UserError(f"METEOR's Java program failed: {e}") from e
        return done.stdout.split("\n")

    rows = [[*map(_joined, group), _joined(text)] for text, group in zip(outputs, references, strict=True)]
    statistics = run([" ||| ".join(["SCORE", *row]) for row in rows])[: len(rows)]
    value = float(run([" ||| ".join(["EVAL", *statistics])])[len(rows)])
    return Score("meteor", 100 * value, "meteor|1.5|en|norm|tok:ptb|nrefs:var|as:coco", True, scale="0-100")


def ptb(text: str) -> Tokens:
    """Tokens of the Penn Treebank in lower case without punctuation, as MS-COCO's evaluation uses them.

    A regular expression instead of the Stanford tokeniser; pounds become `#` as there.
    """
    tokens = _PTB.findall(text.lower().replace("’", "'").replace("£", " # "))
    return [token for token in tokens if token not in _PUNCTUATION]


def _joined(text: str) -> str:
    return " ".join(ptb(text))


def _mteval(text: str) -> Tokens:
    return str(_TOKENIZE(text.lower())).split()


def _ngrams(tokens: Tokens, longest: int) -> Iterator[NGram]:
    return (tuple(tokens[i : i + n]) for n in range(1, longest + 1) for i in range(len(tokens) - n + 1))


def _information(gram: NGram, counts: Counter[NGram]) -> float:
    return math.log2(counts[gram[:-1]] / counts[gram])


def _nist_penalty(ratio: float) -> float:
    return 0.0 if ratio <= 0 else math.exp(BETA * math.log(min(ratio, 1.0)) ** 2)


def _rouge_l(tokens: Tokens, group: Sequence[Tokens], beta: float = 1.2) -> float:
    common = [LCSseq.similarity(tokens, reference) for reference in group]
    p = max(common) / max(len(tokens), 1)
    r = max(c / max(len(reference), 1) for c, reference in zip(common, group, strict=True))
    return (1 + beta**2) * p * r / (r + beta**2 * p) if p and r else 0.0


def _cider(hypothesis: Counter[NGram], reference: Counter[NGram], idf: dict[NGram, float], unseen: float) -> float:
    """Equality of two texts, 0-1, as the mean over n of the cosines (their eq. 3 and 4)."""
    lengths = [sum(count for gram, count in grams.items() if len(gram) == 2) for grams in (hypothesis, reference)]
    cosines = 0.0
    for n in range(1, 5):
        g_c, g_s = (
            {gram: count * idf.get(gram, unseen) for gram, count in grams.items() if len(gram) == n}
            for grams in (hypothesis, reference)
        )
        norm = math.sqrt(sum(v * v for v in g_c.values()) * sum(v * v for v in g_s.values()))
        product = sum(min(weight, g_s[gram]) * g_s[gram] for gram, weight in g_c.items() if gram in g_s)
        cosines += product / norm if norm else 0.0
    return cosines / 4 * math.exp(-((lengths[0] - lengths[1]) ** 2) / (2 * SIGMA**2))
