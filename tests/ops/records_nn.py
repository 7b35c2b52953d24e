# SPDX-License-Identifier: Apache-2.0
"""Records of the neural-network operators, against plain NumPy loops."""

import itertools

import numpy as np
from ops.harness import FLOATS, ErrorSample, Sample, record

LOOSE = {"float32": 1e-4, "float16": 2e-2, "bfloat16": 8e-2}


def normal(rng, *shape):
    return rng.standard_normal(shape)


def single(x):
    """The value of a parameter that is kept in single precision."""
    return float(np.float32(x))


def window_dims(kernel, stride, dilate, pad):
    ones = (1,) * len(kernel)
    return stride or ones, dilate or ones, pad or (0,) * len(kernel)


# ---- linear layers ------------------------------------------------------------------------------------------------


def fully_connected(x, w, b=None, num_hidden=0, no_bias=False, flatten=True):
    y = (x.reshape(x.shape[0], np.prod(x.shape[1:], dtype=int)) if flatten else x) @ w.T
    return y if b is None else y + b


record(
    "FullyConnected",
    dtypes=FLOATS,
    grad=True,
    rtol=LOOSE,
    samples=lambda rng: [
        Sample([normal(rng, 4, 3), normal(rng, 5, 3), normal(rng, 5)], dict(num_hidden=5)),
        Sample([normal(rng, 2, 3, 2), normal(rng, 4, 6), normal(rng, 4)], dict(num_hidden=4)),
        Sample([normal(rng, 2, 3, 4), normal(rng, 5, 4)], dict(num_hidden=5, no_bias=True, flatten=False)),
        Sample([normal(rng, 40, 70), normal(rng, 50, 70), normal(rng, 50)], dict(num_hidden=50)),
        Sample([normal(rng, 0, 3), normal(rng, 5, 3), normal(rng, 5)], dict(num_hidden=5), oracle=False),
    ],
    reference=fully_connected,
    errors=[
        ErrorSample([np.ones((2, 3)), np.ones((4, 5)), np.ones(4)], dict(num_hidden=4), "(4, 3)"),
        ErrorSample([np.ones((2, 3)), np.ones((4, 3)), np.ones(3)], dict(num_hidden=4), "bias"),
        ErrorSample([np.ones((2, 3)), np.ones((4, 3))], dict(num_hidden=4), "3 inputs"),
        ErrorSample([np.ones((2, 3)), np.ones((4, 3)), np.ones(4)], dict(num_hidden=0), "num_hidden"),
    ],
)


def convolution(x, w, b=None, kernel=(), stride=(), dilate=(), pad=(), num_filter=0, num_group=1, no_bias=False):
    stride, dilate, pad = window_dims(kernel, stride, dilate, pad)
    x = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in pad)])
    sizes = [(n - d * (k - 1) - 1) // s + 1 for n, k, s, d in zip(x.shape[2:], kernel, stride, dilate, strict=True)]
    y = np.zeros((x.shape[0], num_filter, *sizes), np.result_type(x, w))
    ins, outs = x.shape[1] // num_group, num_filter // num_group
    for g in range(num_group):
        weights = w[g * outs : (g + 1) * outs]
        for at in itertools.product(*map(range, kernel)):
            cut = [
                slice(a * d, a * d + s * (n - 1) + 1, s) for a, d, s, n in zip(at, dilate, stride, sizes, strict=True)
            ]
            part = x[(slice(None), slice(g * ins, (g + 1) * ins), *cut)]
            y[:, g * outs : (g + 1) * outs] += np.einsum("nc...,oc->no...", part, weights[(..., *at)])
    return y if b is None else y + b.reshape(-1, *(1,) * len(kernel))


record(
    "Convolution",
    dtypes=FLOATS,
    grad=True,
    rtol=LOOSE,
    samples=lambda rng: [
        Sample([normal(rng, 2, 3, 6, 5), normal(rng, 4, 3, 3, 2), normal(rng, 4)], dict(kernel=(3, 2), num_filter=4)),
        Sample(
            [normal(rng, 2, 4, 7, 6), normal(rng, 6, 2, 3, 3), normal(rng, 6)],
            dict(kernel=(3, 3), num_filter=6, num_group=2, stride=(2, 1), pad=(1, 2), dilate=(2, 1)),
        ),
        Sample(
            [normal(rng, 2, 8, 5, 5), normal(rng, 8, 1, 3, 3)],
            dict(kernel=(3, 3), num_filter=8, num_group=8, pad=(1, 1), no_bias=True),
        ),
        Sample(
            [normal(rng, 2, 3, 9), normal(rng, 4, 3, 3), normal(rng, 4)], dict(kernel=(3,), num_filter=4, stride=(2,))
        ),
        Sample(
            [normal(rng, 1, 2, 4, 3, 4), normal(rng, 3, 2, 2, 2, 3)],
            dict(kernel=(2, 2, 3), num_filter=3, no_bias=True, pad=(0, 1, 1)),
        ),
        Sample(
            [normal(rng, 3, 1, 12, 12), normal(rng, 20, 1, 5, 5), normal(rng, 20)], dict(kernel=(5, 5), num_filter=20)
        ),
        Sample(
            [normal(rng, 2, 20, 8, 8), normal(rng, 18, 20, 5, 5), normal(rng, 18)], dict(kernel=(5, 5), num_filter=18)
        ),
        Sample(
            [normal(rng, 0, 3, 6, 5), normal(rng, 4, 3, 3, 2), normal(rng, 4)],
            dict(kernel=(3, 2), num_filter=4),
            oracle=False,
        ),
    ],
    reference=convolution,
    errors=[
        ErrorSample(
            [np.ones((1, 1, 4, 4)), np.ones((1, 1, 5, 5))], dict(kernel=(5, 5), num_filter=1, no_bias=True), "(5, 5)"
        ),
        ErrorSample(
            [np.ones((1, 3, 4, 4)), np.ones((2, 3, 3, 3))], dict(kernel=(3, 3), num_filter=2, num_group=2, no_bias=True)
        ),
        ErrorSample(
            [np.ones((1, 3, 4)), np.ones((2, 3, 3, 3))], dict(kernel=(3, 3), num_filter=2, no_bias=True), "dimensions"
        ),
        ErrorSample(
            [np.ones((1, 3, 4, 4)), np.ones((2, 3, 3, 3))],
            dict(kernel=(3, 3), stride=(1,), num_filter=2, no_bias=True),
            "stride",
        ),
        ErrorSample(
            [np.ones((1, 4, 4, 3)), np.ones((2, 3, 3, 3))],
            dict(kernel=(3, 3), num_filter=2, no_bias=True, layout="NHWC"),
            "layout",
        ),
    ],
)


def deconvolution(
    x,
    w,
    b=None,
    kernel=(),
    stride=(),
    dilate=(),
    pad=(),
    adj=(),
    target_shape=(),
    num_filter=0,
    num_group=1,
    no_bias=True,
):
    stride, dilate, pad = window_dims(kernel, stride, dilate, pad)
    whole = [s * (n - 1) + d * (k - 1) + 1 for n, k, s, d in zip(x.shape[2:], kernel, stride, dilate, strict=True)]
    if target_shape:
        pad = [(n - t + 1) // 2 for n, t in zip(whole, target_shape, strict=True)]
        sizes = target_shape
    else:
        sizes = [n - 2 * p + a for n, p, a in zip(whole, pad, adj or (0,) * len(kernel), strict=True)]
    full = np.zeros(
        (x.shape[0], num_filter, *(n + s for n, s in zip(whole, stride, strict=True))), np.result_type(x, w)
    )
    ins, outs = x.shape[1] // num_group, num_filter // num_group
    for g in range(num_group):
        part, weights = x[:, g * ins : (g + 1) * ins], w[g * ins : (g + 1) * ins]
        for at in itertools.product(*map(range, kernel)):
            cut = [
                slice(a * d, a * d + s * (n - 1) + 1, s)
                for a, d, s, n in zip(at, dilate, stride, x.shape[2:], strict=True)
            ]
            full[(slice(None), slice(g * outs, (g + 1) * outs), *cut)] += np.einsum(
                "nc...,co->no...", part, weights[(..., *at)]
            )
    y = full[(..., *(slice(p, p + n) for p, n in zip(pad, sizes, strict=True)))]
    return y if b is None else y + b.reshape(-1, *(1,) * len(kernel))


record(
    "Deconvolution",
    dtypes=FLOATS,
    grad=True,
    rtol=LOOSE,
    samples=lambda rng: [
        Sample(
            [normal(rng, 2, 3, 4, 3), normal(rng, 3, 4, 4, 4), normal(rng, 4)],
            dict(kernel=(4, 4), num_filter=4, stride=(2, 2), pad=(1, 1), no_bias=False),
        ),
        Sample(
            [normal(rng, 2, 4, 3, 3), normal(rng, 4, 3, 3, 3)],
            dict(kernel=(3, 3), num_filter=6, num_group=2, stride=(2, 2), adj=(1, 0)),
        ),
        Sample([normal(rng, 2, 3, 4), normal(rng, 3, 2, 3)], dict(kernel=(3,), num_filter=2, stride=(2,))),
        Sample(
            [normal(rng, 2, 3, 4, 4), normal(rng, 3, 2, 3, 3)],
            dict(kernel=(3, 3), num_filter=2, stride=(2, 2), target_shape=(8, 7)),
            oracle=False,
        ),
        Sample([normal(rng, 1, 2, 2, 3, 2), normal(rng, 2, 2, 2, 2, 2)], dict(kernel=(2, 2, 2), num_filter=2)),
    ],
    reference=deconvolution,
    errors=[
        ErrorSample(
            [np.ones((1, 1, 4, 4)), np.ones((1, 1, 3, 3))],
            dict(kernel=(3, 3), num_filter=1, target_shape=(30, 30)),
            "target_shape",
        ),
        ErrorSample(
            [np.ones((1, 1, 4, 4)), np.ones((1, 1, 3, 3))], dict(kernel=(3, 3), num_filter=1, adj=(1, 1)), "adj"
        ),
    ],
)


def product(alpha=1.0):
    def run(a, b, transpose_a=False, transpose_b=False, alpha=alpha, axis=-2):
        a, b = np.moveaxis(a, axis, -2), np.moveaxis(b, axis, -2)
        a = a.swapaxes(-1, -2) if transpose_a else a
        b = b.swapaxes(-1, -2) if transpose_b else b
        return np.moveaxis(alpha * (a @ b), -2, axis)

    return run


def dot(a, b, transpose_a=False, transpose_b=False):
    y = np.tensordot(a, b, ((0 if transpose_a else -1,), (-1 if transpose_b else 0,)))
    return y.reshape(1) if y.ndim == 0 else y


record(
    "dot",
    dtypes=FLOATS,
    grad=True,
    rtol=LOOSE,
    samples=lambda rng: [
        Sample([normal(rng, 3, 4), normal(rng, 4, 5)]),
        Sample([normal(rng, 4, 2, 3), normal(rng, 5, 6, 4)], dict(transpose_a=True, transpose_b=True)),
        Sample([normal(rng, 2, 3, 4), normal(rng, 4, 5, 6)]),
        Sample([normal(rng, 3), normal(rng, 3)]),
        Sample([normal(rng, 3), normal(rng, 3, 2)]),
        Sample([normal(rng, 2, 3), normal(rng, 3)]),
        Sample([normal(rng, 60, 50), normal(rng, 40, 50)], dict(transpose_b=True)),
        Sample([normal(rng, 3, 0), normal(rng, 0, 2)], oracle=False),
    ],
    reference=dot,
    errors=[ErrorSample([np.ones((2, 3)), np.ones((4, 3))], {}, "3 and 4")],
)
record(
    "batch_dot",
    dtypes=FLOATS,
    grad=True,
    rtol=LOOSE,
    samples=lambda rng: [
        Sample([normal(rng, 2, 3, 4), normal(rng, 2, 4, 5)]),
        Sample([normal(rng, 2, 4, 3), normal(rng, 2, 5, 4)], dict(transpose_a=True, transpose_b=True)),
        Sample([normal(rng, 2, 2, 3, 4), normal(rng, 2, 2, 4, 5)]),
        Sample([normal(rng, 3, 40, 50), normal(rng, 3, 30, 50)], dict(transpose_b=True)),
    ],
    reference=product(),
    errors=[
        ErrorSample([np.ones((2, 3, 4)), np.ones((1, 4, 5))], {}, "batch"),
        ErrorSample([np.ones((3, 4)), np.ones((4, 5))], {}, "at least 3"),
        ErrorSample([np.ones((2, 3, 4)), np.ones((2, 3, 5))], {}, "4 columns and 3 rows"),
    ],
)
record(
    "_linalg_gemm2",
    grad=True,
    rtol=LOOSE,
    samples=lambda rng: [
        Sample([normal(rng, 3, 4), normal(rng, 4, 5)], dict(alpha=2.0)),
        Sample([normal(rng, 2, 4, 3), normal(rng, 2, 5, 4)], dict(transpose_a=True, transpose_b=True)),
        Sample([normal(rng, 3, 2, 4), normal(rng, 4, 2, 5)], dict(axis=0)),
    ],
    reference=product(),
    errors=[ErrorSample([np.ones((2, 3)), np.ones((4, 3))], {}, "3 columns and 4 rows")],
)

# ---- pooling ------------------------------------------------------------------------------------------------------


def signed_root(x, p):
    return np.sign(x) * np.abs(x) ** (1 / p)


def pooling(
    x,
    kernel=(),
    stride=(),
    pad=(),
    pool_type="max",
    global_pool=False,
    pooling_convention="valid",
    p_value=2,
    count_include_pad=True,
    whole=False,
    layout="NCHW",
):
    if layout.endswith("C"):
        params = dict(kernel=kernel, pool_type=pool_type, stride=stride, pad=pad, global_pool=global_pool,
                      pooling_convention=pooling_convention, p_value=p_value, count_include_pad=count_include_pad)
        return np.moveaxis(pooling(np.moveaxis(x, -1, 1), **params), 1, -1)
    if global_pool:
        kernel, stride, pad = x.shape[2:], (), ()
    stride, _, pad = window_dims(kernel, stride, (), pad)
    room = [n + 2 * p - k for n, p, k in zip(x.shape[2:], pad, kernel, strict=True)]
    up = pooling_convention == "full"
    sizes = [(r + (s - 1) * up) // s + 1 for r, s in zip(room, stride, strict=True)]
    y = np.zeros((*x.shape[:2], *sizes), x.dtype)
    for at in itertools.product(*map(range, sizes)):
        start = [a * s - p for a, s, p in zip(at, stride, pad, strict=True)]
        stop = [min(b + k, n + p) for b, k, n, p in zip(start, kernel, x.shape[2:], pad, strict=True)]
        cut = [slice(max(b, 0), min(e, n)) for b, e, n in zip(start, stop, x.shape[2:], strict=True)]
        part = x[(..., *cut)].reshape(*x.shape[:2], -1)
        count = np.prod([e - b for b, e in zip(start, stop, strict=True)]) if count_include_pad else part.shape[-1]
        count = np.prod(kernel) if whole else count
        y[(..., *at)] = {
            "max": lambda part: part.max(-1),
            "avg": lambda part, count=count: part.sum(-1) / count,
            "sum": lambda part: part.sum(-1),
            "lp": lambda part: signed_root((part**p_value).sum(-1), p_value),
        }[pool_type](part)
    return y


def positive_normal(rng, *shape):
    return np.abs(normal(rng, *shape)) + 0.1


def pool_samples(rng):
    samples = []
    for kind in ("max", "avg", "sum", "lp"):
        more = dict(p_value=3) if kind == "lp" else {}
        data = positive_normal if kind == "lp" else normal  # a root of a sum near zero has no gradient to speak of
        for channels in (3, 20):
            x = data(rng, 2, channels, 6, 7)
            for p in (
                dict(kernel=(2, 2), stride=(2, 2)),
                dict(kernel=(3, 2), stride=(2, 2), pad=(1, 0), pooling_convention="full"),
                dict(kernel=(3, 3), pad=(1, 1)),
            ):
                # 1.9.1 divides gradients by the whole window where forward does not
                samples.append(
                    Sample([x], dict(p, pool_type=kind, **more), oracle=kind != "avg" or p["kernel"] == (3, 3))
                )
        samples.append(Sample([data(rng, 2, 3, 5, 4)], dict(pool_type=kind, global_pool=True, **more)))
        samples.append(Sample([data(rng, 2, 3, 9)], dict(pool_type=kind, kernel=(3,), stride=(2,), **more)))
        samples.append(
            Sample([data(rng, 1, 2, 4, 5, 3)], dict(pool_type=kind, kernel=(2, 2, 2), stride=(2, 1, 1), **more))
        )
    samples.append(
        Sample([normal(rng, 1, 2, 5, 5)], dict(kernel=(3, 3), pad=(1, 1), pool_type="avg", count_include_pad=False))
    )
    for kind in ("max", "avg", "lp"):
        more = dict(p_value=3) if kind == "lp" else {}
        for shape, p in (
            ((2, 9, 3), dict(kernel=(3,), stride=(2,), layout="NWC")),
            ((2, 6, 7, 20), dict(kernel=(3, 2), stride=(2, 2), pad=(1, 1), layout="NHWC")),
            ((2, 4, 5, 3), dict(global_pool=True, layout="NHWC")),
            ((1, 4, 5, 3, 2), dict(kernel=(2, 2, 2), stride=(2, 1, 1), layout="NDHWC")),
        ):
            data = positive_normal if kind == "lp" else normal
            samples.append(Sample([data(rng, *shape)], dict(p, pool_type=kind, **more)))
    for p_value in (1, 2, 3):
        samples.append(Sample([normal(rng, 2, 3, 5)], dict(kernel=(2,), pool_type="lp", p_value=p_value), grad=False))
    return samples


record(
    "Pooling",
    dtypes=FLOATS,
    grad=True,
    rtol=LOOSE,
    samples=pool_samples,
    reference=pooling,
    errors=[
        ErrorSample([np.ones((1, 1, 4, 4))], dict(kernel=(5, 5)), "(5, 5)"),
        ErrorSample([np.ones((1, 1, 4, 4))], dict(), "kernel"),
        ErrorSample([np.ones((3, 4))], dict(kernel=(2, 2)), "dimensions"),
        ErrorSample([np.ones((1, 1, 4, 4))], dict(kernel=(2, 2), pool_type="lp"), "p_value"),
        ErrorSample([np.ones((1, 1, 4, 4), np.int32)], dict(kernel=(2, 2)), "int32"),
    ],
)
record(
    "Pooling_v1",
    grad=True,
    samples=lambda rng: [
        Sample(
            [normal(rng, 1, 2, 7, 7)], dict(kernel=(2, 2), stride=(2, 2), pool_type="avg", pooling_convention="full")
        ),
        Sample([normal(rng, 1, 2, 6, 6)], dict(kernel=(2, 2), stride=(2, 2))),
    ],
    reference=lambda x, **p: pooling(x, whole=True, **p),
)


def up_sampling(*inputs, scale=1, sample_type="nearest", num_args=1, multi_input_mode="concat", num_filter=0):
    height = inputs[0].shape[2] * scale
    parts = [x.repeat(height // x.shape[2], 2).repeat(height // x.shape[2], 3) for x in inputs]
    return sum(parts[1:], parts[0]) if multi_input_mode == "sum" else np.concatenate(parts, 1)


def bilinear_sampling(x, w, scale):
    size = 2 * scale - scale % 2
    c = x.shape[1]
    return deconvolution(
        x, w, kernel=(size, size), stride=(scale, scale), pad=(scale // 2, scale // 2), num_filter=c, num_group=c
    )


record(
    "UpSampling",
    grad=True,
    rtol=LOOSE,
    samples=lambda rng: [
        Sample([normal(rng, 1, 2, 3, 3)], dict(scale=2, sample_type="nearest", num_args=1)),
        Sample([normal(rng, 1, 2, 4, 4), normal(rng, 1, 1, 2, 2)], dict(scale=2, sample_type="nearest", num_args=2)),
        Sample(
            [normal(rng, 1, 2, 4, 4), normal(rng, 1, 2, 2, 2)],
            dict(scale=2, sample_type="nearest", num_args=2, multi_input_mode="sum"),
        ),
        Sample(
            [normal(rng, 1, 2, 3, 3), normal(rng, 2, 1, 5, 5)],
            dict(scale=3, sample_type="bilinear", num_args=2, num_filter=2),
        ),
    ],
    reference=lambda *x, **p: (
        bilinear_sampling(*x, p["scale"]) if p["sample_type"] == "bilinear" else up_sampling(*x, **p)
    ),
    errors=[ErrorSample([np.ones((2, 3))], dict(scale=2, sample_type="nearest", num_args=1), "4 dimensions")],
)

# ---- softmax and losses -------------------------------------------------------------------------------------------


def softmax(x, length=None, axis=-1, temperature=None, use_length=False, dtype=None, sign=1):
    x = sign * x / (temperature or 1.0)
    if length is not None:
        position = np.arange(x.shape[axis]).reshape([-1 if d == axis % x.ndim else 1 for d in range(x.ndim)])
        x = np.where(position < np.expand_dims(length, axis), x, -np.inf)
    top = x.max(axis, keepdims=True)
    e = np.exp(x - np.where(np.isfinite(top), top, 0))
    total = e.sum(axis, keepdims=True)
    return e / np.where(total == 0, 1, total)


SOFTMAX_PARAMS = [
    ((3, 5), {}),
    ((2, 4, 300), dict(axis=1, temperature=0.7)),
    ((7, 3), dict(axis=0)),
    ((4, 33), {}),
]
for name, reference in (
    ("softmax", softmax),
    ("softmin", lambda x, **p: softmax(x, sign=-1, **p)),
    ("log_softmax", lambda x, **p: np.log(softmax(x, **p))),
):
    record(
        name,
        dtypes=FLOATS,
        grad=True,
        rtol=LOOSE,
        samples=lambda rng, name=name: (
            [Sample([normal(rng, *s)], p) for s, p in SOFTMAX_PARAMS]
            + [Sample([np.zeros((2, 0, 3))], {}, oracle=False)]
            + [
                Sample(
                    [normal(rng, 2, 5, 3), np.array([[1, 2, 3], [5, 0, 4]], np.int32)], dict(axis=1, use_length=True)
                )
                for _ in range(name == "softmax")
            ]
        ),
        reference=reference,
        errors=[
            ErrorSample([np.ones((2, 3))], dict(axis=2), "axis"),
            ErrorSample([np.ones((2, 3), np.int32)], {}, "int32"),
            ErrorSample([np.ones((2, 3))], dict(temperature=0.0), "temperature"),
        ],
    )
def pick_log_softmax(x, index, keepdims=False):
    index = np.clip(index.astype(int).reshape(x.shape[:-1]), 0, x.shape[-1] - 1)[..., None]
    picked = np.take_along_axis(np.log(softmax(x)), index, -1)
    return picked if keepdims else picked[..., 0]


record(
    "_pick_log_softmax",
    dtypes=FLOATS,
    data=(0,),
    grad=True,
    oracle=False,
    rtol=LOOSE,
    samples=lambda rng: [
        Sample([normal(rng, 4, 5), np.array([0, 4, 9, -3])]),
        Sample([normal(rng, 2, 3, 37), rng.integers(0, 37, (2, 3, 1)).astype(np.int32)], dict(keepdims=True)),
        Sample([normal(rng, 3, 1000), rng.integers(0, 1000, (3,)).astype(float)]),
        Sample([np.array([[0.0, 200.0, -200.0], [-np.inf, 1.0, 2.0]]), np.array([0, 1])], grad=False),
        Sample([normal(rng, 0, 3), np.zeros(0, int)]),
        Sample([normal(rng, 2, 1), np.zeros(2, int)]),
    ],
    reference=pick_log_softmax,
    errors=[
        ErrorSample([np.ones(3), np.ones(1)], {}, "2 dimensions"),
        ErrorSample([np.ones((2, 3)), np.ones(3)], {}, "index"),
        ErrorSample([np.ones((2, 3), np.int32), np.ones(2)], {}, "int32"),
    ],
)


record(
    "SoftmaxActivation",
    grad=True,
    rtol=LOOSE,
    samples=lambda rng: [Sample([normal(rng, 3, 4)]), Sample([normal(rng, 2, 3, 4)], dict(mode="channel"))],
    reference=lambda x, mode="instance": softmax(x, axis=1 if mode == "channel" else -1),
)


def softmax_output(x, label, multi_output=False, preserve_shape=False, **params):
    if multi_output:
        return softmax(x, axis=1)
    return softmax(x) if preserve_shape else softmax(x.reshape(x.shape[0], -1)).reshape(x.shape)


# The gradients of output layers are not those of their outputs: tests/ops/test_nn.py.
record(
    "SoftmaxOutput",
    rtol=LOOSE,
    data=(0,),
    samples=lambda rng: [
        Sample([normal(rng, 4, 3), np.array([0.0, 1, 2, 1])]),
        Sample([normal(rng, 2, 3, 4), rng.integers(0, 3, (2, 4)) * 1.0], dict(multi_output=True)),
        Sample([normal(rng, 2, 4, 3), rng.integers(0, 3, (2, 4)) * 1.0], dict(preserve_shape=True)),
    ],
    reference=softmax_output,
    errors=[ErrorSample([np.ones((4, 3)), np.ones(5)], {}, "label")],
)
record(
    "softmax_cross_entropy",
    grad=True,
    data=(0,),
    rtol=LOOSE,
    samples=lambda rng: [Sample([normal(rng, 4, 3), np.array([0.0, 1, 2, 1])])],
    reference=lambda x, label: -np.log(softmax(x))[np.arange(len(x)), label.astype(int)].sum().reshape(1),
    errors=[ErrorSample([np.ones((4, 3)), np.ones(5)], {}, "label")],
)
for name, reference in (
    ("LinearRegressionOutput", lambda x, label, **p: x),
    ("MAERegressionOutput", lambda x, label, **p: x),
    ("LogisticRegressionOutput", lambda x, label, **p: 1 / (1 + np.exp(-x))),
):
    record(
        name,
        data=(0,),
        samples=lambda rng: [
            Sample([normal(rng, 4, 3), normal(rng, 4, 3)]),
            Sample([normal(rng, 4, 1), normal(rng, 4)], dict(grad_scale=2.0)),
        ],
        reference=reference,
        errors=[ErrorSample([np.ones((4, 3)), np.ones((4, 2))], {}, "label")],
    )
record(
    "SVMOutput",
    data=(0,),
    samples=lambda rng: [Sample([normal(rng, 4, 3), np.array([0.0, 1, 2, 1])])],
    reference=lambda x, label: x,
)

# ---- normalization ------------------------------------------------------------------------------------------------


def normalize(x, axes, eps):
    mean, var = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    return (x - mean) / np.sqrt(var + single(eps)), mean, np.sqrt(var + single(eps))


def along(vector, axis, ndim):
    return vector.reshape([-1 if d == axis % ndim else 1 for d in range(ndim)])


DEFAULT_EPS = single(1e-3)


def batch_norm(
    x,
    gamma,
    beta,
    mean,
    var,
    axis=1,
    eps=DEFAULT_EPS,
    momentum=None,
    fix_gamma=True,
    use_global_stats=False,
    output_mean_var=False,
):
    # Training samples are those that give a momentum.
    own = momentum is not None and not use_global_stats
    axes = tuple(d for d in range(x.ndim) if d != axis % x.ndim)
    m, v = (x.mean(axes), x.var(axes)) if own else (mean, var)
    g = np.ones_like(gamma) if fix_gamma else gamma
    inverse = 1 / np.sqrt(v + eps)
    y = (x - along(m, axis, x.ndim)) * along(inverse * g, axis, x.ndim) + along(beta, axis, x.ndim)
    outs = [y, m, inverse] if output_mean_var else [y]
    keep = single(momentum) if own else 1.0
    return [*outs, mean * keep + m * (1 - keep), var * keep + v * (1 - keep)]


def norm_inputs(rng, *shape, channels=3):
    return [normal(rng, *shape), *(normal(rng, channels) for _ in range(3)), rng.random(channels) + 0.5]


record(
    "BatchNorm",
    grad=True,
    rtol=LOOSE,
    mutated=(3, 4),
    data=(0, 1, 2),
    oracle=False,  # moving statistics move in the backward pass there
    samples=lambda rng: [
        Sample(norm_inputs(rng, 4, 3, 5, 2), dict(fix_gamma=False, momentum=0.8), train=True),
        Sample(norm_inputs(rng, 6, 3), dict(fix_gamma=False, momentum=0.8), train=True),
        Sample(norm_inputs(rng, 4, 5, 3), dict(axis=-1, fix_gamma=False, momentum=0.8), train=True),
        Sample(norm_inputs(rng, 4, 3, 2), dict(fix_gamma=False, momentum=0.8, use_global_stats=True), train=True),
        Sample(norm_inputs(rng, 4, 3, 2, 2), dict(fix_gamma=True, momentum=0.8), train=True),
        Sample(
            norm_inputs(rng, 4, 3, 5, 2),
            dict(fix_gamma=False, momentum=0.8, output_mean_var=True),
            train=True,
            grad=False,
        ),
        Sample(norm_inputs(rng, 4, 3, 5, 2), dict(fix_gamma=False), grad=False),
        Sample(norm_inputs(rng, 4, 3, 5, 2), dict(eps=0.1), grad=False),
    ],
    reference=batch_norm,
    errors=[
        ErrorSample([np.ones((4, 3)), np.ones(2), np.ones(3), np.ones(3), np.ones(3)], {}, "gamma"),
        ErrorSample([np.ones((4, 3)), *(np.ones(3) for _ in range(4))], dict(axis=3), "axis"),
    ],
)

record(
    "_contrib_SyncBatchNorm",
    grad=True,
    rtol=LOOSE,
    mutated=(3, 4),
    data=(0, 1, 2),
    oracle=False,
    samples=lambda rng: [
        Sample(norm_inputs(rng, 4, 3, 5, 2), dict(fix_gamma=False, momentum=0.8, key="a"), train=True),
        Sample(norm_inputs(rng, 4, 3, 5, 2), dict(fix_gamma=False, key="a", ndev=2), grad=False),
    ],
    reference=lambda *inputs, key, ndev=1, **p: batch_norm(*inputs, **p),
)


def layer_norm(x, gamma, beta, axis=-1, eps=1e-5, output_mean_var=False):
    y, mean, std = normalize(x, axis, eps)
    y = y * along(gamma, axis, x.ndim) + along(beta, axis, x.ndim)
    return [y, mean, std] if output_mean_var else y


record(
    "LayerNorm",
    dtypes=FLOATS,
    grad=True,
    rtol=LOOSE,
    samples=lambda rng: [
        Sample([normal(rng, 4, 3, 8), normal(rng, 8), normal(rng, 8)]),
        Sample([normal(rng, 4, 3, 8), normal(rng, 3), normal(rng, 3)], dict(axis=1, eps=0.01)),
        Sample([normal(rng, 40, 33), normal(rng, 33), normal(rng, 33)]),
        Sample([normal(rng, 4, 8), normal(rng, 8), normal(rng, 8)], dict(output_mean_var=True), grad=False),
    ],
    reference=layer_norm,
    errors=[ErrorSample([np.ones((4, 3)), np.ones(2), np.ones(3)], {}, "gamma")],
)


def instance_norm(x, gamma, beta, eps=1e-3):
    return normalize(x, tuple(range(2, x.ndim)), eps)[0] * along(gamma, 1, x.ndim) + along(beta, 1, x.ndim)


def group_norm(x, gamma, beta, num_groups=1, eps=1e-5, output_mean_var=False):
    y, mean, std = normalize(x.reshape(x.shape[0], num_groups, -1), -1, eps)
    y = (y * gamma[:, None] + beta[:, None]).reshape(x.shape)
    return [y, mean[..., 0], std[..., 0]] if output_mean_var else y


record(
    "InstanceNorm",
    grad=True,
    rtol=LOOSE,
    samples=lambda rng: [
        Sample([normal(rng, 2, 3, 5), normal(rng, 3), normal(rng, 3)]),
        Sample([normal(rng, 2, 3, 4, 5), normal(rng, 3), normal(rng, 3)], dict(eps=0.01)),
    ],
    reference=instance_norm,
    errors=[ErrorSample([np.ones((4, 3)), np.ones(3), np.ones(3)], {}, "dimensions")],
)
record(
    "GroupNorm",
    grad=True,
    rtol=LOOSE,
    samples=lambda rng: [
        Sample([normal(rng, 2, 4, 3), normal(rng, 2), normal(rng, 2)], dict(num_groups=2)),
        Sample([normal(rng, 2, 4, 3, 2), normal(rng, 1), normal(rng, 1)]),
        Sample(
            [normal(rng, 2, 4, 3), normal(rng, 2), normal(rng, 2)], dict(num_groups=2, output_mean_var=True), grad=False
        ),
    ],
    reference=group_norm,
    errors=[ErrorSample([np.ones((2, 4, 3)), np.ones(3), np.ones(3)], dict(num_groups=3), "num_groups")],
)


def l2_normalization(x, mode="instance", eps=1e-10):
    axes = {"instance": tuple(range(1, x.ndim)), "channel": 1, "spatial": tuple(range(2, x.ndim))}[mode]
    return x / np.sqrt((x * x).sum(axes, keepdims=True) + eps)


record(
    "L2Normalization",
    grad=True,
    rtol=LOOSE,
    samples=lambda rng: [
        Sample([normal(rng, 2, 3, 4)], dict(mode=mode)) for mode in ("instance", "channel", "spatial")
    ],
    reference=l2_normalization,
    errors=[ErrorSample([np.ones((4, 3))], dict(mode="channel"), "dimensions")],
)


def lrn(x, nsize, alpha=1e-4, beta=0.75, knorm=2):
    squares = np.pad(x * x, [(0, 0), (nsize // 2, nsize // 2), (0, 0), (0, 0)])
    total = sum(squares[:, i : i + x.shape[1]] for i in range(nsize))
    return x * (knorm + float(np.float32(alpha) / np.float32(nsize)) * total) ** -beta


record(
    "LRN",
    grad=True,
    rtol=LOOSE,
    samples=lambda rng: [
        Sample([normal(rng, 2, 7, 3, 2)], dict(nsize=5, alpha=0.2)),
        Sample([normal(rng, 1, 3, 2, 2)], dict(nsize=3)),
    ],
    reference=lrn,
    errors=[
        ErrorSample([np.ones((1, 3, 2, 2))], dict(nsize=4), "odd"),
        ErrorSample([np.ones((1, 3, 2))], dict(nsize=3), "4 dimensions"),
    ],
)

# ---- Dropout, Embedding -------------------------------------------------------------------------------------------


def check_dropout(outputs, inputs, params):
    (y,), (x, *_) = outputs, inputs
    kept = y != 0
    scale = 1 / (1 - params["p"])
    np.testing.assert_allclose(y[kept], (x * scale)[kept], rtol=1e-5)
    for axis in params.get("axes", ()):
        assert (kept == kept.take([0], axis)).all()
    groups = kept.size / np.prod([x.shape[a] for a in params.get("axes", ())] or [1])
    assert abs(kept.mean() - (1 - params["p"])) < 5 * np.sqrt(params["p"] * (1 - params["p"]) / groups)


record(
    "Dropout",
    random=True,
    samples=lambda rng: [
        Sample([normal(rng, 50, 60) + 10], dict(p=0.5), train=True),
        Sample([normal(rng, 50, 61) + 10], dict(p=0.2, mode="always")),
        Sample([normal(rng, 300, 4, 5) + 10], dict(p=0.3, axes=(1, 2)), train=True),
    ],
    check=check_dropout,
    errors=[ErrorSample([np.ones(3)], dict(p=1.5), "p"), ErrorSample([np.ones(3)], dict(p=0.5, axes=(2,)), "axes")],
)
record(
    "Embedding",
    dtypes=FLOATS,
    grad=True,
    data=(1,),
    samples=lambda rng: [
        Sample([np.array([[0.0, 5], [-1, 1.7]]), normal(rng, 3, 2)], dict(input_dim=3, output_dim=2)),
        Sample([rng.integers(0, 9, (5, 4)).astype(np.int32), normal(rng, 9, 70)], dict(input_dim=9, output_dim=70)),
        Sample([np.zeros((0, 2)), normal(rng, 3, 2)], dict(input_dim=3, output_dim=2), oracle=False),
    ],
    reference=lambda index, weight, **p: weight[np.clip(index.astype(int), 0, len(weight) - 1)],
    errors=[ErrorSample([np.ones(3), np.ones((3, 3))], dict(input_dim=3, output_dim=2), "weight")],
)
