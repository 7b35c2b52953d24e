# SPDX-License-Identifier: Apache-2.0
"""gluon.utils: splitting, clipping, files."""
import hashlib

import numpy as np
import pytest
from numpy.testing import assert_allclose

import mxnet as mx
from mxnet import gluon, nd


def test_split_data():
    parts = gluon.utils.split_data(nd.arange(10), 3, even_split=False)
    assert [part.asnumpy().tolist() for part in parts] == [[0, 1, 2, 3], [4, 5, 6], [7, 8, 9]]
    with pytest.raises(ValueError, match="evenly"):
        gluon.utils.split_data(nd.arange(10), 3)
    assert gluon.utils.split_data(nd.ones((2, 4)), 2, batch_axis=1)[0].shape == (2, 2)


def test_split_and_load():
    parts = gluon.utils.split_and_load(np.ones((4, 2)), [mx.cpu(0), mx.cpu(1)])
    assert [part.context for part in parts] == [mx.cpu(0), mx.cpu(1)]
    assert gluon.utils.split_and_load([1, 2], [mx.cpu(0)])[0].asnumpy().tolist() == [1, 2]


def test_clip_global_norm():
    arrays = [nd.ones((2, 2)), nd.ones((3,)) * 2]
    assert gluon.utils.clip_global_norm(arrays, 1.0) == 4
    assert_allclose(arrays[0].asnumpy(), 0.25, rtol=1e-6)
    assert gluon.utils.clip_global_norm(arrays, 5.0, check_isfinite=False).shape == (1,)
    assert_allclose(arrays[1].asnumpy(), 0.5, rtol=1e-6)
    with pytest.warns(UserWarning, match="nan or inf"):
        gluon.utils.clip_global_norm([nd.array([np.nan])], 1.0)


def test_download_of_local_files(tmp_path):
    source = tmp_path / "source.bin"
    source.write_bytes(b"content")
    sha1 = hashlib.sha1(b"content").hexdigest()
    target = gluon.utils.download(source.as_uri(), path=str(tmp_path / "copy.bin"), sha1_hash=sha1)
    assert (tmp_path / "copy.bin").read_bytes() == b"content" and gluon.utils.check_sha1(target, sha1)
    source.unlink()
    assert gluon.utils.download(source.as_uri(), path=target, sha1_hash=sha1) == target  # it is there already
    with pytest.raises(mx.MXNetError, match=r"source\.bin"):
        gluon.utils.download(source.as_uri(), path=str(tmp_path / "other.bin"), retries=0)
    with pytest.raises(mx.MXNetError, match="SHA-1"):
        gluon.utils.download((tmp_path / "copy.bin").as_uri(), path=str(tmp_path / "x.bin"), sha1_hash="0" * 40,
                             retries=0)
