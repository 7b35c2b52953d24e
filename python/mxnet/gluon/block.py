# SPDX-License-Identifier: Apache-2.0
"""Blocks: parts of networks, and the networks that are made of them.

A :class:`Block` runs operator by operator. A :class:`HybridBlock` can also be compiled into a graph by `hybridize()`;
it is written either as `hybrid_forward(self, F, x, **params)`, where `F` is `mx.nd` or `mx.sym`, or as plain
`forward(self, x)`.
"""
from __future__ import annotations

import copy
import json
import re
import threading
import warnings
from collections import OrderedDict

from .. import autograd, initializer
from .. import ndarray as nd
from .. import symbol as sym
from ..base import MXNetError
from ..ndarray import NDArray
from ..symbol import Symbol
from . import _trace, parameter
from ._scope import BlockScope
from ._summary import print_summary
from .parameter import DeferredInitializationError, Parameter, ParameterDict, brief_list, missing_message, strip_kind
from .utils import HookHandle

__all__ = ["Block", "HybridBlock", "SymbolBlock"]


def _indent(text, spaces):
    first, *rest = text.split("\n")
    return "\n".join([first, *(" " * spaces + line for line in rest)])


class Block:
    """Base of all layers and networks.

    Blocks and Parameters assigned to attributes are registered as children and parameters:

        class Net(gluon.Block):
            def __init__(self, **kwargs):
                super().__init__(**kwargs)
                with self.name_scope():
                    self.dense = nn.Dense(20)

            def forward(self, x):
                return nd.relu(self.dense(x))

    Parameters
    ----------
    prefix : str, optional
        Begins the names of all parameters; made from the class name and a count by default.
    params : ParameterDict, optional
        Shares the parameters of another block.
    """

    def __init__(self, prefix=None, params=None):
        self._empty_prefix = prefix == ""
        self._prefix, self._params = BlockScope.create(prefix, params, self._alias())
        self._name = self._prefix[:-1] if self._prefix.endswith("_") else self._prefix
        self._scope = BlockScope(self)
        self._children = OrderedDict()
        self._reg_params = {}
        self._forward_hooks = OrderedDict()
        self._forward_pre_hooks = OrderedDict()

    def _alias(self):
        return type(self).__name__.lower()

    def __repr__(self):
        lines = "\n".join(f"  ({key}): {_indent(repr(block), 2)}"
                          for key, block in self.__dict__.items() if isinstance(block, Block))
        return f"{type(self).__name__}(\n{lines}\n)"

    def __setattr__(self, name, value):
        existing = self.__dict__.get(name)
        if isinstance(existing, (Parameter, Block)) and not isinstance(value, type(existing)):
            raise TypeError(f"Changing attribute type for {name} from {type(existing)} to {type(value)} is not "
                            "allowed.")
        if isinstance(value, Block):
            self.register_child(value, name)
        elif isinstance(value, Parameter):
            if self._reg_params.get(name, value) is not value:
                raise AssertionError(f"Overriding Parameter attribute {name} is not allowed. If you want to share "
                                     "parameters between Blocks, please set 'params' at Block construction instead.")
            self._reg_params[name] = value
        super().__setattr__(name, value)

    # --- names and parameters

    @property
    def prefix(self):
        """What the names of this block's parameters begin with."""
        return self._prefix

    @property
    def name(self):
        """The prefix without its final underscore."""
        return self._name

    def name_scope(self):
        """A `with` scope in which children get names that begin with this block's prefix."""
        return self._scope

    @property
    def params(self):
        """The block's own parameters, without its children's (see `collect_params`)."""
        return self._params

    def collect_params(self, select=None):
        """The parameters of the block and all its children, as a ParameterDict.

        `select` is a regular expression that full names must match from their beginning, for example
        `'.*weight|.*bias'`.
        """
        self._warn_about_containers()
        found = ParameterDict(self._params.prefix)
        if select is None:
            found.update(self.params)
        else:
            pattern = re.compile(select)
            found.update({name: param for name, param in self.params.items() if pattern.match(name)})
        for child in self._children.values():
            found.update(child.collect_params(select=select))
        return found

    def _warn_about_containers(self):
        """Blocks in plain lists and dicts are not children: most likely a mistake."""
        children = set(map(id, self._children.values()))
        for name, value in self.__dict__.items():
            if name.startswith("__") or name == "_children" or not isinstance(value, (list, tuple, dict)):
                continue
            items = value.values() if isinstance(value, dict) else value
            if any(isinstance(item, Block) and id(item) not in children for item in items):
                warnings.warn(f'"{type(self).__name__}.{name}" is an unregistered container with Blocks. Note that '
                              "Blocks inside the list, tuple or dict will not be registered automatically. Make sure "
                              "to register "
                              "them using register_child() or switching to nn.Sequential/nn.HybridSequential instead.",
                              stacklevel=3)

    def _collect_params_with_prefix(self, prefix=""):
        """Parameters by their place in the network, such as `features.0.weight`."""
        if prefix:
            prefix += "."
        found = {prefix + name: param for name, param in self._reg_params.items()}
        for name, child in self._children.items():
            found.update(child._collect_params_with_prefix(prefix + name))
        return found

    def initialize(self, init=initializer.Uniform(), ctx=None, verbose=False, force_reinit=False):  # noqa: B008
        """Initialize all parameters, of the children too (see `Parameter.initialize`)."""
        self.collect_params().initialize(init, ctx, verbose, force_reinit)

    def cast(self, dtype):
        """Cast all parameters to `dtype`."""
        for child in self._children.values():
            child.cast(dtype)
        for param in self.params.values():
            param.cast(dtype)

    # --- files

    def save_parameters(self, filename, deduplicate=False):
        """Write all parameters to a file, named by their place in the network.

        With `deduplicate` a parameter that several blocks share is written once.
        """
        params = self._collect_params_with_prefix()
        if deduplicate:
            first = {}
            for name, param in params.items():
                first.setdefault(id(param), name)
            params = {name: params[name] for name in first.values()}
        nd.save(filename, {name: param._reduce() for name, param in params.items()})

    def save_params(self, filename):
        """Write all parameters by their full names without the block's prefix; `save_parameters` is the newer form."""
        warnings.warn("save_params is deprecated. Please use save_parameters.", DeprecationWarning, stacklevel=2)
        self.collect_params().save(filename, strip_prefix=self.prefix)

    def load_parameters(self, filename, ctx=None, allow_missing=False, ignore_extra=False, cast_dtype=False,
                        dtype_source="current"):
        """Read parameters from a file that `save_parameters`, `ParameterDict.save` or `export` wrote.

        Parameters
        ----------
        filename : str
        ctx : Context or list of Context, optional
            Where to make the arrays of parameters that are not initialized; the CPU by default.
        allow_missing : bool
            Leave parameters that the file lacks as they are; otherwise AssertionError.
        ignore_extra : bool
            Ignore arrays in the file that the block has no parameter for; otherwise AssertionError.
        cast_dtype : bool
            Accept another dtype in the file; `dtype_source` 'current' or 'saved' says which one is kept.
        """
        loaded = nd.load(filename)
        params = self._collect_params_with_prefix()
        if not loaded and not params:
            return
        if not isinstance(loaded, dict):
            raise AssertionError(f"file: {filename} has no names: it holds a list of {len(loaded)} arrays")
        loaded = {strip_kind(name): arr for name, arr in loaded.items()}
        loaded, params = self._match_naming(loaded, params)
        sharing = {}
        for name, param in params.items():
            sharing.setdefault(id(param), []).append(name)
        if not allow_missing:
            for names in sharing.values():
                if not any(name in loaded for name in names):
                    raise AssertionError(missing_message(names[0], filename, loaded))
        for name, arr in loaded.items():
            if name in params:
                params[name]._load_init(arr, ctx, cast_dtype=cast_dtype, dtype_source=dtype_source)
            elif not ignore_extra:
                raise AssertionError(f"Parameter '{name}' loaded from file '{filename}' is not present in Block, "
                                     f"which contains parameters: {brief_list(params)}. "
                                     "Set ignore_extra=True to ignore.")

    def _match_naming(self, loaded, structured):
        """The file's arrays and the block's parameters under the naming that has most names in common:

        by place in the network, by full name, or by full name without the block's prefix.
        """
        full = dict(self.collect_params().items())
        cut = len(self.prefix)
        short = {name[cut:] if name.startswith(self.prefix) else name: param for name, param in full.items()}
        return loaded, max((structured, full, short), key=lambda params: sum(name in params for name in loaded))

    def load_params(self, filename, ctx=None, allow_missing=False, ignore_extra=False):
        """Read parameters from a file; `load_parameters` is the newer form."""
        warnings.warn("load_params is deprecated. Please use load_parameters.", DeprecationWarning, stacklevel=2)
        self.load_parameters(filename, ctx, allow_missing, ignore_extra)

    def save(self, prefix):
        """Write the structure to `prefix-model.json` and the parameters to `prefix-model.params`, for `load`."""
        with open(f"{prefix}-model.json", "w", encoding="utf-8") as file:
            json.dump(self._structure(), file, indent=2)
        self.save_parameters(f"{prefix}-model.params")

    def load(self, prefix):
        """Read what `save` wrote into a block of the same structure; ValueError if the structures differ."""
        with open(f"{prefix}-model.json", encoding="utf-8") as file:
            structure = json.load(file)
        if structure != self._structure():
            raise ValueError(f"{prefix}-model.json describes a {structure.get('type')} of another structure than this "
                             f"{type(self).__name__}")
        self.load_parameters(f"{prefix}-model.params")

    def _structure(self):
        return {"type": type(self).__name__, "params": list(self._reg_params),
                "children": {name: child._structure() for name, child in self._children.items()}}

    # --- children and hooks

    def register_child(self, block, name=None):
        """Make `block` a child: its parameters are this block's too. Attributes are registered by themselves."""
        self._children[str(len(self._children)) if name is None else name] = block

    def register_forward_pre_hook(self, hook):
        """Call `hook(block, inputs)` before each forward; returns a handle with `detach()`."""
        return self._attach(self._forward_pre_hooks, hook)

    def register_forward_hook(self, hook):
        """Call `hook(block, inputs, output)` after each forward; returns a handle with `detach()`."""
        return self._attach(self._forward_hooks, hook)

    @staticmethod
    def _attach(hooks, hook):
        handle = HookHandle()
        handle.attach(hooks, hook)
        return handle

    def register_op_hook(self, callback, monitor_all=False):
        """Call `callback(name, operator, array)` for every operator's outputs (and inputs) in hybridized children."""
        for child in self._children.values():
            child.register_op_hook(callback, monitor_all)

    def apply(self, fn):
        """Call `fn(block)` for all children, then for the block itself; returns the block."""
        for child in self._children.values():
            child.apply(fn)
        fn(self)
        return self

    def hybridize(self, active=True, **kwargs):
        """Hybridize all children that can be; see `HybridBlock.hybridize`."""
        for child in self._children.values():
            child.hybridize(active, **kwargs)

    # --- running

    def __call__(self, *args):
        """Run the block on `args`: `forward` between its hooks."""
        for hook in self._forward_pre_hooks.values():
            hook(self, args)
        out = self.forward(*args)
        for hook in self._forward_hooks.values():
            hook(self, args, out)
        return out

    def forward(self, *args):
        """The computation; a subclass implements it."""
        raise NotImplementedError(f"{type(self).__name__} must implement forward")

    def summary(self, *inputs):
        """Print a table of layers, output shapes and numbers of parameters for one forward pass on `inputs`."""
        print_summary(self, inputs)


class HybridBlock(Block):
    """A block that can be compiled.

    Implement `hybrid_forward(self, F, x, *args, **params)` with operators of `F`, where the block's own parameters come
    as keyword arguments, or `forward(self, x, *args)` on arrays. The first also runs on symbols:
    `net(mx.sym.var('data'))` is the network's symbol.

    `infer_shape(self, *args)` sets unknown dimensions of the block's parameters; with `hybrid_forward` it need not be
    written.
    """

    _writes_forward = False

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        cls._writes_forward = (cls.forward is not HybridBlock.forward
                               and cls.hybrid_forward is HybridBlock.hybrid_forward)

    def __init__(self, prefix=None, params=None):
        super().__init__(prefix=prefix, params=params)
        self._active = False
        self._flags = {}
        self._graphs = {}
        self._graph = None
        self._fast_graph = None
        self._array_traced = None
        self._op_hook = None
        self._eager_params = (-1, None, None)
        self._build_lock = threading.RLock()

    def __getstate__(self):
        state = self.__dict__.copy()
        state.update(_graphs={}, _graph=None, _fast_graph=None, _eager_params=(-1, None, None))
        del state["_build_lock"]
        return state

    def __setstate__(self, state):
        self.__dict__.update(state)
        self.__dict__["_build_lock"] = threading.RLock()

    def __setattr__(self, name, value):
        super().__setattr__(name, value)
        if isinstance(value, (HybridBlock, Parameter)) and "_graphs" in self.__dict__:
            self._clear_cached_op()

    def register_child(self, block, name=None):
        if not isinstance(block, HybridBlock):
            raise ValueError(f"Children of HybridBlock must also be HybridBlock, but {block} has type {type(block)}. "
                             "If you are using Sequential, please try HybridSequential instead.")
        super().register_child(block, name)
        if "_graphs" in self.__dict__:
            self._clear_cached_op()

    def cast(self, dtype):
        self._clear_cached_op()
        super().cast(dtype)

    def hybridize(self, active=True, backend=None, clear=True, static_alloc=False, static_shape=False, inline_limit=2,
                  forward_bulk_size=None, backward_bulk_size=None, **kwargs):
        """Compile the block: the next call traces it into a graph, and later calls run that.

        Parameters
        ----------
        active : bool
            False goes back to running operator by operator.
        backend : str, optional
            The name of a graph rewriting to apply.
        clear : bool
            Whether to forget the graphs traced so far.
        static_alloc : bool
            Plan memory once for each signature and reuse it in every call.
        static_shape : bool
            Assume that shapes do not change between calls; needs `static_alloc`.
        inline_limit, forward_bulk_size, backward_bulk_size : int
            Accepted for old programs; they do not change results.
        """
        if static_shape and not static_alloc:
            raise ValueError("hybridize: static_shape=True needs static_alloc=True")
        flags = {"static_alloc": static_alloc, "static_shape": static_shape, "inline_limit": inline_limit, **kwargs}
        optional = {"backend": backend, "forward_bulk_size": forward_bulk_size,
                    "backward_bulk_size": backward_bulk_size}
        flags.update({name: value for name, value in optional.items() if value is not None})
        self._active = active
        self._flags = flags
        if clear or not active:
            self._clear_cached_op()
        if active and (self._forward_hooks or self._forward_pre_hooks):
            warnings.warn(f'"{self.name}" is being hybridized while still having forward hooks: they are called with '
                          "the whole block, and hooks of its children only while it is traced.", stacklevel=2)
        super().hybridize(active, backend=backend, clear=clear, static_alloc=static_alloc, static_shape=static_shape,
                          inline_limit=inline_limit, forward_bulk_size=forward_bulk_size,
                          backward_bulk_size=backward_bulk_size, **kwargs)

    def optimize_for(self, x, *args, backend=None, clear=False, static_alloc=False, static_shape=False, inline_limit=2,
                     forward_bulk_size=None, backward_bulk_size=None, **kwargs):
        """Hybridize with `backend` and compile at once, for inputs like `x, *args`."""
        self.hybridize(True, backend, clear, static_alloc, static_shape, inline_limit, forward_bulk_size,
                       backward_bulk_size, **kwargs)
        self._call_cached_op(x, *args)

    def register_op_hook(self, callback, monitor_all=False):
        """Call `callback(name, operator, array)` for every operator's outputs (and inputs) when hybridized.

        The names are str and `array` is an NDArray. 1.9.1 hands over bytes and the number of a handle, and calls for
        the operators of the backward and for outputs that no one reads as well.
        """
        self._op_hook = (callback, monitor_all)
        for graph in self._graphs.values():
            graph.register_op_hook(callback, monitor_all)
        super().register_op_hook(callback, monitor_all)

    # --- graphs

    def _clear_cached_op(self):
        self._graphs = {}
        self._graph = None
        self._fast_graph = None
        self._array_traced = None
        self._eager_params = (-1, None, None)

    @property
    def _cached_graph(self):
        """(input variables, output symbol) of the last trace, or () before one."""
        return () if self._graph is None else self._graph[:2]

    def _traces_arrays(self):
        """Whether this block or one below it is written with `forward`, so that tracing needs real arrays."""
        return self._writes_forward or any(child._traces_arrays() for child in self._children.values())

    def _needs_arrays(self):
        """`_traces_arrays`, remembered until the block changes."""
        if self._array_traced is None:
            self._array_traced = self._traces_arrays()
        return self._array_traced

    def _trace(self, *args):
        """(input variables, output symbol, output nesting), traced now."""
        if self._needs_arrays():
            self._graph = _trace.trace_arrays(self, args)
        else:
            self._graph = _trace.trace_symbols(self, args)
        return self._graph

    def _get_graph(self, *args):
        """(input variables, output symbol) for arguments like `args`."""
        if self._graph is None:
            self._trace(*args)
        return self._cached_graph

    def _signature(self, arrays, nesting):
        """What a trace on arrays depends on."""
        return nesting, autograd.is_training(), tuple((arr.shape, arr.dtype, arr.context) for arr in arrays)

    def _build_graph(self, key, nesting, args):
        with self._build_lock:
            graph = self._graphs.get(key)
            if graph is None:
                graph = self._compile(nesting, args)
                if self._op_hook:
                    graph.register_op_hook(*self._op_hook)
                self._graphs[key] = graph
                # For overriding classes forward may do more than run the graph.
                if type(self).forward in (HybridBlock.forward, SymbolBlock.forward) and not self._needs_arrays():
                    self._fast_graph = graph.fast
            return graph

    def _compile(self, nesting, args):
        try:
            traced = self._trace_initialized(*args)
        except MXNetError as error:
            if not self._needs_arrays():
                raise
            return _trace.UncompiledGraph(self, nesting, error)
        params = {param.name: param for param in self.collect_params().values()}
        return _trace.CompiledGraph(*traced, params, self._flags)

    def _trace_initialized(self, *args):
        """A trace, after parameters that waited for their shape got it."""
        if not self._needs_arrays():
            traced = self._trace(*args)
            if any(param._deferred_init for param in self.collect_params().values()):
                self._finish_deferred(*args)
            return traced
        if any(param._deferred_init for param in self.collect_params().values()):
            with autograd.pause(train_mode=autograd.is_training()):
                self._run_eager(*args)
        return self._trace(*args)

    def _call_cached_op(self, *args):
        if len(args) == 1 and isinstance(args[0], NDArray):
            arrays, nesting = args, 1
        else:
            arrays, nesting = _trace.flatten(args, NDArray)
        key = self._signature(arrays, nesting) if self._needs_arrays() else nesting
        graph = self._graphs.get(key)
        if graph is None:
            graph = self._build_graph(key, nesting, args)
        return graph(arrays)

    def infer_shape(self, *args):
        """Set the unknown dimensions of all parameters from inputs like `args`."""
        if self._writes_forward:
            raise NotImplementedError(
                f"{type(self).__name__} has parameters of unknown shape: a block written with forward(x) must give "
                "their shapes, or implement infer_shape(self, *args), which sets them")
        self._infer("infer_shape", "shape", *args)

    def infer_type(self, *args):
        """Set the dtypes of all parameters from inputs like `args`."""
        self._infer("infer_type", "dtype", *args)

    def _infer(self, method, attribute, *args):
        inputs, out = self._get_graph(*args)
        arrays, _ = _trace.flatten(args)
        known = {var.name: getattr(arr, attribute) for var, arr in zip(inputs, arrays)}
        arguments, _, states = getattr(out, method)(**known)
        if arguments is None:
            raise ValueError(f"{method} needs more information than the inputs {known}")
        found = dict(zip(out.list_arguments(), arguments))
        found.update(zip(out.list_auxiliary_states(), states))
        for param in self.collect_params().values():
            if found.get(param.name) is not None:
                setattr(param, attribute, found[param.name])

    def _finish_deferred(self, *args):
        """Infer shapes from `args` and make the arrays that waited for them."""
        try:
            self.infer_shape(*args)
        except Exception as error:
            raise ValueError(f"Deferred initialization failed because shape cannot be inferred. {error}") from error
        for param in self.collect_params().values():
            param._finish_deferred_init()

    def export(self, path, epoch=0, remove_amp_cast=True):
        """Write the graph to `path-symbol.json` and the parameters to `path-NNNN.params` (NNNN is `epoch`).

        `SymbolBlock.imports`, `mx.model.load_checkpoint` and every language's MXNet read these. The block must be
        hybridized and have run once; otherwise RuntimeError. Returns both file names.
        """
        if self._graph is None:
            raise RuntimeError("Please first call block.hybridize() and then run forward with this block at least once "
                               "before calling export.")
        out = self._graph[1]
        symbol_file, params_file = f"{path}-symbol.json", f"{path}-{epoch:04d}.params"
        out.save(symbol_file, remove_amp_cast=remove_amp_cast)
        arguments, states = set(out.list_arguments()), set(out.list_auxiliary_states())
        arrays = {}
        for name, param in self.collect_params().items():
            if name in arguments:
                arrays["arg:" + name] = param._reduce()
            elif name in states:
                arrays["aux:" + name] = param._reduce()
            else:
                warnings.warn(f"Parameter {name} is not found in the graph.", stacklevel=2)
        nd.save(params_file, arrays)
        return symbol_file, params_file

    # --- running

    def __call__(self, *args):
        if self._forward_pre_hooks or self._forward_hooks:
            for hook in self._forward_pre_hooks.values():
                hook(self, args)
            out = self._run(*args)
            for hook in self._forward_hooks.values():
                hook(self, args, out)
            return out
        fast = self._fast_graph
        if fast is not None:
            out = fast(*args)
            if out is not None:
                return out
        return self._run(*args) if self._writes_forward else self.forward(*args)

    def _run(self, *args):
        if not self._writes_forward:
            return self.forward(*args)
        if self._active and not _trace.is_recording_arrays() and _trace.contains(args, NDArray):
            return self._call_cached_op(*args)
        return self._run_eager(*args)

    def _run_eager(self, *args):
        """Run on arrays, operator by operator."""
        if not self._writes_forward:
            return self.hybrid_forward(nd, *args, **self._params_on(*args))
        try:
            return self.forward(*args)
        except DeferredInitializationError:
            self._infer_own(*args)
            return self.forward(*args)

    def _infer_own(self, *args):
        """`infer_shape` of a block written with `forward`, for its own parameters."""
        self.infer_shape(*args)
        for param in self._reg_params.values():
            param._finish_deferred_init()

    def forward(self, x, *args):
        """Run `hybrid_forward` on arrays (compiled if hybridized) or on symbols.

        ValueError if there is neither an array nor a symbol among the arguments.
        """
        if isinstance(x, NDArray) or _trace.contains((x, *args), NDArray):
            if self._active and not _trace.is_recording_arrays():
                return self._call_cached_op(x, *args)
            return self.hybrid_forward(nd, x, *args, **self._params_on(x, *args))
        if not _trace.contains((x, *args), Symbol):
            raise ValueError("In HybridBlock, there must be one NDArray or one Symbol in the input. "
                             f"Please check the type of the args: got {type(x).__name__}.")
        params = {name: param.var() for name, param in self._reg_params.items()}
        with self.name_scope():
            return self.hybrid_forward(sym, x, *args, **params)

    def _params_on(self, x, *args):
        """The block's own parameters as arrays on the device of the arguments, by attribute name."""
        if not self._reg_params:
            return self._reg_params
        ctx = (x if isinstance(x, NDArray) else _trace.flatten((x, *args))[0][0]).context
        generation, bound_ctx, params = self._eager_params
        if generation == parameter.generation and (ctx is bound_ctx or ctx == bound_ctx):
            return params
        try:
            params = {name: param.data(ctx) for name, param in self._reg_params.items()}
        except DeferredInitializationError:
            self._finish_deferred(x, *args)
            params = {name: param.data(ctx) for name, param in self._reg_params.items()}
        self._eager_params = (parameter.generation, ctx, params)
        return params

    def hybrid_forward(self, F, x, *args, **kwargs):
        """The computation over `F` (`mx.nd` or `mx.sym`); a subclass implements it, or `forward`."""
        raise NotImplementedError(f"{type(self).__name__} must implement hybrid_forward or forward")


def _common_prefix(names):
    """The longest text that all names begin with."""
    if not names:
        return ""
    first, last = min(names), max(names)
    length = next((i for i, char in enumerate(first) if char != last[i]), len(first))
    return first[:length]


class SymbolBlock(HybridBlock):
    """A block made from a symbol: its free arguments other than `inputs` become parameters.

    Parameters
    ----------
    outputs : Symbol or list of Symbol
    inputs : Symbol or list of Symbol
        The variables that a call gives values to, in its order.
    params : ParameterDict, optional
        Where to find parameters by name.
    """

    @staticmethod
    def imports(symbol_file, input_names, param_file=None, ctx=None, allow_missing=False, ignore_extra=False):
        """A block from the files that `HybridBlock.export` wrote.

        Parameters
        ----------
        symbol_file : str
        input_names : str or list of str
            The graph's variables that are data.
        param_file : str, optional
            Without it the parameters must be initialized afterwards.
        ctx : Context or list of Context, optional
            Where to put the parameters; the CPU by default.
        allow_missing, ignore_extra : bool
            Accept that the file lacks parameters, or has others.
        """
        names = [input_names] if isinstance(input_names, str) else input_names
        inputs = [sym.var(name) for name in names]
        block = SymbolBlock(sym.load(symbol_file), inputs)
        if param_file is not None:
            block.collect_params().load(param_file, ctx=ctx, allow_missing=allow_missing, ignore_extra=ignore_extra,
                                        cast_dtype=True, dtype_source="saved")
        return block

    def __init__(self, outputs, inputs, params=None):
        super().__init__(prefix=None, params=None)
        self._prefix = ""
        self._params = ParameterDict("", params)
        inputs = [inputs] if isinstance(inputs, Symbol) else list(inputs)
        if isinstance(outputs, (list, tuple)):
            out = outputs[0] if len(outputs) == 1 else sym.Group(list(outputs))
        else:
            out = outputs
        names = set()
        for var in inputs:
            if len(var.get_internals().list_outputs()) != 1:
                raise AssertionError(f"Input symbols must be variable, but {var.name} is an output of operators")
            names.add(var.name)
        for kind, found in (("write", out.list_arguments()), ("null", out.list_auxiliary_states())):
            for name in found:
                if name not in names:
                    self.params.get(name, grad_req=kind, allow_deferred_init=True)
        count = len(out.list_outputs())
        nesting = 1 if count == 1 else (list, *(1 for _ in range(count)))
        self._graph = (inputs, out, nesting)
        cut = len(_common_prefix(list(self._params.keys())))
        self._reg_params = {name[cut:]: param for name, param in self._params.items()}

    def __repr__(self):
        inputs, out, _ = self._graph
        return f"{type(self).__name__}(\n{out!r} : {len(inputs)} -> {len(out.list_outputs())}\n)"

    def _trace(self, *args):
        return self._graph

    def _traces_arrays(self):
        return False

    def _clear_cached_op(self):
        self._graphs = {}
        self._fast_graph = None
        self._eager_params = (-1, None, None)

    def __setattr__(self, name, value):
        Block.__setattr__(self, name, value)

    def forward(self, x, *args):
        """Run the graph on arrays, or put symbols in the place of its inputs."""
        if isinstance(x, NDArray):
            return self._call_cached_op(x, *args)
        if not isinstance(x, Symbol):
            raise ValueError(f"SymbolBlock takes arrays or symbols, got {type(x).__name__}")
        inputs, out, _ = self._graph
        leaves, _ = _trace.flatten((x, *args), Symbol)
        if len(leaves) != len(inputs):
            raise ValueError(f"SymbolBlock takes {len(inputs)} inputs, got {len(leaves)}")
        composed = copy.copy(out)
        composed._compose(**{var.name: value for var, value in zip(inputs, leaves)})
        return composed

    def _call_cached_op(self, *args):
        arrays, _ = _trace.flatten(args, NDArray)
        inputs = self._graph[0]
        if len(arrays) != len(inputs):
            raise ValueError(f"SymbolBlock takes {len(inputs)} inputs ({brief_list(v.name for v in inputs)}), "
                             f"got {len(arrays)}")
        graph = self._graphs.get(len(arrays))
        if graph is None:
            graph = self._build_graph(len(arrays), None, args)
        return graph(arrays)

    def reset_ctx(self, ctx):
        """Move all parameters to other devices."""
        for param in self.collect_params().values():
            param.reset_ctx(ctx)

    def hybrid_forward(self, F, x, *args, **kwargs):
        raise NotImplementedError("a SymbolBlock has no hybrid_forward: its graph is given")
