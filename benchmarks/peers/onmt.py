"""OpenNMT-py: its own trainer and translator, called as its commands call them.

Workarounds: its checkpoints do not load on a current PyTorch unless the environment says so (the driver sets
it), batches of like length need a bucket as large as the corpus, and two transforms that are not used import large
packages, for which empty modules stand in.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.peers.watch import Curve, Job, Watch, main, read, translate

SCORES = {"additive": "mlp"}  # others are called as here
DROPOUT = 0.3  # of embeddings and before the output layer


def _options(parser_options: Any, values: dict[str, Any]) -> Any:
    from onmt.utils.parse import ArgumentParser

    parser = ArgumentParser()
    parser_options(parser)
    arguments: list[str] = []
    for name, value in values.items():
        if value is not True:
            arguments += [f"--{name}", *(map(str, value) if isinstance(value, list) else [str(value)])]
        else:
            arguments.append(f"--{name}")
    return parser.parse_args(arguments)


def _training(job: Job) -> dict[str, Any]:
    data, shape = Path(job["data"]), job["shape"]
    out, decoder, score = Path(job["out"]), shape["decoder"], shape["score"]
    out.mkdir(parents=True, exist_ok=True)
    config, lines = out / "data.yaml", ["data:"]
    for name, part in (("corpus", "train"), ("valid", "valid")):
        lines += [f"  {name}:", f"    path_src: {data / part}.src", f"    path_tgt: {data / part}.tgt"]
        lines.append("    transforms: []")
    config.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {
        "config": config,
        "src_vocab": data / "vocabulary.txt",
        "tgt_vocab": data / "vocabulary.txt",
        "save_model": out / "model",
        "encoder_type": "brnn" if shape["directions"] == 2 else "rnn",
        "decoder_type": "rnn",
        "rnn_type": "LSTM",
        "word_vec_size": shape["embedding"],
        "hidden_size": shape["decoder_hidden"],
        "layers": shape["layers"],
        "global_attention": "none" if decoder == "initial" else SCORES.get(score, score),
        "input_feed": int(decoder == "input_feeding"),
        "dropout": [DROPOUT],
        "batch_type": "sents",
        "batch_size": shape["batch"],
        "normalization": "tokens",
        "bucket_size": job["pairs"],
        "num_workers": 0,
        "optim": "adam",
        "learning_rate": 0.001,
        "max_grad_norm": 1,
        "train_steps": 1_000_000,
        "valid_steps": 1_000_000,
        "save_checkpoint_steps": 1_000_000,
        "report_every": 1000,
        "seed": job.get("seed", 1),
    }


def train(job: Job) -> dict[str, Any]:
    import torch
    from onmt.bin.train import train as run
    from onmt.opts import train_opts
    from onmt.trainer import Trainer

    torch.set_num_threads(job["threads"])
    watch, inner, weights = Watch(job), Trainer.train, 0

    def watched(self: Any, batches: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal weights
        weights = sum(p.numel() for p in self.model.parameters())
        padding = self.train_loss.padding_idx
        return inner(
            self,
            watch.until_over(batches, lambda batch: int(batch[0]["tgt"][:, 1:, 0].ne(padding).sum())),
            *args,
            **kwargs,
        )

    Trainer.train = watched
    run(_options(train_opts, _training(job)))
    return watch.result() | {"weights": weights}


def learn(job: Job) -> dict[str, Any]:
    """Train for some updates; the losses are those of its own validations."""
    import torch
    from onmt.bin.train import train as run
    from onmt.opts import train_opts
    from onmt.trainer import Trainer

    torch.set_num_threads(job["threads"])
    curve, inner, weights = Curve(), Trainer.validate, 0

    def validate(self: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal weights
        weights = sum(p.numel() for p in self.model.parameters())
        curve.begin()
        statistics = inner(self, *args, **kwargs)
        curve.add(self.optim.training_step - 1, statistics.loss, statistics.n_words)
        return statistics

    Trainer.validate = validate
    steps = {"train_steps": job["updates"], "valid_steps": job["every"], "save_checkpoint_steps": 0}
    run(_options(train_opts, _training(job) | steps))
    return curve.result() | {"weights": weights}


def speak(job: Job) -> dict[str, Any]:
    import torch
    from onmt.inference_engine import InferenceEnginePY
    from onmt.opts import translate_opts
    from onmt.utils.parse import ArgumentParser

    torch.set_num_threads(job["threads"])
    model = max(Path(job["model"]).glob("model_step_*.pt"), key=lambda path: path.stat().st_mtime)
    lengths = {"min_length": job["length"], "max_length": job["length"]} if job["length"] else {"max_length": 100}
    values = {
        "model": model,
        "src": job["source"],
        "output": Path(job["model"]) / "output.txt",
        "beam_size": job["beam"],
        "batch_size": job["batch"],
        "batch_type": "sents",
    }
    options = _options(translate_opts, values | lengths)
    ArgumentParser.validate_translate_opts(options)
    ArgumentParser._get_all_transform_translate(options)
    ArgumentParser._validate_transforms_opts(options)
    ArgumentParser.validate_translate_opts_dynamic(options)
    engine = InferenceEnginePY(options)

    def run(lines: list[str]) -> Sequence[str]:
        return [outputs[0] for outputs in engine.infer_list(lines)[1]]

    return translate(job, read(job["source"]), run)


if __name__ == "__main__":
    for absent in ("spacy", "ahocorasick", "fasttext"):  # of the transforms `terminology` and `clean`
        sys.modules.setdefault(absent, ModuleType(absent))
    main(train=train, translate=speak, learn=learn)
