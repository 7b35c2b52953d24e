# SPDX-License-Identifier: Apache-2.0
"""Module: one symbol, its parameters and its optimizer, on one or several devices."""
from __future__ import annotations

import logging
import warnings

from .. import context as ctx
from .. import ndarray as nd
from .. import optimizer as opt
from ..initializer import InitDesc, Uniform
from ..io import DataDesc
from ..model import (
    _create_kvstore,
    _initialize_kvstore,
    _update_params,
    _update_params_on_kvstore,
    load_checkpoint,
    save_checkpoint,
)
from .base_module import BaseModule, check_input_names, parse_data_desc
from .executor_group import DataParallelExecutorGroup

__all__ = ["Module"]


class Module(BaseModule):
    """A symbol that is trained and run.

    Parameters
    ----------
    symbol : Symbol
    data_names, label_names : list of str
        Which arguments are inputs and labels; the others are parameters.
    context : Context or list of Context
        Where to run; several share each batch.
    work_load_list : list of float, optional
        The parts of the batch that the devices get, equal by default.
    fixed_param_names : list of str, optional
        Parameters that are not trained.
    state_names : list of str, optional
        Arguments that are neither inputs nor parameters; see `set_states`.
    group2ctxs : list of dict or dict of list, optional
        For each device, from the attribute `ctx_group` to the context of that part of the symbol.
    compression_params : dict, optional
        Gradient compression of the key-value store.

    >>> import mxnet as mx
    >>> out = mx.sym.SoftmaxOutput(mx.sym.FullyConnected(mx.sym.var('data'), num_hidden=2), name='softmax')
    >>> mod = mx.mod.Module(out, context=[mx.cpu(0), mx.cpu(1)])
    >>> mod.bind([('data', (8, 3))], [('softmax_label', (8,))])
    >>> mod.init_params()
    >>> mod.init_optimizer(optimizer='sgd', optimizer_params={'learning_rate': 0.1})
    >>> mod.forward_backward(mx.io.DataBatch([mx.nd.ones((8, 3))], [mx.nd.zeros((8,))]))
    >>> mod.update()
    >>> mod.get_outputs()[0].shape
    (8, 2)
    """

    def __init__(self, symbol, data_names=("data",), label_names=("softmax_label",), logger=logging, context=None,
                 work_load_list=None, fixed_param_names=None, state_names=None, group2ctxs=None,
                 compression_params=None):
        super().__init__(logger=logger)
        context = ctx.cpu() if context is None else context
        self._context = [context] if isinstance(context, ctx.Context) else list(context)
        self._work_load_list = [1] * len(self._context) if work_load_list is None else list(work_load_list)
        if len(self._work_load_list) != len(self._context):
            raise AssertionError(f"work_load_list has {len(self._work_load_list)} entries for {len(self._context)} "
                                 "contexts")
        self._symbol = symbol
        self._group2ctxs = group2ctxs
        self._compression_params = compression_params
        self._name_inputs(list(data_names or ()), list(label_names or ()), list(state_names or ()),
                          list(fixed_param_names or ()))
        self._arg_params = self._aux_params = None
        self._params_dirty = False  # whether the devices have newer parameters than _arg_params
        self._optimizer = self._kvstore = self._update_on_kvstore = self._updater = None
        self._preload_opt_states = None
        self._grad_req = None
        self._reset_bind()

    def _name_inputs(self, data, label, state, fixed):
        for names, kind, throw in ((data, "data", True), (label, "label", False), (state, "state", True),
                                   (fixed, "fixed_param", True)):
            check_input_names(self._symbol, names, kind, throw)
        inputs = {*data, *label, *state}
        self._data_names, self._label_names, self._state_names, self._fixed_param_names = data, label, state, fixed
        self._param_names = [name for name in self._symbol.list_arguments() if name not in inputs]
        self._aux_names = self._symbol.list_auxiliary_states()
        self._output_names = self._symbol.list_outputs()

    # ---- checkpoints
    @staticmethod
    def load(prefix, epoch, load_optimizer_states=False, **kwargs):
        """A module from the files that `save_checkpoint` wrote.

        Parameters
        ----------
        prefix : str
        epoch : int
        load_optimizer_states : bool
            Whether `init_optimizer` will read `prefix-NNNN.states`.
        **kwargs
            For the constructor.
        """
        symbol, args, auxs = load_checkpoint(prefix, epoch)
        mod = Module(symbol=symbol, **kwargs)
        mod._arg_params = args
        mod._aux_params = auxs
        mod.params_initialized = True
        if load_optimizer_states:
            mod._preload_opt_states = f"{prefix}-{epoch:04d}.states"
        return mod

    def save_checkpoint(self, prefix, epoch, save_optimizer_states=False, remove_amp_cast=True):
        """Write `prefix-symbol.json`, `prefix-NNNN.params` and, if asked for, `prefix-NNNN.states`."""
        arg_params, aux_params = self.get_params()
        save_checkpoint(prefix, epoch, self._symbol, arg_params, aux_params, remove_amp_cast=remove_amp_cast)
        if save_optimizer_states:
            name = f"{prefix}-{epoch:04d}.states"
            self.save_optimizer_states(name)
            self.logger.info('Saved optimizer state to "%s"', name)

    # ---- names and shapes
    @property
    def data_names(self):
        return self._data_names

    @property
    def label_names(self):
        """Names of the labels."""
        return self._label_names

    @property
    def output_names(self):
        return self._output_names

    @property
    def data_shapes(self):
        self._require("data_shapes", params=False)
        return self._data_shapes

    @property
    def label_shapes(self):
        self._require("label_shapes", params=False)
        return self._label_shapes

    @property
    def output_shapes(self):
        self._require("output_shapes", params=False)
        return self._exec_group.get_output_shapes()

    # ---- parameters
    def get_params(self):
        self._require("get_params")
        if self._params_dirty:
            self._sync_params_from_devices()
        return self._arg_params, self._aux_params

    def _sync_params_from_devices(self):
        """Bring the parameters back to the CPU; row_sparse ones from the store, which has them whole."""
        self._exec_group.get_params(self._arg_params, self._aux_params)
        if self._kvstore is not None and self._update_on_kvstore:
            for name, array in self._arg_params.items():
                if array.stype == "row_sparse":
                    self._kvstore.row_sparse_pull(name, array, row_ids=nd.arange(0, array.shape[0], dtype="int64"))
        self._params_dirty = False

    def init_params(self, initializer=Uniform(0.01), arg_params=None, aux_params=None,  # noqa: B008
                    allow_missing=False, force_init=False, allow_extra=False):
        if self.params_initialized and not force_init:
            warnings.warn("Parameters already initialized and force_init=False. init_params call ignored.",
                          stacklevel=2)
            return
        self._require("init_params", params=False)
        attrs = self._symbol.attr_dict()
        for own, given in ((self._arg_params, arg_params), (self._aux_params, aux_params)):
            for name in sorted(own):
                self._init_one(InitDesc(name, attrs.get(name)), own[name], given, initializer, allow_missing)
        self.params_initialized = True
        self._params_dirty = False
        self._exec_group.set_params(self._arg_params, self._aux_params)

    @staticmethod
    def _init_one(desc, target, given, initializer, allow_missing):
        value = given.get(str(desc)) if given is not None else None
        if value is not None:
            if value is target:
                return
            if value.shape != target.shape:
                raise ValueError(f"init_params: {desc} has shape {target.shape}, its value has {value.shape}")
            target[:] = value.as_in_context(target.context).astype(target.dtype, copy=False)
            return
        if given is not None and not allow_missing:
            raise RuntimeError(f"{desc} is not presented")
        if initializer is not None:
            initializer(desc, target)

    def set_params(self, arg_params, aux_params, allow_missing=False, force_init=True, allow_extra=False):
        if not allow_missing:
            self.init_params(initializer=None, arg_params=arg_params, aux_params=aux_params,
                             allow_missing=allow_missing, force_init=force_init, allow_extra=allow_extra)
            return
        if self.params_initialized and not force_init:
            warnings.warn("Parameters already initialized and force_init=False. set_params call ignored.",
                          stacklevel=2)
            return
        self._require("set_params", params=False)
        self._exec_group.set_params(arg_params, aux_params, allow_extra=allow_extra)
        self._params_dirty = True  # the others stay as the devices have them
        self.params_initialized = True

    # ---- binding
    def _reset_bind(self):
        self.binded = False
        self._exec_group = None
        self._data_shapes = None
        self._label_shapes = None

    def bind(self, data_shapes, label_shapes=None, for_training=True, inputs_need_grad=False, force_rebind=False,
             shared_module=None, grad_req="write"):
        if force_rebind:
            if self.binded and self._params_dirty:
                self._sync_params_from_devices()  # what training made of them goes on
            self._reset_bind()
        if self.binded:
            self.logger.warning("Already bound, ignoring bind()")
            return
        if inputs_need_grad and not for_training:
            raise AssertionError("bind: inputs_need_grad=True needs for_training=True")
        shared_group = self._group_of(shared_module)
        self._data_shapes, self._label_shapes = parse_data_desc(self._data_names, self._label_names, data_shapes,
                                                                label_shapes)
        self._check_labels()
        self.for_training = for_training
        self.inputs_need_grad = inputs_need_grad
        self._grad_req = grad_req
        self._exec_group = DataParallelExecutorGroup(
            self._symbol, self._context, self._work_load_list, self._data_shapes, self._label_shapes,
            self._param_names, for_training, inputs_need_grad, shared_group, logger=self.logger,
            fixed_param_names=self._fixed_param_names, grad_req=grad_req, state_names=self._state_names,
            group2ctxs=self._group2ctxs)
        self.binded = True
        self._take_params(shared_module)
        if shared_module is not None and shared_module.optimizer_initialized:
            self.borrow_optimizer(shared_module)

    def _check_labels(self):
        """Labels under other names than the symbol's would never arrive."""
        given = {desc.name for desc in self._label_shapes or ()}
        lost = [name for name in self._label_names if name not in given and name in self._symbol.list_arguments()]
        if given and lost:
            raise ValueError(f"bind: label_shapes describe {', '.join(sorted(given))}, the label of the symbol is "
                             f"{', '.join(lost)}")

    def _group_of(self, shared_module):
        if shared_module is None:
            return None
        if not (isinstance(shared_module, Module) and shared_module.binded and shared_module.params_initialized):
            raise AssertionError("bind: shared_module must be a Module that is bound and has parameters")
        if len(shared_module._exec_group.execs) != len(self._context):
            raise AssertionError(f"bind: shared_module runs on {len(shared_module._exec_group.execs)} devices, this "
                                 f"module on {len(self._context)}")
        return shared_module._exec_group

    def _take_params(self, shared_module):
        """The parameters of the module whose arrays are shared, those that were loaded, or new arrays of zeros."""
        if shared_module is not None:
            self.params_initialized = True
            self._arg_params = shared_module._arg_params
            self._aux_params = shared_module._aux_params
        elif self.params_initialized:
            self._exec_group.set_params(self._arg_params, self._aux_params, allow_extra=True)
        else:
            group = self._exec_group
            self._arg_params = {name: nd.zeros(arrays[0].shape, dtype=arrays[0].dtype)
                                for name, arrays in zip(self._param_names, group.param_arrays)}
            self._aux_params = {name: nd.zeros(arrays[0].shape, dtype=arrays[0].dtype)
                                for name, arrays in zip(group.aux_names, group.aux_arrays)}

    def reshape(self, data_shapes, label_shapes=None):
        """Go over to other shapes of inputs; parameters stay, and executors of the last few shapes are kept."""
        self._require("reshape", params=False)
        self._data_shapes, self._label_shapes = parse_data_desc(self._data_names, self._label_names, data_shapes,
                                                                label_shapes)
        self._exec_group.reshape(self._data_shapes, self._label_shapes)

    # ---- the optimizer
    def init_optimizer(self, kvstore="local", optimizer="sgd", optimizer_params=(("learning_rate", 0.01),),
                       force_init=False):
        self._require("init_optimizer")
        if self.optimizer_initialized and not force_init:
            self.logger.warning("optimizer already initialized, ignoring...")
            return
        if self._params_dirty:
            self._sync_params_from_devices()
        store, on_kvstore = _create_kvstore(kvstore, len(self._context), self._arg_params)
        self._optimizer = self._make_optimizer(optimizer, optimizer_params, self._rescale(store), on_kvstore)
        self._kvstore = store
        self._update_on_kvstore = on_kvstore
        self._updater = None
        if store is not None:
            if self._compression_params:
                store.set_gradient_compression(self._compression_params)
            if on_kvstore:
                store.set_optimizer(self._optimizer)
            _initialize_kvstore(kvstore=store, param_arrays=self._exec_group.param_arrays,
                                arg_params=self._arg_params, param_names=self._param_names,
                                update_on_kvstore=on_kvstore)
        if not on_kvstore:
            self._updater = opt.get_updater(self._optimizer)
        self.optimizer_initialized = True
        if self._preload_opt_states is not None:
            self.load_optimizer_states(self._preload_opt_states)
            self._preload_opt_states = None

    def _rescale(self, store):
        """1 / the number of samples whose gradients are summed."""
        size = self._exec_group.batch_size or 1
        if store is not None and "dist" in store.type and "_sync" in store.type:
            size *= store.num_workers
        return 1.0 / size

    def _make_optimizer(self, optimizer, optimizer_params, rescale_grad, on_kvstore):
        names = self._param_names
        if on_kvstore:
            index_to_name = dict(enumerate(names))
        else:  # each device has its own states
            devices = len(self._context)
            index_to_name = {i * devices + k: name for k in range(devices) for i, name in enumerate(names)}
        if isinstance(optimizer, str):
            params = dict(optimizer_params)
            params.setdefault("rescale_grad", rescale_grad)
            return opt.create(optimizer, sym=self.symbol, param_idx2name=index_to_name, **params)
        if not isinstance(optimizer, opt.Optimizer):
            raise AssertionError(f"init_optimizer: optimizer must be a name or an Optimizer, got "
                                 f"{type(optimizer).__name__}")
        if optimizer.rescale_grad != rescale_grad:
            warnings.warn("The optimizer was made outside the module, and its rescale_grad is not 1 / batch size / "
                          f"number of workers: {optimizer.rescale_grad}, not {rescale_grad}", stacklevel=3)
        if not optimizer.idx2name:
            optimizer.idx2name = index_to_name.copy()
        return optimizer

    def borrow_optimizer(self, shared_module):
        """Use the optimizer, states and key-value store of another module with the same parameters."""
        if not shared_module.optimizer_initialized:
            raise AssertionError("borrow_optimizer: the other module has no optimizer, see init_optimizer")
        self._optimizer = shared_module._optimizer
        self._kvstore = shared_module._kvstore
        self._update_on_kvstore = shared_module._update_on_kvstore
        self._updater = shared_module._updater
        self.optimizer_initialized = True

    def save_optimizer_states(self, fname):
        """Write the optimizer's states (momentum and the like) to a file."""
        self._require("save_optimizer_states", optimizer=True)
        if self._update_on_kvstore:
            self._kvstore.save_optimizer_states(fname)
        else:
            with open(fname, "wb") as file:
                file.write(self._updater.get_states())

    def load_optimizer_states(self, fname):
        """Read what `save_optimizer_states` wrote."""
        self._require("load_optimizer_states", optimizer=True)
        if self._update_on_kvstore:
            self._kvstore.load_optimizer_states(fname)
        else:
            with open(fname, "rb") as file:
                self._updater.set_states(file.read())

    # ---- computation
    def _adopt_shapes(self, data_batch):
        """Reshape to the shapes of a batch, if they are new."""
        bound = [tuple(desc.shape) for desc in self._data_shapes]
        if isinstance(data_batch, list):
            given, labels = self._joined_shapes(data_batch)
        else:
            given = [tuple(array.shape) for array in data_batch.data]
            labels = [tuple(array.shape) for array in data_batch.label] if data_batch.label else None
        if given == bound:
            return
        first = data_batch[0] if isinstance(data_batch, list) else data_batch
        data_shapes = getattr(first, "provide_data", None) if not isinstance(data_batch, list) else None
        if not data_shapes:
            data_shapes = [DataDesc(desc.name, shape, desc.dtype, desc.layout)
                           for desc, shape in zip(self._data_shapes, given)]
        label_shapes = getattr(first, "provide_label", None) if not isinstance(data_batch, list) else None
        if not label_shapes and labels and self._label_shapes:
            label_shapes = [DataDesc(desc.name, shape, desc.dtype, desc.layout)
                            for desc, shape in zip(self._label_shapes, labels)]
        elif not label_shapes:
            label_shapes = self._label_shapes_for(data_shapes)
        self.reshape(data_shapes, label_shapes)

    def _joined_shapes(self, batches):
        """The shapes of the whole batch that a list with a batch for each device makes."""

        def join(lists, axes):
            shapes = []
            for arrays, axis in zip(zip(*lists), axes):
                shape = list(arrays[0].shape)
                if axis >= 0:
                    shape[axis] = sum(array.shape[axis] for array in arrays)
                shapes.append(tuple(shape))
            return shapes

        group = self._exec_group
        labels = join([batch.label or () for batch in batches], group.label_layouts)
        return join([batch.data for batch in batches], group.data_layouts), labels or None

    def _label_shapes_for(self, data_shapes):
        """Labels of the new batch size, for a batch that comes without labels."""
        if not self._label_shapes:
            return None
        group = self._exec_group
        old, new = group.batch_size, None
        for desc, axis in zip(data_shapes, group.data_layouts):
            if axis >= 0:
                new = desc[1][axis]
                break
        shapes = []
        for desc, axis in zip(self._label_shapes, group.label_layouts):
            shape = list(desc.shape)
            if new is not None and axis >= 0 and shape[axis] == old:
                shape[axis] = new
            shapes.append(DataDesc(desc.name, tuple(shape), desc.dtype, desc.layout))
        return shapes

    def forward(self, data_batch, is_train=None):
        """Compute the outputs for a batch.

        Parameters
        ----------
        data_batch : DataBatch, or list of DataBatch
            A list has one for each device. Other shapes than the bound ones reshape the module.
        is_train : bool, optional
            What `bind` said by default.
        """
        self._require("forward")
        self._adopt_shapes(data_batch)
        self._exec_group.forward(data_batch, is_train)

    def backward(self, out_grads=None):
        self._require("backward")
        self._exec_group.backward(out_grads=out_grads)

    def update(self):
        self._require("update", optimizer=True)
        self._params_dirty = True
        group = self._exec_group
        if self._update_on_kvstore:
            _update_params_on_kvstore(group.param_arrays, group.grad_arrays, self._kvstore, self._param_names)
        else:
            _update_params(group.param_arrays, group.grad_arrays, updater=self._updater, num_device=len(self._context),
                           kvstore=self._kvstore, param_names=self._param_names)

    def get_outputs(self, merge_multi_context=True):
        self._require("get_outputs")
        return self._exec_group.get_outputs(merge_multi_context=merge_multi_context)

    def get_input_grads(self, merge_multi_context=True):
        self._require("get_input_grads")
        if not self.inputs_need_grad:
            raise AssertionError("get_input_grads: bind with inputs_need_grad=True")
        return self._exec_group.get_input_grads(merge_multi_context=merge_multi_context)

    def get_states(self, merge_multi_context=True):
        """The arrays of `state_names`: for each state a list with one for each device."""
        self._require("get_states")
        return self._exec_group.get_states(merge_multi_context=merge_multi_context)

    def set_states(self, states=None, value=None):
        """Write arrays in the form of `get_states`, or a number, to the states."""
        self._require("set_states")
        self._exec_group.set_states(states, value)

    def update_metric(self, eval_metric, labels, pre_sliced=False):
        self._exec_group.update_metric(eval_metric, labels, pre_sliced)

    def install_monitor(self, mon):
        self._require("install_monitor", params=False)
        self._exec_group.install_monitor(mon)

    def prepare(self, data_batch, sparse_row_id_fn=None):
        """Fetch the rows of row_sparse parameters that a batch needs; see `BaseModule.prepare`."""
        self._require("prepare", params=False)
        if sparse_row_id_fn is None:
            return
        if self._kvstore is None or not self._update_on_kvstore:
            warnings.warn(UserWarning("Parameters are not updated in the KVStore. No need to call sparse_row_id_fn."),
                          stacklevel=2)
            return
        rows = sparse_row_id_fn(data_batch)
        if not isinstance(rows, dict):
            raise AssertionError(f"sparse_row_id_fn must return a dict of row ids, got {type(rows).__name__}")
        for name, ids in rows.items():
            if name not in self._param_names:
                raise ValueError(f"sparse_row_id_fn gave rows of {name}, which is no parameter; there are "
                                 f"{', '.join(self._param_names)}")
            index = self._param_names.index(name)
            arrays = self._exec_group.param_arrays[index]
            if any(array.stype != "row_sparse" for array in arrays):
                continue  # whole on every device
            self._kvstore.row_sparse_pull(name, arrays, row_ids=ids, priority=-index)
