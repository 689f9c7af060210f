"""What a run is: every option declared once, with its meaning, its default and its unit."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, create_model
from pydantic_core import CoreSchema, PydanticCustomError
from pydantic_core.core_schema import no_info_after_validator_function

from antiphon.config import search
from antiphon.config.kinds import BRIDGES, CELLS, DECODERS, READOUTS, SCORES

Count = Annotated[int, Field(ge=1)]
Whole = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]


@dataclass(frozen=True)
class OneOf:
    """A string that a dict of kinds has an entry for."""

    kinds: Mapping[str, object]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return no_info_after_validator_function(self.check, handler(source))

    def check(self, name: str) -> str:
        if name not in self.kinds:
            *others, last = (f"'{kind}'" for kind in self.kinds)
            raise PydanticCustomError(
                "literal_error", "Input should be {kinds}", {"kinds": f"{', '.join(others)} or {last}"}
            )
        return name


Cell = Annotated[str, OneOf(CELLS)]
Decoder = Annotated[str, OneOf(DECODERS)]
Score = Annotated[str, OneOf(SCORES)]
Bridge = Annotated[str, OneOf(BRIDGES)]
Readout = Annotated[str, OneOf(READOUTS)]
Tie = Literal["none", "decoder", "all"]
LayerNorm = Literal["none", "output", "gates"]
Initialisation = Literal["default", "uniform", "bahdanau2015", "keras"]
Schedule = Literal["constant", "halving", "inverse_sqrt", "cosine", "plateau", "exponential"]
TextMetric = Literal[  # those of evaluation.metrics but the loss
    "bleu", "chrf", "chrf++", "ter", "rouge1", "rouge2", "rougeL", "exact_match", "word_error", "wer", "cer", "per"
]
Metric = Literal["loss", TextMetric]
Risk = Literal["none", TextMetric]


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
    recombine: Whole = option(
        0, "most training pairs to add in which two words that occur in equal environments trade places (Andreas 2020)"
    )


class Text(Section):
    """How text becomes pieces."""

    kind: Literal["bpe", "unigram", "word", "char", "space"] = option(
        "bpe", "how text is split into pieces, the subword tokens; `space`: each piece is all that is between spaces"
    )
    size: Count = option(8000, "largest number of pieces in a vocabulary, specials included")
    source_size: Whole = option(0, "number of source pieces where the vocabularies are separate; 0: as `size`")
    joint: bool = option(True, "one vocabulary for both sides")
    normalise: Literal["none", "nfc", "nfkc", "tensorflow", "jamo"] = option(
        "nfc",
        "Unicode normalisation before tokenisation; `tensorflow`: the tutorial's standardisation; `jamo`: `nfc`, and "
        "Hangul syllables are decomposed into their letters, and composed again in outputs",
    )
    lowercase: bool = option(False, "lower case after normalisation")
    hyphens: Literal["keep", "split"] = option(
        "keep", "`split`: separate words joined by a hyphen (` @-@ `, as Moses does), and join them again in outputs"
    )
    byte_fallback: bool = option(True, "unseen characters become bytes instead of <unk> (bpe and unigram)")
    symbols: list[str] = option([], "pieces that are never split, such as language tags: `<2de>`")
    vocabulary: Literal["keep", "learn"] = option(
        "keep",
        "in a warm start: `keep` the model's vocabulary, or `learn` one from the new data and map the embeddings",
    )
    slots: list[str] = option(
        [],
        "slots whose values become marks in both texts, `<name>`, and are filled into outputs again; a source is "
        "`name[The Mill], near[The Inn]` or `inform(name='The Mill';near='The Inn')`",
    )
    slot_constants: list[str] = option(
        ["none", "yes", "no", "true", "false", "dontcare", "dont_care", "?"],
        "values of slots that mean something by themselves and are not replaced",
    )
    dropout: Rate = option(0.0, "BPE-dropout in training (Provilkov 2020): chance that a merge is skipped")
    dropout_copies: Count = option(
        8, "copies of the corpus, each segmented anew by BPE-dropout; each epoch uses the next one"
    )


class Dialogue(Section):
    """Conversations, for models that answer; see docs/dialogue.md."""

    turns: Whole = option(0, "number of last turns of a conversation in a source; 0: sources are not conversations")
    user: str = option("<user>", "mark before the user's turns; a symbol of the vocabulary if there are turns")
    model: str = option("<model>", "mark before the model's turns, likewise")


class Model(Section):
    """The network; see docs/models.md for the equations."""

    cell: Cell = option(
        "lstm", "recurrent cell of the encoder and the decoder; `sru` trains fastest, its matrices read whole sequences"
    )
    embedding: Count = option(256, "size of the word embeddings")
    encoder_hidden: Count = option(256, "encoder units a direction and layer")
    encoder_layers: Count = option(1, "encoder depth")
    bidirectional: bool = option(True, "read the source in both directions")
    merge: Literal["concat", "sum"] = option("concat", "how the two directions are joined")
    residual: bool = option(False, "add each recurrent layer's input to its output where their sizes agree")
    reverse_source: bool = option(False, "read the source backwards (Sutskever 2014)")
    bridge: Bridge = option("dense", "how the decoder's initial state is made from the encoder's last")
    decoder: Decoder = option(
        "over_outputs",
        "`initial`: initial state only (Sutskever 2014); `context`: c at every step (Cho 2014); `bahdanau`: attend "
        "with s_{t-1}, then update; `input_feeding`: update, attend, feed back (Luong 2015); `over_outputs`: attend "
        "with all the decoder's outputs at once (Luong without feeding, TensorFlow's tutorial); `between`: the same "
        "with the first layer's outputs, whose contexts the layers above read",
    )
    decoder_hidden: Count = option(512, "decoder units a layer")
    decoder_layers: Count = option(1, "decoder depth")
    score: Score = option("general", "how attention compares a decoder state with an encoder state")
    attention_size: Count = option(512, "units of additive and multi-head attention")
    heads: Count = option(1, "heads of multi-head attention")
    coverage: bool = option(
        False, "the score also reads the sum of the attention so far (See 2017, eq. 11); step-wise decoders only"
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
    layer_norm_epsilon: Positive = option(
        1e-5, "what every layer normalisation adds to the variance (the residual readout's too); Keras: 1e-3"
    )
    dropout_embedding: Rate = option(0.0, "dropout of embeddings")
    dropout_recurrent: Rate = option(0.0, "dropout of each recurrent layer's output")
    dropout_output: Rate = option(0.0, "dropout before the output layer")
    dropout_word: Rate = option(0.0, "chance that a position's whole embedding is zero (after Gal 2016)")
    init: Initialisation = option("default", "initial weights: Glorot and orthogonal; `uniform`; Bahdanau's; Keras's")
    init_scale: Positive = option(0.1, "half-width of the `uniform` initialisation")


class Train(Section):
    """How the model is trained."""

    start: str = option("", "warm start: pretrained model folder whose options, vocabulary and weights are used")
    source_vectors: str = option(
        "", "pretrained word vectors of the source (word2vec, GloVe or fastText, as text; .gz, .zst)"
    )
    target_vectors: str = option("", "pretrained word vectors of the target")
    optimiser: Literal["sgd", "adadelta", "adam", "adamw"] = option("adam", "the optimiser")
    learning_rate: Positive = option(1e-3, "the highest learning rate")
    beta1: Rate = option(0.9, "Adam's first decay")
    beta2: Rate = option(0.999, "Adam's second decay")
    epsilon: Positive = option(1e-8, "Adam's and Adadelta's epsilon")
    rho: Rate = option(0.95, "Adadelta's decay")
    weight_decay: NonNegative = option(0.0, "AdamW's weight decay")
    schedule: Schedule = option("constant", "learning-rate schedule after warm-up")
    warmup: Whole = option(0, "updates of linear warm-up")
    decay: Annotated[float, Field(gt=0, le=1)] = option(0.5, "factor of `halving`, `plateau` and `exponential`")
    decay_start: NonNegative = option(5.0, "epochs before `halving` and `exponential` begin")
    decay_every: Positive = option(0.5, "epochs between two steps of `halving` and `exponential`")
    plateau_patience: Count = option(2, "validations without a better score before `plateau` lowers the rate")
    clip: NonNegative = option(1.0, "largest gradient norm; 0: no clipping")
    normalise: Literal["tokens", "sentences"] = option(
        "tokens", "divide the summed loss by the number of target pieces, or of sentences"
    )
    label_smoothing: Rate = option(0.0, "probability spread evenly over the vocabulary")
    coverage_loss: NonNegative = option(
        0.0, "weight of the loss of attending twice to the same (See 2017, eq. 12 and 13); needs model.coverage"
    )
    r_drop: NonNegative = option(
        0.0, "weight (alpha) of the disagreement of two passes with different dropout (Wu 2021); 0: one pass"
    )
    scheduled_sampling: Rate = option(0.0, "final chance that an input token is the model's own (Bengio 2015)")
    scheduled_sampling_steps: Count = option(10000, "updates over which that chance rises from 0")
    risk: Risk = option(
        "none", "minimum-risk training (Shen 2016) on this metric of single sentences, best from a trained model"
    )
    risk_samples: Count = option(16, "candidates sampled for each source in minimum-risk training")
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
    minutes: NonNegative = option(
        0.0, "longest training in minutes of this machine, validations included; 0: no limit; not reproducible"
    )
    valid_every: Whole = option(0, "updates between validations; 0: once an epoch")
    valid_start: NonNegative = option(
        0.0, "epochs before the first validation by decoding; the loss is always computed"
    )
    metric: Metric = option("bleu", "metric that chooses the best model and decides on early stopping")
    patience: Whole = option(10, "early stopping: validations without a better score before training stops; 0: never")
    valid_sentences: Whole = option(500, "development pairs decoded at a validation; 0: all")
    samples: Whole = option(3, "development pairs whose outputs the model's card shows; the first is printed too")
    checkpoint_every: Whole = option(0, "updates between checkpoints; 0: at every validation")
    precision: Literal["auto", "float32", "bfloat16"] = option(
        "auto", "`auto`: bfloat16 matrix products where the hardware is fast at them"
    )
    device: str = option("auto", "`auto`, `cpu`, `cuda`, `cuda:1`")
    threads: Whole = option(0, "processor threads; 0: all cores, shared among the processes")
    seed: Whole = option(1, "random seed")
    tensorboard: bool = option(True, "write TensorBoard files")


def derived(declaration: type[search.Search], name: str) -> Any:
    """A section with the options that a class of `config.search` declares."""
    fields: dict[str, Any] = {}
    for key, o in search.declared(declaration).items():
        limits = {name: value for limit in o.limits for name, value in limit._asdict().items()}  # ge, gt, le
        fields[key] = o.hint, Field(default=o.default, description=o.meaning, **limits)
    return create_model(name, __base__=Section, __doc__=declaration.__doc__, **fields)


if TYPE_CHECKING:
    from antiphon.config.search import Search
else:
    Search = derived(search.Search, "Search")


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
    "data": Data, "text": Text, "dialogue": Dialogue, "model": Model, "train": Train,
    "search": cast(type[Section], Search),
}  # fmt: skip
