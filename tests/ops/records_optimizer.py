# SPDX-License-Identifier: Apache-2.0
"""Records of the optimizer operators: each formula written once more, in NumPy."""

import functools

import numpy as np
from ops.harness import ErrorSample, Sample, record

FLOATS = ("float16", "bfloat16", "float32", "float64")
MASTER = ("float16", "bfloat16")
SHAPE = (5, 7)
COMMON = dict(lr=0.1, wd=0.01, rescale_grad=0.5, clip_gradient=1.0)
EPS32 = 1e-8


def clip(g, bound):
    return g if bound < 0 else np.clip(g, -bound, bound)


def sgd(w, g, lr, wd=0, rescale_grad=1, clip_gradient=-1):
    return (1 - lr * wd) * w - lr * clip(rescale_grad * g, clip_gradient)


def sgd_mom(w, g, mom, lr, momentum=0, wd=0, rescale_grad=1, clip_gradient=-1):
    mom = momentum * mom - lr * (clip(rescale_grad * g, clip_gradient) + wd * w)
    return w + mom, mom


def nag(w, g, mom, lr, momentum=0, wd=0, rescale_grad=1, clip_gradient=-1):
    step = lr * (clip(rescale_grad * g, clip_gradient) + wd * w)
    mom = momentum * mom - step
    return w + momentum * mom - step, mom


def signsgd(w, g, lr, wd=0, **_):
    return (1 - lr * wd) * w - lr * np.sign(g)


def signum(w, g, mom, lr, momentum=0, wd=0, rescale_grad=1, clip_gradient=-1, wd_lh=0):
    mom = momentum * mom - (1 - momentum) * (wd * w + clip(rescale_grad * g, clip_gradient))
    return (1 - lr * wd_lh) * w + lr * np.sign(mom), mom


def adam(w, g, mean, var, lr, beta1=0.9, beta2=0.999, epsilon=EPS32, wd=0, rescale_grad=1, clip_gradient=-1):
    g = clip(rescale_grad * g + wd * w, clip_gradient)
    mean, var = beta1 * mean + (1 - beta1) * g, beta2 * var + (1 - beta2) * g**2
    return w - lr * mean / (np.sqrt(var) + epsilon), mean, var


def adagrad(w, g, history, lr, epsilon=1e-7, wd=0, rescale_grad=1, clip_gradient=-1):
    g = clip(rescale_grad * g, clip_gradient)
    history = history + g**2
    return w - lr * g / np.sqrt(history + epsilon), history


def adamw(w, g, mean, var, scale, lr, eta, beta1=0.9, beta2=0.999, epsilon=EPS32, wd=0, clip_gradient=-1):
    if not np.isfinite(scale).all() or (scale == 0).any():
        return w, mean, var
    g = clip(scale * g, clip_gradient)
    mean, var = beta1 * mean + (1 - beta1) * g, beta2 * var + (1 - beta2) * g**2
    return w - eta * (lr * mean / (np.sqrt(var) + epsilon) + wd * w), mean, var


def rmsprop(w, g, n, lr, gamma1=0.95, epsilon=EPS32, wd=0, rescale_grad=1, clip_gradient=-1, clip_weights=-1):
    g = clip(rescale_grad * g + wd * w, clip_gradient)
    n = gamma1 * n + (1 - gamma1) * g**2
    return clip(w - lr * g / np.sqrt(n + epsilon), clip_weights), n


def rmsprop_alex(
    w,
    g,
    n,
    m,
    delta,
    lr,
    gamma1=0.95,
    gamma2=0.9,
    epsilon=EPS32,
    wd=0,
    rescale_grad=1,
    clip_gradient=-1,
    clip_weights=-1,
):
    g = clip(rescale_grad * g + wd * w, clip_gradient)
    n, m = gamma1 * n + (1 - gamma1) * g**2, gamma1 * m + (1 - gamma1) * g
    delta = gamma2 * delta - lr * g / np.sqrt(n - m**2 + epsilon)
    return clip(w + delta, clip_weights), n, m, delta


def ftrl(w, g, z, n, lr, lamda1=0.01, beta=1, wd=0, rescale_grad=1, clip_gradient=-1):
    g = clip(rescale_grad * g, clip_gradient)
    z = z + g - (np.sqrt(n + g**2) - np.sqrt(n)) * w / lr
    n = n + g**2
    return np.where(np.abs(z) > lamda1, (np.sign(z) * lamda1 - z) / ((beta + np.sqrt(n)) / lr + wd), 0), z, n


def ftml(w, g, d, v, z, lr, t, beta1=0.6, beta2=0.999, epsilon=EPS32, wd=0, rescale_grad=1, clip_grad=-1):
    g = clip(rescale_grad * g + wd * w, clip_grad)
    v = beta2 * v + (1 - beta2) * g**2
    now = (1 - beta1**t) / lr * (np.sqrt(v / (1 - beta2**t)) + epsilon)
    z = beta1 * z + (1 - beta1) * g - (now - beta1 * d) * w
    return -z / now, now, v, z


def lamb1(
    w, g, mean, var, t, wd, beta1=0.9, beta2=0.999, epsilon=1e-6, bias_correction=True, rescale_grad=1, clip_gradient=-1
):
    g = clip(rescale_grad * g, clip_gradient)
    mean, var = beta1 * mean + (1 - beta1) * g, beta2 * var + (1 - beta2) * g**2
    m, v = (mean / (1 - beta1**t), var / (1 - beta2**t)) if bias_correction else (mean, var)
    return m / (np.sqrt(v) + epsilon) + wd * w, mean, var


def lamb2(w, g, r1, r2, lr, lower_bound=-1, upper_bound=-1):
    r1 = np.maximum(r1, lower_bound) if lower_bound >= 0 else r1
    r1 = np.minimum(r1, upper_bound) if upper_bound >= 0 else r1
    return w - lr * (r1 / r2 if (r1 * r2 != 0).all() else 1) * g


def arrays(rng, states, positive=()):
    """Weight, gradient, states; a state named in `positive` is a mean of squares, another one small."""
    found = [rng.standard_normal(SHAPE) for _ in range(2 + states)]
    return [np.abs(x) + 1 if i - 2 in positive else x * 0.3 if i > 1 else x for i, x in enumerate(found)]


def add(name, reference, states, params, positive=(), plain=None, grad_text="grad", oracle=True):
    """The record of one update rule: with all parameters and with the required ones only."""
    record(
        name,
        oracle=oracle,
        reference=reference,
        dtypes=FLOATS,
        mutated=tuple(range(2, 2 + states)),
        rtol={"float32": 3e-5, "float16": 2e-2, "bfloat16": 8e-2, "float64": 1e-6},
        samples=lambda rng: [
            Sample(arrays(rng, states, positive), params),
            Sample(arrays(rng, states, positive), plain or dict(lr=0.1)),
        ],
        errors=[
            ErrorSample([np.ones((2,)), np.ones((3,)), *[np.ones(2)] * states], plain or dict(lr=0.1), "(3,)"),
            ErrorSample([np.ones(2, np.int32)] * (2 + states), plain or dict(lr=0.1), "int32"),
            ErrorSample([np.ones(2)] * (2 + states), {}, ""),
        ],
    )


def with_master(reference):
    """The same on the float32 copy: it is the last input, and written."""

    @functools.wraps(reference)
    def master(w, g, *rest, **params):
        out = reference(rest[-1], g, *rest[:-1], **params)
        out = out if isinstance(out, tuple) else (out,)
        return (*out, out[0])

    return master


def add_master(name, reference, states, params, **more):
    record(
        name,
        reference=with_master(reference),
        dtypes=MASTER,
        cast=(0, 1),
        mutated=tuple(range(2, 3 + states)),
        rtol={"float32": 3e-5, "float16": 5e-3, "bfloat16": 4e-2},
        samples=lambda rng: [
            Sample([x.astype(np.float32) if i > 1 else x for i, x in enumerate(arrays(rng, states + 1))], params)
        ],
        errors=[ErrorSample([np.ones(2)] * (3 + states), {}, "lr")],
        **more,
    )


MOMENTUM = dict(COMMON, momentum=0.9)
add("sgd_update", sgd, 0, COMMON)
add("sgd_mom_update", sgd_mom, 1, MOMENTUM)
add("nag_mom_update", nag, 1, MOMENTUM)
add("signsgd_update", signsgd, 0, COMMON)
add("signum_update", signum, 1, dict(MOMENTUM, wd_lh=0.02))
add("adam_update", adam, 2, COMMON, positive=(1,))
add(
    "_sparse_adagrad_update",
    adagrad,
    1,
    dict(lr=0.1, rescale_grad=0.5, clip_gradient=1.0),
    positive=(0,),
    oracle=False,  # 1.9.1 has it for row_sparse gradients only
)
add("rmsprop_update", rmsprop, 1, dict(COMMON, clip_weights=0.5, epsilon=0.1), positive=(0,))
add(
    "rmspropalex_update",
    rmsprop_alex,
    3,
    dict(COMMON, epsilon=5, clip_weights=2),
    positive=(0,),
    plain=dict(lr=0.1, epsilon=5),
)
add("ftrl_update", ftrl, 2, COMMON, positive=(1,))
add(
    "ftml_update",
    ftml,
    3,
    dict(lr=0.1, wd=0.01, rescale_grad=0.5, clip_grad=1.0, t=3),
    positive=(0, 1),
    plain=dict(lr=0.1, t=1),
)
add(
    "lamb_update_phase1",
    lamb1,
    2,
    dict(t=3, wd=0.01, rescale_grad=0.5, clip_gradient=1.0),
    positive=(1,),
    plain=dict(t=2, wd=0, bias_correction=False),
)
add_master("mp_sgd_update", sgd, 0, COMMON)
add_master("mp_sgd_mom_update", sgd_mom, 1, MOMENTUM)
add_master("mp_nag_mom_update", nag, 1, MOMENTUM, oracle=False)  # its docstring says why

record(
    "lamb_update_phase2",
    reference=lamb2,
    dtypes=FLOATS,
    rtol={"float16": 2e-2, "bfloat16": 8e-2, "float32": 3e-5},
    samples=lambda rng: (
        [
            Sample([*arrays(rng, 0), np.array([3.0]), np.array([2.0])], p)
            for p in (dict(lr=0.1), dict(lr=0.1, upper_bound=1.0), dict(lr=0.1, lower_bound=4.0))
        ]
        + [Sample([*arrays(rng, 0), np.array([0.0]), np.array([2.0])], dict(lr=0.1))]
    ),
    errors=[ErrorSample([np.ones(2), np.ones(2), np.ones(2), np.ones(1)], dict(lr=0.1), "r1")],
)
ADAMW = dict(lr=0.1, eta=0.7, wd=0.01, clip_gradient=1.0)
record(
    "_adamw_update",
    reference=adamw,
    dtypes=FLOATS,
    mutated=(2, 3),
    cast=(0, 1, 2, 3),
    rtol={"float32": 3e-5, "float16": 2e-2, "bfloat16": 8e-2, "float64": 1e-6},
    oracle=False,
    samples=lambda rng: [
        Sample([*arrays(rng, 2, (1,)), np.array([s], np.float32)], ADAMW) for s in (0.5, 0, np.nan, np.inf)
    ],
    errors=[ErrorSample([np.ones(2)] * 5, ADAMW, "rescale_grad")],
)
record(
    "_mp_adamw_update",
    dtypes=MASTER,
    mutated=(2, 3, 4),
    cast=(0, 1),
    oracle=False,
    reference=lambda w, g, m, v, w32, scale, **p: (lambda out, m, v: (out, m, v, out))(
        *adamw(w32, g, m, v, scale, **p)
    ),
    rtol={"float32": 3e-5, "float16": 5e-3, "bfloat16": 4e-2},
    samples=lambda rng: [
        Sample(
            [
                *[x.astype(np.float32) if i > 1 else x for i, x in enumerate(arrays(rng, 3, (1,)))],
                np.array([0.5], np.float32),
            ],
            ADAMW,
        )
    ],
)

# ---- many arrays --------------------------------------------------------------------------------------------------


def multi(reference, stride, master, preloaded):
    """The reference of a multi_* operator: outputs, then what was written."""

    def run(*inputs, lrs=(), wds=(), num_weights=1, **params):
        if preloaded:
            *inputs, lrs, wds = inputs
        rule = with_master(reference) if master else reference
        outs, written = [], []
        for k in range(num_weights):
            result = rule(*inputs[k * stride : (k + 1) * stride], lr=lrs[k], wd=wds[k], **params)
            result = result if isinstance(result, tuple) else (result,)
            outs.append(result[0])
            written += result[1:]
        return [*outs, *written]

    return run


def multi_inputs(rng, stride, master):
    found = []
    for shape in [(3, 4), (5,), (20000,)]:
        item = [rng.standard_normal(shape) for _ in range(stride)]
        found += [x.astype(np.float32) if master and i > 1 else x for i, x in enumerate(item)]
    return found


for mid, with_mom in [("sgd", False), ("sgd_mom", True)]:
    for is_master in (False, True):
        for is_preloaded in (False, True):
            op_stride = 2 + with_mom + is_master
            op_name = f"{'preloaded_' if is_preloaded else ''}multi_{'mp_' if is_master else ''}{mid}_update"
            rates = (np.array([0.1, 0.2, 0.3], np.float32), np.array([0, 0.1, 0.01], np.float32))
            fixed = dict(num_weights=3, rescale_grad=0.5, clip_gradient=1.0, **(dict(momentum=0.9) if with_mom else {}))
            given = fixed if is_preloaded else dict(fixed, lrs=(0.1, 0.2, 0.3), wds=(0, 0.1, 0.01))
            record(
                op_name,
                dtypes=("float32", *MASTER) if is_master else ("float32", "float64", "float16"),
                reference=multi(sgd_mom if with_mom else sgd, op_stride, is_master, is_preloaded),
                mutated=tuple(i for i in range(3 * op_stride) if i % op_stride >= 2),
                cast=tuple(i for i in range(3 * op_stride) if i % op_stride < (2 if is_master else 9)),
                rtol={"float32": 3e-5, "float16": 2e-2, "bfloat16": 8e-2},
                oracle=False,
                samples=lambda rng, s=op_stride, m=is_master, p=is_preloaded, g=given, r=rates: [
                    Sample([*multi_inputs(rng, s, m), *(r if p else ())], g)
                ],
                errors=[
                    ErrorSample(
                        [np.ones(2)] * op_stride,
                        dict(given, num_weights=2) if is_preloaded else dict(given, num_weights=3),
                        "num_weights",
                    ),
                    *(
                        []
                        if is_preloaded
                        else [ErrorSample([np.ones(2)] * op_stride, dict(given, num_weights=1), "lrs")]
                    ),
                ],
            )

for is_master in (False, True):
    op_stride = 4 + is_master
    given = dict(num_weights=3, lrs=(0.1, 0.2, 0.3), wds=(0, 0.1, 0.01), beta1=0.8, rescale_grad=0.5, clip_gradient=1.0)
    record(
        f"_multi_{'mp_' if is_master else ''}adam_update",
        dtypes=("float32", *MASTER) if is_master else ("float32", "float64", "float16"),
        reference=multi(adam, op_stride, is_master, False),
        mutated=tuple(i for i in range(3 * op_stride) if i % op_stride >= 2),
        cast=tuple(i for i in range(3 * op_stride) if i % op_stride < (2 if is_master else 9)),
        rtol={"float32": 3e-5, "float16": 2e-2, "bfloat16": 8e-2},
        oracle=False,
        samples=lambda rng, s=op_stride, m=is_master, g=given: [
            Sample([np.abs(x) if i % s == 3 else x for i, x in enumerate(multi_inputs(rng, s, m))], g)
        ],
        errors=[
            ErrorSample([np.ones(2)] * op_stride, given, "num_weights"),
            ErrorSample([np.ones(2)] * op_stride, dict(given, num_weights=1), "lrs"),
        ],
    )

record(
    "multi_sum_sq",
    reference=lambda *xs, num_arrays: np.array([(x**2).sum() for x in xs]),
    dtypes=("float16", "float32"),
    samples=lambda rng: [Sample([rng.standard_normal((3, 4)), rng.standard_normal(20000)], dict(num_arrays=2))],
)


def finite(*xs, **_):
    return np.array([float(all(np.isfinite(x).all() for x in xs))])


record(
    "all_finite",
    reference=finite,
    dtypes=("float16", "float32", "float64"),
    samples=lambda rng: [
        Sample([rng.standard_normal((3, 4))]),
        Sample([np.array([1, np.inf])]),
        Sample([np.array([np.nan])]),
    ],
    errors=[ErrorSample([np.ones(2, np.int32)], {}, "int32")],
)
record(
    "multi_all_finite",
    reference=finite,
    dtypes=("float16", "float32", "float64"),
    samples=lambda rng: [
        Sample([np.ones(3), np.ones(2)], dict(num_arrays=2)),
        Sample([np.ones(3), np.array([-np.inf])], dict(num_arrays=2)),
    ],
)
record(
    "reset_arrays",
    mutated=(0, 1),
    out=False,
    symbolic=False,
    hybrid=False,
    dtypes=("float16", "float32", "int32"),
    oracle=False,
    reference=lambda *xs, num_arrays: [np.zeros_like(x) for x in xs],
    samples=lambda rng: [Sample([np.ones((2, 3)), np.ones(4)], dict(num_arrays=2))],
)


def lars(lrs, w, g, wds, eta, eps, rescale_grad=1):
    w, g = np.sqrt(w), np.sqrt(g) * rescale_grad
    return lrs * np.where((w > 0) & (g > 0), eta * w / (g + wds * w + eps), 1)


record(
    "multi_lars",
    reference=lars,
    dtypes=("float32",),
    samples=lambda rng: [
        Sample(
            [np.array(x) for x in ([0.1, 0.2, 0.3], [4.0, 9, 0], [1.0, 0, 1], [0.01, 0.02, 0])],
            dict(eta=0.5, eps=1e-3, rescale_grad=2.0),
        )
    ],
)
