# SPDX-License-Identifier: Apache-2.0
"""Cells: one time step of a recurrent network, as symbols.

Parameters are variables `<prefix>i2h_weight`, `<prefix>h2h_bias`, ...; steps are named `<prefix>t<number>_...`.
"""
from __future__ import annotations

import warnings

from .. import initializer as init
from .. import ndarray as nd
from .. import symbol
from ..symbol import Symbol

__all__ = ["BaseRNNCell", "BidirectionalCell", "DropoutCell", "FusedRNNCell", "GRUCell", "LSTMCell", "ModifierCell",
           "RNNCell", "RNNParams", "ResidualCell", "SequentialRNNCell", "ZoneoutCell"]


def _normalize_sequence(length, inputs, layout, merge):
    """(a list of steps or one symbol, the axis of time).

    `merge` True makes one symbol, False a list of `length` steps, None leaves the inputs as they are.
    """
    axis = layout.find("T")
    if axis < 0:
        raise AssertionError(f"unroll: the layout must have a T, got {layout!r}")
    if inputs is None:
        raise AssertionError("unroll: inputs are missing: a Symbol or a list of Symbols, one for each step")
    if isinstance(inputs, Symbol):
        if merge is False:
            if len(inputs.list_outputs()) != 1:
                raise AssertionError("unroll: a grouped symbol cannot be split into steps; give a list, or use concat")
            inputs = list(symbol.split(inputs, axis=axis, num_outputs=length, squeeze_axis=1))
        return inputs, axis
    if length is not None and len(inputs) != length:
        raise AssertionError(f"unroll: got {len(inputs)} inputs for {length} steps")
    if merge is True:
        inputs = symbol.concat(*[symbol.expand_dims(step, axis=axis) for step in inputs], dim=axis)
    return inputs, axis


def _activation(inputs, activation, **kwargs):
    """An activation given by name or as a function."""
    if callable(activation):
        return activation(inputs, **kwargs)
    return symbol.Activation(inputs, act_type=activation, **kwargs)


class RNNParams:
    """Variables by name, shared between the steps (and cells) that ask for them; `prefix` comes before each name."""

    def __init__(self, prefix=""):
        self._prefix = prefix
        self._params = {}

    def get(self, name, **kwargs):
        """The variable `<prefix><name>`, made with `kwargs` at the first call."""
        name = self._prefix + name
        if name not in self._params:
            self._params[name] = symbol.Variable(name, **kwargs)
        return self._params[name]


class BaseRNNCell:
    """Base of all cells.

    Parameters
    ----------
    prefix : str
        Comes before the names of parameters and steps.
    params : RNNParams, optional
        Shared with other cells; its own by default.

    A subclass implements `state_info` and `__call__(inputs, states)`, one step: (output, new states).
    """

    def __init__(self, prefix="", params=None):
        self._own_params = params is None
        self._prefix = prefix
        self._params = RNNParams(prefix) if params is None else params
        self._modified = False
        self.reset()

    def reset(self):
        """Begin a new graph: steps are counted from 0."""
        self._init_counter = -1
        self._counter = -1
        for cell in getattr(self, "_cells", ()):
            cell.reset()

    def __call__(self, inputs, states):
        raise NotImplementedError(f"{type(self).__name__} must implement __call__(inputs, states)")

    def _next_name(self):
        self._counter += 1
        return f"{self._prefix}t{self._counter}_"

    @property
    def params(self):
        """The parameters; from now on others may share them."""
        self._own_params = False
        return self._params

    @property
    def state_info(self):
        """A list of dicts: shape (0 for the batch) and `__layout__` of each state."""
        raise NotImplementedError(f"{type(self).__name__} must implement state_info")

    @property
    def state_shape(self):
        """The shapes of the states."""
        return [info["shape"] for info in self.state_info]

    @property
    def _gate_names(self):
        return ()

    def _check_not_modified(self):
        if self._modified:
            raise AssertionError("After applying modifier cells (e.g. DropoutCell) the base cell cannot be called "
                                 "directly. Call the modifier cell instead.")

    def begin_state(self, func=symbol.zeros, **kwargs):
        """Symbols for the states before the first step.

        Parameters
        ----------
        func : callable
            Makes one from `name`, `shape` and `kwargs`: `mx.sym.zeros`, `mx.sym.Variable`, ...
        """
        self._check_not_modified()
        states = []
        for info in self.state_info:
            self._init_counter += 1
            name = f"{self._prefix}begin_state_{self._init_counter}"
            states.append(func(name=name, **kwargs, **(info or {})))
        return states

    def unpack_weights(self, args):
        """A dict of parameters with the stacked matrices cut into those of each gate.

        The dict may hold parameters of other cells too; they stay.
        """
        args = args.copy()
        if not self._gate_names:
            return args
        hidden = self._num_hidden
        for group in ("i2h", "h2h"):
            for kind in ("weight", "bias"):
                whole = args.pop(f"{self._prefix}{group}_{kind}")
                for j, gate in enumerate(self._gate_names):
                    args[f"{self._prefix}{group}{gate}_{kind}"] = whole[j * hidden:(j + 1) * hidden].copy()
        return args

    def pack_weights(self, args):
        """The opposite of `unpack_weights`."""
        args = args.copy()
        if not self._gate_names:
            return args
        for group in ("i2h", "h2h"):
            for kind in ("weight", "bias"):
                parts = [args.pop(f"{self._prefix}{group}{gate}_{kind}") for gate in self._gate_names]
                args[f"{self._prefix}{group}_{kind}"] = nd.concat(*parts, dim=0)
        return args

    def unroll(self, length, inputs, begin_state=None, layout="NTC", merge_outputs=None):
        """The cell over `length` steps.

        Parameters
        ----------
        length : int
        inputs : Symbol, or list of Symbol
            A sequence in `layout`, or its steps of shape (batch, ...).
        begin_state : list of Symbol, optional
            Zeros by default.
        layout : str
            'NTC' or 'TNC'.
        merge_outputs : bool, optional
            Whether outputs come as one sequence or as a list; None takes what is cheaper.

        Returns (outputs, states after the last step).
        """
        self.reset()
        inputs, _ = _normalize_sequence(length, inputs, layout, False)
        states = self.begin_state() if begin_state is None else begin_state
        outputs = []
        for step in inputs[:length]:
            output, states = self(step, states)
            outputs.append(output)
        outputs, _ = _normalize_sequence(length, outputs, layout, merge_outputs)
        return outputs, states


class _DenseCell(BaseRNNCell):
    """A cell of two matrix products, of input and state, for all its gates at once."""

    def __init__(self, num_hidden, prefix, params, **i2h_bias):
        super().__init__(prefix=prefix, params=params)
        self._num_hidden = num_hidden
        self._iW = self.params.get("i2h_weight")
        self._iB = self.params.get("i2h_bias", **i2h_bias)
        self._hW = self.params.get("h2h_weight")
        self._hB = self.params.get("h2h_bias")
        self._own_params = params is None

    def _products(self, inputs, state, name):
        size = self._num_hidden * len(self._gate_names)
        return (symbol.FullyConnected(data=inputs, weight=self._iW, bias=self._iB, num_hidden=size, name=name + "i2h"),
                symbol.FullyConnected(data=state, weight=self._hW, bias=self._hB, num_hidden=size, name=name + "h2h"))


class RNNCell(_DenseCell):
    """h' = activation(W x + b + U h + c).

    Parameters
    ----------
    num_hidden : int
    activation : str or callable
    prefix : str
    params : RNNParams, optional
    """

    def __init__(self, num_hidden, activation="tanh", prefix="rnn_", params=None):
        super().__init__(num_hidden, prefix, params)
        self._activation = activation

    @property
    def state_info(self):
        return [{"shape": (0, self._num_hidden), "__layout__": "NC"}]

    @property
    def _gate_names(self):
        return ("",)

    def __call__(self, inputs, states):
        name = self._next_name()
        i2h, h2h = self._products(inputs, states[0], name)
        output = _activation(i2h + h2h, self._activation, name=name + "out")
        return output, [output]


def _lstm_step(gates, state, activation, name):
    """(h', c') from the sum of both products and the cell state c."""
    in_gate = symbol.Activation(gates[0], act_type="sigmoid", name=name + "i")
    forget_gate = symbol.Activation(gates[1], act_type="sigmoid", name=name + "f")
    transform = _activation(gates[2], activation, name=name + "c")
    out_gate = symbol.Activation(gates[3], act_type="sigmoid", name=name + "o")
    next_c = symbol.elemwise_add(forget_gate * state, in_gate * transform, name=name + "state")
    next_h = symbol.elemwise_mul(out_gate, _activation(next_c, activation), name=name + "out")
    return next_h, next_c


def _gru_step(i2h, h2h, state, activation, name):
    """h' from the parts of both products and the state h."""
    reset = symbol.Activation(i2h[0] + h2h[0], act_type="sigmoid", name=name + "_r_act")
    update = symbol.Activation(i2h[1] + h2h[1], act_type="sigmoid", name=name + "_z_act")
    candidate = _activation(i2h[2] + reset * h2h[2], activation, name=name + "_h_act")
    return symbol.elemwise_add((1.0 - update) * candidate, update * state, name=name + "out")


class LSTMCell(_DenseCell):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997); gates are stacked as i, f, c, o.

    Parameters
    ----------
    num_hidden : int
    prefix : str
    params : RNNParams, optional
    forget_bias : float
        What the forget gate's bias begins with.
    """

    def __init__(self, num_hidden, prefix="lstm_", params=None, forget_bias=1.0):
        super().__init__(num_hidden, prefix, params, init=init.LSTMBias(forget_bias=forget_bias))

    @property
    def state_info(self):
        return [{"shape": (0, self._num_hidden), "__layout__": "NC"} for _ in range(2)]

    @property
    def _gate_names(self):
        return ["_i", "_f", "_c", "_o"]

    def __call__(self, inputs, states):
        name = self._next_name()
        i2h, h2h = self._products(inputs, states[0], name)
        gates = symbol.SliceChannel(i2h + h2h, num_outputs=4, name=name + "slice")
        next_h, next_c = _lstm_step(gates, states[1], "tanh", name)
        return next_h, [next_h, next_c]


class GRUCell(_DenseCell):
    """Gated recurrent unit (Cho et al., 2014), with the reset gate after the product; gates are stacked as r, z, o.

    Parameters
    ----------
    num_hidden : int
    prefix : str
    params : RNNParams, optional
    """

    def __init__(self, num_hidden, prefix="gru_", params=None):
        super().__init__(num_hidden, prefix, params)

    @property
    def state_info(self):
        return [{"shape": (0, self._num_hidden), "__layout__": "NC"}]

    @property
    def _gate_names(self):
        return ["_r", "_z", "_o"]

    def __call__(self, inputs, states):
        name = self._next_name()
        products = self._products(inputs, states[0], name + "_")
        i2h, h2h = (symbol.SliceChannel(product, num_outputs=3, name=f"{name}_{kind}_slice")
                    for product, kind in zip(products, ("i2h", "h2h")))
        output = _gru_step(i2h, h2h, states[0], "tanh", name)
        return output, [output]


class FusedRNNCell(BaseRNNCell):
    """Whole layers as one `RNN` operator, with one flat vector of parameters; only `unroll` works.

    Parameters
    ----------
    num_hidden : int
    num_layers : int
    mode : {'rnn_relu', 'rnn_tanh', 'lstm', 'gru'}
    bidirectional : bool
    dropout : float
        Between layers.
    get_next_state : bool
        Whether `unroll` returns the last states.
    forget_bias : float
        What the forget gates' biases begin with (LSTM).
    prefix : str, optional
        `<mode>_` by default.
    params : RNNParams, optional
    """

    def __init__(self, num_hidden, num_layers=1, mode="lstm", bidirectional=False, dropout=0.0, get_next_state=False,
                 forget_bias=1.0, prefix=None, params=None):
        super().__init__(prefix=f"{mode}_" if prefix is None else prefix, params=params)
        self._num_hidden = num_hidden
        self._num_layers = num_layers
        self._mode = mode
        self._bidirectional = bidirectional
        self._dropout = dropout
        self._get_next_state = get_next_state
        self._directions = ["l", "r"] if bidirectional else ["l"]
        self._parameter = self._params.get("parameters", init=init.FusedRNN(
            None, num_hidden, num_layers, mode, bidirectional, forget_bias))

    @property
    def state_info(self):
        shape = (self._num_layers * len(self._directions), 0, self._num_hidden)
        return [{"shape": shape, "__layout__": "LNC"} for _ in range(2 if self._mode == "lstm" else 1)]

    @property
    def _gate_names(self):
        return {"lstm": ["_i", "_f", "_c", "_o"], "gru": ["_r", "_z", "_o"]}.get(self._mode, [""])

    @property
    def _num_gates(self):
        return len(self._gate_names)

    def _slice_weights(self, vector, num_input):
        """{name: view} of the matrices and biases of all gates in the flat vector."""
        hidden = self._num_hidden
        parts = {}
        begin = 0

        def take(name, shape):
            nonlocal begin
            size = shape[0] * (shape[1] if len(shape) > 1 else 1)
            parts[name] = vector[begin:begin + size].reshape(shape)
            begin += size

        for kind in ("weight", "bias"):
            for layer in range(self._num_layers):
                width = num_input if layer == 0 else hidden * len(self._directions)
                for direction in self._directions:
                    for group, columns in (("i2h", width), ("h2h", hidden)):
                        for gate in self._gate_names:
                            take(f"{self._prefix}{direction}{layer}_{group}{gate}_{kind}",
                                 (hidden, columns) if kind == "weight" else (hidden,))
        if begin != vector.size:
            raise AssertionError(f"FusedRNNCell: a vector of {vector.size} does not fit {self._num_layers} layers of "
                                 f"{hidden} units over inputs of {num_input}")
        return parts

    def unpack_weights(self, args):
        args = args.copy()
        vector = args.pop(self._parameter.name)
        rows = self._num_gates * self._num_hidden
        directions, hidden = len(self._directions), self._num_hidden
        upper = (self._num_layers - 1) * (directions * hidden + hidden + 2)
        num_input = vector.size // (rows * directions) - upper - hidden - 2
        args.update((name, part.copy()) for name, part in self._slice_weights(vector, num_input).items())
        return args

    def pack_weights(self, args):
        args = args.copy()
        first = args[f"{self._prefix}l0_i2h{self._gate_names[0]}_weight"]
        num_input, hidden, directions = first.shape[1], self._num_hidden, len(self._directions)
        upper = (self._num_layers - 1) * (directions * hidden + hidden + 2)
        size = (num_input + hidden + 2 + upper) * directions * self._num_gates * hidden
        vector = nd.zeros((size,), ctx=first.context, dtype=first.dtype)
        for name, part in self._slice_weights(vector, num_input).items():
            part[:] = args.pop(name)
        args[self._parameter.name] = vector
        return args

    def __call__(self, inputs, states):
        raise NotImplementedError("FusedRNNCell cannot be stepped. Please use unroll")

    def unroll(self, length, inputs, begin_state=None, layout="NTC", merge_outputs=None):
        self.reset()
        inputs, axis = _normalize_sequence(length, inputs, layout, True)
        if axis == 1:
            warnings.warn("NTC layout detected. Consider using TNC for FusedRNNCell for faster speed", stacklevel=2)
            inputs = symbol.swapaxes(inputs, dim1=0, dim2=1)
        elif axis != 0:
            raise AssertionError(f"FusedRNNCell: unsupported layout {layout}")
        states = self.begin_state() if begin_state is None else begin_state
        names = ("state", "state_cell")[:len(states)]
        rnn = symbol.RNN(data=inputs, parameters=self._parameter, state_size=self._num_hidden,
                         num_layers=self._num_layers, bidirectional=self._bidirectional, p=self._dropout,
                         state_outputs=self._get_next_state, mode=self._mode, name=self._prefix + "rnn",
                         **dict(zip(names, states)))
        last = []
        outputs = rnn
        if self._get_next_state:
            outputs, *last = rnn
            for state in last:
                state._set_attr(__layout__="LNC")
        if axis == 1:
            outputs = symbol.swapaxes(outputs, dim1=0, dim2=1)
        outputs, _ = _normalize_sequence(length, outputs, layout, merge_outputs)
        return outputs, last

    def unfuse(self):
        """A SequentialRNNCell of the same layers, with parameters that `unpack_weights` gives it."""
        make = {"rnn_relu": lambda prefix: RNNCell(self._num_hidden, activation="relu", prefix=prefix),
                "rnn_tanh": lambda prefix: RNNCell(self._num_hidden, activation="tanh", prefix=prefix),
                "lstm": lambda prefix: LSTMCell(self._num_hidden, prefix=prefix),
                "gru": lambda prefix: GRUCell(self._num_hidden, prefix=prefix)}[self._mode]
        stack = SequentialRNNCell()
        for layer in range(self._num_layers):
            cells = [make(f"{self._prefix}{direction}{layer}_") for direction in self._directions]
            stack.add(BidirectionalCell(*cells, output_prefix=f"{self._prefix}bi_l{layer}_") if self._bidirectional
                      else cells[0])
            if self._dropout > 0 and layer + 1 < self._num_layers:
                stack.add(DropoutCell(self._dropout, prefix=f"{self._prefix}_dropout{layer}_"))
        return stack


class _Container(BaseRNNCell):
    """Several cells as one; `_cells` holds them."""

    def _share_params(self, cell):
        """Parameters of a cell and of this one become known to both."""
        if not self._own_params:
            if not cell._own_params:
                raise AssertionError("Either specify params for the container or for its cells, not both.")
            cell.params._params.update(self._params._params)
        self._params._params.update(cell.params._params)

    @property
    def state_info(self):
        return [info for cell in self._cells for info in cell.state_info]

    def begin_state(self, **kwargs):
        self._check_not_modified()
        return [state for cell in self._cells for state in cell.begin_state(**kwargs)]

    def unpack_weights(self, args):
        for cell in self._cells:
            args = cell.unpack_weights(args)
        return args

    def pack_weights(self, args):
        for cell in self._cells:
            args = cell.pack_weights(args)
        return args


class SequentialRNNCell(_Container):
    """Cells one above the other; `add` appends one."""

    def __init__(self, params=None):
        self._cells = []
        super().__init__(prefix="", params=params)
        self._own_params = params is None

    def add(self, cell):
        """Append a cell."""
        self._cells.append(cell)
        self._share_params(cell)

    def __call__(self, inputs, states):
        self._counter += 1
        next_states, p = [], 0
        for cell in self._cells:
            if isinstance(cell, BidirectionalCell):
                raise AssertionError("SequentialRNNCell: a BidirectionalCell cannot be stepped; use unroll")
            n = len(cell.state_info)
            inputs, own = cell(inputs, states[p:p + n])
            p += n
            next_states.extend(own)
        return inputs, next_states

    def unroll(self, length, inputs, begin_state=None, layout="NTC", merge_outputs=None):
        self.reset()
        states = self.begin_state() if begin_state is None else begin_state
        next_states, p = [], 0
        for i, cell in enumerate(self._cells):
            n = len(cell.state_info)
            inputs, own = cell.unroll(length, inputs=inputs, begin_state=states[p:p + n], layout=layout,
                                      merge_outputs=None if i + 1 < len(self._cells) else merge_outputs)
            p += n
            next_states.extend(own)
        return inputs, next_states


class BidirectionalCell(_Container):
    """Two cells, one over the sequence and one over its reverse; outputs are joined. Only `unroll` works.

    Parameters
    ----------
    l_cell, r_cell : BaseRNNCell
    params : RNNParams, optional
    output_prefix : str
        Comes before the names of outputs.
    """

    def __init__(self, l_cell, r_cell, params=None, output_prefix="bi_"):
        self._cells = []
        super().__init__("", params=params)
        self._own_params = params is None
        self._output_prefix = output_prefix
        for cell in (l_cell, r_cell):
            self._share_params(cell)
        self._cells = [l_cell, r_cell]

    def __call__(self, inputs, states):
        raise NotImplementedError("Bidirectional cannot be stepped. Please use unroll")

    def unroll(self, length, inputs, begin_state=None, layout="NTC", merge_outputs=None):
        """As `BaseRNNCell.unroll`; the states are [those of l_cell, those of r_cell]."""
        self.reset()
        inputs, axis = _normalize_sequence(length, inputs, layout, False)
        states = self.begin_state() if begin_state is None else begin_state
        left, right = self._cells
        n = len(left.state_info)
        l_outputs, l_states = left.unroll(length, inputs=inputs, begin_state=states[:n], layout=layout,
                                          merge_outputs=merge_outputs)
        r_outputs, r_states = right.unroll(length, inputs=list(reversed(inputs)), begin_state=states[n:],
                                           layout=layout, merge_outputs=merge_outputs)
        if merge_outputs is None:
            merge_outputs = isinstance(l_outputs, Symbol) and isinstance(r_outputs, Symbol)
            if not merge_outputs:
                l_outputs, r_outputs = (_normalize_sequence(length, outputs, layout, False)[0]
                                        for outputs in (l_outputs, r_outputs))
        if merge_outputs:
            outputs = symbol.Concat(l_outputs, symbol.reverse(r_outputs, axis=axis), dim=2,
                                    name=self._output_prefix + "out")
        else:
            outputs = [symbol.Concat(forward, backward, dim=1, name=f"{self._output_prefix}t{i}")
                       for i, (forward, backward) in enumerate(zip(l_outputs, reversed(r_outputs)))]
        return outputs, [l_states, r_states]


class DropoutCell(BaseRNNCell):
    """Dropout with rate `dropout` of what passes, as a layer of a SequentialRNNCell."""

    def __init__(self, dropout, prefix="dropout_", params=None):
        super().__init__(prefix, params)
        if not isinstance(dropout, (int, float)):
            raise AssertionError(f"DropoutCell: dropout must be a number, got {type(dropout).__name__}")
        self.dropout = dropout

    @property
    def state_info(self):
        return []

    def __call__(self, inputs, states):
        if self.dropout > 0:
            inputs = symbol.Dropout(data=inputs, p=self.dropout)
        return inputs, states

    def unroll(self, length, inputs, begin_state=None, layout="NTC", merge_outputs=None):
        self.reset()
        inputs, _ = _normalize_sequence(length, inputs, layout, merge_outputs)
        if isinstance(inputs, Symbol):
            return self(inputs, [])
        return super().unroll(length, inputs, begin_state=begin_state, layout=layout, merge_outputs=merge_outputs)


class ModifierCell(BaseRNNCell):
    """Base of cells that change what another one does; parameters are the other's."""

    def __init__(self, base_cell):
        super().__init__()
        base_cell._modified = True
        self.base_cell = base_cell

    @property
    def params(self):
        self._own_params = False
        return self.base_cell.params

    @property
    def state_info(self):
        return self.base_cell.state_info

    def reset(self):
        super().reset()
        if hasattr(self, "base_cell"):
            self.base_cell.reset()

    def begin_state(self, init_sym=symbol.zeros, func=None, **kwargs):
        """As `BaseRNNCell.begin_state`, under either name of what makes a state."""
        self._check_not_modified()
        self.base_cell._modified = False
        try:
            return self.base_cell.begin_state(func=init_sym if func is None else func, **kwargs)
        finally:
            self.base_cell._modified = True

    def unpack_weights(self, args):
        return self.base_cell.unpack_weights(args)

    def pack_weights(self, args):
        return self.base_cell.pack_weights(args)

    def __call__(self, inputs, states):
        raise NotImplementedError(f"{type(self).__name__} must implement __call__(inputs, states)")


class ZoneoutCell(ModifierCell):
    """Zoneout (Krueger et al., 2016): outputs and states keep, at random, what they were a step before.

    Parameters
    ----------
    base_cell : BaseRNNCell
        One that can be stepped.
    zoneout_outputs, zoneout_states : float
        The rates.
    """

    def __init__(self, base_cell, zoneout_outputs=0.0, zoneout_states=0.0):
        if isinstance(base_cell, FusedRNNCell):
            raise AssertionError("FusedRNNCell doesn't support zoneout. Please unfuse first.")
        if isinstance(base_cell, BidirectionalCell) or isinstance(base_cell, SequentialRNNCell) and any(
                isinstance(cell, BidirectionalCell) for cell in base_cell._cells):
            raise AssertionError("BidirectionalCell doesn't support zoneout since it doesn't support step. "
                                 "Please add ZoneoutCell to the cells underneath instead.")
        super().__init__(base_cell)
        self.zoneout_outputs = zoneout_outputs
        self.zoneout_states = zoneout_states
        self.prev_output = None

    def reset(self):
        super().reset()
        self.prev_output = None

    def __call__(self, inputs, states):
        output, next_states = self.base_cell(inputs, states)

        def keep(rate, new, old):
            return symbol.where(symbol.Dropout(symbol.ones_like(new), p=rate), new, old)

        new_output = output
        if self.zoneout_outputs:
            before = self.prev_output
            if before is None:  # of the output's shape, which inference finds
                before = symbol.zeros((0,) * len(self.state_info[0]["shape"]))
            output = keep(self.zoneout_outputs, new_output, before)
        if self.zoneout_states:
            next_states = [keep(self.zoneout_states, new, old) for new, old in zip(next_states, states)]
        self.prev_output = output
        return output, next_states


class ResidualCell(ModifierCell):
    """Adds the input to the output of another cell (Wu et al., 2016)."""

    def __call__(self, inputs, states):
        output, states = self.base_cell(inputs, states)
        return symbol.elemwise_add(output, inputs, name=f"{output.name}_plus_residual"), states

    def unroll(self, length, inputs, begin_state=None, layout="NTC", merge_outputs=None):
        self.reset()
        self.base_cell._modified = False
        try:
            outputs, states = self.base_cell.unroll(length, inputs=inputs, begin_state=begin_state, layout=layout,
                                                    merge_outputs=merge_outputs)
        finally:
            self.base_cell._modified = True
        merged = isinstance(outputs, Symbol)
        inputs, _ = _normalize_sequence(length, inputs, layout, merged)
        if merged:
            return symbol.elemwise_add(outputs, inputs, name=f"{outputs.name}_plus_residual"), states
        return [symbol.elemwise_add(output, step, name=f"{output.name}_plus_residual")
                for output, step in zip(outputs, inputs)], states
