# SPDX-License-Identifier: Apache-2.0
"""Layers of networks."""

from .entry import CHANNELS, IMAGES, ROWS, Array, Op

MAPS = Array((16,), (64,))
WORDS_IN = Array((5, 2, 16), (35, 32, 256))
PER_ROW = Array((8,), (1024,))
STATE = Array((1, 2, 16), (1, 32, 256))
FILTERS = Array((16, 16, 3, 3), (64, 64, 3, 3))
LINES = Array((1, 16, 64), (16, 64, 512))
VOLUMES = Array((1, 4, 6, 8, 8), (2, 32, 16, 28, 28))
SEQUENCES = Array((8, 4, 16), (128, 64, 256))
LENGTHS = Array((4,), (64,))
STATES = Array((4, 2, 16), (4, 32, 256))

OPS = {
    "conv1d": Op(
        "nd.Convolution(a, b, kernel=(3,), pad=(1,), num_filter=b.shape[0], no_bias=True)",
        "F.conv1d(a, b, padding=1)",
        a=LINES,
        b=Array((16, 16, 3), (64, 64, 3)),
        backward="a b",
    ),
    "conv1d_k7_s2": Op(
        ("nd.Convolution(a, b, kernel=(7,), pad=(3,), stride=(2,), num_filter=b.shape[0], no_bias=True)"),
        "F.conv1d(a, b, padding=3, stride=2)",
        a=LINES,
        b=Array((16, 16, 7), (64, 64, 7)),
        backward="a b",
    ),
    "convolution_3x3": Op(
        "nd.Convolution(a, b, kernel=(3,3), pad=(1,1), num_filter=b.shape[0], no_bias=True)",
        "F.conv2d(a, b, padding=1)",
        a=IMAGES,
        b=FILTERS,
        backward="a b",
    ),
    "convolution_1x1": Op(
        "nd.Convolution(a, b, kernel=(1,1), num_filter=b.shape[0], no_bias=True)",
        "F.conv2d(a, b, padding=0)",
        a=IMAGES,
        b=Array((16, 16, 1, 1), (64, 64, 1, 1)),
        backward="a b",
    ),
    "conv2d_5x5": Op(
        "nd.Convolution(a, b, kernel=(5,5), pad=(2,2), num_filter=b.shape[0], no_bias=True)",
        "F.conv2d(a, b, padding=2)",
        a=IMAGES,
        b=Array((16, 16, 5, 5), (64, 64, 5, 5)),
        backward="a b",
    ),
    "conv2d_3x3_s2": Op(
        ("nd.Convolution(a, b, kernel=(3,3), pad=(1,1), stride=(2,2), num_filter=b.shape[0], no_bias=True)"),
        "F.conv2d(a, b, padding=1, stride=2)",
        a=IMAGES,
        b=FILTERS,
        backward="a b",
    ),
    "conv2d_7x7_s2_rgb": Op(
        ("nd.Convolution(a, b, kernel=(7,7), pad=(3,3), stride=(2,2), num_filter=b.shape[0], no_bias=True)"),
        "F.conv2d(a, b, padding=3, stride=2)",
        a=Array((1, 3, 32, 32), (4, 3, 224, 224)),
        b=Array((16, 3, 7, 7), (64, 3, 7, 7)),
        backward="a b",
    ),
    "conv2d_dilate": Op(
        ("nd.Convolution(a, b, kernel=(3,3), pad=(2,2), dilate=(2,2), num_filter=b.shape[0], no_bias=True)"),
        "F.conv2d(a, b, padding=2, dilation=2)",
        a=IMAGES,
        b=FILTERS,
        backward="a b",
    ),
    "conv2d_group4": Op(
        ("nd.Convolution(a, b, kernel=(3,3), pad=(1,1), num_group=4, num_filter=b.shape[0], no_bias=True)"),
        "F.conv2d(a, b, padding=1, groups=4)",
        a=IMAGES,
        b=Array((16, 4, 3, 3), (64, 16, 3, 3)),
        backward="a b",
    ),
    "conv2d_depthwise": Op(
        ("nd.Convolution(a, b, kernel=(3,3), pad=(1,1), num_group=b.shape[0], num_filter=b.shape[0], no_bias=True)"),
        "F.conv2d(a, b, padding=1, groups=b.shape[0])",
        a=IMAGES,
        b=Array((16, 1, 3, 3), (64, 1, 3, 3)),
        backward="a b",
    ),
    "conv3d": Op(
        "nd.Convolution(a, b, kernel=(3,3,3), pad=(1,1,1), num_filter=b.shape[0], no_bias=True)",
        "F.conv3d(a, b, padding=1)",
        a=VOLUMES,
        b=Array((4, 4, 3, 3, 3), (32, 32, 3, 3, 3)),
        backward="a b",
    ),
    "deconv2d_4x4_s2": Op(
        ("nd.Deconvolution(a, b, kernel=(4,4), pad=(1,1), stride=(2,2), num_filter=b.shape[1], no_bias=True)"),
        "F.conv_transpose2d(a, b, padding=1, stride=2)",
        a=Array((1, 16, 14, 14), (4, 64, 28, 28)),
        b=Array((16, 16, 4, 4), (64, 64, 4, 4)),
        backward="a b",
    ),
    "deconv1d": Op(
        ("nd.Deconvolution(a, b, kernel=(4,), pad=(1,), stride=(2,), num_filter=b.shape[1], no_bias=True)"),
        "F.conv_transpose1d(a, b, padding=1, stride=2)",
        a=LINES,
        b=Array((16, 16, 4), (64, 64, 4)),
        backward="a b",
    ),
    "deconv3d": Op(
        "nd.Deconvolution(a, b, kernel=(3,3,3), pad=(1,1,1), num_filter=b.shape[1], no_bias=True)",
        "F.conv_transpose3d(a, b, padding=1)",
        a=Array((1, 4, 6, 8, 8), (1, 32, 8, 14, 14)),
        b=Array((4, 4, 3, 3, 3), (32, 32, 3, 3, 3)),
        backward="a b",
    ),
    "conv2d_bias": Op(
        "nd.Convolution(a, b, c, kernel=(3,3), pad=(1,1), num_filter=b.shape[0])",
        "F.conv2d(a, b, c, padding=1)",
        a=IMAGES,
        b=FILTERS,
        c=MAPS,
        backward="a b c",
    ),
    "dense": Op(
        "nd.FullyConnected(a, b, c, num_hidden=b.shape[0])",
        "F.linear(a, b, c)",
        a=Array((8, 64), (256, 1024)),
        b=Array((64, 64), (1024, 1024)),
        c=CHANNELS,
        backward="a b c",
    ),
    "dense_no_flatten": Op(
        "nd.FullyConnected(a, b, c, num_hidden=b.shape[0], flatten=False)",
        "F.linear(a, b, c)",
        a=Array((2, 4, 64), (8, 64, 512)),
        b=Array((64, 64), (512, 512)),
        c=Array((64,), (512,)),
        backward="a b c",
    ),
    "max_pool": Op(
        "nd.Pooling(a, kernel=(2,2), stride=(2,2), pool_type='max')", "F.max_pool2d(a, 2)", a=IMAGES, backward="a"
    ),
    "max_pool_3x3_s2": Op(
        "nd.Pooling(a, kernel=(3,3), stride=(2,2), pad=(1,1), pool_type='max')",
        "F.max_pool2d(a, 3, 2, 1)",
        a=IMAGES,
        backward="a",
    ),
    "max_pool_3x3_s1": Op(
        "nd.Pooling(a, kernel=(3,3), stride=(1,1), pad=(1,1), pool_type='max')",
        "F.max_pool2d(a, 3, 1, 1)",
        a=IMAGES,
        backward="a",
    ),
    "max_pool_1d": Op(
        "nd.Pooling(a, kernel=(3,), stride=(2,), pool_type='max')",
        "F.max_pool1d(a, 3, 2)",
        a=Array((1, 16, 64), (16, 64, 2048)),
        backward="a",
    ),
    "max_pool_3d": Op(
        "nd.Pooling(a, kernel=(2,2,2), stride=(2,2,2), pool_type='max')", "F.max_pool3d(a, 2)", a=VOLUMES, backward="a"
    ),
    "max_pool_full": Op(
        "nd.Pooling(a, kernel=(3,3), stride=(2,2), pool_type='max', pooling_convention='full')",
        "F.max_pool2d(a, 3, 2, ceil_mode=True)",
        a=IMAGES,
        backward="a",
    ),
    "avg_pool_2x2": Op(
        "nd.Pooling(a, kernel=(2,2), stride=(2,2), pool_type='avg')", "F.avg_pool2d(a, 2)", a=IMAGES, backward="a"
    ),
    "avg_pool_3x3_s2": Op(
        "nd.Pooling(a, kernel=(3,3), stride=(2,2), pad=(1,1), pool_type='avg')",
        "F.avg_pool2d(a, 3, 2, 1)",
        a=IMAGES,
        backward="a",
    ),
    "avg_pool_3x3_s1": Op(
        "nd.Pooling(a, kernel=(3,3), stride=(1,1), pad=(1,1), pool_type='avg')",
        "F.avg_pool2d(a, 3, 1, 1)",
        a=IMAGES,
        backward="a",
    ),
    "avg_pool_1d": Op(
        "nd.Pooling(a, kernel=(3,), stride=(2,), pool_type='avg')",
        "F.avg_pool1d(a, 3, 2)",
        a=Array((1, 16, 64), (16, 64, 2048)),
        backward="a",
    ),
    "avg_pool_3d": Op(
        "nd.Pooling(a, kernel=(2,2,2), stride=(2,2,2), pool_type='avg')", "F.avg_pool3d(a, 2)", a=VOLUMES, backward="a"
    ),
    "avg_pool_full": Op(
        "nd.Pooling(a, kernel=(3,3), stride=(2,2), pool_type='avg', pooling_convention='full')",
        "F.avg_pool2d(a, 3, 2, ceil_mode=True)",
        a=IMAGES,
        backward="a",
    ),
    "sum_pool": Op(
        "nd.Pooling(a, kernel=(2,2), stride=(2,2), pool_type='sum')",
        "F.avg_pool2d(a, 2, divisor_override=1)",
        a=IMAGES,
        backward="a",
    ),
    "lp_pool": Op(
        "nd.Pooling(a, kernel=(2,2), stride=(2,2), pool_type='lp', p_value=2)",
        "F.lp_pool2d(a, 2, 2)",
        a=IMAGES,
        backward="a",
    ),
    "global_pool": Op(
        "nd.Pooling(a, global_pool=True, pool_type='avg', kernel=(1,1))",
        "F.adaptive_avg_pool2d(a, 1)",
        a=IMAGES,
        backward="a",
    ),
    "global_max_pool": Op(
        "nd.Pooling(a, global_pool=True, pool_type='max', kernel=(1,1))",
        "F.adaptive_max_pool2d(a, 1)",
        a=IMAGES,
        backward="a",
    ),
    "batch_norm_infer": Op(
        "nd.BatchNorm(a, b, c, d, e, fix_gamma=False, eps=1e-5)",
        "F.batch_norm(a, d, e, b, c)",
        a=IMAGES,
        b=MAPS,
        c=MAPS,
        d=MAPS,
        e=MAPS.positive(),
    ),
    "batch_norm_train": Op(
        "nd.BatchNorm(a, b, c, d, e, fix_gamma=False, eps=1e-5)",
        "F.batch_norm(a, d, e, b, c, True)",
        a=IMAGES,
        b=MAPS,
        c=MAPS,
        d=MAPS,
        e=MAPS.positive(),
        backward="a b c",
    ),
    "instance_norm": Op(
        "nd.InstanceNorm(a, b, c, eps=1e-5)",
        "F.instance_norm(a, weight=b, bias=c)",
        a=IMAGES,
        b=MAPS,
        c=MAPS,
        backward="a b c",
    ),
    "group_norm": Op(
        "nd.GroupNorm(a, b, c, num_groups=4, eps=1e-5)",
        a=IMAGES,
        b=Array((4,), (4,)),
        c=Array((4,), (4,)),
        backward="a b c",
    ),
    "layer_norm": Op(
        "nd.LayerNorm(a, b, c)",
        "F.layer_norm(a, (a.shape[-1],), b, c)",
        a=ROWS,
        b=CHANNELS,
        c=CHANNELS,
        backward="a b c",
    ),
    "layer_norm_axis1": Op("nd.LayerNorm(a, b, c, axis=1)", a=IMAGES, b=MAPS, c=MAPS, backward="a b c"),
    "lrn": Op(
        "nd.LRN(a, nsize=5, alpha=1e-4, beta=0.75, knorm=2)",
        "F.local_response_norm(a, 5, 1e-4, 0.75, 2)",
        a=IMAGES,
        backward="a",
    ),
    "l2norm_instance": Op("nd.L2Normalization(a)", "F.normalize(a.flatten(1)).view_as(a)", a=IMAGES, backward="a"),
    "l2norm_channel": Op("nd.L2Normalization(a, mode='channel')", "F.normalize(a, dim=1)", a=IMAGES, backward="a"),
    "l2norm_spatial": Op(
        "nd.L2Normalization(a, mode='spatial')", "F.normalize(a.flatten(2), dim=2).view_as(a)", a=IMAGES, backward="a"
    ),
    "softmax": Op("nd.softmax(a)", "torch.softmax(a, -1)", a=ROWS, backward="a"),
    "softmax_axis0": Op("nd.softmax(a, axis=0)", "torch.softmax(a, 0)", a=ROWS, backward="a"),
    "softmax_axis1": Op("nd.softmax(a, axis=1)", "torch.softmax(a, 1)", a=IMAGES, backward="a"),
    "softmax_temperature": Op("nd.softmax(a, temperature=2.0)", "torch.softmax(a / 2, -1)", a=ROWS, backward="a"),
    "softmax_length": Op(
        "nd.softmax(a, b, use_length=True)",
        a=ROWS,
        b=PER_ROW.below((64, 1024)).of("int32"),
        backward="a",
        first=("b = b + 1", ""),
    ),
    "softmin": Op("nd.softmin(a)", "F.softmin(a, -1)", a=ROWS, backward="a"),
    "log_softmax": Op("nd.log_softmax(a)", "torch.log_softmax(a, -1)", a=ROWS, backward="a"),
    "softmax_activation": Op("nd.SoftmaxActivation(a)", "torch.softmax(a, -1)", a=ROWS, backward="a"),
    "softmax_activation_channel": Op(
        "nd.SoftmaxActivation(a, mode='channel')", "torch.softmax(a, 1)", a=IMAGES, backward="a"
    ),
    "softmax_output": Op("nd.SoftmaxOutput(a, b)", a=ROWS, b=PER_ROW.below(64), backward="a"),
    "softmax_output_multi": Op(
        ("nd.SoftmaxOutput(a, b, multi_output=True, use_ignore=True, ignore_label=1, normalization='valid')"),
        a=IMAGES,
        b=Array((1, 14, 14), (8, 56, 56)).below(16),
        backward="a",
    ),
    "softmax_cross_entropy": Op(
        "nd.softmax_cross_entropy(a, b)",
        "F.cross_entropy(a, b.long(), reduction='sum')",
        a=ROWS,
        b=PER_ROW.below(64),
        backward="a",
    ),
    "LinearRegressionOutput": Op("nd.LinearRegressionOutput(a, b)", a=ROWS, b=ROWS, backward="a"),
    "LogisticRegressionOutput": Op("nd.LogisticRegressionOutput(a, b)", a=ROWS, b=ROWS, backward="a"),
    "MAERegressionOutput": Op("nd.MAERegressionOutput(a, b)", a=ROWS, b=ROWS, backward="a"),
    "SVMOutput": Op("nd.SVMOutput(a, b)", a=ROWS, b=PER_ROW.below(64), backward="a"),
    "SVMOutput_linear": Op("nd.SVMOutput(a, b, use_linear=True)", a=ROWS, b=PER_ROW.below(64), backward="a"),
    "MakeLoss": Op("nd.MakeLoss(a)", a=ROWS, backward="a"),
    "ctc_loss": Op(
        "nd.CTCLoss(a, b)",
        (
            "F.ctc_loss(torch.log_softmax(a, 2), b.long(), (a.shape[0],)*a.shape[1], "
            "(b.shape[1],)*a.shape[1], reduction='none', zero_infinity=True)"
        ),
        a=Array((20, 2, 10), (200, 16, 100)),
        b=Array((2, 5), (16, 30)).below(9),
        backward="a",
        first=("b = b + 1", "b = b + 1"),
    ),
    "activation_relu": Op("nd.Activation(a, act_type='relu')", "torch.relu(a)", a=ROWS, backward="a"),
    "activation_sigmoid": Op("nd.Activation(a, act_type='sigmoid')", "torch.sigmoid(a)", a=ROWS, backward="a"),
    "activation_tanh": Op("nd.Activation(a, act_type='tanh')", "torch.tanh(a)", a=ROWS, backward="a"),
    "activation_softrelu": Op("nd.Activation(a, act_type='softrelu')", "F.softplus(a)", a=ROWS, backward="a"),
    "activation_softsign": Op("nd.Activation(a, act_type='softsign')", "F.softsign(a)", a=ROWS, backward="a"),
    "leaky_leaky": Op("nd.LeakyReLU(a, act_type='leaky')", "F.leaky_relu(a, 0.25)", a=ROWS, backward="a"),
    "leaky_elu": Op("nd.LeakyReLU(a, act_type='elu')", "F.elu(a, 0.25)", a=ROWS, backward="a"),
    "leaky_selu": Op("nd.LeakyReLU(a, act_type='selu')", "F.selu(a)", a=ROWS, backward="a"),
    "leaky_gelu": Op("nd.LeakyReLU(a, act_type='gelu')", "F.gelu(a)", a=ROWS, backward="a"),
    "leaky_prelu": Op(
        "nd.LeakyReLU(a, b, act_type='prelu')", "F.prelu(a, b)", a=IMAGES, b=MAPS.positive(), backward="a b"
    ),
    "leaky_rrelu": Op("nd.LeakyReLU(a, act_type='rrelu')", "F.rrelu(a)", a=ROWS, compared=False),
    "dropout": Op(
        "nd.Dropout(a, p=0.5, mode='always')", "F.dropout(a, 0.5, True)", a=ROWS, backward="a", compared=False
    ),
    "dropout_axes": Op(
        "nd.Dropout(a, p=0.5, mode='always', axes=(2,3))",
        "F.dropout2d(a, 0.5, True)",
        a=IMAGES,
        backward="a",
        compared=False,
    ),
    "embedding": Op(
        "nd.Embedding(a, b, input_dim=b.shape[0], output_dim=b.shape[1])",
        "F.embedding(a.long(), b)",
        a=Array((16,), (4096,)).below(1000),
        b=Array((1000, 64), (50000, 128)),
        backward="b",
    ),
    "sequence_mask": Op(
        "nd.SequenceMask(a, b, use_sequence_length=True)",
        a=SEQUENCES,
        b=LENGTHS.below(8),
        backward="a",
        first=("b = b + 1", ""),
    ),
    "sequence_last": Op(
        "nd.SequenceLast(a, b, use_sequence_length=True)",
        a=SEQUENCES,
        b=LENGTHS.below(8),
        backward="a",
        first=("b = b + 1", ""),
    ),
    "sequence_reverse": Op(
        "nd.SequenceReverse(a, b, use_sequence_length=True)",
        a=SEQUENCES,
        b=LENGTHS.below(8),
        backward="a",
        first=("b = b + 1", ""),
    ),
    "upsampling_nearest": Op(
        "nd.UpSampling(a, scale=2, sample_type='nearest')", "F.interpolate(a, scale_factor=2)", a=IMAGES, backward="a"
    ),
    "upsampling_bilinear": Op(
        "nd.UpSampling(a, b, scale=2, sample_type='bilinear', num_filter=a.shape[1], num_args=2)",
        a=Array((1, 16, 14, 14), (4, 32, 56, 56)),
        b=Array((16, 1, 4, 4), (32, 1, 4, 4)),
        backward="a",
    ),
    "rnn_lstm": Op(
        ("nd.RNN(a, b, c, d, mode='lstm', state_size=c.shape[2], num_layers=1, bidirectional=False)"),
        "m(a, (c, d))[0]",
        a=WORDS_IN,
        b=Array((2176,), (526336,)),
        c=STATE,
        d=STATE,
        backward="a b",
        first=("b = b * 0.05", "m = torch.nn.LSTM(a.shape[2], c.shape[2], 1, bidirectional=False)\nb = m.weight_ih_l0"),
        compared=False,
    ),
    "rnn_gru": Op(
        "nd.RNN(a, b, c, mode='gru', state_size=c.shape[2], num_layers=1, bidirectional=False)",
        "m(a, c)[0]",
        a=WORDS_IN,
        b=Array((1632,), (394752,)),
        c=STATE,
        backward="a b",
        first=("b = b * 0.05", "m = torch.nn.GRU(a.shape[2], c.shape[2], 1, bidirectional=False)\nb = m.weight_ih_l0"),
        compared=False,
    ),
    "rnn_tanh": Op(
        ("nd.RNN(a, b, c, mode='rnn_tanh', state_size=c.shape[2], num_layers=1, bidirectional=False)"),
        "m(a, c)[0]",
        a=WORDS_IN,
        b=Array((544,), (131584,)),
        c=STATE,
        backward="a b",
        first=(
            "b = b * 0.05",
            (
                "m = torch.nn.RNN(a.shape[2], c.shape[2], 1, bidirectional=False, "
                "nonlinearity='tanh')\nb = m.weight_ih_l0"
            ),
        ),
        compared=False,
    ),
    "rnn_relu": Op(
        ("nd.RNN(a, b, c, mode='rnn_relu', state_size=c.shape[2], num_layers=1, bidirectional=False)"),
        "m(a, c)[0]",
        a=WORDS_IN,
        b=Array((544,), (131584,)),
        c=STATE,
        backward="a b",
        first=(
            "b = b * 0.05",
            (
                "m = torch.nn.RNN(a.shape[2], c.shape[2], 1, bidirectional=False, "
                "nonlinearity='relu')\nb = m.weight_ih_l0"
            ),
        ),
        compared=False,
    ),
    "rnn_lstm_bi2": Op(
        "nd.RNN(a, b, c, d, mode='lstm', state_size=c.shape[2], num_layers=2, bidirectional=True)",
        "m(a, (c, d))[0]",
        a=WORDS_IN,
        b=Array((10752,), (2629632,)),
        c=STATES,
        d=STATES,
        backward="a b",
        first=("b = b * 0.05", "m = torch.nn.LSTM(a.shape[2], c.shape[2], 2, bidirectional=True)\nb = m.weight_ih_l0"),
        compared=False,
    ),
    "rnn_gru_bi2": Op(
        "nd.RNN(a, b, c, mode='gru', state_size=c.shape[2], num_layers=2, bidirectional=True)",
        "m(a, c)[0]",
        a=WORDS_IN,
        b=Array((8064,), (1972224,)),
        c=STATES,
        backward="a b",
        first=("b = b * 0.05", "m = torch.nn.GRU(a.shape[2], c.shape[2], 2, bidirectional=True)\nb = m.weight_ih_l0"),
        compared=False,
    ),
}
