"""Joey NMT: its own training manager and prediction.

Workaround: the scheduler `plateau`, its default, crashes on a current PyTorch, so the rate "decays" by 1.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.watch import Curve, Job, Over, Watch, main, read, translate

SCORES = {"additive": "bahdanau", "general": "luong"}  # all that it has
DROPOUT = 0.3  # of embeddings (the decoder's with what is fed beside them), and of what its readout reads
CONFIG, CHECKPOINT = "config.json", "last.ckpt"


def _config(job: Job) -> dict[str, Any]:
    data, shape = Path(job["data"]), job["shape"]
    side = {"level": "word", "lowercase": False, "max_length": 256, "voc_file": str(data / "vocabulary.joey.txt")}
    sizes = {"num_layers": shape["layers"], "dropout": DROPOUT, "embeddings": {"embedding_dim": shape["embedding"]}}
    return {
        "name": "bench",
        "model_dir": job["out"],
        "use_cuda": False,
        "fp16": False,
        "random_seed": job.get("seed", 1),
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
            "batch_size": shape["batch"],
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
                "attention": SCORES[shape["score"]],
                "hidden_size": shape["decoder_hidden"],
                "input_feeding": shape["decoder"] == "input_feeding",
                "init_hidden": "last",
                "hidden_dropout": DROPOUT,
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


def learn(job: Job) -> dict[str, Any]:
    """Train for some updates; its validation would translate too, so the losses are made here by its model."""
    import torch
    from joeynmt import training

    torch.set_num_threads(job["threads"])
    config, curve, weights = _config(job), Curve(), 0
    every = int(job["every"])
    config["training"] |= {"updates": job["updates"], "validation_freq": every, "logging_freq": max(1, every // 2)}

    def validate(self: Any, data: Any) -> None:
        nonlocal weights
        weights = sum(p.numel() for p in self.model.parameters())
        curve.begin()
        self.model.eval()
        nll, pieces = 0.0, 0
        batches = data.make_iter(
            batch_size=64, batch_type="sentence", shuffle=False, seed=1, num_workers=0, device=self.device,
            eos_index=self.model.eos_index, pad_index=self.model.pad_index,
        )  # fmt: skip
        for batch in batches:
            batch.sort_by_src_length()
            with torch.no_grad():
                loss = self.model(return_type="loss", **vars(batch))[0]
            nll, pieces = nll + float(loss), pieces + batch.ntokens
        curve.add(self.stats.steps, nll, pieces)

    training.TrainManager._validate = validate
    Path(job["out"]).mkdir(parents=True, exist_ok=True)
    training.train(0, None, config, skip_test=True)
    return curve.result() | {"weights": weights}


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
    main(train=train, translate=speak, learn=learn)
