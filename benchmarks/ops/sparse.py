# SPDX-License-Identifier: Apache-2.0
"""Sparse arrays."""

from .entry import Array, Op

ELEMENTS = Array((32, 32), (4096, 2048))
LOOKUP = Array((64, 16), (20000, 64))
ROWS_KEPT = Array((32, 32), (8192, 512))

OPS = {
    "sparse_dot_csr_dense": Op(
        "nd.sparse.dot(s, b)",
        "s @ b",
        a=ELEMENTS,
        b=Array((32, 16), (2048, 64)),
        first=(
            "a = a * (a > (1.3 if a.shape[0] == 32 else 2.3))\ns = a.tostype('csr')",
            "a = a * (a > (1.3 if a.shape[0] == 32 else 2.3))\ns = a.to_sparse_csr()",
        ),
    ),
    "sparse_dot_csr_vec": Op(
        "nd.sparse.dot(s, b)",
        "s @ b",
        a=ELEMENTS,
        b=Array((32, 1), (2048, 1)),
        first=(
            "a = a * (a > (1.3 if a.shape[0] == 32 else 2.3))\ns = a.tostype('csr')",
            "a = a * (a > (1.3 if a.shape[0] == 32 else 2.3))\ns = a.to_sparse_csr()",
        ),
    ),
    "sparse_dot_csrT_dense": Op(
        "nd.sparse.dot(s, b, transpose_a=True)",
        a=ELEMENTS,
        b=Array((32, 16), (4096, 64)),
        first=("a = a * (a > (1.3 if a.shape[0] == 32 else 2.3))\ns = a.tostype('csr')", ""),
    ),
    "sparse_dot_csrT_dense_rsp": Op(
        "nd.sparse.dot(s, b, transpose_a=True, forward_stype='row_sparse')",
        a=ELEMENTS,
        b=Array((32, 16), (4096, 64)),
        first=("a = a * (a > (1.3 if a.shape[0] == 32 else 2.3))\ns = a.tostype('csr')", ""),
    ),
    "sparse_dot_csr_rsp": Op(
        "nd.sparse.dot(s, t)",
        a=ELEMENTS,
        b=Array((32, 16), (2048, 64)),
        first=(
            ("a = a * (a > (1.3 if a.shape[0] == 32 else 2.3))\ns = a.tostype('csr')\nt = b.tostype('row_sparse')"),
            "",
        ),
    ),
    "sparse_dot_dense_csr": Op(
        "nd.sparse.dot(a, t, forward_stype='csr')",
        a=Array((16, 32), (64, 4096)),
        b=ELEMENTS,
        first=("b = b * (b > (1.3 if b.shape[0] == 32 else 2.3))\nt = b.tostype('csr')", ""),
    ),
    "sparse_dot_dense_csrT": Op(
        "nd.sparse.dot(a, t, transpose_b=True)",
        a=Array((16, 32), (64, 2048)),
        b=ELEMENTS,
        first=("b = b * (b > (1.3 if b.shape[0] == 32 else 2.3))\nt = b.tostype('csr')", ""),
    ),
    "sparse_add_csr": Op(
        "s + t",
        a=ELEMENTS,
        b=ELEMENTS,
        first=(
            (
                "a = a * (a > (1.3 if a.shape[0] == 32 else 2.3))\nb = b * (b > (1.3 if b.shape[0] "
                "== 32 else 2.3))\ns = a.tostype('csr')\nt = b.tostype('csr')"
            ),
            "",
        ),
    ),
    "sparse_sub_csr": Op(
        "s - t",
        a=ELEMENTS,
        b=ELEMENTS,
        first=(
            (
                "a = a * (a > (1.3 if a.shape[0] == 32 else 2.3))\nb = b * (b > (1.3 if b.shape[0] "
                "== 32 else 2.3))\ns = a.tostype('csr')\nt = b.tostype('csr')"
            ),
            "",
        ),
    ),
    "sparse_mul_csr": Op(
        "s * t",
        a=ELEMENTS,
        b=ELEMENTS,
        first=(
            (
                "a = a * (a > (1.3 if a.shape[0] == 32 else 2.3))\nb = b * (b > (1.3 if b.shape[0] "
                "== 32 else 2.3))\ns = a.tostype('csr')\nt = b.tostype('csr')"
            ),
            "",
        ),
    ),
    "sparse_add_rsp": Op(
        "s + t",
        a=ROWS_KEPT,
        b=ROWS_KEPT,
        first=(
            (
                "a = nd.broadcast_mul(a, nd.slice_axis(a, axis=1, begin=0, end=1) > 1.3)\nb = "
                "nd.broadcast_mul(b, nd.slice_axis(b, axis=1, begin=0, end=1) > 1.3)\ns = "
                "a.tostype('row_sparse')\nt = b.tostype('row_sparse')"
            ),
            "",
        ),
    ),
    "sparse_mul_rsp": Op(
        "s * t",
        a=ROWS_KEPT,
        b=ROWS_KEPT,
        first=(
            (
                "a = nd.broadcast_mul(a, nd.slice_axis(a, axis=1, begin=0, end=1) > 1.3)\nb = "
                "nd.broadcast_mul(b, nd.slice_axis(b, axis=1, begin=0, end=1) > 1.3)\ns = "
                "a.tostype('row_sparse')\nt = b.tostype('row_sparse')"
            ),
            "",
        ),
    ),
    "sparse_sub_rsp": Op(
        "s - t",
        a=ROWS_KEPT,
        b=ROWS_KEPT,
        first=(
            (
                "a = nd.broadcast_mul(a, nd.slice_axis(a, axis=1, begin=0, end=1) > 1.3)\nb = "
                "nd.broadcast_mul(b, nd.slice_axis(b, axis=1, begin=0, end=1) > 1.3)\ns = "
                "a.tostype('row_sparse')\nt = b.tostype('row_sparse')"
            ),
            "",
        ),
    ),
    "sparse_add_n_rsp": Op(
        "nd.sparse.add_n(s, t, s)",
        a=ROWS_KEPT,
        b=ROWS_KEPT,
        first=(
            (
                "a = nd.broadcast_mul(a, nd.slice_axis(a, axis=1, begin=0, end=1) > 1.3)\nb = "
                "nd.broadcast_mul(b, nd.slice_axis(b, axis=1, begin=0, end=1) > 1.3)\ns = "
                "a.tostype('row_sparse')\nt = b.tostype('row_sparse')"
            ),
            "",
        ),
    ),
    "sparse_add_csr_dense": Op(
        "nd.elemwise_add(s, b)",
        a=ELEMENTS,
        b=ELEMENTS,
        first=(
            (
                "a = a * (a > (1.3 if a.shape[0] == 32 else 2.3))\nb = b * (b > (1.3 if b.shape[0] "
                "== 32 else 2.3))\ns = a.tostype('csr')"
            ),
            "",
        ),
    ),
    "sparse_mul_csr_dense": Op(
        "nd.sparse.multiply(s, b)",
        a=ELEMENTS,
        b=ELEMENTS,
        first=(
            (
                "a = a * (a > (1.3 if a.shape[0] == 32 else 2.3))\nb = b * (b > (1.3 if b.shape[0] "
                "== 32 else 2.3))\ns = a.tostype('csr')"
            ),
            "",
        ),
    ),
    "sparse_bmul_csr_dense_row": Op(
        "nd.sparse.broadcast_mul(s, b)",
        a=ELEMENTS,
        b=Array((1, 32), (1, 2048)),
        first=("a = a * (a > (1.3 if a.shape[0] == 32 else 2.3))\ns = a.tostype('csr')", ""),
    ),
    "sparse_scalar_mul_csr": Op(
        "s * 2", a=ELEMENTS, first=("a = a * (a > (1.3 if a.shape[0] == 32 else 2.3))\ns = a.tostype('csr')", "")
    ),
    "sparse_scalar_mul_rsp": Op(
        "s * 2",
        a=ROWS_KEPT,
        first=(
            ("a = nd.broadcast_mul(a, nd.slice_axis(a, axis=1, begin=0, end=1) > 1.3)\ns = a.tostype('row_sparse')"),
            "",
        ),
    ),
    "sparse_sqrt_csr": Op(
        "nd.sparse.square(s)",
        a=ELEMENTS,
        first=("a = a * (a > (1.3 if a.shape[0] == 32 else 2.3))\ns = a.tostype('csr')", ""),
    ),
    "sparse_square_rsp": Op(
        "nd.sparse.square(s)",
        a=ROWS_KEPT,
        first=(
            ("a = nd.broadcast_mul(a, nd.slice_axis(a, axis=1, begin=0, end=1) > 1.3)\ns = a.tostype('row_sparse')"),
            "",
        ),
    ),
    "sparse_relu_rsp": Op(
        "nd.sparse.relu(s)",
        a=ROWS_KEPT,
        first=(
            ("a = nd.broadcast_mul(a, nd.slice_axis(a, axis=1, begin=0, end=1) > 1.3)\ns = a.tostype('row_sparse')"),
            "",
        ),
    ),
    "sparse_sum_csr0": Op(
        "nd.sparse.sum(s, axis=0)",
        a=ELEMENTS,
        first=("a = a * (a > (1.3 if a.shape[0] == 32 else 2.3))\ns = a.tostype('csr')", ""),
    ),
    "sparse_sum_csr1": Op(
        "nd.sparse.sum(s, axis=1)",
        a=ELEMENTS,
        first=("a = a * (a > (1.3 if a.shape[0] == 32 else 2.3))\ns = a.tostype('csr')", ""),
    ),
    "sparse_norm_csr": Op(
        "nd.sparse.norm(s)",
        a=ELEMENTS,
        first=("a = a * (a > (1.3 if a.shape[0] == 32 else 2.3))\ns = a.tostype('csr')", ""),
    ),
    "sparse_norm_rsp": Op(
        "nd.sparse.norm(s)",
        a=ROWS_KEPT,
        first=(
            ("a = nd.broadcast_mul(a, nd.slice_axis(a, axis=1, begin=0, end=1) > 1.3)\ns = a.tostype('row_sparse')"),
            "",
        ),
    ),
    "sparse_retain": Op(
        "nd.sparse.retain(s, i)",
        a=ROWS_KEPT,
        first=(
            (
                "a = nd.broadcast_mul(a, nd.slice_axis(a, axis=1, begin=0, end=1) > 1.3)\ns = "
                "a.tostype('row_sparse')\ni = nd.arange(0, a.shape[0], 2)"
            ),
            "",
        ),
    ),
    "cast_dense_csr": Op(
        "nd.cast_storage(a, 'csr')", a=ELEMENTS, first=("a = a * (a > (1.3 if a.shape[0] == 32 else 2.3))", "")
    ),
    "cast_dense_rsp": Op(
        "nd.cast_storage(a, 'row_sparse')",
        a=ROWS_KEPT,
        first=("a = nd.broadcast_mul(a, nd.slice_axis(a, axis=1, begin=0, end=1) > 1.3)", ""),
    ),
    "cast_csr_dense": Op(
        "nd.cast_storage(s, 'default')",
        "s.to_dense()",
        a=ELEMENTS,
        first=(
            "a = a * (a > (1.3 if a.shape[0] == 32 else 2.3))\ns = a.tostype('csr')",
            "a = a * (a > (1.3 if a.shape[0] == 32 else 2.3))\ns = a.to_sparse_csr()",
        ),
    ),
    "cast_rsp_dense": Op(
        "nd.cast_storage(s, 'default')",
        a=ROWS_KEPT,
        first=(
            ("a = nd.broadcast_mul(a, nd.slice_axis(a, axis=1, begin=0, end=1) > 1.3)\ns = a.tostype('row_sparse')"),
            "",
        ),
    ),
    "csr_slice": Op(
        "s[2:20]", a=ELEMENTS, first=("a = a * (a > (1.3 if a.shape[0] == 32 else 2.3))\ns = a.tostype('csr')", "")
    ),
    "sparse_zeros_like": Op(
        "nd.sparse.zeros_like(s)",
        a=ELEMENTS,
        first=("a = a * (a > (1.3 if a.shape[0] == 32 else 2.3))\ns = a.tostype('csr')", ""),
    ),
    "sparse_where": Op(
        "nd.where(s, a, b)",
        a=ELEMENTS,
        b=ELEMENTS,
        first=(
            (
                "a = a * (a > (1.3 if a.shape[0] == 32 else 2.3))\nb = b * (b > (1.3 if b.shape[0] "
                "== 32 else 2.3))\ns = a.tostype('csr')"
            ),
            "",
        ),
    ),
    "sparse_clip_rsp": Op(
        "nd.sparse.clip(s, -1, 1)",
        a=ROWS_KEPT,
        first=(
            ("a = nd.broadcast_mul(a, nd.slice_axis(a, axis=1, begin=0, end=1) > 1.3)\ns = a.tostype('row_sparse')"),
            "",
        ),
    ),
    "sparse_csr_copy": Op(
        "s.copy()", a=ELEMENTS, first=("a = a * (a > (1.3 if a.shape[0] == 32 else 2.3))\ns = a.tostype('csr')", "")
    ),
    "sparse_array_csr": Op(
        "nd.sparse.csr_matrix((v, i, p), shape=a.shape)",
        a=ELEMENTS,
        first=(
            (
                "a = a * (a > (1.3 if a.shape[0] == 32 else 2.3))\ns = a.tostype('csr')\nv, i, p = "
                "s.data.asnumpy(), s.indices.asnumpy(), s.indptr.asnumpy()"
            ),
            "",
        ),
    ),
    "lazy_sgd": Op(
        "nd.sparse.sgd_update(a, t, lr=1e-6, wd=1e-4, out=a)",
        a=LOOKUP,
        b=LOOKUP,
        first=(
            ("b = nd.broadcast_mul(b, nd.slice_axis(b, axis=1, begin=0, end=1) > 1.3)\nt = b.tostype('row_sparse')"),
            "",
        ),
    ),
    "lazy_sgd_mom": Op(
        "nd.sparse.sgd_mom_update(a, t, c, lr=1e-6, wd=1e-4, momentum=0.9, out=a)",
        a=LOOKUP,
        b=LOOKUP,
        c=LOOKUP.positive(),
        first=(
            ("b = nd.broadcast_mul(b, nd.slice_axis(b, axis=1, begin=0, end=1) > 1.3)\nt = b.tostype('row_sparse')"),
            "",
        ),
    ),
    "lazy_adam": Op(
        "nd.sparse.adam_update(a, t, c, d, lr=1e-6, wd=1e-4, out=a)",
        a=LOOKUP,
        b=LOOKUP,
        c=LOOKUP.positive(),
        d=LOOKUP.positive(),
        first=(
            ("b = nd.broadcast_mul(b, nd.slice_axis(b, axis=1, begin=0, end=1) > 1.3)\nt = b.tostype('row_sparse')"),
            "",
        ),
    ),
    "lazy_adagrad": Op(
        "nd.sparse.adagrad_update(a, t, c, lr=1e-6, out=a)",
        a=LOOKUP,
        b=LOOKUP,
        c=LOOKUP.positive(),
        first=(
            ("b = nd.broadcast_mul(b, nd.slice_axis(b, axis=1, begin=0, end=1) > 1.3)\nt = b.tostype('row_sparse')"),
            "",
        ),
    ),
    "std_sgd_rsp": Op(
        "nd.sparse.sgd_update(a, t, lr=1e-6, wd=1e-4, lazy_update=False, out=a)",
        a=LOOKUP,
        b=LOOKUP,
        first=(
            ("b = nd.broadcast_mul(b, nd.slice_axis(b, axis=1, begin=0, end=1) > 1.3)\nt = b.tostype('row_sparse')"),
            "",
        ),
    ),
    "std_sgd_mom_rsp": Op(
        ("nd.sparse.sgd_mom_update(a, t, c, lr=1e-6, wd=1e-4, momentum=0.9, lazy_update=False, out=a)"),
        a=LOOKUP,
        b=LOOKUP,
        c=LOOKUP.positive(),
        first=(
            ("b = nd.broadcast_mul(b, nd.slice_axis(b, axis=1, begin=0, end=1) > 1.3)\nt = b.tostype('row_sparse')"),
            "",
        ),
    ),
    "std_adam_rsp": Op(
        "nd.sparse.adam_update(a, t, c, d, lr=1e-6, wd=1e-4, lazy_update=False, out=a)",
        a=LOOKUP,
        b=LOOKUP,
        c=LOOKUP.positive(),
        d=LOOKUP.positive(),
        first=(
            ("b = nd.broadcast_mul(b, nd.slice_axis(b, axis=1, begin=0, end=1) > 1.3)\nt = b.tostype('row_sparse')"),
            "",
        ),
    ),
    "ftrl_rsp": Op(
        "nd.sparse.ftrl_update(a, t, c, d, lr=1e-6, wd=1e-4, out=a)",
        a=LOOKUP,
        b=LOOKUP,
        c=LOOKUP.positive(),
        d=LOOKUP.positive(),
        first=(
            ("b = nd.broadcast_mul(b, nd.slice_axis(b, axis=1, begin=0, end=1) > 1.3)\nt = b.tostype('row_sparse')"),
            "",
        ),
    ),
    "group_adagrad_rsp": Op(
        "nd.contrib.group_adagrad_update(a, t, c, lr=1e-6, out=a)",
        a=LOOKUP,
        b=LOOKUP,
        c=Array((64, 1), (20000, 1)).positive(),
        first=(
            ("b = nd.broadcast_mul(b, nd.slice_axis(b, axis=1, begin=0, end=1) > 1.3)\nt = b.tostype('row_sparse')"),
            "",
        ),
    ),
}
