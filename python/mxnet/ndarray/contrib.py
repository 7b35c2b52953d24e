# SPDX-License-Identifier: Apache-2.0
"""Operators of the registry whose names begin with `_contrib_`, and what calls them in a form of its own."""

import math

from .._core import ops as _ops
from . import _internal, random
from .control_flow import cond, foreach, while_loop  # noqa: F401
from .ndarray import NDArray, full

__getattr__, __dir__ = _ops.install(__name__, "contrib", _ops.nd_function)


def _factor(rescale_grad, like):
    """The factor of gradients as an array, which may be given as a number."""
    if isinstance(rescale_grad, NDArray):
        return rescale_grad.as_in_context(like.context)
    return full((1,), rescale_grad, ctx=like.context)


def adamw_update(weight, grad, mean, var, rescale_grad, lr, eta, beta1=0.9, beta2=0.999, epsilon=1e-8, wd=0,
                 clip_gradient=-1, out=None, name=None, **kwargs):
    """One step of Adam with decoupled weight decay; `rescale_grad` is a number or an array of shape (1,).

    Nothing happens where `rescale_grad` is 0 or not finite. mean and var are written, the weight goes to `out`.
    """
    return _internal._adamw_update(weight, grad, mean, var, _factor(rescale_grad, weight), lr=lr, eta=eta, beta1=beta1,
                                   beta2=beta2, epsilon=epsilon, wd=wd, clip_gradient=clip_gradient, out=out, **kwargs)


def mp_adamw_update(weight, grad, mean, var, weight32, rescale_grad, lr, eta, beta1=0.9, beta2=0.999, epsilon=1e-8,
                    wd=0, clip_gradient=-1, out=None, name=None, **kwargs):
    """`adamw_update` of a half precision weight by its float32 copy, which is written as well."""
    return _internal._mp_adamw_update(weight, grad, mean, var, weight32, _factor(rescale_grad, weight), lr=lr, eta=eta,
                                      beta1=beta1, beta2=beta2, epsilon=epsilon, wd=wd, clip_gradient=clip_gradient,
                                      out=out, **kwargs)


def _interleaved(*lists):
    """The arrays of the first weight, of the second, and so on; ValueError if the lists differ in length."""
    if len({len(arrays) for arrays in lists}) != 1:
        raise ValueError(f"expected as many gradients and states as weights, got {[len(arrays) for arrays in lists]}")
    return [array for row in zip(*lists) for array in row]


def multi_adamw_update(weights, grads, mean, var, rescale_grad, lrs, wds, etas, out=None, name=None, size=0, **kwargs):
    """`adamw_update` of several weights in one call: lists of arrays, and of numbers for each weight."""
    arrays = _interleaved(weights, grads, mean, var)
    return _internal._multi_adamw_update(*arrays, _factor(rescale_grad, weights[0]), out=out, lrs=lrs, wds=wds,
                                         etas=etas, num_weights=size or len(weights), **kwargs)


def multi_mp_adamw_update(weights, grads, mean, var, weights32, rescale_grad, lrs, wds, etas, out=None, name=None,
                          size=0, **kwargs):
    """`mp_adamw_update` of several weights in one call: lists of arrays, and of numbers for each weight."""
    arrays = _interleaved(weights, grads, mean, var, weights32)
    return _internal._multi_mp_adamw_update(*arrays, _factor(rescale_grad, weights[0]), out=out, lrs=lrs, wds=wds,
                                            etas=etas, num_weights=size or len(weights), **kwargs)


def multi_lamb_update(weights, grads, mean, var, step_count, lrs, wds, out=None, num_tensors=0, **kwargs):
    """One step of LAMB for several weights: lists of arrays, and of numbers for each weight."""
    return _internal._multi_lamb_update(*_interleaved(weights, grads, mean, var), out=out, step_count=step_count,
                                        learning_rates=lrs, wds=wds, num_tensors=num_tensors or len(weights), **kwargs)


def multi_mp_lamb_update(weights, grads, mean, var, weights32, step_count, lrs, wds, out=None, num_tensors=0, **kwargs):
    """`multi_lamb_update` of half precision weights by their float32 copies, which are written as well."""
    return _internal._multi_mp_lamb_update(*_interleaved(weights, grads, mean, var, weights32), out=out,
                                           step_count=step_count, learning_rates=lrs, wds=wds,
                                           num_tensors=num_tensors or len(weights), **kwargs)


def rand_zipfian(true_classes, num_sampled, range_max, ctx=None):
    """Classes drawn with probability log((k + 2) / (k + 1)) / log(range_max + 1), with replacement.

    Gives the classes, of shape (num_sampled,) and int64, and how often each of `true_classes` and of the drawn ones is
    expected among them (float64).
    """
    log_range = math.log(range_max + 1)
    drawn = random.uniform(0, log_range, shape=(num_sampled,), dtype="float64", ctx=ctx)
    sampled = (drawn.exp() - 1).astype("int64") % range_max

    def expected(classes):
        classes = classes.astype("float64")
        return ((classes + 2) / (classes + 1)).log() / log_range * num_sampled

    return sampled, expected(true_classes.as_in_context(sampled.context)), expected(sampled)
