# SPDX-License-Identifier: Apache-2.0
"""Calls operators with arguments that make no sense. A call ends with a result or a Python exception.

    python tests/ops/fuzz_run.py SEED CALLS [OPERATOR ...]

Prints each call before it is made when MXNET_FUZZ_TRACE is set, so that the last line of a crash names it.
"""
import os
import re
import sys

import numpy as np

import mxnet as mx
from mxnet import nd
from mxnet._core import _ext

DTYPES = ["float32", "float32", "float32", "float64", "float16", "bfloat16", "int32", "int64", "int8", "uint8", "bool"]
# Extents stay small, so that a call that is accepted is cheap.
NUMBERS = [0, 1, 2, 3, -1, -2, 5, 7, 0.5, -0.5, 1e-3, float("inf"), float("nan"), -7, 16]


def random_shape(rng):
    extents = rng.choice([0, 1, 2, 3, 4, 5, 7], size=rng.integers(0, 6), p=[.05, .2, .25, .2, .15, .1, .05])
    return tuple(int(n) for n in extents)


def random_array(rng, like=None):
    shape = like if like is not None and rng.random() < 0.6 else random_shape(rng)
    values = rng.choice([0, 1, 2, 3, -1, 0.5, 100, -7, np.nan, np.inf, 1e30], size=shape)
    with np.errstate(all="ignore"):
        return nd.array(values).astype(DTYPES[rng.integers(len(DTYPES))])


def random_value(rng, kind):
    words = re.findall(r"'([^']*)'", kind)
    if words and rng.random() < 0.9:
        return words[rng.integers(len(words))]
    if "oolean" in kind and rng.random() < 0.9:
        return bool(rng.integers(2))
    if "dtype" in kind and rng.random() < 0.8:
        return DTYPES[rng.integers(len(DTYPES))]
    if ("Shape" in kind or "tuple" in kind) and rng.random() < 0.9:
        items = [NUMBERS[rng.integers(9)] for _ in range(rng.integers(0, 5))]
        return tuple(int(i) if isinstance(i, float) and i == i and abs(i) < 9 else i for i in items)
    choice = rng.integers(12)
    if choice == 0:
        return None
    if choice == 1:
        return "text"
    if choice == 2:
        return (1, 2)
    if choice == 3:
        return 2**40
    return NUMBERS[rng.integers(len(NUMBERS))]


def one_call(rng, name):
    info = _ext.op_info(name)
    count = int(rng.integers(1, 4)) if info["variadic"] else len(info["inputs"])
    if rng.random() < 0.15:
        count = int(rng.integers(0, 5))
    first = random_shape(rng)
    arrays = [random_array(rng, first) for _ in range(count)]
    params = {p["name"]: random_value(rng, p["type"]) for p in info["params"]
              if p["name"] != "ctx" and (p["required"] or rng.random() < 0.3)}
    # Sizes of results come from these: keep them small.
    for key in ("num_hidden", "num_filter", "depth", "input_dim", "output_dim", "repeats", "num_outputs", "N", "M",
                "num"):
        if isinstance(params.get(key), (int, float)) and not abs(params[key]) <= 16:
            params[key] = 3
    for key in ("shape", "kernel", "reps", "pad_width", "target_shape", "stop", "start", "step", "repeat", "size"):
        if params.get(key) == 2**40:
            params[key] = 3
    function = _ext.OpFunction(name)
    if os.environ.get("MXNET_FUZZ_TRACE"):
        print(name, [(a.shape, _ext.dtype_name(a.dtype)) for a in arrays], params, file=sys.stderr, flush=True)
    record = rng.random() < 0.4
    for a in arrays:
        if record:
            a.attach_grad()
    try:
        with mx.autograd.record() if record else mx.autograd.pause():
            out = function(*arrays, **params)
        outs = out if isinstance(out, list) else [out]
        if record:
            mx.autograd.backward(outs)
            for a in arrays:
                a.grad.wait_to_read()
        for o in outs:
            o.asnumpy()
        nd.waitall()
    except (mx.MXNetError, TypeError, ValueError):
        try:
            nd.waitall()
        except mx.MXNetError:
            pass


def main():
    seed, calls = int(sys.argv[1]), int(sys.argv[2])
    names = sys.argv[3:] or sorted({_ext.op_info(n)["name"] for n in _ext.list_ops()})
    mx.storage.set_limit(2 << 30)
    for name in names:
        rng = np.random.default_rng([seed, sum(name.encode())])
        for _ in range(calls):
            one_call(rng, name)
    assert float((nd.ones((3,)) * 2).sum().asscalar()) == 6.0
    print(f"{len(names)} operators, {calls} calls each, seed {seed}: fine")


if __name__ == "__main__":
    main()
