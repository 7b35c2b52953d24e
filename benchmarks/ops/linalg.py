# SPDX-License-Identifier: Apache-2.0
"""Products and factorizations of matrices."""

from .entry import Array, Op

MATRIX = Array((64, 64), (1024, 1024))

OPS = {
    "dot": Op("nd.dot(a, b)", "a @ b", a=MATRIX, b=MATRIX),
    "batch_dot": Op("nd.batch_dot(a, b)", "torch.bmm(a, b)", a=Array((4, 16, 16), (96, 128, 64)),
                    b=Array((4, 16, 16), (96, 64, 128))),
}
