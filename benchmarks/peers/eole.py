"""Eole: its own trainer and predictor, called as its commands call them.

Workarounds: its architecture `rnn` takes no encoder in two directions, so the architecture is `custom`; and
without attention its loss wants a view of a decoder's output that PyTorch cannot give.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.watch import Curve, Job, Watch, main, read, translate

SCORES = {"additive": "mlp"}  # others are called as here
DROPOUT = 0.3  # of embeddings and before the output layer


def _training(job: Job) -> dict[str, Any]:
    data, shape = Path(job["data"]), job["shape"]
    decoder, score = shape["decoder"], shape["score"]
    sizes = {"layers": shape["layers"], "hidden_size": shape["decoder_hidden"]}
    return {
        "data": {
            name: {"path_src": str(data / f"{part}.src"), "path_tgt": str(data / f"{part}.tgt")}
            for name, part in (("corpus", "train"), ("valid", "valid"))
        },
        "src_vocab": str(data / "vocabulary.txt"),
        "tgt_vocab": str(data / "vocabulary.txt"),
        "share_vocab": False,
        "seed": job.get("seed", 1),
        "report_every": 1000,
        "model": {
            "architecture": "custom",
            "embeddings": {"word_vec_size": shape["embedding"], "position_encoding_type": None},
            "encoder": {"encoder_type": "brnn" if shape["directions"] == 2 else "rnn", "rnn_type": "LSTM", **sizes},
            "decoder": {
                "decoder_type": "rnn",
                "rnn_type": "LSTM",
                "global_attention": None if decoder == "initial" else SCORES.get(score, score),
                **sizes,
            },
            "hidden_size": shape["decoder_hidden"],
            "input_feed": int(decoder == "input_feeding"),
        },
        "training": {
            "model_path": job["out"],
            "compute_dtype": "fp32",
            "batch_type": "sents",
            "batch_size": shape["batch"],
            "normalization": "tokens",
            "bucket_size": job["pairs"],
            "num_workers": 0,
            "optim": "adam",
            "learning_rate": 0.001,
            "max_grad_norm": 1.0,
            "dropout": [DROPOUT],
            "train_steps": 1_000_000,
            "valid_steps": 1_000_000,
            "save_checkpoint_steps": 1_000_000,
        },
    }


def train(job: Job) -> dict[str, Any]:
    import torch
    from eole.bin.run.train import train as run
    from eole.config.run import TrainConfig
    from eole.trainer import Trainer
    from eole.utils.loss import LossCompute

    torch.set_num_threads(job["threads"])
    LossCompute._bottle = lambda self, output: output.reshape(-1, output.size(2))
    watch, inner, weights = Watch(job), Trainer.train, 0

    def watched(self: Any, batches: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal weights
        weights = sum(p.numel() for p in self.model.parameters())
        padding = self.train_loss.padding_idx
        return inner(
            self,
            watch.until_over(batches, lambda batch: int(batch[0]["tgt"][:, 1:].ne(padding).sum())),
            *args,
            **kwargs,
        )

    Trainer.train = watched
    run(TrainConfig(**_training(job)))
    return watch.result() | {"weights": weights}


def learn(job: Job) -> dict[str, Any]:
    """Train for some updates; the losses are those of its own validations."""
    import torch
    from eole.bin.run.train import train as run
    from eole.config.run import TrainConfig
    from eole.trainer import Trainer
    from eole.utils.loss import LossCompute

    torch.set_num_threads(job["threads"])
    LossCompute._bottle = lambda self, output: output.reshape(-1, output.size(2))
    curve, inner, weights = Curve(), Trainer.validate, 0

    def validate(self: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal weights
        weights = sum(p.numel() for p in self.model.parameters())
        curve.begin()
        statistics = inner(self, *args, **kwargs)
        curve.add(self.optim.training_step - 1, statistics.loss, statistics.n_tokens)
        return statistics

    Trainer.validate = validate
    values = _training(job)
    values["training"] |= {"train_steps": job["updates"], "valid_steps": job["every"], "save_checkpoint_steps": 0}
    run(TrainConfig(**values))
    return curve.result() | {"weights": weights}


def speak(job: Job) -> dict[str, Any]:
    import torch
    from eole.config.run import PredictConfig
    from eole.inference_engine import InferenceEnginePY

    torch.set_num_threads(job["threads"])
    lengths = {"min_length": job["length"], "max_length": job["length"], "max_length_ratio": 0.0}
    engine = InferenceEnginePY(
        PredictConfig(
            model_path=job["model"],
            src=job["source"],
            beam_size=job["beam"],
            batch_size=job["batch"],
            batch_type="sents",
            **(lengths if job["length"] else {"max_length": 100}),
        )
    )

    def run(lines: list[str]) -> Sequence[str]:
        return [outputs[0] for outputs in engine.infer_list(lines)[2]]

    return translate(job, read(job["source"]), run)


if __name__ == "__main__":
    main(train=train, translate=speak, learn=learn)
