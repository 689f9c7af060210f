"""Joey NMT: its own training manager and prediction.

Workaround: the scheduler `plateau`, its default, crashes on a current PyTorch, so the rate "decays" by 1.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.watch import Job, Over, Watch, main, read, translate

CONFIG, CHECKPOINT = "config.json", "last.ckpt"


def _config(job: Job) -> dict[str, Any]:
    data, shape = Path(job["data"]), job["shape"]
    side = {"level": "word", "lowercase": False, "max_length": 256, "voc_file": str(data / "vocabulary.joey.txt")}
    sizes = {"num_layers": shape["layers"], "dropout": 0.3, "embeddings": {"embedding_dim": shape["embedding"]}}
    return {
        "name": "bench",
        "model_dir": job["out"],
        "use_cuda": False,
        "fp16": False,
        "random_seed": 1,
        "data": {
            "dataset_type": "plain",
            "train": str(data / "train"),
            "dev": str(data / "valid"),
            "src": {"lang": "src", **side},
            "trg": {"lang": "tgt", **side},
            "special_symbols": {
                "unk_token": "<unk>", "unk_id": 0, "pad_token": "<pad>", "pad_id": 1,
                "bos_token": "<s>", "bos_id": 2, "eos_token": "</s>", "eos_id": 3,
            },
        },
        "training": {
            "optimizer": "adam",
            "adam_betas": [0.9, 0.999],
            "learning_rate": 0.001,
            "scheduling": "exponential",
            "decrease_factor": 1.0,
            "clip_grad_norm": 1.0,
            "normalization": "tokens",
            "loss": "crossentropy",
            "label_smoothing": 0.0,
            "batch_size": 128,
            "batch_type": "sentence",
            "epochs": 1000,
            "logging_freq": 1000,
            "validation_freq": 1_000_000,
            "early_stopping_metric": "loss",
            "shuffle": True,
        },
        "testing": {"beam_size": 1, "batch_size": 64, "batch_type": "sentence", "eval_metrics": []},
        "model": {
            "initializer": "xavier_uniform",
            "tied_embeddings": False,
            "tied_softmax": False,
            "encoder": {
                "type": "recurrent",
                "rnn_type": "lstm",
                "bidirectional": shape["directions"] == 2,
                "hidden_size": shape["encoder_hidden"],
                **sizes,
            },
            "decoder": {
                "type": "recurrent",
                "rnn_type": "lstm",
                "attention": "bahdanau",
                "hidden_size": shape["decoder_hidden"],
                "input_feeding": True,
                "init_hidden": "last",
                "hidden_dropout": 0.3,
                **sizes,
            },
        },
    }  # fmt: skip


def train(job: Job) -> dict[str, Any]:
    import torch
    from joeynmt import training

    torch.set_num_threads(job["threads"])
    config, out = _config(job), Path(job["out"])
    watch, inner, weights = Watch(job), training.TrainManager._train_step, 0
    out.mkdir(parents=True, exist_ok=True)
    (out / CONFIG).write_text(json.dumps(config), encoding="utf-8")

    def watched(self: Any, batch: Any) -> Any:
        nonlocal weights
        weights = sum(p.numel() for p in self.model.parameters())
        try:
            watch.begin(int(batch.trg.ne(self.model.pad_index).sum()))
        except Over:
            torch.save({"model_state": self.model.state_dict()}, out / CHECKPOINT)
            raise
        return inner(self, batch)

    training.TrainManager._train_step = watched
    try:
        training.train(0, None, config, skip_test=True)
    except Over:
        return watch.result() | {"weights": weights}
    raise RuntimeError("the training ended before its time")


def speak(job: Job) -> dict[str, Any]:
    """Translate with its beam search; it cannot be made to write outputs of one length."""
    import torch
    from joeynmt.config import parse_global_args
    from joeynmt.prediction import predict, prepare

    torch.set_num_threads(job["threads"])
    config = json.loads((Path(job["model"]) / CONFIG).read_text("utf-8"))
    config["testing"] |= {
        "load_model": str(Path(job["model"]) / CHECKPOINT),
        "beam_size": job["beam"],
        "beam_alpha": 1.0,
        "batch_size": job["batch"],
        "max_output_length": 100,
    }
    args = parse_global_args(config, rank=0, mode="translate")
    model, _, _, data = prepare(args, rank=0, mode="translate")

    def run(lines: list[str]) -> Sequence[str]:
        data.reset_cache()
        for line in lines:
            data.set_item(line)
        return list(
            predict(
                model, data, device=args.device, n_gpu=0, rank=0, compute_loss=False, normalization="none",
                num_workers=0, args=args.test, autocast=args.autocast,
            )[2]
        )  # fmt: skip

    return translate(job, read(job["source"]), run)


if __name__ == "__main__":
    main(train, speak)
