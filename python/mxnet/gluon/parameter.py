# SPDX-License-Identifier: Apache-2.0
"""Parameters: named arrays that a Block owns, with their gradients, on one or several devices.

A parameter may be declared with unknown dimensions (0). Its arrays are then made when the first forward pass has shown
the shape: until then, reading them raises :class:`DeferredInitializationError`.
"""
from __future__ import annotations

import warnings
from collections import OrderedDict
from copy import copy

import numpy as np

from .. import autograd, initializer
from .. import ndarray as nd
from .._core import _ext
from ..base import MXNetError
from ..context import Context, cpu, current_context

__all__ = ["Constant", "DeferredInitializationError", "Parameter", "ParameterDict"]

_GRAD_REQS = ("write", "add", "null")
_STYPES = ("default", "row_sparse", "csr")
_NAMING_HELP = "Please make sure source and target networks have the same prefix."

#: Counts the times that any parameter got new arrays. Blocks and trainers remember arrays for one value of it.
generation = 0


def _arrays_changed():
    global generation
    generation += 1
    _ext.forget_bindings()


class DeferredInitializationError(MXNetError):
    """A parameter's arrays were asked for before a forward pass has shown its shape."""


def shape_is_known(shape):
    """Whether no dimension of `shape` is unknown (0 or -1); None is unknown."""
    return shape is not None and all(dim > 0 for dim in shape)


def _context_list(ctx):
    """`ctx` as a list of distinct devices; the thread's default for None."""
    if ctx is None:
        return [current_context()]
    if isinstance(ctx, Context):
        return [ctx]
    contexts = list(ctx)
    if not contexts or not all(isinstance(c, Context) for c in contexts):
        raise ValueError(f"ctx must be a Context or a non-empty list of Contexts, got {ctx!r}")
    return contexts


def _same_dtype(a, b):
    return str(np.dtype(a)) == str(np.dtype(b)) if "bfloat16" not in (a, b) else a == b


class Parameter:
    """A named array, its gradient, and how both are initialized and updated.

    Parameters
    ----------
    name : str
    grad_req : {'write', 'add', 'null'}
        How backward stores the gradient: overwrite, accumulate (see `zero_grad`), or not at all.
    shape : int or tuple of int, optional
        0 stands for a dimension to be found by the first forward pass.
    dtype : str or numpy.dtype
    lr_mult, wd_mult : float
        Factors on the optimizer's learning rate and weight decay.
    init : Initializer or str, optional
        Overrides the initializer given to `initialize`.
    allow_deferred_init : bool
        Whether `initialize` may wait for the shape.
    differentiable : bool
        False makes `grad_req` always 'null'.
    stype, grad_stype : {'default', 'row_sparse', 'csr'}
        Storage types of the data and of the gradient.
    """

    def __init__(self, name, grad_req="write", shape=None, dtype=np.float32, lr_mult=1.0, wd_mult=1.0, init=None,
                 allow_deferred_init=False, differentiable=True, stype="default", grad_stype="default"):
        for label, value in (("stype", stype), ("grad_stype", grad_stype)):
            if value not in _STYPES:
                raise AssertionError(f"{label} for Parameter '{name}' must be one of 'default', 'row_sparse', or "
                                     f"'csr', but got '{value}'")
        self._var = None
        self._data = None
        self._grad = None
        self._ctx_list = None
        self._trainer = None
        self._deferred_init = ()
        self._differentiable = differentiable
        self._allow_deferred_init = allow_deferred_init
        self._grad_req = None
        self._shape = (shape,) if isinstance(shape, (int, np.integer)) else None if shape is None else tuple(shape)
        self._dtype = dtype
        self._stype = stype
        self._grad_stype = grad_stype
        self.name = name
        self.lr_mult = lr_mult
        self.wd_mult = wd_mult
        self.init = init
        self.grad_req = grad_req

    def __repr__(self):
        return f"{type(self).__name__} {self.name} (shape={self.shape}, dtype={self.dtype})"

    # --- what it is

    @property
    def grad_req(self):
        """'write', 'add' or 'null'; may be changed at any time."""
        return self._grad_req

    @grad_req.setter
    def grad_req(self, req):
        if req not in _GRAD_REQS:
            raise AssertionError(f"grad_req must be one of 'write', 'add', or 'null', but got '{req}'")
        if not self._differentiable:
            req = "null"
        if self._grad_req == req:
            return
        self._grad_req = req
        if req == "null":
            if self._data is not None:
                self._grad = None
                self._data = [arr.detach() for arr in self._data]
                _arrays_changed()
        elif self._data is not None:
            self._init_grad()

    @property
    def dtype(self):
        """The type of the elements; setting it casts data and gradient."""
        return self._dtype

    @dtype.setter
    def dtype(self, dtype):
        self.cast(dtype)

    @property
    def shape(self):
        """The shape, 0 for an unknown dimension; None if nothing is known. Known dimensions cannot be changed."""
        return self._shape

    @shape.setter
    def shape(self, new_shape):
        new_shape = tuple(new_shape) if new_shape is not None else None
        if self._shape is None:
            self._shape = new_shape
            return
        fits = new_shape is not None and len(self._shape) == len(new_shape) and all(
            old in (0, -1, new) for old, new in zip(self._shape, new_shape))
        if not fits:
            raise AssertionError(f"Expected shape {new_shape} is incompatible with given shape {self._shape} "
                                 f"of Parameter '{self.name}'.")
        self._shape = new_shape

    @property
    def stype(self):
        """The storage type of the data."""
        return self._stype

    @property
    def grad_stype(self):
        """The storage type of the gradient."""
        return self._grad_stype

    def var(self):
        """The symbol that stands for this parameter in a graph; always the same one."""
        if self._var is None:
            from .. import symbol
            self._var = symbol.var(self.name, shape=self.shape, dtype=self.dtype, lr_mult=self.lr_mult,
                                   wd_mult=self.wd_mult, init=self.init, stype=self._stype)
        return self._var

    # --- making the arrays

    def initialize(self, init=None, ctx=None, default_init=initializer.Uniform(), force_reinit=False):  # noqa: B008
        """Make data and gradient arrays.

        Parameters
        ----------
        init : Initializer or str, optional
            Overrides the parameter's own and the default one.
        ctx : Context or list of Context, optional
            One copy is kept on each.
        default_init : Initializer
            Used where the parameter has no initializer of its own.
        force_reinit : bool
            Whether to start again if the parameter is initialized already; otherwise that only warns.

        ValueError if the shape is not known and may not be deferred.
        """
        if self._data is not None and not force_reinit:
            warnings.warn(f"Parameter '{self.name}' is already initialized, ignoring. "
                          "Set force_reinit=True to re-initialize.", stacklevel=2)
            return
        self._data = self._grad = None
        if init is None:
            init = default_init if self.init is None else self.init
        self._deferred_init = (init, _context_list(ctx), default_init, None)
        if shape_is_known(self.shape):
            self._finish_deferred_init()
        elif not self._allow_deferred_init:
            self._deferred_init = ()
            raise ValueError(f"Cannot initialize Parameter '{self.name}' because it has invalid shape: {self.shape}.")

    def _finish_deferred_init(self):
        """Make the arrays that `initialize` promised, now that the shape is known."""
        if not self._deferred_init:
            return
        init, ctx_list, default_init, data = self._deferred_init
        if not shape_is_known(self.shape):
            raise ValueError(f"Cannot initialize Parameter '{self.name}' because it has invalid shape: {self.shape}. "
                             "Please specify in_units, in_channels, etc for `Block`s.")
        self._deferred_init = ()
        with autograd.pause():
            if data is None:
                data = nd.zeros(self.shape, dtype=self.dtype, ctx=cpu())
                self._fill(data, init, default_init)
            self._init_impl(data, ctx_list)

    def _fill(self, data, init, default_init):
        rule = initializer.create(init)
        if isinstance(rule, initializer.Initializer):
            default = initializer.create(default_init)
            caller = default if isinstance(default, initializer.Initializer) else rule
            caller(initializer.InitDesc(self.name, {"__init__": rule}), data)
        else:
            rule(initializer.InitDesc(self.name), data)

    def _init_impl(self, data, ctx_list):
        """Put copies of `data` on every device of `ctx_list`, with fresh gradients."""
        self._ctx_list = list(ctx_list)
        self._data = [data.copyto(ctx) if self._stype == "default" else data.copyto(ctx).tostype(self._stype)
                      for ctx in self._ctx_list]
        self._init_grad()

    def _init_grad(self):
        """Make gradient buffers and tell autograd of them."""
        _arrays_changed()
        if self.grad_req == "null":
            self._grad = None
            return
        self._grad = [self._zeros(arr.shape, arr.dtype, arr.context) for arr in self._data]
        autograd.mark_variables(self._data, self._grad, self.grad_req)

    def _zeros(self, shape, dtype, ctx):
        if self._grad_stype == "default":
            return nd.zeros(shape, dtype=dtype, ctx=ctx)
        return nd.sparse.zeros(self._grad_stype, shape, dtype=dtype, ctx=ctx)

    def _load_init(self, data, ctx, cast_dtype=False, dtype_source="current"):
        """Take the values of `data`, from a file; AssertionError if shape, dtype or devices do not fit."""
        if dtype_source not in ("current", "saved"):
            raise AssertionError(f"dtype_source must be 'current' or 'saved', got {dtype_source!r}")
        if self.shape is not None:
            fits = len(self.shape) == len(data.shape) and all(
                own in (0, -1, saved) for own, saved in zip(self.shape, data.shape))
            if not fits:
                raise AssertionError(f"Failed loading Parameter '{self.name}' from saved params: "
                                     f"shape incompatible expected {self.shape} vs saved {data.shape}")
            self.shape = data.shape
        if self.dtype is not None and not _same_dtype(self.dtype, data.dtype):
            if not cast_dtype:
                raise AssertionError(f"Failed loading Parameter '{self.name}' from saved params: dtype incompatible "
                                     f"expected {self.dtype} vs saved {data.dtype}. "
                                     "Set cast_dtype=True to cast the dtype of saved params.")
            if dtype_source == "current":
                data = data.astype(self.dtype, copy=False)
            else:
                self.dtype = data.dtype
        if self.shape is None:
            self.shape = data.shape
        ctx = None if ctx is None else _context_list(ctx)
        if self._data is not None:
            if ctx is not None and set(ctx) != set(self.list_ctx()):
                raise AssertionError(f"Failed to load Parameter '{self.name}' on {ctx} because it was "
                                     f"previous initialized on {self.list_ctx()}.")
            self.set_data(data)
        else:
            if self._deferred_init:
                promised = self._deferred_init[1]
                if ctx is not None and set(ctx) != set(promised):
                    raise AssertionError(f"Failed to load Parameter '{self.name}' on {ctx} because it was "
                                         f"previous initialized on {promised}.")
                ctx = promised
            with autograd.pause():
                self._init_impl(data, [cpu()] if ctx is None else ctx)
        self._deferred_init = ()

    def reset_ctx(self, ctx):
        """Move the parameter to other devices; ValueError if it is not initialized."""
        ctx = _context_list(ctx)
        if self._data is not None:
            data = self._reduce()
            with autograd.pause():
                self._init_impl(data, ctx)
        elif self._deferred_init:
            init, _, default_init, data = self._deferred_init
            self._deferred_init = (init, ctx, default_init, data)
        else:
            raise ValueError(f"Cannot reset context for Parameter '{self.name}' because it has not been initialized.")

    def cast(self, dtype):
        """Cast data and gradient to `dtype`; the gradient starts at 0 again."""
        self._dtype = dtype
        self._var = None
        if self._data is None:
            return
        with autograd.pause():
            self._data = [arr.astype(dtype) for arr in self._data]
            _arrays_changed()
            if self._grad is not None:
                self._grad = [arr.astype(dtype) for arr in self._grad]
                autograd.mark_variables(self._data, self._grad, self.grad_req)

    # --- the arrays

    def _check_initialized(self, ctx=None):
        """Raise what is the matter with an access on `ctx` (None: on any device)."""
        if self._data is not None:
            if ctx is None or ctx in self._ctx_list:
                return
            raise RuntimeError(f"Parameter '{self.name}' was not initialized on context {ctx}. "
                               f"It was only initialized on {self._ctx_list}.")
        if self._deferred_init:
            raise DeferredInitializationError(
                f"Parameter '{self.name}' has not been initialized yet because initialization was deferred. Actual "
                "initialization happens during the first forward pass. Please pass one batch of data through the "
                "network before accessing Parameters. You can also avoid deferred initialization by specifying "
                "in_units, num_features, etc., for network layers.")
        raise RuntimeError(
            f"Parameter '{self.name}' has not been initialized. Note that you should initialize parameters and create "
            "Trainer with Block.collect_params() instead of Block.params because the later does not include "
            "Parameters of nested child Blocks")

    def _pick(self, arrays, ctx):
        """The array on `ctx`; for None the only one, or the one on the default device."""
        if arrays is None:
            self._check_initialized(ctx)
        contexts = self._ctx_list
        if ctx is None:
            if len(arrays) == 1:
                return arrays[0]
            ctx = current_context()
        for own, array in zip(contexts, arrays):
            if own is ctx or own == ctx:
                return array
        if ctx.device_type in ("cpu_pinned", "cpu_shared"):  # memory of the host, as the batches of DataLoader workers
            for own, array in zip(contexts, arrays):
                if own.device_type == "cpu":
                    return array
        self._check_initialized(ctx)

    def data(self, ctx=None):
        """The array on `ctx`.

        DeferredInitializationError before the shape is known, RuntimeError if `initialize` was not called or not for
        `ctx`.
        """
        if self._stype != "default":
            raise RuntimeError(f"Cannot return a copy of Parameter '{self.name}' on ctx {ctx} via data() because its "
                               "storage type is row_sparse. Please use row_sparse_data() instead.")
        return self._pick(self._data, ctx)

    def list_data(self):
        """The arrays on all devices, in the order of `list_ctx`; RuntimeError for a row_sparse parameter."""
        if self._stype != "default":
            raise RuntimeError(f"Cannot return copies of Parameter '{self.name}' on all contexts via list_data() "
                               "because its storage type is row_sparse. Please use row_sparse_data() instead.")
        return self._arrays()

    def _arrays(self):
        """The arrays on all devices, of any storage type."""
        if self._data is None:
            self._check_initialized()
        return list(self._data)

    def grad(self, ctx=None):
        """The gradient on `ctx`; RuntimeError if `grad_req` is 'null'."""
        self._check_has_grad()
        return self._pick(self._grad, ctx)

    def list_grad(self):
        """The gradients on all devices, in the order of `list_ctx`."""
        self._check_has_grad()
        if self._grad is None:
            self._check_initialized()
        return list(self._grad)

    def _check_has_grad(self):
        if self._data is not None and self._grad is None:
            raise RuntimeError(f"Cannot get gradient array for Parameter '{self.name}' because grad_req='null'")

    def list_ctx(self):
        """The devices that hold the parameter; RuntimeError if it is not initialized."""
        if self._data is not None:
            return list(self._ctx_list)
        if self._deferred_init:
            return list(self._deferred_init[1])
        raise RuntimeError(f"Parameter '{self.name}' has not been initialized")

    def row_sparse_data(self, row_id):
        """The rows that `row_id`, an array of any shape, names of a row_sparse parameter; on the device of `row_id`."""
        if self._stype != "row_sparse":
            raise RuntimeError(f"Cannot return a copy of Parameter {self.name} via row_sparse_data() because its "
                               f"storage type is {self._stype}. Please use data() instead.")
        return nd.sparse.retain(self._pick(self._data, row_id.context), row_id.reshape((-1,)))

    def list_row_sparse_data(self, row_id):
        """The rows `row_id` of a row_sparse parameter, on every device."""
        rows = row_id.reshape((-1,))
        return [nd.sparse.retain(arr, rows.as_in_context(arr.context)) for arr in self._arrays()]

    def set_data(self, data):
        """Write `data` (an array of the parameter's shape) to every device."""
        self.shape = data.shape
        if self._data is None:
            if not self._deferred_init:
                raise AssertionError(f"Parameter '{self.name}' has not been initialized")
            data = data if isinstance(data, nd.NDArray) else nd.array(data, dtype=self.dtype)
            self._deferred_init = (*self._deferred_init[:3], data)
            return
        for arr in self._data:
            arr[:] = data
        if self._trainer is not None:
            self._trainer._value_was_set(self)

    def zero_grad(self):
        """Set the gradients to 0; nothing happens where there are none."""
        if self._grad is not None:
            for grad in self._grad:
                grad[:] = 0

    def _reduce(self):
        """The mean over the devices, as one array on the CPU."""
        arrays = self._arrays()
        if len(arrays) == 1:
            return arrays[0].copyto(cpu())
        return nd.add_n(*(arr.copyto(cpu()) for arr in arrays)) / len(arrays)


class Constant(Parameter):
    """A parameter that does not change: no gradient, no update. `value` is an array or a nested sequence of numbers."""

    def __init__(self, name, value):
        if not isinstance(value, nd.NDArray):
            value = nd.array(value)
        self.value = value
        super().__init__(name, grad_req="null", shape=value.shape, dtype=value.dtype, init=initializer.Constant(value))

    @property
    def grad_req(self):
        """Always 'null'."""
        return "null"

    @grad_req.setter
    def grad_req(self, req):
        self._grad_req = "null"
        if req != "null":
            warnings.warn(f"Constant parameter \"{self.name}\" does not support grad_req other than \"null\", "
                          f"and new value \"{req}\" is ignored.", stacklevel=2)


class ParameterDict:
    """An ordered dict of parameters by full name, all beginning with `prefix`.

    `shared` is another ParameterDict whose parameters `get` finds before it makes a new one.
    """

    def __init__(self, prefix="", shared=None):
        self._prefix = prefix
        self._params = OrderedDict()
        self._shared = shared

    def __repr__(self):
        name = self._prefix + " " if self._prefix else ""
        lines = "\n".join(f"  {param}" for param in self.values())
        return f"{name}(\n{lines}\n)"

    def __getitem__(self, key):
        return self._params[key]

    def __iter__(self):
        return iter(self._params)

    def __contains__(self, key):
        return key in self._params

    def __len__(self):
        return len(self._params)

    def __bool__(self):
        return True

    def items(self):
        """(name, parameter) pairs."""
        return self._params.items()

    def keys(self):
        """Full names."""
        return self._params.keys()

    def values(self):
        """The parameters."""
        return self._params.values()

    @property
    def prefix(self):
        """What every name begins with."""
        return self._prefix

    def _find(self, name):
        if name in self._params:
            return self._params[name]
        if self._shared is not None and name in self._shared._params:
            self._params[name] = self._shared._params[name]
            return self._params[name]
        return None

    def get(self, name, **kwargs):
        """The parameter `prefix + name`, made with `kwargs` (see Parameter) if there is none.

        For one that exists the arguments are compared, and unknown dimensions of its shape are filled in from `shape`;
        AssertionError if they contradict.
        """
        name = self.prefix + name
        param = self._find(name)
        if param is None:
            param = Parameter(name, **kwargs)
            self._params[name] = param
            return param
        for key, value in kwargs.items():
            existing = getattr(param, key, None)
            if existing is None:
                setattr(param, key, value)
            elif key == "shape" and value is not None:
                value = (value,) if isinstance(value, int) else tuple(value)
                merged = _merge_shapes(existing, value)
                if merged is None:
                    self._mismatch(name, key, value, existing)
                param._shape = merged
            elif key == "dtype" and value is not None:
                if not _same_dtype(existing, value):
                    self._mismatch(name, key, value, existing)
            elif value is not None and value != existing:
                self._mismatch(name, key, value, existing)
        return param

    @staticmethod
    def _mismatch(name, key, value, existing):
        raise AssertionError(f"Cannot retrieve Parameter '{name}' because desired attribute does not match with stored "
                             f"for attribute '{key}': desired '{value}' vs stored '{existing}'.")

    def get_constant(self, name, value=None):
        """The constant `prefix + name`, made from `value` if there is none; KeyError if there is no value either."""
        name = self.prefix + name
        param = self._find(name)
        if param is None:
            if value is None:
                raise KeyError(f"No constant named '{name}'. Please specify value if you want to create a new "
                               "constant.")
            param = Constant(name, value)
            self._params[name] = param
        elif value is not None:
            if not isinstance(param, Constant):
                raise AssertionError(f"Parameter '{name}' already exists but it is not a constant.")
            wanted = value.asnumpy() if isinstance(value, nd.NDArray) else np.asarray(value)
            if wanted.shape != param.shape or not (wanted == param.value.asnumpy()).all():
                raise AssertionError(f"Constant '{name}' already exists but it's value doesn't match new value")
        return param

    def update(self, other):
        """Take over the parameters of `other`; AssertionError if a name is there already for another parameter."""
        for name, param in other.items():
            if self._params.get(name, param) is not param:
                raise AssertionError("Cannot update self with other because they have different "
                                     f"Parameters with the same name '{name}'")
        self._params.update(other.items())

    def initialize(self, init=initializer.Uniform(), ctx=None, verbose=False, force_reinit=False):  # noqa: B008
        """Initialize all parameters; `init` where a parameter has no initializer of its own."""
        init = initializer.create(init)
        if verbose:
            init = copy(init).set_verbosity(verbose=verbose)
        for param in self.values():
            param.initialize(None, ctx, init, force_reinit=force_reinit)

    def zero_grad(self):
        """Set all gradients to 0."""
        for param in self.values():
            param.zero_grad()

    def reset_ctx(self, ctx):
        """Move all parameters to other devices."""
        for param in self.values():
            param.reset_ctx(ctx)

    def list_ctx(self):
        """All devices that hold one of the parameters."""
        return list(dict.fromkeys(ctx for param in self.values() for ctx in param.list_ctx()))

    def setattr(self, name, value):
        """Set an attribute of every parameter, for example `setattr('grad_req', 'null')`."""
        for param in self.values():
            setattr(param, name, value)

    # --- files

    def save(self, filename, strip_prefix=""):
        """Write all parameters by name, without `strip_prefix`; ValueError if a name does not begin with that."""
        arrays = {}
        for param in self.values():
            if not param.name.startswith(strip_prefix):
                raise ValueError(f"Prefix '{strip_prefix}' is to be striped before saving, but Parameter's name "
                                 f"'{param.name}' does not start with '{strip_prefix}'. this may be due to your Block "
                                 "shares parameters from other Blocks or you forgot to use 'with name_scope()' when "
                                 "creating child blocks.")
            arrays[param.name[len(strip_prefix):]] = param._reduce()
        nd.save(filename, arrays)

    def load(self, filename, ctx=None, allow_missing=False, ignore_extra=False, restore_prefix="",
             cast_dtype=False, dtype_source="current"):
        """Read parameters from a file of named arrays (`arg:` and `aux:` in front of a name are ignored).

        Parameters
        ----------
        filename : str
        ctx : Context or list of Context, optional
            Where to make the arrays of parameters that are not initialized; the CPU by default.
        allow_missing, ignore_extra : bool
            Accept that the file lacks parameters, or has others; otherwise AssertionError.
        restore_prefix : str
            Put in front of the names in the file.
        cast_dtype : bool
            Accept another dtype in the file, and with `dtype_source` 'current' or 'saved' keep the parameter's or take
            the file's.
        """
        self.load_dict(nd.load(filename), ctx, allow_missing, ignore_extra, restore_prefix, filename,
                       cast_dtype, dtype_source)

    def load_dict(self, param_dict, ctx=None, allow_missing=False, ignore_extra=False, restore_prefix="",
                  filename=None, cast_dtype=False, dtype_source="current"):
        """Take parameters from a dict of arrays, as `load` does from a file."""
        for name in self.keys() if restore_prefix else ():
            if not name.startswith(restore_prefix):
                raise AssertionError(f"restore_prefix is '{restore_prefix}' but Parameters name '{name}' does not "
                                     f"start with '{restore_prefix}'.")
        if not isinstance(param_dict, dict):
            raise AssertionError(f"{_source(filename)} has no names: it holds a list of {len(param_dict)} arrays")
        loaded = {restore_prefix + strip_kind(name): arr for name, arr in param_dict.items()}
        if not allow_missing:
            for name in self.keys():
                if name not in loaded:
                    raise AssertionError(missing_message(name, filename, loaded))
        for name, arr in loaded.items():
            if name in self._params:
                self[name]._load_init(arr, ctx, cast_dtype=cast_dtype, dtype_source=dtype_source)
            elif not ignore_extra:
                raise AssertionError(f"Parameter '{name[len(restore_prefix):]}' loaded from {_source(filename)} is not "
                                     f"present in ParameterDict, choices are: {brief_list(self.keys())}. "
                                     f"Set ignore_extra to True to ignore. {_NAMING_HELP}")


def _merge_shapes(existing, wanted):
    """One shape with the known dimensions of both, or None if they contradict."""
    if len(existing) != len(wanted):
        return None
    merged = []
    for old, new in zip(existing, wanted):
        if old > 0 and new > 0 and old != new:
            return None
        merged.append(old if old > 0 else new)
    return tuple(merged)


def strip_kind(name):
    """A saved name without `arg:` or `aux:`."""
    return name[4:] if name.startswith(("arg:", "aux:")) else name


def brief_list(names):
    """The names in quotes, the middle of a long list left out."""
    names = [f"'{name}'" for name in names]
    return ", ".join(names if len(names) <= 6 else [*names[:3], "...", *names[-3:]])


def _source(filename):
    return f"file: {filename}" if filename else "param_dict"


def missing_message(name, filename, available):
    """The text of the error for a parameter that a file lacks."""
    return (f"Parameter '{name}' is missing in {_source(filename)}, which contains parameters: "
            f"{brief_list(available)}. {_NAMING_HELP}")
