# SPDX-License-Identifier: Apache-2.0
"""Deformable convolutions: layers that find the offsets of their windows by a convolution of their own."""
from __future__ import annotations

from ..block import HybridBlock
from ..nn.activations import Activation
from ..nn.conv_layers import _check_layout, _kernel, _repeat

__all__ = ["DeformableConvolution", "ModulatedDeformableConvolution"]


class _Deformable(HybridBlock):
    """The parameters of both layers; the offset convolution gives `_per_tap` numbers per point of a window."""

    _per_tap = 2

    def __init__(self, channels, kernel_size, strides, padding, dilation, groups, num_deformable_group, layout,
                 use_bias, in_channels, activation, weight_initializer, bias_initializer, offset_weight_initializer,
                 offset_bias_initializer, offset_use_bias, op_name, adj, prefix, params):
        super().__init__(prefix=prefix, params=params)
        kernel = _kernel(kernel_size, 2)
        _check_layout(layout, 2)
        self._channels = channels
        self._in_channels = in_channels
        self._op_name = op_name
        window = {"kernel": kernel, "stride": _repeat(strides, 2), "dilate": _repeat(dilation, 2),
                  "pad": _repeat(padding, 2), "num_group": groups, "layout": layout}
        offsets = self._per_tap * kernel[0] * kernel[1] * num_deformable_group
        self._mask_from = 2 * kernel[0] * kernel[1] * num_deformable_group
        self._offset_kwargs = {**window, "num_filter": offsets, "no_bias": not offset_use_bias, "cudnn_off": True}
        self._kwargs = {**window, "num_filter": channels, "num_deformable_group": num_deformable_group,
                        "no_bias": not use_bias}
        if adj is not None:
            self._offset_kwargs["adj"] = self._kwargs["adj"] = adj
        per_group = in_channels // groups
        with self.name_scope():
            self.offset_weight = self._parameter("offset_weight", (offsets, per_group, *kernel),
                                                 offset_weight_initializer)
            self.deformable_conv_weight = self._parameter("deformable_conv_weight", (channels, per_group, *kernel),
                                                          weight_initializer)
            self.offset_bias = self._parameter("offset_bias", (offsets,), offset_bias_initializer, offset_use_bias)
            self.deformable_conv_bias = self._parameter("deformable_conv_bias", (channels,), bias_initializer, use_bias)
            self.act = Activation(activation, prefix=activation + "_") if activation else None

    def _parameter(self, name, shape, init, wanted=True):
        return self.params.get(name, shape=shape, init=init, allow_deferred_init=True) if wanted else None

    def hybrid_forward(self, F, x, offset_weight, deformable_conv_weight, offset_bias=None, deformable_conv_bias=None):
        offset_arrays = [a for a in (offset_weight, offset_bias) if a is not None]
        arrays = [a for a in (deformable_conv_weight, deformable_conv_bias) if a is not None]
        points = self._points(F, F.Convolution(x, *offset_arrays, **self._offset_kwargs))
        out = getattr(F.contrib, self._op_name)(x, *points, *arrays, name="fwd", **self._kwargs)
        return out if self.act is None else self.act(out)

    def _points(self, F, found):
        """What the offset convolution has found, as inputs of the operator."""
        return [found]

    def __repr__(self):
        kwargs = self._kwargs
        text = f"{self._in_channels or None} -> {self._channels}, kernel_size={kwargs['kernel']}"
        text += f", stride={kwargs['stride']}"
        usual_values = (("padding", "pad", (0, 0)), ("dilation", "dilate", (1, 1)), ("groups", "num_group", 1))
        for name, key, usual in usual_values:
            if kwargs[key] != usual:
                text += f", {name}={kwargs[key]}"
        if self.deformable_conv_bias is None:
            text += ", bias=False"
        return f"{type(self).__name__}({text}{f', {self.act}' if self.act else ''})"


class DeformableConvolution(_Deformable):
    """Convolution whose windows move by offsets that a convolution finds (Dai et al. 2017).

    Input (batch, in_channels, height, width), output (batch, channels, out height, out width). With the default
    initializers offsets are zero at first, and the layer is a convolution.

    Parameters
    ----------
    channels : int
        Channels of the output.
    kernel_size, strides, padding, dilation : int or tuple of two int
    groups : int
        Groups of channels that do not see each other.
    num_deformable_group : int
        Groups of channels with offsets of their own.
    layout : str
        Only 'NCHW' runs.
    use_bias, offset_use_bias : bool
    in_channels : int
        0 to find it in the first forward pass.
    activation : str, optional
        See `Activation`; none by default.
    *_initializer : Initializer or str
    """

    def __init__(self, channels, kernel_size=(1, 1), strides=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1,
                 num_deformable_group=1, layout="NCHW", use_bias=True, in_channels=0, activation=None,
                 weight_initializer=None, bias_initializer="zeros", offset_weight_initializer="zeros",
                 offset_bias_initializer="zeros", offset_use_bias=True, op_name="DeformableConvolution", adj=None,
                 prefix=None, params=None):
        super().__init__(channels, kernel_size, strides, padding, dilation, groups, num_deformable_group, layout,
                         use_bias, in_channels, activation, weight_initializer, bias_initializer,
                         offset_weight_initializer, offset_bias_initializer, offset_use_bias, op_name, adj, prefix,
                         params)

    def _alias(self):
        return "deformable_conv"


class ModulatedDeformableConvolution(_Deformable):
    """`DeformableConvolution` that also weights every point, by twice a sigmoid (Zhu et al. 2019).

    Parameters are those of `DeformableConvolution`.
    """

    _per_tap = 3

    def __init__(self, channels, kernel_size=(1, 1), strides=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1,
                 num_deformable_group=1, layout="NCHW", use_bias=True, in_channels=0, activation=None,
                 weight_initializer=None, bias_initializer="zeros", offset_weight_initializer="zeros",
                 offset_bias_initializer="zeros", offset_use_bias=True, op_name="ModulatedDeformableConvolution",
                 adj=None, prefix=None, params=None):
        super().__init__(channels, kernel_size, strides, padding, dilation, groups, num_deformable_group, layout,
                         use_bias, in_channels, activation, weight_initializer, bias_initializer,
                         offset_weight_initializer, offset_bias_initializer, offset_use_bias, op_name, adj, prefix,
                         params)

    def _alias(self):
        return "modulated_deformable_conv"

    def _points(self, F, found):
        offset = F.slice_axis(found, axis=1, begin=0, end=self._mask_from)
        mask = F.slice_axis(found, axis=1, begin=self._mask_from, end=None)
        return [offset, F.sigmoid(mask) * 2]
