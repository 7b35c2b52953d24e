# SPDX-License-Identifier: Apache-2.0
"""Gathering, scattering and sorting."""

from .entry import ROWS, SQUARE, TABLE, WORDS, Array, Each, Op

POINTS = Array((2, 100), (2, 100000)).below((8, 1024))
LABELS = Array((8,), (1024,)).below(8)
FLAGS = Array((64,), (2048,)).below(2)

OPS = {
    "take": Op("nd.take(b, a)", "torch.index_select(b, 0, a)", a=WORDS.below(1000), b=TABLE, backward="b"),
    "take_int32": Op("nd.take(b, a)", "torch.index_select(b, 0, a)", a=WORDS.below(1000).of("int32"), b=TABLE),
    "take_wrap": Op("nd.take(b, a, mode='wrap')", a=WORDS.below(1000), b=TABLE),
    "take_columns": Op("nd.take(a, b, axis=1)", "torch.index_select(a, 1, b)", a=SQUARE,
                       b=Array((32,), (512,)).below(64), backward="a"),
    "batch_take": Op("nd.batch_take(a, b)", "a.gather(1, b[:, None]).squeeze(1)", a=ROWS, b=LABELS,
                     first=("b = b.astype('int32')", "")),
    "pick": Op("nd.pick(a, b)", "a.gather(1, b[:, None]).squeeze(1)", a=ROWS, b=LABELS, backward="a"),
    "pick_rows": Op("nd.pick(a, b, axis=0)", "a.gather(0, b[None]).squeeze(0)", a=ROWS,
                    b=Array((64,), (1024,)).below(8), backward="a"),
    "choose_element_0index": Op("nd.choose_element_0index(a, b)", "a.gather(1, b[:, None]).squeeze(1)", a=ROWS,
                                b=LABELS),
    "fill_element_0index": Op("nd.fill_element_0index(a, b, c)", "a.scatter(1, c[:, None], b[:, None])", a=ROWS,
                              b=Array((8,), (1024,)), c=LABELS),
    "gather_nd": Op("nd.gather_nd(a, b)", "a[b[0], b[1]]", a=ROWS, b=POINTS, backward="a"),
    "gather_nd_rows": Op("nd.gather_nd(a, b)", "a[b[0]]", a=TABLE, b=Array((1, 16), (1, 4096)).below(1000),
                         backward="a"),
    "scatter_nd": Op("nd.scatter_nd(b, a, shape=shape)", "torch.zeros(shape).index_put((a[0], a[1]), b)", a=POINTS,
                     b=Array((100,), (100000,)), shape=Each((8, 64), (1024, 1024)), compared=False),
    "fancy_index": Op("a[b]", "a[b]", a=TABLE, b=WORDS.below(1000).of("int32")),
    "one_hot": Op("nd.one_hot(a, 1000)", "F.one_hot(a, 1000).float()", a=WORDS.below(1000)),
    "topk": Op("nd.topk(a, k=5, ret_typ='value')", "torch.topk(a, 5)[0]", a=ROWS, backward="a"),
    "topk_indices": Op("nd.topk(a, k=5)", "torch.topk(a, 5)[1]", a=ROWS),
    "topk_both": Op("nd.topk(a, k=5, ret_typ='both')", "torch.topk(a, 5)", a=ROWS, compared=False),
    "topk_mask": Op("nd.topk(a, k=5, ret_typ='mask')", "torch.zeros_like(a).scatter_(1, torch.topk(a, 5)[1], 1)",
                    a=ROWS),
    "topk_50": Op("nd.topk(a, k=50, ret_typ='value')", "torch.topk(a, 50)[0]", a=ROWS),
    "topk_columns": Op("nd.topk(a, k=5, axis=0, ret_typ='value')", "torch.topk(a, 5, 0)[0]", a=ROWS),
    "topk_smallest": Op("nd.topk(a, k=5, ret_typ='value', is_ascend=True)", "torch.topk(a, 5, largest=False)[0]",
                        a=ROWS),
    "sort": Op("nd.sort(a)", "torch.sort(a)[0]", a=ROWS, backward="a"),
    "sort_descending": Op("nd.sort(a, is_ascend=False)", "torch.sort(a, descending=True)[0]", a=ROWS),
    "sort_columns": Op("nd.sort(a, axis=0)", "torch.sort(a, 0)[0]", a=ROWS),
    "sort_flat": Op("nd.sort(a, axis=None)", "torch.sort(a.view(-1))[0]", a=Array((512,), (1000000,))),
    "sort_int32": Op("nd.sort(a)", "torch.sort(a)[0]", a=ROWS.below(1000).of("int32")),
    "argsort": Op("nd.argsort(a)", "torch.argsort(a)", a=ROWS),
    "argsort_flat": Op("nd.argsort(a, axis=None)", "torch.argsort(a.view(-1))", a=Array((512,), (1000000,))),
    "histogram": Op("nd.histogram(a, bins=10, range=(-3, 3))[0]", "torch.histc(a, 10, -3, 3)", a=ROWS),
    "histogram_bins": Op("nd.histogram(a, bins=b)[0]", "torch.histogram(a, b)[0]", a=ROWS, b=Array((11,), (11,)),
                         first=("b = nd.arange(-5, 6)", "b = torch.arange(-5., 6.)")),
    "ravel_multi_index": Op("nd.ravel_multi_index(a, shape=(1024, 1024))", "a[0] * 1024 + a[1]", a=POINTS),
    "unravel_index": Op("nd.unravel_index(a, shape=(1024, 1024))", "torch.stack(torch.unravel_index(a, (1024, 1024)))",
                        a=Array((100,), (100000,)).below(100000)),
    "where_rows": Op("nd.where(c, a, b)", "torch.where(c.bool()[:, None], a, b)", a=SQUARE, b=SQUARE, c=FLAGS,
                     backward="a b"),
}
