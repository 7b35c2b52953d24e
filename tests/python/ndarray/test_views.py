# SPDX-License-Identifier: Apache-2.0
"""Which results share memory with their source, checked by writing in both directions."""
import numpy as np
import pytest

import mxnet as mx
from mxnet import nd

VIEWS = {
    "row": lambda x: x[0],
    "last row": lambda x: x[-1],
    "rows": lambda x: x[0:2],
    "full slice": lambda x: x[:],
    "element range of a row": lambda x: x[0, 1:3],
    "row as matrix": lambda x: x[0:1, 1],
    "new axis": lambda x: x[None, 0],
    "reshape method": lambda x: x.reshape((-1,)),
    "reshape codes": lambda x: x.reshape((0, -2)),
    "detach": lambda x: x.detach(),
    "astype without copy": lambda x: x.astype("float32", copy=False),
    "same context": lambda x: x.as_in_context(mx.cpu(0)),
    "expand_dims in place": lambda x: x.expand_dims(0, inplace=True),
    "flatten in place": lambda x: x.flatten(inplace=True),
}
COPIES = {
    "nd.reshape": lambda x: nd.reshape(x, shape=(-1,)),
    "flatten": lambda x: x.flatten(),
    "expand_dims": lambda x: x.expand_dims(0),
    "squeeze": lambda x: x.squeeze(),
    "transpose": lambda x: x.T,
    "column": lambda x: x[:, 0],
    "strided rows": lambda x: x[::2],
    "list index": lambda x: x[[0, 1]],
    "copy": lambda x: x.copy(),
    "astype": lambda x: x.astype("float32"),
    "slice_axis": lambda x: x.slice_axis(axis=0, begin=0, end=2),
    "split": lambda x: nd.split(x, num_outputs=3, axis=0)[0],
    "other context": lambda x: x.as_in_context(mx.cpu(1)),
}


def make():
    return nd.array(np.arange(24).reshape(3, 2, 4))


@pytest.mark.parametrize("recording", [False, True])
@pytest.mark.parametrize("form", VIEWS)
def test_view_shares_memory(form, recording):
    x = make()
    if recording:
        with mx.autograd.record():
            v = VIEWS[form](x)
    else:
        v = VIEWS[form](x)
    v[:] = 100
    changed = x.asnumpy()
    assert (changed == 100).sum() == v.size
    x[:] = 7
    assert (v.asnumpy() == 7).all()


@pytest.mark.parametrize("form", COPIES)
def test_copy_has_its_own_memory(form):
    x = make()
    before = x.asnumpy()
    c = COPIES[form](x)
    c[:] = 100
    np.testing.assert_array_equal(x.asnumpy(), before)


def test_iteration_gives_views():
    x = make()
    for row in x:
        row[:] = 1
    assert (x.asnumpy() == 1).all()


def test_asnumpy_is_a_fresh_writable_copy():
    x = make()
    a = x.asnumpy()
    a[:] = -1
    assert (x.asnumpy() >= 0).all() and a.flags.writeable and a.flags.owndata


def test_overlapping_assignment_reads_before_it_writes():
    x = nd.array(np.arange(6))
    x[1:] = x[:-1]
    np.testing.assert_array_equal(x.asnumpy(), [0, 0, 1, 2, 3, 4])
    x = nd.array(np.arange(6))
    x[:-1] = x[1:]
    np.testing.assert_array_equal(x.asnumpy(), [1, 2, 3, 4, 5, 5])


def test_out_that_overlaps_an_input():
    x = nd.array(np.arange(8))
    nd.exp(x[:-1], out=x[1:])
    np.testing.assert_allclose(x.asnumpy()[1:], np.exp(np.arange(7)), rtol=1e-5)
    assert x.asnumpy()[0] == 0
