# SPDX-License-Identifier: Apache-2.0
"""The record of RNN, against a loop over time steps."""

import numpy as np
from ops.harness import FLOATS, ErrorSample, Sample, record

GATES = {"rnn_relu": 1, "rnn_tanh": 1, "lstm": 4, "gru": 3}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def split_parameters(vector, mode, inputs, units, layers, directions, projection):
    """For each layer and direction: the two weights, the projection (or None) and the two biases."""
    gates, state = GATES[mode] * units, projection or units
    at = 0

    def take(*shape):
        nonlocal at
        at += np.prod(shape, dtype=int)
        return vector[at - np.prod(shape, dtype=int) : at].reshape(shape)

    cells = []
    for layer in range(layers):
        for _ in range(directions):
            width = state * directions if layer else inputs
            cells.append([take(gates, width), take(gates, state), take(state, units) if projection else None])
    for cell in cells:
        cell += [take(gates), take(gates)]
    assert at == vector.size
    return cells


def one_step(mode, x, h, c, cell, clip):
    """The state after a step: h' and c'."""
    w, r, projection, b, d = cell
    u, v = x @ w.T + b, h @ r.T + d
    if mode == "lstm":
        i, f, g, o = np.split(u + v, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        c = np.clip(c, *clip) if clip else c
        h = sigmoid(o) * np.tanh(c)
        return (h @ projection.T if projection is not None else h), c
    if mode == "gru":
        (ur, uz, un), (vr, vz, vn) = np.split(u, 3, axis=1), np.split(v, 3, axis=1)
        z = sigmoid(uz + vz)
        return (1 - z) * np.tanh(un + sigmoid(ur + vr) * vn) + z * h, c
    return (np.tanh if mode == "rnn_tanh" else lambda a: np.maximum(a, 0))(u + v), c


def run_direction(mode, x, h, c, cell, clip, ends, backwards):
    """Outputs of all steps and the last state; a row past its end keeps its state and gives 0."""
    outs = np.zeros((x.shape[0], *h.shape))
    for t in reversed(range(x.shape[0])) if backwards else range(x.shape[0]):
        h_new, c_new = one_step(mode, x[t], h, c, cell, clip)
        alive = (t < ends)[:, None]
        h, c = np.where(alive, h_new, h), np.where(alive, c_new, c)
        outs[t] = np.where(alive, h_new, 0)
    return outs, h, c


def rnn(x, parameters, h0, *more, mode, state_size, num_layers, bidirectional=False, state_outputs=False, p=0,
        projection_size=None, lstm_state_clip_min=None, lstm_state_clip_max=None, lstm_state_clip_nan=False,
        use_sequence_length=False):  # fmt: skip
    more = list(more)
    c0 = more.pop(0) if mode == "lstm" else np.zeros((*h0.shape[:2], state_size))
    ends = more.pop(0).astype(int) if use_sequence_length else np.full(x.shape[1], x.shape[0])
    clip = (lstm_state_clip_min, lstm_state_clip_max)
    clip = None if None in clip else clip
    directions = 2 if bidirectional else 1
    cells = split_parameters(parameters, mode, x.shape[2], state_size, num_layers, directions, projection_size)
    last_h, last_c = np.zeros(h0.shape), np.zeros(c0.shape)
    for layer in range(num_layers):
        outs = []
        for d in range(directions):
            k = layer * directions + d
            out, last_h[k], last_c[k] = run_direction(mode, x, h0[k], c0[k], cells[k], clip, ends, d == 1)
            outs.append(out)
        x = np.concatenate(outs, axis=2)
    states = [last_h, last_c] if mode == "lstm" else [last_h]
    return [x, *states] if state_outputs else x


def sample(rng, mode, time=4, batch=3, inputs=5, units=6, layers=1, lengths=None, oracle=True, train=False, **params):
    directions = 2 if params.get("bidirectional") else 1
    gates, projection = GATES[mode] * units, params.get("projection_size", 0)
    state = projection or units
    count = 0
    for layer in range(layers):
        width = state * directions if layer else inputs
        count += directions * (gates * (width + state + 2) + projection * units)
    arrays = [rng.standard_normal((time, batch, inputs)), 0.4 * rng.standard_normal(count)]
    arrays.append(rng.standard_normal((layers * directions, batch, state)))
    if mode == "lstm":
        arrays.append(rng.standard_normal((layers * directions, batch, units)))
    if lengths is not None:
        arrays.append(np.array(lengths, np.int32))
        params["use_sequence_length"] = True
    params.update(mode=mode, state_size=units, num_layers=layers)
    return Sample(arrays, params, train=train, oracle=oracle and lengths is None)


def samples(rng):
    modes = ("rnn_relu", "rnn_tanh", "lstm", "gru")
    return [
        *(sample(rng, mode) for mode in modes),
        *(sample(rng, mode, layers=2, bidirectional=True, state_outputs=True) for mode in modes),
        *(sample(rng, mode, layers=3, time=3, units=19, state_outputs=True) for mode in modes),
        *(sample(rng, mode, time=time, state_outputs=True) for mode in modes for time in (1, 2)),
        *(sample(rng, mode, layers=2, lengths=[4, 1, 0], state_outputs=True) for mode in modes),
        sample(rng, "gru", time=3, lengths=[2, 9, 3], layers=2, bidirectional=True, state_outputs=True),
        sample(rng, "lstm", batch=1, units=40, inputs=3),
        sample(rng, "lstm", batch=14, units=33, inputs=2, time=3, state_outputs=True),
        sample(rng, "lstm", layers=2, projection_size=4, state_outputs=True),
        sample(rng, "lstm", layers=2, projection_size=3, bidirectional=True, time=2, oracle=False),
        sample(rng, "lstm", layers=2, projection_size=3, bidirectional=True, lengths=[1, 4, 3], state_outputs=True),
        sample(rng, "lstm", state_outputs=True, lstm_state_clip_min=-0.3, lstm_state_clip_max=0.5, oracle=False),
        sample(rng, "gru", layers=2, p=0.0, train=True),
        sample(rng, "gru", batch=0, oracle=False),
        sample(rng, "lstm", time=0, state_outputs=True, oracle=False),
        sample(rng, "rnn_tanh", inputs=0, oracle=False),
    ]


def bad(rng=None, **change):
    shapes = {"data": (4, 3, 5), "parameters": (234,), "state": (1, 3, 6)}
    params = dict(mode="gru", state_size=6, num_layers=1)
    for key, value in change.items():
        (shapes if key in shapes else params)[key] = value
    return [np.ones(shape) for shape in shapes.values()], params


record(
    "RNN",
    dtypes=FLOATS,
    grad=True,
    rtol={"float32": 1e-4, "float16": 2e-2, "bfloat16": 8e-2},
    samples=samples,
    reference=rnn,
    errors=[
        ErrorSample(*bad(data=(4, 5)), "time, batch, features"),
        ErrorSample(*bad(parameters=(7,)), "parameters"),
        ErrorSample(*bad(state=(1, 2, 6)), "state"),
        ErrorSample(*bad(mode="elman"), "mode"),
        ErrorSample(*bad(p=2.0), "p"),
        ErrorSample(*bad(state_size=0), "state_size"),
        ErrorSample(*bad(num_layers=0), "num_layers"),
        ErrorSample(*bad(projection_size=3), "projection_size"),
        ErrorSample(*bad(use_sequence_length=True), "4 inputs"),
        ErrorSample(*bad(lstm_state_clip_min=1.0, lstm_state_clip_max=0.0), "lstm_state_clip_min"),
    ],
)

record(
    "_rnn_param_concat",
    dtypes=FLOATS,
    grad=True,
    samples=lambda rng: [Sample([rng.standard_normal(n) for n in (6, 4, 2)], dict(dim=0))],
    reference=lambda *parts, dim: np.concatenate(parts, dim),
)
