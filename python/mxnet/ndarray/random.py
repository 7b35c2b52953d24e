# SPDX-License-Identifier: Apache-2.0
"""Random arrays. Parameters may be numbers, or arrays of equal shape: then each element has its own distribution."""

from .._core import ops as _ops
from ..base import _Null
from . import _internal, op
from .ndarray import NDArray

__all__ = ["exponential", "gamma", "generalized_negative_binomial", "multinomial", "negative_binomial", "normal",
           "poisson", "randint", "randn", "shuffle", "uniform"]


def _draw(scalar_op, array_op, values, names, shape, dtype, ctx, out):
    """One sampler: the form for numbers or the form for arrays."""
    arrays = [isinstance(v, NDArray) for v in values]
    if shape is None:
        shape = _Null
    if any(arrays):
        if not all(arrays):
            raise ValueError(f"{scalar_op}: parameters must all be numbers or all be NDArrays")
        return getattr(_internal, array_op)(*values, shape=shape, dtype=dtype, out=out)
    kwargs = dict(zip(names, values))
    if out is None and shape is _Null:
        shape = (1,)
    return getattr(_internal, scalar_op)(shape=shape, dtype=dtype, ctx=ctx, out=out, **kwargs)


def uniform(low=0, high=1, shape=_Null, dtype=_Null, ctx=None, out=None, **kwargs):
    """Samples of the uniform distribution on [low, high)."""
    return _draw("_random_uniform", "_sample_uniform", (low, high), ("low", "high"), shape, dtype, ctx, out)


def normal(loc=0, scale=1, shape=_Null, dtype=_Null, ctx=None, out=None, **kwargs):
    """Samples of the normal distribution with mean `loc` and standard deviation `scale`."""
    return _draw("_random_normal", "_sample_normal", (loc, scale), ("loc", "scale"), shape, dtype, ctx, out)


def randn(*shape, **kwargs):
    """Samples of the normal distribution; dimensions are positional."""
    return normal(kwargs.pop("loc", 0), kwargs.pop("scale", 1), shape=shape or _Null, **kwargs)


def poisson(lam=1, shape=_Null, dtype=_Null, ctx=None, out=None, **kwargs):
    """Samples of the Poisson distribution with mean `lam`."""
    return _draw("_random_poisson", "_sample_poisson", (lam,), ("lam",), shape, dtype, ctx, out)


def exponential(scale=1, shape=_Null, dtype=_Null, ctx=None, out=None, **kwargs):
    """Samples of the exponential distribution with mean `scale`."""
    rate = 1.0 / scale
    return _draw("_random_exponential", "_sample_exponential", (rate,), ("lam",), shape, dtype, ctx, out)


def gamma(alpha=1, beta=1, shape=_Null, dtype=_Null, ctx=None, out=None, **kwargs):
    """Samples of the gamma distribution with shape `alpha` and scale `beta`."""
    return _draw("_random_gamma", "_sample_gamma", (alpha, beta), ("alpha", "beta"), shape, dtype, ctx, out)


def negative_binomial(k=1, p=1, shape=_Null, dtype=_Null, ctx=None, out=None, **kwargs):
    """Failures before the `k`-th success, each trial succeeding with probability `p`."""
    return _draw("_random_negative_binomial", "_sample_negative_binomial", (k, p), ("k", "p"), shape, dtype, ctx, out)


def generalized_negative_binomial(mu=1, alpha=1, shape=_Null, dtype=_Null, ctx=None, out=None, **kwargs):
    """Negative binomial by mean `mu` and dispersion `alpha`."""
    return _draw("_random_generalized_negative_binomial", "_sample_generalized_negative_binomial", (mu, alpha),
                 ("mu", "alpha"), shape, dtype, ctx, out)


def randint(low, high, shape=_Null, dtype=_Null, ctx=None, out=None, **kwargs):
    """Integers in [low, high)."""
    if out is None and (shape is _Null or shape is None):
        shape = (1,)
    return _internal._random_randint(low=low, high=high, shape=shape, dtype=dtype, ctx=ctx, out=out)


def multinomial(data, shape=_Null, get_prob=False, out=None, dtype="int32", **kwargs):
    """Indices drawn from the probabilities in the last axis of `data`; with `get_prob` also their log-probabilities."""
    return _internal._sample_multinomial(data, shape=shape, get_prob=get_prob, out=out, dtype=dtype)


def shuffle(data, **kwargs):
    """`data` with its rows (axis 0) in random order."""
    return op.shuffle(data, **kwargs)


_from_registry, __dir__ = _ops.install(__name__, "random", _ops.nd_function)


def __getattr__(name):
    return _from_registry(name)
