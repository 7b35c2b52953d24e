# SPDX-License-Identifier: Apache-2.0
"""Gathering, scattering and sorting."""

from .entry import ROWS, TABLE, WORDS, Op

OPS = {
    "take": Op("nd.take(b, a)", "torch.index_select(b, 0, a)", a=WORDS.below(1000), b=TABLE),
    "one_hot": Op("nd.one_hot(a, 1000)", "F.one_hot(a, 1000).float()", a=WORDS.below(1000)),
    "topk": Op("nd.topk(a, k=5, ret_typ='value')", "torch.topk(a, 5)[0]", a=ROWS),
    "sort": Op("nd.sort(a)", "torch.sort(a)[0]", a=ROWS, backward="a"),
}
