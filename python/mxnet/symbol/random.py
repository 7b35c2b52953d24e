# SPDX-License-Identifier: Apache-2.0
"""`mx.sym.random`: samplers. Parameters are numbers, or symbols that give one distribution per element."""
from .._core import ops
from .op import function
from .symbol import Symbol

__all__ = ["uniform", "normal", "randn", "poisson", "exponential", "gamma", "negative_binomial",
           "generalized_negative_binomial", "multinomial", "shuffle", "randint"]

__getattr__, __dir__ = ops.install(__name__, "random", function)


def _sample(kind, parameters, shape, dtype, kwargs):
    if shape is not None:
        kwargs["shape"] = shape
    if dtype is not None:
        kwargs["dtype"] = dtype
    symbols = [isinstance(value, Symbol) for value in parameters.values()]
    if all(symbols):
        return function(f"_sample_{kind}")(*parameters.values(), **kwargs)
    if any(symbols):
        raise ValueError(f"random.{kind}: parameters must be all numbers or all symbols, got "
                         + ", ".join(f"{key}: {type(value).__name__}" for key, value in parameters.items()))
    return function(f"_random_{kind}")(**parameters, **kwargs)


def uniform(low=0, high=1, shape=None, dtype=None, **kwargs):
    """Samples uniformly from [low, high)."""
    return _sample("uniform", {"low": low, "high": high}, shape, dtype, kwargs)


def normal(loc=0, scale=1, shape=None, dtype=None, **kwargs):
    """Samples a normal distribution with mean `loc` and standard deviation `scale`."""
    if isinstance(loc, Symbol) and isinstance(scale, Symbol):
        return _sample("normal", {"mu": loc, "sigma": scale}, shape, dtype, kwargs)
    return _sample("normal", {"loc": loc, "scale": scale}, shape, dtype, kwargs)


def randn(*shape, loc=0, scale=1, dtype=None, **kwargs):
    """Samples a normal distribution; the shape is given as separate numbers."""
    return normal(loc, scale, shape or None, dtype, **kwargs)


def poisson(lam=1, shape=None, dtype=None, **kwargs):
    """Samples a Poisson distribution with rate `lam`."""
    return _sample("poisson", {"lam": lam}, shape, dtype, kwargs)


def exponential(scale=1, shape=None, dtype=None, **kwargs):
    """Samples an exponential distribution with mean `scale`."""
    lam = 1.0 / scale
    return _sample("exponential", {"lam": lam}, shape, dtype, kwargs)


def gamma(alpha=1, beta=1, shape=None, dtype=None, **kwargs):
    """Samples a gamma distribution with shape `alpha` and scale `beta`."""
    return _sample("gamma", {"alpha": alpha, "beta": beta}, shape, dtype, kwargs)


def negative_binomial(k=1, p=1, shape=None, dtype=None, **kwargs):
    """Samples the number of failures before `k` successes of probability `p`."""
    return _sample("negative_binomial", {"k": k, "p": p}, shape, dtype, kwargs)


def generalized_negative_binomial(mu=1, alpha=1, shape=None, dtype=None, **kwargs):
    """Samples a generalized negative binomial distribution with mean `mu` and dispersion `alpha`."""
    return _sample("generalized_negative_binomial", {"mu": mu, "alpha": alpha}, shape, dtype, kwargs)


def randint(low, high, shape=None, dtype=None, **kwargs):
    """Samples integers uniformly from [low, high)."""
    return _sample("randint", {"low": low, "high": high}, shape, dtype, kwargs)


def multinomial(data, shape=None, get_prob=False, dtype="int32", **kwargs):
    """Samples indices with the probabilities in the last axis of `data`."""
    if shape is not None:
        kwargs["shape"] = shape
    return function("_sample_multinomial")(data, get_prob=get_prob, dtype=dtype, **kwargs)


def shuffle(data, **kwargs):
    """Shuffles `data` along its first axis."""
    return function("_shuffle")(data, **kwargs)
