# SPDX-License-Identifier: Apache-2.0
"""Records of the operators on storage types, here on dense arrays; tests/python/ndarray/test_sparse.py has the rest."""

import numpy as np
from ops.harness import ALL_DTYPES, FLOATS, ErrorSample, Sample, record


def retained(data, indices):
    keep = np.zeros(len(data), bool)
    keep[np.asarray(indices, np.int64)] = True
    return np.where(keep.reshape(-1, *[1] * (data.ndim - 1)), data, 0)


record("cast_storage", dtypes=ALL_DTYPES, grad=True, grad_dtype="float64",
       samples=lambda rng: [Sample([rng.standard_normal((3, 4))], dict(stype="default")),
                            Sample([rng.standard_normal(5)], dict(stype="default"))],
       reference=lambda x, stype: x,
       errors=[ErrorSample([np.ones((2, 2))], dict(stype="dense"), "stype")])

record("_sparse_retain", dtypes=FLOATS, grad=True, data=(0,), oracle=False,
       samples=lambda rng: [Sample([rng.standard_normal((5, 3)), np.array([3, 1, 3])]),
                            Sample([rng.standard_normal((4, 2, 2)), np.array([0.0, 2.0])]),
                            Sample([rng.standard_normal((4, 2)), np.zeros(0)])],
       reference=retained,
       errors=[ErrorSample([np.ones((3, 2)), np.array([5])], {}, "out of range", at_wait=True),
               ErrorSample([np.ones((3, 2)), np.ones((2, 2))], {}, "indices")])
