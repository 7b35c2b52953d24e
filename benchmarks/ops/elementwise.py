# SPDX-License-Identifier: Apache-2.0
"""Functions of one, two and three arrays, element by element, with scalars and with broadcasting."""

from .entry import CHANNELS, COLUMN, ROW, ROWS, SQUARE, Op

UNIT = SQUARE.within(-0.9, 0.9)


def unary(name, torch=None, a=SQUARE, mxnet=None, **options):
    """A function of one array; PyTorch's has the same name unless given."""
    return Op(mxnet or f"nd.{name}(a)", torch or f"torch.{name}(a)", a=a, **options)


def smooth(name, *arguments, **options):
    """A function of one array with a gradient."""
    return unary(name, *arguments, backward="a", **options)


def binary(name, torch, b=ROW, positive=False, **options):
    """A function of two arrays that broadcast."""
    a, b = (SQUARE.positive(), b.positive()) if positive else (SQUARE, b)
    return Op(f"nd.{name}(a, b)", torch, a=a, b=b, **options)


POSITIVE = {name: smooth(name, a=SQUARE.positive()) for name in ("log", "log10", "log2", "log1p", "sqrt", "rsqrt")}
UNARY = {name: smooth(name) for name in (
    "relu", "exp", "expm1", "tanh", "sigmoid", "erf", "square", "abs", "sin", "cos", "tan", "sinh", "cosh", "arctan",
    "arcsinh")}
BOUNDED = {name: smooth(name, a=UNIT) for name in ("arcsin", "arccos", "arctanh")}
ROUNDING = {name: unary(name) for name in ("sign", "floor", "ceil", "trunc", "round")}

OPS = {
    "add": Op("a + b", "a + b", a=SQUARE, b=SQUARE, backward="a b"),
    "subtract": Op("a - b", "a - b", a=SQUARE, b=SQUARE),
    "multiply": Op("a * b", "a * b", a=SQUARE, b=SQUARE, backward="a b"),
    "divide": Op("a / b", "a / b", a=SQUARE.positive(), b=SQUARE.positive(), backward="a b"),
    "modulo": Op("a % b", "torch.remainder(a, b)", a=SQUARE.positive(), b=SQUARE.positive()),
    "power": Op("a ** b", "a ** b", a=SQUARE.positive(), b=SQUARE, backward="a b"),
    "maximum": Op("nd.maximum(a, b)", "torch.maximum(a, b)", a=SQUARE, b=SQUARE, backward="a b"),
    "minimum": Op("nd.minimum(a, b)", "torch.minimum(a, b)", a=SQUARE, b=SQUARE),
    "hypot": Op("nd.broadcast_hypot(a, b)", "torch.hypot(a, b)", a=SQUARE, b=SQUARE, backward="a b"),
    "add_n": Op("nd.add_n(a, b, c, d)", "a + b + c + d", a=SQUARE, b=SQUARE, c=SQUARE, d=SQUARE, backward="a b c d"),
    "add_in_place": Op("a.__iadd__(b)", "a.add_(b)", a=SQUARE, b=SQUARE.within(-1e-9, 1e-9), compared=False),
    "add_float16": Op("a + b", "a + b", a=SQUARE.of("float16"), b=SQUARE.of("float16")),
    "add_float64": Op("a + b", "a + b", a=SQUARE.of("float64"), b=SQUARE.of("float64")),
    "add_int32": Op("a + b", "a + b", a=SQUARE.below(1000).of("int32"), b=SQUARE.below(1000).of("int32")),
    "exp_float16": Op("nd.exp(a)", "torch.exp(a)", a=SQUARE.of("float16")),
    "exp_float64": Op("nd.exp(a)", "torch.exp(a)", a=SQUARE.of("float64")),

    "add_scalar": Op("a + 1.5", "a + 1.5", a=SQUARE, backward="a"),
    "subtract_from_scalar": Op("1.5 - a", "1.5 - a", a=SQUARE),
    "multiply_scalar": Op("a * 1.5", "a * 1.5", a=SQUARE, backward="a"),
    "divide_scalar": Op("a / 1.5", "a / 1.5", a=SQUARE),
    "divide_into_scalar": Op("1.5 / a", "1.5 / a", a=SQUARE.positive(), backward="a"),
    "modulo_scalar": Op("a % 1.5", "torch.remainder(a, 1.5)", a=SQUARE.positive()),
    "power_scalar": Op("a ** 2.5", "a ** 2.5", a=SQUARE.positive(), backward="a"),
    "square_by_power": Op("a ** 2", "a ** 2", a=SQUARE, backward="a"),
    "scalar_power": Op("2 ** a", "2 ** a", a=SQUARE, backward="a"),
    "maximum_scalar": Op("nd.maximum(a, 0.5)", "torch.clamp_min(a, 0.5)", a=SQUARE, backward="a"),
    "minimum_scalar": Op("nd.minimum(a, 0.5)", "torch.clamp_max(a, 0.5)", a=SQUARE),
    "clip": Op("nd.clip(a, -0.5, 0.5)", "torch.clamp(a, -0.5, 0.5)", a=SQUARE, backward="a"),
    "quadratic": Op("nd.contrib.quadratic(a, a=1, b=2, c=3)", "a * a + 2 * a + 3", a=SQUARE, backward="a"),

    "broadcast_add": binary("broadcast_add", "a + b", backward="a b"),
    "broadcast_add_column": binary("broadcast_add", "a + b", b=COLUMN, backward="a b"),
    "broadcast_subtract": binary("broadcast_sub", "a - b"),
    "broadcast_multiply": binary("broadcast_mul", "a * b", backward="a b"),
    "broadcast_multiply_column": binary("broadcast_mul", "a * b", b=COLUMN, backward="a b"),
    "broadcast_divide": binary("broadcast_div", "a / b", positive=True, backward="a b"),
    "broadcast_modulo": binary("broadcast_mod", "torch.remainder(a, b)", positive=True),
    "broadcast_power": binary("broadcast_power", "a ** b", positive=True, backward="a b"),
    "broadcast_maximum": binary("broadcast_maximum", "torch.maximum(a, b)", backward="a b"),
    "broadcast_minimum": binary("broadcast_minimum", "torch.minimum(a, b)"),
    "broadcast_outer": Op("nd.broadcast_mul(a, b)", "a * b", a=ROW, b=COLUMN, backward="a b"),

    "equal": Op("a == b", "(a == b).float()", a=SQUARE.below(3), b=SQUARE.below(3)),
    "not_equal": Op("a != b", "(a != b).float()", a=SQUARE.below(3), b=SQUARE.below(3)),
    "greater": Op("a > b", "(a > b).float()", a=SQUARE, b=SQUARE),
    "greater_equal": Op("a >= b", "(a >= b).float()", a=SQUARE, b=SQUARE),
    "lesser": Op("a < b", "(a < b).float()", a=SQUARE, b=SQUARE),
    "greater_scalar": Op("a > 0.5", "(a > 0.5).float()", a=SQUARE),
    "equal_scalar": Op("a == 1", "(a == 1).float()", a=SQUARE.below(3)),
    "broadcast_greater": binary("broadcast_greater", "(a > b).float()"),
    "broadcast_equal": binary("broadcast_equal", "(a == b).float()"),
    "logical_and": Op("nd.logical_and(a, b)", "torch.logical_and(a, b).float()", a=SQUARE.below(2), b=SQUARE.below(2)),
    "logical_or": Op("nd.logical_or(a, b)", "torch.logical_or(a, b).float()", a=SQUARE.below(2), b=SQUARE.below(2)),
    "logical_xor": Op("nd.logical_xor(a, b)", "torch.logical_xor(a, b).float()", a=SQUARE.below(2), b=SQUARE.below(2)),
    "logical_not": unary("logical_not", "torch.logical_not(a).float()", a=SQUARE.below(2)),
    "isnan": unary("isnan", "torch.isnan(a).float()", mxnet="nd.contrib.isnan(a)"),
    "isinf": unary("isinf", "torch.isinf(a).float()", mxnet="nd.contrib.isinf(a)"),
    "isfinite": unary("isfinite", "torch.isfinite(a).float()", mxnet="nd.contrib.isfinite(a)"),
    "where": Op("nd.where(a > 0, a, b)", "torch.where(a > 0, a, b)", a=SQUARE, b=SQUARE),
    "where_given": Op("nd.where(c, a, b)", "torch.where(c > 0, a, b)", a=SQUARE, b=SQUARE,
                      c=SQUARE.below(2).of("float32"), backward="a b"),

    **POSITIVE, **UNARY, **BOUNDED, **ROUNDING,
    "arccosh": smooth("arccosh", a=SQUARE.within(1.1, 9)),
    "rint": unary("rint", "torch.round(a)"),
    "fix": unary("fix", "torch.trunc(a)"),
    "negative": Op("-a", "-a", a=SQUARE, backward="a"),
    "reciprocal": smooth("reciprocal", a=SQUARE.positive()),
    "cbrt": unary("cbrt", "a ** (1 / 3)", a=SQUARE.positive()),
    "rcbrt": unary("rcbrt", "a ** (-1 / 3)", a=SQUARE.positive()),
    "erfinv": smooth("erfinv", a=UNIT),
    "gamma": unary("gamma", "torch.exp(torch.lgamma(a))", a=SQUARE.positive()),
    "gammaln": smooth("gammaln", "torch.lgamma(a)", a=SQUARE.positive()),
    "degrees": unary("degrees", "torch.rad2deg(a)"),
    "radians": unary("radians", "torch.deg2rad(a)"),
    "softsign": smooth("softsign", "F.softsign(a)"),
    "softrelu": smooth("softrelu", "F.softplus(a)", mxnet="nd.Activation(a, act_type='softrelu')"),
    "hard_sigmoid": smooth("hard_sigmoid", "torch.clamp(0.2 * a + 0.5, 0, 1)"),
    "smooth_l1": smooth("smooth_l1", "F.smooth_l1_loss(a, z, reduction='none')", mxnet="nd.smooth_l1(a, scalar=1)",
                        first=("", "z = torch.zeros_like(a)")),
    "gelu": smooth("gelu", "F.gelu(a)", mxnet="nd.LeakyReLU(a, act_type='gelu')"),
    "leaky_relu": smooth("leaky", "F.leaky_relu(a, 0.25)", mxnet="nd.LeakyReLU(a, act_type='leaky', slope=0.25)"),
    "elu": smooth("elu", "F.elu(a)", mxnet="nd.LeakyReLU(a, act_type='elu', slope=1.0)"),
    "selu": smooth("selu", "F.selu(a)", mxnet="nd.LeakyReLU(a, act_type='selu')"),
    "prelu": Op("nd.LeakyReLU(a, b, act_type='prelu')", "F.prelu(a, b)", a=ROWS, b=CHANNELS, backward="a b"),
    "stop_gradient": unary("stop_gradient", "a.clone()", mxnet="nd.BlockGrad(a)"),
    "copy": unary("identity", "a.clone()"),
    "cast_float64": Op("a.astype('float64')", "a.double()", a=SQUARE, backward="a"),
    "cast_float16": Op("a.astype('float16')", "a.half()", a=SQUARE, backward="a"),
    "cast_from_float16": Op("a.astype('float32')", "a.float()", a=SQUARE.of("float16")),
    "cast_int32": Op("a.astype('int32')", "a.int()", a=SQUARE),
    "cast_int8": Op("a.astype('int8')", "a.to(torch.int8)", a=SQUARE),
    "cast_from_uint8": Op("a.astype('float32')", "a.float()", a=SQUARE.below(256).of("uint8")),
    "cast_from_int64": Op("a.astype('float32')", "a.float()", a=SQUARE.below(1000).of("int64")),
    "amp_cast": Op("nd.amp_cast(a, dtype='float16')", "a.half()", a=SQUARE),
}
