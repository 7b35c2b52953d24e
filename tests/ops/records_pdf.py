# SPDX-License-Identifier: Apache-2.0
"""Records of the densities, against formulas with math.lgamma."""

import math

import numpy as np
from ops.harness import ErrorSample, Sample, record

lgamma = np.vectorize(math.lgamma, otypes=[float])
FLOATS = ("float16", "bfloat16", "float32", "float64")
LOOSE = {"float16": 2e-2, "bfloat16": 2e-1, "float32": 1e-4}


def log_negative_binomial(x, k, p):
    return lgamma(x + k) - lgamma(x + 1) - lgamma(k) + k * np.log(p) + x * np.log(1 - p)


DENSITIES = {
    "uniform": lambda x, low, high: -np.log(high - low) + 0 * x,
    "normal": lambda x, mu, sigma: -(((x - mu) / sigma) ** 2) / 2 - np.log(sigma * np.sqrt(2 * np.pi)),
    "gamma": lambda x, a, b: a * np.log(b) + (a - 1) * np.log(x) - b * x - lgamma(a),
    "exponential": lambda x, lam: np.log(lam) - lam * x,
    "poisson": lambda x, lam: x * np.log(lam) - lgamma(x + 1) - lam,
    "negative_binomial": log_negative_binomial,
    "generalized_negative_binomial": lambda x, mu, a: log_negative_binomial(x, 1 / a, 1 / (1 + mu * a)),
}
DISCRETE = ("poisson", "negative_binomial", "generalized_negative_binomial")


def reference(log_density):
    def density(sample, *parameters, is_log=False):
        spread = [p.reshape(p.shape + (1,) * (sample.ndim - p.ndim)) for p in parameters]
        value = log_density(sample, *spread)
        return value if is_log else np.exp(value)

    return density


def samples(name, log_density):
    count = log_density.__code__.co_argcount - 1

    def parameters(rng, *shape):
        first, second = rng.random(shape) + 0.5, rng.random(shape) + 1.6
        if name == "negative_binomial":
            second /= 3
        return [first, second][:count]

    def draw(rng, *shape):
        return rng.integers(0, 6, shape) + 0.0 if name in DISCRETE else rng.random(shape) + 0.2

    return lambda rng: [
        Sample([draw(rng, 2, 5), *parameters(rng, 2)]),
        Sample([draw(rng, 2, 3, 4), *parameters(rng, 2, 3)], dict(is_log=True)),
        Sample([draw(rng, 3), *parameters(rng, 3)]),
        Sample([draw(rng, 2, 3, 4), *parameters(rng, 2)], oracle=False),
    ]


for _name, _log_density in DENSITIES.items():
    _arguments = _log_density.__code__.co_argcount
    record(
        f"_random_pdf_{_name}",
        grad=True,
        # Discrete samples have no gradient: those of the parameters alone are compared.
        data=tuple(range(1, _arguments)) if _name in DISCRETE else None,
        cast=tuple(range(_arguments)),
        dtypes=FLOATS,
        rtol=LOOSE,
        samples=samples(_name, _log_density),
        reference=reference(_log_density),
        errors=[
            ErrorSample([np.ones((3, 4)), *[np.ones(2)] * (_arguments - 1)], {}, "begin the shape of sample"),
            ErrorSample([np.ones((3, 4), np.int32), *[np.ones(3, np.int32)] * (_arguments - 1)], {}, "floating point"),
        ],
    )


def dirichlet(x, alpha, is_log=False):
    alpha = alpha.reshape(alpha.shape[:-1] + (1,) * (x.ndim - alpha.ndim) + alpha.shape[-1:])
    value = ((alpha - 1) * np.log(x) - lgamma(alpha)).sum(-1) + lgamma(alpha.sum(-1))
    return value if is_log else np.exp(value)


def simplex(rng, *shape):
    x = rng.random(shape) + 0.1
    return x / x.sum(-1, keepdims=True)


record(
    "_random_pdf_dirichlet",
    grad=True,
    dtypes=FLOATS,
    rtol=LOOSE,
    samples=lambda rng: [
        Sample([simplex(rng, 2, 3, 4), rng.random((2, 4)) + 0.5]),
        Sample([simplex(rng, 2, 3), rng.random((2, 3)) + 0.5], dict(is_log=True)),
        Sample([simplex(rng, 5, 3), rng.random(3) + 0.5], oracle=False),
    ],
    reference=dirichlet,
    errors=[ErrorSample([np.ones((2, 3)), np.ones((2, 4))], {}, "alpha")],
)


def check_zipfian(outs, inputs, params):
    drawn, tries = outs
    rows, n = params["shape"]
    assert drawn.shape == (rows, n) and tries.shape == (rows,)
    assert drawn.dtype == tries.dtype == np.int64
    assert ((drawn >= 0) & (drawn < params["range_max"])).all() and (tries >= n).all()
    assert all(len(set(row)) == n for row in drawn.tolist())
    if rows > 1000:  # the first of each row: one draw of the distribution
        classes = np.arange(params["range_max"])
        expected = np.log((classes + 2) / (classes + 1)) / np.log(params["range_max"] + 1)
        seen = np.bincount(drawn[:, 0], minlength=params["range_max"]) / rows
        assert np.abs(seen - expected).max() < 4 / np.sqrt(rows)


record(
    "_sample_unique_zipfian",
    random=True,
    samples=lambda rng: [
        Sample([], dict(range_max=1000, shape=(3, 8))),
        Sample([], dict(range_max=6, shape=(2, 6))),
        Sample([], dict(range_max=20, shape=(4000, 3))),
    ],
    check=check_zipfian,
    errors=[
        ErrorSample([], dict(range_max=5, shape=(2, 6)), "only 5 distinct"),
        ErrorSample([], dict(range_max=5, shape=(2,)), "shape"),
    ],
)
