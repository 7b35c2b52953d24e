# SPDX-License-Identifier: Apache-2.0
"""Shape and layout."""

from .entry import IMAGES, ROWS, SQUARE, Op

OPS = {
    "transpose": Op("a.T", "a.T.contiguous()", a=SQUARE, backward="a"),
    "concat": Op("nd.concat(a, b, dim=1)", "torch.cat((a, b), 1)", a=SQUARE, b=SQUARE),
    "stack": Op("nd.stack(a, b)", "torch.stack((a, b))", a=SQUARE, b=SQUARE),
    "slice": Op("nd.slice_axis(a, axis=1, begin=8, end=40)", "a[:, 8:40].contiguous()", a=SQUARE),
    "tile": Op("nd.tile(a, (2, 2))", "a.tile(2, 2)", a=ROWS),
    "pad": Op("nd.pad(a, mode='constant', pad_width=(0, 0, 0, 0, 1, 1, 1, 1))", "F.pad(a, (1, 1, 1, 1))", a=IMAGES),
}
