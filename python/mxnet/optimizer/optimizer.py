# SPDX-License-Identifier: Apache-2.0
"""The base of all optimizers: learning rates, weight decay and update counts, each per weight."""
from __future__ import annotations

import os
import warnings

import numpy as np

from .. import ndarray as nd

__all__ = ["Optimizer", "Test", "create", "register"]


def is_low_precision(weight):
    """Whether a weight profits from a float32 copy."""
    return weight.dtype == np.float16 or "bfloat16" in str(weight.dtype)


class PackedArrays:
    """Weights with what belongs to each, in the order of an operator that updates several.

    An updater comes with the same tuples each time; the arrays of the last call are kept.
    """

    def __init__(self):
        self._last = (None, None, None, None, None)

    def get(self, columns, weights, grads, states):
        """The arrays: weight, gradient and `columns(states)` of each weight; None if one of them is sparse."""
        last = self._last
        if last[0] is weights and last[1] is grads and last[2] is states and last[3] is columns:
            return last[4]
        arrays = None
        if all(arr.stype == "default" for arr in (*weights, *grads)):
            arrays = [arr for row in zip(weights, grads, *columns(states)) for arr in row]
        if isinstance(weights, tuple) and isinstance(grads, tuple) and isinstance(states, tuple):
            self._last = (weights, grads, states, columns, arrays)
        return arrays


class Optimizer:
    """Base of all optimizers.

    Parameters
    ----------
    rescale_grad : float
        A factor on every gradient, often 1 / batch size.
    param_idx2name : dict of int to str, optional
        Names of weights by index. Weights whose name does not end with `_weight` or `_gamma` then get no weight decay.
    wd : float
        Weight decay: wd · weight is added to the gradient.
    clip_gradient : float, optional
        Limits each element of the gradient to [-clip_gradient, clip_gradient].
    learning_rate : float, optional
        0.01 by default, or what `lr_scheduler` begins with.
    lr_scheduler : LRScheduler, optional
    sym : Symbol, optional
        Where to look for `__lr_mult__` and `__wd_mult__` attributes of weights.
    begin_num_update : int
        The number of updates that count as done.
    multi_precision : bool
        Whether to keep a float32 copy of each float16 weight and update that.
    param_dict : dict of int to Parameter, optional
        Gluon's parameters by index, for their `lr_mult` and `wd_mult`.

    A subclass implements `create_state(index, weight)` and `update(index, weight, grad, state)`.
    """

    opt_registry = {}

    def __init__(self, rescale_grad=1.0, param_idx2name=None, wd=0.0, clip_gradient=None, learning_rate=None,
                 lr_scheduler=None, sym=None, begin_num_update=0, multi_precision=False, param_dict=None):
        self.rescale_grad = rescale_grad
        self.lr_scheduler = lr_scheduler
        if lr_scheduler is None:
            self.lr = 0.01 if learning_rate is None else learning_rate
        elif learning_rate is None:
            self.lr = lr_scheduler.base_lr
        else:
            if lr_scheduler.base_lr != learning_rate:
                warnings.warn(f"learning_rate={learning_rate} replaces the base_lr={lr_scheduler.base_lr} of "
                              "lr_scheduler",
                              stacklevel=3)
            lr_scheduler.base_lr = learning_rate
            self.lr = learning_rate
        self.wd = wd
        self.lr_mult = {}
        self.wd_mult = {}
        self.begin_num_update = begin_num_update
        self.num_update = begin_num_update
        self._all_index_update_counts = {0: {}}
        self._index_update_count = self._all_index_update_counts[0]
        self.clip_gradient = clip_gradient
        self.multi_precision = multi_precision
        self.aggregate_num = 0
        self._packed = PackedArrays()
        param_idx2name = {} if param_idx2name is None else param_idx2name
        if not isinstance(param_idx2name, dict):
            raise AssertionError("param_idx2name should be a dict of param indexes to names.")
        self.idx2name = param_idx2name.copy()
        self.sym_info = (sym.attr_dict(), sym.list_arguments()) if sym is not None else ()
        self.param_dict = param_dict or {}
        self.set_lr_mult({})
        self.set_wd_mult({})

    def __getstate__(self):
        state = self.__dict__.copy()
        state["param_dict"] = {}  # the weights themselves are no state of the optimizer
        state.pop("_packed", None)
        return state

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._packed = PackedArrays()

    def _aggregate(self, base):
        """Take several weights at once, unless a subclass of `base` brings its own update, which may know only one."""
        kind = type(self)
        if kind.update is base.update and kind.update_multi_precision is base.update_multi_precision:
            self.aggregate_num = int(os.getenv("MXNET_OPTIMIZER_AGGREGATION_SIZE", "256"))

    @staticmethod
    def register(klass):
        """Make a class known to `create` under its lower-case name; usable as a decorator."""
        Optimizer.opt_registry[klass.__name__.lower()] = klass
        return klass

    @staticmethod
    def create_optimizer(name, **kwargs):
        """An optimizer by its name; ValueError if there is none."""
        if name.lower() not in Optimizer.opt_registry:
            raise ValueError(f"Cannot find optimizer {name}; there are {', '.join(sorted(Optimizer.opt_registry))}")
        return Optimizer.opt_registry[name.lower()](**kwargs)

    # --- states and updates

    def create_state(self, index, weight):
        """The states that the optimizer keeps for a weight: None, an array, or a tuple of these."""

    def create_state_multi_precision(self, index, weight):
        """The states of a weight; for a float16 one with `multi_precision`, (float32 copy, states)."""
        if is_low_precision(weight):
            if self.multi_precision:
                master = weight.astype(np.float32)
                return master, self.create_state(index, master)
            warnings.warn("Accumulating with float16 in optimizer can lead to poor accuracy or slow convergence. "
                          f"Consider using multi_precision=True option of the {type(self).__name__} optimizer",
                          stacklevel=2)
        return self.create_state(index, weight)

    def update(self, index, weight, grad, state):
        """Change `weight` and `state` in place; lists, if `aggregate_num` is above 0."""
        raise NotImplementedError(f"{type(self).__name__} must implement update")

    def update_multi_precision(self, index, weight, grad, state):
        """`update`, on the float32 copy where there is one."""
        if self.multi_precision and is_low_precision(weight):
            master, inner = state
            self.update(index, master, grad.astype(np.float32), inner)
            weight[:] = master.astype(weight.dtype)
        else:
            self.update(index, weight, grad, state)

    def _common(self):
        """The keyword arguments that all update operators take."""
        common = {"rescale_grad": self.rescale_grad}
        if self.clip_gradient is not None:
            common["clip_gradient"] = self.clip_gradient
        return common

    # --- rates

    @property
    def learning_rate(self):
        """The rate of the next update, before per-weight factors."""
        return self.lr if self.lr_scheduler is None else self.lr_scheduler(self.num_update)

    def set_learning_rate(self, lr):
        """Change the rate; UserWarning is raised if a schedule sets it."""
        if self.lr_scheduler is not None:
            raise UserWarning("LRScheduler of the optimizer has already been defined. Note that set_learning_rate can "
                              "mutate the value of the learning rate of the optimizer only when the LRScheduler of the "
                              "optimizer is undefined.")
        self.lr = lr

    def set_lr_scale(self, args_lrscale):
        """Replaced by `set_lr_mult`: raises DeprecationWarning."""
        raise DeprecationWarning("set_lr_scale: use set_lr_mult")

    def _attribute_factors(self, attribute):
        """{name: factor} from the attributes of the symbol's arguments."""
        if not self.sym_info:
            return {}
        attrs, names = self.sym_info
        return {name: float(attrs[name][attribute]) for name in names if attribute in attrs.get(name, ())}

    def set_lr_mult(self, args_lr_mult):
        """Set factors on the learning rate, by index or name; those in the symbol's `__lr_mult__` stay."""
        self.lr_mult = {**self._attribute_factors("__lr_mult__"), **args_lr_mult}

    def set_wd_mult(self, args_wd_mult):
        """Set factors on the weight decay, by index or name; 0 for biases and betas and as `__wd_mult__` says
        otherwise.
        """
        self.wd_mult = {name: 0.0 for name in self.idx2name.values() if not name.endswith(("_weight", "_gamma"))}
        self.wd_mult.update(self._attribute_factors("__wd_mult__"))
        self.wd_mult.update(args_wd_mult)

    def _set_current_context(self, device_id):
        """Count the following updates for device number `device_id`."""
        self._index_update_count = self._all_index_update_counts.setdefault(device_id, {})

    def _update_count(self, index):
        """Count one update of the weights `index` (one index or a list)."""
        counts = self._index_update_count
        for i in index if isinstance(index, (list, tuple)) else (index,):
            count = counts.get(i, self.begin_num_update) + 1
            counts[i] = count
            if count > self.num_update:
                self.num_update = count

    def _factors(self, indices, attribute, factors):
        """The factors of the weights: of their Parameters, or by index or name."""
        if len(self.param_dict) > 0:
            try:
                return [getattr(self.param_dict[i], attribute) for i in indices]
            except KeyError:
                pass
        return [getattr(self.param_dict[i], attribute) if i in self.param_dict else
                factors[i] if i in factors else factors.get(self.idx2name.get(i), 1.0) for i in indices]

    def _get_lrs(self, indices):
        """The learning rates of the weights `indices`."""
        lr = self.learning_rate
        return [lr * factor for factor in self._factors(indices, "lr_mult", self.lr_mult)]

    def _get_lr(self, index):
        """The learning rate of the weight `index`."""
        return self._get_lrs([index])[0]

    def _get_wds(self, indices):
        """The weight decays of the weights `indices`."""
        if self.wd == 0.0:
            return [0.0] * len(indices)
        return [self.wd * factor for factor in self._factors(indices, "wd_mult", self.wd_mult)]

    def _get_wd(self, index):
        """The weight decay of the weight `index`."""
        return self._get_wds([index])[0]

    def __repr__(self):
        return f"<{type(self).__name__} optimizer, learning_rate={self.lr}>"


register = Optimizer.register


def create(name, **kwargs):
    """An optimizer by its name, for example `create('sgd', learning_rate=0.1)`; ValueError if there is none."""
    return Optimizer.create_optimizer(name, **kwargs)


@register
class Test(Optimizer):
    """Adds the rescaled gradient to the weight; for testing."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)

    def create_state(self, index, weight):
        return nd.zeros(weight.shape, weight.context)

    def update(self, index, weight, grad, state):
        weight[:] += grad * self.rescale_grad
        state[:] = weight
