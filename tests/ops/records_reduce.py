# SPDX-License-Identifier: Apache-2.0
"""Records of the reductions and of the operators that repeat an array along axes."""

import numpy as np
from ops.harness import ALL_DTYPES, FLOATS, ErrorSample, Sample, record


def reducing(function):
    def apply(x, axis=None, keepdims=False, exclude=False):
        axes = tuple(range(x.ndim)) if axis is None or axis == () else (axis,) if isinstance(axis, int) else tuple(axis)
        axes = tuple(a % x.ndim for a in axes)
        if exclude:
            axes = tuple(a for a in range(x.ndim) if a not in axes)
        result = np.asarray(function(x, axis=axes, keepdims=keepdims)) if axes else x
        return (result.reshape(1) if result.ndim == 0 else result).astype(x.dtype)

    return apply


CALLS = [
    ((3, 4), {}),
    ((3, 4), dict(axis=0)),
    ((3, 4), dict(axis=1)),
    ((3, 4), dict(axis=-1, keepdims=True)),
    ((3, 4), dict(axis=())),
    ((2, 3, 4), dict(axis=1)),
    ((2, 3, 4), dict(axis=(0, 2))),
    ((2, 3, 4), dict(axis=1, exclude=True)),
    ((2, 3, 4, 5), dict(axis=(1, 3), keepdims=True)),
    ((7, 130), dict(axis=0)),
    ((7, 130), dict(axis=1)),
    ((130, 3), dict(axis=0)),
    ((3, 1), dict(axis=1)),
    ((5,), {}),
]


def spaced(rng, shape):
    """Different elements, of both signs, none near zero."""
    n = int(np.prod(shape))
    return (rng.permutation(n) - n / 2 + 0.25).reshape(shape) / max(1, n) * 4


def near_one(rng, shape):
    return rng.uniform(0.8, 1.2, shape)


ERRORS = [
    ErrorSample([np.ones((2, 3))], dict(axis=2), "axis"),
    ErrorSample([np.ones((2, 3))], dict(axis=(0, 0)), "twice"),
    ErrorSample([np.ones((2, 3))], dict(axis="one"), "axis"),
]
REDUCTIONS = {  # name: (function, data, dtypes)
    "sum": (np.sum, spaced, (*FLOATS, "int32", "int64")),
    "mean": (np.mean, spaced, FLOATS),
    "nansum": (np.nansum, spaced, FLOATS),
    "prod": (np.prod, near_one, FLOATS),
    "nanprod": (np.nanprod, near_one, FLOATS),
    "max": (np.max, spaced, (*FLOATS, "int8", "int32", "int64")),
    "min": (np.min, spaced, (*FLOATS, "int8", "int32", "int64")),
    "_square_sum": (lambda x, **p: np.sum(x * x, **p), spaced, FLOATS),
}
for name, (function, data, dtypes) in REDUCTIONS.items():
    record(
        name,
        dtypes=dtypes,
        grad=True,
        rtol={"float16": 1e-2, "bfloat16": 5e-2},
        samples=lambda rng, data=data, name=name: (
            [Sample([data(rng, s)], p, oracle=name != "_square_sum") for s, p in CALLS]
            + (
                [Sample([np.zeros((0, 3))], dict(axis=0), grad=False, oracle=False)]
                if name in ("sum", "nansum")
                else []
            )
        ),
        reference=reducing(function),
        errors=ERRORS,
    )


def norm(x, ord=2, axis=None, keepdims=False, out_dtype=None):
    values = np.abs(x) if ord == 1 else x * x
    total = reducing(np.sum)(values, axis=axis, keepdims=keepdims)
    return (total if ord == 1 else np.sqrt(total)).astype(out_dtype or x.dtype)


record(
    "norm",
    dtypes=FLOATS,
    grad=True,
    rtol={"float16": 1e-2, "bfloat16": 5e-2},
    samples=lambda rng: (
        [
            Sample([spaced(rng, s)], p | dict(ord=o))
            for o in (1, 2)
            for s, p in (((3, 4), {}), ((3, 4), dict(axis=1)), ((2, 3, 4), dict(axis=(0, 2), keepdims=True)))
        ]
        + [Sample([spaced(rng, (3, 4))], dict(out_dtype="float64"), grad=False, oracle=False)]
    ),
    reference=norm,
    errors=[*ERRORS, ErrorSample([np.ones(3)], dict(ord=3), "ord")],
)


def position(function):
    def apply(x, axis=None, keepdims=False):
        result = np.asarray(function(x.ravel() if axis is None else x, axis=0 if axis is None else axis))
        if keepdims:
            result = result.reshape((1,) * x.ndim) if axis is None else np.expand_dims(result, axis)
        return (result.reshape(1) if result.ndim == 0 else result).astype(x.dtype)

    return apply


for name, function in (("argmax", np.argmax), ("argmin", np.argmin)):
    record(
        name,
        dtypes=ALL_DTYPES,
        samples=lambda rng: (
            [
                Sample([rng.integers(0, 50, s).astype(float)], p)
                for s, p in (
                    ((3, 4), dict(axis=0)),
                    ((3, 4), dict(axis=1)),
                    ((3, 4), {}),
                    ((2, 3, 4), dict(axis=-2, keepdims=True)),
                    ((5, 100), dict(axis=1)),
                    ((100, 5), dict(axis=0)),
                    ((7,), dict(axis=0)),
                )
            ]
            + [Sample([np.array([[1.0, np.nan, 3.0], [4.0, 2.0, 4.0]])], dict(axis=1), oracle=False)]
        ),
        reference=position(function),
        errors=[
            ErrorSample([np.ones((2, 3))], dict(axis=2), "axis"),
            ErrorSample([np.ones((2, 0))], dict(axis=1), "empty"),
        ],
    )
record(
    "argmax_channel",
    samples=lambda rng: [Sample([rng.standard_normal(s)]) for s in ((2, 3), (2, 3, 4), (2, 3, 4, 5))],
    reference=lambda x: np.argmax(x, axis=1).astype(x.dtype),
    errors=[ErrorSample([np.ones(3)], {}, "2 axes")],
)

# ---- repeating along axes -----------------------------------------------------------------------------------------

record(
    "broadcast_to",
    dtypes=ALL_DTYPES,
    grad=True,
    samples=lambda rng: [
        Sample([rng.standard_normal(s)], dict(shape=t))
        for s, t in (((2, 1), (2, 3)), ((2, 1), (0, 3)), ((1, 3, 1), (4, 3, 5)), ((1,), (7,)), ((1, 300), (3, 300)))
    ],
    reference=lambda x, shape: np.broadcast_to(x, [t or d for t, d in zip(shape, x.shape, strict=True)]),
    errors=[
        ErrorSample([np.ones((2, 3))], dict(shape=(4, 3)), "axis 0"),
        ErrorSample([np.ones((2, 3))], dict(shape=(3,)), "axes"),
    ],
)


def along(x, axis, size):
    axis, size = (v if isinstance(v, tuple) else (v,) for v in (axis, size))
    shape = list(x.shape)
    for a, n in zip(axis, size, strict=True):
        shape[a] = n
    return np.broadcast_to(x, shape)


record(
    "broadcast_axis",
    dtypes=ALL_DTYPES,
    grad=True,
    samples=lambda rng: [
        Sample([rng.standard_normal((2, 1))], dict(axis=1, size=3)),
        Sample([rng.standard_normal((1, 2, 1))], dict(axis=(0, 2), size=(2, 3))),
    ],
    reference=along,
    errors=[
        ErrorSample([np.ones((2, 1))], dict(axis=(0, 1), size=(2,)), "size"),
        ErrorSample([np.ones((2, 1))], dict(axis=0, size=5), "axis 0"),
        ErrorSample([np.ones((2, 1))], dict(axis=4, size=5), "axis"),
    ],
)


def like(x, y, lhs_axes=None, rhs_axes=None):
    if lhs_axes is None:
        return np.broadcast_to(x, y.shape)
    shape = list(x.shape)
    for a, b in zip(lhs_axes, rhs_axes, strict=True):
        shape[a] = y.shape[b]
    return np.broadcast_to(x, shape)


record(
    "broadcast_like",
    dtypes=ALL_DTYPES,
    grad=True,
    samples=lambda rng: [
        Sample([rng.standard_normal((1, 3)), rng.standard_normal((5, 3))]),
        Sample([rng.standard_normal((1, 3)), rng.standard_normal((5, 6))], dict(lhs_axes=(0,), rhs_axes=(-1,))),
    ],
    reference=like,
    errors=[ErrorSample([np.ones((2, 3)), np.ones((4, 3))], {}, "axis 0")],
)
