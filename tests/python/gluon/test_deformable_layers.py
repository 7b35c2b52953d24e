# SPDX-License-Identifier: Apache-2.0
"""gluon.contrib.cnn: deformable convolutions as layers."""

import numpy as np
import pytest

import mxnet as mx
from mxnet import autograd, gluon, nd
from mxnet.gluon.contrib import cnn


@pytest.mark.parametrize("hybridize", [False, True])
@pytest.mark.parametrize("make", [cnn.DeformableConvolution, cnn.ModulatedDeformableConvolution])
def test_without_offsets_it_is_a_convolution(make, hybridize):
    layer = make(6, kernel_size=3, padding=1, strides=2, activation="relu")
    layer.initialize(mx.init.Normal(0.5))
    if hybridize:
        layer.hybridize()
    x = nd.random.normal(shape=(2, 4, 7, 6))
    out = layer(x)
    weight = layer.deformable_conv_weight.data()
    want = nd.relu(nd.Convolution(x, weight, kernel=(3, 3), stride=(2, 2), pad=(1, 1), num_filter=6, no_bias=True))
    assert weight.shape == (6, 4, 3, 3)
    np.testing.assert_allclose(out.asnumpy(), want.asnumpy(), rtol=1e-4, atol=1e-4)


def test_it_learns_offsets():
    layer = cnn.ModulatedDeformableConvolution(3, kernel_size=3, padding=1, num_deformable_group=2, in_channels=4)
    layer.initialize(mx.init.Normal(0.1))
    with autograd.record():
        loss = (layer(nd.random.normal(shape=(2, 4, 5, 5))) ** 2).sum()
    loss.backward()
    assert layer.offset_weight.shape == (54, 4, 3, 3)
    for name, parameter in layer.collect_params().items():
        assert np.abs(parameter.grad().asnumpy()).sum() > 0, name


def test_names_and_text():
    layer = cnn.DeformableConvolution(4, kernel_size=3, strides=2, padding=1, groups=2, num_deformable_group=2,
                                      in_channels=4, use_bias=False, offset_use_bias=False, prefix="d_")
    assert list(layer.collect_params()) == ["d_offset_weight", "d_deformable_conv_weight"]
    assert repr(layer) == ("DeformableConvolution(4 -> 4, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1), groups=2, "
                           "bias=False)")
    graph = cnn.ModulatedDeformableConvolution(4, kernel_size=(1, 3), prefix="m_")(mx.sym.Variable("data"))
    assert graph.list_arguments() == ["data", "m_offset_weight", "m_offset_bias", "m_deformable_conv_weight",
                                      "m_deformable_conv_bias"]


def test_a_detector_runs_hybridized():
    class Head(gluon.HybridBlock):
        def hybrid_forward(self, F, features, rois):
            pooled = F.contrib.ROIAlign(features, rois, pooled_size=(2, 2), spatial_scale=0.5, sample_ratio=2)
            scores = F.mean(pooled, axis=(2, 3))
            boxes = F.concat(F.slice_axis(scores, axis=1, begin=0, end=2), F.slice_axis(rois, axis=1, begin=1, end=5))
            return F.contrib.box_nms(boxes.reshape((1, -1, 6)), overlap_thresh=0.5, id_index=0, force_suppress=True)

    head = Head()
    features = nd.random.uniform(shape=(1, 8, 6, 6))
    rois = nd.array([[0, 0, 0, 6, 6], [0, 1, 1, 7, 7], [0, 6, 6, 11, 11], [-1, 0, 0, 0, 0]])
    want = head(features, rois).asnumpy()
    head.hybridize()
    np.testing.assert_allclose(head(features, rois).asnumpy(), want, rtol=1e-5)
    assert (want[0, 2:] == -1).all() and (want[0, :2] >= 0).all()
