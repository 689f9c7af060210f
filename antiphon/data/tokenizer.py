"""Raw text to pieces (subword tokens) and ids, and back: BPE, unigram, words or characters on `tokenizers`.

One JSON document holds everything: normaliser, pre-tokenisation pattern, vocabulary, decoder; but Hangul letters are
composed to syllables here, because no decoder of the library can do it. A piece includes the
space before it (" dog"), so that joining pieces gives the text back. Texts in scripts with spaces get one more space
at their start, so that a word is the same piece at the start of a sentence and later; the decoder removes it.

The specials are entries of the vocabulary only. No raw text can become one, because no pre-token has both letters or
digits and signs such as "<": "</s>" in a corpus is split into "</", "s", ">". The same holds for the byte pieces
<0x00>..<0xFF>.
"""

import hashlib
import json
import random
import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import accumulate, groupby, pairwise
from typing import Any, NamedTuple

import tokenizers
from tokenizers import Regex, decoders, normalizers, pre_tokenizers

from antiphon.config.sections import Text
from antiphon.data import vocabulary
from antiphon.errors import UserError

PAD, UNK, BOS, EOS = 0, 1, 2, 3
SPECIALS = ["<pad>", "<unk>", "<s>", "</s>"]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]

# Scripts written without spaces: Thai, Lao, Tibetan, Myanmar, Khmer, Chinese characters, kana, Bopomofo. As ranges and
# not as script names, because the engines that read the JSON (Rust, JavaScript) agree on ranges.
UNSPACED = (
    "\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u19e0-\u19ff\u2e80-\u2fdf\u3005-\u3007\u3041-\u312f\u31a0-\u31bf"
    "\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U0001b000-\U0001b16f\U00020000-\U0003ffff"
)
JAMO = "[\u1100-\u1112]", "[\u1161-\u1175]"  # the consonants and the vowels that begin a Hangul syllable
HYPHEN = " @-@ "  # in place of a hyphen between words, as Moses's tokenizer writes it (option -a)
LONGEST = 64  # characters of the longest pre-token; unpunctuated Chinese or Thai would be one "word" a line
BANK_BITS = 5  # 2 ** 5 different segmentations of a word by BPE-dropout
BANK_ENTRIES = 500_000  # segmentations kept at a time, so that memory stays flat


class Pieces(NamedTuple):
    """A text split into pieces."""

    ids: list[int]
    pieces: list[str]  # for people: spaces are shown as "▁"
    offsets: list[tuple[int, int]]  # character spans in the raw text, without the space before a word


class Tokenizer:
    """Text to ids and back; made by `train` or `from_json`."""

    def __init__(self, hf: tokenizers.Tokenizer) -> None:
        self._hf = hf
        self._bank_of: tuple[float, int] = (0.0, 0)
        self._bank: dict[tuple[str, int], list[int]] = {}

    @classmethod
    def train(cls, lines: Iterable[str], options: Text, size: int) -> "Tokenizer":
        """Learn a vocabulary.

        The same lines in the same order give the same JSON. A large corpus is sampled at random.

        Args:
            lines: raw texts; read once.
            options: kind, normalisation and symbols.
            size: largest number of pieces, specials included; fewer where the text does not have as many.

        Raises:
            UserError: there is no text, a symbol is not allowed, or `size` is too small.
        """
        symbols = _checked_symbols(options)
        normaliser = _normaliser(options)
        with_bytes = options.byte_fallback and options.kind in ("bpe", "unigram")
        reserved = SPECIALS + symbols + (BYTES if with_bytes else [])
        sample = vocabulary.sample(lines, _generator("sample"))
        for i, line in enumerate(sample):  # in place: two copies of the sample would double the memory
            sample[i] = normaliser.normalize_str(_valid(line))
        pattern = _pattern(options, symbols)
        model = vocabulary.learn(sample, options.kind, pattern, size, reserved, _either(symbols))
        hf = tokenizers.Tokenizer(model)
        hf.normalizer = normaliser
        hf.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), "isolated")
        hf.decoder = _decoder(options, symbols, with_bytes)
        return cls(hf)

    @classmethod
    def from_json(cls, text: str, origin: str) -> "Tokenizer":
        """Read a tokenizer back.

        Args:
            text: what `to_json` gave.
            origin: file name for error messages.

        Raises:
            UserError: the text is no tokenizer, or one of another program.
        """
        advice = "use the tokenizer file that antiphon wrote into the model folder"
        try:
            document = json.loads(text)
        except ValueError as e:
            raise UserError(f"{origin}: not a tokenizer: not JSON: {e}; {advice}") from e
        try:
            hf = tokenizers.Tokenizer.from_str(text)
        except Exception as e:  # the library raises plain Exception
            raise UserError(f"{origin}: not a tokenizer: {e}; {advice}") from e
        first = [hf.id_to_token(i) for i in range(len(SPECIALS))]
        if first != SPECIALS:
            raise UserError(f"{origin}: ids 0 to 3 are {first}, not {SPECIALS}; {advice}")
        if document.get("added_tokens") or sorted(hf.get_vocab().values()) != list(range(hf.get_vocab_size())):
            raise UserError(f"{origin}: a tokenizer of another program (added tokens or gaps among the ids); {advice}")
        return cls(hf)

    def to_json(self) -> str:
        """One JSON document; `tokenizers.Tokenizer.from_str` reads it and encodes alike."""
        return self._hf.to_str()

    def __len__(self) -> int:
        return self._hf.get_vocab_size()

    def encode(self, text: str) -> Pieces:
        """Split a text into pieces; no <s> or </s> is added.

        Raises:
            UserError: the text is not valid Unicode.
        """
        encoding = self._hf.encode(_valid(text), add_special_tokens=False)
        spans = _spans(text, encoding.tokens, encoding.offsets)
        return Pieces(encoding.ids, [_shown(piece) for piece in encoding.tokens], spans)

    def encode_ids(self, texts: Sequence[str], dropout: float = 0.0, seed: int = 0) -> list[list[int]]:
        """Tokenise many texts.

        BPE-dropout (Provilkov 2020, algorithm 1) is approximated for speed: under one seed a word has at most 32
        segmentations, and each occurrence gets one of them at random. Random numbers depend on the seed and the text
        alone, so results do not depend on the order of calls, on batches or on processes; equal texts get equal
        segmentations under one seed.

        Args:
            texts: raw texts.
            dropout: chance that a merge is skipped; 0: the one best segmentation.
            seed: another seed gives other segmentations.

        Returns:
            The ids of each text.

        Raises:
            UserError: a text is not valid Unicode, or dropout is asked of another kind than BPE.
        """
        if dropout > 0:
            return [self._encode_dropout(text, dropout, seed) for text in texts]
        try:
            return [e.ids for e in self._hf.encode_batch_fast(list(texts), add_special_tokens=False)]
        except TypeError:
            for text in texts:
                _valid(text)
            raise

    def decode(self, ids: Sequence[int]) -> str:
        """Join the pieces of ids to a text.

        An unknown piece is written <unk>, the other specials are left out, and bytes that are not UTF-8 become U+FFFD.

        Raises:
            UserError: an id is not in the vocabulary.
        """
        kept = [i for i in self._checked(ids) if i >= len(SPECIALS) or i == UNK]
        return self._composed(self._hf.decode(kept, skip_special_tokens=False))

    def decode_all(self, rows: Sequence[Sequence[int]]) -> list[str]:
        """Join the pieces of many texts; see `decode`."""
        kept = [[i for i in self._checked(ids) if i >= len(SPECIALS) or i == UNK] for ids in rows]
        return [self._composed(text) for text in self._hf.decode_batch(kept, skip_special_tokens=False)]

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """The pieces of the ids, for people: spaces are shown as "▁".

        Raises:
            UserError: an id is not in the vocabulary.
        """
        return [_shown(self._hf.id_to_token(i) or "") for i in self._checked(ids)]

    def normalised(self, text: str) -> str:
        """What `decode` gives for the ids of a text whose characters are all known."""
        changed = self._hf.normalizer.normalize_str(_valid(text))
        back: str = self._hf.decoder.decode(list(changed))  # by character, since "<0x41>" whole would be a byte
        return self._composed(back)

    def parts(self, other: "Tokenizer") -> list[list[int]]:
        """The ids here of another vocabulary's pieces.

        Returns:
            For each piece of the other, by id: the id of the same piece here; else the ids of the known pieces that its
            text is split into here; none for a special or byte piece that is not here.
        """
        reserved = {*SPECIALS, *BYTES}
        return [
            [self._vocabulary[piece]] if piece in self._vocabulary else [] if piece in reserved else self._known(piece)
            for piece in sorted(other._vocabulary, key=other._vocabulary.__getitem__)
        ]

    def _composed(self, text: str) -> str:
        return unicodedata.normalize("NFC", text) if self._decomposes else text

    @cached_property
    def _decomposes(self) -> bool:
        return "\u1100" in self._hf.normalizer.normalize_str("\uac00")  # "가"

    def _known(self, piece: str) -> list[int]:
        """The ids of the known pieces that a piece's text, which is normalised already, is split into."""
        words = self._hf.pre_tokenizer.pre_tokenize_str(piece)
        return [token.id for word, _ in words for token in self._hf.model.tokenize(word) if token.id != UNK]

    def _checked(self, ids: Sequence[int]) -> list[int]:
        ids = list(map(int, ids))
        if ids and not 0 <= min(ids) <= max(ids) < len(self):
            wrong = next(i for i in ids if not 0 <= i < len(self))
            raise UserError(f"id {wrong} is not in a vocabulary of {len(self)}; is it from another model's tokenizer?")
        return ids

    @cached_property
    def _vocabulary(self) -> dict[str, int]:
        return self._hf.get_vocab()

    @cached_property
    def _ranks(self) -> dict[tuple[str, str], int]:
        model = json.loads(self.to_json())["model"]
        if model["type"] != "BPE":
            raise UserError(f"BPE-dropout needs text.kind = 'bpe'; this vocabulary has the type {model['type']}")
        return {(left, right): rank for rank, (left, right) in enumerate(model["merges"])}

    @cached_property
    def _symbols(self) -> set[str]:
        learnt = {left + right for left, right in self._ranks}
        return {piece for piece in self._vocabulary if len(piece) > 1 and piece not in learnt}

    def _encode_dropout(self, text: str, dropout: float, seed: int) -> list[int]:
        if self._bank_of != (dropout, seed) or len(self._bank) > BANK_ENTRIES:
            self._bank_of, self._bank = (dropout, seed), {}
        words = self._hf.pre_tokenizer.pre_tokenize_str(self._hf.normalizer.normalize_str(_valid(text)))
        choose = _generator(seed, text)
        ids: list[int] = []
        for word, _ in words:
            key = (word, choose.getrandbits(BANK_BITS))
            if key not in self._bank:
                parts = [word] if word in self._symbols else _merged(word, self._ranks, dropout, _generator(seed, *key))
                self._bank[key] = [i for part in parts for i in self._ids_of(part)]
            ids += self._bank[key]
        return ids

    def _ids_of(self, part: str) -> list[int]:
        if part in self._vocabulary:
            return [self._vocabulary[part]]
        if BYTES[0] in self._vocabulary:
            return [self._vocabulary[BYTES[byte]] for byte in part.encode()]
        return [UNK]


def _merged(word: str, ranks: dict[tuple[str, str], int], dropout: float, generator: random.Random) -> list[str]:
    """Merge a word's characters; each merge is skipped with probability `dropout` (Provilkov 2020, algorithm 1)."""
    parts = list(word)
    while True:
        pairs = enumerate(pairwise(parts))
        merges = [(ranks[pair], i) for i, pair in pairs if pair in ranks and generator.random() >= dropout]
        if not merges:
            return parts
        _, i = min(merges)
        parts[i : i + 2] = [parts[i] + parts[i + 1]]


def _generator(*key: object) -> random.Random:
    """Random numbers that depend on the key alone, on every computer (Python's own `hash` differs by process)."""
    digest = hashlib.blake2b("\0".join(map(str, key)).encode(), digest_size=8).digest()
    return random.Random(int.from_bytes(digest))


def _valid(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as e:
        raise UserError(
            f"character {e.start} of a text is half a surrogate pair (U+{ord(text[e.start]):04X}), which is not valid "
            "Unicode; read the text as UTF-8 with errors='replace'"
        ) from e
    return text


def _shown(piece: str) -> str:
    return piece.replace(" ", "▁")


def _spans(text: str, pieces: list[str], offsets: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The characters of the raw text that each piece stands for, from the offsets that the library gives."""
    spans = _by_character(pieces, offsets)
    spans = _without_spaces(text, pieces, spans)
    return _with_marks(text, spans, offsets)


def _by_character(pieces: list[str], offsets: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Give a byte piece the span of its own character.

    The unigram model gives a run of unknown characters as one span. In UTF-8 each byte but a continuation byte
    (0x80..0xBF) begins a character.
    """
    spans = []
    for (start, end), group in groupby(zip(pieces, offsets, strict=True), key=lambda pair: pair[1]):
        run = [piece for piece, _ in group]
        begins = [not _continues(piece) for piece in run]
        if end - start > 1 and all(map(_is_byte, run)) and sum(begins) == end - start:
            characters = [start + count - 1 for count in accumulate(begins)]
            spans += [(character, character + 1) for character in characters]
        else:
            spans += [(start, end)] * len(run)
    return spans


def _without_spaces(text: str, pieces: list[str], spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Leave out the space before a word, which the piece holds, or the hyphen in whose place the space is."""
    return [
        (start + 1 if piece[0] == " " and end - start > 1 and _as_space(text[start], piece) else start, end)
        for piece, (start, end) in zip(pieces, spans, strict=True)
    ]


def _as_space(character: str, piece: str) -> bool:
    return character.isspace() or (character == "-" and piece[1:2] != "-")


def _with_marks(text: str, spans: list[tuple[int, int]], offsets: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Add the accents that normalisation joined to a letter, or removed, to the piece before them."""
    extended = list(spans)
    following = len(text)  # where the next piece begins
    for i, (start, end) in reversed(list(enumerate(spans))):
        if end > start:
            while end < following and unicodedata.combining(text[end]):
                end += 1
            extended[i] = start, end
        if i and offsets[i - 1] != offsets[i]:
            following = offsets[i][0]
    return extended


def _is_byte(piece: str) -> bool:
    return len(piece) == 6 and piece.startswith("<0x")


def _continues(piece: str) -> bool:
    """The piece is a byte that continues a character of UTF-8."""
    return _is_byte(piece) and int(piece[3:5], 16) & 0xC0 == 0x80


def _checked_symbols(options: Text) -> list[str]:
    symbols = list(dict.fromkeys(options.symbols))
    for symbol in symbols:
        if len(symbol) < 2 or re.search(r"\s|\0", symbol) or not re.match(r"[^\w\s]", symbol):
            raise UserError(
                f"text.symbols: '{symbol}' must have at least two characters, begin with a sign and contain no space, "
                "such as <2de>"
            )
        if symbol in SPECIALS or symbol in BYTES:
            raise UserError(f"text.symbols: '{symbol}' is a special piece already; choose another name")
        changed = _normaliser(options).normalize_str(_valid(symbol))
        if changed != symbol:
            raise UserError(
                f"text.symbols: '{symbol}' is changed to '{changed.strip()}' by text.normalise, text.lowercase or "
                "text.hyphens; choose one that does not change"
            )
    return symbols


def _either(symbols: list[str]) -> str:
    """A pattern for any of the symbols, the longest first; without symbols one that never matches."""
    return "|".join(re.escape(s) for s in sorted(symbols, key=lambda s: (-len(s), s))) or "(?!)"


def _first_space(space: str, kind: str, symbols: list[str]) -> str:
    """The place for the additional first space: before spaces and a word or sign that can carry one."""
    without = r"\s" if kind == "space" else rf"\s\p{{N}}{UNSPACED}"
    return rf"(?<![\s\S]){space}(?= *(?!{_either(symbols)})[^{without}])"


def _normaliser(options: Text) -> Any:
    # `Any`: the library's type stubs know no common type of normalisers.
    steps: list[Any] = []
    if options.normalise == "tensorflow":
        steps = _tensorflow(options.symbols)
    elif options.normalise == "jamo":
        steps = _jamo()
    elif options.normalise != "none":
        steps = [{"nfc": normalizers.NFC, "nfkc": normalizers.NFKC}[options.normalise]()]
    if options.lowercase and options.normalise != "tensorflow":
        steps.append(normalizers.Lowercase())
    if options.hyphens == "split":
        between = rf"(?<=[\p{{L}}\p{{M}}\p{{N}}]){_outside(options.symbols)}-(?=[\p{{L}}\p{{M}}\p{{N}}])"
        steps.append(normalizers.Replace(Regex("@(?=-+@)"), "@-"))  # @-@ of the text itself becomes @--@
        steps.append(normalizers.Replace(Regex(between), HYPHEN))
    if options.kind != "char":
        steps.append(normalizers.Replace(Regex(_first_space("", options.kind, options.symbols)), " "))
    return normalizers.Sequence(steps)


def _decoder(options: Text, symbols: list[str], with_bytes: bool) -> Any:
    steps: list[Any] = [decoders.ByteFallback(), decoders.Fuse()] if with_bytes else [decoders.Fuse()]
    if options.kind != "char":
        steps.append(decoders.Replace(Regex(_first_space(" ", options.kind, symbols)), ""))
    if options.hyphens == "split":
        steps += [decoders.Replace(HYPHEN, "-"), decoders.Replace(Regex("@-(?=-+@)"), "@")]
    return decoders.Sequence(steps)


def _jamo() -> list[Any]:
    """NFC for all but Hangul, whose syllables are decomposed.

    NUL, which no corpus has, keeps the first consonant and the vowel apart while NFC composes everything else.
    """
    consonant, vowel = JAMO
    return [
        normalizers.NFD(),
        normalizers.Replace(Regex(f"(?<={consonant})(?={vowel})"), "\0"),
        normalizers.NFC(),
        normalizers.Replace(Regex(f"(?<={consonant})\0(?={vowel})"), ""),
    ]


def _tensorflow(symbols: list[str]) -> list[Any]:
    """The standardisation of TensorFlow's translation tutorial, which leaves symbols alone.

    Runs of spaces become one, since the tutorial then splits at them.
    """
    return [
        normalizers.NFKD(),
        normalizers.Lowercase(),
        normalizers.Replace(Regex(f"{_outside(symbols)}[^ a-z.?!,¿]"), ""),
        *(normalizers.Replace(sign, f" {sign} ") for sign in ".?!,¿"),
        normalizers.Replace(Regex(" +"), " "),
        normalizers.Strip(),
    ]


def _outside(symbols: list[str]) -> str:
    """A pattern that matches before every character but those of symbols."""
    inside = [f"(?<={re.escape(s[:k])}){re.escape(s[k:])}" for s in symbols for k in range(len(s))]
    return f"(?!{'|'.join(inside)})" if inside else ""


def _pattern(options: Text, symbols: list[str]) -> str:
    """The pattern of pre-tokens, which no piece extends beyond; every character belongs to exactly one match.

    Digits are separate, without the space before them: a number is then spelt the same everywhere, none is rare, and a
    model can copy it. Words of the kind `word` are whole numbers, single signs and single characters of scripts
    without spaces. Those of the kind `space` are all that is between spaces; without a space before it, a word ends
    before "<", so that none is a special.
    """
    kind, symbol = options.kind, _either(symbols)
    if options.hyphens == "split":
        symbol = f"{symbol}|{HYPHEN[:-1]}"
    if kind == "char":
        return rf"{symbol}|[\s\S]"
    if kind == "space":
        return rf"{symbol}| (?:(?!{symbol})\S)+|(?:(?!{symbol})[^\s<])+|<|\s"
    number, run, signs = (r" ?\p{N}+", "{0}", "{1}") if kind == "word" else (r"\p{N}", f"{{0,{LONGEST}}}", "{1,16}")
    return "|".join(
        [
            symbol,
            number,
            rf" ?(?!\p{{N}})[{UNSPACED}](?:(?!\p{{N}})[{UNSPACED}\p{{M}}]){run}",
            rf"[ '’]?(?![{UNSPACED}])\p{{L}}(?:(?![{UNSPACED}])[\p{{L}}\p{{M}}]){{0,{LONGEST}}}",
            rf" ?(?:(?!{symbol})[^\s\p{{L}}\p{{N}}{UNSPACED}]){signs}",
            r"\s",
        ]
    )
