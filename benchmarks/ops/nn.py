# SPDX-License-Identifier: Apache-2.0
"""Layers of networks."""

from .entry import CHANNELS, IMAGES, ROWS, TABLE, WORDS, Array, Op

OPS = {
    "softmax": Op("nd.softmax(a)", "torch.softmax(a, -1)", a=ROWS, backward="a"),
    "log_softmax": Op("nd.log_softmax(a)", "torch.log_softmax(a, -1)", a=ROWS, backward="a"),
    "embedding": Op("nd.Embedding(a, b, input_dim=b.shape[0], output_dim=b.shape[1])", "F.embedding(a, b)",
                    a=WORDS.below(1000), b=TABLE),
    "dense": Op("nd.FullyConnected(a, b, c, num_hidden=b.shape[0])", "F.linear(a, b, c)",
                a=Array((1, 64), (128, 1024)), b=Array((64, 64), (1024, 1024)), c=CHANNELS),
    "convolution_3x3": Op("nd.Convolution(a, b, kernel=(3, 3), pad=(1, 1), num_filter=b.shape[0], no_bias=True)",
                          "F.conv2d(a, b, padding=1)", a=IMAGES, b=Array((16, 16, 3, 3), (64, 64, 3, 3))),
    "convolution_1x1": Op("nd.Convolution(a, b, kernel=(1, 1), num_filter=b.shape[0], no_bias=True)", "F.conv2d(a, b)",
                          a=IMAGES, b=Array((16, 16, 1, 1), (64, 64, 1, 1))),
    "max_pool": Op("nd.Pooling(a, kernel=(2, 2), stride=(2, 2), pool_type='max')", "F.max_pool2d(a, 2)", a=IMAGES),
    "global_pool": Op("nd.Pooling(a, global_pool=True, pool_type='avg', kernel=(1, 1))", "F.adaptive_avg_pool2d(a, 1)",
                      a=IMAGES),
    "layer_norm": Op("nd.LayerNorm(a, b, c)", "F.layer_norm(a, (a.shape[-1],), b, c)", a=ROWS, b=CHANNELS, c=CHANNELS),
    "dropout": Op("nd.Dropout(a, p=0.5, mode='always')", "F.dropout(a, 0.5)", a=ROWS, compared=False),
}
