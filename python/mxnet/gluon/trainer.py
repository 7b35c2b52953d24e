# SPDX-License-Identifier: Apache-2.0
"""Trainer: applies an optimizer to parameters after each backward pass, over one or several devices."""
from __future__ import annotations

from .. import optimizer as opt
from . import parameter
from .parameter import Parameter, ParameterDict

__all__ = ["Trainer"]


class Trainer:
    """Updates parameters from their gradients.

    Parameters
    ----------
    params : ParameterDict, dict or list of Parameter
        From a dict they are taken in the order of their names. States are saved by position in this order.
    optimizer : str or Optimizer
    optimizer_params : dict, optional
        Arguments of an optimizer given by name.
    kvstore : str or KVStore or None
        What sums gradients over devices; it is not used for one device, unless it is distributed.
    compression_params : dict, optional
        Gradient compression of the key-value store.
    update_on_kvstore : bool, optional
        Whether the key-value store also applies the optimizer; by default where it can and several devices are used.

    Examples
    --------
    >>> from mxnet import autograd, gluon, nd
    >>> net = gluon.nn.Dense(1)
    >>> net.initialize()
    >>> trainer = gluon.Trainer(net.collect_params(), 'sgd', {'learning_rate': 0.1})
    >>> with autograd.record():
    ...     loss = net(nd.ones((4, 2))).sum()
    >>> loss.backward()
    >>> trainer.step(batch_size=4)
    """

    _amp_loss_scaler = None  # set by amp.init_trainer

    def __init__(self, params, optimizer, optimizer_params=None, kvstore="device", compression_params=None,
                 update_on_kvstore=None):
        self._params = self._checked(params)
        self._index = {param.name: i for i, param in enumerate(self._params)}
        for param in self._params:
            param._trainer = self
        self._compression_params = compression_params
        optimizer_params = dict(optimizer_params or {})
        self._scale = float(optimizer_params.get("rescale_grad", 1.0))
        self._contexts = None
        self._init_optimizer(optimizer, optimizer_params)
        self._scale = self._optimizer.rescale_grad
        self._kvstore_params = {"kvstore": kvstore, "update_on_kvstore": update_on_kvstore}
        self._reset_kvstore()

    @staticmethod
    def _checked(params):
        if isinstance(params, (dict, ParameterDict)):
            params = [params[name] for name in sorted(params.keys())]
        if not isinstance(params, (list, tuple)):
            raise ValueError(f"First argument must be a list or dict of Parameters, got {type(params)}.")
        for param in params:
            if not isinstance(param, Parameter):
                raise ValueError(f"First argument must be a list or dict of Parameters, got list of {type(param)}.")
        return list(params)

    def _init_optimizer(self, optimizer, optimizer_params):
        param_dict = dict(enumerate(self._params))
        if isinstance(optimizer, opt.Optimizer):
            if optimizer_params:
                raise AssertionError("optimizer_params must be None if optimizer is an instance of Optimizer instead "
                                     "of str")
            self._optimizer = optimizer
            self._optimizer.param_dict = param_dict
        else:
            self._optimizer = opt.create(optimizer, param_dict=param_dict, **optimizer_params)
        self._updaters = [opt.get_updater(self._optimizer)]

    def _reset_kvstore(self):
        if self._kvstore_ready_and_distributed():
            raise RuntimeError("Cannot reset distributed KVStore.")
        self._kv_initialized = False
        self._kvstore = None
        self._update_on_kvstore = None
        self._in_kvstore = set()
        self._arrays = []
        self._arrays_generation = -1

    def _kvstore_ready_and_distributed(self):
        store = getattr(self, "_kvstore", None)
        return store is not None and "dist" in store.type

    # --- the key-value store

    def _check_contexts(self):
        contexts = None
        for param in self._params:
            found = param.list_ctx()
            if contexts is not None and found != contexts:
                raise AssertionError("All Parameters must be initialized on the same set of contexts, but Parameter "
                                     f"{param.name} is initialized on {found} while previous Parameters are "
                                     f"initialized on {contexts}.")
            contexts = found
        return contexts or []

    def _init_kvstore(self):
        """Decide, before the first step, whether a key-value store is used and what for."""
        from .. import kvstore as kv
        self._contexts = self._check_contexts()
        config = self._kvstore_params
        store, on_kvstore = config["kvstore"], config["update_on_kvstore"]
        if isinstance(store, str):
            store = kv.create(store) if len(self._contexts) > 1 or "dist" in store else None
        if store is None:
            if on_kvstore:
                raise ValueError("Cannot set update_on_kvstore=True when there is no key-value store: "
                                 "the parameters are on one device")
            on_kvstore = False
        else:
            if self._compression_params:
                store.set_gradient_compression(self._compression_params)
            can = store.is_capable(kv.KVStoreBase.OPTIMIZER)
            if on_kvstore is None:
                on_kvstore = can and kv.update_on_kvstore_default()
            elif on_kvstore and not can:
                raise ValueError(f"Please set update_on_kvstore=False when training with {type(store)}")
            if on_kvstore:
                store.set_optimizer(self._optimizer)
        self._kvstore, self._update_on_kvstore = store, on_kvstore
        self._kv_initialized = True
        if not on_kvstore:
            self._arrays_generation = -1
            self._updaters = [self._updaters[0], *(opt.get_updater(self._optimizer) for _ in self._contexts[1:])]

    def _put_in_kvstore(self, index, param):
        """Give a parameter's value to the store before its first gradient."""
        if index not in self._in_kvstore:
            self._in_kvstore.add(index)
            self._kvstore.broadcast(index, param._arrays()[0], param._arrays(), priority=-index)

    def _value_was_set(self, param):
        """Let the store, where it keeps the weights, know a value that was written to a parameter."""
        index = self._index.get(param.name)
        if self._update_on_kvstore and index in self._in_kvstore:
            self._kvstore.overwrite(index, param._arrays()[0])

    def _prepare(self):
        if not self._kv_initialized:
            self._init_kvstore()

    # --- the learning rate

    @property
    def learning_rate(self):
        """The optimizer's current learning rate."""
        if not isinstance(self._optimizer, opt.Optimizer):
            raise UserWarning("Optimizer has to be defined before its learning rate can be accessed.")
        return self._optimizer.learning_rate

    @property
    def optimizer(self):
        """The optimizer."""
        return self._optimizer

    def set_learning_rate(self, lr):
        """Change the learning rate; UserWarning is raised if a schedule sets it."""
        self._optimizer.set_learning_rate(lr)

    # --- steps

    def step(self, batch_size, ignore_stale_grad=False):
        """One update of all parameters: sum gradients over devices, divide them by `batch_size`, apply the optimizer.

        Parameters
        ----------
        batch_size : int
            Number of samples in the sum that `backward` started from.
        ignore_stale_grad : bool
            Whether to skip parameters that no `backward` has given a gradient since their last update; otherwise
            UserWarning is raised.
        """
        self._prepare()
        self._optimizer.rescale_grad = self._scale / batch_size
        if self._update_on_kvstore and self._skips_step():
            return
        self._allreduce_grads()
        self._update(ignore_stale_grad)

    def allreduce_grads(self):
        """Only the first half of a step: sum gradients over devices. `update` does the rest."""
        self._prepare()
        if self._kvstore and self._update_on_kvstore:
            raise AssertionError("allreduce_grads() when parameters are updated on kvstore is not supported. "
                                 "Try setting `update_on_kvstore` to False when creating trainer.")
        self._allreduce_grads()

    def update(self, batch_size, ignore_stale_grad=False):
        """Only the second half of a step, after `allreduce_grads`; see `step` for the arguments."""
        self._prepare()
        if self._kvstore and self._update_on_kvstore:
            raise AssertionError("update() when parameters are updated on kvstore is not supported. "
                                 "Try setting `update_on_kvstore` to False when creating trainer.")
        self._optimizer.rescale_grad = self._scale / batch_size
        self._update(ignore_stale_grad)

    def _allreduce_grads(self):
        if self._kvstore is None:
            return
        for i, param in enumerate(self._params):
            if param.grad_req == "null":
                continue
            self._put_in_kvstore(i, param)
            if self._update_on_kvstore:
                self._kvstore.push(i, param.list_grad(), priority=-i)
            else:
                self._kvstore.pushpull(i, param.list_grad(), out=param.list_grad(), priority=-i)

    def _skips_step(self):
        """Whether mixed precision leaves this step out, because a gradient is not finite."""
        return self._amp_loss_scaler is not None and self._amp_loss_scaler.skip_step(self._params)

    def _update(self, ignore_stale_grad):
        if self._arrays_generation != parameter.generation:
            self._gather_arrays()
        if not self._update_on_kvstore:
            if not self._skips_step():
                self._apply(ignore_stale_grad)
            return
        for i, param in enumerate(self._params):
            if param._grad_req != "null":
                for arr in param._data:
                    if not arr._fresh_grad and not ignore_stale_grad:
                        self._raise_stale(param.name, arr)
                    arr._fresh_grad = False
                options = {} if param.stype == "default" else {"ignore_sparse": False}
                self._kvstore.pull(i, param._arrays(), priority=-i, **options)

    def _gather_arrays(self):
        """What the updaters are called with, for each device: (indices, gradients, weights)."""
        generation = parameter.generation
        self._arrays = [([], [], []) for _ in self._updaters]
        for i, param in enumerate(self._params):
            if param._grad_req == "null":
                continue
            if param._data is None:
                param._check_initialized()
            for (indices, grads, weights), weight, grad in zip(self._arrays, param._data, param._grad):
                indices.append(i)
                grads.append(grad)
                weights.append(weight)
        self._arrays_generation = generation

    def _apply(self, ignore_stale_grad):
        """Apply the optimizer on every device, to the weights that have new gradients."""
        for updater, (indices, grads, weights) in zip(self._updaters, self._arrays):
            stale = [position for position, weight in enumerate(weights) if not weight._fresh_grad]
            if stale:
                if not ignore_stale_grad:
                    self._raise_stale(self._params[indices[stale[0]]].name, weights[stale[0]])
                fresh = [position for position, weight in enumerate(weights) if weight._fresh_grad]
                indices, grads, weights = ([column[position] for position in fresh]
                                           for column in (indices, grads, weights))
            updater(indices, grads, weights)
            for weight in weights:
                weight._fresh_grad = False

    @staticmethod
    def _raise_stale(name, weight):
        raise UserWarning(
            f"Gradient of Parameter `{name}` on context {weight.context} has not been updated by backward since last "
            "`step`. This could mean a bug in your model that made it only use a subset of the Parameters (Blocks) for "
            "this iteration. If you are intentionally only using a subset, call step with ignore_stale_grad=True to "
            "suppress this warning and skip updating of Parameters with stale gradient")

    # --- files

    def save_states(self, fname):
        """Write the optimizer and its states (momentum and the like) to a file."""
        self._prepare()
        if self._update_on_kvstore:
            self._kvstore.save_optimizer_states(fname, dump_optimizer=True)
        else:
            with open(fname, "wb") as file:
                file.write(self._updaters[0].get_states(dump_optimizer=True))

    def load_states(self, fname):
        """Read what `save_states` wrote."""
        self._prepare()
        if self._update_on_kvstore:
            self._kvstore.load_optimizer_states(fname)
            self._optimizer = self._kvstore._updater.optimizer
        else:
            with open(fname, "rb") as file:
                states = file.read()
            for updater in self._updaters:
                updater.set_states(states)
                updater.optimizer = self._updaters[0].optimizer
            self._optimizer = self._updaters[0].optimizer
        self._optimizer.param_dict = dict(enumerate(self._params))
