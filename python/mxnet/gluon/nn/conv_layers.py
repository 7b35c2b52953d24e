# SPDX-License-Identifier: Apache-2.0
"""Convolution, its transpose, pooling and padding, in one, two and three dimensions.

With layout 'NCHW' (and 'NCW', 'NCDHW' alike) the input is (batch, channels, height, width); 'NHWC' puts channels last.
"""
from __future__ import annotations

from ..block import HybridBlock
from .activations import Activation

__all__ = ["AvgPool1D", "AvgPool2D", "AvgPool3D", "Conv1D", "Conv1DTranspose", "Conv2D", "Conv2DTranspose", "Conv3D",
           "Conv3DTranspose", "GlobalAvgPool1D", "GlobalAvgPool2D", "GlobalAvgPool3D", "GlobalMaxPool1D",
           "GlobalMaxPool2D", "GlobalMaxPool3D", "MaxPool1D", "MaxPool2D", "MaxPool3D", "ReflectionPad2D"]


def _repeat(value, count):
    """`value` once for each of `count` axes, if it is one number."""
    return (value,) * count if isinstance(value, int) else tuple(value)


def _check_layout(layout, ndim):
    spatial = "DHW"[3 - ndim:]
    if layout not in ("NC" + spatial, "N" + spatial + "C"):
        raise AssertionError(f"Only supports 'NC{spatial}' and 'N{spatial}C' layout for now, got {layout!r}")


def _kernel(size, ndim, what="kernel_size"):
    size = _repeat(size, ndim)
    if len(size) != ndim:
        raise AssertionError(f"{what} must be a number or a list of {ndim} ints")
    return size


class _Conv(HybridBlock):
    """A convolution or (with `op_name='Deconvolution'`) its transpose.

    Parameters
    ----------
    channels : int
        Channels of the output.
    kernel_size, strides, padding, dilation, output_padding : int or tuple of int
        One number for each spatial axis, or one for all.
    groups : int
        Groups of channels that do not see each other.
    layout : str
    activation : str, optional
        See `Activation`; none by default.
    use_bias : bool
    weight_initializer, bias_initializer : Initializer or str
    in_channels : int
        0 to find it in the first forward pass.
    """

    def __init__(self, channels, kernel_size, strides, padding, dilation, groups, layout, in_channels=0,
                 activation=None,
                 use_bias=True, weight_initializer=None, bias_initializer="zeros", op_name="Convolution", adj=None,
                 prefix=None, params=None):
        super().__init__(prefix=prefix, params=params)
        ndim = len(kernel_size)
        with self.name_scope():
            self._channels = channels
            self._in_channels = in_channels
            self._op_name = op_name
            self._kwargs = {"kernel": kernel_size, "stride": _repeat(strides, ndim), "dilate": _repeat(dilation, ndim),
                            "pad": _repeat(padding, ndim), "num_filter": channels, "num_group": groups,
                            "no_bias": not use_bias, "layout": layout}
            if adj is not None:
                self._kwargs["adj"] = adj
            self.weight = self.params.get("weight", shape=self._weight_shape(), init=weight_initializer,
                                          allow_deferred_init=True)
            self.bias = self.params.get("bias", shape=(channels,), init=bias_initializer,
                                        allow_deferred_init=True) if use_bias else None
            self.act = Activation(activation, prefix=activation + "_") if activation is not None else None

    def _weight_shape(self):
        """(filters, inputs per group, kernel...), channels where the layout has them; 0 if only data will tell."""
        channels, in_channels, groups = self._channels, self._in_channels, self._kwargs["num_group"]
        if self._op_name == "Convolution":
            first, second = channels, in_channels // groups
        else:
            first, second = in_channels, channels // groups
        kernel = self._kwargs["kernel"]
        return (first, second, *kernel) if self._kwargs["layout"][1] == "C" else (first, *kernel, second)

    def _alias(self):
        return "conv"

    def hybrid_forward(self, F, x, weight, bias=None):
        operator = getattr(F, self._op_name)
        if bias is None:
            out = operator(x, weight, name="fwd", **self._kwargs)
        else:
            out = operator(x, weight, bias, name="fwd", **self._kwargs)
        return out if self.act is None else self.act(out)

    def __repr__(self):
        kwargs = self._kwargs
        ones, zeros = (1,) * len(kwargs["kernel"]), (0,) * len(kwargs["kernel"])
        shape = self.weight.shape
        text = f"{shape[1] or None} -> {shape[0]}, kernel_size={kwargs['kernel']}, stride={kwargs['stride']}"
        if kwargs["pad"] != zeros:
            text += f", padding={kwargs['pad']}"
        if kwargs["dilate"] != ones:
            text += f", dilation={kwargs['dilate']}"
        if kwargs["num_group"] != 1:
            text += f", groups={kwargs['num_group']}"
        if self.bias is None:
            text += ", bias=False"
        if self.act:
            text += f", {self.act}"
        return f"{type(self).__name__}({text})"


class Conv1D(_Conv):
    """Convolution over one axis: (n, c, w) gives (n, channels, w')."""

    def __init__(self, channels, kernel_size, strides=1, padding=0, dilation=1, groups=1, layout="NCW", activation=None,
                 use_bias=True, weight_initializer=None, bias_initializer="zeros", in_channels=0, **kwargs):
        _check_layout(layout, 1)
        super().__init__(channels, _kernel(kernel_size, 1), strides, padding, dilation, groups, layout, in_channels,
                         activation, use_bias, weight_initializer, bias_initializer, **kwargs)


class Conv2D(_Conv):
    """Convolution over two axes."""

    def __init__(self, channels, kernel_size, strides=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1, layout="NCHW",
                 activation=None, use_bias=True, weight_initializer=None, bias_initializer="zeros", in_channels=0,
                 **kwargs):
        _check_layout(layout, 2)
        super().__init__(channels, _kernel(kernel_size, 2), strides, padding, dilation, groups, layout, in_channels,
                         activation, use_bias, weight_initializer, bias_initializer, **kwargs)


class Conv3D(_Conv):
    """Convolution over three axes."""

    def __init__(self, channels, kernel_size, strides=(1, 1, 1), padding=(0, 0, 0), dilation=(1, 1, 1), groups=1,
                 layout="NCDHW", activation=None, use_bias=True, weight_initializer=None, bias_initializer="zeros",
                 in_channels=0, **kwargs):
        _check_layout(layout, 3)
        super().__init__(channels, _kernel(kernel_size, 3), strides, padding, dilation, groups, layout, in_channels,
                         activation, use_bias, weight_initializer, bias_initializer, **kwargs)


class Conv1DTranspose(_Conv):
    """The transpose of a convolution over one axis."""

    def __init__(self, channels, kernel_size, strides=1, padding=0, output_padding=0, dilation=1, groups=1,
                 layout="NCW",
                 activation=None, use_bias=True, weight_initializer=None, bias_initializer="zeros", in_channels=0,
                 **kwargs):
        _check_layout(layout, 1)
        super().__init__(channels, _kernel(kernel_size, 1), strides, padding, dilation, groups, layout, in_channels,
                         activation, use_bias, weight_initializer, bias_initializer, op_name="Deconvolution",
                         adj=_kernel(output_padding, 1, "output_padding"), **kwargs)
        self.outpad = self._kwargs["adj"]


class Conv2DTranspose(_Conv):
    """The transpose of a convolution over two axes."""

    def __init__(self, channels, kernel_size, strides=(1, 1), padding=(0, 0), output_padding=(0, 0), dilation=(1, 1),
                 groups=1, layout="NCHW", activation=None, use_bias=True, weight_initializer=None,
                 bias_initializer="zeros", in_channels=0, **kwargs):
        _check_layout(layout, 2)
        super().__init__(channels, _kernel(kernel_size, 2), strides, padding, dilation, groups, layout, in_channels,
                         activation, use_bias, weight_initializer, bias_initializer, op_name="Deconvolution",
                         adj=_kernel(output_padding, 2, "output_padding"), **kwargs)
        self.outpad = self._kwargs["adj"]


class Conv3DTranspose(_Conv):
    """The transpose of a convolution over three axes."""

    def __init__(self, channels, kernel_size, strides=(1, 1, 1), padding=(0, 0, 0), output_padding=(0, 0, 0),
                 dilation=(1, 1, 1), groups=1, layout="NCDHW", activation=None, use_bias=True, weight_initializer=None,
                 bias_initializer="zeros", in_channels=0, **kwargs):
        _check_layout(layout, 3)
        super().__init__(channels, _kernel(kernel_size, 3), strides, padding, dilation, groups, layout, in_channels,
                         activation, use_bias, weight_initializer, bias_initializer, op_name="Deconvolution",
                         adj=_kernel(output_padding, 3, "output_padding"), **kwargs)
        self.outpad = self._kwargs["adj"]


class _Pooling(HybridBlock):
    """Pooling over windows: the maximum or the mean.

    Parameters
    ----------
    pool_size, strides, padding : int or tuple of int
        One number for each spatial axis, or one for all; strides are pool_size by default.
    ceil_mode : bool
        Whether a window that sticks out counts: output sizes are rounded up.
    layout : str
    count_include_pad : bool
        Whether the mean counts the padding.
    """

    def __init__(self, pool_size, strides, padding, ceil_mode, global_pool, pool_type, layout, count_include_pad=None,
                 **kwargs):
        super().__init__(**kwargs)
        ndim = len(pool_size)
        strides = pool_size if strides is None else _repeat(strides, ndim)
        self._kwargs = {"kernel": pool_size, "stride": strides, "pad": _repeat(padding, ndim),
                        "global_pool": global_pool, "pool_type": pool_type, "layout": layout,
                        "pooling_convention": "full" if ceil_mode else "valid"}
        if count_include_pad is not None:
            self._kwargs["count_include_pad"] = count_include_pad

    def _alias(self):
        return "pool"

    def hybrid_forward(self, F, x):
        return F.Pooling(x, name="fwd", **self._kwargs)

    def __repr__(self):
        kwargs = self._kwargs
        return (f"{type(self).__name__}(size={kwargs['kernel']}, stride={kwargs['stride']}, padding={kwargs['pad']}, "
                f"ceil_mode={kwargs['pooling_convention'] == 'full'}, global_pool={kwargs['global_pool']}, "
                f"pool_type={kwargs['pool_type']}, layout={kwargs['layout']})")


class MaxPool1D(_Pooling):
    """The maximum over windows of one axis."""

    def __init__(self, pool_size=2, strides=None, padding=0, layout="NCW", ceil_mode=False, **kwargs):
        _check_layout(layout, 1)
        super().__init__(_kernel(pool_size, 1, "pool_size"), strides, padding, ceil_mode, False, "max", layout,
                         **kwargs)


class MaxPool2D(_Pooling):
    """The maximum over windows of two axes."""

    def __init__(self, pool_size=(2, 2), strides=None, padding=0, layout="NCHW", ceil_mode=False, **kwargs):
        _check_layout(layout, 2)
        super().__init__(_kernel(pool_size, 2, "pool_size"), strides, padding, ceil_mode, False, "max", layout,
                         **kwargs)


class MaxPool3D(_Pooling):
    """The maximum over windows of three axes."""

    def __init__(self, pool_size=(2, 2, 2), strides=None, padding=0, ceil_mode=False, layout="NCDHW", **kwargs):
        _check_layout(layout, 3)
        super().__init__(_kernel(pool_size, 3, "pool_size"), strides, padding, ceil_mode, False, "max", layout,
                         **kwargs)


class AvgPool1D(_Pooling):
    """The mean over windows of one axis."""

    def __init__(self, pool_size=2, strides=None, padding=0, layout="NCW", ceil_mode=False, count_include_pad=True,
                 **kwargs):
        _check_layout(layout, 1)
        super().__init__(_kernel(pool_size, 1, "pool_size"), strides, padding, ceil_mode, False, "avg", layout,
                         count_include_pad, **kwargs)


class AvgPool2D(_Pooling):
    """The mean over windows of two axes."""

    def __init__(self, pool_size=(2, 2), strides=None, padding=0, ceil_mode=False, layout="NCHW",
                 count_include_pad=True,
                 **kwargs):
        _check_layout(layout, 2)
        super().__init__(_kernel(pool_size, 2, "pool_size"), strides, padding, ceil_mode, False, "avg", layout,
                         count_include_pad, **kwargs)


class AvgPool3D(_Pooling):
    """The mean over windows of three axes."""

    def __init__(self, pool_size=(2, 2, 2), strides=None, padding=0, ceil_mode=False, layout="NCDHW",
                 count_include_pad=True, **kwargs):
        _check_layout(layout, 3)
        super().__init__(_kernel(pool_size, 3, "pool_size"), strides, padding, ceil_mode, False, "avg", layout,
                         count_include_pad, **kwargs)


class GlobalMaxPool1D(_Pooling):
    """The maximum over one whole axis, kept with size 1."""

    def __init__(self, layout="NCW", **kwargs):
        _check_layout(layout, 1)
        super().__init__((1,), None, 0, True, True, "max", layout, **kwargs)


class GlobalMaxPool2D(_Pooling):
    """The maximum over two whole axes, kept with size 1."""

    def __init__(self, layout="NCHW", **kwargs):
        _check_layout(layout, 2)
        super().__init__((1, 1), None, 0, True, True, "max", layout, **kwargs)


class GlobalMaxPool3D(_Pooling):
    """The maximum over three whole axes, kept with size 1."""

    def __init__(self, layout="NCDHW", **kwargs):
        _check_layout(layout, 3)
        super().__init__((1, 1, 1), None, 0, True, True, "max", layout, **kwargs)


class GlobalAvgPool1D(_Pooling):
    """The mean over one whole axis, kept with size 1."""

    def __init__(self, layout="NCW", **kwargs):
        _check_layout(layout, 1)
        super().__init__((1,), None, 0, True, True, "avg", layout, **kwargs)


class GlobalAvgPool2D(_Pooling):
    """The mean over two whole axes, kept with size 1."""

    def __init__(self, layout="NCHW", **kwargs):
        _check_layout(layout, 2)
        super().__init__((1, 1), None, 0, True, True, "avg", layout, **kwargs)


class GlobalAvgPool3D(_Pooling):
    """The mean over three whole axes, kept with size 1."""

    def __init__(self, layout="NCDHW", **kwargs):
        _check_layout(layout, 3)
        super().__init__((1, 1, 1), None, 0, True, True, "avg", layout, **kwargs)


class ReflectionPad2D(HybridBlock):
    """Pad height and width of (n, c, h, w) by reflection at the border.

    `padding` is one number, or the eight (begin, end) numbers of the four axes.
    """

    def __init__(self, padding=0, **kwargs):
        super().__init__(**kwargs)
        if isinstance(padding, int):
            padding = (0, 0, 0, 0, padding, padding, padding, padding)
        if len(padding) != 8:
            raise AssertionError(f"padding must be a number or 8 numbers, got {padding}")
        self._padding = padding

    def hybrid_forward(self, F, x):
        return F.pad(x, mode="reflect", pad_width=self._padding)


_CONV_DOC = _Conv.__doc__.split("\n", 1)[1]
_POOL_DOC = _Pooling.__doc__.split("\n", 1)[1]
for _layer in (Conv1D, Conv2D, Conv3D, Conv1DTranspose, Conv2DTranspose, Conv3DTranspose):
    _layer.__doc__ += "\n" + _CONV_DOC
for _layer in (MaxPool1D, MaxPool2D, MaxPool3D, AvgPool1D, AvgPool2D, AvgPool3D):
    _layer.__doc__ += "\n" + _POOL_DOC
