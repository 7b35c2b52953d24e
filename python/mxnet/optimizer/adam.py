# SPDX-License-Identifier: Apache-2.0
"""Adam."""
from __future__ import annotations

import math

from .. import ndarray as nd
from .optimizer import Optimizer, is_low_precision, register

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

    Other arguments: see `Optimizer`. Weight decay is added to the gradient. Several weights are updated in one call.
    """

    def __init__(self, learning_rate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-8, lazy_update=True, **kwargs):
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.beta1 = beta1
        self.beta2 = beta2
        self.epsilon = epsilon
        self.lazy_update = lazy_update
        self._aggregate(Adam)

    def create_state(self, index, weight):
        return (nd.zeros(weight.shape, weight.context, dtype=weight.dtype),
                nd.zeros(weight.shape, weight.context, dtype=weight.dtype))

    def update(self, index, weight, grad, state):
        if isinstance(index, (list, tuple)):
            self._update_several(index, weight, grad, state, False)
            return
        self._update_count(index)
        self._update_one(weight, grad, state, *self._rates([index])[0])

    def update_multi_precision(self, index, weight, grad, state):
        if not isinstance(index, (list, tuple)):
            super().update_multi_precision(index, weight, grad, state)
        else:
            self._update_several(index, weight, grad, state, self.multi_precision and is_low_precision(weight[0]))

    def _rates(self, indices):
        """For each weight the learning rate, corrected for states that began at zero, and the weight decay."""
        counts = [self._index_update_count[i] for i in indices]
        corrections = {t: math.sqrt(1.0 - self.beta2 ** t) / (1.0 - self.beta1 ** t) for t in set(counts)}
        lrs = [lr * corrections[t] for lr, t in zip(self._get_lrs(indices), counts)]
        return list(zip(lrs, self._get_wds(indices)))

    def _common(self):
        return {"beta1": self.beta1, "beta2": self.beta2, "epsilon": self.epsilon, **super()._common()}

    def _update_one(self, weight, grad, state, lr, wd):
        mean, variance = state
        nd.adam_update(weight, grad, mean, variance, out=weight, lr=lr, wd=wd, lazy_update=self.lazy_update,
                       **self._common())

    def _update_several(self, index, weight, grad, state, with_master):
        arrays = self._packed.get(_columns_with_master if with_master else _columns, weight, grad, state)
        if arrays is None:
            for args in zip(index, weight, grad, state):
                self.update_multi_precision(*args)
            return
        self._update_count(index)
        lrs, wds = zip(*self._rates(index))
        operator = nd._internal._multi_mp_adam_update if with_master else nd._internal._multi_adam_update
        operator(*arrays, out=list(weight), num_weights=len(weight), lrs=lrs, wds=wds, **self._common())


def _columns(states):
    return zip(*states)  # means, variances


def _columns_with_master(states):
    masters, inner = zip(*states)
    return (*zip(*inner), masters)
