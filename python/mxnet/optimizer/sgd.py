# SPDX-License-Identifier: Apache-2.0
"""Stochastic gradient descent, with momentum, and with Nesterov's momentum."""
from __future__ import annotations

import numpy as np

from .. import ndarray as nd
from .optimizer import Optimizer, is_low_precision, register

__all__ = ["NAG", "SGD", "ccSGD"]


def _zeros_like(weight):
    return nd.zeros(weight.shape, weight.context, dtype=weight.dtype)


# (with momentum, with float32 copies): what follows weight and gradient, from the states of all weights.
_COLUMNS = {(False, False): lambda states: (),
            (True, False): lambda states: (states,),
            (False, True): lambda states: list(zip(*states))[1:],
            (True, True): lambda states: zip(*states)}


class _MomentumOptimizer(Optimizer):
    """A momentum array for each weight; with `multi_precision` float16 weights have (momentum or None, float32
    copy).
    """

    def __init__(self, momentum=0.0, **kwargs):
        super().__init__(**kwargs)
        self.momentum = momentum

    def create_state(self, index, weight):
        return _zeros_like(weight) if self.momentum != 0.0 else None

    def create_state_multi_precision(self, index, weight):
        if self.multi_precision and is_low_precision(weight):
            master = weight.astype(np.float32)
            return self.create_state(index, master), master
        return super().create_state_multi_precision(index, weight)

    def _common(self):
        common = super()._common()
        if self.momentum > 0:
            common["momentum"] = self.momentum
        return common


@register
class SGD(_MomentumOptimizer):
    """Gradient descent: state = momentum · state - lr · (grad + wd · weight); weight += state.

    Parameters
    ----------
    momentum : float
        0 keeps no state.
    lazy_update : bool
        Whether a row_sparse gradient changes only its own rows.

    Other arguments: see `Optimizer`. Several weights are updated in one call.
    """

    def __init__(self, momentum=0.0, lazy_update=True, **kwargs):
        super().__init__(momentum=momentum, **kwargs)
        self.lazy_update = lazy_update
        self._aggregate(SGD)

    def update(self, index, weight, grad, state):
        self._update(index, weight, grad, state, False)

    def update_multi_precision(self, index, weight, grad, state):
        first = weight[0] if isinstance(weight, (list, tuple)) else weight
        self._update(index, weight, grad, state, self.multi_precision and is_low_precision(first))

    def _update(self, index, weight, grad, state, with_master):
        if not isinstance(index, (list, tuple)):
            self._update_count(index)
            self._update_one(weight, grad, state, self._get_lr(index), self._get_wd(index), with_master)
            return
        self._update_count(index)
        lrs, wds = self._get_lrs(index), self._get_wds(index)
        arrays = self._packed.get(_COLUMNS[self.momentum > 0, with_master], weight, grad, state)
        if arrays is None:
            for args in zip(weight, grad, state, lrs, wds):
                self._update_one(*args, with_master)
            return
        kind = ("mp_" if with_master else "") + ("sgd_mom_update" if self.momentum > 0 else "sgd_update")
        getattr(nd, "multi_" + kind)(*arrays, out=list(weight), num_weights=len(weight), lrs=tuple(lrs),
                                     wds=tuple(wds), **self._common())

    def _update_one(self, weight, grad, state, lr, wd, with_master):
        options = {"out": weight, "lr": lr, "wd": wd, **self._common()}
        if grad.stype != "default":
            options["lazy_update"] = self.lazy_update
        if with_master:
            momentum, master = state
            if momentum is None:
                nd.mp_sgd_update(weight, grad, master, **options)
            else:
                nd.mp_sgd_mom_update(weight, grad, momentum, master, **options)
        elif state is None:
            nd.sgd_update(weight, grad, **options)
        else:
            nd.sgd_mom_update(weight, grad, state, **options)


@register
class ccSGD(SGD):
    """The old name of `SGD`."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)


@register
class NAG(_MomentumOptimizer):
    """Nesterov's accelerated gradient.

    state = momentum · state - lr · (grad + wd · weight); weight += momentum · state - lr · (grad + wd · weight).
    Without momentum it is SGD. Arguments: see `Optimizer`.
    """

    def __init__(self, momentum=0.0, **kwargs):
        super().__init__(momentum=momentum, **kwargs)

    def update(self, index, weight, grad, state):
        self._update(index, weight, grad, state, False)

    def update_multi_precision(self, index, weight, grad, state):
        self._update(index, weight, grad, state, self.multi_precision and is_low_precision(weight))

    def _update(self, index, weight, grad, state, with_master):
        self._update_count(index)
        options = {"out": weight, "lr": self._get_lr(index), "wd": self._get_wd(index), **self._common()}
        if with_master:
            momentum, master = state
            if momentum is None:
                nd.mp_sgd_update(weight, grad, master, **options)
            else:
                nd.mp_nag_mom_update(weight, grad, momentum, master, **options)
        elif state is None:
            nd.sgd_update(weight, grad, **options)
        else:
            nd.nag_mom_update(weight, grad, state, **options)
