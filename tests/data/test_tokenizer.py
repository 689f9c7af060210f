"""Text to pieces and back: nothing is lost, nothing is taken for a special, and every run gives the same."""

import gzip
import json
import re
import unicodedata
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.config import sections
from antiphon.data.tokenizer import BOS, EOS, LONGEST, PAD, UNK, Tokenizer
from antiphon.errors import UserError

LINES = [
    "<2de> The old lighthouse keeper counts 1024 waves, doesn't he?",
    "<2en> Der alte Leuchtturmwärter zählt 1024 Wellen; nicht wahr?",
    "<2zh> 老灯塔看守人数着一千零二十四道波浪，是不是？",
    "<2ja> 年老いた灯台守は波を数えている。",
    "<2th> ผู้ดูแลประภาคารนับคลื่น",
    "Старый смотритель считает волны: раз, два, три...",
    "حارس المنارة يعد الأمواج",
] * 30
KOREAN = ["등대지기는 파도를 세고 있다.", "값을 읽은 뒤에 다시 읽어 보았다."] * 30
HYPHENS = ["a well-known state-of-the-art lighthouse of 1920-30", "known for the art"] * 30
SYLLABLES = "".join(map(chr, range(0xAC00, 0xD7A4)))  # all 11,172
SYMBOLS = ["<2de>", "<2en>", "<2zh>", "<2ja>", "<2th>"]
HARD = [
    "",
    " ",
    "   ",
    "a",
    " a",
    "  a  b ",
    "\ta\n b\r\n",
    "\u3000全角 空白\u00a0",
    "▁a ▁ ▁▁b▁",
    "<pad><unk><s></s> </s>",
    "<0x41><0xE4>",
    " <0x0A>",
    "你好<s>世界",
    " 你好",
    "x 你",
    "<2de>",
    " <2de>  Wort<2de>",
    "<2de> Wort",
    "<2de>Wort !<2de>",
    "e\u0301 \u0301 か\u3099",
    "👩‍👩‍👧 ❤️ 🇩🇪",
    "\0 \x7f \ufeff \ufffd \U0010ffff",
    "l'été 'tis don’t \"it\"",
    "x" * 1000,
    "波" * 1000,
    "!" * 1000,
    "９ ½ Ⅳ ๓ 〇",
    "등대 값을 ᄀ ᅡ ᆨ 각 가 é 각",
    "well-known -- a-b-c - -d e- 1-2 파-도 波-浪 <a-b>-c",
    "a @-@ b @-@- @--@ @---@-@-@ @-@",
]


def options(**values: object) -> sections.Text:
    return sections.Text.model_validate({"symbols": SYMBOLS, **values})


@pytest.fixture(scope="module")
def trained() -> dict[str, Tokenizer]:
    sizes = {"bpe": 700, "unigram": 700, "word": 200, "char": 400}
    made = {kind: Tokenizer.train(iter(LINES), options(kind=kind), size) for kind, size in sizes.items()}
    made["none"] = Tokenizer.train(LINES, options(normalise="none"), 700)
    made["nfkc"] = Tokenizer.train(LINES, options(normalise="nfkc", lowercase=True), 700)
    made["unknown"] = Tokenizer.train(LINES, options(byte_fallback=False), 500)
    made["jamo"] = Tokenizer.train([*LINES, *KOREAN], options(normalise="jamo"), 700)
    made["hyphens"] = Tokenizer.train([*LINES, *HYPHENS], options(hyphens="split"), 700)
    made["space"] = Tokenizer.train([*LINES, *HYPHENS], options(kind="space"), 200)
    made["tensorflow"] = Tokenizer.train(LINES, options(kind="word", normalise="tensorflow"), 200)
    return made


def read(path: Path) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as file:
        return file.read().removesuffix("\n").split("\n")


# Round trips


@pytest.mark.parametrize("kind", ["bpe", "unigram", "none", "nfkc", "jamo", "hyphens"])
@pytest.mark.parametrize("raw", HARD)
def test_decode_inverts_encode_on_hard_text(trained: dict[str, Tokenizer], kind: str, raw: str) -> None:
    tokenizer = trained[kind]
    ids = tokenizer.encode(raw).ids
    assert tokenizer.decode(ids) == tokenizer.normalised(raw)
    assert not set(ids) & {PAD, UNK, BOS, EOS}
    assert tokenizer.encode_ids([raw]) == [ids]


@pytest.mark.parametrize("kind", ["bpe", "unigram", "none", "jamo", "hyphens"])
@settings(max_examples=150, deadline=None)
@given(
    raw=st.one_of(
        st.text(st.characters(codec="utf-8", exclude_characters="\0")),
        st.text(alphabet="a<>/s0x41pd ▁'你か\u3099\u0301\t"),
        st.text(alphabet="ab-@ 값\u1100\u1161\u11a8\u0301"),
    )
)
def test_decode_inverts_encode_on_any_text(trained: dict[str, Tokenizer], kind: str, raw: str) -> None:
    tokenizer = trained[kind]
    assert tokenizer.decode(tokenizer.encode(raw).ids) == tokenizer.normalised(raw)
    assert tokenizer.normalised(raw) == (raw if kind == "none" else unicodedata.normalize("NFC", raw))


@given(raw=st.text(alphabet=sorted(set("".join(line.split(">")[-1] for line in LINES))), max_size=40))
def test_known_characters_come_back_from_every_kind_but_word(trained: dict[str, Tokenizer], raw: str) -> None:
    for kind in ("bpe", "unigram", "char", "unknown"):
        assert trained[kind].decode(trained[kind].encode(raw).ids) == unicodedata.normalize("NFC", raw)


def test_known_words_come_back_with_their_spacing(trained: dict[str, Tokenizer]) -> None:
    for line in LINES[:7]:
        assert trained["word"].decode(trained["word"].encode(line).ids) == line
    assert trained["word"].encode("The keeper counts 1024.").pieces == ["▁The", "▁keeper", "▁counts", "▁1024", "."]


def test_nfkc_and_lower_case_are_part_of_the_tokenizer(trained: dict[str, Tokenizer]) -> None:
    raw = "ﬁ Ａ ① Ä"
    assert trained["nfkc"].normalised(raw) == "fi a 1 ä" == trained["nfkc"].decode(trained["nfkc"].encode(raw).ids)


def test_unseen_characters_are_unknown_without_bytes(trained: dict[str, Tokenizer]) -> None:
    for kind in ("char", "unknown"):
        assert trained[kind].encode("Ω").ids[-1] == UNK
    assert trained["word"].encode("The zebra").ids[-1] == UNK


@pytest.mark.parametrize("kind", ["bpe", "unigram", "char"])
@pytest.mark.parametrize(
    "files",
    [
        ["multi30k/raw/train.en.gz", "multi30k/raw/train.de.gz"],
        ["anki_cmn_eng/train.tsv.gz"],
        ["small_parallel_enja/train.ja.gz"],
        ["tang_couplets/train.tsv.gz"],
        ["aeslc/train.jsonl.gz"],
    ],
    ids=lambda files: files[0].split("/")[0],
)
def test_real_corpora_come_back(data_folder: Path, files: list[str], kind: str) -> None:
    if not all((data_folder / name).exists() for name in files):
        pytest.skip(f"{files[0]} is not in ANTIPHON_DATA")
    lines = [line for name in files for line in read(data_folder / name)[: 200 if "aeslc" in name else 1500]]
    tokenizer = Tokenizer.train(lines, options(kind=kind, symbols=[]), 4000)
    for line, ids in zip(lines, tokenizer.encode_ids(lines), strict=True):
        assert tokenizer.decode(ids) == unicodedata.normalize("NFC", line)


# Specials, symbols, digits, scripts


def test_specials_come_first_and_symbols_follow(trained: dict[str, Tokenizer]) -> None:
    for tokenizer in trained.values():
        assert tokenizer.pieces(range(9)) == ["<pad>", "<unk>", "<s>", "</s>", *SYMBOLS]


def test_symbols_are_never_cut(trained: dict[str, Tokenizer]) -> None:
    for kind, tokenizer in trained.items():
        for raw in ("<2de> Wellen", "<2de>Wellen", "Wellen!<2de>", "x <2de><2de>", "?<2de>"):
            assert tokenizer.encode(raw).ids.count(4) == raw.count("<2de>"), (kind, raw)
    assert trained["bpe"].encode("<2de> The old").pieces[:2] == ["<2de>", "▁The"]


def test_specials_are_not_learnt_from_a_corpus_that_spells_them() -> None:
    lines = ["</s> <pad> <s> <unk> <0x41> ▁ end</s>"] * 100
    for kind in ("bpe", "unigram", "word", "char", "space"):
        tokenizer = Tokenizer.train(lines, options(kind=kind, symbols=[]), 400)
        ids = tokenizer.encode(lines[0]).ids
        assert min(ids) > EOS
        assert tokenizer.decode(ids) == lines[0]
        assert len(set(json.loads(tokenizer.to_json())["model"]["vocab"])) == len(tokenizer) if kind == "bpe" else True


def test_a_word_is_the_same_piece_first_and_later(trained: dict[str, Tokenizer]) -> None:
    first, later = trained["bpe"].encode("old old").ids
    assert first == later


def test_digits_stand_alone(trained: dict[str, Tokenizer]) -> None:
    pieces = trained["bpe"].encode("old 1024,2014").pieces
    assert pieces == ["▁old", *"▁1024", ",", *"2014"]


def test_scripts_without_spaces_get_no_first_space(trained: dict[str, Tokenizer]) -> None:
    for raw in ("波", "か", "ผ", "。"):
        first = trained["none"].encode(raw).pieces[0]
        assert first.startswith("▁") == (raw == "。")


def test_long_runs_are_split_so_that_time_grows_with_length(trained: dict[str, Tokenizer]) -> None:
    library = tokenizers.Tokenizer.from_str(trained["bpe"].to_json())
    for raw in ("波浪" * 200, "ab" * 200, "." * 200):
        assert library.pre_tokenizer
        words = [word for word, _ in library.pre_tokenizer.pre_tokenize_str(raw)]
        assert "".join(words) == raw and max(map(len, words)) <= LONGEST + 2


# Offsets


@pytest.mark.parametrize(
    ("kind", "raw", "expected"),
    [
        ("char", "a\u0301b 波👩", [(0, 2), (2, 3), (3, 4), (4, 5), (5, 6)]),
        ("none", "Ω你", [(0, 1)] * 2 + [(1, 2)] * 3),
        ("unigram", "你Ωと👩", [(0, 1)] * 3 + [(1, 2)] * 2 + [(2, 3)] * 3 + [(3, 4)] * 4),
    ],
)
def test_offsets_are_spans_of_the_raw_text(
    trained: dict[str, Tokenizer], kind: str, raw: str, expected: list[tuple[int, int]]
) -> None:
    spans = [span for span in trained[kind].encode(raw).offsets if span != (0, 0)]
    assert spans == expected


def test_offsets_leave_out_the_space_before_a_word(trained: dict[str, Tokenizer]) -> None:
    encoded = trained["word"].encode("The old  keeper")
    assert [encoded.pieces[i] for i in (0, 1, 3)] == ["▁The", "▁old", "▁keeper"]
    assert encoded.offsets == [(0, 3), (4, 7), (7, 8), (9, 15)]


@pytest.mark.parametrize("kind", ["bpe", "unigram", "nfkc", "char", "word", "jamo", "hyphens", "space", "tensorflow"])
@settings(max_examples=60, deadline=None)
@given(raw=st.text(alphabet="값a-Ä\u0301ﬁ①波か\u3099👩ö .,<2de>\u00a0", max_size=20))
def test_offsets_stay_inside_the_text_in_order(trained: dict[str, Tokenizer], kind: str, raw: str) -> None:
    encoded = trained[kind].encode(raw)
    assert len(encoded.ids) == len(encoded.pieces) == len(encoded.offsets)
    assert all(0 <= start <= end <= len(raw) for start, end in encoded.offsets)
    starts = [start for start, _ in encoded.offsets]
    assert starts == sorted(starts)


def test_offsets_survive_normalisation(trained: dict[str, Tokenizer]) -> None:
    raw = "ＯＬＤ ﬁ"
    encoded = trained["nfkc"].encode(raw)
    assert encoded.pieces[0] == "▁old"
    assert encoded.offsets[0] == (0, 3)
    assert encoded.offsets[-1] == (4, 5)


# BPE-dropout


def test_no_dropout_is_the_librarys_cut(trained: dict[str, Tokenizer]) -> None:
    tokenizer = trained["bpe"]
    exact = [tokenizer.encode(line).ids for line in LINES[:7] + HARD]
    assert tokenizer.encode_ids(LINES[:7] + HARD, dropout=0.0, seed=7) == exact
    assert tokenizer.encode_ids(LINES[:7] + HARD, dropout=1e-12, seed=7) == exact


def test_full_dropout_leaves_characters(trained: dict[str, Tokenizer]) -> None:
    tokenizer = trained["bpe"]
    (ids,) = tokenizer.encode_ids(["<2de> The old"], dropout=1 - 1e-12)
    assert tokenizer.pieces(ids) == ["<2de>", *"▁The▁old"]


@settings(max_examples=60, deadline=None)
@given(raw=st.text(), seed=st.integers(0, 3))
def test_dropout_loses_nothing(trained: dict[str, Tokenizer], raw: str, seed: int) -> None:
    tokenizer = trained["bpe"]
    (ids,) = tokenizer.encode_ids([raw], dropout=0.3, seed=seed)
    assert tokenizer.decode(ids) == tokenizer.normalised(raw)


def test_dropout_depends_on_seed_and_text_alone(trained: dict[str, Tokenizer]) -> None:
    tokenizer = trained["bpe"]
    together = tokenizer.encode_ids(LINES[:7], dropout=0.2, seed=3)
    tokenizer.encode_ids(LINES[:7], dropout=0.2, seed=4)
    other = Tokenizer.from_json(tokenizer.to_json(), "copy")
    assert [other.encode_ids([line], dropout=0.2, seed=3)[0] for line in reversed(LINES[:7])] == together[::-1]
    assert together != tokenizer.encode_ids(LINES[:7], dropout=0.2, seed=4)


def test_dropout_skips_merges_at_its_rate() -> None:
    tokenizer = Tokenizer.train(["ab"] * 9, sections.Text(byte_fallback=False), 8)  # " ", "a", "b" and one merge
    lengths = [len(ids) for s in range(400) for ids in tokenizer.encode_ids(["ab"], dropout=0.25, seed=s)]
    merged = len(tokenizer.encode_ids(["ab"])[0])
    assert len(set(lengths)) > 1
    assert lengths.count(merged) / 400 == pytest.approx(0.75, abs=0.07)


def test_dropout_needs_bpe(trained: dict[str, Tokenizer]) -> None:
    with pytest.raises(UserError, match=r"text\.kind = 'bpe'"):
        trained["unigram"].encode_ids(["a"], dropout=0.1)


# Hangul letters, hyphens, words between spaces


def test_every_hangul_syllable_comes_back(trained: dict[str, Tokenizer]) -> None:
    tokenizer = trained["jamo"]
    assert tokenizer.decode(tokenizer.encode(SYLLABLES).ids) == SYLLABLES
    assert tokenizer.decode_all(tokenizer.encode_ids(list(SYLLABLES))) == list(SYLLABLES)
    other = unicodedata.normalize("NFD", SYLLABLES)
    assert tokenizer.encode(other).ids == tokenizer.encode(SYLLABLES).ids


def test_syllables_are_letters_inside(trained: dict[str, Tokenizer]) -> None:
    tokenizer = Tokenizer.train(KOREAN, sections.Text(kind="char", normalise="jamo"), 100)
    encoded = tokenizer.encode("읽é")
    assert encoded.pieces[:3] == list(unicodedata.normalize("NFD", "읽"))
    assert encoded.offsets == [(0, 1)] * 3 + [(1, 2)]
    assert tokenizer.decode(tokenizer.encode("릴 닐").ids) == "릴 닐", "unseen syllables of known letters"
    assert trained["jamo"].encode("é").pieces == trained["bpe"].encode("é").pieces, "only Hangul is decomposed"


def test_the_halves_of_a_word_with_a_hyphen_are_words(trained: dict[str, Tokenizer]) -> None:
    encoded = trained["hyphens"].encode("a well-known art")
    assert encoded.pieces == ["▁a", "▁well", "▁@-@", "▁known", "▁art"]
    assert encoded.offsets == [(0, 1), (2, 6), (6, 7), (7, 12), (13, 16)]
    assert encoded.ids[3] == trained["hyphens"].encode("known").ids[0]
    tokenizer = Tokenizer.train(HYPHENS, sections.Text(kind="word", hyphens="split", symbols=["<a-b>"]), 100)
    assert tokenizer.encode("<a-b> state-of").pieces == ["<a-b>", "▁state", "▁@-@", "▁of"]
    assert tokenizer.decode(tokenizer.encode("state-of-the-art 1920-30").ids) == "state-of-the-art 1920-30"


def test_pieces_between_spaces_are_whole(trained: dict[str, Tokenizer]) -> None:
    lines = ["<2de> 4_pho.ne here , (x) </s>\n</s>", "</s> <s> 12 bb"]
    tokenizer = Tokenizer.train(lines * 9, sections.Text(kind="space", symbols=["<2de>"]), 100)
    encoded = tokenizer.encode(lines[0])
    assert encoded.pieces[:6] == ["<2de>", "▁4_pho.ne", "▁here", "▁,", "▁(x)", "▁</s>"]
    for line in (*lines, "12"):
        ids = tokenizer.encode(line).ids
        assert tokenizer.decode(ids) == line
        assert not set(ids) & {PAD, BOS, EOS}
    assert trained["space"].encode("1920-30").ids == trained["space"].encode("of 1920-30").ids[1:]


# The tutorial's standardisation


def standardised(raw: str) -> str:
    kept = re.sub(r"[^ a-z.?!,¿]", "", unicodedata.normalize("NFKD", raw).lower())
    return " ".join(re.sub(r"[.?!,¿]", r" \g<0> ", kept).split(" ")).strip()


@settings(max_examples=200, deadline=None)
@given(raw=st.one_of(st.text(), st.text(alphabet="aÉñ¿?!., \tﬁ-<'7")))
def test_tensorflow_standardisation(trained: dict[str, Tokenizer], raw: str) -> None:
    if "<2" not in raw:
        assert trained["tensorflow"].normalised(raw).split() == standardised(raw).split()
        assert "  " not in trained["tensorflow"].normalised(raw)


def test_tensorflow_standardisation_leaves_symbols(trained: dict[str, Tokenizer]) -> None:
    raw = "<2de>  ¿Todavía está <b>OLD</b>, the?"
    assert trained["tensorflow"].normalised(raw) == "<2de> ¿ todavia esta boldb , the ?"
    assert trained["tensorflow"].encode("<2de> The OLD, the").pieces == ["<2de>", "▁the", "▁old", "▁,", "▁the"]


# JSON


def test_json_is_read_by_the_library_alone_and_by_us(trained: dict[str, Tokenizer]) -> None:
    for tokenizer in trained.values():
        library = tokenizers.Tokenizer.from_str(tokenizer.to_json())
        ours = Tokenizer.from_json(tokenizer.to_json(), "tokenizer.json")
        assert ours.to_json() == tokenizer.to_json()
        assert len(ours) == len(tokenizer)
        for line in LINES[:7] + HARD:
            assert library.encode(line).ids == tokenizer.encode(line).ids == ours.encode(line).ids


# Errors


@pytest.mark.parametrize("symbol", ["de", "<", "<2 de>", "<pad>", "<0x41>", "7x", ""])
def test_bad_symbols_are_refused(symbol: str) -> None:
    with pytest.raises(UserError, match=r"text\.symbols"):
        Tokenizer.train(["a"], sections.Text(symbols=[symbol]), 500)


def test_symbols_that_normalisation_would_change_are_refused() -> None:
    with pytest.raises(UserError, match="'<DE>' is changed to '<de>'"):
        Tokenizer.train(["a"], sections.Text(symbols=["<DE>"], lowercase=True), 500)


def test_ids_out_of_range_are_refused_and_bad_bytes_replaced(trained: dict[str, Tokenizer]) -> None:
    tokenizer = trained["bpe"]
    for wrong in (-1, len(tokenizer)):
        with pytest.raises(UserError, match=f"id {wrong} "):
            tokenizer.decode([5, wrong])
        with pytest.raises(UserError, match=f"id {wrong} "):
            tokenizer.pieces([wrong])
    byte = tokenizer.pieces(range(len(tokenizer))).index("<0xFF>")
    assert tokenizer.decode([BOS, byte, EOS, PAD]) == "\ufffd"


@settings(max_examples=60, deadline=None)
@given(ids=st.lists(st.integers(0, 199)))
def test_any_ids_decode(trained: dict[str, Tokenizer], ids: list[int]) -> None:
    for tokenizer in trained.values():
        assert isinstance(tokenizer.decode([i % len(tokenizer) for i in ids]), str)


def test_half_surrogates_are_refused(trained: dict[str, Tokenizer]) -> None:
    for call in (trained["bpe"].encode, trained["bpe"].normalised, lambda raw: trained["bpe"].encode_ids(["a", raw])):
        with pytest.raises(UserError, match=r"character 1 .*surrogate"):
            call("a\ud800")
    with pytest.raises(UserError, match="surrogate"):
        Tokenizer.train(["a\ud800"], sections.Text(), 500)


def foreign(**changes: object) -> str:
    model = tokenizers.models.WordLevel({"[PAD]": 0, "[UNK]": 1, "a": 2, "b": 3}, unk_token="[UNK]")
    return json.dumps(json.loads(tokenizers.Tokenizer(model).to_str()) | changes)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[1]", "not a tokenizer"),
        ("{}", "not a tokenizer"),
        ('{"model": {"type": "BPE"}}', "not a tokenizer"),
        (foreign(), "ids 0 to 3"),
        (foreign(model={"type": "Nothing"}), "not a tokenizer"),
    ],
)
def test_broken_and_foreign_json_is_refused(content: str, message: str) -> None:
    with pytest.raises(UserError, match=f"model/tokenizer.json: .*{message}"):
        Tokenizer.from_json(content, "model/tokenizer.json")


def test_json_with_added_tokens_is_refused(trained: dict[str, Tokenizer]) -> None:
    library = tokenizers.Tokenizer.from_str(trained["bpe"].to_json())
    library.add_tokens(["more"])
    with pytest.raises(UserError, match="another program"):
        Tokenizer.from_json(library.to_str(), "tokenizer.json")
