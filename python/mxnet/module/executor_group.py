# SPDX-License-Identifier: Apache-2.0
"""One executor for each device, each with its part of the batch."""
from __future__ import annotations

import logging
from collections import OrderedDict

from .. import ndarray as nd
from ..context import Context
from ..executor_manager import _split_input_slice
from ..io import DataDesc

__all__ = ["DataParallelExecutorGroup"]

#: For how many shapes of batches executors are kept.
_KEPT_SHAPES = 8


def _load_parts(sources, targets, axes):
    """Copy arrays to the devices: `targets[k]` lists (slice, array) for `sources[k]`, cut along `axes[k]`."""
    for source, parts, axis in zip(sources, targets, axes):
        if isinstance(source, (list, tuple)):  # one for each device
            for own, (_, target) in zip(source, parts):
                target[:] = own
            continue
        for part, target in parts:
            if len(parts) == 1 or axis < 0:
                target[:] = source
            else:
                target[:] = nd.slice_axis(source, axis=axis, begin=part.start, end=part.stop) if axis else source[part]


def _merge(arrays, axis):
    """Arrays of all devices as one; without a batch axis they are equal on all."""
    if len(arrays) == 1 or axis < 0:
        return arrays[0]
    home = arrays[0].context
    return nd.concat(*(array.as_in_context(home) for array in arrays), dim=axis)


def _merge_all(lists, axes, merge):
    return [_merge(arrays, axis) for arrays, axis in zip(lists, axes)] if merge else lists


def _context_groups(group2ctxs, count):
    """For each device a dict from attribute `ctx_group` to context, from a list of dicts or a dict of lists."""
    if group2ctxs is None:
        return [None] * count
    if isinstance(group2ctxs, dict):
        columns = {}
        for key, contexts in group2ctxs.items():
            contexts = [contexts] if isinstance(contexts, Context) else list(contexts)
            columns[key] = contexts * count if len(contexts) == 1 else contexts
            if len(columns[key]) != count:
                raise AssertionError(f"group2ctxs: {key} has {len(contexts)} contexts, the module {count}")
        return [{key: contexts[i] for key, contexts in columns.items()} for i in range(count)]
    if not isinstance(group2ctxs, list) or len(group2ctxs) != count:
        raise AssertionError(f"group2ctxs must be a list of {count} dicts, or a dict")
    return group2ctxs


class DataParallelExecutorGroup:
    """What a Module is bound to.

    Parameters
    ----------
    symbol : Symbol
    contexts : list of Context
    workload : list of float
        The parts of the batch that the devices get.
    data_shapes, label_shapes : list of DataDesc
        Of the whole batch; labels may be None.
    param_names : list of str
    for_training, inputs_need_grad : bool
    shared_group : DataParallelExecutorGroup, optional
        Whose parameters, and memory of inputs, are used.
    fixed_param_names, state_names : list of str, optional
    grad_req : str, list or dict
    group2ctxs : list of dict or dict of list, optional
        Devices of the parts of a symbol, for each executor.
    """

    def __init__(self, symbol, contexts, workload, data_shapes, label_shapes, param_names, for_training,
                 inputs_need_grad, shared_group=None, logger=logging, fixed_param_names=None, grad_req="write",
                 state_names=None, group2ctxs=None):
        self.symbol = symbol
        self.contexts = contexts
        self.workload = workload
        self.arg_names = symbol.list_arguments()
        wanted = set(param_names)
        self.param_names = [name for name in self.arg_names if name in wanted]  # in the order of arguments
        self.aux_names = symbol.list_auxiliary_states()
        self.for_training = for_training
        self.inputs_need_grad = inputs_need_grad
        self.logger = logger
        self.fixed_param_names = fixed_param_names or []
        self.state_names = state_names or []
        self.group2ctxs = _context_groups(group2ctxs, len(contexts))
        self._total_exec_bytes = 0
        # Memory of inputs by name, for each device: groups that share it never run at the same time.
        self.shared_data_arrays = shared_group.shared_data_arrays if shared_group else [{} for _ in contexts]
        self.output_names = symbol.list_outputs()
        self.num_outputs = len(self.output_names)
        self.output_layouts = [DataDesc.get_batch_axis(symbol[name].attr("__layout__")) for name in self.output_names] \
            if len(set(self.output_names)) == self.num_outputs else [0] * self.num_outputs
        self.data_names = [desc.name for desc in data_shapes]
        self.grad_req = self._requests(grad_req)
        self.execs = []
        self._default_execs = None
        self._kept = OrderedDict()
        self.data_shapes = self.label_shapes = None
        self.bind_exec(data_shapes, label_shapes, shared_group)

    def _requests(self, grad_req):
        """{argument: request}: parameters that are not fixed, and inputs if asked for."""
        if isinstance(grad_req, (list, tuple)):
            if len(grad_req) != len(self.arg_names):
                raise AssertionError(f"grad_req has {len(grad_req)} entries for {len(self.arg_names)} arguments")
            given = dict(zip(self.arg_names, grad_req))
        elif isinstance(grad_req, dict):
            given = grad_req
        elif isinstance(grad_req, str):
            given = dict.fromkeys(self.arg_names, grad_req)
        else:
            raise ValueError(f"grad_req must be a str, list or dict, got {type(grad_req).__name__}")

        def of(name):
            if not self.for_training:
                return "null"
            if name in self.param_names:
                return "null" if name in self.fixed_param_names else given.get(name, "write")
            wanted = name in self.data_names and self.inputs_need_grad
            if isinstance(grad_req, dict):
                return given.get(name, "write" if wanted else "null")
            return given[name] if wanted else "null"

        return {name: of(name) for name in self.arg_names}

    # ---- binding
    @staticmethod
    def _axes(shapes):
        return [DataDesc.get_batch_axis(desc.layout) for desc in shapes or ()]

    def decide_slices(self, data_shapes):
        """Cut the batch: sets `batch_size` and `slices`, returns the batch axis of each input."""
        if not data_shapes:
            raise AssertionError("there are no data to bind")
        axes = self._axes(data_shapes)
        size = None
        for desc, axis in zip(data_shapes, axes):
            if axis < 0:
                continue
            if axis >= len(desc.shape):
                raise AssertionError(f"{desc} has no axis {axis}, where its layout has the batch")
            if size is not None and desc.shape[axis] != size:
                raise AssertionError("all data must have the same batch size: batch_size = "
                                     f"{size}, but {desc.name} has shape {desc.shape}")
            size = desc.shape[axis]
        self.batch_size = size
        self.slices = [slice(None)] * len(self.workload) if size is None else _split_input_slice(size, self.workload)
        return axes

    def _own_shapes(self, shapes, index, axes):
        """The shapes of one device's parts."""
        part = self.slices[index]
        own = []
        for desc, axis in zip(shapes or (), axes):
            shape = list(desc.shape)
            if axis >= 0 and part.start is not None:
                shape[axis] = part.stop - part.start
            own.append(DataDesc(desc.name, tuple(shape), desc.dtype, desc.layout))
        return own

    def bind_exec(self, data_shapes, label_shapes, shared_group=None, reshape=False):
        """Make executors; with `reshape` from those that are there, which keep their parameters."""
        self.data_layouts = self.decide_slices(data_shapes)
        self.label_layouts = self._axes(label_shapes)
        execs = []
        for i in range(len(self.contexts)):
            shapes = [*self._own_shapes(data_shapes, i, self.data_layouts),
                      *self._own_shapes(label_shapes, i, self.label_layouts)]
            execs.append(self._reshaped(i, shapes) if reshape else self._bind_ith_exec(i, shapes, shared_group))
        self._use(execs, data_shapes, label_shapes)

    def _bind_ith_exec(self, i, shapes, shared_group):
        shared_exec = shared_group.execs[i] if shared_group is not None else None
        return self.symbol.simple_bind(
            ctx=self.contexts[i], grad_req=self.grad_req,
            type_dict={desc.name: desc.dtype for desc in shapes if desc.name in self.arg_names},
            group2ctx=self.group2ctxs[i], shared_arg_names=self.param_names, shared_exec=shared_exec,
            shared_buffer=self.shared_data_arrays[i], **{desc.name: desc.shape for desc in shapes})

    def _reshaped(self, i, shapes):
        known = {desc.name: desc.shape for desc in shapes if desc.name in self.arg_names}
        return self._default_execs[i].reshape(allow_up_sizing=True, **known)

    def _key(self, data_shapes, label_shapes):
        return tuple((desc.name, tuple(desc.shape)) for desc in [*data_shapes, *(label_shapes or ())])

    def reshape(self, data_shapes, label_shapes):
        """Go over to other shapes; executors of the last few shapes are kept."""
        if data_shapes == self.data_shapes and label_shapes == self.label_shapes:
            return
        if self._default_execs is None:
            self._default_execs = list(self.execs)
            self._kept[self._key(self.data_shapes, self.label_shapes)] = self.execs
        key = self._key(data_shapes, label_shapes)
        if key in self._kept:
            self._kept.move_to_end(key)
            self.data_layouts = self.decide_slices(data_shapes)
            self.label_layouts = self._axes(label_shapes)
            self._use(self._kept[key], data_shapes, label_shapes)
            return
        self.bind_exec(data_shapes, label_shapes, reshape=True)
        self._kept[key] = self.execs
        if len(self._kept) > _KEPT_SHAPES:
            self._kept.popitem(last=False)

    def _use(self, execs, data_shapes, label_shapes):
        self.execs = execs
        self.data_shapes = data_shapes
        self.label_shapes = label_shapes
        self.data_names = [desc.name for desc in data_shapes]
        self.label_names = [desc.name for desc in label_shapes] if label_shapes is not None else None
        self._collect_arrays()

    def _collect_arrays(self):
        """Lists over inputs or parameters of lists over devices."""
        arguments = [executor.arg_dict for executor in self.execs]
        gradients = [executor.grad_dict for executor in self.execs]

        def parts(names):
            return [[(part, own[name]) for part, own in zip(self.slices, arguments)] for name in names]

        known = set(self.arg_names)
        self.data_arrays = parts([name for name in self.data_names if name in known])
        self._label_positions = [k for k, name in enumerate(self.label_names or ()) if name in known]
        self.label_arrays = parts([self.label_names[k] for k in self._label_positions]) \
            if self.label_names is not None else None
        self.param_arrays = [[own[name] for own in arguments] for name in self.param_names]
        self.state_arrays = [[own[name] for own in arguments] for name in self.state_names]
        self.grad_arrays = [[own[name] for own in gradients] for name in self.param_names] \
            if self.for_training else None
        self.input_grad_arrays = [[own[name] for own in gradients] for name in self.data_names if name in known] \
            if self.inputs_need_grad else []
        self.aux_arrays = [list(arrays) for arrays in zip(*(executor.aux_arrays for executor in self.execs))]

    # ---- parameters
    def set_params(self, arg_params, aux_params, allow_extra=False):
        """Write parameters to all devices."""
        for executor in self.execs:
            executor.copy_params_from(arg_params, aux_params, allow_extra_params=allow_extra)

    def get_params(self, arg_params, aux_params):
        """Write the mean over devices to the arrays of two dicts."""
        for names, lists, into in ((self.param_names, self.param_arrays, arg_params),
                                   (self.aux_names, self.aux_arrays, aux_params)):
            for name, arrays in zip(names, lists):
                target = into[name]
                mean = arrays[0] if len(arrays) == 1 else \
                    nd.add_n(*(array.as_in_context(target.context) for array in arrays)) / len(arrays)
                target[:] = mean.astype(target.dtype, copy=False)

    # ---- computation
    def forward(self, data_batch, is_train=None):
        """Load a batch (or a list with one for each device) and run all executors."""
        if isinstance(data_batch, list):
            data = [list(arrays) for arrays in zip(*(batch.data for batch in data_batch))]
            label = [list(arrays) for arrays in zip(*(batch.label or () for batch in data_batch))]
        else:
            data, label = data_batch.data, data_batch.label
        if len(data) < len(self.data_arrays):
            raise ValueError(f"forward: the batch has {len(data)} arrays of data, the module takes "
                             f"{len(self.data_arrays)}: {', '.join(self.data_names)}")
        _load_parts(data, self.data_arrays, self.data_layouts)
        if self.label_arrays and label:
            chosen = [label[k] for k in self._label_positions if k < len(label)]
            _load_parts(chosen, self.label_arrays, [self.label_layouts[k] for k in self._label_positions])
        is_train = self.for_training if is_train is None else is_train
        for executor in self.execs:
            executor.forward(is_train=is_train)

    def backward(self, out_grads=None):
        """Run all executors backward; `out_grads` is an array or a list with one for each output of the whole batch."""
        if not self.for_training:
            raise AssertionError("re-bind with for_training=True to run backward")
        out_grads = [] if out_grads is None else [out_grads] if isinstance(out_grads, nd.NDArray) else list(out_grads)
        for i, (executor, part) in enumerate(zip(self.execs, self.slices)):
            own = []
            for grad, axis in zip(out_grads, self.output_layouts):
                if isinstance(grad, (list, tuple)):
                    own.append(grad[i])
                elif axis < 0 or len(self.execs) == 1:
                    own.append(grad)
                else:
                    cut = nd.slice_axis(grad, axis=axis, begin=part.start, end=part.stop)
                    own.append(cut.as_in_context(self.contexts[i]))
            executor.backward(own)

    def get_output_shapes(self):
        """(name, shape of the whole batch) of each output."""
        shapes = []
        for k, (name, axis) in enumerate(zip(self.output_names, self.output_layouts)):
            shape = list(self.execs[0].outputs[k].shape)
            if axis >= 0 and axis < len(shape):
                shape[axis] = sum(executor.outputs[k].shape[axis] for executor in self.execs)
            shapes.append((name, tuple(shape)))
        return shapes

    def get_outputs(self, merge_multi_context=True, begin=0, end=None):
        """Outputs `begin` to `end`; see `BaseModule.get_outputs`."""
        end = self.num_outputs if end is None else end
        outputs = [[executor.outputs[k] for executor in self.execs] for k in range(begin, end)]
        return _merge_all(outputs, self.output_layouts[begin:end], merge_multi_context)

    def get_input_grads(self, merge_multi_context=True):
        """Gradients of the inputs; see `BaseModule.get_input_grads`."""
        if not self.inputs_need_grad:
            raise AssertionError("get_input_grads: bind with inputs_need_grad=True")
        return _merge_all(self.input_grad_arrays, self.data_layouts, merge_multi_context)

    def get_states(self, merge_multi_context=True):
        """The arrays of the states."""
        if merge_multi_context:
            raise AssertionError("merge_multi_context=True is not supported for get_states yet.")
        return self.state_arrays

    def set_states(self, states=None, value=None):
        """Write arrays (for each state one for each device) or a number to the states."""
        if (states is None) == (value is None):
            raise AssertionError("set_states: give either states or value")
        for k, arrays in enumerate(self.state_arrays):
            for i, array in enumerate(arrays):
                array[:] = value if states is None else states[k][i] if isinstance(states[k], (list, tuple)) \
                    else states[k]

    def update_metric(self, eval_metric, labels, pre_sliced=False):
        """Update a metric with each device's labels and outputs."""
        for i, (executor, part) in enumerate(zip(self.execs, self.slices)):
            if pre_sliced:
                own = labels[i]
            elif len(self.execs) == 1:
                own = labels
            else:
                own = [label if axis < 0 else nd.slice_axis(label, axis=axis, begin=part.start, end=part.stop)
                       for label, axis in zip(labels or (), self.label_layouts)]
            eval_metric.update_dict(OrderedDict(zip(self.label_names or (), own or ())),
                                    OrderedDict(zip(self.output_names, executor.outputs)))

    def install_monitor(self, mon):
        """Watch all executors."""
        for executor in self.execs:
            mon.install(executor)
