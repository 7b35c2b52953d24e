# SPDX-License-Identifier: Apache-2.0
"""Records of LAMB, AdamW and group AdaGrad for several weights and with float32 copies."""

import numpy as np
from ops.harness import ErrorSample, Sample, record
from ops.records_optimizer import FLOATS, MASTER, adamw, clip, lamb1, lamb2

LOOSE = {"float32": 1e-4, "float16": 2e-2, "bfloat16": 8e-2}
SHAPES = [(3, 4), (5,), (3000,)]


def arrays(rng, shape, count, master):
    """weight, gradient, mean, variance (and master): the states in float32 beside a master."""
    found = [rng.standard_normal(shape) for _ in range(count)]
    found[3] = np.abs(found[3])
    return [x.astype(np.float32) if master and i > 1 else x for i, x in enumerate(found)]


def norm(x):
    return np.sqrt((x * x).sum())


def lamb(w, g, mean, var, lr, wd, t, lower_bound=-1, upper_bound=-1, **params):
    direction, mean, var = lamb1(w, g, mean, var, t, wd, **params)
    return lamb2(w, direction, norm(w), norm(direction), lr, lower_bound, upper_bound), mean, var


def several(rule, master, rates):
    """The reference for several weights: outputs, then what was written. `rates` renames what each weight has."""

    def run(*inputs, num_weights=None, num_tensors=None, **params):
        count, stride = num_weights or num_tensors, 4 + master
        own = {new: params.pop(old) for old, new in rates.items()}
        more = inputs[count * stride :]
        outs, written = [], []
        for k in range(count):
            w, g, mean, var, *master32 = inputs[k * stride : (k + 1) * stride]
            start = master32[0] if master else w
            out, mean, var = rule(start, g, mean, var, *more, **{n: v[k] for n, v in own.items()}, **params)
            outs.append(out)
            written += [mean, var, out] if master else [mean, var]
        return [*outs, *written]

    return run


def add(name, rule, rates, params, more=()):
    for master in (False, True):
        stride = 4 + master
        each = range(3 * stride)
        record(
            name.format("mp_" if master else ""),
            dtypes=("float32", *MASTER) if master else FLOATS,
            reference=several(rule, master, rates),
            mutated=tuple(i for i in each if i % stride >= 2),
            cast=tuple(i for i in each if i % stride < (2 if master else 9)),
            data=(),
            rtol=LOOSE,
            oracle=False,  # 1.9.1 needs `out`; its optimizers are compared instead
            samples=lambda rng, master=master, stride=stride: [
                Sample(
                    [x for shape in SHAPES for x in arrays(rng, shape, stride, master)] + [m.copy() for m in more], p
                )
                for p in params
            ],
            errors=[ErrorSample([np.ones(2)] * 3, {**params[0]}, "needs")],
        )


three = dict(learning_rates=(0.1, 0.2, 0.3), wds=(0, 0.1, 0.01), step_count=(1, 3, 7), num_tensors=3)
add(
    "_multi_{}lamb_update",
    lamb,
    dict(learning_rates="lr", wds="wd", step_count="t"),
    [
        dict(three, rescale_grad=0.5, clip_gradient=1.0),
        dict(three, bias_correction=False, lower_bound=0.5, upper_bound=2.0),
    ],
)
add(
    "_multi_{}adamw_update",
    adamw,
    dict(lrs="lr", wds="wd", etas="eta"),
    [dict(lrs=(0.1, 0.2, 0.3), wds=(0, 0.1, 0.01), etas=(1.0, 0.5, 0.7), num_weights=3, clip_gradient=1.0)],
    more=[np.array([0.5], np.float32)],
)


def mp_lamb1(w, g, mean, var, w32, t, wd, **params):
    return lamb1(w32, g, mean, var, t, wd, **params)


def mp_lamb2(w, g, r1, r2, w32, **params):
    out = lamb2(w32, g, r1, r2, **params)
    return out, out


record(
    "mp_lamb_update_phase1",
    dtypes=("float32", *MASTER),
    reference=mp_lamb1,
    mutated=(2, 3),
    cast=(0, 1),
    data=(),
    rtol=LOOSE,
    out=False,  # its output is float32
    oracle=False,  # 1.9.1 refuses float32 weights
    inplace=False,
    samples=lambda rng: [
        Sample(arrays(rng, (40, 70), 5, True), dict(t=3, wd=0.01, rescale_grad=0.5, clip_gradient=1.0)),
        Sample(arrays(rng, (3, 4), 5, True), dict(t=2, wd=0, bias_correction=False)),
    ],
)
# 1.9.1 does not write weight32, so that a LAMB of half precision weights starts anew with each step.
record(
    "mp_lamb_update_phase2",
    dtypes=("float32", *MASTER),
    reference=mp_lamb2,
    mutated=(4,),
    cast=(0,),
    data=(),
    rtol=LOOSE,
    oracle=False,
    samples=lambda rng: [
        Sample(
            [
                rng.standard_normal((4, 5)),
                *[np.float32(x) for x in (rng.standard_normal((4, 5)), [3.0], [2.0])],
                rng.standard_normal((4, 5)).astype(np.float32),
            ],
            p,
        )
        for p in (dict(lr=0.1), dict(lr=0.1, upper_bound=1.0))
    ],
    errors=[ErrorSample([np.ones(2)] * 2 + [np.ones(2)] * 2 + [np.ones(2)], dict(lr=0.1), "r1")],
)


def group_adagrad(w, g, history, lr, epsilon=1e-5, rescale_grad=1, clip_gradient=-1):
    g = clip(rescale_grad * g, clip_gradient)
    means = (g * g).reshape(len(g), -1).mean(1).reshape(history.shape)
    history = history + means
    rate = lr / np.sqrt(history + epsilon)
    return w - rate.reshape(len(g), *[1] * (g.ndim - 1)) * g, history


record(
    "_contrib_group_adagrad_update",
    reference=group_adagrad,
    dtypes=FLOATS,
    mutated=(2,),
    data=(),
    cast=(0, 1, 2),
    rtol=LOOSE,
    oracle=False,  # 1.9.1 has it for row_sparse gradients only: tests/python/test_optimizer.py
    samples=lambda rng: [
        Sample([rng.standard_normal((3, 4)), rng.standard_normal((3, 4)), rng.random((3, 1))], dict(lr=0.1)),
        Sample(
            [rng.standard_normal((3, 2, 2)), rng.standard_normal((3, 2, 2)), rng.random(3)],
            dict(lr=0.1, rescale_grad=0.5, clip_gradient=0.3, epsilon=0.1),
        ),
    ],
    errors=[ErrorSample([np.ones((3, 2)), np.ones((3, 2)), np.ones((2, 1))], dict(lr=0.1), "history")],
)
