# SPDX-License-Identifier: Apache-2.0
"""Rules that fill parameters before training.

An initializer is called with a description of the parameter and its array. The description is the parameter's name,
with attributes where it is an `InitDesc`; an `__init__` attribute overrides the initializer, and otherwise the end of
the name decides: biases, betas and running means become 0, gammas and running variances 1, weights what the rule says.
"""
from __future__ import annotations

import json
import logging
import math
import re

import numpy as np

__all__ = ["Bilinear", "Constant", "FusedRNN", "InitDesc", "Initializer", "LSTMBias", "Load", "MSRAPrelu", "Mixed",
           "Normal", "One", "Orthogonal", "Uniform", "Xavier", "Zero", "alias", "create", "register"]

_registry = {}


def register(klass):
    """Make an initializer class known to `create` under its lower-case name; usable as a decorator."""
    _registry[klass.__name__.lower()] = klass
    return klass


def alias(*aliases):
    """A decorator that makes an initializer class known to `create` under more names."""

    def add(klass):
        for name in aliases:
            _registry[name.lower()] = klass
        return register(klass)

    return add


def create(init, *args, **kwargs):
    """An initializer from its name ('xavier'), from the JSON text that `dumps` wrote, or the initializer itself.

    AssertionError for an unknown name.
    """
    if not isinstance(init, str):
        return init
    if init.startswith("["):
        init, kwargs = json.loads(init)
    if init.lower() not in _registry:
        raise AssertionError(f"{init} is not registered. Please register with initializer.register first")
    return _registry[init.lower()](*args, **kwargs)


class InitDesc(str):
    """A parameter's name with its attributes (`attrs`) and the initializer to fall back to (`global_init`)."""

    def __new__(cls, name, attrs=None, global_init=None):
        desc = super().__new__(cls, name)
        desc.attrs = attrs or {}
        desc.global_init = global_init
        return desc


def _sample(array, kind, low_or_mean, high_or_sigma):
    """Fill `array` from the framework's own generator ('uniform' or 'normal')."""
    from . import random
    draw = random.uniform if kind == "uniform" else random.normal
    draw(low_or_mean, high_or_sigma, out=array)


class Initializer:
    """Base of all initializers; a subclass implements `_init_weight(name, array)`.

    Keyword arguments are kept, so that `dumps` can write the initializer as text.
    """

    #: What the end of a parameter's name says about its kind, in the order of the look-up.
    _suffixes = (("weight", "_init_weight"), ("bias", "_init_bias"), ("gamma", "_init_gamma"), ("beta", "_init_beta"),
                 ("min", "_init_zero"), ("max", "_init_one"),
                 ("weight_quantize", "_init_quantized_weight"), ("bias_quantize", "_init_quantized_bias"),
                 ("running_mean", "_init_zero"), ("moving_mean", "_init_zero"),
                 ("running_var", "_init_one"), ("moving_var", "_init_one"),
                 ("moving_inv_var", "_init_zero"), ("moving_avg", "_init_zero"))

    def __init__(self, **kwargs):
        self._kwargs = kwargs
        self._verbose = False
        self._print_func = None

    def set_verbosity(self, verbose=False, print_func=None):
        """Report each initialized array through `print_func(array)` (its norm by default); returns self."""
        self._verbose = verbose
        self._print_func = print_func or (lambda x: str(x.norm().asscalar() / math.sqrt(x.size)))
        return self

    def dumps(self):
        """The initializer as JSON text: `["name", {arguments}]`."""
        return json.dumps([type(self).__name__.lower(), self._kwargs])

    def __eq__(self, other):
        return type(self) is type(other) and self._kwargs == other._kwargs

    __hash__ = object.__hash__

    def __call__(self, desc, arr):
        """Fill `arr`, the parameter that `desc` (an InitDesc or a plain name) describes."""
        if not isinstance(desc, InitDesc):
            desc = InitDesc(desc)
        if desc.global_init is None:
            desc.global_init = self
        own = desc.attrs.get("__init__", "")
        if own:
            create(own)._init_weight(desc, arr)
            self._report(desc, own, arr)
            return
        for suffix, method in self._suffixes:
            if desc.endswith(suffix):
                getattr(self, method)(desc, arr)
                self._report(desc, suffix, arr)
                return
        self._init_default(desc, arr)

    def _report(self, desc, rule, arr):
        if self._verbose and self._print_func:
            logging.info("Initialized %s as %s: %s", desc, rule, self._print_func(arr))

    def _init_zero(self, _, arr):
        arr[:] = 0.0

    def _init_one(self, _, arr):
        arr[:] = 1.0

    def _init_bias(self, _, arr):
        arr[:] = 0.0

    def _init_quantized_bias(self, _, arr):
        arr[:] = 0

    def _init_gamma(self, _, arr):
        arr[:] = 1.0

    def _init_beta(self, _, arr):
        arr[:] = 0.0

    def _init_weight(self, name, arr):
        raise NotImplementedError(f"{type(self).__name__} must implement _init_weight(name, array)")

    def _init_quantized_weight(self, _, arr):
        arr[:] = np.random.randint(-127, 127, size=arr.shape).astype("int8")

    def _init_default(self, name, _):
        raise ValueError(
            f'Unknown initialization pattern for {name}. Default initialization is now limited to "weight", "bias", '
            '"gamma" (1.0), and "beta" (0.0). Please use mx.sym.Variable(init=mx.init.*) to set initialization '
            "pattern")


@register
class Load:
    """Parameters from a dict or a file of arrays, by name (`arg:` and `aux:` are ignored); the rest by
    `default_init`.
    """

    def __init__(self, param, default_init=None, verbose=False):
        if isinstance(param, str):
            from .ndarray import load
            param = load(param)
        if not isinstance(param, dict):
            raise AssertionError(f"Load: param must be a dict of arrays or a file of named arrays, got "
                                 f"{type(param).__name__}")
        self.param = {name[4:] if name.startswith(("arg:", "aux:")) else name: arr for name, arr in param.items()}
        self.default_init = default_init
        self.verbose = verbose

    def __call__(self, name, arr):
        source = self.param.get(name)
        if source is not None:
            if arr.shape != source.shape:
                raise AssertionError(f"Parameter {name} cannot be initialized from loading. "
                                     f"Shape mismatch, target {arr.shape} vs loaded {source.shape}")
            arr[:] = source
        else:
            if self.default_init is None:
                raise AssertionError(f"Cannot Initialize parameter: {name}. "
                                     "It is not in the loaded parameters and no default initializer is given.")
            self.default_init(name, arr)
        if self.verbose:
            logging.info("Initialized %s by %s", name, "loading" if source is not None else "default")


@register
class Mixed:
    """Chooses by name: the first of `patterns` (regular expressions) that matches gives the initializer."""

    def __init__(self, patterns, initializers):
        if len(patterns) != len(initializers):
            raise AssertionError(f"Mixed: got {len(patterns)} patterns for {len(initializers)} initializers")
        self.map = [(re.compile(pattern), init) for pattern, init in zip(patterns, initializers)]

    def __call__(self, name, arr):
        for pattern, init in self.map:
            if pattern.match(name):
                init(name, arr)
                return
        raise ValueError(f"Parameter name {name} did not match any pattern. "
                         'Consider adding a ".*" pattern at the and with default Initializer.')


@alias("zeros")
class Zero(Initializer):
    """All 0."""

    def __init__(self):
        super().__init__()

    def _init_weight(self, _, arr):
        arr[:] = 0


@alias("ones")
class One(Initializer):
    """All 1."""

    def __init__(self):
        super().__init__()

    def _init_weight(self, _, arr):
        arr[:] = 1


@register
class Constant(Initializer):
    """A number, or the values of an array of the parameter's shape."""

    def __init__(self, value):
        super().__init__(value=value)
        self.value = value

    def _init_weight(self, _, arr):
        arr[:] = self.value

    def dumps(self):
        value = self._kwargs["value"]
        value = value.asnumpy() if hasattr(value, "asnumpy") else value
        if isinstance(value, (np.ndarray, np.generic)):
            value = value.tolist()
        return json.dumps([type(self).__name__.lower(), {"value": value}])


@register
class Uniform(Initializer):
    """Uniform in [-scale, scale]."""

    def __init__(self, scale=0.07):
        super().__init__(scale=scale)
        self.scale = scale

    def _init_weight(self, _, arr):
        _sample(arr, "uniform", -self.scale, self.scale)


@register
class Normal(Initializer):
    """Normal with mean 0 and standard deviation `sigma`."""

    def __init__(self, sigma=0.01):
        super().__init__(sigma=sigma)
        self.sigma = sigma

    def _init_weight(self, _, arr):
        _sample(arr, "normal", 0, self.sigma)


@register
class Orthogonal(Initializer):
    """A random matrix with orthonormal rows or columns, times `scale`; axes after the first count as columns."""

    def __init__(self, scale=1.414, rand_type="uniform"):
        super().__init__(scale=scale, rand_type=rand_type)
        self.scale = scale
        self.rand_type = rand_type

    def _init_weight(self, _, arr):
        rows, columns = arr.shape[0], int(np.prod(arr.shape[1:]))
        if self.rand_type == "uniform":
            noise = np.random.uniform(-1.0, 1.0, (rows, columns))
        elif self.rand_type == "normal":
            noise = np.random.normal(0.0, 1.0, (rows, columns))
        else:
            raise ValueError(f"Orthogonal: rand_type must be 'uniform' or 'normal', got {self.rand_type!r}")
        left, _, right = np.linalg.svd(noise, full_matrices=False)
        basis = left if left.shape == noise.shape else right
        arr[:] = (self.scale * basis).reshape(arr.shape)


@register
class Xavier(Initializer):
    """Random weights whose spread keeps the scale of activations (Glorot and Bengio).

    With n the number of inputs ('in'), outputs ('out') or their mean ('avg'), s = sqrt(magnitude / n):
    uniform in [-s, s], or normal with standard deviation s. The weight needs at least 2 dimensions.
    """

    def __init__(self, rnd_type="uniform", factor_type="avg", magnitude=3):
        super().__init__(rnd_type=rnd_type, factor_type=factor_type, magnitude=magnitude)
        self.rnd_type = rnd_type
        self.factor_type = factor_type
        self.magnitude = float(magnitude)

    def _init_weight(self, name, arr):
        shape = arr.shape
        if len(shape) < 2:
            raise ValueError(f"Xavier initializer cannot be applied to vector {name}. It requires at least 2D.")
        field = float(np.prod(shape[2:]))
        fan = {"in": shape[1] * field, "out": shape[0] * field, "avg": (shape[0] + shape[1]) * field / 2}
        if self.factor_type not in fan:
            raise ValueError(f"Incorrect factor type: must be 'in', 'out' or 'avg', got {self.factor_type!r}")
        scale = math.sqrt(self.magnitude / fan[self.factor_type])
        if self.rnd_type == "uniform":
            _sample(arr, "uniform", -scale, scale)
        elif self.rnd_type == "gaussian":
            _sample(arr, "normal", 0, scale)
        else:
            raise ValueError(f"Unknown random type: must be 'uniform' or 'gaussian', got {self.rnd_type!r}")


@register
class MSRAPrelu(Xavier):
    """Xavier's rule for networks of (leaky) rectifiers with negative slope `slope` (He et al.)."""

    def __init__(self, factor_type="avg", slope=0.25):
        super().__init__("gaussian", factor_type, 2.0 / (1 + slope ** 2))
        self._kwargs = {"factor_type": factor_type, "slope": slope}


@register
class Bilinear(Initializer):
    """The kernel of bilinear up-sampling, for the weights of a deconvolution."""

    def __init__(self):
        super().__init__()

    def _init_weight(self, _, arr):
        height, width = arr.shape[2:4]
        half = math.ceil(width / 2.0)
        centre = (2 * half - 1 - half % 2) / (2.0 * half)
        x = 1 - np.abs(np.arange(width) / half - centre)
        y = 1 - np.abs(np.arange(height) / half - centre)
        arr[:] = np.broadcast_to(np.outer(y, x).astype("float32"), arr.shape)


@register
class LSTMBias(Initializer):
    """0, but `forget_bias` for the forget gate: the second quarter of the vector."""

    def __init__(self, forget_bias=1.0):
        super().__init__(forget_bias=forget_bias)
        self.forget_bias = forget_bias

    def _init_weight(self, _, arr):
        hidden = arr.shape[0] // 4
        values = np.zeros(arr.shape, dtype="float32")
        values[hidden:2 * hidden] = self.forget_bias
        arr[:] = values


@register
class FusedRNN(Initializer):
    """The flat parameter vector of the fused `RNN` operator: its matrices by `init`, its biases 0.

    `init` is an initializer, its JSON text, or None for the one that initializes the rest of the network. The forget
    gate's biases of an LSTM become `forget_bias`.
    """

    _gates = {"rnn_relu": 1, "rnn_tanh": 1, "lstm": 4, "gru": 3}

    def __init__(self, init, num_hidden, num_layers, mode, bidirectional=False, forget_bias=1.0):
        if mode not in self._gates:
            raise ValueError(f"FusedRNN: mode must be one of {sorted(self._gates)}, got {mode!r}")
        init = create(init) if isinstance(init, str) else init
        super().__init__(init=init.dumps() if init is not None else None, num_hidden=num_hidden, num_layers=num_layers,
                         mode=mode, bidirectional=bidirectional, forget_bias=forget_bias)
        self._init = init
        self._num_hidden = num_hidden
        self._num_layers = num_layers
        self._mode = mode
        self._directions = 2 if bidirectional else 1
        self._forget_bias = forget_bias

    def _init_weight(self, desc, arr):
        from .ndarray import array, zeros
        init = self._init or getattr(desc, "global_init", None)
        if init is None:
            raise ValueError(f"FusedRNN: {desc} needs an initializer for its matrices, and no global one is known")
        rows = self._gates[self._mode] * self._num_hidden
        num_inputs = self._num_inputs(arr.size, rows)
        parts = []
        for layer in range(self._num_layers):
            for _ in range(self._directions):
                width = num_inputs if layer == 0 else self._num_hidden * self._directions
                for columns in (width, self._num_hidden):
                    part = zeros((rows, columns))
                    init(InitDesc(f"{desc}_l{layer}_weight", global_init=init), part)
                    parts.append(part.asnumpy().ravel())
        bias = np.zeros(rows, dtype="float32")
        if self._mode == "lstm":
            bias[self._num_hidden:2 * self._num_hidden] = self._forget_bias
        parts += [bias] * (2 * self._num_layers * self._directions)
        arr[:] = array(np.concatenate(parts))

    def _num_inputs(self, size, rows):
        """The width of the first layer's input, from the size of the vector; ValueError if none fits."""
        hidden, directions = self._num_hidden, self._directions
        upper = (self._num_layers - 1) * directions * rows * (hidden * directions + hidden + 2)
        width, rest = divmod(size - upper - directions * rows * (hidden + 2), directions * rows)
        if rest or width <= 0:
            raise ValueError(f"FusedRNN: a vector of {size} does not fit {self._num_layers} layers of {hidden} units")
        return width
