# SPDX-License-Identifier: Apache-2.0
"""Image operators beside MXNet 1.9.1, where what that gives is defined."""

import numpy as np
import pytest
from oracle.client import Oracle, available, pack, unpack

import mxnet as mx

pytestmark = pytest.mark.skipif(not available, reason="MXNET_ORACLE_PYTHON names no interpreter")

SHAPES = ((7, 9, 3), (16, 12, 3), (5, 6, 1), (33, 17, 3), (1, 1, 3), (2, 50, 3))


def same(**params):
    return {"min_factor": params["factor"], "max_factor": params["factor"]}


def calls():
    """(operator, shape, parameters, largest difference of 8-bit results)"""
    for shape in SHAPES:
        h, w, c = shape
        for interp in range(5):
            for size in ((4, 5), (w // 2 or 1, h // 2 or 1), (w * 2, h * 3), (2 * w, h // 2 or 1)):
                yield "_image_resize", shape, {"size": size, "interp": interp}, 1
        yield "_image_to_tensor", shape, {}, 0
        yield "_image_crop", shape, {"x": 0, "y": 0, "width": (w + 1) // 2, "height": 1}, 0
        for kind in range(1, 5):
            yield "_cvcopyMakeBorder", shape, {"top": 2, "bot": 3, "left": 1, "right": 12, "type": kind}, 0
        yield "_cvcopyMakeBorder", shape, {"top": 2, "bot": 3, "left": 1, "right": 12, "type": 0, "value": 3.0}, 0
        for factor in (0.0, 0.5, 1.6):
            yield "_image_random_brightness", shape, same(factor=factor), 0
            yield "_image_random_contrast", shape, same(factor=factor), 1
            if c == 3:
                yield "_image_random_hue", shape, same(factor=factor), 1
        if c == 3:
            yield "_image_adjust_lighting", shape, {"alpha": (0.01, -0.2, 0.4)}, 1
        if w % 2 == 0:  # 1.9.1 leaves the column in the middle unwritten
            yield "_image_flip_left_right", shape, {}, 0
        if h % 2 == 0:
            yield "_image_flip_top_bottom", shape, {}, 0


@pytest.fixture(scope="module")
def oracle():
    client = Oracle()
    yield client
    client.close()


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("name", sorted({call[0] for call in calls()}))
def test_images(oracle, name, dtype):
    rng = np.random.default_rng(4)
    public = name.startswith("_image_")
    function = getattr(mx.nd.image, name[len("_image_"):]) if public else getattr(mx.nd._internal, name)
    for _, shape, params, within in (call for call in calls() if call[0] == name):
        x = rng.integers(0, 256, shape).astype(dtype)
        theirs = oracle.ask({"name": name, "inputs": [pack(x)], "params": params, "train": False, "grad": [],
                             "heads": [], "written": []})
        assert "error" not in theirs, theirs
        want = unpack(theirs["outputs"][0])
        got = function(mx.nd.array(x, dtype=dtype), **params).asnumpy()
        assert got.dtype == want.dtype and got.shape == want.shape
        limit = within if got.dtype == np.uint8 else 1e-3
        np.testing.assert_allclose(got.astype("float64"), want.astype("float64"), rtol=0, atol=limit,
                                   err_msg=f"{name} {shape} {params}")
