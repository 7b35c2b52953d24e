# SPDX-License-Identifier: Apache-2.0
"""Records of the operators on batches of matrices, against numpy.linalg."""

import numpy as np
from ops.harness import ErrorSample, Sample, record

LOOSE = {"float32": 2e-4, "float64": 1e-9}


def normal(rng, *shape):
    return rng.standard_normal(shape)


def positive(rng, *shape):
    a = normal(rng, *shape)
    return a @ a.swapaxes(-1, -2) / shape[-1] + np.eye(shape[-1])


def lower(rng, *shape):
    """Lower triangular, well conditioned."""
    return np.tril(normal(rng, *shape)) / np.sqrt(shape[-1]) + 2 * np.eye(shape[-1])


def turned(a, yes=True):
    return a.swapaxes(-1, -2) if yes else a


def side(a, lower):
    return np.tril(a) if lower else np.triu(a)


SQUARE = ErrorSample([np.ones((2, 3))], {}, "square matrices")
FLAT = ErrorSample([np.ones(3)], {}, "at least 2 dimensions")

# ---- products -----------------------------------------------------------------------------------------------------


def gemm(a, b, c, transpose_a=False, transpose_b=False, alpha=1, beta=1, axis=-2):
    a, b, c = (np.moveaxis(x, axis, -2) for x in (a, b, c))
    return np.moveaxis(alpha * turned(a, transpose_a) @ turned(b, transpose_b) + beta * c, -2, axis)


record(
    "_linalg_gemm",
    grad=True,
    rtol=LOOSE,
    samples=lambda rng: [
        Sample([normal(rng, 3, 4), normal(rng, 4, 5), normal(rng, 3, 5)], dict(alpha=2.0, beta=0.5)),
        Sample(
            [normal(rng, 2, 4, 3), normal(rng, 2, 5, 4), normal(rng, 2, 3, 5)], dict(transpose_a=True, transpose_b=True)
        ),
        Sample([normal(rng, 3, 2, 4), normal(rng, 4, 2, 5), normal(rng, 3, 2, 5)], dict(axis=0, alpha=-1.0, beta=3.0)),
        Sample([normal(rng, 70, 80), normal(rng, 80, 90), normal(rng, 70, 90)], dict(beta=0.0), grad=False),
    ],
    reference=gemm,
    errors=[
        ErrorSample([np.ones((2, 3)), np.ones((4, 3)), np.ones((2, 3))], {}, "3 columns and 4 rows"),
        ErrorSample([np.ones((2, 3)), np.ones((3, 3)), np.ones((1, 3))], {}, "C"),
    ],
)


def trmm(a, b, transpose=False, rightside=False, lower=True, alpha=1):
    a = turned(side(a, lower), transpose)
    return alpha * (b @ a if rightside else a @ b)


def trsm(a, b, transpose=False, rightside=False, lower=True, alpha=1):
    a = turned(side(a, lower), transpose)
    if rightside:
        return alpha * turned(np.linalg.solve(turned(a), turned(b)))
    return alpha * np.linalg.solve(a, b)


def triangular_samples(rng):
    samples = []
    for transpose in (False, True):
        for rightside in (False, True):
            for low in (True, False):
                b = normal(rng, 2, 3, 5) if rightside else normal(rng, 2, 5, 3)
                a = turned(lower(rng, 2, 5, 5), not low) + normal(rng, 2, 5, 5) * side(np.ones((5, 5)), not low) / 9
                samples.append(Sample([a, b], dict(transpose=transpose, rightside=rightside, lower=low, alpha=1.5)))
    big = lower(rng, 150, 150)
    samples.append(Sample([big, normal(rng, 150, 83)], {}, grad=False))
    samples.append(Sample([big, normal(rng, 83, 150)], dict(rightside=True, transpose=True), grad=False))
    samples.append(Sample([big.T.copy(), normal(rng, 83, 150)], dict(rightside=True, lower=False), grad=False))
    return samples


TRIANGULAR_ERRORS = [
    ErrorSample([np.ones((2, 3)), np.ones((3, 3))], {}, "square matrices"),
    ErrorSample([np.ones((3, 3)), np.ones((2, 3))], {}, "the rows of B"),
    ErrorSample([np.ones((3, 3)), np.ones((3, 2))], dict(rightside=True), "the columns of B"),
    ErrorSample([np.ones((3, 3)), np.ones((1, 3, 3))], {}, "leading axes"),
]
record("_linalg_trmm", grad=True, rtol=LOOSE, samples=triangular_samples, reference=trmm, errors=TRIANGULAR_ERRORS)
record("_linalg_trsm", grad=True, rtol=LOOSE, samples=triangular_samples, reference=trsm, errors=TRIANGULAR_ERRORS)
record(
    "_linalg_syrk",
    grad=True,
    rtol=LOOSE,
    samples=lambda rng: [
        Sample([normal(rng, 2, 3, 4)], dict(alpha=2.0)),
        Sample([normal(rng, 3, 4)], dict(transpose=True)),
        Sample([normal(rng, 200, 40)], {}, grad=False),
    ],
    reference=lambda a, transpose=False, alpha=1: alpha * (turned(a) @ a if transpose else a @ turned(a)),
    errors=[FLAT],
)

# ---- Cholesky -----------------------------------------------------------------------------------------------------


def potrf(a, lower=True):
    factor = np.linalg.cholesky(np.tril(a) + turned(np.tril(a, -1)) if lower else np.triu(a) + turned(np.triu(a, 1)))
    return turned(factor, not lower)


def potri(a, lower=True):
    a = side(a, lower)
    return np.linalg.inv(a @ turned(a) if lower else turned(a) @ a)


# The gradient of potrf is that of a symmetric matrix, not of its lower triangle alone: tests/python/test_linalg.py.
record(
    "_linalg_potrf",
    rtol=LOOSE,
    samples=lambda rng: [
        Sample([positive(rng, 2, 4, 4)]),
        Sample([positive(rng, 3, 3)], dict(lower=False)),
        Sample([positive(rng, 100, 100)]),
        Sample([positive(rng, 1, 1)]),
    ],
    reference=potrf,
    errors=[
        SQUARE,
        FLAT,
        ErrorSample([-np.ones((2, 1, 1))], {}, "not positive definite", at_wait=True),
        ErrorSample([np.full((3, 3), np.nan)], {}, "not positive definite", at_wait=True),
        ErrorSample([np.ones((3, 3), np.int32)], {}, "float32 or float64"),
    ],
)
record(
    "_linalg_potri",
    grad=True,
    rtol=LOOSE,
    samples=lambda rng: [
        Sample([lower(rng, 2, 4, 4)]),
        Sample([turned(lower(rng, 3, 3))], dict(lower=False)),
        Sample([lower(rng, 130, 130)], grad=False),
    ],
    reference=potri,
    errors=[SQUARE, ErrorSample([np.zeros((2, 2))], {}, "not a Cholesky factor", at_wait=True)],
)

# ---- LU -----------------------------------------------------------------------------------------------------------


def per_matrix(values):
    return np.atleast_1d(values)


def squares(rng):
    singular = np.stack([np.ones((3, 3)), np.zeros((3, 3))])
    return [
        Sample([normal(rng, 2, 3, 3)]),
        Sample([normal(rng, 4, 4)]),
        Sample([normal(rng, 60, 60) / 8]),
        Sample([singular], grad=False),
    ]


record(
    "_linalg_det",
    grad=True,
    rtol=LOOSE,
    samples=squares,
    reference=lambda a: per_matrix(np.linalg.det(a)),
    errors=[SQUARE, FLAT],
)
record(
    "_linalg_slogdet",
    grad=True,
    rtol=LOOSE,
    samples=squares,
    reference=lambda a: [per_matrix(v) for v in np.linalg.slogdet(a)],
    errors=[SQUARE, FLAT],
)
record(
    "_linalg_inverse",
    grad=True,
    rtol=LOOSE,
    samples=lambda rng: [
        Sample([normal(rng, 2, 3, 3) + 2 * np.eye(3)]),
        Sample([normal(rng, 4, 4) + 3 * np.eye(4)]),
        Sample([normal(rng, 150, 150) + 15 * np.eye(150)], grad=False),
    ],
    reference=np.linalg.inv,
    errors=[SQUARE, FLAT, ErrorSample([np.ones((2, 2))], {}, "singular", at_wait=True)],
)

# ---- orthogonal factors -------------------------------------------------------------------------------------------


def gelqf(a):
    q, r = np.linalg.qr(turned(a))
    return turned(q), turned(r)


def syevd(a):
    values, vectors = np.linalg.eigh(a)
    rows = turned(vectors).copy()
    largest = np.take_along_axis(rows, np.abs(rows).argmax(-1)[..., None], -1)
    return rows * np.sign(largest), values


record(
    "_linalg_gelqf",
    grad=True,
    rtol=LOOSE,
    samples=lambda rng: [
        Sample([normal(rng, 2, 3, 4)]),
        Sample([normal(rng, 3, 3)]),
        Sample([normal(rng, 1, 4)]),
        Sample([normal(rng, 70, 110)], grad=False),
    ],
    reference=gelqf,
    errors=[ErrorSample([np.ones((3, 2))], {}, "more rows than columns"), FLAT],
)
# The gradient of syevd is that of a symmetric matrix: tests/python/test_linalg.py.
record(
    "_linalg_syevd",
    rtol={"float32": 1e-3, "float64": 1e-9},
    samples=lambda rng: [
        Sample([positive(rng, 2, 4, 4)]),
        Sample([np.diag([3.0, 1.0, 2.0])]),
        Sample([positive(rng, 1, 1)]),
        Sample([positive(rng, 5, 2, 2)]),
        Sample([positive(rng, 90, 90)], oracle=False),
    ],
    reference=syevd,
    errors=[SQUARE, ErrorSample([np.full((2, 2), np.nan)], {}, "not finite", at_wait=True)],
)

# ---- diagonals and triangles --------------------------------------------------------------------------------------


def makediag(a, offset=0):
    n = a.shape[-1] + abs(offset)
    out = np.zeros((*a.shape[:-1], n, n))
    at = np.arange(a.shape[-1])
    out[..., at + max(0, -offset), at + max(0, offset)] = a
    return out


def triangle_at(n, offset, lower):
    if offset < 0 or (offset == 0 and lower):
        return np.tril_indices(n, offset)
    columns, rows = np.tril_indices(n, -offset)
    return rows, columns


def extracttrian(a, offset=0, lower=True):
    return a[(..., *triangle_at(a.shape[-1], offset, lower))]


def maketrian(a, offset=0, lower=True):
    n = int((np.sqrt(8 * a.shape[-1] + 1) - 1) / 2) + abs(offset)
    out = np.zeros((*a.shape[:-1], n, n))
    out[(..., *triangle_at(n, offset, lower))] = a
    return out


OFFSETS = [(offset, low) for offset in (-2, -1, 0, 1, 2) for low in (True, False)]
OUTSIDE = [ErrorSample([np.ones((3, 3))], dict(offset=o), f"offset {o} is outside") for o in (3, -3)]
record(
    "_linalg_extractdiag",
    grad=True,
    samples=lambda rng: [Sample([normal(rng, 2, 4, 4)], dict(offset=o)) for o in (0, 1, -2)],
    reference=lambda a, offset=0: np.diagonal(a, offset, -2, -1),
    errors=[SQUARE, FLAT, *OUTSIDE],
)
record(
    "_linalg_makediag",
    grad=True,
    samples=lambda rng: [Sample([normal(rng, 2, 3)], dict(offset=o)) for o in (0, 1, -2)] + [Sample([normal(rng, 4)])],
    reference=makediag,
)
record(
    "_linalg_extracttrian",
    grad=True,
    samples=lambda rng: [Sample([normal(rng, 2, 4, 4)], dict(offset=o, lower=low)) for o, low in OFFSETS],
    reference=extracttrian,
    errors=[SQUARE, *OUTSIDE],
)
record(
    "_linalg_maketrian",
    grad=True,
    samples=lambda rng: [Sample([normal(rng, 2, 6)], dict(offset=o, lower=low)) for o, low in OFFSETS],
    reference=maketrian,
    errors=[ErrorSample([np.ones(4)], {}, "1, 3, 6, 10")],
)
record(
    "_linalg_sumlogdiag",
    grad=True,
    samples=lambda rng: [
        Sample([positive(rng, 2, 3, 3)]),
        Sample([positive(rng, 4, 4)]),
        Sample([positive(rng, 2, 1, 3, 3)]),
    ],
    reference=lambda a: per_matrix(np.log(np.diagonal(a, 0, -2, -1)).sum(-1)),
    errors=[SQUARE, FLAT],
)
