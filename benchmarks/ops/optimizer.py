# SPDX-License-Identifier: Apache-2.0
"""Updates of weights."""

from .entry import SQUARE, Array, Op

WEIGHT = Array((16, 16), (256, 256))
ONE = Array((1,), (1,))
COUNTS = Array((8,), (200,))

OPS = {
    "sgd_update": Op("nd.sgd_update(a, b, lr=1e-6, wd=1e-4, out=a)", a=SQUARE, b=SQUARE),
    "sgd_mom_update": Op(
        "nd.sgd_mom_update(a, b, c, lr=1e-6, wd=1e-4, momentum=0.9, out=a)", a=SQUARE, b=SQUARE, c=SQUARE.positive()
    ),
    "nag_mom_update": Op(
        "nd.nag_mom_update(a, b, c, lr=1e-6, wd=1e-4, momentum=0.9, out=a)", a=SQUARE, b=SQUARE, c=SQUARE.positive()
    ),
    "adam_update": Op(
        "nd.adam_update(a, b, c, d, lr=1e-6, wd=1e-4, out=a)",
        a=SQUARE,
        b=SQUARE,
        c=SQUARE.positive(),
        d=SQUARE.positive(),
    ),
    "rmsprop_update": Op(
        "nd.rmsprop_update(a, b, c, lr=1e-6, wd=1e-4, out=a)", a=SQUARE, b=SQUARE, c=SQUARE.positive()
    ),
    "rmspropalex_update": Op(
        "nd.rmspropalex_update(a, b, c, d, e, lr=1e-6, wd=1e-4, out=a)",
        a=SQUARE,
        b=SQUARE,
        c=SQUARE.positive(),
        d=SQUARE.positive(),
        e=SQUARE.positive(),
    ),
    "ftrl_update": Op(
        "nd.ftrl_update(a, b, c, d, lr=1e-6, wd=1e-4, out=a)",
        a=SQUARE,
        b=SQUARE,
        c=SQUARE.positive(),
        d=SQUARE.positive(),
    ),
    "ftml_update": Op(
        "nd.ftml_update(a, b, c, d, e, lr=1e-6, wd=1e-4, t=3, out=a)",
        a=SQUARE,
        b=SQUARE,
        c=SQUARE.positive(),
        d=SQUARE.positive(),
        e=SQUARE.positive(),
    ),
    "signsgd_update": Op("nd.signsgd_update(a, b, lr=1e-6, wd=1e-4, out=a)", a=SQUARE, b=SQUARE),
    "signum_update": Op(
        "nd.signum_update(a, b, c, lr=1e-6, wd=1e-4, momentum=0.9, out=a)", a=SQUARE, b=SQUARE, c=SQUARE.positive()
    ),
    "lamb_update_phase1": Op(
        "nd.lamb_update_phase1(a, b, c, d, t=3, wd=1e-4)", a=SQUARE, b=SQUARE, c=SQUARE.positive(), d=SQUARE.positive()
    ),
    "lamb_update_phase2": Op(
        "nd.lamb_update_phase2(a, b, c, d, lr=1e-6, out=a)",
        a=SQUARE,
        b=SQUARE,
        c=ONE.positive(),
        d=ONE.positive(),
    ),
    "mp_sgd_update": Op(
        "nd.mp_sgd_update(a, b, c, lr=1e-6, wd=1e-4, out=a)", a=SQUARE.of("float16"), b=SQUARE.of("float16"), c=SQUARE
    ),
    "mp_sgd_mom_update": Op(
        "nd.mp_sgd_mom_update(a, b, c, d, lr=1e-6, wd=1e-4, momentum=0.9, out=a)",
        a=SQUARE.of("float16"),
        b=SQUARE.of("float16"),
        c=SQUARE,
        d=SQUARE,
    ),
    "mp_nag_mom_update": Op(
        "nd.mp_nag_mom_update(a, b, c, d, lr=1e-6, wd=1e-4, momentum=0.9, out=a)",
        a=SQUARE.of("float16"),
        b=SQUARE.of("float16"),
        c=SQUARE,
        d=SQUARE,
    ),
    "mp_lamb_update_phase1": Op(
        "nd.mp_lamb_update_phase1(a, b, c, d, e, t=3, wd=1e-4)",
        a=SQUARE.of("float16"),
        b=SQUARE.of("float16"),
        c=SQUARE.positive(),
        d=SQUARE.positive(),
        e=SQUARE,
    ),
    "mp_lamb_update_phase2": Op(
        "nd.mp_lamb_update_phase2(a, b, c, d, e, lr=1e-6, out=a)",
        a=SQUARE.of("float16"),
        b=SQUARE,
        c=ONE.positive(),
        d=ONE.positive(),
        e=SQUARE,
    ),
    "adamw_update": Op(
        "nd.contrib.adamw_update(a, b, c, d, e, lr=1e-6, wd=1e-4, eta=1.0, out=a)",
        a=SQUARE,
        b=SQUARE,
        c=SQUARE.positive(),
        d=SQUARE.positive(),
        e=ONE.within(1, 1),
    ),
    "mp_adamw_update": Op(
        "nd.contrib.mp_adamw_update(a, b, c, d, e, f, lr=1e-6, wd=1e-4, eta=1.0, out=a)",
        a=SQUARE.of("float16"),
        b=SQUARE.of("float16"),
        c=SQUARE.positive(),
        d=SQUARE.positive(),
        e=SQUARE,
        f=ONE.within(1, 1),
    ),
    "sgd_f16": Op("nd.sgd_update(a, b, lr=1e-6, wd=1e-4, out=a)", a=SQUARE.of("float16"), b=SQUARE.of("float16")),
    "multi_sgd_update": Op(
        "nd.multi_sgd_update(*L, lrs=(1e-6,)*8, wds=(1e-4,)*8, num_weights=8, out=outs)",
        a=WEIGHT,
        first=(
            (
                "shp = a.shape\nL = []\nfor i in range(8):\n    "
                "L.append((nd.abs(nd.random.normal(shape=shp)) * 0.1 + 0.1).astype('float32'))\n    "
                "L.append((nd.abs(nd.random.normal(shape=shp)) * 0.1 + 0.1).astype('float32'))\nouts "
                "= L[::2]"
            ),
            "",
        ),
    ),
    "multi_sgd_mom_update": Op(
        ("nd.multi_sgd_mom_update(*L, momentum=0.9, lrs=(1e-6,)*8, wds=(1e-4,)*8, num_weights=8, out=outs)"),
        a=WEIGHT,
        first=(
            (
                "shp = a.shape\nL = []\nfor i in range(8):\n    "
                "L.append((nd.abs(nd.random.normal(shape=shp)) * 0.1 + 0.1).astype('float32'))\n    "
                "L.append((nd.abs(nd.random.normal(shape=shp)) * 0.1 + 0.1).astype('float32'))\n    "
                "L.append((nd.abs(nd.random.normal(shape=shp)) * 0.1 + 0.1).astype('float32'))\nouts "
                "= L[::3]"
            ),
            "",
        ),
    ),
    "multi_mp_sgd_update": Op(
        "nd.multi_mp_sgd_update(*L, lrs=(1e-6,)*8, wds=(1e-4,)*8, num_weights=8, out=outs)",
        a=WEIGHT,
        first=(
            (
                "shp = a.shape\nL = []\nfor i in range(8):\n    "
                "L.append((nd.abs(nd.random.normal(shape=shp)) * 0.1 + 0.1).astype('float16'))\n    "
                "L.append((nd.abs(nd.random.normal(shape=shp)) * 0.1 + 0.1).astype('float16'))\n    "
                "L.append((nd.abs(nd.random.normal(shape=shp)) * 0.1 + 0.1).astype('float32'))\nouts "
                "= L[::3]"
            ),
            "",
        ),
    ),
    "multi_mp_sgd_mom_update": Op(
        ("nd.multi_mp_sgd_mom_update(*L, momentum=0.9, lrs=(1e-6,)*8, wds=(1e-4,)*8, num_weights=8, out=outs)"),
        a=WEIGHT,
        first=(
            (
                "shp = a.shape\nL = []\nfor i in range(8):\n    "
                "L.append((nd.abs(nd.random.normal(shape=shp)) * 0.1 + 0.1).astype('float16'))\n    "
                "L.append((nd.abs(nd.random.normal(shape=shp)) * 0.1 + 0.1).astype('float16'))\n    "
                "L.append((nd.abs(nd.random.normal(shape=shp)) * 0.1 + 0.1).astype('float32'))\n    "
                "L.append((nd.abs(nd.random.normal(shape=shp)) * 0.1 + 0.1).astype('float32'))\nouts "
                "= L[::4]"
            ),
            "",
        ),
    ),
    "preloaded_multi_sgd_update": Op(
        "nd.preloaded_multi_sgd_update(*L, lr_, wd_, num_weights=8, out=outs)",
        a=WEIGHT,
        first=(
            (
                "shp = a.shape\nL = []\nfor i in range(8):\n    "
                "L.append((nd.abs(nd.random.normal(shape=shp)) * 0.1 + 0.1).astype('float32'))\n    "
                "L.append((nd.abs(nd.random.normal(shape=shp)) * 0.1 + 0.1).astype('float32'))\nouts "
                "= L[::2]\nlr_ = nd.ones(8) * 1e-6\nwd_ = nd.ones(8) * 1e-4\none = nd.ones(1)"
            ),
            "",
        ),
    ),
    "preloaded_multi_sgd_mom_update": Op(
        "nd.preloaded_multi_sgd_mom_update(*L, lr_, wd_, momentum=0.9, num_weights=8, out=outs)",
        a=WEIGHT,
        first=(
            (
                "shp = a.shape\nL = []\nfor i in range(8):\n    "
                "L.append((nd.abs(nd.random.normal(shape=shp)) * 0.1 + 0.1).astype('float32'))\n    "
                "L.append((nd.abs(nd.random.normal(shape=shp)) * 0.1 + 0.1).astype('float32'))\n    "
                "L.append((nd.abs(nd.random.normal(shape=shp)) * 0.1 + 0.1).astype('float32'))\nouts "
                "= L[::3]\nlr_ = nd.ones(8) * 1e-6\nwd_ = nd.ones(8) * 1e-4\none = nd.ones(1)"
            ),
            "",
        ),
    ),
    "preloaded_multi_mp_sgd_mom_update": Op(
        ("nd.preloaded_multi_mp_sgd_mom_update(*L, lr_, wd_, momentum=0.9, num_weights=8, out=outs)"),
        a=WEIGHT,
        first=(
            (
                "shp = a.shape\nL = []\nfor i in range(8):\n    "
                "L.append((nd.abs(nd.random.normal(shape=shp)) * 0.1 + 0.1).astype('float16'))\n    "
                "L.append((nd.abs(nd.random.normal(shape=shp)) * 0.1 + 0.1).astype('float16'))\n    "
                "L.append((nd.abs(nd.random.normal(shape=shp)) * 0.1 + 0.1).astype('float32'))\n    "
                "L.append((nd.abs(nd.random.normal(shape=shp)) * 0.1 + 0.1).astype('float32'))\nouts "
                "= L[::4]\nlr_ = nd.ones(8) * 1e-6\nwd_ = nd.ones(8) * 1e-4\none = nd.ones(1)"
            ),
            "",
        ),
    ),
    "multi_lamb_update": Op(
        (
            "nd._internal._multi_lamb_update(*L, learning_rates=(1e-6,)*8, wds=(1e-4,)*8, "
            "step_count=(3,)*8, num_tensors=8, out=outs)"
        ),
        a=WEIGHT,
        first=(
            (
                "shp = a.shape\nL = []\nfor i in range(8):\n    "
                "L.append((nd.abs(nd.random.normal(shape=shp)) * 0.1 + 0.1).astype('float32'))\n    "
                "L.append((nd.abs(nd.random.normal(shape=shp)) * 0.1 + 0.1).astype('float32'))\n    "
                "L.append((nd.abs(nd.random.normal(shape=shp)) * 0.1 + 0.1).astype('float32'))\n    "
                "L.append((nd.abs(nd.random.normal(shape=shp)) * 0.1 + 0.1).astype('float32'))\nouts "
                "= L[::4]\nlr_ = nd.ones(8) * 1e-6\nwd_ = nd.ones(8) * 1e-4\none = nd.ones(1)"
            ),
            "",
        ),
    ),
    "multi_mp_lamb_update": Op(
        (
            "nd._internal._multi_mp_lamb_update(*L, learning_rates=(1e-6,)*8, wds=(1e-4,)*8, "
            "step_count=(3,)*8, num_tensors=8, out=outs)"
        ),
        a=WEIGHT,
        first=(
            (
                "shp = a.shape\nL = []\nfor i in range(8):\n    "
                "L.append((nd.abs(nd.random.normal(shape=shp)) * 0.1 + 0.1).astype('float16'))\n    "
                "L.append((nd.abs(nd.random.normal(shape=shp)) * 0.1 + 0.1).astype('float16'))\n    "
                "L.append((nd.abs(nd.random.normal(shape=shp)) * 0.1 + 0.1).astype('float32'))\n    "
                "L.append((nd.abs(nd.random.normal(shape=shp)) * 0.1 + 0.1).astype('float32'))\n    "
                "L.append((nd.abs(nd.random.normal(shape=shp)) * 0.1 + 0.1).astype('float32'))\nouts "
                "= L[::5]\nlr_ = nd.ones(8) * 1e-6\nwd_ = nd.ones(8) * 1e-4\none = nd.ones(1)"
            ),
            "",
        ),
    ),
    "multi_adamw_update": Op(
        (
            "nd._internal._multi_adamw_update(*L, one, lrs=(1e-6,)*8, wds=(1e-4,)*8, "
            "etas=(1.0,)*8, num_weights=8, out=outs)"
        ),
        a=WEIGHT,
        first=(
            (
                "shp = a.shape\nL = []\nfor i in range(8):\n    "
                "L.append((nd.abs(nd.random.normal(shape=shp)) * 0.1 + 0.1).astype('float32'))\n    "
                "L.append((nd.abs(nd.random.normal(shape=shp)) * 0.1 + 0.1).astype('float32'))\n    "
                "L.append((nd.abs(nd.random.normal(shape=shp)) * 0.1 + 0.1).astype('float32'))\n    "
                "L.append((nd.abs(nd.random.normal(shape=shp)) * 0.1 + 0.1).astype('float32'))\nouts "
                "= L[::4]\nlr_ = nd.ones(8) * 1e-6\nwd_ = nd.ones(8) * 1e-4\none = nd.ones(1)"
            ),
            "",
        ),
    ),
    "multi_mp_adamw_update": Op(
        (
            "nd._internal._multi_mp_adamw_update(*L, one, lrs=(1e-6,)*8, wds=(1e-4,)*8, "
            "etas=(1.0,)*8, num_weights=8, out=outs)"
        ),
        a=WEIGHT,
        first=(
            (
                "shp = a.shape\nL = []\nfor i in range(8):\n    "
                "L.append((nd.abs(nd.random.normal(shape=shp)) * 0.1 + 0.1).astype('float16'))\n    "
                "L.append((nd.abs(nd.random.normal(shape=shp)) * 0.1 + 0.1).astype('float16'))\n    "
                "L.append((nd.abs(nd.random.normal(shape=shp)) * 0.1 + 0.1).astype('float32'))\n    "
                "L.append((nd.abs(nd.random.normal(shape=shp)) * 0.1 + 0.1).astype('float32'))\n    "
                "L.append((nd.abs(nd.random.normal(shape=shp)) * 0.1 + 0.1).astype('float32'))\nouts "
                "= L[::5]\nlr_ = nd.ones(8) * 1e-6\nwd_ = nd.ones(8) * 1e-4\none = nd.ones(1)"
            ),
            "",
        ),
    ),
    "multi_lars": Op(
        "nd.multi_lars(a, b, c, d, eta=0.1, eps=1e-6)",
        a=COUNTS.positive(),
        b=COUNTS.positive(),
        c=COUNTS.positive(),
        d=COUNTS.positive(),
    ),
}
