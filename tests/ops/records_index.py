# SPDX-License-Identifier: Apache-2.0
"""Records of tensor operators that order, index and sum: topk, gather_nd, sequences, cumsum, windows."""

import numpy as np
from ops.harness import ALL_DTYPES, ErrorSample, Sample, record


def normal(rng, *shape):
    return rng.standard_normal(shape)


def index(*values):
    return np.array(values, np.float32)


def tuples(*rows):
    return np.array(rows, np.int32)


# ---- index tuples -------------------------------------------------------------------------------------------------


def gather_nd(x, i):
    return x[tuple(i.astype(np.int64))]


def scatter_nd(x, i, shape):
    out = np.zeros(shape, x.dtype)
    i = i.astype(np.int64)
    for k in np.ndindex(*i.shape[1:]):
        out[tuple(i[(slice(None), *k)])] = x[k]
    return out


def scatter_set_nd(lhs, rhs, i, shape):
    out = lhs.copy()
    out[tuple(i.astype(np.int64))] = rhs
    return out


record(
    "gather_nd",
    dtypes=ALL_DTYPES,
    data=(0,),
    grad=True,
    reference=gather_nd,
    samples=lambda rng: [
        Sample([normal(rng, 3, 4), tuples([0, 1, 0], [3, 2, 3])]),
        Sample([normal(rng, 3, 4), tuples([0, 2])]),
        Sample([normal(rng, 3, 4), index(-1, -3)[None]], oracle=False),  # 1.9.1 crashes
        Sample([normal(rng, 2, 3, 4), np.zeros((2, 2, 3), np.int32)]),
    ],
    errors=[
        ErrorSample(
            [np.ones((3, 4)), tuples([0, 7], [3, 2])],
            {},
            "index 7 is out of bounds for axis 0 with size 3",
            IndexError,
            at_wait=True,
        ),
        ErrorSample([np.ones((3, 4)), tuples([0, -5], [3, 2])], {}, "index -5", IndexError, at_wait=True),
        ErrorSample([np.ones((3, 4)), tuples([0], [1], [2])], {}, "dimensions"),
    ],
)
record(
    "scatter_nd",
    dtypes=ALL_DTYPES,
    data=(0,),
    grad=True,
    reference=scatter_nd,
    samples=lambda rng: [
        Sample([normal(rng, 3), tuples([0, 1, 1], [1, 0, 1])], dict(shape=(2, 2))),
        Sample([normal(rng, 2, 2), tuples([1, 0])], dict(shape=(3, 2))),
        Sample([normal(rng, 2), tuples([0, 0])], dict(shape=(3,)), grad=False),
    ],
    errors=[
        ErrorSample([np.ones(2), tuples([0, 5])], dict(shape=(3,)), "index 5", IndexError, at_wait=True),
        ErrorSample([np.ones((2, 2)), tuples([1, 0])], dict(shape=(2, 3)), "(2, 2)"),
    ],
)
record(
    "_scatter_set_nd",
    dtypes=ALL_DTYPES,
    data=(0, 1),
    grad=True,
    reference=scatter_set_nd,
    oracle=False,
    samples=lambda rng: [Sample([normal(rng, 3, 4), normal(rng, 2), tuples([0, 1], [3, 2])], dict(shape=(3, 4)))],
    errors=[
        ErrorSample([np.ones(3), np.ones(1), tuples([3])], dict(shape=(3,)), "index 3", IndexError, at_wait=True),
        ErrorSample([np.ones(3), np.ones(2), tuples([1])], dict(shape=(3,)), "rhs"),
    ],
)
record(
    "_ravel_multi_index",
    dtypes=("float32", "float64", "int32", "int64"),
    reference=lambda x, shape: np.ravel_multi_index(tuple(x.astype(np.int64)), (7, 6)),
    samples=lambda rng: [
        Sample([np.array([[3.0, 6, 6], [4, 5, 1]])], dict(shape=(7, 6))),
        Sample([np.array([[3.0, 6, 6], [4, 5, 1]])], dict(shape=(-1, 6))),
    ],
    errors=[ErrorSample([np.ones((3, 2))], dict(shape=(7, 6)), "2 rows")],
)
record(
    "_unravel_index",
    dtypes=("float32", "float64", "int32", "int64"),
    reference=lambda x, shape: np.stack(np.unravel_index(x.astype(np.int64), (7, 6))),
    samples=lambda rng: [
        Sample([np.array([22.0, 41, 37])], dict(shape=(7, 6))),
        Sample([np.array([[22.0, 41], [3, 4]])], dict(shape=(-1, 6)), oracle=False),  # 1.9.1 loses values
    ],
)


def index_copy(old, i, new):
    out = old.copy()
    out[i.astype(np.int64)] = new
    return out


record(
    "_contrib_index_copy",
    dtypes=ALL_DTYPES,
    data=(0, 2),
    grad=True,
    reference=index_copy,
    samples=lambda rng: [Sample([normal(rng, 3, 2), np.array([2, 0], np.int32), normal(rng, 2, 2)])],
    errors=[
        ErrorSample(
            [np.ones((3, 2)), np.array([7], np.int32), np.ones((1, 2))], {}, "index 7", IndexError, at_wait=True
        )
    ],
)
record(
    "_contrib_boolean_mask",
    dtypes=ALL_DTYPES,
    data=(0,),
    grad=True,
    symbolic=False,  # the shape is known only when it runs
    out=False,
    reference=lambda x, mask, axis=0: x[mask.astype(bool)],
    samples=lambda rng: [
        Sample([normal(rng, 3, 2), index(1, 0, 1)]),
        Sample([normal(rng, 4), np.array([0, 3, 0, 1], np.int32)]),
        Sample([normal(rng, 3, 2), index(0, 0, 0)], grad=False),
    ],
    errors=[
        ErrorSample([np.ones((3, 2)), index(0, 1)], {}, "index"),
        ErrorSample([np.ones((3, 2)), index(0, 1)], dict(axis=1), "axis"),
    ],
)

# ---- ordering -----------------------------------------------------------------------------------------------------


def stable_order(x, axis, ascending):
    """Indices in order; equal values keep their order, NaN is the largest."""
    x = np.asarray(x, np.float64)
    key = np.where(np.isnan(x), np.inf, x)
    return np.argsort(key if ascending else -key, axis=axis, kind="stable")


def topk(x, axis=-1, k=1, ret_typ="indices", is_ascend=False, dtype="float32"):
    whole = axis is None
    flat, a = (x.ravel(), 0) if whole else (x, axis)
    order = stable_order(flat, a, is_ascend)
    order = np.take(order, range(flat.shape[a] if k < 1 else k), a)
    values = np.take_along_axis(flat, order, a)
    if ret_typ == "mask":
        mask = np.zeros(flat.shape)
        np.put_along_axis(mask, order, 1, a)
        return mask.reshape(x.shape)
    return {"indices": order, "value": values, "both": (values, order)}[ret_typ]


def distinct(rng, *shape):
    return rng.permutation(np.prod(shape, dtype=int)).reshape(shape).astype(float)


TOPK = [
    dict(),
    dict(k=2, ret_typ="both"),
    dict(k=2, ret_typ="value", is_ascend=True),
    dict(k=2, ret_typ="mask"),
    dict(k=3, axis=None),
    dict(k=0),
    dict(k=1, axis=0, dtype="int32"),
    dict(k=3, axis=None, ret_typ="value"),
]
record(
    "topk",
    dtypes=ALL_DTYPES,
    grad=True,
    reference=topk,
    samples=lambda rng: (
        [Sample([distinct(rng, 4, 5)], p, grad=p.get("ret_typ") in ("value", "both")) for p in TOPK[1:] + TOPK[:1]]
        + [
            Sample([np.array([[1.0, 3, 3, 1, 3]])], dict(k=4), grad=False),
            Sample([distinct(rng, 2, 9000)], dict(k=3, ret_typ="both"), grad=False),
        ]
    ),
    errors=[ErrorSample([np.ones((3, 3))], dict(k=9), "k = 9"), ErrorSample([np.ones((3, 3))], dict(axis=2), "axis 2")],
)
record(
    "sort",
    dtypes=ALL_DTYPES,
    grad=True,
    reference=lambda x, axis=-1, is_ascend=True: np.sort(x, axis) if is_ascend else -np.sort(-x.astype(float), axis),
    samples=lambda rng: [
        Sample([distinct(rng, 3, 4)], oracle=False),  # there the gradient needs an axis
        Sample([distinct(rng, 3, 4)], dict(is_ascend=False, axis=0)),
        Sample([distinct(rng, 3, 4)], dict(axis=None), oracle=False),  # 1.9.1 has no gradient
        Sample([rng.standard_normal(10000)], grad=False),
    ],
    errors=[ErrorSample([np.ones((3, 3))], dict(axis=2), "axis 2")],
)
record(
    "argsort",
    dtypes=ALL_DTYPES,
    reference=lambda x, axis=-1, is_ascend=True, dtype="float32": stable_order(
        x.ravel() if axis is None else x, 0 if axis is None else axis, is_ascend
    ),
    samples=lambda rng: [
        Sample([np.array([[3.0, 1, 2], [0, 5, 4], [1, 1, 1]])]),
        Sample([np.array([[3.0, 1, 2], [0, 5, 4], [1, 1, 1]])], dict(is_ascend=False)),
        Sample([distinct(rng, 3, 4)], dict(axis=None, dtype="int32")),
        Sample([np.array([1, np.nan, 3, -0.0, 0.0, -np.inf])], oracle=False),
        Sample([rng.integers(0, 50, 9000).astype(float)], dict(dtype="int32"), oracle=False),  # 1.9.1 is not stable
    ],
)

# ---- sequences ----------------------------------------------------------------------------------------------------


def lengths_for(x, lengths, axis):
    time, batch = x.shape[axis], x.shape[1 - axis]
    return np.full(batch, time) if lengths is None else np.clip(lengths.astype(np.int64), 0, time)


def sequence_mask(x, lengths=None, use_sequence_length=False, value=0, axis=0):
    moved = np.moveaxis(x, axis, 0).copy()
    for b, n in enumerate(lengths_for(x, lengths, axis)):
        moved[n:, b] = value
    return np.moveaxis(moved, 0, axis)


def sequence_last(x, lengths=None, use_sequence_length=False, axis=0):
    moved = np.moveaxis(x, axis, 0)
    return np.stack([moved[max(n, 1) - 1, b] for b, n in enumerate(lengths_for(x, lengths, axis))])


def sequence_reverse(x, lengths=None, use_sequence_length=False, axis=0):
    out = x.copy()
    for b, n in enumerate(lengths_for(x, lengths, axis)):
        out[:n, b] = x[:n, b][::-1]
    return out


USED = dict(use_sequence_length=True)
record(
    "SequenceMask",
    dtypes=ALL_DTYPES,
    data=(0,),
    grad=True,
    reference=sequence_mask,
    samples=lambda rng: [
        Sample([normal(rng, 3, 2, 2), index(1, 3)], dict(USED, value=2)),
        Sample([normal(rng, 3, 2)]),
        Sample([normal(rng, 3, 2, 2), index(1, 2, 0)], dict(USED, axis=1)),
        Sample([normal(rng, 3, 2), index(-4, 9)], USED, oracle=False),
    ],
    errors=[
        ErrorSample([np.ones((3, 2, 2)), index(1, 2, 3)], USED, "(3,)"),
        ErrorSample([np.ones((3, 2, 2)), index(1, 2)], dict(USED, axis=2), "axis"),
        ErrorSample([np.ones(2), index(1)], USED, "2 dimensions"),
    ],
)
record(
    "SequenceLast",
    dtypes=ALL_DTYPES,
    data=(0,),
    grad=True,
    reference=sequence_last,
    samples=lambda rng: [
        Sample([normal(rng, 3, 2, 2), index(1, 3)], USED),
        Sample([normal(rng, 3, 2)], oracle=False),  # 1.9.1 crashes
        Sample([normal(rng, 3, 2, 2), index(1, 2, 1)], dict(USED, axis=1)),
        Sample([normal(rng, 3, 2), index(0, 9)], USED, oracle=False),
    ],
)
record(
    "SequenceReverse",
    dtypes=ALL_DTYPES,
    data=(0,),
    grad=True,
    reference=sequence_reverse,
    samples=lambda rng: [Sample([normal(rng, 3, 2, 2), index(1, 3)], USED), Sample([normal(rng, 3, 2)])],
    errors=[ErrorSample([np.ones((3, 2, 2)), index(1, 2)], dict(USED, axis=1), "axis")],
)

# ---- sums ---------------------------------------------------------------------------------------------------------

record(
    "_np_cumsum",
    oracle=False,  # no function of 1.9.1's mx.nd
    dtypes=("float16", "float32", "float64", "int8", "int32", "int64"),
    grad=True,
    reference=lambda x, axis=None, dtype=None: np.cumsum(x, axis, x.dtype if x.dtype.kind != "f" else None),
    samples=lambda rng: [
        Sample([normal(rng, 3, 4)], dict(axis=1)),
        Sample([normal(rng, 3, 4)]),
        Sample([normal(rng, 2, 3, 2)], dict(axis=-2)),
        Sample([np.array([100.0, 100, 100])], dict(dtype="int32"), grad=False),
    ],
    errors=[ErrorSample([np.ones((2, 2))], dict(axis=2), "axis 2")],
)


def moments(x, axes, keepdims=False):
    axes = tuple(axes)
    mean, var = x.mean(axes, keepdims=keepdims), x.var(axes, keepdims=keepdims)
    return [np.reshape(r, np.shape(r) or (1,)) for r in (mean, var)]


record(
    "moments",
    dtypes=("float16", "float32", "float64"),
    grad=True,
    reference=moments,
    samples=lambda rng: [
        Sample([normal(rng, 3, 2, 2)], dict(axes=(0, 1))),
        Sample([normal(rng, 3, 2, 2)], dict(axes=(0,), keepdims=True)),
        Sample([normal(rng, 3, 2)], dict(axes=(0, 1))),
    ],
    errors=[ErrorSample([np.ones((2, 2))], {}, "axes")],
)
record(
    "_contrib_div_sqrt_dim",
    dtypes=("float16", "float32", "float64"),
    grad=True,
    reference=lambda x: x / np.sqrt(x.shape[-1]),
    samples=lambda rng: [Sample([normal(rng, 2, 4)])],
)

# ---- windows of images --------------------------------------------------------------------------------------------


def im2col(x, kernel, stride=(1, 1), dilate=(1, 1), pad=(0, 0)):
    x = np.pad(x, [(0, 0), (0, 0), (pad[0], pad[0]), (pad[1], pad[1])])
    count = [(x.shape[2 + d] - dilate[d] * (kernel[d] - 1) - 1) // stride[d] + 1 for d in range(2)]
    taps = [
        x[:, :, i * dilate[0] :, j * dilate[1] :][:, :, :: stride[0], :: stride[1]][:, :, : count[0], : count[1]]
        for i in range(kernel[0])
        for j in range(kernel[1])
    ]
    return np.stack(taps, 2).reshape(x.shape[0], -1, count[0] * count[1])


def col2im(x, output_size, kernel, stride=(1, 1), dilate=(1, 1), pad=(0, 0)):
    channels, size = x.shape[1] // (kernel[0] * kernel[1]), int(np.prod(output_size))
    out = np.zeros((x.shape[0], channels, *output_size))
    flat = out.reshape(x.shape[0], channels, size)
    for pixel in range(size):
        image = np.zeros((1, 1, size))
        image[0, 0, pixel] = 1
        where = im2col(image.reshape(1, 1, *output_size), kernel, stride, dilate, pad)[0]
        flat[:, :, pixel] = (x.reshape(x.shape[0], channels, *where.shape) * where).sum((2, 3))
    return out


WINDOWS = [dict(kernel=(2, 2), stride=(2, 2)), dict(kernel=(3, 2), pad=(1, 0), dilate=(1, 2))]
record(
    "im2col",
    dtypes=("float16", "float32", "float64"),
    grad=True,
    reference=im2col,
    samples=lambda rng: [Sample([normal(rng, 2, 2, 4, 5)], p) for p in WINDOWS],
    errors=[
        ErrorSample([np.ones((1, 1, 2, 2))], dict(kernel=(3, 3)), "does not fit"),
        ErrorSample([np.ones((1, 2))], dict(kernel=(3, 3)), "4 dimensions"),
        ErrorSample([np.ones((1, 1, 2, 2))], dict(kernel=(2, 2), stride=(0, 1)), "positive"),
    ],
)
record(
    "col2im",
    dtypes=("float16", "float32", "float64"),
    grad=True,
    reference=col2im,
    samples=lambda rng: [
        Sample([normal(rng, 2, 8, 4)], dict(WINDOWS[0], output_size=(4, 4))),
        Sample([normal(rng, 1, 4, 9)], dict(kernel=(2, 2), output_size=(4, 4))),
    ],
    errors=[ErrorSample([np.ones((1, 4, 5))], dict(WINDOWS[0], output_size=(4, 4)), "columns")],
)

# ---- rare ---------------------------------------------------------------------------------------------------------


def fill_element(lhs, mhs, rhs):
    out = lhs.copy()
    out[np.arange(len(out)), np.clip(rhs.astype(np.int64), 0, out.shape[1] - 1)] = mhs
    return out


def khatri_rao(*xs):
    return np.stack(
        [
            [
                np.prod(row)
                for row in np.array(np.meshgrid(*[x[:, k] for x in xs], indexing="ij")).reshape(len(xs), -1).T
            ]
            for k in range(xs[0].shape[1])
        ],
        1,
    )


record(
    "fill_element_0index",
    data=(0, 1),
    reference=fill_element,
    samples=lambda rng: [Sample([normal(rng, 2, 3), normal(rng, 2), index(1, 0)])],
    errors=[ErrorSample([np.ones(2), np.ones(2), index(1, 0)], {}, "2 dimensions")],
)
record(
    "khatri_rao",
    dtypes=("float32", "float64", "int32"),
    reference=khatri_rao,
    samples=lambda rng: [
        Sample([normal(rng, 2, 2), normal(rng, 3, 2)]),
        Sample([normal(rng, 2, 2), normal(rng, 3, 2), normal(rng, 2, 2)]),
    ],
    errors=[ErrorSample([np.ones((2, 2)), np.ones((2, 3))], {}, "columns")],
)
record(
    "_contrib_index_array",
    reference=lambda x, axes=None: np.moveaxis(np.indices(x.shape), 0, -1)[..., list(axes) if axes else slice(None)],
    samples=lambda rng: [Sample([normal(rng, 2, 3)]), Sample([normal(rng, 2, 3)], dict(axes=(1,)))],
)


def histogram(x, bins=None, bin_cnt=None, range=None):
    return np.histogram(x, bins if bin_cnt is None else bin_cnt, range)


record(
    "_histogram",
    dtypes=("float32", "float64", "int32"),
    reference=histogram,
    samples=lambda rng: [
        Sample([np.array([1.0, 2, 2, 3, 9])], dict(bin_cnt=4, range=(0, 4))),
        Sample([np.array([1.0, 2, 2, 3, 9]), np.array([0.0, 2, 5, 10])]),
    ],
    errors=[ErrorSample([np.ones(3)], dict(bin_cnt=4), "range"), ErrorSample([np.ones(3), np.ones(1)], {}, "edges")],
)
