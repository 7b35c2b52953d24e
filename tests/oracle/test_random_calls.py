# SPDX-License-Identifier: Apache-2.0
"""Randomly changed samples give what they give in MXNet 1.9.1; see random_calls.py."""

import pytest
from oracle.client import Oracle, available
from oracle.random_calls import differences, intended

from ops import harness

pytestmark = pytest.mark.skipif(not available, reason="MXNET_ORACLE_PYTHON names no interpreter")


@pytest.fixture(scope="module")
def oracle():
    client = Oracle(patience=20)
    yield client
    client.close()


@pytest.mark.parametrize("name", sorted(n for n, rec in harness.load_records().items() if rec.oracle))
def test_random_calls(oracle, name):
    found = [f"{call}\n  {kind}: {text}" for kind, text, call in differences(oracle, harness.RECORDS[name], 5, 20)
             if not intended(kind, text, call)]
    assert not found, "\n".join(found)
