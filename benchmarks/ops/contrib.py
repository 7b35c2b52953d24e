# SPDX-License-Identifier: Apache-2.0
"""Operators of `nd.contrib` and other rare ones."""

from .entry import ROWS, Array, Op

OPS = {
    "interleaved_selfatt_qk": Op(
        "nd.contrib.interleaved_matmul_selfatt_qk(a, heads=4)", a=Array((8, 2, 96), (128, 8, 2304)), backward="a"
    ),
    "interleaved_selfatt_valatt": Op(
        "nd.contrib.interleaved_matmul_selfatt_valatt(a, b, heads=4)",
        a=Array((8, 2, 96), (128, 8, 2304)),
        b=Array((8, 8, 8), (32, 128, 128)),
        backward="a b",
    ),
    "interleaved_encdec_qk": Op(
        "nd.contrib.interleaved_matmul_encdec_qk(a, b, heads=4)",
        a=Array((8, 2, 32), (128, 8, 768)),
        b=Array((8, 2, 64), (128, 8, 1536)),
        backward="a b",
    ),
    "interleaved_encdec_valatt": Op(
        "nd.contrib.interleaved_matmul_encdec_valatt(a, b, heads=4)",
        a=Array((8, 2, 64), (128, 8, 1536)),
        b=Array((8, 8, 8), (32, 128, 128)),
        backward="a b",
    ),
    "hawkesll": Op(
        "nd.contrib.hawkesll(a, b, c, d, e, f, g, h)[0]",
        a=Array((2, 3), (64, 10)).within(0.05, 0.95),
        b=Array((3,), (10,)).within(0.05, 0.95),
        c=Array((3,), (10,)).positive(),
        d=Array((2, 3), (64, 10)).within(0, 0.1),
        e=Array((2, 10), (64, 200)).positive(),
        f=Array((2, 10), (64, 200)).below((3, 10)).of("int32"),
        g=Array((2,), (64,)).within(10, 10),
        h=Array((2,), (64,)).within(1000, 1000),
        backward="a",
        first=("g = g * 0 + e.shape[1]", ""),
    ),
    "index_array": Op("nd.contrib.index_array(a)", a=ROWS),
    "index_copy": Op(
        "nd.contrib.index_copy(a, b, c)",
        a=ROWS,
        b=Array((4,), (256,)),
        c=Array((4, 64), (256, 1024)),
        first=("b = nd.arange(b.shape[0])", ""),
    ),
    "arange_like": Op("nd.contrib.arange_like(a)", a=ROWS),
    "div_sqrt_dim": Op("nd.contrib.div_sqrt_dim(a)", a=ROWS, backward="a"),
    "gradientmultiplier": Op("nd.contrib.gradientmultiplier(a, scalar=2)", a=ROWS, backward="a"),
    "round_ste": Op("nd.contrib.round_ste(a)", a=ROWS, backward="a"),
    "sign_ste": Op("nd.contrib.sign_ste(a)", a=ROWS, backward="a"),
    "allclose": Op("nd.contrib.allclose(a, b)", a=ROWS, b=ROWS),
    "boolean_mask": Op(
        "nd.contrib.boolean_mask(a, b)", "a[b > 0]", a=ROWS, b=Array((8,), (1024,)).below(2), backward="a"
    ),
    "getnnz": Op(
        "nd.contrib.getnnz(s)", a=Array((64, 64), (1024, 1024)), first=("s = (a * (a > 1)).tostype('csr')", "")
    ),
    "all_finite": Op("nd.all_finite(a)", "torch.isfinite(a).all()", a=ROWS),
    "multi_all_finite": Op("nd.multi_all_finite(a, b, num_arrays=2)", a=ROWS, b=ROWS),
    "multi_sum_sq": Op("nd.multi_sum_sq(a, b, num_arrays=2)", a=ROWS, b=ROWS),
    "khatri_rao": Op("nd.khatri_rao(a, b)", a=Array((4, 8), (64, 256)), b=Array((6, 8), (64, 256))),
    "foreach": Op(
        "nd.contrib.foreach(lambda x, s: (x + s, x + s), a, c)[0]",
        a=Array((8, 4, 8), (64, 64, 64)),
        b=Array((1,), (1,)),
        c=Array((4, 8), (64, 64)),
    ),
}
