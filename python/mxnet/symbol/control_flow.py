# SPDX-License-Identifier: Apache-2.0
"""Loops and branches of graphs: `mx.sym.contrib.foreach`, `while_loop` and `cond`. The Python functions are called
once, on symbols; what they make becomes a graph inside the node of the loop."""
from __future__ import annotations

import threading

from .._core import _ext, nested
from ..attribute import AttrScope
from ..name import NameManager
from .symbol import Group, Symbol, var

__all__ = ["cond", "foreach", "while_loop"]


class _Scopes(threading.local):
    def __init__(self):
        self.counts = {}


_scopes = _Scopes()


def _scope_name(name):
    """A name for the graph that is made next; nested ones are named "outer$inner"."""
    outer = AttrScope.current.get(None).get("__subgraph_name__")
    prefix = name if outer is None else f"{outer}${name}"
    count = _scopes.counts.get(prefix, 0)
    _scopes.counts[prefix] = count + 1
    return f"{prefix}{count}"


def _flatten(value, where):
    """The single outputs of nested symbols, and their nesting."""
    leaves, nesting = nested.flatten(value, Symbol, f"{where} must be a Symbol or a (nested) list of Symbols")
    if all(len(leaf) == 1 for leaf in leaves):
        return leaves, nesting
    if nesting == 1:
        return list(leaves[0]), (list, *(1 for _ in leaves[0]))
    raise ValueError(f"{where} must hold symbols of one output each; choose outputs by index")


class _Body:
    """A graph made by a Python function on placeholder variables."""

    def __init__(self, name, like, make):
        """`like` are the symbols that the placeholders stand for; `make(placeholders)` returns the outputs."""
        self.scope = _scope_name(name)
        self._counts = {}
        with AttrScope(__subgraph_name__=self.scope):
            self.own = [var(self._fresh(symbol.name)) for symbol in like]
            self._outputs = make(self.own)

    def _fresh(self, name):
        count = self._counts.get(name, 0)
        self._counts[name] = count + 1
        return f"{name}-{count}"

    def finish(self, outputs):
        """Cuts the graph of these outputs out of what is around it.

        Sets `graph`, `own_at` (where the graph has each placeholder; None if it does not read it) and `outer`
        (position, symbol) of its other inputs.
        """
        heads, seen = [], set()
        with AttrScope(__subgraph_name__=self.scope):
            for output in outputs:
                inside = output.attr("__subgraph_name__") == self.scope and not self._is_own(output)
                if not inside or output.name in seen:
                    from . import op
                    output = op.identity(output)
                seen.add(output.name)
                heads.append(output)
        self.graph, inputs = Group(heads)._handle.cut_subgraph(self.scope, [own._handle for own in self.own])
        self.own_at = [None] * len(self.own)
        self.outer = []
        for position, source in enumerate(inputs):
            if isinstance(source, int):
                self.own_at[source] = position
            else:
                self.outer.append((position, Symbol(source)))
        return self

    def _is_own(self, output):
        return any(output.name == own.name for own in self.own)


def _make(operator, inputs, graphs, **attrs):
    """The node; one symbol for each output."""
    texts = {**AttrScope.current.get(None)}
    texts.update((key, str(value)) for key, value in attrs.items())
    name = NameManager.current.get(None, operator)
    node = Symbol(_ext.SymbolHandle.create_with_graphs(operator, texts, name, [symbol._handle for symbol in inputs],
                                                       graphs))
    return [node[i] for i in range(len(node))]


def foreach(body, data, init_states, name="foreach"):
    """Runs `body(data, states)` for each step along axis 0 of the data.

    Parameters
    ----------
    body : callable
        Takes one step of `data` and the states, both nested as they are given; returns (outputs, new states).
        It is called once, on symbols, and must read all of them. Other symbols that it uses are inputs of the loop.
    data : Symbol or (nested) list of Symbol
        All have the same length along axis 0.
    init_states : Symbol or (nested) list of Symbol
    name : str
        Names the graph of the body.

    Returns
    -------
    (outputs, states)
        The outputs of all steps stacked along a new axis 0, and the last states, nested as `body` returns them.
    """
    data, data_format = _flatten(data, "foreach: data")
    states, state_format = _flatten(init_states, "foreach: init_states")
    if not data:
        raise ValueError("foreach: data holds no symbol")
    results = {}

    def make(own):
        outputs, new_states = body(nested.regroup(own[:len(data)], data_format),
                                   nested.regroup(own[len(data):], state_format))
        results["out"], results["format"] = _flatten(outputs, "foreach: the outputs of the body")
        results["states"], new_format = _flatten(new_states, "foreach: the states of the body")
        if not nested.same_format(new_format, state_format):
            raise AssertionError("The input and output loop_vars have different format")

    graph = _Body(name, [*data, *states], make)
    graph.finish(results["out"] + results["states"])
    data_at, states_at = graph.own_at[:len(data)], graph.own_at[len(data):]
    if None in data_at:
        raise AssertionError("the data arrays have to be used in the loop body")
    if None in states_at:
        raise AssertionError("the state arrays have to be used in the loop body")
    inputs = [*data, *states, *(symbol for _, symbol in graph.outer)]
    out = _make("_foreach", inputs, [graph.graph], num_args=len(inputs) + 1,
                num_outputs=len(results["out"]) + len(states), num_out_data=len(results["out"]),
                in_data_locs=data_at, in_state_locs=states_at, remain_locs=[position for position, _ in graph.outer])
    count = len(results["out"])
    return nested.regroup(out[:count], results["format"]), nested.regroup(out[count:], state_format)


def while_loop(cond, func, loop_vars, max_iterations=None, name="while_loop"):
    """Runs `func(*loop_vars)` as long as `cond(*loop_vars)` is true, at most `max_iterations` times.

    Parameters
    ----------
    cond : callable
        Returns a symbol of one element.
    func : callable
        Returns (outputs of the step, new loop variables); the outputs may be None or an empty list. It must read all
        loop variables.
    loop_vars : Symbol or (nested) list of Symbol
    max_iterations : int
        Required.
    name : str
        Names the graphs.

    Returns
    -------
    (outputs, loop_vars)
        The outputs of all steps stacked along a new axis 0 of length `max_iterations`, in which rows of steps that
        were not run are 0, and the last loop variables.
    """
    if max_iterations is None:
        raise ValueError("max_iterations should be specified")
    variables, var_format = _flatten(loop_vars, "while_loop: loop_vars")
    if not variables:
        raise ValueError("loop_vars should contain at least one element")
    results = {}

    def arguments(own):
        grouped = nested.regroup(own, var_format)
        return list(grouped) if isinstance(grouped, (list, tuple)) else [grouped]

    def make_condition(own):
        results["cond"] = _flatten(cond(*arguments(own)), "while_loop: the condition")[0]
        if len(results["cond"]) != 1:
            raise ValueError(f"while_loop: the condition must be one symbol, got {len(results['cond'])}")

    def make_step(own):
        outputs, new_variables = func(*arguments(own))
        results["out"], results["format"] = _flatten([] if outputs is None else outputs,
                                                     "while_loop: the outputs of func")
        results["vars"], _ = _flatten(new_variables, "while_loop: the loop variables of func")
        if len(results["vars"]) != len(variables):
            raise ValueError(f"while_loop: func must return {len(variables)} loop variables, got "
                             f"{len(results['vars'])}")

    condition = _Body(f"{name}_cond", variables, make_condition).finish(results["cond"])
    step = _Body(f"{name}_func", variables, make_step)
    step.finish(results["out"] + results["vars"])
    for i, position in enumerate(step.own_at):
        if position is None:
            raise ValueError(f"The {i + 1}-th loop_var doesn't involve into the computation")
    # The node's inputs: those of the condition in its order, then what only the step reads; a variable once.
    inputs, input_of_var = [], {}

    def place(graph):
        outer = dict(graph.outer)
        own = {position: i for i, position in enumerate(graph.own_at) if position is not None}
        locations = []
        for position in range(len(outer) + len(own)):
            if position in own and own[position] in input_of_var:
                locations.append(input_of_var[own[position]])
                continue
            if position in own:
                input_of_var[own[position]] = len(inputs)
            locations.append(len(inputs))
            inputs.append(variables[own[position]] if position in own else outer[position])
        return locations

    cond_locs = place(condition)
    func_locs = place(step)
    count = len(results["out"])
    out = _make("_while_loop", inputs, [condition.graph, step.graph], num_args=len(inputs) + 2,
                num_outputs=count + len(variables), num_out_data=count, max_iterations=int(max_iterations),
                cond_input_locs=cond_locs, func_input_locs=func_locs, func_var_locs=step.own_at)
    return nested.regroup(out[:count], results["format"]), nested.regroup(out[count:], var_format)


def cond(pred, then_func, else_func, name="cond"):
    """The outputs of `then_func()` if `pred`, a symbol of one element, is true, else of `else_func()`.

    Both are called once; they must give the same number of outputs, of the same shapes and dtypes.
    """
    results = {}

    def make(key, function):
        def call(own):
            results[key], results[key + " format"] = _flatten(function(), f"cond: the outputs of {key}")
        return call

    bodies = []
    for key, suffix, function in (("pred", "pred", lambda: pred), ("then_func", "then", then_func),
                                  ("else_func", "else", else_func)):
        body = _Body(f"{name}_{suffix}", [], make(key, function))
        bodies.append(body.finish(results[key]))
    if len(results["pred"]) != 1:
        raise ValueError(f"cond: pred must be one symbol, got {len(results['pred'])}")
    if not nested.same_format(results["then_func format"], results["else_func format"]):
        raise ValueError("cond: then_func and else_func must return outputs of the same nesting")
    inputs, locations = [], []
    for body in bodies:
        positions = []
        for _, symbol in body.outer:
            known = next((i for i, given in enumerate(inputs) if _same(given, symbol)), None)
            if known is None:
                known = len(inputs)
                inputs.append(symbol)
            positions.append(known)
        locations.append(positions)
    out = _make("_cond", inputs, [body.graph for body in bodies], num_args=len(inputs) + 3,
                num_outputs=len(results["then_func"]), cond_input_locs=locations[0], then_input_locs=locations[1],
                else_input_locs=locations[2])
    return nested.regroup(out, results["then_func format"])


def _same(left, right):
    return left._handle.same_entry(right._handle)
