# SPDX-License-Identifier: Apache-2.0
"""The rows of the benchmark: what each measures, in which variants, and how far from the peer it may be."""

import dataclasses
from collections.abc import Callable

WAYS_OF_TORCH = {
    "add": ("eager",), "add_recorded": ("eager",), "add_backward": ("eager",), "chain": ("eager", "compile"),
    "dense": ("eager", "compile"), "big_chain": ("eager", "compile"), "mlp_train": ("eager", "compile"),
    "lenet_train": ("eager", "channels_last", "compile"), "lstm_train": ("eager",), "embedding_train": ("eager",),
    "adam_step": ("eager", "fused"), "mobilenetv2_infer": ("eager", "channels_last", "compile"),
    "transformer_infer": ("eager", "compile"), "transformer_train": ("eager", "compile"),
    "resnet50_infer": ("eager", "channels_last", "compile"), "resnet50_train": ("eager", "channels_last", "compile"),
}
EAGER_ONLY = ("add", "add_recorded", "add_backward", "dense", "embedding_train", "adam_step")
INFERENCE = ("mobilenetv2_infer", "transformer_infer", "resnet50_infer")


@dataclasses.dataclass(frozen=True)
class Row:
    """One workload. `limit` is the most that ours / torch may be in the quick check; None: it is not part of it."""

    what: str
    unit: str = "ms"
    bf16: bool = False
    limit: float = None


ROWS = {
    "add": Row("a + b on (4, 4)", "us", limit=0.5),
    "add_recorded": Row("a + b on (4, 4) under record", "us", limit=0.6),
    "add_backward": Row("record, a + b on (4, 4), backward", "us", limit=0.5),
    "chain": Row("20 elementwise calls on (64, 64)", "us", limit=0.7),
    "dense": Row("dense layer 64 to 64 on one row", "us", limit=0.8),
    "big_chain": Row("tanh(a * b + c) * d on 16 million numbers", bf16=True, limit=0.9),
    "mlp_train": Row("784-512-512-10 perceptron, batch 128, training step", bf16=True, limit=1.2),
    "lenet_train": Row("LeNet, batch 64, training step", bf16=True, limit=1.2),
    "lstm_train": Row("2 x 512 LSTM language model, 35 x 20 words, training step", bf16=True),
    "embedding_train": Row("embedding of 1,000,000 x 64, sparse gradient, training step"),
    "adam_step": Row("Adam over the parameters of ResNet-50"),
    "mobilenetv2_infer": Row("MobileNetV2, batch 1, inference", bf16=True),
    "transformer_infer": Row("4 encoder layers of BERT-base, batch 8 x 128, inference", bf16=True),
    "transformer_train": Row("the same, training step", bf16=True),
    "resnet50_infer": Row("ResNet-50, batch 8, inference", bf16=True),
    "resnet50_train": Row("ResNet-50, batch 8, training step", bf16=True),
}


def ways(kind, row):
    """The variants in which a kind of contender runs a row; empty if it cannot."""
    if kind == "mxnet":
        return ("eager",) if row in EAGER_ONLY else ("eager", "hybrid")
    if kind == "torch":
        return WAYS_OF_TORCH[row]
    if kind == "jax":
        return () if row in ("add_recorded", "add_backward") else ("eager",) if row == "add" else ("jit",)
    return (kind,) if row in INFERENCE else ()


@dataclasses.dataclass
class Job:
    """`step` runs `calls` calls and waits for them; `check` gives numbers that all contenders must agree on."""

    step: Callable
    check: Callable
    calls: int = 1


class Unsupported(Exception):
    """The contender has no way to run this row; reported, no failure."""
