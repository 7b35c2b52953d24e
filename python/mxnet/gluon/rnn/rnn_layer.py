# SPDX-License-Identifier: Apache-2.0
"""Recurrent layers over whole sequences, each one call of the operator RNN."""
from __future__ import annotations

import re

from ... import ndarray as nd
from ... import symbol as sym
from .. import _trace
from ..block import HybridBlock
from .rnn_cell import BidirectionalCell, DropoutCell, GRUCell, HybridSequentialRNNCell, LSTMCell, RNNCell

__all__ = ["GRU", "LSTM", "RNN"]

_GATES = {"rnn_relu": 1, "rnn_tanh": 1, "lstm": 4, "gru": 3}


class _RNNLayer(HybridBlock):
    """What all three share. Parameters are named `l0_i2h_weight`, `r0_...` for the backward direction, and so on."""

    def __init__(self, hidden_size, num_layers, layout, dropout, bidirectional, input_size, i2h_weight_initializer,
                 h2h_weight_initializer, i2h_bias_initializer, h2h_bias_initializer, mode, projection_size=None,
                 h2r_weight_initializer=None, lstm_state_clip_min=None, lstm_state_clip_max=None,
                 lstm_state_clip_nan=None, dtype="float32", use_sequence_length=False, **kwargs):
        super().__init__(**kwargs)
        if layout not in ("TNC", "NTC"):
            raise AssertionError(f"Invalid layout {layout}; must be one of ['TNC' or 'NTC']")
        self._hidden_size = hidden_size
        self._projection_size = projection_size
        self._num_layers = num_layers
        self._mode = mode
        self._layout = layout
        self._dropout = dropout
        self._dir = 2 if bidirectional else 1
        self._input_size = input_size
        self._dtype = dtype
        self._use_sequence_length = use_sequence_length
        self._clip = {"lstm_state_clip_min": lstm_state_clip_min, "lstm_state_clip_max": lstm_state_clip_max,
                      "lstm_state_clip_nan": bool(lstm_state_clip_nan)}
        self._initializers = {"i2h_weight": i2h_weight_initializer, "h2h_weight": h2h_weight_initializer,
                              "h2r_weight": h2r_weight_initializer, "i2h_bias": i2h_bias_initializer,
                              "h2h_bias": h2h_bias_initializer}
        for layer in range(num_layers):
            for direction in "lr"[:self._dir]:
                for kind, shape in self._shapes(layer).items():
                    name = f"{direction}{layer}_{kind}"
                    setattr(self, name, self.params.get(name, shape=shape, init=self._initializers[kind],
                                                        allow_deferred_init=True, dtype=dtype))

        # The order in which the operator takes them: the weights of all layers, then the biases.
        self._order = [f"{direction}{layer}_{kind}" for kinds in (("i2h_weight", "h2h_weight", "h2r_weight"),
                                                                  ("i2h_bias", "h2h_bias"))
                       for layer in range(num_layers) for direction in "lr"[:self._dir] for kind in kinds]

    def _shapes(self, layer):
        gates = _GATES[self._mode] * self._hidden_size
        state = self._projection_size or self._hidden_size
        shapes = {"i2h_weight": (gates, state * self._dir if layer else self._input_size),
                  "h2h_weight": (gates, state), "i2h_bias": (gates,), "h2h_bias": (gates,)}
        if self._projection_size:
            shapes["h2r_weight"] = (self._projection_size, self._hidden_size)
        return shapes

    def __repr__(self):
        inputs = self.l0_i2h_weight.shape[1] or None
        text = f"{inputs} -> {self._hidden_size}, {self._layout}"
        if self._num_layers != 1:
            text += f", num_layers={self._num_layers}"
        if self._dropout != 0:
            text += f", dropout={self._dropout}"
        if self._dir == 2:
            text += ", bidirectional"
        return f"{type(self).__name__}({text})"

    def _collect_params_with_prefix(self, prefix=""):
        """Files name the parameters as those of a stack of cells."""
        prefix = prefix + "._unfused." if prefix else "_unfused."
        found = {}
        for name, param in self._reg_params.items():
            direction, layer, kind = re.fullmatch(r"([lr])(\d+)_(\w+)", name).groups()
            found[f"{prefix}{layer}.{direction}_cell.{kind}" if self._dir == 2 else f"{prefix}{layer}.{kind}"] = param
        return found

    def cast(self, dtype):
        super().cast(dtype)
        self._dtype = dtype

    def state_info(self, batch_size=0):
        """Shapes and layouts of the states."""
        raise NotImplementedError

    def _state_info(self, batch_size, *sizes):
        return [{"shape": (self._num_layers * self._dir, batch_size, size), "__layout__": "LNC", "dtype": self._dtype}
                for size in sizes]

    def begin_state(self, batch_size=0, func=nd.zeros, **kwargs):
        """States for the first step.

        Parameters
        ----------
        batch_size : int
        func : callable
            Makes one state: `func(name=..., shape=..., dtype=..., ...)`; `mx.nd.zeros` by default. For symbols use
            `mx.sym.zeros` or `mx.sym.var`.
        **kwargs
            More arguments of `func`, such as `ctx`.
        """
        return [func(name=f"{self.prefix}h0_{i}", **{**info, **kwargs})
                for i, info in enumerate(self.state_info(batch_size))]

    def _unfuse(self):
        """The same network as a stack of cells, which shares the parameters."""
        if self._projection_size:
            raise AssertionError("_unfuse does not support projection layer yet!")
        if self._clip["lstm_state_clip_min"] is not None or self._clip["lstm_state_clip_max"] is not None:
            raise AssertionError("_unfuse does not support state clipping yet!")
        make = {"rnn_relu": lambda **more: RNNCell(self._hidden_size, activation="relu", **more),
                "rnn_tanh": lambda **more: RNNCell(self._hidden_size, activation="tanh", **more),
                "lstm": lambda **more: LSTMCell(self._hidden_size, **more),
                "gru": lambda **more: GRUCell(self._hidden_size, **more)}[self._mode]
        stack = HybridSequentialRNNCell(prefix=self.prefix, params=self.params)
        with stack.name_scope():
            for layer in range(self._num_layers):
                more = {"input_size": self._hidden_size * self._dir if layer else self._input_size}
                more.update({f"{kind}_initializer": self._initializers[kind]
                             for kind in ("i2h_weight", "h2h_weight", "i2h_bias", "h2h_bias")})
                cells = [make(prefix=f"{direction}{layer}_", **more) for direction in "lr"[:self._dir]]
                stack.add(BidirectionalCell(*cells) if self._dir == 2 else cells[0])
                if self._dropout > 0 and layer != self._num_layers - 1:
                    stack.add(DropoutCell(self._dropout))
        return stack

    def infer_shape(self, inputs, *args):
        if inputs.ndim != 3:
            raise AssertionError("Input data should be rank-3 tensor of dim [sequence length, batch size, input size], "
                                 f"got shape {inputs.shape}")
        for direction in "lr"[:self._dir]:
            weight = getattr(self, f"{direction}0_i2h_weight")
            weight.shape = (weight.shape[0], inputs.shape[2])

    def __call__(self, inputs, states=None, sequence_length=None):
        """Run over whole sequences.

        Parameters
        ----------
        inputs : NDArray or Symbol
            Of shape (time, batch, features), or (batch, time, features) with layout 'NTC'.
        states : list of NDArray or Symbol, optional
            Begin states as from `begin_state`; zeros by default.
        sequence_length : NDArray or Symbol, optional
            Length of each sequence, of shape (batch,); for layers with `use_sequence_length=True`.

        Returns
        -------
        The outputs of the last layer for each step, and if states were given also the states after the last step.
        """
        given = states is not None
        if not given:
            if isinstance(inputs, nd.NDArray):
                states = self.begin_state(inputs.shape[self._layout.find("N")], ctx=inputs.context, dtype=inputs.dtype)
            else:
                states = self.begin_state(0, func=sym.zeros)
        elif isinstance(states, (nd.NDArray, sym.Symbol)):
            states = [states]
        # Whether states are returned is part of what a compiled graph depends on: lists are, tuples are not.
        states = list(states) if given else tuple(states)
        if self._use_sequence_length and sequence_length is not None:
            return super().__call__(inputs, states, sequence_length)
        return super().__call__(inputs, states)

    def hybrid_forward(self, F, inputs, states, sequence_length=None, **params):
        if self._layout == "NTC":
            inputs = F.swapaxes(inputs, dim1=0, dim2=1)
        more = [*states, sequence_length] if sequence_length is not None else states
        attributes = {"use_sequence_length": sequence_length is not None, "state_size": self._hidden_size,
                      "projection_size": self._projection_size, "num_layers": self._num_layers,
                      "bidirectional": self._dir == 2, "p": self._dropout, "state_outputs": True, "mode": self._mode,
                      **self._clip}
        parts = [params[name] for name in self._order if name in params]
        if F is nd and not _trace.is_recording_arrays():
            outputs, *last = F._internal._rnn_parts(inputs, *more, *parts, **attributes)
        else:
            # Graphs hold what other versions can read; compiling them takes the concatenation away again.
            flat = [F.reshape(part, shape=(-1,)) for part in parts]
            outputs, *last = F.RNN(inputs, F._internal._rnn_param_concat(*flat, dim=0), *more, **attributes)
        if self._layout == "NTC":
            outputs = F.swapaxes(outputs, dim1=0, dim2=1)
        return (outputs, last) if isinstance(states, list) else outputs


class RNN(_RNNLayer):
    """Layers with h' = tanh(W x + b + R h + d), or relu.

    Parameters
    ----------
    hidden_size : int
        Number of features of a state.
    num_layers : int
    activation : {'relu', 'tanh'}
    layout : {'TNC', 'NTC'}
        Order of time, batch and features in inputs and outputs.
    dropout : float
        Part of the outputs of each layer but the last that training drops.
    bidirectional : bool
        Whether each layer also runs backwards in time; outputs of both directions lie beside each other.
    i2h_weight_initializer, h2h_weight_initializer, i2h_bias_initializer, h2h_bias_initializer : str or Initializer
    input_size : int
        Number of features of the inputs; found in the first forward pass if 0.
    dtype : str
    use_sequence_length : bool
        Whether calls take `sequence_length`.

    Inputs and outputs: see `__call__`; states are one array (layers * directions, batch, hidden_size).
    """

    def __init__(self, hidden_size, num_layers=1, activation="relu", layout="TNC", dropout=0, bidirectional=False,
                 i2h_weight_initializer=None, h2h_weight_initializer=None, i2h_bias_initializer="zeros",
                 h2h_bias_initializer="zeros", input_size=0, dtype="float32", **kwargs):
        super().__init__(hidden_size, num_layers, layout, dropout, bidirectional, input_size, i2h_weight_initializer,
                         h2h_weight_initializer, i2h_bias_initializer, h2h_bias_initializer, "rnn_" + activation,
                         dtype=dtype, **kwargs)

    def state_info(self, batch_size=0):
        return self._state_info(batch_size, self._hidden_size)


class LSTM(_RNNLayer):
    """Long short-term memory: i, f, o = sigmoid, g = tanh of W x + b + R h + d; c' = f c + i g; h' = o tanh(c').

    Parameters are those of `RNN`, without `activation`, and:

    projection_size : int, optional
        The state that goes to the next step and layer is a projection of h' to this size.
    h2r_weight_initializer : str or Initializer
        Of the projection.
    state_clip_min, state_clip_max : float, optional
        Bounds of the cell state, to be given together.
    state_clip_nan : bool
        Whether clipping stops NaN.

    The states are h (layers * directions, batch, projection or hidden_size) and c (..., hidden_size).
    """

    def __init__(self, hidden_size, num_layers=1, layout="TNC", dropout=0, bidirectional=False, input_size=0,
                 i2h_weight_initializer=None, h2h_weight_initializer=None, i2h_bias_initializer="zeros",
                 h2h_bias_initializer="zeros", projection_size=None, h2r_weight_initializer=None, state_clip_min=None,
                 state_clip_max=None, state_clip_nan=False, dtype="float32", **kwargs):
        super().__init__(hidden_size, num_layers, layout, dropout, bidirectional, input_size, i2h_weight_initializer,
                         h2h_weight_initializer, i2h_bias_initializer, h2h_bias_initializer, "lstm", projection_size,
                         h2r_weight_initializer, state_clip_min, state_clip_max, state_clip_nan, dtype, **kwargs)

    def state_info(self, batch_size=0):
        return self._state_info(batch_size, self._projection_size or self._hidden_size, self._hidden_size)


class GRU(_RNNLayer):
    """Gated recurrent units: r, z = sigmoid(W x + b + R h + d), n = tanh(W x + b + r (R h + d)), h' = (1 - z) n + z h.

    Parameters are those of `RNN`, without `activation`.
    """

    def __init__(self, hidden_size, num_layers=1, layout="TNC", dropout=0, bidirectional=False, input_size=0,
                 i2h_weight_initializer=None, h2h_weight_initializer=None, i2h_bias_initializer="zeros",
                 h2h_bias_initializer="zeros", dtype="float32", **kwargs):
        super().__init__(hidden_size, num_layers, layout, dropout, bidirectional, input_size, i2h_weight_initializer,
                         h2h_weight_initializer, i2h_bias_initializer, h2h_bias_initializer, "gru", dtype=dtype,
                         **kwargs)

    def state_info(self, batch_size=0):
        return self._state_info(batch_size, self._hidden_size)
