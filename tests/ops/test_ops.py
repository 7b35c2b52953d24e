# SPDX-License-Identifier: Apache-2.0
"""The generic checks, for every record and sample."""

import os
import pathlib
import subprocess
import sys

import pytest
from ops.harness import EXEMPT, RECORDS, load_records

from ops import harness

load_records()


def cases(want=lambda rec, sample: True):
    """(record, sample index) of all samples that a check is for."""
    found = []
    for rec in RECORDS.values():
        for i, sample in enumerate(rec.make_samples()):
            if want(rec, sample):
                found.append(pytest.param(rec, sample, id=f"{rec.name}-{i}"))
    return found


def first_cases(want=lambda rec, sample: True):
    seen, found = set(), []
    for case in cases(want):
        if case.values[0].name not in seen:
            seen.add(case.values[0].name)
            found.append(case)
    return found


def has_gradient(rec, sample):
    return rec.grad and sample.grad


def has_inputs(rec, sample):
    return bool(sample.inputs) and not rec.random


def has_outputs(rec, sample):
    return rec.out and not rec.random


@pytest.mark.parametrize("rec,sample", cases())
def test_value(rec, sample):
    harness.check_value(rec, sample)


@pytest.mark.parametrize(
    "rec,sample,dtype",
    [
        pytest.param(*case.values, dtype, id=f"{case.id}-{dtype}")
        for case in first_cases(lambda rec, sample: not rec.random and rec.data_inputs(sample))
        for dtype in case.values[0].dtypes
        if dtype != "float32"
    ],
)
def test_dtype(rec, sample, dtype):
    harness.check_value(rec, sample, dtype)


@pytest.mark.parametrize("rec,sample", cases(has_gradient))
def test_gradient(rec, sample):
    harness.check_gradient(rec, sample)


def has_second_order(rec, sample):
    return has_gradient(rec, sample) and rec.second_order and rec.grad_dtype == "float64"


@pytest.mark.parametrize("rec,sample", first_cases(has_second_order))
def test_second_order(rec, sample):
    harness.check_second_order(rec, sample)


def second_order_rest():
    first = {case.id for case in first_cases(has_second_order)}
    return [case for case in cases(has_second_order) if case.id not in first]


@pytest.mark.slow
@pytest.mark.parametrize("rec,sample", second_order_rest())
def test_second_order_of_all_samples(rec, sample):
    harness.check_second_order(rec, sample)


@pytest.mark.parametrize("rec,sample", first_cases(has_gradient))
def test_grad_req(rec, sample):
    harness.check_grad_req(rec, sample)


@pytest.mark.parametrize("rec,sample", first_cases(has_outputs))
def test_out(rec, sample):
    harness.check_out(rec, sample)


@pytest.mark.parametrize("rec,sample", first_cases(has_inputs))
def test_views(rec, sample):
    harness.check_views(rec, sample)


@pytest.mark.parametrize("rec,sample", first_cases(lambda rec, s: has_inputs(rec, s) and rec.inplace and rec.out))
def test_inplace(rec, sample):
    harness.check_inplace(rec, sample)


@pytest.mark.parametrize(
    "rec,sample", first_cases(lambda rec, sample: bool(sample.inputs) and sample.inputs[0].ndim > 0)
)
def test_empty(rec, sample):
    harness.check_empty(rec, sample)


@pytest.mark.parametrize("rec,sample", cases(lambda rec, sample: rec.symbolic))
def test_symbol(rec, sample):
    harness.check_symbol(rec, sample)


@pytest.mark.parametrize("rec,sample", cases(lambda rec, sample: rec.hybrid and bool(sample.inputs)))
def test_hybrid(rec, sample):
    harness.check_hybrid(rec, sample)


@pytest.mark.parametrize(
    "rec,bad",
    [
        pytest.param(rec, bad, id=f"{rec.name}-{i}")
        for rec in RECORDS.values()
        for i, bad in enumerate(rec.make_errors())
    ],
)
def test_error(rec, bad):
    harness.check_error(rec, bad)


def test_every_operator_has_a_record():
    missing = [name for name in harness.operators() if name not in RECORDS and name not in EXEMPT]
    assert not missing, f"{len(missing)} operators without a record: {', '.join(missing)}"


def test_every_record_has_an_operator():
    known = set(harness.operators())
    unknown = [name for name in [*RECORDS, *EXEMPT] if name not in known]
    assert not unknown, f"records of operators that do not exist: {', '.join(unknown)}"


@pytest.mark.parametrize(
    "mode", ["MXNET_DEBUG_QUEUE", "MXNET_DEBUG_INLINE", "MXNET_DEBUG_POISON", "MXNET_DEBUG_RELAYOUT"]
)
def test_debug_mode(mode):
    script = pathlib.Path(__file__).with_name("debug_run.py")
    result = subprocess.run(
        [sys.executable, str(script)], env=os.environ | {mode: "1"}, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]
