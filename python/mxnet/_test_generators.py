# SPDX-License-Identifier: Apache-2.0
"""Checks that generators of random numbers follow their distributions; see `mxnet.test_utils`."""
from __future__ import annotations

from math import erfc, exp, lgamma, log, sqrt

import numpy as np

from .ndarray import NDArray

__all__ = ["chi_square_check", "gen_buckets_probs_with_ppf", "mean_check", "var_check", "verify_generator"]


def _samples(generator, nsamples):
    drawn = generator(nsamples)
    return (drawn.asnumpy() if isinstance(drawn, NDArray) else np.asarray(drawn)).reshape(-1)


def mean_check(generator, mu, sigma, nsamples=1000000):
    """Whether the mean of `generator(n)` lies within three standard errors of `mu`."""
    return abs(np.mean(_samples(generator, nsamples)) - mu) < 3 * sigma / np.sqrt(nsamples)


def var_check(generator, sigma, nsamples=1000000):
    """Whether the variance of `generator(n)` lies within three standard errors of `sigma`²."""
    variance = np.var(_samples(generator, nsamples), ddof=1)
    return abs(variance - sigma ** 2) < 3 * np.sqrt(2.0 * sigma ** 4 / (nsamples - 1))


def gen_buckets_probs_with_ppf(ppf, nbuckets):
    """Ranges that are equally probable, for `chi_square_check`.

    Parameters
    ----------
    ppf : callable
        The inverse of the cumulative distribution function, from a probability to a value.
    nbuckets : int
        1 or more.

    Returns (list of (low, high), list of probabilities).
    """
    if nbuckets < 1:
        raise AssertionError(f"gen_buckets_probs_with_ppf: nbuckets must be 1 or more, got {nbuckets}")
    edges = [float(ppf(i / float(nbuckets))) for i in range(nbuckets + 1)]
    return list(zip(edges, edges[1:])), [1.0 / nbuckets] * nbuckets


def _chi_square_survival(statistic, freedom):
    """The probability that a chi-square variable exceeds `statistic`: the finite sums for whole degrees of freedom."""
    half = statistic / 2.0
    if half <= 0 or freedom < 1:
        return 1.0 if half <= 0 else 0.0
    if half == float("inf"):
        return 0.0
    a = 0.5 if freedom % 2 else 1.0
    total = erfc(sqrt(half)) if freedom % 2 else exp(-half)
    while a < freedom / 2.0:
        total += exp(a * log(half) - half - lgamma(a + 1))
        a += 1
    return min(total, 1.0)


def _counts(samples, buckets):
    """How many samples each bucket has: ranges hold their lower end, not their upper one."""
    if not isinstance(buckets[0], (list, tuple)):
        return np.array([np.count_nonzero(samples == value) for value in buckets])
    edges = np.array([edge for bucket in buckets for edge in bucket], dtype=np.float64)
    if np.any(np.diff(edges) < 0):
        raise AssertionError(f"chi_square_check: buckets must ascend without common parts, got {buckets}")
    below = np.searchsorted(np.sort(samples), edges, side="left")
    return below[1::2] - below[0::2]


def chi_square_check(generator, buckets, probs, nsamples=1000000):
    """Pearson's chi-square test of a generator.

    Parameters
    ----------
    generator : callable
        `generator(n)` draws n numbers: an array.
    buckets : list of (low, high), or list of number
        Ranges of a continuous distribution, which ascend, or the values of a discrete one.
    probs : list of float
        The probability of each bucket.
    nsamples : int

    Returns (p, observed counts, expected counts as whole numbers). A small p, such as one below 0.05, speaks against
    the generator. Samples in no bucket count as missing in the others.
    """
    if not isinstance(buckets, list) or not buckets:
        raise AssertionError(f"chi_square_check: buckets must be a list with at least one entry, got {buckets!r}")
    if len(probs) != len(buckets):
        raise AssertionError(f"chi_square_check: {len(probs)} probabilities for {len(buckets)} buckets")
    observed = _counts(_samples(generator, nsamples), buckets)
    expected = nsamples * np.asarray(probs, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = np.where(observed == expected, 0.0, (observed - expected) ** 2 / expected)
    return _chi_square_survival(float(parts.sum()), len(buckets) - 1), observed, expected.astype(np.int32)


def verify_generator(generator, buckets, probs, nsamples=1000000, nrepeat=5, success_rate=0.2, alpha=0.05):
    """AssertionError unless enough of `nrepeat` chi-square tests pass; see `chi_square_check` for the first arguments.

    Parameters
    ----------
    nrepeat : int
    success_rate : float
        The part of the tests that must pass.
    alpha : float
        A test passes if its p is above this.

    Returns the p of each test.
    """
    runs = [chi_square_check(generator, buckets, probs, nsamples) for _ in range(nrepeat)]
    p, observed, expected = (list(column) for column in zip(*runs)) if runs else ([], [], [])
    if sum(value > alpha for value in p) < nrepeat * success_rate:
        raise AssertionError(f"Generator test fails, Chi-square p={p}, obs_freq={observed}, expected_freq={expected}.\n"
                             f"buckets={buckets}, probs={probs}")
    return p
