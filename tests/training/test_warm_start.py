"""Starting from a model: the same vocabulary gives the same model, another one the same scores of what both have."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tasks import Told, last_checkpoint, options, run, same, weights, write_pairs
from typer.testing import CliRunner

from antiphon import Seq2Seq, model_folder
from antiphon.cli.main import app
from antiphon.config import loading
from antiphon.config.sections import Config, Text
from antiphon.data.tokenizer import SPECIALS, Tokenizer
from antiphon.decoding.torch_engine import TorchEngine
from antiphon.errors import UserError
from antiphon.nn.model import Model
from antiphon.training import warm_start
from antiphon.training.run import Run, open_run


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of a few updates in `model`."""
    place = tmp_path_factory.mktemp("old")
    run(place, options(place, train={"steps": 8, "valid_every": 4, "metric": "loss"}))
    return place


def more(folder: Path, extra: str = "") -> Path:
    """New pairs, with new words where `extra` holds some."""
    path = write_pairs(folder / "more.tsv", 60, seed=9)
    lines = path.read_text("utf-8").splitlines()
    added = [f"a {word} b\tb {word} a" for word in extra.split()]
    path.write_text("\n".join([*lines, *added * 3]) + "\n", "utf-8", newline="\n")
    return path


def from_model(old: Path, folder: Path, extra: str = "", **sections: dict[str, Any]) -> Config:
    """A run that starts from the old model on new pairs."""
    data = {"train": [str(more(folder, extra))], "valid": [str(old / "valid.tsv")]}
    train = {"start": str(old / "model"), "steps": 6, "valid_every": 2, "checkpoint_every": 2}
    given = {name: dict(values) for name, values in sections.items()}
    given["train"] = train | given.get("train", {})
    return loading.load(over={"data": data} | given, started=warm_start.options)


def begun(old: Path, folder: Path, extra: str = "", **sections: dict[str, Any]) -> Run:
    return open_run(from_model(old, folder, extra, **sections), folder / "new", "", Told())


def test_the_options_are_the_old_models_unless_given(old: Path, tmp_path: Path) -> None:
    started, before = from_model(old, tmp_path, train={"seed": 5}), model_folder.load(old / "model").config
    assert (started.model, started.text, started.search) == (before.model, before.text, before.search)
    assert started.train.batch == before.train.batch and started.train.seed == 5
    assert started.data.train == [str(tmp_path / "more.tsv")] and started.data.source == ""


def test_the_same_vocabulary_gives_the_same_outputs(old: Path, tmp_path: Path) -> None:
    made = begun(old, tmp_path, "zebra yak")
    assert made.data.source.to_json() == (old / "model" / "tokenizer.json").read_text("utf-8")
    assert same(dict(made.model.named_parameters()), weights(old / "model" / "model.safetensors"))
    texts = [line.split("\t")[0] for line in (tmp_path / "more.tsv").read_text("utf-8").splitlines()][:20]
    opened = Seq2Seq.load(old / "model", engine="torch")
    other = Seq2Seq(TorchEngine(made.model), made.config, made.data.source, made.data.target)
    for one, two in zip(opened.generate(texts, beam=3), other.generate(texts, beam=3), strict=True):
        assert (one.text, one.log_prob) == (two.text, two.log_prob)


def test_a_grown_vocabulary_keeps_the_old_pieces_logits(old: Path, tmp_path: Path) -> None:
    """In teacher forcing on old words: what differs is the normalisation alone."""
    made = begun(old, tmp_path, "zebra yak", text={"vocabulary": "learn"})
    opened = model_folder.load(old / "model")
    before = Seq2Seq.load(old / "model", engine="torch").engine
    assert isinstance(before, TorchEngine)
    parts = opened.target.parts(made.data.target)
    kept = [(new, ids[0]) for new, ids in enumerate(parts) if ids]
    assert len(made.data.target) > len(kept) > 8
    text = ["a b c d", "h g f"]

    def logits(model: Model, tokenizer: Tokenizer) -> torch.Tensor:
        ids = [[*row, 3] for row in tokenizer.encode_ids(text)]
        source = torch.tensor([row + [0] * (5 - len(row)) for row in ids])
        with torch.no_grad():
            readout, _ = model.eval()(source, source)
            return torch.as_tensor(model.output(readout))

    actual = logits(made.model, made.data.source)[..., [new for new, _ in kept]]
    expected = logits(before.model, opened.source)[..., [i for _, i in kept]]
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-6)


def test_new_pieces_are_made_of_the_old_pieces_of_their_text() -> None:
    text = Text(kind="bpe", size=300, byte_fallback=True)
    first = Tokenizer.train(["low lower lowest slow"] * 4, text, 275)
    second = Tokenizer.train(["low slower slowest owl é"] * 4, text, 285)
    names, others = ({i: piece for piece, i in t._hf.get_vocab().items()} for t in (first, second))
    parts, cut = first.parts(second), 0
    assert len(parts) == len(second)
    for new, ids in enumerate(parts):
        piece = others[new]
        if piece in names.values():
            assert [names[i] for i in ids] == [piece]
        else:
            cut += 1
            known = "".join(bytes([int(n[3:5], 16)]).decode("latin-1") if n.startswith("<0x") else n
                            for n in (names[i] for i in ids))  # fmt: skip
            assert known.encode("latin-1").decode() == piece  # bytes where letters are new
    assert cut > 2
    rows = np.random.default_rng(1).normal(size=(len(first), 3)).astype(np.float32)
    initial = np.full((len(second), 3), 7, np.float32)
    for new, row in enumerate(warm_start.mapped(rows, parts, initial)):
        np.testing.assert_allclose(row, np.mean([rows[i] for i in parts[new]], axis=0), rtol=1e-6)


def test_what_nothing_is_known_of_keeps_its_initial_rows() -> None:
    words = Text(kind="word", size=50)
    first, second = (Tokenizer.train([text] * 3, words, 50) for text in ("a b", "a owl b"))
    initial = np.random.default_rng(2).normal(size=(len(second), 4)).astype(np.float32)
    rows = warm_start.mapped(np.zeros((len(first), 4), np.float32), first.parts(second), initial)
    unknown = [i for i, ids in enumerate(first.parts(second)) if not ids]
    assert second.pieces(unknown) == ["▁owl"] and (rows[unknown] == initial[unknown]).all()
    assert not np.delete(rows, unknown, 0).any()
    specials = Tokenizer.train(["a b"] * 3, Text(kind="bpe", size=300), 270)
    assert [ids for ids in first.parts(specials)[4:260] if ids] == []  # bytes, which words do not have
    assert first.parts(specials)[: len(SPECIALS)] == [[0], [1], [2], [3]]


@pytest.mark.parametrize("vocabulary", ["keep", "learn"])
def test_a_stopped_run_goes_on_bit_for_bit(old: Path, tmp_path: Path, vocabulary: str) -> None:
    chosen: dict[str, Any] = {"text": {"vocabulary": vocabulary}, "train": {"ema": 0.9}}
    whole = from_model(old, tmp_path, "zebra", **chosen)
    run(tmp_path, whole, "whole")
    first = whole.model_copy(update={"train": whole.train.model_copy(update={"steps": 4})})
    run(tmp_path, first, "parts")
    run(tmp_path, whole, "parts")
    assert same(last_checkpoint(tmp_path / "whole"), last_checkpoint(tmp_path / "parts"))
    before, after = (weights(place / "model.safetensors") for place in (old / "model", tmp_path / "whole"))
    assert not same(before, after)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"model": {"encoder_hidden": 24}}, r"do not fit.*model\.encoder_hidden was 16, now 24"),
        ({"model": {"embedding": 24}}, r"do not fit.*model\.embedding was 16, now 24"),
        ({"model": {"cell": "gru"}}, r"do not fit.*model\.cell was 'lstm', now 'gru'"),
        ({"model": {"tie": "decoder", "readout_size": 16}}, r"do not fit.*model\.tie was 'none', now 'decoder'"),
        ({"text": {"size": 40}}, r"text\.size = 40, but the vocabulary of .* has 50.*text\.vocabulary = 'learn'"),
        ({"text": {"joint": False}}, r"text\.joint = False, but .*text\.vocabulary = 'learn'"),
    ],
)
def test_what_does_not_fit_is_named(old: Path, tmp_path: Path, sections: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        begun(old, tmp_path, **sections)
    assert not (tmp_path / "new" / "model.safetensors").exists()


def test_a_joint_vocabulary_may_become_two(old: Path, tmp_path: Path) -> None:
    made = begun(old, tmp_path, text={"vocabulary": "learn", "joint": False})
    opened = model_folder.load(old / "model")
    rows = opened.weights()["target_embedding.weight"]
    for new, piece in enumerate(made.data.target.pieces(range(len(made.data.target)))):
        same_piece = opened.target.pieces(range(len(opened.target))).index(piece)
        np.testing.assert_array_equal(made.model.target_embedding.weight[new].detach().numpy(), rows[same_piece])


def test_weights_that_the_pretrained_model_lacks_keep_their_initial_values_and_are_named(
    old: Path, tmp_path: Path
) -> None:
    place = tmp_path / "plain"
    place.mkdir()
    run(place, options(place, model={"decoder": "input_feeding"}, train={"steps": 1}))
    started = begun(place, tmp_path, model={"coverage": True})
    assert isinstance(started.reporter, Told)
    (message,) = [text for text in started.reporter.messages if "has no weights for" in text]
    assert "w_c" in message and "model.coverage was False, now True" in message


def test_the_command_line_starts_from_a_model(old: Path, tmp_path: Path) -> None:
    more(tmp_path)
    arguments = ["train", "--train", str(tmp_path / "more.tsv"), "--from", str(old / "model"), "--out",
                 str(tmp_path / "new"), "--set", "train.steps=1", "--quiet"]  # fmt: skip
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    trained = model_folder.load(tmp_path / "new").config
    assert trained.train.start == str(old / "model") and trained.model == model_folder.load(old / "model").config.model
    assert "warm start from" in result.output
    missing = CliRunner().invoke(app, [*arguments[:4], str(tmp_path / "nothing"), *arguments[5:]])
    assert missing.exit_code == 2 and "no such model folder" in missing.output
