# SPDX-License-Identifier: Apache-2.0
"""Helpers for tests: comparisons with tolerances by dtype, random inputs, gradients against finite differences."""
from __future__ import annotations

import json
import os
import platform
import sys
import time
from contextlib import contextmanager
from functools import wraps

import numpy as np

from . import _test_data, _test_generators, _test_inputs
from . import ndarray as nd
from . import symbol as sym_module
from ._test_data import *  # noqa: F403
from ._test_generators import *  # noqa: F403
from ._test_inputs import *  # noqa: F403
from ._test_inputs import rand_ndarray
from .context import Context, current_context, num_gpus
from .runtime import Features
from .util import getenv, setenv, use_np

__all__ = [*_test_data.__all__, *_test_generators.__all__, *_test_inputs.__all__,
           "almost_equal", "assert_allclose", "assert_almost_equal", "assert_almost_equal_ignore_nan",
           "assert_almost_equal_with_err", "assert_exception", "check_consistency",
           "check_gluon_hybridize_consistency", "check_numeric_gradient", "check_speed", "check_symbolic_backward",
           "check_symbolic_forward", "checkShapes", "collapse_sum_like", "compare_ndarray_tuple",
           "compare_optimizer", "default_atols", "default_context", "default_numeric_eps", "default_rtols",
           "discard_stderr", "effective_dtype", "environment", "Features", "get_atol", "get_etol", "get_rtol",
           "get_tolerance", "get_tols", "getenv", "has_tvm_ops", "is_aarch64_run", "is_cd_run", "is_op_runnable",
           "list_gpus", "locationError", "np_reduce", "numeric_grad", "retry", "same", "same_array",
           "same_symbol_structure", "set_default_context", "setenv", "simple_forward", "use_np"]

_INTEGER_TYPES = ("bool", "int8", "uint8", "int32", "uint32", "int64", "uint64")


# --- defaults

def default_context():
    """The device of tests: the thread's default."""
    return current_context()


def set_default_context(ctx):
    """Make `ctx` the thread's default device."""
    Context.default_ctx = ctx


def default_rtols():
    """Relative tolerances by dtype."""
    return _by_dtype(1e-2, 1e-4, 1e-5)


def default_atols():
    """Absolute tolerances by dtype."""
    return _by_dtype(1e-1, 1e-3, 1e-20)


def _by_dtype(half, single, double):
    floats = {np.dtype(np.float16): half, np.dtype(np.float32): single, np.dtype(np.float64): double}
    return {**floats, **{np.dtype(name): 0 for name in _INTEGER_TYPES}}


def default_numeric_eps():
    """Steps of finite differences by dtype: powers of two, for least rounding."""
    return {np.dtype(np.float16): 1.0 / 2 ** 6, np.dtype(np.float32): 1.0 / 2 ** 9, np.dtype(np.float64): 1.0 / 2 ** 14}


def effective_dtype(dat):
    """The dtype whose tolerance fits `dat` (an array, a dtype or a number)."""
    if isinstance(dat, (type, str, np.dtype)):
        return np.dtype(dat)
    return np.dtype(getattr(dat, "dtype", None) or np.asarray(dat).dtype)


def get_tolerance(dat, tol, default_tol):
    """`tol` if it is given (a number, or a dict by dtype), else the default for `dat`'s dtype."""
    if isinstance(tol, (int, float, np.number)):
        return tol
    dtype = effective_dtype(dat)
    tol = {} if tol is None else tol
    return tol.get(dtype, default_tol.get(dtype, default_tol[np.dtype(np.float64)]))


def get_tols(x, y, rtol, atol):
    """(rtol, atol) for comparing two arrays: the defaults are those of the less precise one."""
    return (max(get_tolerance(x, rtol, default_rtols()), get_tolerance(y, rtol, default_rtols())),
            max(get_tolerance(x, atol, default_atols()), get_tolerance(y, atol, default_atols())))


def get_atol(atol=None, dtype=np.dtype(np.float64)):  # noqa: B008
    """`atol`, or the default for `dtype`."""
    return default_atols()[np.dtype(dtype)] if atol is None else atol


def get_rtol(rtol=None, dtype=np.dtype(np.float64)):  # noqa: B008
    """`rtol`, or the default for `dtype`."""
    return default_rtols()[np.dtype(dtype)] if rtol is None else rtol


def get_etol(etol=None):
    """`etol`, or 0: the part of the elements that may differ."""
    return 0 if etol is None else etol


# --- comparisons

def _as_numpy(a):
    return a.asnumpy() if isinstance(a, nd.NDArray) else np.asarray(a)


def same(a, b):
    """Whether two arrays have equal shapes and elements."""
    return np.array_equal(_as_numpy(a), _as_numpy(b))


def same_array(array1, array2):
    """Whether two NDArrays share memory: a change of one shows in the other. Both are the same afterwards as before."""
    array1[:] += 1
    if not same(array1, array2):
        array1[:] -= 1
        return False
    array1[:] -= 1
    return same(array1, array2)


def almost_equal(a, b, rtol=None, atol=None, equal_nan=False, use_broadcast=True):
    """Whether |a - b| <= atol + rtol · |b| everywhere; shapes must be equal unless `use_broadcast`."""
    a, b = _as_numpy(a), _as_numpy(b)
    if not use_broadcast and a.shape != b.shape:
        return False
    return np.allclose(a, b, rtol=get_rtol(rtol), atol=get_atol(atol), equal_nan=equal_nan)


def _violations(a, b, rtol, atol):
    """How many times the tolerance the difference is, for each element."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        violation = np.abs(a - b) / (atol + rtol * np.abs(b))
    violation[np.isnan(a) & np.isnan(b)] = 0
    violation[np.isinf(a) & (a == b)] = 0
    return violation


def locationError(a, b, index, names, maxError=False):
    """The text that names an element of both arrays."""
    what = "maximum error" if maxError else "error"
    place = tuple(int(i) for i in index)
    return f"Location of {what}: {place}, {names[0]}={a[index]:.8f}, {names[1]}={b[index]:.8f}"


def _report(a, b, rtol, atol, names, bad, mismatches):
    """Raise AssertionError about the elements where `bad`, the worst ones listed."""
    violation = np.where(bad, _violations(a, b, rtol, atol), -1.0)
    violation[np.isnan(violation)] = np.inf
    order = np.argsort(violation, axis=None)[::-1][:max(mismatches[0], 1)]
    lines = []
    for number, flat in enumerate(order[:int(bad.sum())], 1):
        index = np.unravel_index(flat, a.shape)
        lines.append(f"  {number}: Error {violation[index]:f}  {locationError(a, b, index, names)}")
    worst = np.unravel_index(order[0], a.shape)
    parts = ["", "Items are not equal:",
             f"Error {violation[worst]:f} exceeds tolerance rtol={rtol:e}, atol={atol:e} "
             f"(mismatch {100.0 * bad.mean():f}%).", locationError(a, b, worst, names, maxError=True),
             f" ACTUAL: {a!r}", f" DESIRED: {b!r}", *lines]
    raise AssertionError("\n".join(parts))


def _comparable(a, b, names, use_broadcast):
    """Both as NumPy arrays of one shape; AssertionError if that cannot be."""
    a, b = _as_numpy(a), _as_numpy(b)
    if a.shape != b.shape:
        try:
            if not use_broadcast:
                raise ValueError
            a, b = np.broadcast_arrays(a, b)
        except ValueError:
            raise AssertionError(f"\nItems are not equal: {names[0]}.shape = {a.shape} and {names[1]}.shape = "
                                 f"{b.shape} are not equal\n ACTUAL: {a!r}\n DESIRED: {b!r}") from None
    return a, b


def assert_almost_equal(a, b, rtol=None, atol=None, names=("a", "b"), equal_nan=False, use_broadcast=True,
                        mismatches=(10, 10)):
    """AssertionError unless |a - b| <= atol + rtol · |b| everywhere.

    Parameters
    ----------
    a, b : array
    rtol, atol : float, optional
        By default those of the less precise dtype.
    names : tuple of str
        What the message calls the arrays.
    equal_nan : bool
        Whether nan equals nan.
    use_broadcast : bool
        Whether shapes may differ where they broadcast.
    mismatches : tuple of int
        How many of the worst elements the message lists.
    """
    rtol, atol = get_tols(a, b, rtol, atol)
    a, b = _comparable(a, b, names, use_broadcast)
    bad = ~np.isclose(a, b, rtol=rtol, atol=atol, equal_nan=equal_nan)
    if bad.any():
        _report(a, b, rtol, atol, names, bad, mismatches)


def assert_almost_equal_with_err(a, b, rtol=None, atol=None, etol=None, names=("a", "b"), equal_nan=False,
                                 mismatches=(10, 10)):
    """`assert_almost_equal`, but a part `etol` of the elements may differ."""
    etol = get_etol(etol)
    rtol, atol = get_tols(a, b, rtol, atol)
    a, b = _comparable(a, b, names, False)
    bad = ~np.isclose(a, b, rtol=rtol, atol=atol, equal_nan=equal_nan)
    if bad.any() and bad.mean() > etol:
        _report(a, b, rtol, atol, names, bad, mismatches)


def assert_almost_equal_ignore_nan(a, b, rtol=None, atol=None, names=("a", "b")):
    """`assert_almost_equal` where neither array is nan."""
    a, b = np.copy(_as_numpy(a)), np.copy(_as_numpy(b))
    either = np.isnan(a) | np.isnan(b)
    a[either] = 0
    b[either] = 0
    assert_almost_equal(a, b, rtol, atol, names)


def assert_allclose(a, b, rtol=1e-07, atol=0, equal_nan=True):
    """`assert_almost_equal` with the defaults of NumPy's function of this name."""
    assert_almost_equal(a, b, rtol=rtol, atol=atol, equal_nan=equal_nan)


def assert_exception(f, exception_type, *args, **kwargs):
    """AssertionError unless `f(*args, **kwargs)` raises an `exception_type`."""
    try:
        f(*args, **kwargs)
    except exception_type:
        return
    raise AssertionError(f"{exception_type.__name__} was not raised")


def checkShapes(a, b):
    """AssertionError unless two arrays have equal shapes."""
    if a.shape != b.shape:
        raise AssertionError(f"Items are not equal: a.shape = {a.shape} and b.shape = {b.shape} are not equal\n "
                             f"ACTUAL: {a!r}\n DESIRED: {b!r}")


def compare_ndarray_tuple(t1, t2, rtol=None, atol=None):
    """`assert_almost_equal` for nested tuples of arrays; None matches anything."""
    if t1 is None or t2 is None:
        return
    if isinstance(t1, tuple):
        for first, second in zip(t1, t2):
            compare_ndarray_tuple(first, second, rtol, atol)
    else:
        assert_almost_equal(t1, t2, rtol=rtol, atol=atol)


def same_symbol_structure(sym1, sym2):
    """Whether two symbols are the same operators connected alike, whatever the names."""
    outputs1, outputs2 = sym1.get_internals(), sym2.get_internals()
    if len(outputs1) != len(outputs2):
        return False

    def shape_of(symbol):
        return [(node["op"], node["inputs"]) for node in json.loads(symbol.tojson())["nodes"]]

    return shape_of(sym1) == shape_of(sym2)


# --- reductions

def np_reduce(dat, axis, keepdims, numpy_reduce_func):
    """A NumPy reduction over one or several axes (None: all), with or without keeping them."""
    axes = range(dat.ndim) if axis is None else [axis] if isinstance(axis, int) else axis
    axes = sorted(a % dat.ndim for a in axes)
    result = dat
    for a in reversed(axes):
        result = numpy_reduce_func(result, axis=a)
    if keepdims:
        result = np.reshape(result, tuple(1 if a in axes else size for a, size in enumerate(dat.shape)))
    return result


def collapse_sum_like(a, shape):
    """`a` summed over axes so that it has `shape`, which broadcasts to it."""
    a = np.asarray(a)
    extra = a.ndim - len(shape)
    axes = (*range(extra), *(extra + i for i, size in enumerate(shape) if size == 1))
    return np.sum(a, axis=axes).reshape(shape)


# --- symbols

def _named(values, names, what, dtype, ctx):
    """{name: NDArray} from a list in the order of `names`, or a dict."""
    if isinstance(values, dict):
        if set(values) != set(names):
            raise ValueError(f"Symbol {what} and keys of the given location do not match.symbol {what}:{set(names)}, "
                             f"location.keys():{set(values)}")
    else:
        values = dict(zip(names, values))
    return {name: nd.array(value, ctx=ctx, dtype=value.dtype if isinstance(value, nd.NDArray) else dtype)
            for name, value in values.items()}


def _location(symbol, location, ctx, dtype):
    return _named(location, symbol.list_arguments(), "arguments", dtype, ctx)


def _aux(symbol, aux_states, ctx, dtype):
    if aux_states is None:
        return {}
    return _named(aux_states, symbol.list_auxiliary_states(), "auxiliary states", dtype, ctx)


def simple_forward(sym, ctx=None, is_train=False, **inputs):
    """The outputs of a symbol for named inputs, as NumPy arrays: a list, or one array for one output."""
    ctx = ctx or default_context()
    arrays = {name: nd.array(value, ctx=ctx) for name, value in inputs.items()}
    exe = sym.bind(ctx, args=arrays)
    exe.forward(is_train=is_train)
    outputs = [out.asnumpy() for out in exe.outputs]
    return outputs[0] if len(outputs) == 1 else outputs


def numeric_grad(executor, location, aux_states=None, eps=1e-4, use_forward_train=True, dtype=np.float32):
    """{name: gradient} of the executor's first output, summed, by finite differences of its inputs.

    `location` and `aux_states` are dicts of NumPy arrays.
    """

    def value():
        for name, array in (aux_states or {}).items():
            executor.aux_dict[name][:] = array
        executor.forward(is_train=use_forward_train)
        return executor.outputs[0].asnumpy().astype(np.float64).sum()

    for name, array in location.items():
        executor.arg_dict[name][:] = array
    gradients = {}
    for name, array in location.items():
        if np.dtype(executor.arg_dict[name].dtype).kind != "f":
            continue
        values = np.array(array, dtype=np.float64)
        gradient = np.zeros(values.shape, dtype=dtype)
        flat, out = values.reshape(-1), gradient.reshape(-1)
        for i in range(flat.size):
            original = flat[i]
            sides = []
            for step in (eps / 2.0, -eps / 2.0):
                flat[i] = original + step
                executor.arg_dict[name][:] = values.astype(array.dtype)
                sides.append(value())
            flat[i] = original
            out[i] = (sides[0] - sides[1]) / eps
        executor.arg_dict[name][:] = array
        gradients[name] = gradient
    return gradients


def check_numeric_gradient(sym, location, aux_states=None, numeric_eps=None, rtol=None, atol=None, grad_nodes=None,
                           use_forward_train=True, ctx=None, grad_stype_dict=None, dtype=np.float32):
    """AssertionError unless backward agrees with finite differences.

    The output is multiplied by random numbers and summed, so that one backward checks the whole gradient.

    Parameters
    ----------
    sym : Symbol
        With one output.
    location : list or dict of array
        Values of the arguments.
    aux_states : list or dict of array, optional
    numeric_eps : float, optional
        Step of the differences; by dtype by default.
    rtol, atol : float, optional
    grad_nodes : list of str or dict of str to str, optional
        The arguments to check, a dict with their `grad_req`; all by default.
    use_forward_train : bool
        Whether forward runs in training mode.
    ctx : Context, optional
    grad_stype_dict : dict, optional
        Accepted for old programs.
    dtype : numpy.dtype
    """
    ctx = ctx or default_context()
    eps = get_tolerance(dtype, numeric_eps, default_numeric_eps())
    arrays = _location(sym, location, ctx, dtype)
    states = _aux(sym, aux_states, ctx, dtype)
    values = {name: array.asnumpy() for name, array in arrays.items()}
    state_values = {name: array.asnumpy() for name, array in states.items()}
    if grad_nodes is None:
        grad_nodes = [name for name in sym.list_arguments() if np.dtype(arrays[name].dtype).kind == "f"]
    reqs = dict(grad_nodes) if isinstance(grad_nodes, dict) else dict.fromkeys(grad_nodes, "write")

    _, out_shapes, _ = sym.infer_shape(**{name: array.shape for name, array in arrays.items()})
    projection = np.random.rand(*out_shapes[0]).astype(dtype) + 0.1
    projected = sym_module.sum(sym_module.broadcast_mul(sym, sym_module.var("__random_proj")))
    arguments = {**arrays, "__random_proj": nd.array(projection, ctx=ctx, dtype=dtype)}
    initial = {name: np.random.normal(0, 0.01, size=arrays[name].shape).astype(dtype) for name in reqs}
    gradients = {name: nd.array(value, ctx=ctx, dtype=dtype) for name, value in initial.items()}
    exe = projected.bind(ctx, args=arguments, args_grad=gradients, aux_states=states,
                         grad_req={name: reqs.get(name, "null") for name in projected.list_arguments()})
    exe.forward(is_train=True)
    exe.backward([nd.ones(exe.outputs[0].shape, ctx=ctx, dtype=exe.outputs[0].dtype)])
    backward = {name: array.asnumpy() for name, array in exe.grad_dict.items() if name in reqs}

    numeric = numeric_grad(exe, {name: values[name] for name in values}, state_values, eps, use_forward_train, dtype)
    for name, req in reqs.items():
        if req not in ("write", "add", "null"):
            raise ValueError(f"Invalid grad_req {req} for argument {name}")
        expected = {"write": 0, "add": 1, "null": 1}[req] * initial[name]
        if req != "null":
            expected = expected + numeric[name]
        assert_almost_equal(expected, backward.get(name, initial[name]), rtol, atol,
                            (f"NUMERICAL_{name}", f"BACKWARD_{name}"))


def check_symbolic_forward(sym, location, expected, rtol=None, atol=None, aux_states=None, ctx=None, equal_nan=False,
                           dtype=np.float32):
    """AssertionError unless a symbol's outputs at `location` are `expected` (a list or dict); returns the outputs."""
    ctx = ctx or default_context()
    expected = [expected[name] for name in sym.list_outputs()] if isinstance(expected, dict) else expected
    exe = sym.bind(ctx, args=_location(sym, location, ctx, dtype), aux_states=_aux(sym, aux_states, ctx, dtype))
    exe.forward(is_train=False)
    for name, want, got in zip(sym.list_outputs(), expected, exe.outputs):
        assert_almost_equal(want, got.asnumpy(), rtol, atol, (f"EXPECTED_{name}", f"FORWARD_{name}"), equal_nan)
    return exe.outputs


def check_symbolic_backward(sym, location, out_grads, expected, rtol=None, atol=None, aux_states=None, grad_req="write",
                            ctx=None, grad_stypes=None, equal_nan=False, dtype=np.float32):
    """AssertionError unless the gradients of a symbol's arguments are `expected`; returns them by name.

    Parameters
    ----------
    sym : Symbol
    location : list or dict of array
        Values of the arguments.
    out_grads : list or dict of array, or None
        Gradients of the outputs.
    expected : list or dict of array
        What is added to the buffers, for `grad_req` 'add'.
    grad_req : str, list of str or dict of str to str
    """
    ctx = ctx or default_context()
    arguments = sym.list_arguments()
    arrays = _location(sym, location, ctx, dtype)
    expected = dict(zip(arguments, expected)) if isinstance(expected, (list, tuple)) else expected
    if isinstance(grad_req, str):
        grad_req = dict.fromkeys(arguments, grad_req)
    elif isinstance(grad_req, (list, tuple)):
        grad_req = dict(zip(arguments, grad_req))
    initial = {name: np.random.normal(size=arrays[name].shape).astype(arrays[name].dtype) for name in expected}
    gradients = {name: nd.array(value, ctx=ctx, dtype=value.dtype) for name, value in initial.items()}
    exe = sym.bind(ctx, args=arrays, args_grad=gradients, aux_states=_aux(sym, aux_states, ctx, dtype),
                   grad_req={name: grad_req.get(name, "null") if name in expected else "null" for name in arguments})
    exe.forward(is_train=True)
    if isinstance(out_grads, dict):
        out_grads = [out_grads[name] for name in sym.list_outputs()]
    if out_grads is not None:
        out_grads = [nd.array(g, ctx=ctx, dtype=g.dtype) for g in out_grads]
    exe.backward(out_grads)
    for name, want in expected.items():
        req = grad_req.get(name, "null")
        got = exe.grad_dict[name].asnumpy() if req != "null" else initial[name]
        want = _as_numpy(want)
        want = initial[name] if req == "null" else initial[name] + want if req == "add" else want
        assert_almost_equal(want, got, rtol, atol, (f"EXPECTED_{name}", f"BACKWARD_{name}"), equal_nan)
    return exe.grad_dict


def check_speed(sym, location=None, ctx=None, N=20, grad_req=None, typ="whole", **kwargs):
    """Seconds of one run of a symbol, forward and backward ('whole') or 'forward' alone, the mean of `N`."""
    ctx = ctx or default_context()
    if location is None:
        exe = sym.simple_bind(ctx, grad_req=grad_req or "write", **kwargs)
        location = {name: np.random.normal(size=array.shape) for name, array in exe.arg_dict.items()}
    else:
        exe = sym.simple_bind(ctx, grad_req=grad_req or "write",
                              **{name: np.shape(value) for name, value in location.items()})
    for name, value in location.items():
        exe.arg_dict[name][:] = _as_numpy(value).astype(exe.arg_dict[name].dtype)
    if typ not in ("whole", "forward"):
        raise ValueError('typ can only be "whole" or "forward".')

    def run():
        exe.forward(is_train=typ == "whole")
        if typ == "whole":
            exe.backward([nd.ones(out.shape, ctx=ctx, dtype=out.dtype) for out in exe.outputs])

    run()
    nd.waitall()
    begin = time.perf_counter()
    for _ in range(N):
        run()
    nd.waitall()
    return (time.perf_counter() - begin) / N


def check_consistency(sym, ctx_list, scale=1.0, grad_req="write", arg_params=None, aux_params=None, rtol=None,
                      atol=None, raise_on_err=True, ground_truth=None, equal_nan=False, use_uniform=False,
                      rand_type=np.float64):
    """AssertionError unless a symbol gives the same outputs and gradients on several devices and in several dtypes.

    Parameters
    ----------
    sym : Symbol or list of Symbol
        One for all configurations, or one for each.
    ctx_list : list of dict
        Configurations: `ctx`, `type_dict`, and the shapes of the inputs by name.
    scale : float
        Standard deviation of the inputs.
    grad_req : str or dict
        'null' checks outputs only.
    arg_params, aux_params : dict of str to array, optional
        Values to use instead of random ones.
    rtol, atol : float, optional
    raise_on_err : bool
        Whether to raise; otherwise messages are printed.
    ground_truth : dict of str to array, optional
        What to compare with; by default the results of the most precise configuration.
    equal_nan, use_uniform : bool
    rand_type : numpy.dtype
        Of the random numbers.

    Returns the ground truth.
    """
    symbols = sym if isinstance(sym, (list, tuple)) else [sym] * len(ctx_list)
    executors = [s.simple_bind(grad_req=grad_req, **config) for s, config in zip(symbols, ctx_list)]
    names = symbols[0].list_outputs()
    arg_params, aux_params = dict(arg_params or {}), dict(aux_params or {})
    first = executors[0]
    for name, array in first.arg_dict.items():
        if name not in arg_params:
            draw = np.random.uniform(-0.92 * scale, 0.92 * scale, array.shape) if use_uniform else \
                np.random.normal(size=array.shape, scale=scale)
            arg_params[name] = draw.astype(rand_type)
    for name in first.aux_dict:
        aux_params.setdefault(name, 0)
    for exe in executors:
        for target, values in ((exe.arg_dict, arg_params), (exe.aux_dict, aux_params)):
            for name, array in target.items():
                array[:] = np.asarray(_as_numpy(values[name])).astype(array.dtype)

    def precision(exe):
        return np.finfo(np.dtype(exe.outputs[0].dtype)).eps if np.dtype(exe.outputs[0].dtype).kind == "f" else 0

    backward = grad_req != "null"
    for exe in executors:
        exe.forward(is_train=backward)
    reference = min(executors, key=precision)
    head_gradients = [np.random.normal(size=out.shape, scale=scale) for out in reference.outputs]
    results = []
    for exe in executors:
        if backward:
            exe.backward([nd.array(g, ctx=out.context, dtype=out.dtype) for g, out in zip(head_gradients, exe.outputs)])
        arrays = dict(zip(names, exe.outputs))
        if backward:
            arrays.update({name: array for name, array in exe.grad_dict.items() if array is not None})
        results.append(arrays)
    truth = ground_truth or {name: array.copy() for name, array in results[executors.index(reference)].items()}
    for exe, arrays, config in zip(executors, results, ctx_list):
        if exe is reference and ground_truth is None:
            continue
        for name, array in arrays.items():
            try:
                assert_almost_equal(array, _as_numpy(truth[name]).astype(array.dtype), rtol, atol,
                                    (f"{config['ctx']}_{name}", f"truth_{name}"), equal_nan)
            except AssertionError as error:
                if raise_on_err:
                    raise
                print(f"{config}: {error}")
    return truth


def check_gluon_hybridize_consistency(net_builder, data_l, numpy_func=None, test_grad=True, rtol=1e-4, atol=1e-4):
    """AssertionError unless a network gives the same outputs and gradients hybridized and not.

    `net_builder()` makes the network, `data_l` are its inputs; `numpy_func` of the same inputs as NumPy arrays gives
    the expected outputs.
    """
    from . import autograd
    saved = None
    results = []
    for hybridize in (False, True):
        net = net_builder()
        net.initialize()
        if hybridize:
            net.hybridize()
        inputs = [array.copy() for array in data_l]
        net(*inputs)
        params = list(net.collect_params().values())
        if saved is None:
            saved = [param.data().asnumpy() for param in params]
        for param, value in zip(params, saved):
            param.set_data(nd.array(value, dtype=value.dtype))
        for array in inputs if test_grad else ():
            array.attach_grad()
        with autograd.record(train_mode=True):
            out = net(*inputs)
        gradients = []
        if test_grad:
            out.backward(nd.ones(out.shape, dtype=out.dtype))
            gradients = [array.grad.asnumpy() for array in inputs]
            gradients += [param.grad().asnumpy() for param in params if param.grad_req != "null"]
        results.append((out.asnumpy(), gradients))
    (eager, eager_gradients), (hybrid, hybrid_gradients) = results
    assert_almost_equal(eager, hybrid, rtol=rtol, atol=atol)
    for first, second in zip(eager_gradients, hybrid_gradients):
        assert_almost_equal(first, second, rtol=rtol, atol=atol)
    if numpy_func is not None:
        assert_almost_equal(hybrid, numpy_func(*[array.asnumpy() for array in data_l]), rtol=rtol, atol=atol)


def compare_optimizer(opt1, opt2, shape, dtype, w_stype="default", g_stype="default", rtol=1e-4, atol=1e-5,
                      compare_states=True, ntensors=1):
    """AssertionError unless one update by two optimizers gives the same weights and states."""
    shapes = shape if isinstance(shape, list) else [shape] * ntensors
    weights = [rand_ndarray(s, w_stype, dtype=dtype) for s in shapes]
    grads = [rand_ndarray(s, g_stype, dtype=dtype) for s in shapes]
    outcomes = []
    for optimizer in (opt1, opt2):
        own_weights = [w.copy() for w in weights]
        states = [optimizer.create_state_multi_precision(i, w) for i, w in enumerate(own_weights)]
        if optimizer.aggregate_num > 0 and len(shapes) > 1:
            optimizer.update_multi_precision(list(range(len(shapes))), own_weights, [g.copy() for g in grads], states)
        else:
            for i, (w, g, state) in enumerate(zip(own_weights, grads, states)):
                optimizer.update_multi_precision(i, w, g.copy(), state)
        outcomes.append((tuple(own_weights), tuple(states)))
    if compare_states:
        compare_ndarray_tuple(outcomes[0][1], outcomes[1][1], rtol=rtol, atol=atol)
    compare_ndarray_tuple(outcomes[0][0], outcomes[1][0], rtol=rtol, atol=atol)


# --- surroundings

def list_gpus():
    """The numbers of the GPUs."""
    return range(num_gpus())


def retry(n):
    """A decorator for tests of random things: up to `n` attempts before AssertionError counts."""
    if n <= 0:
        raise AssertionError(f"retry: n must be positive, got {n}")

    def decorate(test):
        @wraps(test)
        def attempt(*args, **kwargs):
            for _ in range(n - 1):
                try:
                    return test(*args, **kwargs)
                except AssertionError:
                    nd.waitall()
            return test(*args, **kwargs)

        return attempt

    return decorate


@contextmanager
def environment(*args):
    """A `with` scope with environment variables: `environment('NAME', 'value')` or `environment({'NAME': 'value',
    ...})`.

    None removes a variable for that time.
    """
    if len(args) not in (1, 2):
        raise ValueError(f"environment takes a dict, or a name and a value, got {len(args)} arguments")
    wanted = args[0] if len(args) == 1 else {args[0]: args[1]}
    before = {name: os.environ.get(name) for name in wanted}
    nd.waitall()
    for name, value in wanted.items():
        setenv(name, value)
    try:
        yield
    finally:
        nd.waitall()
        for name, value in before.items():
            setenv(name, value)


@contextmanager
def discard_stderr():
    """A `with` scope in which nothing comes out at the error output, whoever writes to it."""
    sys.stderr.flush()
    saved = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(saved, 2)
        os.close(saved)


def is_cd_run():
    """Whether this is a job that delivers packages: the environment variable CD_JOB is 1."""
    return os.environ.get("CD_JOB") == "1"


def is_aarch64_run():
    """Whether this machine has a 64-bit ARM processor."""
    return platform.machine() in ("aarch64", "arm64")


def has_tvm_ops():
    """Whether operators made by TVM are built in: never."""
    return False


def is_op_runnable():
    """Whether operators made by TVM run on the default device, or there are none: always."""
    return True
