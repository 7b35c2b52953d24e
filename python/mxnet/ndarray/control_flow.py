# SPDX-License-Identifier: Apache-2.0
"""Loops and branches on arrays: `mx.nd.contrib.foreach`, `while_loop` and `cond`. They run the Python functions."""

from .._core import nested
from .._core.ops import nd_function
from .ndarray import NDArray

__all__ = ["cond", "foreach", "while_loop"]


def _flatten(value, where):
    return nested.flatten(value, NDArray, f"{where} must be an NDArray or a (nested) list of NDArrays")


def _steps(data):
    """The arrays along axis 0. While recording they are cut in one operation, whose gradient is one array."""
    from .. import autograd
    length = data.shape[0]
    if not autograd.is_recording() or length == 0:
        return [data[i] for i in range(length)]
    parts = nd_function("SliceChannel")(data, num_outputs=length, axis=0, squeeze_axis=data.ndim > 1)
    return parts if isinstance(parts, list) else [parts]


def _stack(rows):
    return nd_function("stack")(*rows, axis=0)


def foreach(body, data, init_states):
    """Runs `body(data, states)` for each step along axis 0 of the data.

    Parameters
    ----------
    body : callable
        Takes one step of `data` and the states, both nested as they are given; returns (outputs, new states).
    data : NDArray or (nested) list of NDArray
        All have the same length along axis 0.
    init_states : NDArray or (nested) list of NDArray

    Returns
    -------
    (outputs, states)
        The outputs of all steps stacked along a new axis 0, and the last states, nested as `body` returns them.
    """
    arrays, data_format = _flatten(data, "foreach: data")
    _, state_format = _flatten(init_states, "foreach: init_states")
    if not arrays:
        raise ValueError("foreach: data holds no array")
    lengths = {array.shape[0] for array in arrays}
    if len(lengths) > 1:
        raise ValueError(f"foreach: data have lengths {sorted(lengths)} along axis 0, expected the same")
    if lengths == {0}:
        raise ValueError("foreach: data have no step along axis 0, so the outputs are unknown")
    states, rows, out_format = init_states, [], None
    for step in zip(*map(_steps, arrays)):
        outputs, states = body(nested.regroup(step, data_format), states)
        leaves, out_format = _flatten(outputs, "foreach: the outputs of the body")
        new_format = _flatten(states, "foreach: the states of the body")[1]
        if not nested.same_format(new_format, state_format):
            raise ValueError("foreach: the body must return states nested like init_states")
        rows.append(leaves)
    return nested.regroup([_stack(column) for column in zip(*rows)], out_format), states


def while_loop(cond, func, loop_vars, max_iterations=None):
    """Runs `func(*loop_vars)` as long as `cond(*loop_vars)` is true, at most `max_iterations` times.

    Parameters
    ----------
    cond : callable
        Returns an array of one element (or a number).
    func : callable
        Returns (outputs of the step, new loop variables); the outputs may be None or an empty list.
    loop_vars : NDArray or (nested) list of NDArray
    max_iterations : int
        Required.

    Returns
    -------
    (outputs, loop_vars)
        The outputs of all steps stacked along a new axis 0 of length `max_iterations`, in which rows of steps that
        were not run are 0, and the last loop variables. Without a step the outputs are an empty list.
    """
    if max_iterations is None:
        raise ValueError("while_loop: max_iterations should be specified")
    max_iterations = int(max_iterations)
    variables, var_format = _flatten(loop_vars, "while_loop: loop_vars")
    if not variables:
        raise ValueError("while_loop: loop_vars should contain at least one element")
    rows, out_format = [], (list,)
    values = loop_vars
    while len(rows) < max_iterations and _truth(cond(*_arguments(values)), "while_loop: cond"):
        outputs, values = func(*_arguments(values))
        leaves, out_format = _flatten([] if outputs is None else outputs, "while_loop: the outputs of func")
        new_variables, new_format = _flatten(values, "while_loop: the loop variables of func")
        if len(new_variables) != len(variables):
            raise ValueError(f"while_loop: func must return {len(variables)} loop variables, got {len(new_variables)}")
        values = nested.regroup(new_variables, var_format)
        rows.append(leaves)
    stacked = [_pad(_stack(column), max_iterations) for column in zip(*rows)]
    return nested.regroup(stacked, out_format if rows else (list,)), values


def _arguments(variables):
    return list(variables) if isinstance(variables, (list, tuple)) else [variables]


def _truth(value, where):
    if not isinstance(value, NDArray):
        return bool(value)
    if value.size != 1:
        raise ValueError(f"{where} must give one element, got an array of shape {value.shape}")
    return bool(value.asscalar())


def _pad(rows, length):
    missing = length - rows.shape[0]
    if missing == 0:
        return rows
    zeros = nd_function("_zeros")(shape=(missing, *rows.shape[1:]), dtype=rows.dtype, ctx=rows.context)
    return nd_function("Concat")(rows, zeros, dim=0)


def cond(pred, then_func, else_func):
    """The result of `then_func()` if `pred`, an array of one element (or a number), is true, else of `else_func()`."""
    return then_func() if _truth(pred, "cond: pred") else else_func()
