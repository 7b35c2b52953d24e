# SPDX-License-Identifier: Apache-2.0
"""Records of the elementwise operators."""

import math

import numpy as np
from ops.harness import ALL_DTYPES, FLOATS, ErrorSample, Sample, record

erf, gamma, lgamma = (np.vectorize(f, otypes=[float]) for f in (math.erf, math.gamma, math.lgamma))
HALF_BASE = {"float16": 1e-2, "bfloat16": 6e-2}  # functions that enlarge the rounding of their argument


def inverse_erf(y):
    x = np.zeros_like(y)
    for _ in range(100):  # Newton
        x = x - (erf(x) - y) / (2 / math.sqrt(math.pi) * np.exp(-x * x))
    return x


def softplus(x):
    return np.logaddexp(0, x)


def sigmoid(x):
    return np.exp(-softplus(-x))


def round_away(x):
    return np.sign(x) * np.floor(np.abs(x) + 0.5)


# ---- functions of one array ---------------------------------------------------------------------------------------

SMOOTH = {  # name: (function, lowest, highest argument)
    "negative": (np.negative, -2, 2),
    "square": (np.square, -2, 2),
    "sqrt": (np.sqrt, 0.1, 4),
    "rsqrt": (lambda x: 1 / np.sqrt(x), 0.2, 4),
    "cbrt": (np.cbrt, 0.2, 4),
    "rcbrt": (lambda x: 1 / np.cbrt(x), 0.2, 4),
    "reciprocal": (lambda x: 1 / x, 0.3, 3),
    "exp": (np.exp, -2, 2),
    "log": (np.log, 0.2, 4),
    "log10": (np.log10, 0.2, 4),
    "log2": (np.log2, 0.2, 4),
    "log1p": (np.log1p, -0.7, 4),
    "expm1": (np.expm1, -2, 2),
    "sin": (np.sin, -3, 3),
    "cos": (np.cos, -3, 3),
    "tan": (np.tan, -1, 1),
    "arcsin": (np.arcsin, -0.8, 0.8),
    "arccos": (np.arccos, -0.8, 0.8),
    "arctan": (np.arctan, -3, 3),
    "sinh": (np.sinh, -2, 2),
    "cosh": (np.cosh, -2, 2),
    "tanh": (np.tanh, -2, 2),
    "arcsinh": (np.arcsinh, -3, 3),
    "arccosh": (np.arccosh, 1.3, 4),
    "arctanh": (np.arctanh, -0.8, 0.8),
    "degrees": (np.degrees, -3, 3),
    "radians": (np.radians, -90, 90),
    "gamma": (gamma, 0.5, 4),
    "gammaln": (lgamma, 0.5, 4),
    "erf": (erf, -2, 2),
    "erfinv": (inverse_erf, -0.8, 0.8),
    "sigmoid": (sigmoid, -4, 4),
    "log_sigmoid": (lambda x: -softplus(-x), -4, 4),
    "softsign": (lambda x: x / (1 + np.abs(x)), 0.1, 3),
    "mish": (lambda x: x * np.tanh(softplus(x)), -3, 3),
}
NEW = ("log_sigmoid", "mish")  # not in 1.9.1
for name, (function, low, high) in SMOOTH.items():
    record(
        name,
        dtypes=FLOATS,
        grad=True,
        rtol=HALF_BASE,
        samples=lambda rng, low=low, high=high, name=name: [
            Sample([rng.uniform(low, high, shape)], oracle=name not in NEW)
            for shape in ((3, 4), (5, 67), (1,), (0, 3), (2, 1, 3, 2))
        ],
        reference=function,
    )

KINKED = {  # differentiable away from whole and half numbers, exact on integers
    "abs": (np.abs, True),
    "relu": (lambda x: np.maximum(x, 0), True),
    "_copy": (lambda x: x, True),
    "sign": (np.sign, True),
    "rint": (lambda x: np.ceil(x - 0.5), True),
    "ceil": (np.ceil, True),
    "floor": (np.floor, True),
    "trunc": (np.trunc, True),
    "fix": (np.trunc, True),
    "round": (round_away, True),
    "logical_not": (lambda x: np.equal(x, 0).astype(x.dtype), True),
    "_contrib_isnan": (lambda x: np.isnan(x).astype(x.dtype), True),
    "_contrib_isinf": (lambda x: np.isinf(x).astype(x.dtype), True),
    "_contrib_isfinite": (lambda x: np.isfinite(x).astype(x.dtype), True),
    "zeros_like": (np.zeros_like, True),
    "ones_like": (np.ones_like, True),
    "BlockGrad": (lambda x: x, False),
    "make_loss": (lambda x: x, False),
}
for name, (function, grad) in KINKED.items():
    record(
        name,
        dtypes=ALL_DTYPES,
        grad=grad,
        oracle=not name.startswith("_contrib"),
        samples=lambda rng: (
            [Sample([rng.integers(1, 5, shape) + rng.uniform(0.1, 0.4, shape)]) for shape in ((3, 4), (5, 67), (0, 3))]
            + [
                Sample(
                    [np.array([-2.5, -1.5, -0.5, 0.0, 0.5, 1.5, 2.5, -0.25, np.inf, -np.inf, np.nan])[:8]], grad=False
                )
            ]
        ),
        reference=function,
    )

# ---- functions of two arrays --------------------------------------------------------------------------------------


def remainder(a, b):
    a, b = np.broadcast_arrays(a, b)
    return np.where(b == 0, 0, np.mod(a, np.where(b == 0, 1, b)))


def quotient(a, b):
    if np.result_type(a, b).kind == "f":
        return np.divide(a, b)
    a, b = np.broadcast_arrays(a, b)
    return np.where(b == 0, 0, np.trunc(a / np.where(b == 0, 1, b)))


def like(function):
    """Truth as numbers of the operands' dtype."""
    return lambda a, b: function(a, b).astype(np.result_type(a, b))


ARITHMETIC = {  # stem: (function, operator of one shape, gradient)
    "add": (np.add, "elemwise_add", True),
    "sub": (np.subtract, "elemwise_sub", True),
    "mul": (np.multiply, "elemwise_mul", True),
    "div": (quotient, "elemwise_div", True),
    "mod": (remainder, "_mod", True),
    "power": (np.power, "_power", True),
    "maximum": (np.maximum, "_maximum", True),
    "minimum": (np.minimum, "_minimum", True),
    "hypot": (np.hypot, "_hypot", True),
}
COMPARISONS = {
    "equal": (like(np.equal), "_equal"),
    "not_equal": (like(np.not_equal), "_not_equal"),
    "greater": (like(np.greater), "_greater"),
    "greater_equal": (like(np.greater_equal), "_greater_equal"),
    "lesser": (like(np.less), "_lesser"),
    "lesser_equal": (like(np.less_equal), "_lesser_equal"),
    "logical_and": (like(np.logical_and), "_logical_and"),
    "logical_or": (like(np.logical_or), "_logical_or"),
    "logical_xor": (like(np.logical_xor), "_logical_xor"),
}
DTYPES = {"power": FLOATS, "hypot": FLOATS, "sub": (*FLOATS, "int8", "int32", "int64")}
SAME = [(3, 4), (2, 35), (0, 3), (1, 1)]
BROADCAST = [
    ((3, 4), (3, 4)),
    ((3, 4), (1, 4)),
    ((3, 1), (1, 4)),
    ((2, 3, 4, 5), (1, 3, 1, 1)),
    ((2, 1, 3), (1, 4, 1)),
    ((4, 300), (1, 300)),
    ((4, 300), (4, 1)),
    ((0, 3), (1, 3)),
    ((1,), (5,)),
]


def positive(rng, shape):
    """Away from zero and from whole quotients."""
    return rng.integers(1, 4, shape) + rng.uniform(0.05, 0.2, shape)


def pair(rng, a, b):
    return [positive(rng, a), positive(rng, b) + 0.25]


def numbers(rng, shape):
    return rng.integers(0, 3, shape).astype(float)


SHAPE_ERROR = [ErrorSample([np.ones((2, 3)), np.ones((2, 4))], {}, "(2, 3)")]
DTYPE_ERROR = [ErrorSample([np.ones((2, 3)), np.ones((2, 3), np.int32)], {}, "int32")]

for stem, (function, same, grad) in ARITHMETIC.items():
    common = dict(dtypes=DTYPES.get(stem, ALL_DTYPES), grad=grad, rtol=HALF_BASE, reference=function)
    record(
        same,
        samples=lambda rng: [Sample(pair(rng, s, s)) for s in SAME],
        errors=SHAPE_ERROR + DTYPE_ERROR + [ErrorSample([np.ones((2, 3)), np.ones(3)], {}, "rhs")],
        **common,
    )
    record(
        f"broadcast_{stem}",
        samples=lambda rng: [Sample(pair(rng, *s)) for s in BROADCAST],
        errors=SHAPE_ERROR + DTYPE_ERROR,
        **common,
    )
record(
    "_grad_add",
    dtypes=ALL_DTYPES,
    grad=True,
    samples=lambda rng: [Sample(pair(rng, s, s)) for s in SAME],
    reference=np.add,
)
for stem, (function, same) in COMPARISONS.items():
    record(
        same,
        dtypes=ALL_DTYPES,
        samples=lambda rng: [Sample([numbers(rng, s), numbers(rng, s)]) for s in SAME],
        reference=function,
        errors=SHAPE_ERROR + DTYPE_ERROR,
    )
    record(
        f"broadcast_{stem}",
        dtypes=ALL_DTYPES,
        samples=lambda rng: [Sample([numbers(rng, a), numbers(rng, b)]) for a, b in BROADCAST],
        reference=function,
        errors=SHAPE_ERROR + DTYPE_ERROR,
    )

# ---- an array and a scalar ----------------------------------------------------------------------------------------


def with_scalar(function, reverse=False):
    def apply(x, scalar):
        scalar = np.asarray(scalar).astype(x.dtype)  # converted first: int32 + 1.5 adds 1
        return function(scalar, x) if reverse else function(x, scalar)

    return apply


SCALAR = {
    "_plus_scalar": with_scalar(np.add),
    "_minus_scalar": with_scalar(np.subtract),
    "_rminus_scalar": with_scalar(np.subtract, True),
    "_mul_scalar": with_scalar(np.multiply),
    "_div_scalar": with_scalar(quotient),
    "_rdiv_scalar": with_scalar(quotient, True),
    "_mod_scalar": with_scalar(remainder),
    "_rmod_scalar": with_scalar(remainder, True),
    "_power_scalar": with_scalar(np.power),
    "_rpower_scalar": with_scalar(np.power, True),
    "_maximum_scalar": with_scalar(np.maximum),
    "_minimum_scalar": with_scalar(np.minimum),
    "_hypot_scalar": with_scalar(np.hypot),
}
SCALAR_DTYPES = {
    "_power_scalar": FLOATS,
    "_rpower_scalar": FLOATS,
    "_hypot_scalar": FLOATS,
    "_rminus_scalar": (*FLOATS, "int8", "int32", "int64"),
}
for name, function in SCALAR.items():
    record(
        name,
        dtypes=SCALAR_DTYPES.get(name, ALL_DTYPES),
        grad=True,
        rtol=HALF_BASE,
        samples=lambda rng: [
            Sample([positive(rng, s)], dict(scalar=v))
            for s, v in (((3, 4), 2.5), ((5, 67), 2), ((0, 3), 1), ((1,), 3.5))
        ],
        reference=function,
        errors=[ErrorSample([np.ones(3)], dict(scalar="many"), "scalar")],
    )
for stem, (function, _) in COMPARISONS.items():
    record(
        f"_{stem}_scalar",
        dtypes=ALL_DTYPES,
        samples=lambda rng: [Sample([numbers(rng, s)], dict(scalar=v)) for s, v in (((3, 4), 1), ((5, 67), 0))],
        reference=with_scalar(function),
    )

# ---- activations, selections, conversions -------------------------------------------------------------------------

ACTIVATIONS = {
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": sigmoid,
    "softrelu": softplus,
    "softsign": lambda x: x / (1 + np.abs(x)),
    "tanh": np.tanh,
    "log_sigmoid": lambda x: -softplus(-x),
    "mish": SMOOTH["mish"][0],
}


def away_from_zero(rng, shape):
    return rng.uniform(0.1, 2, shape) * rng.choice([-1, 1], shape)


record(
    "Activation",
    dtypes=FLOATS,
    grad=True,
    rtol=HALF_BASE,
    samples=lambda rng: [
        Sample([away_from_zero(rng, (3, 5, 7))], dict(act_type=t), oracle=t not in NEW) for t in ACTIVATIONS
    ],
    reference=lambda x, act_type: ACTIVATIONS[act_type](x),
    errors=[ErrorSample([np.ones(3)], dict(act_type="step"), "act_type"), ErrorSample([np.ones(3)], {}, "act_type")],
)


def leaky(x, gamma=None, act_type="leaky", slope=0.25, lower_bound=0.125, upper_bound=0.334):
    slope, lower_bound, upper_bound = (float(np.float32(v)) for v in (slope, lower_bound, upper_bound))
    if act_type == "prelu":
        slope = gamma if gamma.size == 1 else gamma.reshape((-1,) + (1,) * (x.ndim - 2))
    elif act_type == "rrelu":
        slope = (lower_bound + upper_bound) / 2
    elif act_type == "gelu":
        return x * 0.5 * (1 + erf(x / math.sqrt(2)))
    elif act_type in ("elu", "selu"):
        scale, alpha = (1.0507009873554805, 1.6732632423543773) if act_type == "selu" else (1, slope)
        return scale * np.where(x > 0, x, alpha * np.expm1(x))
    return np.where(x > 0, x, slope * x)


record(
    "LeakyReLU",
    dtypes=FLOATS,
    grad=True,
    rtol=HALF_BASE,
    samples=lambda rng: [
        Sample([away_from_zero(rng, (3, 5, 7))], dict(act_type="leaky", slope=0.3)),
        Sample([away_from_zero(rng, (3, 4))], dict(act_type="elu", slope=0.7)),
        Sample([away_from_zero(rng, (3, 4))], dict(act_type="selu"), oracle=False),  # 1.9.1 has another slope
        Sample([away_from_zero(rng, (3, 40))], dict(act_type="gelu")),
        Sample([away_from_zero(rng, (3, 4, 2)), rng.uniform(0.1, 0.5, 4)], dict(act_type="prelu")),
        Sample([away_from_zero(rng, (3, 4)), rng.uniform(0.1, 0.5, 1)], dict(act_type="prelu")),
        Sample([away_from_zero(rng, (3, 4))], dict(act_type="rrelu"), oracle=False, grad=False),
    ],
    reference=leaky,
    errors=[
        ErrorSample([np.ones((2, 3)), np.ones(4)], dict(act_type="prelu"), "gamma"),
        ErrorSample([np.ones((2, 3))], dict(act_type="prelu"), "gamma"),
        ErrorSample([np.ones((2, 3))], dict(act_type="step"), "act_type"),
    ],
)
record(
    "hard_sigmoid",
    dtypes=FLOATS,
    grad=True,
    samples=lambda rng: [
        Sample([rng.uniform(-4, 4, (3, 5))]),
        Sample([rng.uniform(-2, 2, (3, 5))], dict(alpha=0.5, beta=0.25)),
    ],
    reference=lambda x, alpha=0.2, beta=0.5: np.clip(float(np.float32(alpha)) * x + beta, 0, 1),
)
record(
    "smooth_l1",
    dtypes=FLOATS,
    grad=True,
    samples=lambda rng: [Sample([away_from_zero(rng, (3, 5))], dict(scalar=s)) for s in (1, 2.0, 0.5)],
    reference=lambda x, scalar: np.where(
        np.abs(x) < 1 / scalar**2, 0.5 * scalar**2 * x * x, np.abs(x) - 0.5 / scalar**2
    ),
)
record(
    "clip",
    dtypes=ALL_DTYPES,
    grad=True,
    samples=lambda rng: [
        Sample([rng.integers(0, 6, (3, 5)) + 0.25], dict(a_min=1, a_max=3)),
        Sample([rng.standard_normal((4, 50))], dict(a_min=-0.5, a_max=0.5)),
    ],
    reference=lambda x, a_min, a_max: np.clip(x, np.asarray(a_min).astype(x.dtype), np.asarray(a_max).astype(x.dtype)),
    errors=[ErrorSample([np.ones(3)], dict(a_min=0), "a_max")],
)
record(
    "where",
    data=(1, 2),
    dtypes=ALL_DTYPES,
    grad=True,
    samples=lambda rng: [
        Sample([numbers(rng, (3, 4)), positive(rng, (3, 4)), positive(rng, (3, 4))]),
        Sample([rng.integers(0, 2, (3, 4)).astype(np.int32), positive(rng, (3, 4)), positive(rng, (3, 4))]),
        Sample([numbers(rng, (3,)), positive(rng, (3, 4, 2)), positive(rng, (3, 4, 2))]),
    ],
    reference=lambda c, x, y: np.where(c.reshape(c.shape + (1,) * (x.ndim - c.ndim)) != 0, x, y),
    errors=[
        ErrorSample([np.ones(4), np.ones((3, 4)), np.ones((3, 4))], {}, "condition"),
        ErrorSample([np.ones((3, 4)), np.ones((3, 4)), np.ones((3, 5))], {}, "(3, 4)"),
    ],
)
record(
    "add_n",
    dtypes=ALL_DTYPES,
    grad=True,
    samples=lambda rng: [Sample([positive(rng, (3, 4)) for _ in range(n)]) for n in (1, 2, 5)],
    reference=lambda *arrays: sum(arrays[1:], arrays[0]),
    errors=SHAPE_ERROR,
)
CAST_TARGETS = ("float16", "float64", "int32", "uint8", "int8", "int64", "float32", "bool")
record(
    "Cast",
    dtypes=ALL_DTYPES,
    samples=lambda rng: [Sample([positive(rng, (3, 40))], dict(dtype=d)) for d in CAST_TARGETS],
    rtol={"bfloat16": 1e-3},
    reference=lambda x, dtype: x.astype(dtype),
    errors=[ErrorSample([np.ones(3)], dict(dtype="float31"), "dtype"), ErrorSample([np.ones(3)], {}, "dtype")],
    atol=2e-3,
)
record(
    "amp_cast",
    dtypes=FLOATS,
    samples=lambda rng: [Sample([positive(rng, (3, 40))], dict(dtype=d)) for d in ("float16", "float32")],
    reference=lambda x, dtype: x.astype(dtype),
    atol=2e-3,
    rtol={"bfloat16": 1e-3},
)

# ---- gradients by choice: their own check, since they are not derivatives -------------------------------------------

for name, function in (("_contrib_round_ste", round_away), ("_contrib_sign_ste", np.sign)):
    record(
        name,
        dtypes=FLOATS,
        samples=lambda rng: [Sample([positive(rng, s) - 2.5]) for s in ((3, 4), (2, 40))],
        reference=function,
    )
record(
    "_contrib_gradientmultiplier",
    dtypes=FLOATS,
    samples=lambda rng: [Sample([positive(rng, (3, 4))], dict(scalar=-0.5))],
    reference=lambda x, scalar: x,
)
record(
    "_contrib_quadratic",
    dtypes=FLOATS,
    grad=True,
    samples=lambda rng: [Sample([positive(rng, (3, 4))], dict(a=2, b=-1, c=0.5)), Sample([positive(rng, (5,))])],
    reference=lambda x, a=0, b=0, c=0: a * x * x + b * x + c,
    rtol=HALF_BASE,
)
record(
    "_identity_with_attr_like_rhs",
    data=(0,),
    grad=True,
    samples=lambda rng: [Sample([positive(rng, (3, 4)), positive(rng, (3, 4))])],
    reference=lambda x, y: x,
)
record(
    "MakeLoss",
    dtypes=FLOATS,
    samples=lambda rng: [
        Sample([positive(rng, (3, 4))], p) for p in ({}, dict(grad_scale=2), dict(normalization="batch"))
    ],
    reference=lambda x, **_: x,
)
record(
    "amp_multicast",
    dtypes=("float32",),
    grad=True,
    out=False,
    samples=lambda rng: [
        Sample([positive(rng, (3, 4)), positive(rng, (2,))], dict(num_outputs=2)),
        Sample([positive(rng, (3, 4)), rng.integers(0, 5, (3,)).astype(np.int32)], dict(num_outputs=2), grad=False),
    ],
    reference=lambda *arrays, num_outputs: list(arrays),
    errors=[
        ErrorSample([np.ones((4, 6))], dict(num_outputs=2), "num_outputs is 2 with 1 arrays"),
        ErrorSample([np.ones(3), np.ones(3)], dict(num_outputs=1), "num_outputs is 1 with 2 arrays"),
    ],
)
