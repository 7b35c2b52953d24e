# SPDX-License-Identifier: Apache-2.0
"""The samples of the operator records, here and in MXNet 1.9.1: equal outputs, written inputs and gradients.

Needs the interpreter of an environment with mxnet 1.9.1 in MXNET_ORACLE_PYTHON; skipped without.
"""

import numpy as np
import pytest
from oracle.client import Oracle, available, pack, unpack

import mxnet as mx
from ops import harness

pytestmark = pytest.mark.skipif(not available, reason="MXNET_ORACLE_PYTHON names no interpreter")


@pytest.fixture(scope="module")
def oracle():
    client = Oracle()
    yield client
    client.close()


def cases():
    harness.load_records()
    return [
        pytest.param(rec, sample, id=f"{rec.name}-{i}")
        for rec in harness.RECORDS.values()
        if rec.oracle and not rec.random
        for i, sample in enumerate(rec.make_samples())
        if sample.oracle and all(x.size for x in sample.inputs)  # to 1.9.1 an extent of 0 means an unknown one
    ]


def close(rec, got, want, what):
    tolerance = max(rec.rtol.get("float32", 1e-5), 1e-5)
    assert got.shape == want.shape, f"{rec.name}: {what}: shape {got.shape}, in 1.9.1 {want.shape}"
    np.testing.assert_allclose(
        np.asarray(got, np.float64),
        np.asarray(want, np.float64),
        rtol=tolerance,
        atol=max(rec.atol or 0, 1e-5),
        err_msg=f"{rec.name}: {what}",
    )


# 1.9.1 has no gradient here, or a wrong one: max pooling outside of training keeps no places.
NO_GRADIENT_THERE = {"_grad_add", "_slice_assign", "_slice_assign_scalar", "_image_to_tensor", "batch_take"}


def compares_gradient(rec, sample):
    if not (rec.grad and sample.grad) or rec.name in NO_GRADIENT_THERE:
        return False
    return not (sample.params.get("projection_size") or (rec.name == "Pooling" and not sample.train))


@pytest.mark.parametrize("rec,sample", cases())
def test_same_as_mxnet_1_9(oracle, rec, sample):
    inputs = [np.asarray(x, np.float32) if x.dtype == np.float64 else x for x in sample.inputs]
    arrays = [mx.nd.array(x, dtype=x.dtype.name) for x in inputs]
    with harness.scope(sample):
        outs = harness.call(rec, arrays, sample.params)
    differentiable = len(harness.differentiable(outs)) == len(outs)
    grad = rec.data_inputs(sample) if compares_gradient(rec, sample) and differentiable else []
    heads = [h.astype(np.float32) for h in harness.make_heads(outs)]
    theirs = oracle.ask(
        {
            "name": rec.name,
            "inputs": [pack(x) for x in inputs],
            "params": sample.params,
            "train": sample.train,
            "grad": grad,
            "heads": [pack(h) for h in heads],
            "written": list(rec.mutated),
        }
    )
    assert "error" not in theirs, f"{rec.name}: 1.9.1 says {theirs['error']}"
    assert len(outs) == len(theirs["outputs"])
    for k, (got, want) in enumerate(zip(outs, theirs["outputs"], strict=True)):
        close(rec, got.asnumpy(), unpack(want), f"output {k}")
        assert harness.dtype_name(got) == unpack(want).dtype.name, f"{rec.name}: dtype of output {k}"
    for i, want in zip(rec.mutated, theirs["written"], strict=True):
        close(rec, arrays[i].asnumpy(), unpack(want), f"written input {i}")
    fresh = [mx.nd.array(x, dtype=x.dtype.name) for x in inputs]
    ours = harness.gradients(rec, sample, fresh) if grad else []
    for i, got, want in zip(grad, ours, theirs["gradients"], strict=True):
        close(rec, got.asnumpy(), unpack(want), f"gradient of input {i}")
