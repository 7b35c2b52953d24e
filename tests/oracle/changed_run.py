# SPDX-License-Identifier: Apache-2.0
"""Calls operators with changed samples, without 1.9.1: for runs under AddressSanitizer.

    python tests/oracle/changed_run.py SEED CALLS [OPERATOR ...]

The calls of random_calls.py, eager and hybridized, forward and backward: valid ones of odd extents are what finds a
kernel that reads or writes outside of its arrays. `make fuzz-asan` runs it. Prints each call before it is made when
MXNET_FUZZ_TRACE is set.
"""

import copy
import os
import pathlib
import sys
import zlib

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

from oracle import random_calls

import mxnet as mx
from ops import harness

REFUSALS = (mx.MXNetError, TypeError, ValueError, IndexError)


def hybridized(rec, call):
    """The same call in a hybridized block, forward and backward."""
    arrays = [mx.nd.array(x, dtype=x.dtype.name) for x in call.inputs]
    for i in call.grad:
        arrays[i].attach_grad()
    block = harness.hybrid_block(rec, harness.Sample(call.inputs, call.params))
    with mx.autograd.record(train_mode=call.train):
        outs = harness.as_list(block(*arrays))
    if call.grad:
        mx.autograd.backward([o for o in outs if harness.dtype_name(o) in harness.FLOATS])
    mx.nd.waitall()


def main():
    seed, calls = int(sys.argv[1]), int(sys.argv[2])
    harness.load_records()
    names = sys.argv[3:] or sorted(harness.RECORDS)
    mx.storage.set_limit(2 << 30)
    accepted = 0
    for name in names:
        rec = harness.RECORDS[name]
        rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
        for _ in range(calls):
            call = random_calls.random_call(rec, rng)
            if os.environ.get("MXNET_FUZZ_TRACE"):
                print(call, file=sys.stderr, flush=True)
            if "error" in random_calls.here(rec, copy.deepcopy(call)):
                continue
            accepted += 1
            if not (rec.hybrid and call.inputs):
                continue
            try:
                hybridized(rec, call)
            except REFUSALS:
                continue
    print(f"{len(names)} operators, {accepted} of {calls * len(names)} calls accepted, seed {seed}: fine")


if __name__ == "__main__":
    main()
