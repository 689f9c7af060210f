"""What a run is: every option declared once, with its meaning, its default and its unit.

A configuration is built in layers, each over the one before: the defaults below, a preset, a TOML file, then
`--set section.key=value`. Unknown keys are errors that name the nearest known one.
"""

import json
import tomllib
from collections.abc import Callable, Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from antiphon.cells import CELLS
from antiphon.errors import UserError, near

Count = Annotated[int, Field(ge=1)]
Whole = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]

Cell = Literal["lstm", "gru", "sru"]
DecoderKind = Literal["initial", "context", "bahdanau", "input_feeding", "over_outputs", "between"]
Score = Literal["dot", "scaled_dot", "general", "additive", "multi_head"]
Bridge = Literal["zero", "last", "dense", "backward"]
Readout = Literal["linear", "tanh", "maxout", "residual"]
Tie = Literal["none", "decoder", "all"]
LayerNorm = Literal["none", "output", "gates"]
Initialisation = Literal["default", "uniform", "bahdanau2015", "keras"]
Schedule = Literal["constant", "halving", "inverse_sqrt", "cosine", "plateau", "exponential"]
Risk = Literal["none", "bleu", "chrf", "ter", "rouge1", "rouge2", "rougeL", "exact_match", "wer", "cer", "per"]
Metric = Literal["loss", "bleu", "chrf", "ter", "rouge1", "rouge2", "rougeL", "exact_match", "wer", "cer", "per"]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def option(default: Any, meaning: str) -> Any:
    return Field(default=default, description=meaning)


class Data(Section):
    """Where the pairs come from."""

    train: list[str] = option(
        [], "training corpora: `pairs.tsv`, `a.en,a.de` (two aligned files), `-`, or `hf:name:split`"
    )
    valid: list[str] = option([], "development corpora; none: pairs are held out of the training data")
    held_out: Count = option(1000, "pairs held out as the development set when none is given; at most a tenth of all")
    source: str = option(
        "", "column name or number (TSV, CSV) or field name (JSON lines) of the source; empty: the first"
    )
    target: str = option(
        "", "column name or number (TSV, CSV) or field name (JSON lines) of the target; empty: the second"
    )
    max_source_length: Count = option(256, "longest source in pieces; longer training pairs are left out and counted")
    max_target_length: Count = option(256, "longest target in pieces; longer training pairs are left out and counted")


class Text(Section):
    """How text becomes pieces."""

    kind: Literal["bpe", "unigram", "word", "char"] = option("bpe", "how text is cut into pieces")
    size: Count = option(8000, "largest number of pieces in a vocabulary, specials included")
    source_size: Whole = option(0, "number of source pieces where the vocabularies are separate; 0: as `size`")
    joint: bool = option(True, "one vocabulary for both sides")
    normalise: Literal["none", "nfc", "nfkc", "tensorflow"] = option(
        "nfc", "Unicode normalisation before cutting; `tensorflow`: the tutorial's standardisation"
    )
    lowercase: bool = option(False, "lower case after normalisation")
    byte_fallback: bool = option(True, "write unseen characters as bytes instead of <unk> (bpe and unigram)")
    symbols: list[str] = option([], "pieces never cut, such as language tags: `<2de>`")
    vocabulary: Literal["keep", "learn"] = option(
        "keep",
        "where training starts from a model: `keep` its vocabulary, or `learn` one from the new data and map the rows",
    )
    slots: list[str] = option(
        [],
        "slots whose values become marks in both texts, `<name>`, and are put back into outputs; sources have them "
        "as `name[The Mill], near[The Inn]` or `inform(name='The Mill';near='The Inn')`",
    )
    slot_constants: list[str] = option(
        ["none", "yes", "no", "true", "false", "dontcare", "dont_care", "?"],
        "values of slots that say something themselves and stay as they are",
    )
    dropout: Rate = option(0.0, "BPE-dropout in training (Provilkov 2020): chance that a merge is skipped")
    dropout_copies: Count = option(
        8, "differently cut copies of the corpus that BPE-dropout cycles through, one an epoch"
    )


class Dialogue(Section):
    """Conversations, for models that answer; see docs/dialogue.md."""

    turns: Whole = option(0, "last turns of a conversation that a source holds; 0: sources are no conversations")
    user: str = option("<user>", "mark before what the user said; a symbol of the text where there are turns")
    model: str = option("<model>", "mark before what the model said, likewise")


class Model(Section):
    """The network; see docs/models.md for the equations."""

    cell: Cell = option("lstm", "recurrent cell of the encoder and the decoder; `sru`: light, all its products at once")
    embedding: Count = option(256, "size of the word embeddings")
    encoder_hidden: Count = option(256, "encoder units a direction and layer")
    encoder_layers: Count = option(1, "encoder depth")
    bidirectional: bool = option(True, "read the source in both directions")
    merge: Literal["concat", "sum"] = option("concat", "how the two directions are joined")
    residual: bool = option(False, "add each recurrent layer's input to its output where their sizes agree")
    reverse_source: bool = option(False, "read the source backwards (Sutskever 2014)")
    bridge: Bridge = option("dense", "how the decoder's first state is made from the encoder's last")
    decoder: DecoderKind = option(
        "over_outputs",
        "`initial`: first state only (Sutskever 2014); `context`: c at every step (Cho 2014); `bahdanau`: attend with "
        "s_{t-1}, then update; `input_feeding`: update, attend, feed back (Luong 2015); `over_outputs`: attend with "
        "all the decoder's outputs at once (Luong without feeding, TensorFlow's tutorial); `between`: the same with "
        "the first layer's outputs, whose contexts the layers above read",
    )
    decoder_hidden: Count = option(512, "decoder units a layer")
    decoder_layers: Count = option(1, "decoder depth")
    score: Score = option("general", "how attention compares a decoder state with an encoder state")
    attention_size: Count = option(512, "units of additive and multi-head attention")
    heads: Count = option(1, "heads of multi-head attention")
    coverage: bool = option(
        False, "attention sees how much it has already attended (See 2017, eq. 11); step-wise decoders only"
    )
    copy_source: bool = option(
        False, "pieces of the source can be copied (pointer-generator, See 2017, eq. 8 and 9); needs attention"
    )
    readout: Readout = option(
        "tanh",
        "from state and context to the output layer: `linear`, `tanh` (Luong eq. 5), `maxout` (Bahdanau's deep "
        "output), `residual` (add and layer norm, the tutorial)",
    )
    readout_size: Whole = option(0, "units of the readout; 0: as the embedding where tied, else as the decoder")
    tie: Tie = option("none", "share embeddings: `decoder`: target embedding and output layer; `all`: the source's too")
    layer_norm: LayerNorm = option("none", "layer normalisation: of each layer's `output`, or of the `gates` (slower)")
    dropout_embedding: Rate = option(0.0, "dropout of embeddings")
    dropout_recurrent: Rate = option(0.0, "dropout of each recurrent layer's output")
    dropout_output: Rate = option(0.0, "dropout before the output layer")
    dropout_word: Rate = option(0.0, "chance that a position's whole embedding is zero (after Gal 2016)")
    init: Initialisation = option("default", "initial weights: Glorot and orthogonal; `uniform`; Bahdanau's; Keras's")
    init_scale: Positive = option(0.1, "half-width of the `uniform` initialisation")


class Train(Section):
    """How the weights are found."""

    start: str = option("", "model folder whose options, vocabulary and weights training starts from")
    source_vectors: str = option(
        "", "word vectors (word2vec, GloVe or fastText, as text; .gz, .zst) that source embeddings start from"
    )
    target_vectors: str = option("", "word vectors that target embeddings start from")
    optimiser: Literal["sgd", "adadelta", "adam", "adamw"] = option("adam", "the optimiser")
    learning_rate: Positive = option(1e-3, "the highest learning rate")
    beta1: Rate = option(0.9, "Adam's first decay")
    beta2: Rate = option(0.999, "Adam's second decay")
    epsilon: Positive = option(1e-8, "Adam's and Adadelta's epsilon")
    rho: Rate = option(0.95, "Adadelta's decay")
    weight_decay: NonNegative = option(0.0, "AdamW's weight decay")
    schedule: Schedule = option("constant", "the learning rate's course after warm-up")
    warmup: Whole = option(0, "updates of linear warm-up")
    decay: Annotated[float, Field(gt=0, le=1)] = option(0.5, "factor of `halving`, `plateau` and `exponential`")
    decay_start: NonNegative = option(5.0, "epochs before `halving` and `exponential` begin")
    decay_every: Positive = option(0.5, "epochs between two steps of `halving` and `exponential`")
    plateau_patience: Count = option(2, "validations without a better score before `plateau` lowers the rate")
    clip: NonNegative = option(1.0, "largest gradient norm; 0: no clipping")
    normalise: Literal["tokens", "sentences"] = option("tokens", "what the summed loss is divided by")
    label_smoothing: Rate = option(0.0, "probability spread evenly over the vocabulary")
    coverage_loss: NonNegative = option(
        0.0, "weight of the loss of attending twice to the same (See 2017, eq. 12 and 13); needs model.coverage"
    )
    scheduled_sampling: Rate = option(0.0, "final chance that an input token is the model's own (Bengio 2015)")
    scheduled_sampling_steps: Count = option(10000, "updates over which that chance rises from 0")
    risk: Risk = option(
        "none", "minimum-risk training (Shen 2016) on this metric of single sentences, best from a trained model"
    )
    risk_samples: Count = option(16, "candidates drawn for each source in minimum-risk training")
    risk_alpha: Positive = option(0.005, "sharpness of the distribution over the candidates (alpha of Shen, eq. 11)")
    risk_reference: bool = option(True, "the reference is a candidate too")
    risk_share: Annotated[float, Field(gt=0, le=1)] = option(
        1.0, "share of the risk in the loss; the rest is the cross entropy"
    )
    batch: Count = option(4096, "size of a batch, in `batch_unit`, a process")
    batch_unit: Literal["tokens", "sentences"] = option(
        "tokens", "what `batch` counts; tokens: target pieces, padding included"
    )
    accumulate: Count = option(1, "batches whose gradients are added before an update")
    ema: Rate = option(0.0, "decay of the averaged weights that are validated and kept; 0: none")
    average_last: Whole = option(0, "keep the mean of the weights at the last k validations; 0: none")
    epochs: Positive = option(30.0, "longest training in passes over the data")
    steps: Whole = option(0, "longest training in updates; 0: no limit")
    minutes: NonNegative = option(0.0, "longest training in minutes of this machine; 0: no limit; not reproducible")
    valid_every: Whole = option(0, "updates between validations; 0: once an epoch")
    valid_start: NonNegative = option(
        0.0, "epochs before the first validation by decoding; the loss is always measured"
    )
    metric: Metric = option("bleu", "what the best model and early stopping go by")
    patience: Whole = option(10, "validations without a better score before training stops; 0: never")
    valid_sentences: Whole = option(500, "development pairs decoded at a validation; 0: all")
    samples: Whole = option(3, "development pairs shown with their outputs at a validation")
    checkpoint_every: Whole = option(0, "updates between checkpoints; 0: at every validation")
    precision: Literal["auto", "float32", "bfloat16"] = option(
        "auto", "bfloat16 products where the hardware is fast at them"
    )
    device: str = option("auto", "`auto`, `cpu`, `cuda`, `cuda:1`")
    threads: Whole = option(0, "processor threads; 0: all cores, shared among the processes")
    seed: Whole = option(1, "seed of everything random")
    tensorboard: bool = option(True, "write TensorBoard files")


class Search(Section):
    """How outputs are looked for, unless a call says otherwise."""

    beam: Count = option(5, "hypotheses kept; 1: greedy")
    length_penalty: Literal["none", "average", "gnmt"] = option(
        "average", "what a hypothesis's log-probability is divided by"
    )
    alpha: NonNegative = option(1.0, "strength of the length penalty: length ** alpha, or GNMT's exponent")
    coverage_penalty: NonNegative = option(0.0, "GNMT's beta; 0: none")
    min_length: Whole = option(0, "fewest pieces of an output")
    max_length: Whole = option(0, "most pieces of an output; 0: twice the source's and 20")
    block_ngrams: Whole = option(0, "never write an n-gram of this size twice; 0: allow")


class Config(Section):
    """A whole run."""

    preset: str = option("", "the preset this configuration started from")
    data: Data = Field(default_factory=Data)
    text: Text = Field(default_factory=Text)
    dialogue: Dialogue = Field(default_factory=Dialogue)
    model: Model = Field(default_factory=Model)
    train: Train = Field(default_factory=Train)
    search: Search = Field(default_factory=Search)


SECTIONS: dict[str, type[Section]] = {
    "data": Data, "text": Text, "dialogue": Dialogue, "model": Model, "train": Train, "search": Search,
}  # fmt: skip


def presets() -> dict[str, str]:
    """Names of the presets and the line that each begins with."""
    files = (f for f in resources.files("antiphon").joinpath("presets").iterdir() if f.name.endswith(".toml"))
    found = sorted(files, key=lambda f: f.name)
    return {f.name.removesuffix(".toml"): f.read_text("utf-8").splitlines()[0].lstrip("# ") for f in found}


def preset_for(pairs: int) -> str:
    """The preset that suits a number of training pairs when the user names none."""
    return "tiny" if pairs < 20_000 else "small" if pairs < 500_000 else "base"


def load(
    preset: str = "",
    files: Iterable[Path] = (),
    sets: Iterable[str] = (),
    over: Mapping[str, Mapping[str, Any]] | None = None,
    started: Callable[[str], Config] | None = None,
) -> Config:
    """Build a configuration from its layers.

    Args:
        preset: name of a preset; empty: none, unless a file names one.
        files: TOML files, each laid over the one before.
        sets: `section.key=value` strings; a value is TOML, or a plain word.
        over: sections and their values that lie over the files and under `sets`, such as command-line flags.
        started: gives the options of the model folder that `train.start` names, which then lie under all others.

    Raises:
        UserError: a file cannot be read, a key is unknown, a value is of the wrong kind or out of range.
    """
    layers: list[tuple[str, dict[str, Any]]] = [(str(f), _toml(f)) for f in files]
    named = ""
    for origin, layer in layers:
        found = layer.pop("preset", "")
        if not isinstance(found, str):
            raise UserError(f"{origin}: preset = {found!r}: write a preset's name in quotes")
        named = found or named
    preset = preset or named
    if preset:
        layers.insert(0, (f"preset {preset}", _preset(preset)))
    layers.append(("command line", {k: dict(v) for k, v in (over or {}).items()}))
    layers += [(f"--set {text}", _set(text)) for text in sets]
    merged = _merged(layers)
    start = merged.get("train", {}).get("start")
    if start and started:
        found = started(start)
        preset = preset or found.preset
        merged = _merged([(f"model {start}", found.model_dump(exclude={"preset"})), *layers])
    config = _with_marks(_validate("configuration", merged | {"preset": preset}))
    check(config)
    return config


def _merged(layers: Iterable[tuple[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """Sections of layers, each with its origin, laid over the ones before."""
    merged: dict[str, Any] = {}
    for origin, layer in layers:
        for name, values in layer.items():
            _check_keys(origin, name, values)
            merged.setdefault(name, {}).update(values)
            _validate(origin, {name: merged[name]})
    return merged


def _with_marks(config: Config) -> Config:
    """The configuration with a conversation's marks among the symbols of the text."""
    if not config.dialogue.turns:
        return config
    symbols = list(dict.fromkeys([*config.text.symbols, config.dialogue.user, config.dialogue.model]))
    return config.model_copy(update={"text": config.text.model_copy(update={"symbols": symbols})})


def setting(text: str, origin: str) -> tuple[str, str, Any]:
    """Read one `section.key=value`; returns its parts, the value checked on its own.

    Raises:
        UserError: no such option, or a value of the wrong kind or out of range.
    """
    layer = _set(text)
    _merged([(origin, layer)])
    ((section, values),) = layer.items()
    ((key, value),) = values.items()
    return section, key, value


def from_dict(values: Any, origin: str) -> Config:
    """Read a configuration back from a model folder, as strictly as from a file."""
    if not isinstance(values, dict):
        raise UserError(f"{origin}: not a configuration: expected sections {', '.join(SECTIONS)}")
    for name, section in values.items():
        if name != "preset":
            _check_keys(origin, name, section)
    config = _validate(origin, values)
    try:
        check(config)
    except UserError as e:
        raise UserError(f"{origin}: {e}") from e
    return config


def to_toml(config: Config) -> str:
    """A configuration as a file that `load` reads; all its values, whatever the preset says."""
    lines = [f"preset = {_toml_value(config.preset)}"] if config.preset else []
    for name in SECTIONS:
        lines += [f"\n[{name}]", *(f"{key} = {_toml_value(value)}" for key, value in getattr(config, name))]
    return "\n".join(lines) + "\n"


def reference() -> str:
    """Every option with its default and meaning, as TOML."""
    lines = []
    for name, section in SECTIONS.items():
        lines.append(f"[{name}]  # {(section.__doc__ or '').strip()}")
        for key, field in section.model_fields.items():
            choices = get_args(field.annotation) if getattr(field.annotation, "__origin__", None) is Literal else ()
            among = f" ({' | '.join(map(str, choices))})" if choices else ""
            lines.append(f"{key} = {_toml_value(field.default)}  # {field.description}{among}")
        lines.append("")
    return "\n".join(lines)


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str | list) else str(value)


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as e:
        raise UserError(f"{path}: cannot read the configuration: {e.strerror}") from e
    except UnicodeDecodeError as e:
        raise UserError(f"{path}: not UTF-8 at byte {e.start}; save the configuration as UTF-8") from e
    except tomllib.TOMLDecodeError as e:
        raise UserError(f"{path}: not valid TOML: {e}") from e


def _preset(name: str) -> dict[str, Any]:
    known = presets()
    if name not in known:
        raise UserError(f"no preset is called '{name}'{near(name, known)}")
    return tomllib.loads(resources.files("antiphon").joinpath("presets", f"{name}.toml").read_text("utf-8"))


def _set(text: str) -> dict[str, Any]:
    path, equals, value = text.partition("=")
    section, dot, key = path.strip().partition(".")
    if not (equals and dot and key):
        raise UserError(f"--set {text}: write it as section.key=value, such as --set train.seed=2")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value.strip()
    return {section: {key: parsed}}


def _check_keys(origin: str, name: str, values: Any) -> None:
    if name not in SECTIONS:
        raise UserError(f"{origin}: unknown section [{name}]{near(name, SECTIONS)}")
    if not isinstance(values, dict):
        raise UserError(f"{origin}: {name} is a section: write its options under [{name}]")
    known = SECTIONS[name].model_fields
    for key in values:
        if key not in known:
            raise UserError(f"{origin}: unknown option {name}.{key}{near(key, known)}")


def _validate(origin: str, values: dict[str, Any]) -> Config:
    try:
        return Config.model_validate(values)
    except ValidationError as e:
        first = e.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{origin}: {key} = {first['input']!r}: {first['msg']}") from e


def check(config: Config) -> None:
    """Refuse options that contradict each other, naming both."""
    m = config.model
    conflicts = [
        (m.bridge == "backward" and not m.bidirectional, "model.bridge = 'backward' needs model.bidirectional = true"),
        (
            m.tie == "all" and not config.text.joint,
            "model.tie = 'all' needs text.joint = true: set model.tie = 'decoder', or text.joint = true",
        ),
        (
            m.coverage and m.decoder not in ("bahdanau", "input_feeding"),
            "model.coverage needs model.decoder = 'bahdanau' or 'input_feeding'",
        ),
        (
            m.copy_source and m.decoder in ("initial", "context"),
            f"model.copy_source needs attention, and model.decoder = '{m.decoder}' has none",
        ),
        (
            m.copy_source and not config.text.joint,
            "model.copy_source needs text.joint = true: what is copied must be a piece of the target's vocabulary",
        ),
        (
            config.train.coverage_loss > 0 and not m.coverage,
            "train.coverage_loss needs model.coverage = true",
        ),
        (
            m.decoder == "between" and m.decoder_layers < 2,
            "model.decoder = 'between' needs model.decoder_layers = 2 or more",
        ),
        (
            m.layer_norm == "gates" and CELLS[m.cell].light,
            "model.layer_norm = 'gates' needs model.cell = 'lstm' or 'gru': set model.layer_norm = 'output'",
        ),
        (m.attention_size % m.heads != 0, "model.heads must divide model.attention_size"),
        (m.heads > 1 and m.score != "multi_head", "model.heads needs model.score = 'multi_head'"),
        (
            config.text.dropout > 0 and config.text.kind != "bpe",
            "text.dropout cuts BPE pieces: set text.dropout = 0, or text.kind = 'bpe'",
        ),
        (
            m.decoder == "initial" and m.bridge == "zero",
            "model.decoder = 'initial' with model.bridge = 'zero' never sees the source: "
            "set model.bridge = 'last' or 'dense'",
        ),
        (
            m.readout == "residual" and m.readout_size not in (0, m.decoder_hidden),
            "model.readout = 'residual' is as wide as the decoder: leave model.readout_size at 0",
        ),
        (
            config.train.weight_decay > 0 and config.train.optimiser != "adamw",
            "train.weight_decay needs train.optimiser = 'adamw'",
        ),
        (
            m.tie == "all" and len({config.train.source_vectors, config.train.target_vectors, ""}) == 3,
            "model.tie = 'all' has one embedding for both sides: name one file in train.source_vectors and none in "
            "train.target_vectors",
        ),
        (m.coverage and m.score == "multi_head", "model.coverage needs a model.score other than 'multi_head'"),
        (
            config.search.max_length and config.search.min_length > config.search.max_length,
            "search.min_length is above search.max_length",
        ),
    ]
    for wrong, message in conflicts:
        if wrong:
            raise UserError(message)
    _check_sizes(m)


def differences(old: Model, new: Model) -> list[str]:
    """The options of two models that differ, but for dropout and first weights, which change no network."""
    return [
        f"model.{name} was {value!r}, now {getattr(new, name)!r}"
        for name, value in old
        if getattr(new, name) != value and not name.startswith(("dropout_", "init"))
    ]


def readout_size(model: Model) -> int:
    """Units of the readout, which the output layer reads."""
    if model.readout == "residual":
        return model.decoder_hidden
    return model.readout_size or (model.decoder_hidden if model.tie == "none" else model.embedding)


def _check_sizes(m: Model) -> None:
    """Refuse sizes that do not fit, with the numbers and what to set."""
    last = m.encoder_hidden * (2 if m.bidirectional else 1)
    memory = last if m.merge == "concat" else m.encoder_hidden
    attends = m.decoder not in ("initial", "context")
    if attends and m.score in ("dot", "scaled_dot") and memory != m.decoder_hidden:
        raise UserError(
            f"model.score = '{m.score}' compares states of one size, but the encoder's have {memory} units and the "
            f"decoder's {m.decoder_hidden}: set model.decoder_hidden = {memory}, or model.score = 'general'"
        )
    if m.bridge == "last" and last != m.decoder_hidden:
        raise UserError(
            f"model.bridge = 'last' hands {last} units to a decoder of {m.decoder_hidden}: "
            f"set model.decoder_hidden = {last}, or model.bridge = 'dense'"
        )
    if m.tie != "none" and readout_size(m) != m.embedding:
        width = "decoder_hidden" if m.readout == "residual" else "readout_size"
        raise UserError(
            f"model.tie = '{m.tie}' needs a readout as wide as the embedding, but it has {readout_size(m)} units "
            f"and the embedding {m.embedding}: set model.{width} = {m.embedding}, or model.tie = 'none'"
        )
    if m.readout == "residual" and attends and m.score != "multi_head" and memory != m.decoder_hidden:
        raise UserError(
            f"model.readout = 'residual' adds a context of {memory} units to a state of {m.decoder_hidden}: "
            f"set model.score = 'multi_head', or model.decoder_hidden = {memory}"
        )
