# SPDX-License-Identifier: Apache-2.0
"""Records of the random operators. The numbers are judged by a Kolmogorov-Smirnov test (continuous distributions) or by
mean and variance (discrete ones), at a fixed seed."""

import numpy as np
from ops.harness import ErrorSample, Sample, record
from scipy import stats

N = 20000


def continuous(make):
    """A check against scipy's distribution of the parameters."""

    def check(outputs, inputs, params):
        values = np.asarray(outputs[0], np.float64).ravel()
        assert stats.kstest(values, make(**params).cdf).pvalue > 1e-3

    return check


def discrete(make):
    def check(outputs, inputs, params):
        values = np.asarray(outputs[0], np.float64).ravel()
        law = make(**params)
        assert (values == np.floor(values)).all()
        assert (values >= 0).all()
        spread = law.std() / np.sqrt(len(values))
        assert abs(values.mean() - law.mean()) < 4 * spread + 1e-12
        assert abs(values.var() - law.var()) < 0.1 * law.var() + 1e-12

    return check


def negative_binomial(k=1, p=1, **_):
    return stats.nbinom(k, p)


def generalized(mu=1, alpha=1, **_):
    return stats.poisson(mu) if alpha == 0 else stats.nbinom(1 / alpha, 1 / (1 + mu * alpha))


LAWS = {
    "uniform": (
        continuous(lambda low=0, high=1, **_: stats.uniform(low, high - low)),
        dict(low=-1, high=3),
        [dict(low=2, high=1)],
    ),
    "normal": (
        continuous(lambda loc=0, scale=1, **_: stats.norm(loc, scale)),
        dict(loc=2, scale=0.5),
        [dict(scale=-1), dict(scale=0)],
    ),
    "gamma": (
        continuous(lambda alpha=1, beta=1, **_: stats.gamma(alpha, scale=beta)),
        dict(alpha=0.5, beta=2),
        [dict(alpha=-1), dict(beta=0)],
    ),
    "exponential": (continuous(lambda lam=1, **_: stats.expon(scale=1 / lam)), dict(lam=3), [dict(lam=-1)]),
    "poisson": (discrete(lambda lam=1, **_: stats.poisson(lam)), dict(lam=4), [dict(lam=-1)]),
    "negative_binomial": (discrete(negative_binomial), dict(k=4, p=0.3), [dict(k=-1), dict(p=2)]),
    "generalized_negative_binomial": (discrete(generalized), dict(mu=4, alpha=0.3), [dict(mu=-1), dict(alpha=-1)]),
}
MORE = {
    "gamma": [dict(alpha=7.5, beta=0.1)],
    "poisson": [dict(lam=50), dict(lam=0)],
    "uniform": [dict(dtype="float64")],
    "normal": [dict(dtype="float64"), {}],
    "generalized_negative_binomial": [dict(mu=2, alpha=0)],
}
ARRAYS = {
    "uniform": (stats.uniform, [[-1.0, 5], [1.0, 6]], lambda a, b: stats.uniform(a, b - a)),
    "normal": (stats.norm, [[0.0, 5], [1.0, 3]], lambda a, b: stats.norm(a, b)),
    "gamma": (stats.gamma, [[0.5, 5], [1.0, 3]], lambda a, b: stats.gamma(a, scale=b)),
    "exponential": (stats.expon, [[0.5, 5]], lambda a: stats.expon(scale=1 / a)),
    "poisson": (stats.poisson, [[0.5, 30]], stats.poisson),
    "negative_binomial": (stats.nbinom, [[2.0, 5], [0.5, 0.2]], stats.nbinom),
    "generalized_negative_binomial": (stats.nbinom, [[2.0, 5], [0.5, 0.2]], lambda m, a: generalized(m, a)),
}


def per_set(law):
    """Each row of the output follows the law of its parameters: mean within its own spread."""

    def check(outputs, inputs, params):
        for row, parameters in zip(outputs[0], zip(*inputs, strict=True), strict=True):
            expected = law(*parameters)
            assert abs(np.mean(row) - expected.mean()) < 4 * expected.std() / np.sqrt(row.size)
            assert abs(np.var(row) - expected.var()) < 0.15 * expected.var()

    return check


def add_family(name, check, params, bad):
    record(
        f"_random_{name}",
        random=True,
        check=check,
        oracle=False,
        samples=lambda rng: [Sample([], dict(shape=(N // 100, 100), **p)) for p in [params, *MORE.get(name, [])]],
        errors=[ErrorSample([], dict(shape=(3,), **p), next(iter(p)), at_wait=True) for p in bad]
        + [ErrorSample([], dict(shape=(3,), dtype="int32"), "dtype")],
    )
    record(
        f"_random_{name}_like",
        random=True,
        check=check,
        oracle=False,
        samples=lambda rng: [Sample([np.zeros((N // 100, 100))], params)],
    )
    _, inputs, law = ARRAYS[name]
    record(
        f"_sample_{name}",
        random=True,
        check=per_set(law),
        oracle=False,
        samples=lambda rng: [Sample([np.array(x) for x in inputs], dict(shape=(N // 4,)))],
        errors=[ErrorSample([np.full(2, -3.0)] * len(inputs), dict(shape=(3,)), at_wait=True)]
        if name != "uniform"
        else [],
    )


for law_name, (law_check, law_params, law_bad) in LAWS.items():
    add_family(law_name, law_check, law_params, law_bad)


def check_randint(outputs, inputs, params):
    values = outputs[0].ravel()
    counts = np.bincount(values - params["low"], minlength=params["high"] - params["low"])
    assert len(counts) == params["high"] - params["low"]
    assert stats.chisquare(counts).pvalue > 1e-3


record(
    "_random_randint",
    random=True,
    check=check_randint,
    oracle=False,
    samples=lambda rng: [
        Sample([], dict(low=-3, high=5, shape=(N,))),
        Sample([], dict(low=0, high=3, shape=(N,), dtype="int64")),
    ],
    errors=[
        ErrorSample([], dict(low=5, high=5, shape=(3,)), "low", at_wait=True),
        ErrorSample([], dict(low=5, shape=(3,)), "high"),
    ],
)


def check_multinomial(outputs, inputs, params):
    p = inputs[0].reshape(-1, inputs[0].shape[-1])
    for k, row in enumerate(outputs[0].reshape(len(p), -1)):
        counts = np.bincount(row.astype(int), minlength=p.shape[1])
        expected = p[k] / p[k].sum() * row.size
        assert (counts[expected == 0] == 0).all()
        assert stats.chisquare(counts[expected > 0], expected[expected > 0]).pvalue > 1e-3
    if params.get("get_prob"):
        drawn = np.take_along_axis(p, outputs[0].reshape(len(p), -1).astype(int), 1)
        np.testing.assert_allclose(outputs[1].reshape(drawn.shape), np.log(drawn), rtol=1e-5)


record(
    "_sample_multinomial",
    random=True,
    check=check_multinomial,
    oracle=False,
    samples=lambda rng: [
        Sample([np.array([0.1, 0.2, 0.7])], dict(shape=(N,))),
        Sample([np.array([[0.5, 0.5, 0], [0.1, 0, 0.9]])], dict(shape=(N // 10, 10), get_prob=True)),
        Sample([np.array([2.0, 6])], dict(shape=(N,))),
    ],
    errors=[
        ErrorSample([np.zeros(3)], {}, "sum", at_wait=True),
        ErrorSample([np.array([0.5, -1])], {}, "negative", at_wait=True),
    ],
)


def check_shuffle(outputs, inputs, params):
    np.testing.assert_array_equal(np.sort(outputs[0], 0), np.sort(inputs[0].astype(np.float32), 0))
    assert len(inputs[0]) < 3 or (outputs[0] != inputs[0]).any()


record(
    "_shuffle",
    random=True,
    check=check_shuffle,
    oracle=False,
    samples=lambda rng: [
        Sample([np.arange(100.0)]),
        Sample([np.repeat(np.arange(50.0)[:, None], 3, 1)]),
        Sample([np.zeros((1, 2))]),
    ],
)
