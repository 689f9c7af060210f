"""Strings in, results out: the same in any batch, in order, in flat memory, and from a folder as from training."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from antiphon import model_folder
from antiphon.config import loading
from antiphon.config.sections import Config
from antiphon.data.tokenizer import BOS, EOS, PAD, Tokenizer
from antiphon.decoding import batching
from antiphon.decoding.torch_engine import TorchEngine
from antiphon.errors import UserError
from antiphon.nn.model import Model, build, shifted
from antiphon.result import Result
from antiphon.seq2seq import Seq2Seq

WORDS = ["the", "red", "bird", "sings", "loudly", "near", "a", "green", "river", "today"]
RANDOM = np.random.default_rng(0)
TEXTS = [" ".join(RANDOM.choice(WORDS, size)) for size in (3, 9, 1, 5, 2, 7, 4, 12, 1, 6)]
TARGETS = [" ".join(RANDOM.choice(WORDS, size)) for size in (2, 4, 8, 1, 5, 3, 6, 2, 1, 9)]
SMALL = {"embedding": 8, "encoder_hidden": 6, "decoder_hidden": 12, "attention_size": 6}
KINDS: dict[str, dict[str, object]] = {
    "initial": {"decoder": "initial"},
    "bahdanau": {"decoder": "bahdanau", "score": "additive", "cell": "gru"},
    "over_outputs": {"decoder": "over_outputs", "tie": "all", "embedding": 12},
    "coverage": {"decoder": "input_feeding", "score": "additive", "coverage": True},
}


def made(options: dict[str, object], **sections: dict[str, object]) -> Seq2Seq:
    chosen: Config = loading.load(over={"model": SMALL | options, "text": {"kind": "word"}, **sections})
    tokenizer = Tokenizer.train([*TEXTS, *TARGETS], chosen.text, 40)
    torch.manual_seed(5)
    model = build(chosen.model, len(tokenizer), len(tokenizer))
    for weight in model.parameters():
        torch.nn.init.uniform_(weight, -0.7, 0.7)
    return Seq2Seq(TorchEngine(model), chosen, tokenizer, tokenizer)


@pytest.fixture(scope="module", params=KINDS)
def model(request: pytest.FixtureRequest) -> Seq2Seq:
    return made(KINDS[request.param])


@pytest.fixture(scope="module")
def attending() -> Seq2Seq:
    return made(KINDS["bahdanau"])


def network(model: Seq2Seq) -> Model:
    assert isinstance(model.engine, TorchEngine)
    return model.engine.model


def save(model: Seq2Seq, path: Path, config: Config | None = None) -> Path:
    weights = {name: weight.detach().numpy() for name, weight in network(model).named_parameters()}
    model_folder.save(path, config or model.config, model.source, model.target, weights)
    return path


def same(found: list[Result], wanted: list[Result], exact: bool = False) -> None:
    """Equal but for rounding, which another batch changes."""
    assert len(found) == len(wanted)
    for a, b in zip(found, wanted, strict=True):
        assert (a.text, a.pieces, a.finished, a.alignment) == (b.text, b.pieces, b.finished, b.alignment)
        assert [c.text for c in a.candidates] == [c.text for c in b.candidates]
        np.testing.assert_allclose(a.token_log_probs, b.token_log_probs, atol=0 if exact else 1e-5)
        assert a.score == pytest.approx(b.score, abs=0 if exact else 1e-5)
        assert (a.attention is None) == (b.attention is None)
        if a.attention is not None and b.attention is not None:
            np.testing.assert_allclose(a.attention, b.attention, atol=0 if exact else 1e-5)


def test_a_saved_model_writes_what_it_wrote_before(model: Seq2Seq, tmp_path: Path) -> None:
    opened = Seq2Seq.load(save(model, tmp_path / "model"))
    assert opened.config == model.config and opened.source is opened.target
    kept = [name for name, _ in network(opened).named_parameters()]
    assert kept == [name for name, _ in network(model).named_parameters()]  # tied weights are tied again
    same(opened.generate(TEXTS, nbest=3), model.generate(TEXTS, nbest=3), exact=True)
    same(opened.score(TEXTS, TARGETS), model.score(TEXTS, TARGETS), exact=True)


def test_loading_leaves_random_numbers_alone(model: Seq2Seq, tmp_path: Path) -> None:
    path, state = save(model, tmp_path), torch.get_rng_state()
    Seq2Seq.load(path, device="cpu", threads=1)
    assert torch.equal(state, torch.get_rng_state()) and torch.get_num_threads() == 1


@pytest.mark.parametrize("options", [{"beam": 4, "nbest": 2}, {"beam": 1}, {"sample": True, "nbest": 2, "top_k": 5}])
def test_results_do_not_depend_on_the_batch(model: Seq2Seq, options: dict[str, Any]) -> None:
    texts = [*TEXTS, "", TEXTS[0]]
    together = model.generate(texts, max_length=15, **options)
    same(model.generate(texts, max_length=15, batch=1, **options), together)
    same(list(model.stream(iter(texts), max_length=15, batch=3, window=5, **options)), together)
    if "sample" not in options:
        same([model.generate([text], max_length=15, **options)[0] for text in texts], together)


def test_scores_are_the_models_teacher_forced_log_probs(model: Seq2Seq) -> None:
    for text, target, result in zip(TEXTS, TARGETS, model.score(TEXTS, TARGETS), strict=True):
        source = torch.tensor([[*model.source.encode(text).ids, EOS]])
        wanted = torch.tensor([[*model.target.encode(target).ids, EOS]])
        with torch.no_grad():
            logits = network(model).output(network(model)(source, shifted(wanted))[0])[0]  # [U + 1, V]
        logits[:, [PAD, BOS]] = -torch.inf
        log_p = logits.log_softmax(-1).gather(1, wanted[0, :, None])[:, 0].numpy()
        np.testing.assert_allclose(result.token_log_probs, log_p, atol=1e-5)
        assert result.log_prob == pytest.approx(log_p.sum(), abs=1e-4)
        assert result.score == pytest.approx(log_p.mean(), abs=1e-5)  # length_penalty = "average"
        assert (result.text, result.finished, result.truncated) == (target, True, False)


def test_what_was_written_scores_as_it_was_found(model: Seq2Seq) -> None:
    found = model.generate(TEXTS, beam=3, no_unk=True, min_length=1, max_length=8)
    again = model.score(TEXTS, [result.text for result in found])
    equal = [(a, b) for a, b in zip(found, again, strict=True) if a.pieces == b.pieces]
    assert equal
    for a, b in equal:  # all pieces, for a search may stop before EOS
        U = len(a.pieces)
        np.testing.assert_allclose(a.token_log_probs[:U], b.token_log_probs[:U], atol=1e-5)


def test_scores_do_not_depend_on_the_batch(model: Seq2Seq, monkeypatch: pytest.MonkeyPatch) -> None:
    together = model.score(TEXTS, TARGETS)
    for budget in (1, 40):
        monkeypatch.setattr(batching, "SCORED", budget)
        same(model.score(TEXTS, TARGETS), together)


def test_batches_to_score_keep_the_budget() -> None:
    lengths = [(int(s), int(t)) for s, t in RANDOM.integers(1, 400, (3000, 2))]
    batches = list(batching.budgeted([*lengths, (9, 99999)]))
    assert sorted(i for rows in batches for i in rows) == list(range(3001))
    assert [3000] in batches
    for rows in batches:
        used = len(rows) * sum(max(lengths[i][side] for i in rows) for side in (0, 1)) if rows != [3000] else 0
        assert used <= batching.SCORED
    assert len(list(batching.budgeted([(1, 1)] * 100_000))) == 13


def test_the_penalty_of_a_score_can_be_chosen(model: Seq2Seq) -> None:
    [result] = model.score([TEXTS[0]], ["river the red"], length_penalty="none")
    assert result.score == result.log_prob


def test_a_result_says_where_each_piece_looked(attending: Seq2Seq) -> None:
    text = "the green bird"
    [result] = attending.generate([text], max_length=6)
    assert result.source_pieces == ["▁the", "▁green", "▁bird"]
    assert [text[a:b] for a, b in result.source_offsets] == ["the", "green", "bird"]
    assert result.attention is not None
    assert result.attention.shape == (len(result.pieces) + result.finished, 4)
    np.testing.assert_allclose(result.attention.sum(1), 1, atol=1e-5)
    expected = [(u, int(row[:3].argmax())) for u, row in enumerate(result.attention[: len(result.pieces)])]
    assert result.alignment == expected and len(result.token_log_probs) == len(result.attention)


def test_a_result_as_json(attending: Seq2Seq) -> None:
    [result] = attending.generate([TEXTS[0]], nbest=2, max_length=6)
    plain = result.as_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain and "attention" not in plain
    assert plain["text"] == result.text and len(plain["candidates"]) == 1
    attention = json.loads(json.dumps(result.as_dict(attention=True)))["attention"]
    assert result.attention is not None and attention == result.attention.tolist()
    assert made(KINDS["initial"]).generate([TEXTS[0]])[0].as_dict(attention=True)["attention"] is None


def test_candidates_are_the_next_best(attending: Seq2Seq) -> None:
    [result] = attending.generate([TEXTS[0]], beam=4, nbest=3)
    assert len(result.candidates) == 2
    ranked = [(result.finished, result.score), *((c.finished, c.score) for c in result.candidates)]
    assert ranked == sorted(ranked, reverse=True)
    assert len({tuple(result.pieces), *(tuple(c.pieces) for c in result.candidates)}) == 3
    assert not attending.generate([TEXTS[0]], beam=4)[0].candidates


def test_empty_texts_keep_their_line_and_do_not_ask_the_model(attending: Seq2Seq) -> None:
    results = attending.generate(["", TEXTS[0], " \t ", TEXTS[1]])
    same([results[1], results[3]], attending.generate([TEXTS[0], TEXTS[1]]))
    for empty in (results[0], results[2]):
        assert (empty.text, empty.pieces, empty.source_pieces, empty.log_prob, empty.finished) == ("", [], [], 0, True)
    assert attending.generate([]) == [] and attending.score([], []) == []


def test_texts_too_long_are_cut_and_say_so() -> None:
    model = made(KINDS["bahdanau"], data={"max_source_length": 4})
    long, short = "the red bird sings near a river", "the red bird sings"
    cut, whole = model.generate([long, short])
    assert cut.truncated and not whole.truncated
    same([cut], [whole])
    assert cut.source_pieces == ["▁the", "▁red", "▁bird", "▁sings"]
    assert [r.truncated for r in model.score([long, short], ["a", "a"])] == [True, False]


def test_outputs_begin_with_their_prefixes(model: Seq2Seq) -> None:
    prefixes = ["the green ", "", "river"] * 3 + ["a"]
    results = model.generate(TEXTS, prefixes=prefixes, max_length=8)
    free = model.generate(TEXTS, max_length=8)
    for prefix, result, unbound in zip(prefixes, results, free, strict=True):
        assert result.pieces[: len(prefix.split())] == [f"▁{word}" for word in prefix.split()]
        if not prefix:
            same([result], [unbound])
    same(list(model.stream(iter(TEXTS), prefixes=iter(prefixes), window=2, max_length=8)), results)


def test_defaults_come_from_the_configuration_and_a_call_is_over_them() -> None:
    model = made(KINDS["initial"], search={"max_length": 3, "beam": 2})
    assert max(len(r.pieces) for r in model.generate(TEXTS)) == 3
    with pytest.raises(UserError, match="nbest = 3 is above beam = 2"):
        model.generate(TEXTS, nbest=3)
    assert max(len(r.pieces) for r in model.generate(TEXTS, max_length=2, beam=1)) == 2


def test_a_stream_reads_no_further_than_its_window(attending: Seq2Seq) -> None:
    read: list[int] = []

    def endless() -> Iterator[str]:
        while True:
            read.append(len(read))
            yield TEXTS[len(read) % len(TEXTS)]

    results = attending.stream(endless(), batch=2, window=6, max_length=4)
    assert not read
    for i in range(14):
        next(results)
        assert len(read) == 6 * (i // 6 + 1)
    single = attending.stream(endless(), window=1, max_length=4)
    read.clear()
    for i in range(3):
        next(single)
        assert len(read) == i + 1


def test_sampling_depends_on_the_seed_alone(attending: Seq2Seq) -> None:
    def texts(**options: Any) -> list[str]:
        return [r.text for r in attending.generate(TEXTS, sample=True, max_length=10, **options)]

    assert texts(seed=2) == texts(seed=2) != texts(seed=3)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"beem": 3}, "no search option is called 'beem'; did you mean 'beam'"),
        ({"beam": "3"}, "beam = '3': must be of the type int"),
        ({"beam": 0}, "beam = 0: must be 1 or more"),
        ({"beam": True}, "beam = True: must be of the type int"),
        ({"no_unk": 1}, "no_unk = 1: must be of the type bool"),
        ({"batch": 0}, "batch = 0"),
        ({"prefixes": ["a"]}, r"1 prefixes for 10 texts"),
    ],
)
def test_bad_options_are_refused_before_any_work(model: Seq2Seq, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        model.generate(TEXTS, **options)
    if "prefixes" not in options:
        with pytest.raises(UserError, match=message):
            model.stream(TEXTS, **options)  # before the first result is asked for


def test_numbers_of_numpy_are_numbers(attending: Seq2Seq) -> None:
    options: dict[str, Any] = {"beam": np.int64(2), "alpha": 1}
    same(attending.generate(TEXTS, **options), attending.generate(TEXTS, beam=2, alpha=1.0))


def test_texts_that_are_no_list_or_not_as_many_are_refused(attending: Seq2Seq) -> None:
    with pytest.raises(UserError, match=r"write generate\(\[text\]\)"):
        attending.generate("the bird")
    with pytest.raises(UserError, match=r"write stream\(\[text\]\)"):
        attending.stream("the bird")
    with pytest.raises(UserError, match=r"write score\(\[source\], \[target\]\)"):
        attending.score("the bird", "the bird")
    with pytest.raises(UserError, match="2 sources and 1 targets"):
        attending.score(["a", "b"], ["a"])
    with pytest.raises(UserError, match="only 2 prefixes"):
        list(attending.stream(iter(TEXTS), prefixes=iter(["", ""])))


def test_weights_that_do_not_fit_are_named_with_both_shapes(attending: Seq2Seq, tmp_path: Path) -> None:
    values = attending.config.model_dump()
    wider = loading.from_dict(values | {"model": values["model"] | {"embedding": 9}}, "here")
    with pytest.raises(UserError, match=r"weight 'source_embedding\.weight' has shape \[\d+, 8\].* ask for \[\d+, 9\]"):
        Seq2Seq.load(save(attending, tmp_path / "wider", wider))
    deeper = loading.from_dict(values | {"model": values["model"] | {"encoder_layers": 2}}, "here")
    with pytest.raises(UserError, match=r"has no weight 'encoder\..*' of shape \["):
        Seq2Seq.load(save(attending, tmp_path / "deeper", deeper))
    deep = made(KINDS["bahdanau"] | {"encoder_layers": 2})
    with pytest.raises(UserError, match=r"weight 'encoder\..*' is not in a model of this configuration"):
        Seq2Seq.load(save(deep, tmp_path / "shallower", attending.config))
    impossible = loading.from_dict(values | {"model": values["model"] | {"bridge": "last", "merge": "sum"}}, "here")
    impossible = impossible.model_copy(update={"model": impossible.model.model_copy(update={"decoder_hidden": 11})})
    with pytest.raises(UserError, match=r"config\.json: model\.bridge = 'last'"):
        Seq2Seq.load(save(attending, tmp_path / "impossible", impossible))


def test_a_device_that_is_not_there_is_refused(attending: Seq2Seq, tmp_path: Path) -> None:
    save(attending, tmp_path)
    for device in ("tpu9", "cuda:99"):
        with pytest.raises(UserError, match=f"device {device}: .*; known: auto, cpu, cuda"):
            Seq2Seq.load(tmp_path, device=device)


def test_without_torch_one_is_told_what_to_install(attending: Seq2Seq, tmp_path: Path) -> None:
    save(attending, tmp_path)
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from antiphon import Seq2Seq; from antiphon.errors import UserError\n"
        "try:\n    Seq2Seq.load(sys.argv[1])\nexcept UserError as e:\n    print(e)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("to run a model PyTorch is needed: install the extra"), done.stderr


def test_an_ensemble_of_folders(attending: Seq2Seq, tmp_path: Path) -> None:
    first, other = save(attending, tmp_path / "a"), save(made({"decoder": "over_outputs"}), tmp_path / "b")
    same(Seq2Seq.ensemble([first, first]).generate(TEXTS), attending.generate(TEXTS))
    weighed = Seq2Seq.ensemble([first, other], [0.0, 2.0]).generate(TEXTS, nbest=2)
    same(weighed, Seq2Seq.load(other).generate(TEXTS, nbest=2))
    mixed = Seq2Seq.ensemble([first, other])
    p = [np.exp(m.score(TEXTS, TARGETS)[0].token_log_probs) for m in (Seq2Seq.load(first), Seq2Seq.load(other))]
    assert np.exp(mixed.score(TEXTS, TARGETS)[0].token_log_probs) == pytest.approx(np.mean(p, axis=0), rel=1e-4)


def test_an_ensemble_needs_equal_vocabularies(attending: Seq2Seq, tmp_path: Path) -> None:
    first, other = save(attending, tmp_path / "a"), tmp_path / "b"
    tokenizer = Tokenizer.train([*TEXTS, *TARGETS, *["owl"] * 50], attending.config.text, len(attending.source))
    weights = {name: weight.detach().numpy() for name, weight in network(attending).named_parameters()}
    model_folder.save(other, attending.config, tokenizer, tokenizer, weights)
    with pytest.raises(UserError, match="splits the source into other pieces"):
        Seq2Seq.ensemble([first, other])


def test_vectors_are_the_decoders_first_state(attending: Seq2Seq) -> None:
    texts = TEXTS[:3]
    vectors = attending.vectors(texts)
    ids = torch.tensor([[*attending.source.encode_ids([texts[1]])[0], EOS]])
    _, state = network(attending).encode(ids)
    assert vectors.shape == (3, 12) and vectors[1] == pytest.approx(state["s"].detach().numpy().ravel(), abs=1e-6)
    with pytest.raises(UserError, match="text 2 is blank"):
        attending.vectors(["the bird", " "])


def test_phrases_are_held_and_kept_out(attending: Seq2Seq) -> None:
    free = attending.generate(TEXTS, min_length=2, max_length=12)
    wanted = [["green river"], [], ["bird", "loudly"]] + [[]] * (len(TEXTS) - 3)
    held = attending.generate(TEXTS, wanted=wanted, min_length=2, max_length=12)
    for phrases, result in zip(wanted, held, strict=True):
        assert all(f" {phrase} " in f" {result.text} " for phrase in phrases), result.text
    same(held[3:], free[3:])
    first = [result.text.split()[:1] for result in free]
    assert any(first)
    kept = attending.generate(TEXTS, unwanted=first, min_length=2, max_length=12)
    for words, result in zip(first, kept, strict=True):
        assert not set(words) & set(result.text.split())
    streamed = list(
        attending.stream(
            iter(TEXTS), wanted=iter(wanted), unwanted=iter([[]] * 10), window=3, min_length=2, max_length=12
        )
    )
    same(streamed, held)


def test_phrases_of_unknown_words(attending: Seq2Seq) -> None:
    with pytest.raises(UserError, match="cannot write the wanted phrase 'zebra'"):
        attending.generate(TEXTS, wanted=[["zebra"]] * 10)
    same(attending.generate(TEXTS, unwanted=[["zebra"]] * 10), attending.generate(TEXTS))


def test_a_users_order_decides(attending: Seq2Seq) -> None:
    listed = attending.generate(TEXTS, nbest=3)
    turned = attending.generate(TEXTS, nbest=3, order=lambda source, texts: list(range(len(texts)))[::-1])
    assert [r.text for r in turned] == [r.candidates[-1].text for r in listed]
    with pytest.raises(UserError, match=r"order gave \[0, 0, 0\] for 3 outputs"):
        attending.generate(TEXTS, nbest=3, order=lambda source, texts: [0] * len(texts))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"wanted": [["a"]]}, "1 lists of wanted phrases for 10 texts"),
        ({"unwanted": [["a"]]}, "1 lists of unwanted phrases for 10 texts"),
        ({"wanted": [["a"]] * 10, "sample": True}, "need beam search"),
    ],
)
def test_phrases_that_cannot_be_are_told(attending: Seq2Seq, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        attending.generate(TEXTS, **options)
