# SPDX-License-Identifier: Apache-2.0
"""Reductions and scans."""

from .entry import IMAGES, ROWS, SQUARE, Array, Op

CUBE = Array((4, 16, 32), (32, 256, 256))
FACTORS = SQUARE.within(0.999, 1.001)

OPS = {
    "sum": Op("a.sum()", "a.sum()", a=SQUARE, backward="a"),
    "sum_rows": Op("a.sum(axis=1)", "a.sum(1)", a=SQUARE, backward="a"),
    "sum_columns": Op("a.sum(axis=0)", "a.sum(0)", a=SQUARE, backward="a"),
    "sum_middle": Op("a.sum(axis=1)", "a.sum(1)", a=CUBE, backward="a"),
    "sum_outer": Op("a.sum(axis=(0, 2))", "a.sum((0, 2))", a=CUBE, backward="a"),
    "sum_channels": Op("nd.sum(a, axis=1, exclude=True)", "a.sum((0, 2, 3))", a=IMAGES, backward="a"),
    "sum_keepdims": Op("a.sum(axis=1, keepdims=True)", "a.sum(1, keepdim=True)", a=SQUARE),
    "sum_float16": Op("a.sum(axis=1)", "a.sum(1)", a=SQUARE.of("float16")),
    "sum_float64": Op("a.sum(axis=1)", "a.sum(1)", a=SQUARE.of("float64")),
    "sum_int32": Op("a.sum(axis=1)", "a.sum(1, dtype=torch.int32)", a=SQUARE.below(100).of("int32")),
    "mean": Op("a.mean()", "a.mean()", a=SQUARE, backward="a"),
    "mean_rows": Op("a.mean(axis=1)", "a.mean(1)", a=SQUARE, backward="a"),
    "mean_columns": Op("a.mean(axis=0)", "a.mean(0)", a=SQUARE, backward="a"),
    "prod_rows": Op("a.prod(axis=1)", "a.prod(1)", a=FACTORS, backward="a"),
    "prod_columns": Op("a.prod(axis=0)", "a.prod(0)", a=FACTORS),
    "nansum_rows": Op("nd.nansum(a, axis=1)", "torch.nansum(a, 1)", a=SQUARE, backward="a"),
    "nanprod_rows": Op("nd.nanprod(a, axis=1)", a=FACTORS, backward="a"),
    "max": Op("a.max()", "torch.amax(a)", a=SQUARE, backward="a"),
    "max_rows": Op("a.max(axis=1)", "torch.amax(a, 1)", a=SQUARE, backward="a"),
    "max_columns": Op("a.max(axis=0)", "torch.amax(a, 0)", a=SQUARE, backward="a"),
    "min_rows": Op("a.min(axis=1)", "torch.amin(a, 1)", a=SQUARE),
    "min_columns": Op("a.min(axis=0)", "torch.amin(a, 0)", a=SQUARE),
    "argmax": Op("nd.argmax(a, axis=1)", "torch.argmax(a, 1)", a=ROWS),
    "argmax_columns": Op("nd.argmax(a, axis=0)", "torch.argmax(a, 0)", a=ROWS),
    "argmin": Op("nd.argmin(a, axis=1)", "torch.argmin(a, 1)", a=ROWS),
    "argmax_channel": Op("nd.argmax_channel(a)", "torch.argmax(a, 1)", a=ROWS),
    "norm": Op("nd.norm(a)", "torch.linalg.vector_norm(a)", a=SQUARE, backward="a"),
    "norm_rows": Op("nd.norm(a, axis=1)", "torch.linalg.vector_norm(a, dim=1)", a=SQUARE, backward="a"),
    "norm1_rows": Op("nd.norm(a, ord=1, axis=1)", "torch.linalg.vector_norm(a, 1, dim=1)", a=SQUARE, backward="a"),
    "norm_columns": Op("nd.norm(a, axis=0)", "torch.linalg.vector_norm(a, dim=0)", a=SQUARE),
    "moments_rows": Op("nd.moments(a, axes=(1,))", "[*torch.var_mean(a, 1, correction=0)][::-1]", a=SQUARE,
                       backward="a"),
    "moments_columns": Op("nd.moments(a, axes=(0,))", "[*torch.var_mean(a, 0, correction=0)][::-1]", a=SQUARE),
    "square_sum": Op("nd.square(a).sum(axis=1)", "torch.square(a).sum(1)", a=SQUARE, backward="a"),
    "cumsum": Op("nd.cumsum(a, axis=1)", "torch.cumsum(a, 1)", a=ROWS, backward="a"),
    "cumsum_columns": Op("nd.cumsum(a, axis=0)", "torch.cumsum(a, 0)", a=ROWS, backward="a"),
    "cumsum_flat": Op("nd.cumsum(a)", "torch.cumsum(a.view(-1), 0)", a=ROWS, compared=False),
}
