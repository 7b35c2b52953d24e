# SPDX-License-Identifier: Apache-2.0
"""Optimizers whose steps adapt to the history of each element's gradient, and those that follow only its sign."""
from __future__ import annotations

import math

from .. import ndarray as nd
from .optimizer import Optimizer, register
from .sgd import _zeros_like

__all__ = ["AdaDelta", "AdaGrad", "Adamax", "FTML", "Ftrl", "Nadam", "RMSProp", "Signum"]


class _WithGradient(Optimizer):
    """For rules written with array operators: the gradient as all of them see it."""

    def _rescaled(self, grad, weight=None, wd=0.0):
        """The gradient, rescaled, with weight decay if it belongs before clipping, and clipped."""
        grad = grad * self.rescale_grad
        if weight is not None:
            grad = grad + wd * weight
        if self.clip_gradient is not None:
            grad = nd.clip(grad, -self.clip_gradient, self.clip_gradient)
        return grad


@register
class AdaGrad(_WithGradient):
    """Steps divided by the root of the sum of all squared gradients (Duchi et al.).

    A row_sparse gradient changes only its own rows, and admits no weight decay.
    """

    def __init__(self, eps=1e-7, **kwargs):
        super().__init__(**kwargs)
        self.float_stable_eps = eps

    def create_state(self, index, weight):
        return _zeros_like(weight)

    def update(self, index, weight, grad, state):
        self._update_count(index)
        lr, wd = self._get_lr(index), self._get_wd(index)
        if grad.stype == "row_sparse":
            nd.sparse.adagrad_update(weight, grad, state, out=weight, lr=lr, wd=wd, epsilon=self.float_stable_eps,
                                     **self._common())
            return
        grad = self._rescaled(grad)
        state[:] = state + nd.square(grad)
        weight[:] = weight - lr * (grad / nd.sqrt(state + self.float_stable_eps) + wd * weight)


@register
class AdaDelta(_WithGradient):
    """Steps of the size of recent steps, divided by that of recent gradients (Zeiler); the rate plays no part."""

    def __init__(self, rho=0.90, epsilon=1e-5, **kwargs):
        super().__init__(**kwargs)
        self.rho = rho
        self.epsilon = epsilon

    def create_state(self, index, weight):
        return _zeros_like(weight), _zeros_like(weight)

    def update(self, index, weight, grad, state):
        self._update_count(index)
        wd = self._get_wd(index)
        grad = self._rescaled(grad)
        mean_grad, mean_step = state
        mean_grad[:] = self.rho * mean_grad + (1.0 - self.rho) * nd.square(grad)
        step = nd.sqrt(mean_step + self.epsilon) / nd.sqrt(mean_grad + self.epsilon) * grad
        mean_step[:] = self.rho * mean_step + (1.0 - self.rho) * nd.square(step)
        weight[:] = weight - (step + wd * weight)


@register
class RMSProp(Optimizer):
    """Steps divided by the root of the running mean of squared gradients (Tieleman and Hinton).

    `gamma1` is the decay of the means. With `centered` the squared mean is subtracted from the mean square (Graves),
    and `gamma2` is the momentum. `clip_weights` limits the weights afterwards.
    """

    def __init__(self, learning_rate=0.001, gamma1=0.9, gamma2=0.9, epsilon=1e-8, centered=False, clip_weights=None,
                 **kwargs):
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.gamma1 = gamma1
        self.gamma2 = gamma2
        self.centered = centered
        self.epsilon = epsilon
        self.clip_weights = clip_weights

    def create_state(self, index, weight):
        return tuple(_zeros_like(weight) for _ in range(3 if self.centered else 1))

    def update(self, index, weight, grad, state):
        self._update_count(index)
        options = {"lr": self._get_lr(index), "wd": self._get_wd(index), "gamma1": self.gamma1,
                   "epsilon": self.epsilon, **self._common()}
        if self.clip_weights:
            options["clip_weights"] = self.clip_weights
        if self.centered:
            nd.rmspropalex_update(weight, grad, *state, out=weight, gamma2=self.gamma2, **options)
        else:
            nd.rmsprop_update(weight, grad, *state, out=weight, **options)


@register
class Ftrl(Optimizer):
    """Follow the regularized leader (McMahan et al.), with L1 penalty `lamda1`; `beta` is added to the root."""

    def __init__(self, lamda1=0.01, learning_rate=0.1, beta=1, **kwargs):
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.lamda1 = lamda1
        self.beta = beta

    def create_state(self, index, weight):
        return _zeros_like(weight), _zeros_like(weight)

    def update(self, index, weight, grad, state):
        self._update_count(index)
        nd.ftrl_update(weight, grad, *state, out=weight, lr=self._get_lr(index), wd=self._get_wd(index),
                       lamda1=self.lamda1, beta=self.beta, **self._common())


@register
class FTML(Optimizer):
    """Follow the moving leader (Zheng and Kwok)."""

    def __init__(self, beta1=0.6, beta2=0.999, epsilon=1e-8, **kwargs):
        super().__init__(**kwargs)
        self.beta1 = beta1
        self.beta2 = beta2
        self.epsilon = epsilon

    def create_state(self, index, weight):
        return tuple(_zeros_like(weight) for _ in range(3))

    def update(self, index, weight, grad, state):
        self._update_count(index)
        options = {"rescale_grad": self.rescale_grad}
        if self.clip_gradient is not None:
            options["clip_grad"] = self.clip_gradient
        nd.ftml_update(weight, grad, *state, out=weight, lr=self._get_lr(index), wd=self._get_wd(index),
                       beta1=self.beta1, beta2=self.beta2, epsilon=self.epsilon, t=self._index_update_count[index],
                       **options)


@register
class Signum(Optimizer):
    """Steps of the sign of the gradient, or of its running mean with `momentum` (Bernstein et al.).

    `wd_lh` is weight decay apart from the gradient (Loshchilov and Hutter).
    """

    def __init__(self, learning_rate=0.01, momentum=0.9, wd_lh=0.0, **kwargs):
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.momentum = momentum
        self.wd_lh = wd_lh

    def create_state(self, index, weight):
        return _zeros_like(weight) if self.momentum != 0.0 else None

    def update(self, index, weight, grad, state):
        self._update_count(index)
        options = {"out": weight, "lr": self._get_lr(index), "wd": self._get_wd(index), **self._common()}
        if state is None:
            nd.signsgd_update(weight, grad, **options)
        else:
            if self.wd_lh:
                options["wd_lh"] = self.wd_lh
            nd.signum_update(weight, grad, state, momentum=self.momentum, **options)


@register
class Adamax(_WithGradient):
    """Adam with the largest recent gradient in the place of the root mean square (Kingma and Ba)."""

    def __init__(self, learning_rate=0.002, beta1=0.9, beta2=0.999, **kwargs):
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.beta1 = beta1
        self.beta2 = beta2

    def create_state(self, index, weight):
        return _zeros_like(weight), _zeros_like(weight)

    def update(self, index, weight, grad, state):
        self._update_count(index)
        t = self._index_update_count[index]
        lr = self._get_lr(index) / (1.0 - self.beta1 ** t)
        grad = self._rescaled(grad, weight, self._get_wd(index))
        mean, largest = state
        mean[:] = self.beta1 * mean + (1.0 - self.beta1) * grad
        largest[:] = nd.maximum(self.beta2 * largest, nd.abs(grad))
        weight[:] = weight - lr * mean / (largest + 1e-8)


@register
class Nadam(_WithGradient):
    """Adam with Nesterov's momentum, on a schedule that `schedule_decay` sets (Dozat)."""

    def __init__(self, learning_rate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-8, schedule_decay=0.004, **kwargs):
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.beta1 = beta1
        self.beta2 = beta2
        self.epsilon = epsilon
        self.schedule_decay = schedule_decay
        self.m_schedule = 1.0

    def create_state(self, index, weight):
        return _zeros_like(weight), _zeros_like(weight)

    def _momentum(self, t):
        return self.beta1 * (1.0 - 0.5 * math.pow(0.96, t * self.schedule_decay))

    def update(self, index, weight, grad, state):
        self._update_count(index)
        lr, t = self._get_lr(index), self._index_update_count[index]
        grad = self._rescaled(grad, weight, self._get_wd(index))
        now, then = self._momentum(t), self._momentum(t + 1)
        self.m_schedule *= now
        following = self.m_schedule * then
        mean, variance = state
        mean[:] = self.beta1 * mean + (1.0 - self.beta1) * grad
        variance[:] = self.beta2 * variance + (1.0 - self.beta2) * nd.square(grad)
        look_ahead = (1.0 - now) / (1.0 - self.m_schedule) * grad + then / (1.0 - following) * mean
        spread = nd.sqrt(variance / (1.0 - math.pow(self.beta2, t))) + self.epsilon
        weight[:] = weight - lr * look_ahead / spread
