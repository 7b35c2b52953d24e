# SPDX-License-Identifier: Apache-2.0
"""Gradients of imperative programs: what runs in record() is written to a tape that backward() walks."""

from ._core import _ext
from ._core._ext import is_recording, is_training, pause, predict_mode, record, set_recording, set_training, train_mode
from .ndarray import NDArray

__all__ = ["Function", "backward", "get_symbol", "grad", "is_recording", "is_training", "mark_variables", "pause",
           "predict_mode", "record", "set_recording", "set_training", "train_mode"]

_REQUESTS = {"null": 0, "write": 1, "inplace": 1, "add": 3}


def _request(grad_req, where):
    if grad_req not in _REQUESTS:
        raise ValueError(f"{where}: grad_req must be 'write', 'add' or 'null', got {grad_req!r}")
    return _REQUESTS[grad_req]


def _as_list(value):
    return list(value) if isinstance(value, (list, tuple)) else [value]


def mark_variables(variables, gradients, grad_reqs="write"):
    """Makes arrays the leaves that backward() computes gradients for.

    Parameters
    ----------
    variables, gradients : NDArray or list of NDArray
        Each gradient array receives the gradient of the variable at its place.
    grad_reqs : str or list of str
        'write', 'add' or 'null'.
    """
    variables, gradients = _as_list(variables), _as_list(gradients)
    if len(variables) != len(gradients):
        raise ValueError(f"mark_variables: {len(variables)} variables but {len(gradients)} gradients")
    requests = [grad_reqs] * len(variables) if isinstance(grad_reqs, str) else list(grad_reqs)
    for variable, gradient, request in zip(variables, gradients, requests):
        variable._mark_variable(gradient, _request(request, "mark_variables"))


def _heads(heads, head_grads):
    heads = _as_list(heads)
    if head_grads is None:
        return heads, None
    head_grads = _as_list(head_grads)
    if len(head_grads) != len(heads):
        raise ValueError(f"backward: {len(heads)} heads but {len(head_grads)} head gradients")
    return heads, head_grads


def backward(heads, head_grads=None, retain_graph=False, train_mode=True):
    """Computes the gradients of `heads` with respect to all marked variables that they depend on.

    Parameters
    ----------
    heads : NDArray or list of NDArray
    head_grads : None, or NDArray or None for each head
        Gradients to start from; None means ones.
    retain_graph : bool
        Keep the tape for another backward.
    train_mode : bool
        Whether operators behave as in training meanwhile.
    """
    heads, head_grads = _heads(heads, head_grads)
    _ext.backward(heads, head_grads, retain_graph, train_mode)


def grad(heads, variables, head_grads=None, retain_graph=None, create_graph=False, train_mode=True):
    """Gradients of `heads` with respect to `variables` as new arrays; the variables' own buffers are left alone.

    With `create_graph` the result can itself be differentiated. Returns a list, of one array for one variable.
    """
    heads, head_grads = _heads(heads, head_grads)
    if retain_graph is None:
        retain_graph = create_graph
    return _ext.grad(heads, _as_list(variables), head_grads, retain_graph, create_graph, train_mode)


def get_symbol(x):
    """The recorded computation of `x` as a Symbol. Variables (arrays with a gradient) are called var0, var1, ..., other
    inputs null0, null1, ...; hybridized blocks appear as their operators. Raises MXNetError where a `Function` or a
    custom operator took part."""
    from .symbol import Symbol
    return Symbol(_ext.recorded_symbol(x))


class Function:
    """A differentiable function written by hand: override forward() and backward(), then call the object.

    An object serves one call. In forward, `save_for_backward(*arrays)` keeps arrays as `self.saved_tensors`.
    """

    def __init__(self):
        self._used = False
        self.saved_tensors = ()

    def save_for_backward(self, *args):
        """Keeps arrays for backward()."""
        self.saved_tensors = args

    def forward(self, *inputs):
        """Computes the outputs from the inputs."""
        raise NotImplementedError(f"{type(self).__name__} must define forward()")

    def backward(self, *output_grads):
        """Returns one gradient for each input of forward()."""
        raise NotImplementedError(f"{type(self).__name__} must define backward()")

    def _backward_list(self, heads, count):
        like = zip(heads, self._outputs)
        heads = [NDArray.zeros_like(out) if head is None else head for head, out in like]
        with pause(train_mode=is_training()):
            grads = self.backward(*heads)
        grads = _as_list(grads)
        if len(grads) != count:
            raise ValueError(f"{type(self).__name__}.backward() must return one gradient for each of the {count} "
                             f"inputs of forward(), got {len(grads)}")
        return grads

    def __call__(self, *inputs):
        if self._used:
            raise RuntimeError(f"{type(self).__name__}: each object of a Function can be called once; make another")
        self._used = True
        with pause(train_mode=is_training()):
            outputs = self.forward(*inputs)
        single = isinstance(outputs, NDArray)
        results = [outputs] if single else list(outputs)
        for i, out in enumerate(results):
            if any(out is given for given in inputs):
                results[i] = out.copy()  # an output is never the input itself, or the graph would be cut there
        self._outputs = [out.detach() for out in results]
        _ext.record_function(self, list(inputs), results)
        return results[0] if single else type(outputs)(results)
