# SPDX-License-Identifier: Apache-2.0
"""Cells whose products are convolutions, for sequences of images."""
from __future__ import annotations

from functools import partial

from .. import symbol
from .rnn_cell import BaseRNNCell, _activation, _gru_step, _lstm_step

__all__ = ["BaseConvRNNCell", "ConvGRUCell", "ConvLSTMCell", "ConvRNNCell"]

_LEAKY = partial(symbol.LeakyReLU, act_type="leaky", slope=0.2)


class BaseConvRNNCell(BaseRNNCell):
    """Base of the convolutional cells.

    Parameters
    ----------
    input_shape : tuple
        Of one step, with any batch size: (1, channels, height, width).
    num_hidden : int
        Channels of the state.
    h2h_kernel, h2h_dilate : tuple of 2 int
        Of the convolution of the state, whose size stays; the kernel is odd.
    i2h_kernel, i2h_stride, i2h_pad, i2h_dilate : tuple of 2 int
        Of the convolution of the input.
    i2h_weight_initializer, h2h_weight_initializer, i2h_bias_initializer, h2h_bias_initializer
        Initializers of the parameters.
    activation : str or callable
    prefix : str
    params : RNNParams, optional
    conv_layout : {'NCHW', 'NHWC'}
    """

    def __init__(self, input_shape, num_hidden, h2h_kernel, h2h_dilate, i2h_kernel, i2h_stride, i2h_pad, i2h_dilate,
                 i2h_weight_initializer, h2h_weight_initializer, i2h_bias_initializer, h2h_bias_initializer,
                 activation, prefix="", params=None, conv_layout="NCHW"):
        super().__init__(prefix=prefix, params=params)
        if any(size % 2 == 0 for size in h2h_kernel):
            raise AssertionError(f"Only support odd number, get h2h_kernel= {h2h_kernel}")
        self._num_hidden = num_hidden
        self._activation = activation
        self._conv_layout = conv_layout
        pad = tuple(dilate * (size - 1) // 2 for size, dilate in zip(h2h_kernel, h2h_dilate))
        self._i2h = {"kernel": i2h_kernel, "stride": i2h_stride, "pad": i2h_pad, "dilate": i2h_dilate}
        self._h2h = {"kernel": h2h_kernel, "stride": (1, 1), "pad": pad, "dilate": h2h_dilate}
        self._iW = self.params.get("i2h_weight", init=i2h_weight_initializer)
        self._hW = self.params.get("h2h_weight", init=h2h_weight_initializer)
        self._iB = self.params.get("i2h_bias", init=i2h_bias_initializer)
        self._hB = self.params.get("h2h_bias", init=h2h_bias_initializer)
        self._own_params = params is None
        probe = symbol.Convolution(symbol.Variable("data"), num_filter=num_hidden, layout=conv_layout, **self._i2h,
                                   name="probe")
        shape = probe.infer_shape(data=tuple(input_shape))[1][0]
        self._state_shape = (0, *shape[1:])

    @property
    def state_info(self):
        return [{"shape": self._state_shape, "__layout__": self._conv_layout}]

    def _products(self, inputs, state, name):
        size = self._num_hidden * len(self._gate_names)
        return (symbol.Convolution(data=inputs, weight=self._iW, bias=self._iB, num_filter=size,
                                   layout=self._conv_layout, name=name + "i2h", **self._i2h),
                symbol.Convolution(data=state, weight=self._hW, bias=self._hB, num_filter=size,
                                   layout=self._conv_layout, name=name + "h2h", **self._h2h))

    @property
    def _channels(self):
        return self._conv_layout.find("C")

    def __call__(self, inputs, states):
        raise NotImplementedError("BaseConvRNNCell is an abstract class; use one of its subclasses")


def _constructor(default_prefix, describe):
    """The constructor of all three cells: they differ in the default prefix."""

    def __init__(self, input_shape, num_hidden, h2h_kernel=(3, 3), h2h_dilate=(1, 1), i2h_kernel=(3, 3),
                 i2h_stride=(1, 1), i2h_pad=(1, 1), i2h_dilate=(1, 1), i2h_weight_initializer=None,
                 h2h_weight_initializer=None, i2h_bias_initializer="zeros", h2h_bias_initializer="zeros",
                 activation=_LEAKY, prefix=default_prefix, params=None, conv_layout="NCHW"):
        BaseConvRNNCell.__init__(self, input_shape, num_hidden, h2h_kernel, h2h_dilate, i2h_kernel, i2h_stride,
                                 i2h_pad, i2h_dilate, i2h_weight_initializer, h2h_weight_initializer,
                                 i2h_bias_initializer, h2h_bias_initializer, activation, prefix, params, conv_layout)

    __init__.__doc__ = describe
    return __init__


class ConvRNNCell(BaseConvRNNCell):
    """RNNCell with convolutions; see BaseConvRNNCell for the parameters."""

    __init__ = _constructor("ConvRNN_", "See BaseConvRNNCell.")

    @property
    def _gate_names(self):
        return ("",)

    def __call__(self, inputs, states):
        name = self._next_name()
        i2h, h2h = self._products(inputs, states[0], name)
        output = _activation(i2h + h2h, self._activation, name=name + "out")
        return output, [output]


class ConvLSTMCell(BaseConvRNNCell):
    """LSTMCell with convolutions (Shi et al., 2015); see BaseConvRNNCell for the parameters."""

    __init__ = _constructor("ConvLSTM_", "See BaseConvRNNCell.")

    @property
    def state_info(self):
        return super().state_info * 2

    @property
    def _gate_names(self):
        return ["_i", "_f", "_c", "_o"]

    def __call__(self, inputs, states):
        name = self._next_name()
        i2h, h2h = self._products(inputs, states[0], name)
        gates = symbol.SliceChannel(i2h + h2h, num_outputs=4, axis=self._channels, name=name + "slice")
        next_h, next_c = _lstm_step(gates, states[1], self._activation, name)
        return next_h, [next_h, next_c]


class ConvGRUCell(BaseConvRNNCell):
    """GRUCell with convolutions; see BaseConvRNNCell for the parameters."""

    __init__ = _constructor("ConvGRU_", "See BaseConvRNNCell.")

    @property
    def _gate_names(self):
        return ["_r", "_z", "_o"]

    def __call__(self, inputs, states):
        name = self._next_name()
        axis = {} if self._channels == 1 else {"axis": self._channels}
        i2h, h2h = (symbol.SliceChannel(product, num_outputs=3, name=f"{name}_{kind}_slice", **axis)
                    for product, kind in zip(self._products(inputs, states[0], name), ("i2h", "h2h")))
        output = _gru_step(i2h, h2h, states[0], self._activation, name)
        return output, [output]
