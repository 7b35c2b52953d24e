# SPDX-License-Identifier: Apache-2.0
"""Devices as values, and the thread's default."""
import pickle
import threading

import pytest

import mxnet as mx


def test_equality_hash_repr_pickle():
    assert mx.cpu() == mx.cpu(0) != mx.cpu(1)
    assert mx.cpu() != "cpu(0)"
    assert hash(mx.cpu(2)) == hash(mx.Context("cpu", 2))
    assert repr(mx.gpu(3)) == str(mx.gpu(3)) == "gpu(3)"
    assert pickle.loads(pickle.dumps(mx.cpu_pinned(1))) == mx.cpu_pinned(1)
    assert (mx.cpu().device_typeid, mx.gpu().device_typeid, mx.cpu_pinned().device_typeid) == (1, 2, 3)
    assert mx.Context(mx.gpu(1)) == mx.gpu(1)
    with pytest.raises(KeyError):
        mx.Context("abacus")


def test_with_sets_the_default_of_this_thread_alone():
    seen = []
    with mx.cpu(2) as ctx:
        assert ctx == mx.current_context() == mx.Context.default_ctx == mx.cpu(2)
        with mx.cpu(3), mx.cpu(2):
            pass
        with ctx:  # the same object again
            assert mx.current_context() is ctx
        thread = threading.Thread(target=lambda: seen.append(mx.current_context()))
        thread.start()
        thread.join()
        assert mx.nd.zeros((1,)).context == mx.cpu(2)
    assert mx.current_context() == mx.cpu(0)
    assert seen == [mx.cpu(0)]


def test_absent_gpu():
    assert mx.context.num_gpus() == 0
    with pytest.raises(mx.MXNetError, match=r"gpu\(5\)"):
        mx.context.gpu_memory_info(5)
    with pytest.raises(mx.MXNetError):
        mx.nd.zeros((1,), ctx=mx.gpu(0))
