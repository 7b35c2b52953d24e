# SPDX-License-Identifier: Apache-2.0
"""Records of deformable convolutions, correlation, region proposals, and BatchNorm with relu, against plain NumPy."""

import numpy as np
from ops.harness import FLOATS, ErrorSample, Sample, record
from ops.records_boxes import overlaps
from ops.records_nn import batch_norm, norm_inputs
from ops.records_sampling import sample_points

LOOSE = {"float32": 1e-4, "float16": 2e-2, "bfloat16": 8e-2, "gradient": 1e-4}


def normal(rng, *shape):
    return rng.standard_normal(shape)


def deformable_convolution(data, offset, *arrays, mask=None, kernel, num_filter, **params):
    weight, bias = (*arrays, None)[:2]
    stride, dilate, pad = (params.get(name) or default for name, default in
                           (("stride", (1, 1)), ("dilate", (1, 1)), ("pad", (0, 0))))
    groups, parts = params.get("num_group", 1), params.get("num_deformable_group", 1)
    batch, channels, height, width = data.shape
    size, taps = offset.shape[2:], kernel[0] * kernel[1]
    points = np.zeros((batch, channels, taps, *size))
    rows, columns = np.meshgrid(*map(np.arange, size), indexing="ij")
    for n, part, tap in np.ndindex(batch, parts, taps):
        at = (part * taps + tap) * 2
        y = rows * stride[0] - pad[0] + tap // kernel[1] * dilate[0] + offset[n, at]
        x = columns * stride[1] - pad[1] + tap % kernel[1] * dilate[1] + offset[n, at + 1]
        some = slice(part * channels // parts, (part + 1) * channels // parts)
        if mask is None:
            inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
            values = sample_points(data[n, some], y.clip(0, height - 1), x.clip(0, width - 1)) * inside
        else:
            values = sample_points(data[n, some], y, x) * mask[n, part * taps + tap]
        points[n, some, tap] = values
    points = points.reshape(batch, groups, channels // groups * taps, *size)
    kernels = weight.reshape(groups, num_filter // groups, -1)
    out = np.einsum("gfk,ngkyx->ngfyx", kernels, points).reshape(batch, num_filter, *size)
    return out if bias is None else out + bias.reshape(-1, 1, 1)


def deformable_inputs(rng, batch, channels, height, width, filters, kernel, out, groups=1, parts=1, mask=False):
    taps = kernel[0] * kernel[1] * parts
    arrays = [normal(rng, batch, channels, height, width), normal(rng, batch, 2 * taps, *out)]
    if mask:
        arrays.append(rng.random((batch, taps, *out)))
    return [*arrays, normal(rng, filters, channels // groups, *kernel), normal(rng, filters)]


def deformable_samples(rng, mask):
    return [
        Sample(deformable_inputs(rng, 2, 3, 5, 6, 4, (3, 2), (3, 5), mask=mask), dict(kernel=(3, 2), num_filter=4)),
        Sample(
            deformable_inputs(rng, 2, 8, 7, 6, 6, (3, 3), (4, 3), groups=2, parts=4, mask=mask)[:-1],
            dict(
                kernel=(3, 3),
                num_filter=6,
                stride=(2, 2),
                pad=(1, 1),
                num_group=2,
                num_deformable_group=4,
                no_bias=True,
            ),
        ),
        Sample(
            deformable_inputs(rng, 1, 20, 9, 9, 5, (2, 2), (9, 9), mask=mask),
            dict(kernel=(2, 2), num_filter=5, dilate=(2, 2), pad=(1, 1)),
        ),
        Sample(
            deformable_inputs(rng, 0, 3, 5, 6, 4, (3, 2), (3, 5), mask=mask),
            dict(kernel=(3, 2), num_filter=4),
            oracle=False,
        ),
    ]


def deformable_errors(mask):
    middle = [np.ones((1, 9, 2, 2))] if mask else []
    window, weight = dict(kernel=(3, 3), num_filter=2), np.ones((2, 1, 3, 3))
    return [
        ErrorSample([np.ones((1, 1, 4, 4)), np.ones((1, 18, 3, 2)), *middle, weight, np.ones(2)], window),
        ErrorSample([np.ones((1, 1, 2, 4)), np.ones((1, 18, 0, 2)), *middle, weight, np.ones(2)], window),
        ErrorSample([np.ones((1, 1, 4, 4)), np.ones((1, 18, 2, 2)), *middle, weight, np.ones(3)], window),
        ErrorSample(
            [np.ones((1, 3, 4, 4)), np.ones((1, 18, 2, 2)), *middle, np.ones((2, 3, 3, 3)), np.ones(2)],
            dict(num_deformable_group=2, **window),
            "multiple of 2",
        ),
        ErrorSample(
            [np.ones((1, 1, 4)), np.ones((1, 6, 2)), *middle, np.ones((2, 1, 3)), np.ones(2)],
            dict(kernel=(3,), num_filter=2),
            "kernel",
        ),
    ]


record(
    "_contrib_DeformableConvolution",
    dtypes=("float32", "float64", "float16"),
    grad=True,
    rtol={**LOOSE, "float32": 1e-3, "float16": 0.1},
    samples=lambda rng: deformable_samples(rng, False),
    reference=deformable_convolution,
    errors=deformable_errors(False),
)

record(
    "_contrib_ModulatedDeformableConvolution",
    dtypes=("float32", "float64"),
    grad=True,
    oracle=False,  # no gradient on a CPU
    rtol={**LOOSE, "float32": 1e-3},
    samples=lambda rng: deformable_samples(rng, True),
    reference=lambda data, offset, mask, *rest, **params: deformable_convolution(
        data, offset, *rest, mask=mask, **params
    ),
    errors=deformable_errors(True),
)


def correlation(
    data1, data2, kernel_size=1, max_displacement=1, stride1=1, stride2=1, pad_size=0, is_multiply=True
):
    around = [(0, 0), (0, 0), (pad_size, pad_size), (pad_size, pad_size)]
    a, b = np.pad(data1, around), np.pad(data2, around)
    inner = np.array(a.shape[2:]) - 2 * (max_displacement + kernel_size // 2)
    rows, columns = -(-inner // stride1)
    steps = np.arange(-(max_displacement // stride2), max_displacement // stride2 + 1) * stride2
    out = np.zeros((len(a), len(steps) ** 2, rows, columns))
    for k, i, j in np.ndindex(*out.shape[1:]):
        y, x = i * stride1 + max_displacement, j * stride1 + max_displacement
        dy, dx = steps[k // len(steps)], steps[k % len(steps)]
        left = a[:, :, y : y + kernel_size, x : x + kernel_size]
        right = b[:, :, y + dy : y + dy + kernel_size, x + dx : x + dx + kernel_size]
        out[:, k, i, j] = (left * right if is_multiply else np.abs(left - right)).mean((1, 2, 3))
    return out


record(
    "Correlation",
    dtypes=FLOATS,
    grad=True,
    rtol=LOOSE,
    samples=lambda rng: [
        Sample([normal(rng, 2, 3, 5, 6), normal(rng, 2, 3, 5, 6)], dict(max_displacement=2, pad_size=2)),
        Sample(
            [normal(rng, 1, 2, 7, 6), normal(rng, 1, 2, 7, 6)],
            dict(kernel_size=3, max_displacement=3, stride1=2, stride2=2, pad_size=4),
        ),
        Sample(
            [normal(rng, 1, 2, 5, 4), normal(rng, 1, 2, 5, 4)], dict(max_displacement=1, is_multiply=False), grad=True
        ),
        Sample(
            [normal(rng, 1, 1, 5, 9), normal(rng, 1, 1, 5, 9)],
            dict(kernel_size=3, stride1=2, max_displacement=1, pad_size=1, is_multiply=False),
            grad=False,  # kinks in the padding
        ),
    ],
    reference=correlation,
    errors=[
        ErrorSample([np.ones((1, 1, 3, 3)), np.ones((1, 1, 3, 4))], {}, "data"),
        ErrorSample([np.ones((1, 1, 3, 3)), np.ones((1, 1, 3, 3))], dict(kernel_size=2), "odd"),
        ErrorSample([np.ones((1, 1, 2, 2)), np.ones((1, 1, 2, 2))], dict(max_displacement=4), "fit"),
        ErrorSample([np.ones((1, 1, 4, 4)), np.ones((1, 1, 4, 4))], dict(stride2=0), "stride2"),
    ],
)


def anchor_boxes(stride, ratios, scales):
    center = (stride - 1) / 2
    boxes = []
    for ratio in ratios:
        width = np.floor(np.sqrt(np.floor(stride * stride / ratio)) + 0.5)
        height = np.floor(width * ratio + 0.5)
        for scale in scales:
            half = np.array([width, height]) * scale / 2 - 0.5
            boxes.append([*(center - half), *(center + half)])
    return np.array(boxes)


def moved_boxes(boxes, deltas, iou_loss):
    if iou_loss:
        return boxes + deltas
    extent = boxes[:, 2:] - boxes[:, :2] + 1
    center = boxes[:, :2] + (extent - 1) / 2 + deltas[:, :2] * extent
    half = (np.exp(deltas[:, 2:]) * extent - 1) / 2
    return np.concatenate([center - half, center + half], 1)


def propose(scores, deltas, info, image, params):
    """(rois, scores) of one image; arrays are (pixels, anchors, ...)."""
    height, width, scale = info
    stride, least = params["feature_stride"], params["rpn_min_size"] * scale
    rows, columns = scores.shape[:2]
    place = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), -1) * stride
    boxes = anchor_boxes(stride, params["ratios"], params["scales"]) + np.tile(place, 2)[:, :, None]
    boxes = moved_boxes(boxes.reshape(-1, 4), deltas.reshape(-1, 4), params.get("iou_loss", False))
    boxes = boxes.clip(0, np.array([width, height, width, height]) - 1)
    scores = scores.copy()
    scores[(place + stride > [width, height]).any(-1)] = -1
    scores = scores.ravel()
    small = ((boxes[:, 2:] - boxes[:, :2] + 1) < least).any(1)
    boxes[small] += np.array([-1, -1, 1, 1]) * least / 2
    scores[small] = -1
    order = np.argsort(-scores, kind="stable")
    order = order[: params["rpn_pre_nms_top_n"]] if params["rpn_pre_nms_top_n"] > 0 else order
    closed = boxes[order] + [0, 0, 1, 1]  # ends are included
    over = overlaps(closed, closed) > params["threshold"]
    stay = []
    for i in range(len(order)):
        if len(stay) < params["rpn_post_nms_top_n"] and not over[stay, i].any():
            stay.append(i)
    chosen = order[[stay[i % len(stay)] for i in range(params["rpn_post_nms_top_n"])]]
    return np.insert(boxes[chosen], 0, image, axis=1), scores[chosen, None]


def proposals(cls_prob, bbox_pred, im_info, output_score=False, **params):
    batch, anchors, rows, columns = cls_prob.shape
    scores = cls_prob[:, anchors // 2 :].transpose(0, 2, 3, 1)
    deltas = bbox_pred.reshape(batch, anchors // 2, 4, rows, columns).transpose(0, 3, 4, 1, 2)
    parts = [propose(scores[n], deltas[n], im_info[n], n, params) for n in range(batch)]
    rois, found = (
        np.concatenate([np.zeros((0, width)), *(part[k] for part in parts)]) for k, width in enumerate((5, 1))
    )
    return (rois, found) if output_score else rois


def proposal_sample(rng, batch, rows, columns, **params):
    params = {
        "scales": (1, 2),
        "ratios": (0.5, 1, 2),
        "feature_stride": 8,
        "rpn_min_size": 4,
        "rpn_pre_nms_top_n": 40,
        "rpn_post_nms_top_n": 9,
        "threshold": 0.5,
        **params,
    }
    size = (batch, 12, rows, columns)
    scores = rng.permutation(np.prod(size)).reshape(size) / np.prod(size)
    info = np.array([[rows * 8.0, columns * 8 - 4, 1], [rows * 8 - 9, columns * 8, 1.5]])[:batch]
    return Sample([scores, normal(rng, batch, 24, rows, columns) / 4, info], params)


def proposal_errors(name):
    small = dict(scales=(1,), ratios=(1,))
    arrays = [np.ones((1, 2, 3, 3)), np.ones((1, 4, 3, 3)), np.ones((1, 3))]
    errors = [
        ErrorSample([np.ones((1, 3, 3, 3)), *arrays[1:]], small, "cls_prob"),
        ErrorSample([arrays[0], np.ones((1, 4, 3, 4)), arrays[2]], small, "bbox_pred"),
        ErrorSample([*arrays[:2], np.ones((1, 4))], small, "im_info"),
        ErrorSample(arrays, dict(scales=(), ratios=(1,)), "scales"),
    ]
    if name == "_contrib_Proposal":
        errors.append(ErrorSample([np.ones((2, 2, 3, 3)), np.ones((2, 4, 3, 3)), np.ones((2, 3))], small, "one image"))
    return errors


for _name, _batch in (("_contrib_Proposal", 1), ("_contrib_MultiProposal", 2)):
    record(
        _name,
        rtol={**LOOSE, "float32": 1e-3},
        samples=lambda rng, batch=_batch: [
            proposal_sample(rng, batch, 4, 5, output_score=True),
            proposal_sample(rng, batch, 3, 3, iou_loss=True, rpn_pre_nms_top_n=-1, threshold=0.3),
            proposal_sample(rng, batch, 2, 1, rpn_post_nms_top_n=30, rpn_min_size=16),
        ],
        reference=proposals,
        errors=proposal_errors(_name),
    )


def batch_norm_relu(*inputs, **params):
    out, *rest = batch_norm(*inputs, **params)
    return (np.maximum(out, 0), *rest)


record(
    "_contrib_BatchNormWithReLU",
    dtypes=("float32", "float64"),
    grad=True,
    rtol={**LOOSE, "gradient": 1e-3},
    mutated=(3, 4),
    data=(0, 1, 2),
    oracle=False,  # moving statistics move in the backward pass there
    samples=lambda rng: [
        Sample(norm_inputs(rng, 4, 3, 5, 2), dict(fix_gamma=False, momentum=0.8), train=True),
        Sample(norm_inputs(rng, 4, 5, 3), dict(axis=-1, fix_gamma=False, momentum=0.8), train=True),
        Sample(
            norm_inputs(rng, 4, 3, 5, 2),
            dict(fix_gamma=False, momentum=0.8, output_mean_var=True),
            train=True,
            grad=False,
        ),
        Sample(norm_inputs(rng, 4, 3, 5, 2), dict(fix_gamma=False), grad=False),
    ],
    reference=batch_norm_relu,
    errors=[ErrorSample([np.ones((4, 3)), np.ones(2), np.ones(3), np.ones(3), np.ones(3)], {}, "gamma")],
)
