# SPDX-License-Identifier: Apache-2.0
"""Records of the operators on boxes, against plain NumPy loops."""

import numpy as np
from ops.harness import FLOATS, ErrorSample, Sample, record

LOOSE = {"float32": 1e-4, "float16": 1e-2, "bfloat16": 8e-2}


def corner_boxes(rng, *shape, size=0.6):
    low = rng.random((*shape, 2))
    return np.concatenate([low, low + 0.05 + rng.random((*shape, 2)) * size], -1)


def as_corners(boxes, form):
    if form == "corner":
        return boxes
    half = boxes[..., 2:] / 2
    return np.concatenate([boxes[..., :2] - half, boxes[..., :2] + half], -1)


def as_format(corners, form):
    if form == "corner":
        return corners
    return np.concatenate([(corners[..., :2] + corners[..., 2:]) / 2, corners[..., 2:] - corners[..., :2]], -1)


def center_extent(boxes):
    extent = boxes[..., 2:] - boxes[..., :2]
    return boxes[..., :2] + extent / 2, extent


def overlaps(a, b):
    """Intersection over union of corners (n, 4) and (m, 4)."""
    sides = np.maximum(np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2]), 0)
    both = sides.prod(-1)

    def area(c):
        return np.where((c[:, 2:] < c[:, :2]).any(-1), 0, (c[:, 2:] - c[:, :2]).prod(-1))

    either = area(a)[:, None] + area(b)[None] - both
    with np.errstate(all="ignore"):
        return np.where(either <= 0, 0, both / either)


def box_iou(lhs, rhs, format="corner"):
    values = overlaps(as_corners(lhs.reshape(-1, 4), format), as_corners(rhs.reshape(-1, 4), format))
    return values.reshape(*lhs.shape[:-1], *rhs.shape[:-1])


record(
    "_contrib_box_iou",
    dtypes=FLOATS,
    rtol=LOOSE,
    samples=lambda rng: [
        Sample([corner_boxes(rng, 2, 3), corner_boxes(rng, 4)]),
        Sample([corner_boxes(rng, 5), corner_boxes(rng, 4, 2)], dict(format="center")),
        Sample([np.array([[0.0, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [2, 2, 3, 3]]), corner_boxes(rng, 3)]),
        Sample([corner_boxes(rng, 0), corner_boxes(rng, 4)], oracle=False),
    ],
    reference=box_iou,
    errors=[
        ErrorSample([np.ones((2, 5)), np.ones((2, 4))], {}, "lhs"),
        ErrorSample([np.ones((2, 4)), np.ones(4)], {}, "rhs"),
        ErrorSample([np.ones((2, 4), "int32"), np.ones((2, 4), "int32")], {}, "floating point"),
    ],
)


def box_nms(
    data,
    overlap_thresh=0.5,
    valid_thresh=0,
    topk=-1,
    coord_start=2,
    score_index=1,
    id_index=-1,
    background_id=-1,
    force_suppress=False,
    in_format="corner",
    out_format="corner",
):
    if topk == 0:
        return data
    place = slice(coord_start, coord_start + 4)
    out = np.full(data.shape, -1.0)
    for rows, kept in zip(data.reshape(-1, *data.shape[-2:]), out.reshape(-1, *data.shape[-2:]), strict=True):
        valid = rows[:, score_index] > valid_thresh
        if id_index >= 0:
            valid &= rows[:, id_index] != background_id
        rows = rows[valid]
        rows = rows[np.argsort(-rows[:, score_index], kind="stable")][: topk if topk > 0 else None]
        corners = as_corners(rows[:, place], in_format)
        over = overlaps(corners, corners) > overlap_thresh
        if id_index >= 0 and not force_suppress:
            over &= rows[:, None, id_index] == rows[None, :, id_index]
        stay = []
        for i in range(len(rows)):
            if not over[stay, i].any():
                stay.append(i)
        kept[: len(stay)] = rows[stay]
        if in_format != out_format:
            kept[: len(stay), place] = as_format(corners[stay], out_format)
    return out


def detections(rng, *shape, classes=2, size=0.6):
    scores = (rng.permutation(np.prod(shape)).reshape(shape) + 1) / (np.prod(shape) + 1)
    return np.concatenate(
        [rng.integers(0, classes, shape)[..., None], scores[..., None], corner_boxes(rng, *shape, size=size)], -1
    )


record(
    "_contrib_box_nms",
    dtypes=FLOATS,
    grad=True,
    rtol=LOOSE,
    samples=lambda rng: [
        Sample([detections(rng, 2, 9)], dict(overlap_thresh=0.2)),
        Sample([detections(rng, 2, 2, 7)], dict(overlap_thresh=0.1, id_index=0, valid_thresh=0.3), grad=False),
        Sample([detections(rng, 12)], dict(overlap_thresh=0.1, force_suppress=True, topk=6)),
        Sample([detections(rng, 12)], dict(overlap_thresh=0.3, id_index=0, background_id=0), grad=False),
        Sample([detections(rng, 8)], dict(overlap_thresh=0.3, in_format="center", out_format="corner"), grad=False),
        Sample([detections(rng, 8)], dict(overlap_thresh=0.3, out_format="center"), grad=False),
        Sample([detections(rng, 4)], dict(topk=0)),
        Sample([np.array([[0, 0.5, 0, 0, 1, 1], [0, 0.5, 0, 0, 1, 1], [0, 0.5, 2, 2, 1, 1]])], grad=False),
        Sample([detections(rng, 2, 900, classes=3, size=0.1)], dict(overlap_thresh=0.4, id_index=0), grad=False),
        Sample([detections(rng, 1500, size=0.05)], dict(overlap_thresh=0.3), grad=False),
        Sample(
            [np.concatenate([rng.random((2, 9, 1)), detections(rng, 2, 9)], -1)],
            dict(overlap_thresh=0.2, coord_start=3, score_index=2, id_index=1),
            grad=False,
        ),
    ],
    reference=box_nms,
    errors=[
        ErrorSample([np.ones(4)], {}, "(4,)"),
        ErrorSample([np.ones((2, 6))], dict(coord_start=3), "coord_start 3"),
        ErrorSample([np.ones((2, 6))], dict(score_index=6), "score_index 6"),
        ErrorSample([np.ones((2, 6))], dict(score_index=3), "coordinates"),
        ErrorSample([np.ones((2, 6))], dict(id_index=1), "differ"),
        ErrorSample([np.ones((2, 6), "int32")], {}, "floating point"),
    ],
)


def box_encode(samples, matches, anchors, refs, means, stds):
    boxes = np.take_along_axis(refs, matches.astype(int)[..., None], 1)
    (box, size), (anchor, unit) = center_extent(boxes), center_extent(anchors)
    code = (np.concatenate([(box - anchor) / unit, np.log(size / unit)], -1) - means) / stds
    mask = np.broadcast_to((samples > 0.5)[..., None], code.shape)
    return np.where(mask, code, 0), mask.astype(float)


def encode_sample(rng, batch, n, boxes):
    return Sample(
        [
            rng.choice([-1.0, 0, 1], (batch, n)),
            rng.integers(0, boxes, (batch, n)).astype(float),
            corner_boxes(rng, batch, n),
            corner_boxes(rng, batch, boxes),
            rng.random(4),
            rng.random(4) + 0.5,
        ]
    )


record(
    "_contrib_box_encode",
    dtypes=FLOATS,
    rtol={**LOOSE, "bfloat16": 0.2},
    samples=lambda rng: [encode_sample(rng, 2, 5, 3), encode_sample(rng, 1, 1, 1), encode_sample(rng, 3, 40, 7)],
    reference=box_encode,
    errors=[
        ErrorSample([np.ones((2, 3))] * 2 + [np.ones((1, 3, 4)), np.ones((2, 5, 4)), np.ones(4), np.ones(4)], {}),
        ErrorSample([np.ones((2, 3))] * 2 + [np.ones((2, 3, 4)), np.ones((2, 5, 4)), np.ones(2), np.ones(4)], {}),
        ErrorSample([np.ones(3)] * 2 + [np.ones((2, 3, 4)), np.ones((2, 5, 4)), np.ones(4), np.ones(4)], {}, "(3,)"),
        ErrorSample(
            [np.ones((1, 1))] * 2 + [np.ones((1, 1, 4)), np.ones((1, 0, 4)), np.ones(4), np.ones(4)],
            {},
            "no box",
            at_wait=True,
        ),
    ],
)


def box_decode(data, anchors, std0=1, std1=1, std2=1, std3=1, clip=-1, format="center"):
    center, extent = center_extent(anchors) if format == "corner" else (anchors[..., :2], anchors[..., 2:])
    logs = data[..., 2:] * [std2, std3]
    half = np.exp(np.minimum(logs, clip) if clip > 0 else logs) * extent / 2
    center = data[..., :2] * [std0, std1] * extent + center
    return np.concatenate([center - half, center + half], -1)


record(
    "_contrib_box_decode",
    dtypes=FLOATS,
    rtol=LOOSE,
    samples=lambda rng: [
        Sample([rng.standard_normal((2, 5, 4)), corner_boxes(rng, 1, 5)], dict(std0=0.5, std1=0.25, format="corner")),
        Sample([rng.standard_normal((3, 2, 4)), corner_boxes(rng, 1, 2)], dict(std2=0.5, std3=0.25, clip=0.125)),
    ],
    reference=box_decode,
    errors=[
        ErrorSample([np.ones((2, 3, 4)), np.ones((2, 3, 4))], {}, "anchors"),
        ErrorSample([np.ones((2, 3, 4)), np.ones((3, 4))], {}, "anchors"),
        ErrorSample([np.ones((1, 3, 5)), np.ones((1, 3, 4))], {}, "data"),
    ],
)


def bipartite_matching(data, threshold, is_ascend=False, topk=-1):
    rows, columns = data.shape[-2:]
    of_rows, of_columns = (np.full((*data.shape[:-2], n), -1.0) for n in (rows, columns))
    for index in np.ndindex(*data.shape[:-2]):
        scores, row, column, pairs = data[index].ravel(), of_rows[index], of_columns[index], 0
        for k in np.argsort(scores if is_ascend else -scores, kind="stable"):
            i, j = divmod(k, columns)
            if not (scores[k] < threshold if is_ascend else scores[k] > threshold) or pairs > topk > 0:
                break
            if row[i] < 0 and column[j] < 0:
                row[i], column[j], pairs = j, i, pairs + 1
    return of_rows, of_columns


record(
    "_contrib_bipartite_matching",
    dtypes=FLOATS,
    samples=lambda rng: [
        Sample([rng.random((2, 4, 3))], dict(threshold=0.3)),
        Sample([rng.random((5, 6))], dict(threshold=0.8, is_ascend=True, topk=2)),
        Sample([rng.integers(0, 3, (2, 2, 3, 4)) / 2], dict(threshold=1e-12, topk=1)),
    ],
    reference=bipartite_matching,
    errors=[
        ErrorSample([np.ones(4)], dict(threshold=0.1), "(4,)"),
        ErrorSample([np.ones((2, 2))], {}, "threshold"),
        ErrorSample([np.ones((2, 2), "int32")], dict(threshold=0.1), "floating point"),
    ],
)


def multibox_prior(data, sizes=(1,), ratios=(1,), clip=False, steps=(-1, -1), offsets=(0.5, 0.5)):
    height, width = data.shape[2:]
    step_y, step_x = steps if min(steps) > 0 else (1 / max(height, 1), 1 / max(width, 1))
    kinds = [(size, ratios[0]) for size in sizes] + [(sizes[0], ratio) for ratio in ratios[1:]]
    boxes = []
    for y, x in np.ndindex(height, width):
        center = np.array([(x + offsets[1]) * step_x, (y + offsets[0]) * step_y])
        for size, ratio in kinds:
            half = np.array([size * height / width * np.sqrt(ratio), size / np.sqrt(ratio)]) / 2
            boxes.append([*(center - half), *(center + half)])
    boxes = np.array(boxes).reshape(1, -1, 4)
    return np.clip(boxes, 0, 1) if clip else boxes


record(
    "_contrib_MultiBoxPrior",
    dtypes=FLOATS,
    rtol=LOOSE,
    samples=lambda rng: [
        Sample([np.zeros((2, 3, 2, 3))]),
        Sample([np.zeros((1, 1, 3, 2))], dict(sizes=(0.5, 0.25), ratios=(1, 2, 0.5), clip=True)),
        Sample([np.zeros((1, 1, 2, 2))], dict(sizes=(0.5,), ratios=(2,), steps=(0.25, 0.125), offsets=(0.25, 0.75))),
    ],
    reference=multibox_prior,
    errors=[
        ErrorSample([np.zeros((1, 1, 2))], {}, "data"),
        ErrorSample([np.zeros((1, 1, 2, 2))], dict(sizes=()), "sizes"),
        ErrorSample([np.zeros((1, 1, 2, 2))], dict(steps=(0.5, -1)), "steps"),
        ErrorSample([np.zeros((1, 1, 2, 2))], dict(offsets=(2, 0)), "offsets"),
    ],
)


def match_anchors(over, overlap_threshold):
    """Of each anchor the box it is positive for, or -1: pairs of the largest overlap, then all that overlap enough."""
    match, free = np.full(len(over), -1), over.copy()
    while free.size and free.max() > 1e-6:
        anchor, box = np.unravel_index(free.argmax(), free.shape)
        match[anchor] = box
        free[anchor], free[:, box] = -1, -1
    if overlap_threshold > 0:
        joins = (match < 0) & (over.max(1) > overlap_threshold)
        match[joins] = over.argmax(1)[joins]
    return match


def mine_negatives(over, match, scores, ratio, threshold):
    count = min(int((match >= 0).sum() * ratio), (match < 0).sum())
    background = np.exp(scores[0] - scores.max(0)) / np.exp(scores - scores.max(0)).sum(0)
    found = [i for i in np.argsort(background, kind="stable") if match[i] < 0 and over[i].max() < threshold]
    return found[:count]


def multibox_target(
    anchor,
    label,
    cls_pred,
    overlap_threshold=0.5,
    ignore_label=-1,
    negative_mining_ratio=-1,
    negative_mining_thresh=0.5,
    minimum_negative_samples=0,
    variances=(0.1, 0.1, 0.2, 0.2),
):
    anchors, batch = anchor[0], len(label)
    loc, mask = np.zeros((2, batch, len(anchors), 4))
    cls = np.full((batch, len(anchors)), float(ignore_label))
    for image in range(batch):
        ends = np.nonzero(label[image, :, 0] == -1)[0]
        boxes = label[image, : ends[0] if len(ends) else None]
        if not len(boxes):
            continue
        over = overlaps(anchors, boxes[:, 1:5])
        match = match_anchors(over, overlap_threshold)
        negative = match < 0
        if negative_mining_ratio > 0:
            negative = mine_negatives(over, match, cls_pred[image], negative_mining_ratio, negative_mining_thresh)
        cls[image, negative] = 0
        at = match >= 0
        cls[image, at], mask[image, at] = boxes[match[at], 0] + 1, 1
        (box, size), (center, unit) = center_extent(boxes[match[at], 1:5]), center_extent(anchors[at])
        loc[image, at] = np.concatenate([(box - center) / unit, np.log(size / unit)], -1) / variances
    return loc.reshape(batch, -1), mask.reshape(batch, -1), cls


def target_sample(rng, batch, anchors, boxes, **params):
    label = np.concatenate([rng.integers(0, 3, (batch, boxes, 1)), corner_boxes(rng, batch, boxes)], -1)
    label[0, boxes // 2 :] = -1
    label[-1] = -1 if batch > 2 else label[-1]
    return Sample([corner_boxes(rng, 1, anchors), label, rng.standard_normal((batch, 4, anchors))], params)


record(
    "_contrib_MultiBoxTarget",
    dtypes=("float32", "float64", "float16"),
    rtol={**LOOSE, "float16": 5e-2},
    samples=lambda rng: [
        target_sample(rng, 2, 9, 4),
        target_sample(rng, 3, 30, 3, overlap_threshold=0.25, variances=(0.5, 0.25, 0.5, 1)),
        target_sample(rng, 3, 60, 2, negative_mining_ratio=3, negative_mining_thresh=0.5, ignore_label=-2),
        target_sample(rng, 2, 9, 3, overlap_threshold=0),
    ],
    reference=multibox_target,
    errors=[
        ErrorSample([np.ones((2, 3, 4)), np.ones((1, 2, 5)), np.ones((1, 2, 3))], {}, "anchor"),
        ErrorSample([np.ones((1, 3, 4)), np.ones((1, 2, 4)), np.ones((1, 2, 3))], {}, "label"),
        ErrorSample([np.ones((1, 3, 4)), np.ones((1, 2, 5)), np.ones((1, 2, 4))], {}, "cls_pred"),
        ErrorSample([np.ones((1, 3, 4)), np.ones((1, 2, 5)), np.ones((1, 2, 3))], dict(variances=(1, 1)), "variances"),
        ErrorSample([np.ones((1, 3, 4)), np.ones((1, 2, 5)), np.ones((1, 0, 3))], {}, "cls_pred"),
    ],
)


def multibox_detection(
    cls_prob,
    loc_pred,
    anchor,
    clip=True,
    threshold=0.01,
    background_id=0,
    nms_threshold=0.5,
    force_suppress=False,
    variances=(0.1, 0.1, 0.2, 0.2),
    nms_topk=-1,
):
    batch, _, anchors = cls_prob.shape
    out = np.full((batch, anchors, 6), -1.0)
    for image in range(batch):
        best = cls_prob[image, 1:].max(0)
        center, extent = center_extent(anchor[0])
        code = loc_pred[image].reshape(-1, 4) * variances
        center, half = code[:, :2] * extent + center, np.exp(code[:, 2:]) * extent / 2
        corners = np.concatenate([center - half, center + half], -1)
        corners = np.clip(corners, 0, 1) if clip else corners
        rows = np.concatenate([cls_prob[image, 1:].argmax(0)[:, None], best[:, None], corners], -1)[best >= threshold]
        out[image, : len(rows)] = rows
        if not 0 < nms_threshold <= 1:
            continue
        top = nms_topk if nms_topk > 0 else len(rows)
        out[image, top : len(rows), 0] = -1
        rows = rows[np.argsort(-rows[:, 1], kind="stable")][:top]
        over = overlaps(rows[:, 2:], rows[:, 2:]) >= nms_threshold
        if not force_suppress:
            over &= rows[:, None, 0] == rows[None, :, 0]
        stay = []
        for i in range(len(rows)):
            if over[stay, i].any():
                rows[i, 0] = -1
            else:
                stay.append(i)
        out[image, : len(rows)] = rows
    return out


def detection_sample(rng, batch, anchors, **params):
    scores = rng.permutation(batch * 4 * anchors).reshape(batch, 4, anchors) / (batch * 4 * anchors)
    return Sample([scores, rng.standard_normal((batch, 4 * anchors)), corner_boxes(rng, 1, anchors)], params)


record(
    "_contrib_MultiBoxDetection",
    dtypes=("float32", "float64", "float16"),
    rtol=LOOSE,
    samples=lambda rng: [
        detection_sample(rng, 2, 9, nms_threshold=0.25),
        detection_sample(rng, 1, 40, nms_threshold=0.5, force_suppress=True, threshold=0.75, clip=False),
        detection_sample(rng, 2, 30, nms_topk=5, variances=(0.5, 0.25, 0.5, 0.25)),
        detection_sample(rng, 2, 8, nms_threshold=0, threshold=0.75),
    ],
    reference=multibox_detection,
    errors=[
        ErrorSample([np.ones((1, 2, 3)), np.ones((1, 11)), np.ones((1, 3, 4))], {}, "loc_pred"),
        ErrorSample([np.ones((1, 2, 3)), np.ones((1, 12)), np.ones((2, 3, 4))], {}, "anchor"),
        ErrorSample([np.ones((1, 2, 3)), np.ones((1, 12)), np.ones((1, 3, 4))], dict(variances=(1,)), "variances"),
    ],
)
