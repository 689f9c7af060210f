"""CTranslate2 with a Transformer of random weights, on which speed does not depend where lengths are forced.

Its own threads are used and OMP_NUM_THREADS is left alone, which makes it ten times slower on single sentences.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.watch import Job, main, read, translate

LAYERS, WIDTH, INNER, HEADS = 4, 128, 512, 4


def build(folder: Path, vocabulary: list[str]) -> None:
    """Write a tiny Transformer (4 + 4 layers, 128 wide, 4 heads, 512 inside) in int8."""
    import numpy as np
    from ctranslate2.specs import TransformerSpec

    draw = np.random.default_rng(1)

    def normal(*shape: int) -> Any:
        return draw.normal(0, shape[-1] ** -0.5, shape).astype(np.float32)

    def linear(spec: Any, outputs: int, inputs: int) -> None:
        spec.weight, spec.bias = normal(outputs, inputs), np.zeros(outputs, np.float32)

    def norm(spec: Any) -> None:
        spec.gamma, spec.beta = np.ones(WIDTH, np.float32), np.zeros(WIDTH, np.float32)

    def attention(spec: Any, own: bool) -> None:
        norm(spec.layer_norm)
        for part, rows in zip(spec.linear, (3, 1) if own else (1, 2, 1), strict=True):
            linear(part, rows * WIDTH, WIDTH)

    def feed_forward(spec: Any) -> None:
        norm(spec.layer_norm)
        linear(spec.linear_0, INNER, WIDTH)
        linear(spec.linear_1, WIDTH, INNER)

    def embedding(spec: Any) -> None:
        spec.weight = normal(len(vocabulary), WIDTH)

    spec = TransformerSpec.from_config((LAYERS, LAYERS), HEADS)
    embedding(spec.encoder.embeddings[0])
    embedding(spec.decoder.embeddings)
    linear(spec.decoder.projection, len(vocabulary), WIDTH)
    norm(spec.encoder.layer_norm)
    norm(spec.decoder.layer_norm)
    for part in (spec.encoder, spec.decoder):
        for layer in part.layer:
            attention(layer.self_attention, own=True)
            feed_forward(layer.ffn)
    for layer in spec.decoder.layer:
        attention(layer.attention, own=False)
    spec.register_source_vocabulary(vocabulary)
    spec.register_target_vocabulary(vocabulary)
    spec.validate()
    spec.optimize(quantization="int8")
    folder.mkdir(parents=True, exist_ok=True)
    spec.save(str(folder))


def speak(job: Job) -> dict[str, Any]:
    import ctranslate2

    folder, lines = Path(job["model"]), read(job["source"])
    if not (folder / "model.bin").is_file():
        build(folder, ["<unk>", "<s>", "</s>", "<blank>", *read(job["vocabulary"])])
    workers = 1 if job["single"] else job["threads"]  # of one thread each, measured as its fastest way for both
    translator = ctranslate2.Translator(
        str(folder), device="cpu", compute_type="int8", inter_threads=workers, intra_threads=1
    )
    length = job["length"] or 100

    def run(some: list[str]) -> Sequence[str]:
        results = translator.translate_batch(
            [line.split() for line in some],
            max_batch_size=job["batch"],
            beam_size=job["beam"],
            min_decoding_length=length if job["length"] else 1,
            max_decoding_length=length,
        )
        return [" ".join(result.hypotheses[0]) for result in results]

    return translate(job, lines, run)


if __name__ == "__main__":
    main(translate=speak)
