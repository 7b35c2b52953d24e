# SPDX-License-Identifier: Apache-2.0
"""Ordering beside NumPy's stable sort: ties, NaN, both zeros, few and many of a row."""

import numpy as np
import pytest

from mxnet import nd


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int32", "uint8"])
@pytest.mark.parametrize("extent", [40, 300, 1000])
def test_topk_of_few(dtype, extent):
    rng = np.random.default_rng(extent)
    x = rng.integers(0 if dtype == "uint8" else -20, 20, (7, extent)).astype(dtype)
    if x.dtype.kind == "f":
        x[rng.random(x.shape) < 0.01] = np.nan
        x[rng.random(x.shape) < 0.02] = -0.0
    key = x.astype("float64")
    key[np.isnan(key)] = np.inf  # the largest
    for k in (1, 3, 5):
        for ascending in (False, True):
            order = np.argsort(key if ascending else -key, axis=1, kind="stable")[:, :k]
            options = {"k": k, "is_ascend": ascending, "dtype": "int32"}
            rows, columns = nd.array(x, dtype=dtype), nd.array(x.T, dtype=dtype)
            np.testing.assert_array_equal(nd.topk(rows, **options).asnumpy(), order)
            np.testing.assert_array_equal(nd.topk(columns, axis=0, **options).asnumpy().T, order)
