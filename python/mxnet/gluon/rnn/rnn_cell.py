# SPDX-License-Identifier: Apache-2.0
"""Cells: recurrent networks one step at a time, and wrappers that change them."""
from __future__ import annotations

from ... import ndarray as nd
from ... import symbol as sym
from ..block import Block, HybridBlock
from ..nn import LeakyReLU

__all__ = ["BidirectionalCell", "DropoutCell", "GRUCell", "HybridRecurrentCell", "HybridSequentialRNNCell", "LSTMCell",
           "ModifierCell", "RNNCell", "RecurrentCell", "ResidualCell", "SequentialRNNCell", "ZoneoutCell"]

_TENSORS = (nd.NDArray, sym.Symbol)


# --- sequences: one array with a time axis, or a list of steps

def _module_of(inputs):
    """`mx.nd` or `mx.sym`, whichever the inputs belong to."""
    first = inputs if isinstance(inputs, _TENSORS) else inputs[0]
    return sym if isinstance(first, sym.Symbol) else nd


def _steps(length, inputs, layout, squeeze_axis=1):
    """(steps as a list, batch size; 0 for symbols)."""
    axis = layout.find("T")
    if not isinstance(inputs, _TENSORS):
        if length is not None and len(inputs) != length:
            raise AssertionError(f"unroll: expected {length} steps, got {len(inputs)}")
        return list(inputs), 0 if isinstance(inputs[0], sym.Symbol) else inputs[0].shape[0]
    if isinstance(inputs, sym.Symbol):
        if len(inputs.list_outputs()) != 1:
            raise AssertionError("unroll doesn't allow grouped symbol as input. Please convert to list with "
                                 "list(inputs) first or let unroll handle splitting.")
        return list(sym.split(inputs, axis=axis, num_outputs=length, squeeze_axis=squeeze_axis)), 0
    if length is not None and inputs.shape[axis] != length:
        raise AssertionError(f"unroll: expected {length} steps, got an array of shape {inputs.shape} with layout "
                             f"{layout}")
    count = inputs.shape[axis]
    steps = nd.split(inputs, axis=axis, num_outputs=count, squeeze_axis=squeeze_axis)
    return [steps] if count == 1 else list(steps), inputs.shape[layout.find("N")]


def _merged(inputs, layout):
    """Steps as one array."""
    if isinstance(inputs, _TENSORS):
        return inputs
    return _module_of(inputs).stack(*inputs, axis=layout.find("T"))


def _masked(steps, length, valid_length, layout, merge):
    """Steps with zeros after the end of each sequence, as one array or a list."""
    F = _module_of(steps)
    whole = F.SequenceMask(_merged(steps, layout), sequence_length=valid_length, use_sequence_length=True,
                           axis=layout.find("T"))
    return whole if merge else _steps(length, whole, layout, True)[0]


def _reversed(steps, length, valid_length):
    """The steps backwards; with lengths each sequence from its end, and what comes after it stays."""
    if valid_length is None:
        return list(reversed(steps))
    F = _module_of(steps)
    backwards = F.SequenceReverse(F.stack(*steps, axis=0), sequence_length=valid_length, use_sequence_length=True)
    return _steps(length, backwards, "TNC", True)[0]


# --- base classes

class RecurrentCell(Block):
    """Base of cells: `output, states = cell(input, states)` is one step.

    Parameters
    ----------
    prefix, params
        See `Block`.
    """

    def __init__(self, prefix=None, params=None):
        super().__init__(prefix=prefix, params=params)
        self._modified = False
        self.reset()

    def reset(self):
        """Forget the number of steps taken; `unroll` begins with it."""
        self._init_counter = -1
        self._counter = -1
        for cell in self._children.values():
            cell.reset()

    def state_info(self, batch_size=0):
        """Shapes and layouts of the states, a list of dicts."""
        raise NotImplementedError

    def _check_unmodified(self):
        if self._modified:
            raise AssertionError("After applying modifier cells (e.g. ZoneoutCell) the base cell cannot be called "
                                 "directly. Call the modifier cell instead.")

    def begin_state(self, batch_size=0, func=nd.zeros, **kwargs):
        """States for the first step; see `rnn.RNN.begin_state`."""
        self._check_unmodified()
        states = []
        for info in self.state_info(batch_size):
            self._init_counter += 1
            states.append(func(name=f"{self._prefix}begin_state_{self._init_counter}", **{**(info or {}), **kwargs}))
        return states

    def _begin(self, begin_state, steps, batch_size):
        """`begin_state`, or zeros on the device of the inputs."""
        if begin_state is not None:
            return begin_state
        if _module_of(steps) is sym:
            return self.begin_state(func=sym.zeros, batch_size=batch_size)
        return self.begin_state(func=nd.zeros, batch_size=batch_size, ctx=steps[0].context)

    def unroll(self, length, inputs, begin_state=None, layout="NTC", merge_outputs=None, valid_length=None):
        """Run the cell over `length` steps.

        Parameters
        ----------
        length : int
        inputs : NDArray, Symbol or list of these
            Whole sequences with the axes of `layout`, or a list of one array (batch, features) for each step.
        begin_state : list of NDArray or Symbol, optional
            Zeros by default.
        layout : {'NTC', 'TNC'}
        merge_outputs : bool, optional
            Whether outputs are one array or a list; by default a list, with `valid_length` one array.
        valid_length : NDArray or Symbol, optional
            Length of each sequence. Outputs after the end are 0, and the states are those at the end.

        Returns
        -------
        outputs, states
        """
        self.reset()
        steps, batch_size = _steps(length, inputs, layout)
        F = _module_of(steps)
        states = self._begin(begin_state, steps, batch_size)
        outputs, history = [], []
        for i in range(length):
            output, states = self(steps[i], states)
            outputs.append(output)
            history.append(states)
        if valid_length is not None:
            states = [F.SequenceLast(F.stack(*kind, axis=0), sequence_length=valid_length, use_sequence_length=True,
                                     axis=0) for kind in zip(*history)]
            return _masked(outputs, length, valid_length, layout, merge_outputs is not False), states
        return _merged(outputs, layout) if merge_outputs else outputs, states

    def _get_activation(self, F, inputs, activation, **kwargs):
        """An activation by name, layer or function."""
        if isinstance(activation, str):
            if activation in ("tanh", "relu", "sigmoid", "softsign"):
                return getattr(F, activation)(inputs, **kwargs)
            return F.Activation(inputs, act_type=activation, **kwargs)
        if isinstance(activation, LeakyReLU):
            return F.LeakyReLU(inputs, act_type="leaky", slope=activation._alpha, **kwargs)
        return activation(inputs, **kwargs)

    def forward(self, inputs, states):
        """One step: (output, new states)."""
        self._counter += 1
        return super().forward(inputs, states)


class HybridRecurrentCell(RecurrentCell, HybridBlock):
    """Base of cells that can be compiled."""

    def __init__(self, prefix=None, params=None):
        super().__init__(prefix=prefix, params=params)

    def hybrid_forward(self, F, x, *args, **kwargs):
        raise NotImplementedError(f"{type(self).__name__} must implement hybrid_forward")


class _GatedCell(HybridRecurrentCell):
    """A cell with one weight and bias for inputs and one for the state, of `_gates` parts."""

    _gates = 1

    def __init__(self, hidden_size, i2h_weight_initializer, h2h_weight_initializer, i2h_bias_initializer,
                 h2h_bias_initializer, input_size, prefix, params):
        super().__init__(prefix=prefix, params=params)
        self._hidden_size = hidden_size
        self._input_size = input_size
        gates = self._gates * hidden_size
        get = self.params.get
        self.i2h_weight = get("i2h_weight", shape=(gates, input_size), init=i2h_weight_initializer,
                              allow_deferred_init=True)
        self.h2h_weight = get("h2h_weight", shape=(gates, hidden_size), init=h2h_weight_initializer,
                              allow_deferred_init=True)
        self.i2h_bias = get("i2h_bias", shape=(gates,), init=i2h_bias_initializer, allow_deferred_init=True)
        self.h2h_bias = get("h2h_bias", shape=(gates,), init=h2h_bias_initializer, allow_deferred_init=True)

    def __repr__(self):
        units, inputs = self.i2h_weight.shape
        return f"{type(self).__name__}({inputs or None} -> {units}{self._more_repr()})"

    def _more_repr(self):
        return ""

    def _products(self, F, inputs, state, i2h_weight, h2h_weight, i2h_bias, h2h_bias):
        """The shares of inputs and state, and what the names of this step begin with."""
        step, units = f"t{self._counter}_", self._gates * self._hidden_size
        i2h = F.FullyConnected(data=inputs, weight=i2h_weight, bias=i2h_bias, num_hidden=units, name=step + "i2h")
        h2h = F.FullyConnected(data=state, weight=h2h_weight, bias=h2h_bias, num_hidden=units, name=step + "h2h")
        return i2h, h2h, step


class RNNCell(_GatedCell):
    """h' = activation(W x + b + R h + d).

    Parameters
    ----------
    hidden_size : int
        Number of features of the state.
    activation : str or callable
    i2h_weight_initializer, h2h_weight_initializer, i2h_bias_initializer, h2h_bias_initializer : str or Initializer
    input_size : int
        Found in the first step if 0.
    """

    def __init__(self, hidden_size, activation="tanh", i2h_weight_initializer=None, h2h_weight_initializer=None,
                 i2h_bias_initializer="zeros", h2h_bias_initializer="zeros", input_size=0, prefix=None, params=None):
        super().__init__(hidden_size, i2h_weight_initializer, h2h_weight_initializer, i2h_bias_initializer,
                         h2h_bias_initializer, input_size, prefix, params)
        self._activation = activation

    def state_info(self, batch_size=0):
        return [{"shape": (batch_size, self._hidden_size), "__layout__": "NC"}]

    def _alias(self):
        return "rnn"

    def _more_repr(self):
        return f", {self._activation}"

    def hybrid_forward(self, F, inputs, states, i2h_weight, h2h_weight, i2h_bias, h2h_bias):
        i2h, h2h, step = self._products(F, inputs, states[0], i2h_weight, h2h_weight, i2h_bias, h2h_bias)
        total = F.elemwise_add(i2h, h2h, name=step + "plus0")
        output = self._get_activation(F, total, self._activation, name=step + "out")
        return output, [output]


class LSTMCell(_GatedCell):
    """Long short-term memory; see `rnn.LSTM` for the formula.

    Parameters are those of `RNNCell`; `activation` is that of g and c', `recurrent_activation` that of the gates.
    """

    _gates = 4

    def __init__(self, hidden_size, i2h_weight_initializer=None, h2h_weight_initializer=None,
                 i2h_bias_initializer="zeros", h2h_bias_initializer="zeros", input_size=0, prefix=None, params=None,
                 activation="tanh", recurrent_activation="sigmoid"):
        super().__init__(hidden_size, i2h_weight_initializer, h2h_weight_initializer, i2h_bias_initializer,
                         h2h_bias_initializer, input_size, prefix, params)
        self._activation = activation
        self._recurrent_activation = recurrent_activation

    def state_info(self, batch_size=0):
        return [{"shape": (batch_size, self._hidden_size), "__layout__": "NC"} for _ in range(2)]

    def _alias(self):
        return "lstm"

    def hybrid_forward(self, F, inputs, states, i2h_weight, h2h_weight, i2h_bias, h2h_bias):
        i2h, h2h, step = self._products(F, inputs, states[0], i2h_weight, h2h_weight, i2h_bias, h2h_bias)
        gates = F.elemwise_add(i2h, h2h, name=step + "plus0")
        i, f, g, o = F.SliceChannel(gates, num_outputs=4, name=step + "slice")
        i = self._get_activation(F, i, self._recurrent_activation, name=step + "i")
        f = self._get_activation(F, f, self._recurrent_activation, name=step + "f")
        g = self._get_activation(F, g, self._activation, name=step + "c")
        o = self._get_activation(F, o, self._recurrent_activation, name=step + "o")
        c = F.elemwise_add(F.elemwise_mul(f, states[1], name=step + "mul0"), F.elemwise_mul(i, g, name=step + "mul1"),
                           name=step + "state")
        squashed = F.Activation(c, act_type=self._activation, name=step + "activation0")
        h = F.elemwise_mul(o, squashed, name=step + "out")
        return h, [h, c]


class GRUCell(_GatedCell):
    """Gated recurrent unit; see `rnn.GRU` for the formula. Parameters are those of `RNNCell`, without `activation`."""

    _gates = 3

    def __init__(self, hidden_size, i2h_weight_initializer=None, h2h_weight_initializer=None,
                 i2h_bias_initializer="zeros", h2h_bias_initializer="zeros", input_size=0, prefix=None, params=None):
        super().__init__(hidden_size, i2h_weight_initializer, h2h_weight_initializer, i2h_bias_initializer,
                         h2h_bias_initializer, input_size, prefix, params)

    def state_info(self, batch_size=0):
        return [{"shape": (batch_size, self._hidden_size), "__layout__": "NC"}]

    def _alias(self):
        return "gru"

    def hybrid_forward(self, F, inputs, states, i2h_weight, h2h_weight, i2h_bias, h2h_bias):
        before = states[0]
        i2h, h2h, step = self._products(F, inputs, before, i2h_weight, h2h_weight, i2h_bias, h2h_bias)
        i2h_r, i2h_z, i2h_n = F.SliceChannel(i2h, num_outputs=3, name=step + "i2h_slice")
        h2h_r, h2h_z, h2h_n = F.SliceChannel(h2h, num_outputs=3, name=step + "h2h_slice")

        def act(x, kind, name):
            return F.Activation(x, act_type=kind, name=step + name)

        r = act(F.elemwise_add(i2h_r, h2h_r, name=step + "plus0"), "sigmoid", "r_act")
        z = act(F.elemwise_add(i2h_z, h2h_z, name=step + "plus1"), "sigmoid", "z_act")
        kept = F.elemwise_mul(r, h2h_n, name=step + "mul0")
        n = act(F.elemwise_add(i2h_n, kept, name=step + "plus2"), "tanh", "h_act")
        rest = F.elemwise_sub(F.ones_like(z, name=step + "ones_like0"), z, name=step + "minus0")
        h = F.elemwise_add(F.elemwise_mul(rest, n, name=step + "mul1"), F.elemwise_mul(z, before, name=step + "mul20"),
                           name=step + "out")
        return h, [h]


# --- stacks

class _Stack:
    """What both sequential cells share: children that run one after the other."""

    def add(self, cell):
        """Append a cell."""
        self.register_child(cell)

    def __repr__(self):
        lines = "\n".join(f"({key}): {cell!r}" for key, cell in self._children.items())
        return f"{type(self).__name__}(\n{lines}\n)"

    def __getitem__(self, i):
        return self._children[str(i)]

    def __len__(self):
        return len(self._children)

    def state_info(self, batch_size=0):
        return [info for cell in self._children.values() for info in cell.state_info(batch_size)]

    def begin_state(self, **kwargs):
        self._check_unmodified()
        return [state for cell in self._children.values() for state in cell.begin_state(**kwargs)]

    def _is_bidirectional(self):
        return any(isinstance(cell, BidirectionalCell) for cell in self._children.values())

    def _states_of_cells(self, states):
        """(cell, its states) for all cells."""
        at = 0
        for cell in self._children.values():
            count = len(cell.state_info())
            yield cell, states[at:at + count]
            at += count

    def __call__(self, inputs, states):
        self._counter += 1
        if self._is_bidirectional():
            raise AssertionError("a stack that holds a BidirectionalCell cannot be stepped; use unroll")
        after = []
        for cell, own in self._states_of_cells(states):
            inputs, own = cell(inputs, own)
            after += own
        return inputs, after

    def unroll(self, length, inputs, begin_state=None, layout="NTC", merge_outputs=None, valid_length=None):
        self.reset()
        if begin_state is None:
            first = inputs if isinstance(inputs, _TENSORS) else inputs[0]
            batch_axis = layout.find("N") if isinstance(inputs, _TENSORS) else 0
            begin_state = self._begin(None, [first],
                                      0 if isinstance(first, sym.Symbol) else first.shape[batch_axis])
        after, last = [], len(self._children) - 1
        for i, (cell, own) in enumerate(self._states_of_cells(begin_state)):
            inputs, own = cell.unroll(length, inputs=inputs, begin_state=own, layout=layout,
                                      merge_outputs=merge_outputs if i == last else None, valid_length=valid_length)
            after += own
        return inputs, after

    def hybrid_forward(self, *args, **kwargs):
        raise NotImplementedError("a stack of cells runs its cells one by one")


class SequentialRNNCell(_Stack, RecurrentCell):
    """Cells one after the other.

    >>> from mxnet.gluon import rnn
    >>> net = rnn.SequentialRNNCell()
    >>> net.add(rnn.LSTMCell(20))
    >>> net.add(rnn.GRUCell(10))
    >>> len(net)
    2
    """

    def __init__(self, prefix=None, params=None):
        super().__init__(prefix=prefix, params=params)


class HybridSequentialRNNCell(_Stack, HybridRecurrentCell):
    """HybridRecurrentCells one after the other."""

    def __init__(self, prefix=None, params=None):
        super().__init__(prefix=prefix, params=params)


# --- wrappers

class DropoutCell(HybridRecurrentCell):
    """Drops a part `rate` of its inputs in training; has no state. `axes`: see `nn.Dropout`."""

    def __init__(self, rate, axes=(), prefix=None, params=None):
        super().__init__(prefix=prefix, params=params)
        if not isinstance(rate, (int, float)):
            raise AssertionError(f"rate must be a number, got {type(rate).__name__}")
        self._rate = rate
        self._axes = axes

    def __repr__(self):
        return f"{type(self).__name__}(rate={self._rate}, axes={self._axes})"

    def state_info(self, batch_size=0):
        return []

    def _alias(self):
        return "dropout"

    def hybrid_forward(self, F, inputs, states):
        if self._rate > 0:
            inputs = F.Dropout(data=inputs, p=self._rate, axes=self._axes, name=f"t{self._counter}_fwd")
        return inputs, states

    def unroll(self, length, inputs, begin_state=None, layout="NTC", merge_outputs=None, valid_length=None):
        self.reset()
        if merge_outputs is not None:
            inputs = _merged(inputs, layout) if merge_outputs else _steps(length, inputs, layout)[0]
        if isinstance(inputs, _TENSORS):
            return self.hybrid_forward(_module_of(inputs), inputs, begin_state or [])
        return super().unroll(length, inputs, begin_state=begin_state, layout=layout, merge_outputs=merge_outputs)


class ModifierCell(HybridRecurrentCell):
    """Base of cells that change what another cell does; that cell can then not be called by itself."""

    def __init__(self, base_cell):
        if base_cell._modified:
            raise AssertionError(f"Cell {base_cell.name} is already modified. One cell cannot be modified twice")
        base_cell._modified = True
        super().__init__(prefix=base_cell.prefix + self._alias(), params=None)
        self.base_cell = base_cell

    @property
    def params(self):
        return self.base_cell.params

    def state_info(self, batch_size=0):
        return self.base_cell.state_info(batch_size)

    def begin_state(self, func=nd.zeros, **kwargs):
        self._check_unmodified()
        return self._on_base(self.base_cell.begin_state, func=func, **kwargs)

    def _on_base(self, function, *args, **kwargs):
        """A call of a method of the base cell."""
        self.base_cell._modified = False
        try:
            return function(*args, **kwargs)
        finally:
            self.base_cell._modified = True

    def hybrid_forward(self, F, inputs, states):
        raise NotImplementedError(f"{type(self).__name__} must implement hybrid_forward")

    def __repr__(self):
        return f"{type(self).__name__}({self.base_cell!r})"


class ZoneoutCell(ModifierCell):
    """In training, keeps outputs and states of the step before at random places, with the given probabilities."""

    def __init__(self, base_cell, zoneout_outputs=0.0, zoneout_states=0.0):
        if isinstance(base_cell, BidirectionalCell):
            raise AssertionError("BidirectionalCell doesn't support zoneout since it doesn't support step. "
                                 "Please add ZoneoutCell to the cells underneath instead.")
        if isinstance(base_cell, _Stack) and base_cell._is_bidirectional():
            raise AssertionError("Bidirectional SequentialRNNCell doesn't support zoneout. Please add ZoneoutCell to "
                                 "the cells underneath instead.")
        super().__init__(base_cell)
        self._zoneout_outputs = zoneout_outputs
        self._zoneout_states = zoneout_states
        self._prev_output = None

    def __repr__(self):
        return (f"{type(self).__name__}(p_out={self._zoneout_outputs}, p_state={self._zoneout_states}, "
                f"{self.base_cell!r})")

    def _alias(self):
        return "zoneout"

    def reset(self):
        super().reset()
        self._prev_output = None

    def hybrid_forward(self, F, inputs, states):
        output, after = self._on_base(self.base_cell, inputs, states)

        def mixed(rate, new, old):
            return F.where(F.Dropout(F.ones_like(new), p=rate), new, old) if rate != 0 else new

        before = F.zeros_like(output) if self._prev_output is None else self._prev_output
        output = mixed(self._zoneout_outputs, output, before)
        after = [mixed(self._zoneout_states, new, old) for new, old in zip(after, states)]
        self._prev_output = output
        return output, after


class ResidualCell(ModifierCell):
    """Adds the inputs to the outputs of a cell."""

    def __init__(self, base_cell):
        super().__init__(base_cell)

    def hybrid_forward(self, F, inputs, states):
        output, states = self._on_base(self.base_cell, inputs, states)
        return F.elemwise_add(output, inputs), states

    def unroll(self, length, inputs, begin_state=None, layout="NTC", merge_outputs=None, valid_length=None):
        self.reset()
        outputs, states = self._on_base(self.base_cell.unroll, length, inputs=inputs, begin_state=begin_state,
                                        layout=layout, merge_outputs=merge_outputs, valid_length=valid_length)
        merged = isinstance(outputs, _TENSORS)
        if valid_length is not None:
            inputs = _masked(inputs, length, valid_length, layout, merged)
        inputs = _merged(inputs, layout) if merged else _steps(length, inputs, layout)[0]
        F = _module_of(inputs)
        if merged:
            return F.elemwise_add(outputs, inputs), states
        return [F.elemwise_add(output, given) for output, given in zip(outputs, inputs)], states


class BidirectionalCell(HybridRecurrentCell):
    """A cell forwards and one backwards in time; outputs lie beside each other. It can be unrolled, not stepped.

    Parameters
    ----------
    l_cell, r_cell : RecurrentCell
        The forward and the backward cell.
    output_prefix : str
        Begins the names of the outputs.
    """

    def __init__(self, l_cell, r_cell, output_prefix="bi_"):
        super().__init__(prefix="", params=None)
        self.register_child(l_cell, "l_cell")
        self.register_child(r_cell, "r_cell")
        self._output_prefix = output_prefix

    def __call__(self, inputs, states):
        raise NotImplementedError("Bidirectional cannot be stepped. Please use unroll")

    def __repr__(self):
        l_cell, r_cell = self._children.values()
        return f"{type(self).__name__}(forward={l_cell!r}, backward={r_cell!r})"

    def state_info(self, batch_size=0):
        return [info for cell in self._children.values() for info in cell.state_info(batch_size)]

    def begin_state(self, **kwargs):
        self._check_unmodified()
        return [state for cell in self._children.values() for state in cell.begin_state(**kwargs)]

    def unroll(self, length, inputs, begin_state=None, layout="NTC", merge_outputs=None, valid_length=None):
        self.reset()
        steps, batch_size = _steps(length, inputs, layout)
        F = _module_of(steps)
        states = self._begin(begin_state, steps, batch_size)
        l_cell, r_cell = self._children.values()
        count = len(l_cell.state_info())
        left, l_states = l_cell.unroll(length, inputs=steps, begin_state=states[:count], layout=layout,
                                       merge_outputs=bool(merge_outputs), valid_length=valid_length)
        right, r_states = r_cell.unroll(length, inputs=_reversed(steps, length, valid_length),
                                        begin_state=states[count:], layout=layout, merge_outputs=False,
                                        valid_length=valid_length)
        right = _reversed(right, length, valid_length)
        if merge_outputs:
            outputs = F.concat(left, _merged(right, layout), dim=2, name=self._output_prefix + "out")
        else:
            outputs = [F.concat(a, b, dim=1, name=f"{self._output_prefix}t{i}")
                       for i, (a, b) in enumerate(zip(left, right))]
        if valid_length is not None:
            outputs = _masked(outputs, length, valid_length, layout, merge_outputs is not False)
        return outputs, [*l_states, *r_states]
