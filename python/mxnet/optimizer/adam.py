# SPDX-License-Identifier: Apache-2.0
"""Adam."""
from __future__ import annotations

import math

from .. import ndarray as nd
from .optimizer import Optimizer, register

__all__ = ["Adam"]


@register
class Adam(Optimizer):
    """Adam (Kingma and Ba): steps along the running mean of the gradient, divided by the root of that of its square.

    Parameters
    ----------
    learning_rate : float
    beta1, beta2 : float
        Decay of the running means of the gradient and of its square.
    epsilon : float
        Added to the root.
    lazy_update : bool
        Whether a row_sparse gradient changes only its own rows.

    Other arguments: see `Optimizer`. Weight decay is added to the gradient.
    """

    def __init__(self, learning_rate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-8, lazy_update=True, **kwargs):
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.beta1 = beta1
        self.beta2 = beta2
        self.epsilon = epsilon
        self.lazy_update = lazy_update

    def create_state(self, index, weight):
        return (nd.zeros(weight.shape, weight.context, dtype=weight.dtype),
                nd.zeros(weight.shape, weight.context, dtype=weight.dtype))

    def update(self, index, weight, grad, state):
        self._update_count(index)
        t = self._index_update_count[index]
        lr = self._get_lr(index) * math.sqrt(1.0 - self.beta2 ** t) / (1.0 - self.beta1 ** t)
        mean, variance = state
        nd.adam_update(weight, grad, mean, variance, out=weight, lr=lr, wd=self._get_wd(index), beta1=self.beta1,
                       beta2=self.beta2, epsilon=self.epsilon, lazy_update=self.lazy_update, **self._common())
