# SPDX-License-Identifier: Apache-2.0
"""Runs under MXNet 1.9.1: reads calls (operator, inputs, parameters), answers with outputs and gradients.

Messages are pickles with a length in front, arrays as (dtype, shape, bytes), so that two versions of NumPy understand
each other.
"""

import os
import pickle
import struct
import sys

answers = os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)  # what the library prints must not mix with the answers

import numpy as np  # noqa: E402

import mxnet as mx  # noqa: E402

assert mx.__version__.startswith("1.9"), f"this is mxnet {mx.__version__} of {mx.__file__}"


def unpack(packed):
    dtype, shape, data = packed
    return np.frombuffer(data, dtype).reshape(shape)


def pack(array):
    array = np.asarray(array, order="C")
    return array.dtype.str, array.shape, array.tobytes()


def function(name):
    for module in (mx.nd, mx.nd._internal, mx.nd.op):
        if hasattr(module, name):
            return getattr(module, name)
    for prefix, module in (("_contrib_", mx.nd.contrib), ("_linalg_", mx.nd.linalg), ("_image_", mx.nd.image)):
        if name.startswith(prefix):
            return getattr(module, name[len(prefix) :])
    raise AttributeError(name)


def answer(call):
    inputs = [mx.nd.array(unpack(x), dtype=unpack(x).dtype) for x in call["inputs"]]
    for i in call["grad"]:
        inputs[i].attach_grad()
    scope = mx.autograd.record if call["grad"] else mx.autograd.pause
    with scope(train_mode=call["train"]):
        outs = function(call["name"])(*inputs, **call["params"])
    outs = list(outs) if isinstance(outs, (list, tuple)) else [outs]
    result = {"outputs": [pack(o.asnumpy()) for o in outs], "gradients": []}
    if call["grad"]:
        heads = [mx.nd.array(unpack(h), dtype=o.dtype) for h, o in zip(call["heads"], outs)]
        mx.autograd.backward(outs, heads)
        result["gradients"] = [pack(inputs[i].grad.asnumpy()) for i in call["grad"]]
    result["written"] = [pack(inputs[i].asnumpy()) for i in call["written"]]
    return result


def send(message):
    data = pickle.dumps(message, protocol=4)
    answers.write(struct.pack("<q", len(data)) + data)
    answers.flush()


def main():
    source = sys.stdin.buffer
    while True:
        head = source.read(8)
        if len(head) < 8:
            return
        call = pickle.loads(source.read(struct.unpack("<q", head)[0]))
        try:
            send(answer(call))
        except Exception as error:  # goes back to the test, which says what it means
            send({"error": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    main()
