# SPDX-License-Identifier: Apache-2.0
"""Products and factorizations of matrices."""

from .entry import Array, Op

MATRIX = Array((1, 16, 16), (1, 512, 512))
BATCH = Array((4, 8, 8), (2, 256, 256))
PLAIN = Array((64, 64), (1024, 1024))

OPS = {
    "dot": Op("nd.dot(a, b)", "a @ b", a=PLAIN, b=PLAIN, backward="a b"),
    "batch_dot": Op(
        "nd.batch_dot(a, b)",
        "torch.bmm(a, b)",
        a=Array((4, 16, 16), (96, 128, 64)),
        b=Array((4, 16, 16), (96, 64, 128)),
        backward="a b",
    ),
    "dot_ta": Op("nd.dot(a, b, transpose_a=True)", "a.T @ b", a=PLAIN, b=PLAIN),
    "dot_tb": Op("nd.dot(a, b, transpose_b=True)", "a @ b.T", a=PLAIN, b=PLAIN),
    "linalg_gemm": Op(
        "nd.linalg.gemm(a, b, c, alpha=2.0, beta=0.5)",
        "torch.baddbmm(c, a, b, beta=0.5, alpha=2.0)",
        a=BATCH,
        b=BATCH,
        c=BATCH,
        backward="a b c",
    ),
    "linalg_gemm2": Op("nd.linalg.gemm2(a, b)", "torch.matmul(a, b)", a=BATCH, b=BATCH, backward="a b"),
    "linalg_potrf": Op(
        "nd.linalg.potrf(a)",
        "torch.linalg.cholesky(a)",
        a=BATCH,
        backward="a",
        first=(
            (
                "a = nd.broadcast_add(nd.linalg.gemm2(a, a, transpose_b=True) / a.shape[-1], "
                "nd.expand_dims(nd.eye(a.shape[-1]), 0))"
            ),
            "a = a @ a.mT / a.shape[-1] + torch.eye(a.shape[-1])",
        ),
    ),
    "linalg_potri": Op(
        "nd.linalg.potri(a)",
        "torch.cholesky_inverse(a)",
        a=BATCH,
        backward="a",
        first=(
            "a = nd.broadcast_add(a / a.shape[-1], nd.expand_dims(nd.eye(a.shape[-1]), 0))",
            "a = (a / a.shape[-1] + torch.eye(a.shape[-1])).tril()",
        ),
    ),
    "linalg_trmm": Op(
        "nd.linalg.trmm(a, b)",
        a=BATCH,
        b=BATCH,
        backward="a b",
        first=("a = nd.broadcast_add(a / a.shape[-1], nd.expand_dims(nd.eye(a.shape[-1]), 0))", ""),
    ),
    "linalg_trmm_right": Op(
        "nd.linalg.trmm(a, b, rightside=True)",
        a=BATCH,
        b=BATCH,
        backward="a b",
        first=("a = nd.broadcast_add(a / a.shape[-1], nd.expand_dims(nd.eye(a.shape[-1]), 0))", ""),
    ),
    "linalg_trmm_t": Op(
        "nd.linalg.trmm(a, b, transpose=True)",
        a=BATCH,
        b=BATCH,
        first=("a = nd.broadcast_add(a / a.shape[-1], nd.expand_dims(nd.eye(a.shape[-1]), 0))", ""),
    ),
    "linalg_trmm_upper": Op(
        "nd.linalg.trmm(a, b, lower=False)",
        a=BATCH,
        b=BATCH,
        first=("a = nd.broadcast_add(a / a.shape[-1], nd.expand_dims(nd.eye(a.shape[-1]), 0))", ""),
    ),
    "linalg_trsm": Op(
        "nd.linalg.trsm(a, b)",
        "torch.linalg.solve_triangular(a, b, upper=False)",
        a=BATCH,
        b=BATCH,
        backward="a b",
        first=(
            "a = nd.broadcast_add(a / a.shape[-1], nd.expand_dims(nd.eye(a.shape[-1]), 0))",
            "a = (a / a.shape[-1] + torch.eye(a.shape[-1])).tril()",
        ),
    ),
    "linalg_trsm_right": Op(
        "nd.linalg.trsm(a, b, rightside=True)",
        "torch.linalg.solve_triangular(a, b, upper=False, left=False)",
        a=BATCH,
        b=BATCH,
        backward="a b",
        first=(
            "a = nd.broadcast_add(a / a.shape[-1], nd.expand_dims(nd.eye(a.shape[-1]), 0))",
            "a = (a / a.shape[-1] + torch.eye(a.shape[-1])).tril()",
        ),
    ),
    "linalg_trsm_t": Op(
        "nd.linalg.trsm(a, b, transpose=True)",
        "torch.linalg.solve_triangular(a.mT, b, upper=True)",
        a=BATCH,
        b=BATCH,
        first=(
            "a = nd.broadcast_add(a / a.shape[-1], nd.expand_dims(nd.eye(a.shape[-1]), 0))",
            "a = (a / a.shape[-1] + torch.eye(a.shape[-1])).tril()",
        ),
    ),
    "linalg_syrk": Op("nd.linalg.syrk(a)", "torch.matmul(a, a.mT)", a=BATCH, backward="a"),
    "linalg_gelqf": Op("nd.linalg.gelqf(a)[0]", a=BATCH),
    "linalg_syevd": Op(
        "nd.linalg.syevd(a)[0]",
        "torch.linalg.eigh(a)[0]",
        a=BATCH,
        first=(
            (
                "a = nd.broadcast_add(nd.linalg.gemm2(a, a, transpose_b=True) / a.shape[-1], "
                "nd.expand_dims(nd.eye(a.shape[-1]), 0))"
            ),
            "a = a @ a.mT / a.shape[-1] + torch.eye(a.shape[-1])",
        ),
    ),
    "linalg_det": Op(
        "nd.linalg.det(a)",
        "torch.linalg.det(a)",
        a=BATCH,
        backward="a",
        first=(
            "a = nd.broadcast_add(a / a.shape[-1], nd.expand_dims(nd.eye(a.shape[-1]), 0))",
            "a = (a / a.shape[-1] + torch.eye(a.shape[-1])).tril()",
        ),
    ),
    "linalg_slogdet": Op(
        "nd.linalg.slogdet(a)[1]",
        "torch.linalg.slogdet(a)[1]",
        a=BATCH,
        backward="a",
        first=(
            (
                "a = nd.broadcast_add(nd.linalg.gemm2(a, a, transpose_b=True) / a.shape[-1], "
                "nd.expand_dims(nd.eye(a.shape[-1]), 0))"
            ),
            "a = a @ a.mT / a.shape[-1] + torch.eye(a.shape[-1])",
        ),
    ),
    "linalg_inverse": Op(
        "nd.linalg.inverse(a)",
        "torch.linalg.inv(a)",
        a=BATCH,
        backward="a",
        first=(
            (
                "a = nd.broadcast_add(nd.linalg.gemm2(a, a, transpose_b=True) / a.shape[-1], "
                "nd.expand_dims(nd.eye(a.shape[-1]), 0))"
            ),
            "a = a @ a.mT / a.shape[-1] + torch.eye(a.shape[-1])",
        ),
    ),
    "linalg_extractdiag": Op(
        "nd.linalg.extractdiag(a)", "a.diagonal(dim1=1, dim2=2).contiguous()", a=BATCH, backward="a"
    ),
    "linalg_extracttrian": Op("nd.linalg.extracttrian(a)", a=BATCH, backward="a"),
    "linalg_sumlogdiag": Op(
        "nd.linalg.sumlogdiag(a)",
        "a.diagonal(dim1=1, dim2=2).log().sum(1)",
        a=BATCH,
        backward="a",
        first=(
            (
                "a = nd.broadcast_add(nd.linalg.gemm2(a, a, transpose_b=True) / a.shape[-1], "
                "nd.expand_dims(nd.eye(a.shape[-1]), 0))"
            ),
            "a = a @ a.mT / a.shape[-1] + torch.eye(a.shape[-1])",
        ),
    ),
    "linalg_gemm_512": Op(
        "nd.linalg.gemm(a, b, c, alpha=2.0, beta=0.5)",
        "torch.baddbmm(c, a, b, beta=0.5, alpha=2.0)",
        a=MATRIX,
        b=MATRIX,
        c=MATRIX,
        backward="a b c",
    ),
    "linalg_gemm2_512": Op("nd.linalg.gemm2(a, b)", "torch.matmul(a, b)", a=MATRIX, b=MATRIX, backward="a b"),
    "linalg_potrf_512": Op(
        "nd.linalg.potrf(a)",
        "torch.linalg.cholesky(a)",
        a=MATRIX,
        backward="a",
        first=(
            (
                "a = nd.broadcast_add(nd.linalg.gemm2(a, a, transpose_b=True) / a.shape[-1], "
                "nd.expand_dims(nd.eye(a.shape[-1]), 0))"
            ),
            "a = a @ a.mT / a.shape[-1] + torch.eye(a.shape[-1])",
        ),
    ),
    "linalg_potri_512": Op(
        "nd.linalg.potri(a)",
        "torch.cholesky_inverse(a)",
        a=MATRIX,
        backward="a",
        first=(
            "a = nd.broadcast_add(a / a.shape[-1], nd.expand_dims(nd.eye(a.shape[-1]), 0))",
            "a = (a / a.shape[-1] + torch.eye(a.shape[-1])).tril()",
        ),
    ),
    "linalg_trmm_512": Op(
        "nd.linalg.trmm(a, b)",
        a=MATRIX,
        b=MATRIX,
        backward="a b",
        first=("a = nd.broadcast_add(a / a.shape[-1], nd.expand_dims(nd.eye(a.shape[-1]), 0))", ""),
    ),
    "linalg_trmm_right_512": Op(
        "nd.linalg.trmm(a, b, rightside=True)",
        a=MATRIX,
        b=MATRIX,
        backward="a b",
        first=("a = nd.broadcast_add(a / a.shape[-1], nd.expand_dims(nd.eye(a.shape[-1]), 0))", ""),
    ),
    "linalg_trmm_t_512": Op(
        "nd.linalg.trmm(a, b, transpose=True)",
        a=MATRIX,
        b=MATRIX,
        first=("a = nd.broadcast_add(a / a.shape[-1], nd.expand_dims(nd.eye(a.shape[-1]), 0))", ""),
    ),
    "linalg_trmm_upper_512": Op(
        "nd.linalg.trmm(a, b, lower=False)",
        a=MATRIX,
        b=MATRIX,
        first=("a = nd.broadcast_add(a / a.shape[-1], nd.expand_dims(nd.eye(a.shape[-1]), 0))", ""),
    ),
    "linalg_trsm_512": Op(
        "nd.linalg.trsm(a, b)",
        "torch.linalg.solve_triangular(a, b, upper=False)",
        a=MATRIX,
        b=MATRIX,
        backward="a b",
        first=(
            "a = nd.broadcast_add(a / a.shape[-1], nd.expand_dims(nd.eye(a.shape[-1]), 0))",
            "a = (a / a.shape[-1] + torch.eye(a.shape[-1])).tril()",
        ),
    ),
    "linalg_trsm_right_512": Op(
        "nd.linalg.trsm(a, b, rightside=True)",
        "torch.linalg.solve_triangular(a, b, upper=False, left=False)",
        a=MATRIX,
        b=MATRIX,
        backward="a b",
        first=(
            "a = nd.broadcast_add(a / a.shape[-1], nd.expand_dims(nd.eye(a.shape[-1]), 0))",
            "a = (a / a.shape[-1] + torch.eye(a.shape[-1])).tril()",
        ),
    ),
    "linalg_trsm_t_512": Op(
        "nd.linalg.trsm(a, b, transpose=True)",
        "torch.linalg.solve_triangular(a.mT, b, upper=True)",
        a=MATRIX,
        b=MATRIX,
        first=(
            "a = nd.broadcast_add(a / a.shape[-1], nd.expand_dims(nd.eye(a.shape[-1]), 0))",
            "a = (a / a.shape[-1] + torch.eye(a.shape[-1])).tril()",
        ),
    ),
    "linalg_syrk_512": Op("nd.linalg.syrk(a)", "torch.matmul(a, a.mT)", a=MATRIX, backward="a"),
    "linalg_gelqf_512": Op("nd.linalg.gelqf(a)[0]", a=MATRIX),
    "linalg_syevd_512": Op(
        "nd.linalg.syevd(a)[0]",
        "torch.linalg.eigh(a)[0]",
        a=MATRIX,
        first=(
            (
                "a = nd.broadcast_add(nd.linalg.gemm2(a, a, transpose_b=True) / a.shape[-1], "
                "nd.expand_dims(nd.eye(a.shape[-1]), 0))"
            ),
            "a = a @ a.mT / a.shape[-1] + torch.eye(a.shape[-1])",
        ),
    ),
    "linalg_det_512": Op(
        "nd.linalg.det(a)",
        "torch.linalg.det(a)",
        a=MATRIX,
        backward="a",
        first=(
            "a = nd.broadcast_add(a / a.shape[-1], nd.expand_dims(nd.eye(a.shape[-1]), 0))",
            "a = (a / a.shape[-1] + torch.eye(a.shape[-1])).tril()",
        ),
    ),
    "linalg_slogdet_512": Op(
        "nd.linalg.slogdet(a)[1]",
        "torch.linalg.slogdet(a)[1]",
        a=MATRIX,
        backward="a",
        first=(
            (
                "a = nd.broadcast_add(nd.linalg.gemm2(a, a, transpose_b=True) / a.shape[-1], "
                "nd.expand_dims(nd.eye(a.shape[-1]), 0))"
            ),
            "a = a @ a.mT / a.shape[-1] + torch.eye(a.shape[-1])",
        ),
    ),
    "linalg_inverse_512": Op(
        "nd.linalg.inverse(a)",
        "torch.linalg.inv(a)",
        a=MATRIX,
        backward="a",
        first=(
            (
                "a = nd.broadcast_add(nd.linalg.gemm2(a, a, transpose_b=True) / a.shape[-1], "
                "nd.expand_dims(nd.eye(a.shape[-1]), 0))"
            ),
            "a = a @ a.mT / a.shape[-1] + torch.eye(a.shape[-1])",
        ),
    ),
    "linalg_extractdiag_512": Op(
        "nd.linalg.extractdiag(a)", "a.diagonal(dim1=1, dim2=2).contiguous()", a=MATRIX, backward="a"
    ),
    "linalg_extracttrian_512": Op("nd.linalg.extracttrian(a)", a=MATRIX, backward="a"),
    "linalg_sumlogdiag_512": Op(
        "nd.linalg.sumlogdiag(a)",
        "a.diagonal(dim1=1, dim2=2).log().sum(1)",
        a=MATRIX,
        backward="a",
        first=(
            (
                "a = nd.broadcast_add(nd.linalg.gemm2(a, a, transpose_b=True) / a.shape[-1], "
                "nd.expand_dims(nd.eye(a.shape[-1]), 0))"
            ),
            "a = a @ a.mT / a.shape[-1] + torch.eye(a.shape[-1])",
        ),
    ),
    "linalg_makediag": Op("nd.linalg.makediag(a)", "torch.diag_embed(a)", a=Array((4, 8), (2, 1024)), backward="a"),
    "linalg_maketrian": Op("nd.linalg.maketrian(a)", a=Array((4, 36), (2, 131328)), backward="a"),
    "linalg_trsm_right_f64": Op(
        "nd.linalg.trsm(a, b, rightside=True)",
        a=MATRIX.of("float64"),
        b=MATRIX.of("float64"),
        first=(
            (
                "a = nd.array(a.asnumpy() / a.shape[-1], dtype='float64') + nd.eye(a.shape[-1], "
                "dtype='float64').expand_dims(0)"
            ),
            "",
        ),
    ),
    "linalg_trmm_f64": Op("nd.linalg.trmm(a, b)", a=MATRIX.of("float64"), b=MATRIX.of("float64")),
    "linalg_gemm2_f64": Op(
        "nd.linalg.gemm2(a, b)", "torch.matmul(a,b)", a=MATRIX.of("float64"), b=MATRIX.of("float64")
    ),
}
