# SPDX-License-Identifier: Apache-2.0
"""Records of src/ops/contrib, against NumPy written for clarity."""

import itertools

import numpy as np
from ops.harness import ErrorSample, Sample, exempt, record

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

# ---- transforms ---------------------------------------------------------------------------------------------------


def fft(x, compute_size=128):
    y = np.fft.fft(x, axis=-1)
    return np.stack([y.real, y.imag], -1).reshape(*x.shape[:-1], -1)


def ifft(x, compute_size=128):
    pairs = x.reshape(*x.shape[:-1], -1, 2)
    return np.fft.ifft(pairs[..., 0] + 1j * pairs[..., 1], axis=-1).real * pairs.shape[-2]


# 1.9.1 has both, and count_sketch, on GPUs only.
record(
    "_contrib_fft",
    grad=True,
    oracle=False,
    dtypes=FLOATS,
    rtol=HALVES,
    samples=lambda rng: [Sample([normal(rng, 3, n)]) for n in (1, 2, 8, 5, 12)] + [Sample([normal(rng, 2, 2, 2, 300)])],
    reference=fft,
    errors=[ErrorSample([np.ones(3, np.int32)], {}, "floating point")],
)
record(
    "_contrib_ifft",
    grad=True,
    oracle=False,
    dtypes=FLOATS,
    rtol=HALVES,
    samples=lambda rng: [Sample([normal(rng, 3, 2 * n)]) for n in (1, 2, 8, 5, 12, 257)],
    reference=ifft,
    errors=[ErrorSample([np.ones((2, 3))], {}, "pairs")],
)


def count_sketch(x, h, s, out_dim, processing_batch_size=32):
    y = np.zeros((*x.shape[:-1], out_dim))
    for i, to in enumerate(h.reshape(-1).astype(int)):
        y[..., to] += s.reshape(-1)[i] * x[..., i]
    return y


record(
    "_contrib_count_sketch",
    grad=True,
    oracle=False,
    data=(0,),
    cast=(0, 2),
    samples=lambda rng: [
        Sample(
            [normal(rng, 3, 6), np.array([[0.0, 3, 1, 3, 2, 0]], np.float32), np.array([[1.0, -1, 1, 1, -1, -1]])],
            dict(out_dim=4),
        )
    ],
    reference=count_sketch,
    errors=[
        ErrorSample([np.ones((2, 3)), np.ones(2), np.ones(3)], dict(out_dim=4), "h must hold"),
        ErrorSample(
            [np.ones((2, 2)), np.array([0, 4]), np.ones(2)], dict(out_dim=4), "4", error=IndexError, at_wait=True
        ),
        ErrorSample([np.ones((2, 2)), np.ones(2), np.ones(2)], dict(out_dim=0), "out_dim"),
    ],
)

# ---- Hawkes processes ---------------------------------------------------------------------------------------------


def hawkes(lda, alpha, beta, state, lags, marks, length, max_time):
    loglike, out = np.zeros(len(lda)), np.zeros_like(state)
    for n in range(len(lda)):
        used = int(length[n])
        times, kinds = np.cumsum(lags[n, :used]), marks[n, :used]

        def memory(k, t, n=n, times=times, kinds=kinds):
            before = (kinds == k) & (times < t)
            return state[n, k] * np.exp(-beta[k] * t) + np.exp(-beta[k] * (t - times[before])).sum()

        for t, k in zip(times, kinds, strict=True):
            loglike[n] += np.log(lda[n, k] + alpha[k] * beta[k] * memory(k, t))
        for k in range(lda.shape[1]):
            out[n, k] = memory(k, max_time[n])
            loglike[n] -= lda[n, k] * max_time[n] + alpha[k] * (state[n, k] + (kinds == k).sum() - out[n, k])
    return loglike, out


def hawkes_sample(rng, **more):
    n, k, events = 2, 3, 5
    lda, alpha, beta, state = (rng.random(s) + 0.2 for s in ((n, k), (k,), (k,), (n, k)))
    marks = rng.integers(0, k, (n, events)).astype(np.int32)
    return Sample(
        [lda, alpha, beta, state, rng.random((n, events)), marks, np.array([5.0, 3.0]), np.full(n, 6.0)], **more
    )


record(
    "_contrib_hawkesll",
    grad=True,
    data=(0, 1, 2, 3),
    cast=(0, 1, 2, 3, 4, 6, 7),
    rtol=HALVES,
    samples=lambda rng: [hawkes_sample(rng, oracle=False), hawkes_sample(rng, grad=False)],
    reference=hawkes,
    errors=[
        ErrorSample(
            [*[np.ones(s) for s in ((1, 2), 2, 2, (1, 2), (1, 1))], np.array([[2]], np.int32), np.ones(1), np.ones(1)],
            {},
            "mark 2",
            error=IndexError,
            at_wait=True,
        )
    ],
)

# ---- others -------------------------------------------------------------------------------------------------------


def allclose(a, b, rtol=1e-5, atol=1e-8, equal_nan=True):
    return np.array(np.allclose(a, b, rtol, atol, equal_nan), np.uint8)


record(
    "_contrib_allclose",
    dtypes=(*FLOATS, "int32"),
    out=False,  # its output has no dimensions
    samples=lambda rng: [
        Sample([np.ones((2, 3)), np.ones((2, 3))]),
        Sample([np.ones((2, 3)), np.ones((2, 3)) * 2]),
        Sample([np.array([1.0, np.nan]), np.array([1.0, np.nan])], dict(equal_nan=False)),
        Sample([np.array([1.0, np.inf]), np.array([1.25, np.inf])], dict(rtol=0.5)),
    ],
    reference=allclose,
    errors=[ErrorSample([np.ones((2, 3)), np.ones(3)], {}, "b")],
)


def entropy_threshold(hist, edges, num_quantized_bins=255):
    def smooth(p):
        zeros = p == 0
        taken = 1e-4 * zeros.sum() / max(1, (~zeros).sum())
        return None if zeros.all() or taken >= 1 else np.where(zeros, 1e-4, p - taken)

    middle, best = len(hist) // 2, (np.inf, 0)
    for i in range(num_quantized_bins // 2, middle + 1):
        begin, end = middle - i, min(len(hist), middle + i + 1)
        part = hist[begin:end]
        p = part.astype(float)
        p[0] += hist[:begin].sum()
        p[-1] += hist[end:].sum()
        q, width = np.zeros(len(p)), len(p) // num_quantized_bins
        for j in range(num_quantized_bins):
            bins = slice(j * width, len(p) if j + 1 == num_quantized_bins else (j + 1) * width)
            merged = part[max(bins.start, 1):bins.stop]
            q[bins] = np.where(p[bins] != 0, merged.sum() / max(1, (merged != 0).sum()), 0)
        p, q = smooth(p), smooth(q)
        if p is not None and q is not None:
            p, q = p / p.sum(), q / q.sum()
            best = min(best, ((p * np.log(p / q)).sum(), edges[end]))
    return np.array([best[1]]), np.array([best[0]])


record(
    "_contrib_calibrate_entropy",
    dtypes=("float32",),
    cast=(),
    rtol={"float32": 1e-4},
    samples=lambda rng: [
        Sample([rng.integers(0, 50, 101).astype(float), np.linspace(-2, 2, 102)], dict(num_quantized_bins=31)),
        Sample([np.exp(-(np.linspace(-4, 4, 301) ** 2)) * 1000 // 1, np.linspace(-4, 4, 302)]),
        Sample([rng.integers(0, 4, 9).astype(float), np.linspace(-2, 2, 10)], dict(num_quantized_bins=3)),
        Sample([np.array([6.0, 6, 4, 3, 4]), np.linspace(-2, 2, 6)], dict(num_quantized_bins=3)),
    ],
    reference=entropy_threshold,
    errors=[
        ErrorSample([np.ones(301), np.ones(301)], {}, "one number more"),
        ErrorSample([np.ones(101), np.ones(102)], {}, "at least num_quantized_bins"),
    ],
)
record(
    "_onehot_encode",
    samples=lambda rng: [Sample([np.array([2, 0, 7, -1], np.float32), np.zeros((4, 3))])],
    reference=lambda lhs, rhs: (lhs[:, None] == np.arange(rhs.shape[1])).astype(float),
    data=(1,),
    errors=[ErrorSample([np.ones(2), np.ones((3, 2))], {}, "lhs")],
)
exempt("_set_value", "tests/python/test_contrib.py")
exempt("_contrib_getnnz", "tests/python/test_contrib.py")
exempt("_contrib_edge_id", "tests/python/test_contrib.py")
exempt("IdentityAttachKLSparseReg", "tests/python/test_contrib.py")
