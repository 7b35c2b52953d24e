# SPDX-License-Identifier: Apache-2.0
"""Optimizers for large batches, whose step follows the norm of each weight: LAMB, LARS, LBSGD."""
from __future__ import annotations

import os

import numpy as np

from .. import ndarray as nd
from .optimizer import Optimizer, is_low_precision, register
from .sgd import _COLUMNS, SGD

__all__ = ["LAMB", "LARS", "LBSGD"]


@register
class LAMB(Optimizer):
    """LAMB (You et al., 2020): Adam's direction, scaled by the ratio of the norms of weight and direction.

    Parameters
    ----------
    learning_rate : float
    beta1, beta2 : float
        Decay of the running means of the gradient and of its square.
    epsilon : float
        Added to the root.
    lower_bound, upper_bound : float, optional
        Limits of the norm of a weight in the ratio.
    bias_correction : bool
        Whether the means are corrected for their start at zero.

    Other arguments: see `Optimizer`. With `multi_precision` the float32 copies are updated (1.9.1 leaves them as they
    began). Several weights are updated in one call.
    """

    def __init__(self, learning_rate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-6, lower_bound=None, upper_bound=None,
                 bias_correction=True, **kwargs):
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.beta1 = beta1
        self.beta2 = beta2
        self.epsilon = epsilon
        self.lower_bound = lower_bound
        self.upper_bound = upper_bound
        self.bias_correction = bias_correction
        self.aggregate_num = max(1, min(45, int(os.getenv("MXNET_OPTIMIZER_AGGREGATION_SIZE", "45"))))

    def create_state(self, index, weight):
        return (nd.zeros(weight.shape, weight.context, dtype=weight.dtype),
                nd.zeros(weight.shape, weight.context, dtype=weight.dtype))

    def update(self, index, weight, grad, state):
        self._update(index, weight, grad, state, False)

    def update_multi_precision(self, index, weight, grad, state):
        first = weight[0] if isinstance(weight, (list, tuple)) else weight
        self._update(index, weight, grad, state, self.multi_precision and is_low_precision(first))

    def _common(self):
        bounds = {name: bound for name, bound in (("lower_bound", self.lower_bound), ("upper_bound", self.upper_bound))
                  if bound is not None}
        return {"beta1": self.beta1, "beta2": self.beta2, "epsilon": self.epsilon,
                "bias_correction": self.bias_correction, **bounds, **super()._common()}

    def _update(self, index, weight, grad, state, with_master):
        if not isinstance(index, (list, tuple)):
            index, weight, grad, state = [index], [weight], [grad], [state]
        self._update_count(index)
        rows = []
        for w, g, s in zip(weight, grad, state):
            rows += [w, g, *s[1], s[0]] if with_master else [w, g, *s]
        operator = nd._internal._multi_mp_lamb_update if with_master else nd._internal._multi_lamb_update
        operator(*rows, out=list(weight), num_tensors=len(weight), learning_rates=self._get_lrs(index),
                 wds=self._get_wds(index), step_count=[self._index_update_count[i] for i in index], **self._common())


@register
class LARS(SGD):
    """LARS (You et al., 2017): momentum SGD whose rate for each weight is multiplied by
    eta · |weight| / (|gradient| + wd · |weight| + eps).

    Parameters
    ----------
    momentum : float
    lazy_update : bool
        Whether a row_sparse gradient changes only its own rows.
    eta : float
        The trust coefficient.
    eps : float
        Added to the divisor.
    momentum_correction : bool
        Whether the momentum is scaled by the change of the learning rate.

    Other arguments: see `Optimizer`. Weights that are named as biases, gammas and betas keep their rates, and have no
    decay. Several weights are updated in one call. A change of the learning rate corrects the momentum of all weights
    (in 1.9.1 only of those in the first call after it).
    """

    def __init__(self, momentum=0.0, lazy_update=True, eta=0.001, eps=0, momentum_correction=True, **kwargs):
        super().__init__(momentum=momentum, lazy_update=lazy_update, **kwargs)
        self.eta = eta
        self.eps = eps
        self.momentum_correction = momentum_correction
        self.last_lr = None
        self.cur_lr = None
        self._rated_update = None
        self.aggregate_num = int(os.getenv("MXNET_OPTIMIZER_AGGREGATION_SIZE", "4"))

    def set_wd_mult(self, args_wd_mult):
        """Set factors on the weight decay, by index or name; 0 for what is no `_weight` and as `__wd_mult__` says
        otherwise.
        """
        super().set_wd_mult(args_wd_mult)
        without = {name: 0.0 for name in self.idx2name.values() if not name.endswith("_weight")}
        self.wd_mult = {**without, **self._attribute_factors("__wd_mult__"), **args_wd_mult}

    def _keeps_rate(self, index):
        name = self.param_dict[index].name if index in self.param_dict else self.idx2name.get(index, str(index))
        return name.endswith(("gamma", "beta", "bias"))

    def _common(self):
        common = super()._common()
        if "momentum" in common and self.momentum_correction and self.last_lr:
            common["momentum"] *= self.cur_lr / self.last_lr
        return common

    def _update(self, index, weight, grad, state, with_master):
        if not isinstance(index, (list, tuple)):
            index, weight, grad, state = [index], [weight], [grad], [state]
        self._update_count(index)
        if self.num_update != self._rated_update:  # the rates of a new update, once for all its weights
            self._rated_update = self.num_update
            self.last_lr, self.cur_lr = self.cur_lr, self.learning_rate
        rows = list(zip(index, weight, grad, state, self._get_lrs(index), self._get_wds(index)))
        for trusted in (True, False):
            chosen = [row[1:] for row in rows if self._keeps_rate(row[0]) != trusted]
            if chosen:
                self._update_rows(chosen, trusted, with_master)

    def _update_rows(self, rows, trusted, with_master):
        """Updates weights (weight, grad, state, lr, wd), whose rates are scaled first if `trusted`."""
        weight, grad, state, lrs, wds = zip(*rows)
        context = weight[0].context
        if trusted:
            lrs = nd.array(lrs, context, dtype=np.float32)
            wds = nd.array(wds, context, dtype=np.float32)
            squares = [nd.multi_sum_sq(*arrays, num_arrays=len(arrays)) for arrays in (weight, grad)]
            lrs = nd.multi_lars(lrs, *squares, wds, eta=self.eta, eps=self.eps, rescale_grad=self.rescale_grad)
        arrays = self._packed.get(_COLUMNS[self.momentum > 0, with_master], weight, grad, state)
        if arrays is None:  # sparse
            lrs, wds = (r.asnumpy().tolist() if trusted else r for r in (lrs, wds))
            for args in zip(weight, grad, state, lrs, wds):
                self._update_one(*args, with_master)
            return
        kind = ("mp_" if with_master else "") + ("sgd_mom_update" if self.momentum > 0 else "sgd_update")
        options = {"out": list(weight), "num_weights": len(weight), **self._common()}
        if trusted:
            getattr(nd, "preloaded_multi_" + kind)(*arrays, lrs, wds, **options)
        else:
            getattr(nd, "multi_" + kind)(*arrays, lrs=lrs, wds=wds, **options)


@register
class LBSGD(SGD):
    """SGD for large batches: gradients of `batch_scale` calls make one step, whose rate grows over the first epochs.

    Parameters
    ----------
    momentum : float
    multi_precision : bool
        Whether float16 weights have a float32 copy.
    warmup_strategy : {'linear', 'power2', 'sqrt', 'lars'}
        How the factor on the learning rate grows from 1 to `batch_scale` during warm-up; 'lars' takes the ratio of the
        norms of weight and gradient instead, within [0.01, 100].
    warmup_epochs : int
    batch_scale : int
        How many calls make a step.
    updates_per_epoch : int
        Calls in one epoch.
    begin_epoch, num_epochs : int
        The epoch to begin with; the number of epochs is not used.

    Other arguments: see `Optimizer`.
    """

    def __init__(self, momentum=0.0, multi_precision=False, warmup_strategy="linear", warmup_epochs=5, batch_scale=1,
                 updates_per_epoch=32, begin_epoch=0, num_epochs=60, **kwargs):
        super().__init__(momentum=momentum, multi_precision=multi_precision, **kwargs)
        self.aggregate_num = 0
        self.warmup_strategy = warmup_strategy
        self.warmup_epochs = warmup_epochs
        self.batch_scale = batch_scale
        self.updates_per_epoch = updates_per_epoch
        self.init_updates = begin_epoch * updates_per_epoch
        self.num_epochs = num_epochs
        self.cumgrads = {}  # index: (sum of gradients since the last step, gradients so far)

    def create_state(self, index, weight):
        if self.multi_precision and is_low_precision(weight):
            return self.create_state_multi_precision(index, weight)
        return super().create_state(index, weight)

    def _warmup_factor(self, updates):
        length = self.warmup_epochs * self.updates_per_epoch
        if updates >= length:
            return float(self.batch_scale)
        if length <= 1:
            return 1.0
        part = updates / length
        grown = {"linear": part, "power2": part * part, "sqrt": part ** 0.5}.get(self.warmup_strategy)
        return 1.0 if grown is None else 1.0 + (self.batch_scale - 1) * grown

    @staticmethod
    def _trust_ratio(weight, grad, wd):
        squares = [float(array.astype(np.float32).square().sum().asscalar()) for array in (weight, grad)]
        return min(100.0, max(0.01, (squares[0] / (squares[1] + wd * squares[0] + 1e-18)) ** 0.5))

    def _update(self, index, weight, grad, state, with_master):
        self._update_count(index)
        total, count = self.cumgrads.get(index, (None, self.init_updates))
        total = grad.copy() if total is None or count % self.batch_scale == 0 else total + grad
        count += 1
        self.cumgrads[index] = (total, count)
        if count % self.batch_scale:
            return
        lr, wd = self._get_lr(index), self._get_wd(index)
        mean = total / self.batch_scale
        if self.warmup_strategy == "lars":
            lr *= self._trust_ratio(weight, mean, wd)
        else:
            lr *= self._warmup_factor(count)
        self._update_one(weight, mean, state, lr, wd, with_master)
