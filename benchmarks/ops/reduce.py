# SPDX-License-Identifier: Apache-2.0
"""Reductions and scans."""

from .entry import ROWS, SQUARE, Op

OPS = {
    "sum": Op("a.sum()", "a.sum()", a=SQUARE, backward="a"),
    "sum_rows": Op("a.sum(axis=1)", "a.sum(1)", a=SQUARE, backward="a"),
    "mean_columns": Op("a.mean(axis=0)", "a.mean(0)", a=SQUARE, backward="a"),
    "max_rows": Op("a.max(axis=1)", "torch.amax(a, 1)", a=SQUARE),
    "argmax": Op("nd.argmax(a, axis=1)", "torch.argmax(a, 1)", a=ROWS),
    "norm": Op("nd.norm(a)", "torch.linalg.vector_norm(a)", a=SQUARE, backward="a"),
    "cumsum": Op("nd.cumsum(a, axis=1)", "torch.cumsum(a, 1)", a=ROWS, backward="a"),
}
