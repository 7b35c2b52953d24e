# SPDX-License-Identifier: Apache-2.0
"""Variants of stochastic gradient descent: delay compensation, Langevin dynamics."""
from __future__ import annotations

import math

from .. import ndarray as nd
from .optimizer import Optimizer, register

__all__ = ["DCASGD", "SGLD"]


@register
class DCASGD(Optimizer):
    """Asynchronous SGD with delay compensation (Zheng et al., 2017): the gradient is corrected by
    lamda · gradient² · (weight - weight at the last update).

    Parameters
    ----------
    momentum : float
        0 keeps no momentum. (1.9.1 fails with one.)
    lamda : float
        Strength of the correction.

    Other arguments: see `Optimizer`.
    """

    def __init__(self, momentum=0.0, lamda=0.04, **kwargs):
        super().__init__(**kwargs)
        self.momentum = momentum
        self.lamda = lamda

    def create_state(self, index, weight):
        momentum = None if self.momentum == 0.0 else nd.zeros(weight.shape, weight.context, dtype=weight.dtype)
        return momentum, weight.copy()

    def update(self, index, weight, grad, state):
        self._update_count(index)
        lr, wd = self._get_lr(index), self._get_wd(index)
        grad = grad * self.rescale_grad
        if self.clip_gradient is not None:
            grad = nd.clip(grad, -self.clip_gradient, self.clip_gradient)
        momentum, previous = state
        step = -lr * (grad + wd * weight + self.lamda * grad * grad * (weight - previous))
        if momentum is not None:
            momentum[:] = self.momentum * momentum + step
            step = momentum
        previous[:] = weight
        weight[:] += step


@register
class SGLD(Optimizer):
    """Stochastic gradient Langevin dynamics (Welling and Teh, 2011): half a gradient step, and normal noise of variance
    lr.

    Arguments: see `Optimizer`.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)

    def create_state(self, index, weight):
        return None

    def update(self, index, weight, grad, state):
        self._update_count(index)
        lr, wd = self._get_lr(index), self._get_wd(index)
        grad = grad * self.rescale_grad
        if self.clip_gradient is not None:
            grad = nd.clip(grad, -self.clip_gradient, self.clip_gradient)
        noise = nd.random.normal(0, math.sqrt(lr), shape=weight.shape, dtype=weight.dtype, ctx=weight.context)
        weight[:] += -lr / 2 * (grad + wd * weight) + noise
