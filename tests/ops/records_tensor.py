# SPDX-License-Identifier: Apache-2.0
"""Records of the tensor operators: shapes, windows, joins, indices, constants."""

import numpy as np
from ops.harness import ALL_DTYPES, ErrorSample, Sample, record


def normal(rng, *shape):
    return rng.standard_normal(shape)


# ---- shapes -------------------------------------------------------------------------------------------------------

RESHAPES = [
    ((2, 3, 4), dict(shape=(4, 0, 2)), (4, 3, 2)),
    ((2, 3, 4), dict(shape=(-1,)), (24,)),
    ((2, 3, 4), dict(shape=(-4, -1, 2, -2)), (1, 2, 3, 4)),
    ((2, 3, 4), dict(shape=(2, -4, -1, 3, -2)), (2, 1, 3, 4)),
    ((8, 3, 3, 3), dict(shape=(-3, -3)), (24, 9)),
    ((10, 5, 4), dict(shape=(-1, 0), reverse=True), (50, 4)),
    ((8, 3, 6), dict(shape=(0, 0, -4, 2, -1), reverse=True), (8, 3, 2, 3)),
    ((2, 3), dict(target_shape=(3, 0)), (3, 2)),
    ((4, 3, 2), dict(target_shape=(2, 0), keep_highest=True), (4, 6)),
    ((0, 3), dict(shape=(3, -1)), (3, 0)),
]
record(
    "Reshape",
    dtypes=ALL_DTYPES,
    grad=True,
    samples=lambda rng: [
        Sample([normal(rng, *s)], p, oracle=0 not in s and "reverse" not in p) for s, p, _ in RESHAPES
    ],
    reference=lambda x, **p: x.reshape(next(o for s, q, o in RESHAPES if s == x.shape and q == p)),
    errors=[
        ErrorSample([np.ones((2, 3))], dict(shape=(7,)), "(7,)"),
        ErrorSample([np.ones((2, 3))], dict(shape=(5, -1))),
        ErrorSample([np.ones((2, 3))], dict(shape=(-1, -1)), "-1"),
        ErrorSample([np.ones((2, 3))], dict(shape=(0, 0, 0))),
        ErrorSample([np.ones((2, 3))], dict(shape=(-5,)), "-5"),
        ErrorSample([np.ones((2, 3))], dict(shape=(-4, 2, 2, -1)), "split"),
    ],
)
record(
    "Flatten",
    dtypes=ALL_DTYPES,
    grad=True,
    samples=lambda rng: [Sample([normal(rng, *s)]) for s in [(2, 3, 4), (5,), (3, 1)]],
    reference=lambda x: x.reshape(x.shape[0], -1),
)
record(
    "reshape_like",
    dtypes=ALL_DTYPES,
    data=(0,),
    grad=True,
    samples=lambda rng: [
        Sample([normal(rng, 2, 6), normal(rng, 3, 4)]),
        Sample([normal(rng, 6, 7), normal(rng, 3, 2, 4)], dict(lhs_begin=0, lhs_end=1, rhs_begin=0, rhs_end=2)),
        Sample([normal(rng, 6, 7), normal(rng, 3, 2, 4)], dict(lhs_begin=-2, lhs_end=-1, rhs_begin=-3, rhs_end=-1)),
    ],
    reference=lambda x, y, **p: x.reshape((3, 2, 7) if p else y.shape),
    errors=[ErrorSample([np.ones((2, 3)), np.ones((4, 2))], {}, "(4, 2)")],
)
record(
    "shape_array",
    dtypes=ALL_DTYPES,
    oracle=True,
    samples=lambda rng: [Sample([normal(rng, 2, 3)]), Sample([normal(rng, 4)])],
    reference=lambda x: np.array(x.shape),
)
record("size_array", samples=lambda rng: [Sample([normal(rng, 2, 3)])], reference=lambda x: np.array([x.size]))
record(
    "expand_dims",
    dtypes=ALL_DTYPES,
    grad=True,
    samples=lambda rng: [Sample([normal(rng, 2, 3)], dict(axis=a)) for a in (0, 1, -1, 2)],
    reference=lambda x, axis: np.expand_dims(x, axis),
    errors=[ErrorSample([np.ones((2, 3))], dict(axis=4), "axis 4")],
)
record(
    "squeeze",
    dtypes=ALL_DTYPES,
    grad=True,
    samples=lambda rng: [
        Sample([normal(rng, 1, 2, 1)]),
        Sample([normal(rng, 1, 2, 1)], dict(axis=0)),
        Sample([normal(rng, 1, 2, 1)], dict(axis=(0, -1))),
        Sample([normal(rng, 1, 1)]),
    ],
    reference=lambda x, axis=None: np.squeeze(x, axis).reshape(np.squeeze(x, axis).shape or (1,)),
    errors=[
        ErrorSample([np.ones((1, 2))], dict(axis=1), "axis 1"),
        ErrorSample([np.ones((1, 2))], dict(axis=5), "axis 5"),
    ],
)
record(
    "_copyto",
    oracle=False,  # cannot be called there
    dtypes=ALL_DTYPES,
    grad=True,
    samples=lambda rng: [Sample([normal(rng, 2, 3)])],
    reference=lambda x: x,
)

# ---- permutations -------------------------------------------------------------------------------------------------

record(
    "transpose",
    dtypes=ALL_DTYPES,
    grad=True,
    samples=lambda rng: [
        Sample([normal(rng, 3, 4)]),
        Sample([normal(rng, 2, 3, 4)], dict(axes=(1, 2, 0))),
        Sample([normal(rng, 37, 70)]),
        Sample([normal(rng, 2, 3, 4, 5)], dict(axes=(0, 2, 3, 1))),
        Sample([normal(rng, 2, 5, 3, 2)], dict(axes=(3, 1, 0, 2))),
        Sample([normal(rng, 6)]),
        Sample([normal(rng, 2, 33, 65)], dict(axes=(0, 2, 1))),
        Sample([normal(rng, 0, 3)], oracle=False),
    ],
    reference=lambda x, axes=None: np.transpose(x, axes),
    errors=[
        ErrorSample([np.ones((2, 3))], dict(axes=(0,)), "axes"),
        ErrorSample([np.ones((2, 3))], dict(axes=(0, 0)), "twice"),
        ErrorSample([np.ones((2, 3))], dict(axes=(0, 5)), "5"),
    ],
)
record(
    "SwapAxis",
    dtypes=ALL_DTYPES,
    grad=True,
    samples=lambda rng: [
        Sample([normal(rng, 2, 3, 4)], dict(dim1=0, dim2=2)),
        Sample([normal(rng, 2, 3, 4)], dict(dim1=-1, dim2=1)),
        Sample([normal(rng, 2, 3)], dict(dim1=1, dim2=1)),
    ],
    reference=lambda x, dim1, dim2: np.swapaxes(x, dim1, dim2),
    errors=[ErrorSample([np.ones((2, 3))], dict(dim1=0, dim2=5), "dim2 5")],
)
record(
    "reverse",
    dtypes=ALL_DTYPES,
    grad=True,
    samples=lambda rng: [
        Sample([normal(rng, 3, 4)], dict(axis=1)),
        Sample([normal(rng, 3, 4, 2)], dict(axis=(0, 2))),
        Sample([normal(rng, 3)], dict(axis=(0,))),
        Sample([normal(rng, 3, 4)], dict(axis=-2), oracle=False),
    ],
    reference=lambda x, axis: np.flip(x, axis),
    errors=[ErrorSample([np.ones(3)], dict(axis=5), "axis 5")],
)


def depth_to_space(x, block_size):
    n, c, h, w = x.shape
    b = block_size
    return x.reshape(n, b, b, c // b**2, h, w).transpose(0, 3, 4, 1, 5, 2).reshape(n, c // b**2, h * b, w * b)


def space_to_depth(x, block_size):
    n, c, h, w = x.shape
    b = block_size
    return x.reshape(n, c, h // b, b, w // b, b).transpose(0, 3, 5, 1, 2, 4).reshape(n, c * b**2, h // b, w // b)


record(
    "depth_to_space",
    dtypes=ALL_DTYPES,
    grad=True,
    reference=depth_to_space,
    samples=lambda rng: [
        Sample([normal(rng, 2, 8, 3, 2)], dict(block_size=2)),
        Sample([normal(rng, 1, 9, 2, 2)], dict(block_size=3)),
    ],
    errors=[
        ErrorSample([np.ones((1, 3, 2, 2))], dict(block_size=2), "channels"),
        ErrorSample([np.ones((2, 2))], dict(block_size=2), "4 dim"),
    ],
)
record(
    "space_to_depth",
    dtypes=ALL_DTYPES,
    grad=True,
    reference=space_to_depth,
    samples=lambda rng: [Sample([normal(rng, 2, 2, 4, 6)], dict(block_size=2))],
    errors=[ErrorSample([np.ones((1, 3, 3, 2))], dict(block_size=2), "block_size")],
)

# ---- windows ------------------------------------------------------------------------------------------------------


def window(begin, end, step=()):
    begin, end = np.atleast_1d(np.array(begin, object)), np.atleast_1d(np.array(end, object))
    step = [None] * len(begin) if step == () else np.atleast_1d(np.array(step, object))
    return tuple(slice(*t) for t in zip(begin, end, step, strict=True))


SLICES = [
    dict(begin=(None, 1), end=(None, 3)),
    dict(begin=(1,), end=(4,)),
    dict(begin=(None, 3), end=(None, 0), step=(2, -1)),
    dict(begin=(4,), end=(None,), step=(-2,)),
    dict(begin=(-3,), end=(-1,)),
    dict(begin=(-9,), end=(99,)),
    dict(begin=(0, 1), end=(5, 4), step=(2, 2)),
]
record(
    "slice",
    dtypes=ALL_DTYPES,
    grad=True,
    samples=lambda rng: (
        [Sample([normal(rng, 5, 4)], p, oracle=p["begin"] != (-9,)) for p in SLICES]  # 1.9.1 fails there
        + [Sample([normal(rng, 5, 4)], dict(begin=(2,), end=(2,)), oracle=False)]
    ),
    reference=lambda x, **p: x[window(**p)],
    errors=[
        ErrorSample([np.ones((2, 3))], dict(begin=(0, 0, 0), end=(1, 1, 1)), "3 entries"),
        ErrorSample([np.ones((2, 3))], dict(begin=(0, 1), end=(1,)), "end"),
        ErrorSample([np.ones((2, 3))], dict(begin=(0,), end=(1,), step=(0,)), "step"),
        ErrorSample([np.ones((2, 3))], dict(begin=(0,)), "end"),
    ],
)
record(
    "slice_axis",
    dtypes=ALL_DTYPES,
    grad=True,
    samples=lambda rng: [
        Sample([normal(rng, 5, 4)], dict(axis=a, begin=b, end=e)) for a, b, e in [(-1, 1, None), (1, -3, -1), (0, 2, 5)]
    ],
    reference=lambda x, axis, begin, end: np.take(x, range(*slice(begin, end).indices(x.shape[axis])), axis),
    errors=[
        ErrorSample([np.ones((5, 4))], dict(axis=1, begin=0, end=7), "7"),
        ErrorSample([np.ones((5, 4))], dict(axis=2, begin=0, end=1), "axis 2"),
        ErrorSample([np.ones((5, 4))], dict(axis=1, begin=2, end=2), "begin 2"),
    ],
)


def slice_like(x, like, axes=()):
    for a in axes or range(x.ndim):
        x = np.take(x, range(like.shape[a]), a)
    return x


record(
    "slice_like",
    dtypes=ALL_DTYPES,
    data=(0,),
    grad=True,
    reference=slice_like,
    samples=lambda rng: [
        Sample([normal(rng, 5, 4), normal(rng, 2, 3)]),
        Sample([normal(rng, 5, 4), normal(rng, 2, 9)], dict(axes=(0,))),
        Sample([normal(rng, 5, 4), normal(rng, 7, 3)], dict(axes=(-1,))),
    ],
    errors=[
        ErrorSample([np.ones((5, 4)), np.ones((2, 3, 7))], {}, "dimensions"),
        ErrorSample([np.ones((5, 4)), np.ones((2, 9))], {}, "larger"),
    ],
)


def slice_assign(x, value, **p):
    x = x.copy()
    x[window(**p)] = value
    return x


record(
    "_slice_assign",
    dtypes=ALL_DTYPES,
    grad=True,
    reference=slice_assign,
    samples=lambda rng: [
        Sample([normal(rng, 5, 4), normal(rng, 5, 2)], SLICES[0]),
        Sample([normal(rng, 5, 4), normal(rng, 3, 3)], SLICES[2]),
    ],
    errors=[ErrorSample([np.ones((5, 4)), np.ones((2, 2))], SLICES[0], "rhs")],
)
record(
    "_slice_assign_scalar",
    dtypes=ALL_DTYPES,
    grad=True,
    reference=lambda x, scalar, **p: slice_assign(x, scalar, **p),
    samples=lambda rng: [
        Sample([normal(rng, 5, 4)], dict(SLICES[0], scalar=3)),
        Sample([normal(rng, 5, 4)], dict(SLICES[2], scalar=-1)),
    ],
)

# ---- joins --------------------------------------------------------------------------------------------------------

record(
    "Concat",
    dtypes=ALL_DTYPES,
    grad=True,
    samples=lambda rng: [
        Sample([normal(rng, 2, 3), normal(rng, 2, 4)], dict(dim=1)),
        Sample([normal(rng, 2, 3), normal(rng, 1, 3)], dict(dim=-2)),
        Sample([normal(rng, 2, 3, 2)] * 3, dict(dim=2)),
        Sample([normal(rng, 4)], dict(dim=0)),
        Sample([normal(rng, 0, 3), normal(rng, 2, 3)], dict(dim=0), oracle=False),
    ],
    reference=lambda *xs, dim=1: np.concatenate(xs, dim),
    errors=[
        ErrorSample([np.ones((2, 3)), np.ones((3, 4))], dict(dim=1), "size 3"),
        ErrorSample([np.ones((2, 3))] * 2, dict(dim=2), "dim 2"),
        ErrorSample([np.ones((2, 3)), np.ones((2, 3), np.int32)], dict(dim=1), "int32"),
    ],
)
record(
    "stack",
    dtypes=ALL_DTYPES,
    grad=True,
    samples=lambda rng: (
        [Sample([normal(rng, 2, 3), normal(rng, 2, 3)], dict(axis=a)) for a in (0, 1, -1)]
        + [Sample([normal(rng, 2)] * 3)]
    ),
    reference=lambda *xs, axis=0: np.stack(xs, axis),
    errors=[
        ErrorSample([np.ones((2, 3))] * 2, dict(axis=3), "axis 3"),
        ErrorSample([np.ones((2, 3)), np.ones((3, 3))], {}, "(3, 3)"),
    ],
)


def split(x, num_outputs, axis=1, squeeze_axis=False):
    parts = np.split(x, num_outputs, axis)
    return [np.squeeze(p, axis) for p in parts] if squeeze_axis else parts


record(
    "SliceChannel",
    dtypes=ALL_DTYPES,
    grad=True,
    reference=split,
    samples=lambda rng: [
        Sample([normal(rng, 4, 6)], dict(num_outputs=3)),
        Sample([normal(rng, 4, 6)], dict(num_outputs=2, axis=-2)),
        Sample([normal(rng, 4, 3)], dict(num_outputs=3, squeeze_axis=True)),
        Sample([normal(rng, 4, 6)], dict(num_outputs=1)),
    ],
    errors=[
        ErrorSample([np.ones((4, 6))], dict(num_outputs=4), "num_outputs = 4"),
        ErrorSample([np.ones((4, 6))], dict(num_outputs=3, squeeze_axis=True), "squeeze_axis"),
    ],
)
record(
    "_split_v2",
    dtypes=ALL_DTYPES,
    grad=True,
    reference=lambda x, indices=(), axis=1, squeeze_axis=False, sections=0: [
        np.squeeze(p, axis) if squeeze_axis else p for p in np.split(x, sections or list(indices[1:]), axis)
    ],
    samples=lambda rng: [
        Sample([normal(rng, 4, 6)], dict(indices=(0, 1, 3), axis=1)),
        Sample([normal(rng, 4, 6)], dict(indices=(), sections=3, axis=1)),
        Sample([normal(rng, 4, 2)], dict(indices=(0, 1), axis=1, squeeze_axis=True)),
    ],
    errors=[
        ErrorSample([np.ones((4, 6))], dict(indices=(0, 3, 1), axis=1), "rise"),
        ErrorSample([np.ones((4, 6))], dict(indices=(), sections=4, axis=1), "4 equal"),
        ErrorSample([np.ones((4, 6))], dict(indices=None), "begin with 0"),
    ],
)

# ---- repeats ------------------------------------------------------------------------------------------------------

record(
    "tile",
    dtypes=ALL_DTYPES,
    grad=True,
    reference=lambda x, reps: np.tile(x, reps),
    samples=lambda rng: [Sample([normal(rng, 2, 3)], dict(reps=r)) for r in [(2, 1), (2,), (2, 1, 3), (1, 2)]],
)
record(
    "repeat",
    dtypes=ALL_DTYPES,
    grad=True,
    reference=lambda x, repeats, axis=None: np.repeat(x, repeats, axis),
    samples=lambda rng: [
        Sample([normal(rng, 2, 3)], p)
        for p in [dict(repeats=2), dict(repeats=3, axis=0), dict(repeats=2, axis=-1), dict(repeats=0, axis=0)]
    ][:3],
    errors=[
        ErrorSample([np.ones((2, 3))], dict(repeats=-1), "repeats"),
        ErrorSample([np.ones((2, 3))], dict(repeats=2, axis=2), "axis 2"),
    ],
)


def pad(x, mode, pad_width, constant_value=0):
    more = dict(constant_values=constant_value) if mode == "constant" else {}
    return np.pad(x, np.reshape(pad_width, (-1, 2)), mode, **more)


record(
    "Pad",
    dtypes=ALL_DTYPES,
    grad=True,
    reference=pad,
    samples=lambda rng: (
        [
            Sample(
                [normal(rng, 1, 2, 3, 4)],
                dict(mode=m, pad_width=(0, 0, 0, 0, 1, 2, 2, 1), **({"constant_value": 3} if m == "constant" else {})),
            )
            for m in ("constant", "edge", "reflect")
        ]
        + [Sample([normal(rng, 2, 3)], dict(mode="edge", pad_width=(1, 0, 0, 2)), oracle=False)]
    ),
    errors=[
        ErrorSample([np.ones((2, 3))], dict(mode="edge", pad_width=(1, 1)), "pad_width"),
        ErrorSample([np.ones((1, 1, 2, 2))], dict(mode="reflect", pad_width=(0, 0, 0, 0, 2, 0, 0, 0)), "too wide"),
    ],
)
record(
    "diag",
    dtypes=ALL_DTYPES,
    grad=True,
    reference=lambda x, k=0, axis1=0, axis2=1: np.diag(x, k) if x.ndim == 1 else np.diagonal(x, k, axis1, axis2),
    samples=lambda rng: [
        Sample([normal(rng, 3)]),
        Sample([normal(rng, 3)], dict(k=-1)),
        Sample([normal(rng, 3, 4)], dict(k=1)),
        Sample([normal(rng, 4, 3)], dict(k=-2)),
        Sample([normal(rng, 2, 3, 4)], dict(axis1=1, axis2=2)),
    ],
    errors=[
        ErrorSample([np.ones((3, 4))], dict(k=9), "diagonal"),
        ErrorSample([np.ones((3, 4))], dict(axis1=1), "axis1"),
    ],
)

# ---- indices ------------------------------------------------------------------------------------------------------


def place(i, n, mode):
    i = i.astype(np.int64)
    return i % n if mode == "wrap" else np.clip(i, 0, n - 1)


def index(*values):
    return np.array(values, np.float32)


record(
    "take",
    dtypes=ALL_DTYPES,
    data=(0,),
    grad=True,
    reference=lambda a, i, axis=0, mode="clip": np.take(a, place(i, a.shape[axis], mode), axis),
    samples=lambda rng: [
        Sample([normal(rng, 4, 3), index(0, 5, -1, 2, 2)]),
        Sample([normal(rng, 4, 3), index(0, 5, -1)], dict(mode="wrap")),
        Sample([normal(rng, 4, 3), np.array([[0, 1], [2, 2]], np.int32)], dict(axis=-1)),
        Sample([normal(rng, 4, 3), index(0.7, 1.9)]),
        Sample([normal(rng, 2, 4, 3), index(3, 3, 0)], dict(axis=1, mode="raise")),
    ],
    errors=[
        ErrorSample([np.ones((4, 3)), index(0, 5)], dict(mode="raise"), "index 5", IndexError, at_wait=True),
        ErrorSample([np.ones((4, 3)), index(-1)], dict(mode="raise"), "index -1", IndexError, at_wait=True),
        ErrorSample([np.ones((4, 3)), index(0)], dict(axis=5), "axis 5"),
    ],
)


def pick(x, i, axis=-1, keepdims=False, mode="clip"):
    i = place(i, x.shape[axis], mode)
    out = np.take_along_axis(x, i if i.ndim == x.ndim else np.expand_dims(i, axis), axis)
    out = out if keepdims else np.squeeze(out, axis)
    return out.reshape(out.shape or (1,))


record(
    "pick",
    dtypes=ALL_DTYPES,
    data=(0,),
    grad=True,
    reference=pick,
    samples=lambda rng: [
        Sample([normal(rng, 3, 4), index(0, 9, -2)]),
        Sample([normal(rng, 3, 4), index(0, 9, -2)], dict(mode="wrap")),
        Sample([normal(rng, 3, 4), index(0, 9, -2, 1)], dict(axis=0, keepdims=True)),
        Sample([normal(rng, 2, 3, 4), rng.integers(0, 3, (2, 4)).astype(np.int32)], dict(axis=1)),
    ],
    errors=[
        ErrorSample([np.ones((3, 4)), index(1, 2)], {}, "(2,)"),
        ErrorSample([np.ones((3, 4)), index(1)], dict(axis=None), "axis"),
    ],
)
record(
    "batch_take",
    dtypes=ALL_DTYPES,
    data=(0,),
    grad=True,
    reference=lambda a, i: a[np.arange(len(a)), np.clip(i, 0, a.shape[1] - 1)],
    samples=lambda rng: [Sample([normal(rng, 3, 4), np.array([0, 3, -9], np.int32)])],
)


def one_hot(i, depth, on_value=1, off_value=0, dtype="float32"):
    i = i.astype(np.int64)[..., None]
    return np.where(i == np.arange(depth), on_value, off_value)


record(
    "one_hot",
    data=(),
    reference=one_hot,
    samples=lambda rng: [
        Sample([index(0, 2, 5, -1, 1.7)], dict(depth=3)),
        Sample([np.array([[0, 2]], np.int32)], dict(depth=3, on_value=5, off_value=-1, dtype="int32")),
    ],
    errors=[ErrorSample([index(0)], {}, "depth"), ErrorSample([index(0)], dict(depth=-2), "depth")],
)

# ---- constants ----------------------------------------------------------------------------------------------------

record(
    "_zeros",
    samples=lambda rng: [Sample([], dict(shape=(2, 3))), Sample([], dict(shape=(2,), dtype="int32"))],
    reference=lambda shape, dtype="float32": np.zeros(shape),
    errors=[ErrorSample([], {}, "")],
)
record(
    "_ones",
    samples=lambda rng: [Sample([], dict(shape=(2, 3)))],
    reference=lambda shape, dtype="float32": np.ones(shape),
)
record(
    "_zeros_without_dtype",
    oracle=False,  # cannot be called there
    samples=lambda rng: [Sample([], dict(shape=(2, 3)))],
    reference=lambda shape: np.zeros(shape),
)
record(
    "_full",
    samples=lambda rng: [
        Sample([], dict(shape=(2, 3), value=2.5)),
        Sample([], dict(shape=(2, 3), value=2.5, dtype="int32")),
    ],
    reference=lambda shape, value, dtype="float32": np.full(shape, value, dtype),
)
record(
    "_arange",
    samples=lambda rng: [
        Sample([], p)
        for p in [
            dict(start=3),
            dict(start=0, stop=5, step=2, repeat=2),
            dict(start=5, stop=0, step=-2),
            dict(start=0, stop=1, step=0.3),
            dict(start=2, stop=6, dtype="int32"),
        ]
    ],
    reference=lambda start, stop=None, step=1, repeat=1, dtype="float32": np.repeat(
        np.arange(start, stop, step) if stop is not None else np.arange(0, start, step), repeat
    ),
    errors=[ErrorSample([], dict(start=5, stop=0), "range"), ErrorSample([], dict(start=0, stop=1, step=0), "step")],
)
record(
    "_linspace",
    samples=lambda rng: [
        Sample([], dict(start=0, stop=1, num=5)),
        Sample([], dict(start=0, stop=1, num=5, endpoint=False)),
    ],
    reference=lambda start, stop, num, endpoint=True: np.linspace(start, stop, num, endpoint),
)
record(
    "_eye",
    samples=lambda rng: [
        Sample([], dict(N=3)),
        Sample([], dict(N=2, M=4, k=1)),
        Sample([], dict(N=4, M=2, k=-1, dtype="int32")),
    ],
    reference=lambda N, M=0, k=0, dtype="float32": np.eye(N, M or N, k),
)
record(
    "_contrib_arange_like",
    samples=lambda rng: [Sample([normal(rng, 2, 3)]), Sample([normal(rng, 2, 3)], dict(axis=1, start=2, step=0.5))],
    reference=lambda x, axis=None, start=0, step=1: (
        start + step * np.arange(x.size if axis is None else x.shape[axis])
    ).reshape(x.shape if axis is None else -1),
)


def crop(x, like=None, offset=(0, 0), h_w=(0, 0), center_crop=False, num_args=1):
    h, w = like.shape[2:] if like is not None else h_w
    y, z = ((x.shape[2] - h) // 2, (x.shape[3] - w) // 2) if center_crop else offset
    return x[:, :, y : y + h, z : z + w]


record(
    "Crop",
    dtypes=ALL_DTYPES,
    data=(0,),
    grad=True,
    reference=crop,
    samples=lambda rng: [
        Sample([normal(rng, 2, 3, 5, 6)], dict(h_w=(2, 3), offset=(1, 2), num_args=1)),
        Sample([normal(rng, 1, 2, 5, 6)], dict(h_w=(2, 2), center_crop=True, num_args=1)),
        Sample([normal(rng, 1, 2, 5, 6), normal(rng, 1, 1, 3, 4)], dict(num_args=2)),
    ],
    errors=[
        ErrorSample([np.ones((1, 1, 4, 4))], dict(h_w=(3, 3), offset=(2, 0), num_args=1), "rows"),
        ErrorSample([np.ones((4, 4))], dict(h_w=(2, 2), num_args=1), "4 dimensions"),
    ],
)
