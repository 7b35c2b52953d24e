# SPDX-License-Identifier: Apache-2.0
"""Records of src/ops/contrib, against NumPy written for clarity."""

import itertools

import numpy as np
from ops.harness import ErrorSample, Sample, record

HALVES = {"float32": 1e-4, "float16": 2e-2, "bfloat16": 8e-2}
FLOATS = ("float16", "bfloat16", "float32", "float64")


def normal(rng, *shape):
    return rng.standard_normal(shape)


# ---- CTCLoss ------------------------------------------------------------------------------------------------------


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def spelled(path, blank):
    """What a path spells: repetitions, then blanks taken out."""
    return tuple(c for c, _ in itertools.groupby(path) if c != blank)


def ctc_loss(data, label, *lengths, use_data_lengths=False, use_label_lengths=False, blank_label="first"):
    """The sum over all paths: for tiny cases only."""
    steps, batch, classes = data.shape
    lengths = list(lengths)
    data_lengths = lengths.pop(0) if use_data_lengths else np.full(batch, steps)
    label_lengths = lengths.pop(0) if use_label_lengths else None
    blank, padding = (0, 0) if blank_label == "first" else (classes - 1, -1)
    loss = np.zeros(batch)
    for n in range(batch):
        row = [int(c) for c in label[n]]
        if label_lengths is not None:
            row = row[: int(label_lengths[n])]
        elif padding in row:
            row = row[: row.index(padding)]
        y = softmax(data[: int(data_lengths[n]), n])
        total = sum(
            np.prod([y[t, c] for t, c in enumerate(path)])
            for path in itertools.product(range(classes), repeat=len(y))
            if len(y) and spelled(path, blank) == tuple(row)
        )
        loss[n] = -np.log(total) if total > 0 else 0
    return loss


def ctc_samples(rng):
    x = normal(rng, 5, 3, 4)
    first = np.array([[1, 2, 0], [3, 3, 0], [2, 1, 2]], np.float32)
    last = np.array([[0, 1, -1], [2, 2, -1], [-1, -1, -1]], np.float32)
    steps, used = np.array([5, 4, 3], np.float32), np.array([1, 2, 0], np.int32)
    return [
        Sample([x, first]),
        Sample([x, last], dict(blank_label="last")),
        Sample([x, first, steps], dict(use_data_lengths=True)),
        Sample([x, last, used], dict(use_label_lengths=True, blank_label="last"), oracle=False),
        Sample([x, first.astype(np.int32), steps, used], dict(use_data_lengths=True, use_label_lengths=True)),
        Sample([x, first, np.array([1, 0, 5], np.int64)], dict(use_data_lengths=True), oracle=False),
    ]


record(
    "CTCLoss",
    grad=True,
    second_order=False,
    dtypes=FLOATS,
    data=(0,),
    rtol=HALVES,
    samples=ctc_samples,
    reference=ctc_loss,
    errors=[
        ErrorSample([np.ones((4, 3)), np.ones((4, 3))], {}, "3 dimensions"),
        ErrorSample([np.ones((4, 3, 2)), np.ones((2, 3))], {}, "label"),
        ErrorSample([np.ones((4, 3, 2)), np.ones((3, 5))], {}, "must not be longer"),
        ErrorSample([np.ones((4, 1, 3)), np.full((1, 2), 3)], {}, "label 3", error=IndexError, at_wait=True),
        ErrorSample(
            [np.ones((4, 1, 3)), np.ones((1, 2)), np.array([5])],
            dict(use_data_lengths=True),
            "data_lengths of sequence 0",
            error=ValueError,
            at_wait=True,
        ),
    ],
)

# ---- interleaved attention ----------------------------------------------------------------------------------------


def parts(x, heads, count):
    """(length, batch, heads * count * width) as `count` arrays (batch * heads, length, width)."""
    length, batch, size = x.shape
    x = x.reshape(length, batch * heads, count, size // heads // count)
    return [x[:, :, i].swapaxes(0, 1) for i in range(count)]


def joined(x, heads):
    items, length, width = x.shape
    return x.swapaxes(0, 1).reshape(length, items // heads, heads * width)


def scores(q, k):
    return q @ k.swapaxes(1, 2) / np.sqrt(q.shape[-1])


def self_qk(x, heads):
    q, k, _ = parts(x, heads, 3)
    return scores(q, k)


def cross_qk(q, kv, heads):
    return scores(parts(q, heads, 1)[0], parts(kv, heads, 2)[0])


record(
    "_contrib_interleaved_matmul_selfatt_qk",
    grad=True,
    dtypes=FLOATS,
    rtol=HALVES,
    samples=lambda rng: [
        Sample([normal(rng, 3, 2, 2 * 3 * 4)], dict(heads=2)),
        Sample([normal(rng, 4, 1, 3 * 3)], dict(heads=3)),
    ],
    reference=self_qk,
    errors=[
        ErrorSample([np.ones((3, 12))], dict(heads=2), "3 dimensions"),
        ErrorSample([np.ones((3, 2, 12))], dict(heads=5), "multiple of 15"),
        ErrorSample([np.ones((3, 2, 12))], dict(heads=0), "heads"),
    ],
)
record(
    "_contrib_interleaved_matmul_selfatt_valatt",
    grad=True,
    dtypes=FLOATS,
    rtol=HALVES,
    samples=lambda rng: [Sample([normal(rng, 3, 2, 2 * 3 * 4), normal(rng, 4, 3, 3)], dict(heads=2))],
    reference=lambda x, attention, heads: joined(attention @ parts(x, heads, 3)[2], heads),
    errors=[ErrorSample([np.ones((3, 2, 12)), np.ones((4, 3, 2))], dict(heads=2), "attention must have shape")],
)
record(
    "_contrib_interleaved_matmul_encdec_qk",
    grad=True,
    dtypes=FLOATS,
    rtol=HALVES,
    samples=lambda rng: [Sample([normal(rng, 3, 2, 2 * 4), normal(rng, 5, 2, 2 * 2 * 4)], dict(heads=2))],
    reference=cross_qk,
    errors=[ErrorSample([np.ones((3, 2, 8)), np.ones((5, 2, 8))], dict(heads=2), "twice as many")],
)
record(
    "_contrib_interleaved_matmul_encdec_valatt",
    grad=True,
    dtypes=FLOATS,
    rtol=HALVES,
    samples=lambda rng: [Sample([normal(rng, 5, 2, 2 * 2 * 4), normal(rng, 4, 3, 5)], dict(heads=2))],
    reference=lambda kv, attention, heads: joined(attention @ parts(kv, heads, 2)[1], heads),
    errors=[ErrorSample([np.ones((5, 2, 16)), np.ones((4, 3, 4))], dict(heads=2), "attention must have shape")],
)
