# SPDX-License-Identifier: Apache-2.0
"""Records of the operators on regions of interest, against plain NumPy loops."""

import numpy as np
from ops.harness import ErrorSample, Sample, record

LOOSE = {"float32": 1e-4, "float16": 2e-2, "gradient": 1e-4}
DTYPES = ("float32", "float64", "float16")


def normal(rng, *shape):
    return rng.standard_normal(shape)


def regions(rng, n, batch, height, width, images=None):
    """Rows (image, x0, y0, x1, y1), some of them beyond the image."""
    corner = rng.uniform(-0.2, 0.8, (n, 2)) * [width, height]
    rows = np.concatenate([corner, corner + rng.uniform(0.1, 0.7, (n, 2)) * [width, height]], 1)
    return np.concatenate([rng.integers(0, batch, (n, 1)) if images is None else images, rows], 1)


def half_away(x):
    return np.sign(x) * np.floor(np.abs(x) + 0.5)


def roi_pooling(data, rois, pooled_size, spatial_scale):
    height, width = data.shape[2:]
    out = np.zeros((len(rois), data.shape[1], *pooled_size))
    for n, row in enumerate(rois):
        x0, y0, x1, y1 = half_away(row[1:] * spatial_scale)
        size = np.maximum([y1 - y0 + 1, x1 - x0 + 1], 1) / pooled_size
        for i, j in np.ndindex(*pooled_size):
            low = np.floor(np.array([i, j]) * size) + [y0, x0]
            high = np.ceil(np.array([i + 1, j + 1]) * size) + [y0, x0]
            (a, b), (c, d) = (np.clip(e, 0, [height, width]).astype(int) for e in (low, high))
            if row[0] >= 0 and a < c and b < d:
                out[n, :, i, j] = data[int(row[0]), :, a:c, b:d].max((1, 2))
    return out


record(
    "ROIPooling",
    dtypes=DTYPES,
    data=(0,),
    cast=(0, 1),
    grad=True,
    rtol=LOOSE,
    samples=lambda rng: [
        Sample(
            [normal(rng, 2, 3, 6, 5), regions(rng, 4, 2, 12, 10)], dict(pooled_size=(2, 3), spatial_scale=0.5)
        ),
        Sample([normal(rng, 1, 2, 4, 7), regions(rng, 3, 1, 4, 7)], dict(pooled_size=(5, 1), spatial_scale=1)),
        Sample(
            [normal(rng, 2, 2, 4, 4), regions(rng, 2, 1, 4, 4, [[-1], [1]])],
            dict(pooled_size=(2, 2), spatial_scale=1),
            oracle=False,
        ),
        Sample([normal(rng, 1, 2, 4, 4), np.zeros((0, 5))], dict(pooled_size=(2, 2), spatial_scale=1), oracle=False),
    ],
    reference=roi_pooling,
    errors=[
        ErrorSample([np.ones((1, 1, 4, 4)), np.ones((1, 4))], dict(pooled_size=(2, 2), spatial_scale=1), "rois"),
        ErrorSample([np.ones((1, 4, 4)), np.ones((1, 5))], dict(pooled_size=(2, 2), spatial_scale=1), "data"),
        ErrorSample([np.ones((1, 1, 4, 4)), np.ones((1, 5))], dict(pooled_size=(2,), spatial_scale=1), "pooled_size"),
        ErrorSample([np.ones((1, 1, 4, 4)), np.ones((1, 5))], dict(pooled_size=(2, 0), spatial_scale=1), "pooled_size"),
        ErrorSample([np.ones((1, 1, 4, 4)), np.ones((1, 5))], dict(pooled_size=(2, 2), spatial_scale=2), "scale"),
        ErrorSample(
            [np.ones((1, 1, 4, 4)), np.ones((1, 5))], dict(pooled_size=(2, 2), spatial_scale=1), "image 1", at_wait=True
        ),
    ],
)


def bilinear(image, y, x):
    """Pixels of (channels, height, width) at a point at most one pixel outside."""
    height, width = image.shape[1:]
    if not (-1 <= y <= height and -1 <= x <= width):
        return np.zeros(len(image))
    y, x = np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)
    a, b = int(y), int(x)
    c, d, fy, fx = min(a + 1, height - 1), min(b + 1, width - 1), y - a, x - b
    top = image[:, a, b] * (1 - fx) + image[:, a, d] * fx
    return top * (1 - fy) + (image[:, c, b] * (1 - fx) + image[:, c, d] * fx) * fy


def align(data, images, size, place, pooled_size, ratio, channels_of):
    """Means of bilinear samples; place(region, y, x) maps a point of the region's box to data."""
    channels = len(channels_of(np.zeros((data.shape[1], *pooled_size))))
    out = np.zeros((len(images), channels, *pooled_size))
    for n, image in enumerate(images):
        bins = size[n] / pooled_size
        count = np.full(2, ratio) if ratio > 0 else np.ceil(bins).astype(int)
        values = np.zeros((data.shape[1], *pooled_size))
        for i, j in np.ndindex(*pooled_size):
            for sample in np.ndindex(*count):
                point = (np.array([i, j]) + (np.array(sample) + 0.5) / count) * bins
                values[:, i, j] += bilinear(data[int(image)], *place(n, *point)) / max(count.prod(), 1)
        out[n] = channels_of(values) * (image >= 0)
    return out


def roi_align(data, rois, pooled_size, spatial_scale, sample_ratio=-1, position_sensitive=False, aligned=False):
    corner = rois[:, 2:0:-1] * spatial_scale - (0.5 if aligned else 0)
    size = (rois[:, 4:2:-1] - rois[:, 2:0:-1]) * spatial_scale
    size = size if aligned else np.maximum(size, 1)

    def channels_of(values):
        if not position_sensitive:
            return values
        bins = np.prod(pooled_size)
        return np.einsum("cbb->cb", values.reshape(-1, bins, bins)).reshape(-1, *pooled_size)

    return align(
        data, rois[:, 0], size, lambda n, y, x: corner[n] + [y, x], pooled_size, sample_ratio, channels_of
    )


record(
    "_contrib_ROIAlign",
    dtypes=DTYPES,
    data=(0,),
    cast=(0, 1),
    grad=True,
    rtol=LOOSE,
    samples=lambda rng: [
        Sample(
            [normal(rng, 2, 3, 6, 5), regions(rng, 4, 2, 12, 10)],
            dict(pooled_size=(2, 3), spatial_scale=0.5, sample_ratio=2),
        ),
        Sample(
            [normal(rng, 2, 70, 4, 5), regions(rng, 9, 2, 4, 5)],
            dict(pooled_size=(3, 2), spatial_scale=1, aligned=True),
        ),
        Sample(
            [normal(rng, 2, 12, 4, 5), regions(rng, 3, 2, 4, 5)],
            dict(pooled_size=(3, 2), spatial_scale=1, position_sensitive=True),
        ),
        Sample(
            [normal(rng, 2, 2, 4, 4), regions(rng, 2, 1, 4, 4, [[-1], [1]])],
            dict(pooled_size=(2, 2), spatial_scale=1),
            oracle=False,
        ),
        Sample([normal(rng, 1, 2, 4, 4), np.zeros((0, 5))], dict(pooled_size=(2, 2), spatial_scale=1), oracle=False),
    ],
    reference=roi_align,
    errors=[
        ErrorSample([np.ones((1, 1, 4, 4)), np.ones((1, 4))], dict(pooled_size=(2, 2), spatial_scale=1), "rois"),
        ErrorSample(
            [np.ones((1, 4, 4, 4)), np.ones((1, 5))],
            dict(pooled_size=(3, 2), spatial_scale=1, position_sensitive=True),
            "multiple of 6",
        ),
        ErrorSample(
            [np.ones((1, 1, 4, 4)), np.ones((1, 5))], dict(pooled_size=(2, 2), spatial_scale=1), "image 1", at_wait=True
        ),
        ErrorSample(
            [np.ones((1, 1, 4, 4)), np.array([[0.0, 3, 3, 1, 1]])],
            dict(pooled_size=(2, 2), spatial_scale=1, aligned=True),
            "negative size",
            at_wait=True,
        ),
        ErrorSample(
            [np.ones((1, 1, 4, 4)), np.array([[0.0, 0, 0, 1e20, 1]])],
            dict(pooled_size=(2, 2), spatial_scale=1),
            "pixels long",
            at_wait=True,
        ),
    ],
)


def rotated_align(data, rois, pooled_size, spatial_scale, sampling_ratio=-1):
    center, size = rois[:, 2:0:-1] * spatial_scale, np.maximum(rois[:, 4:2:-1] * spatial_scale, 1)
    angle = np.deg2rad(rois[:, 5])

    def place(n, y, x):
        y, x = y - size[n, 0] / 2, x - size[n, 1] / 2
        sine, cosine = np.sin(angle[n]), np.cos(angle[n])
        return center[n] + [y * cosine - x * sine, x * cosine + y * sine]

    return align(data, rois[:, 0], size, place, pooled_size, sampling_ratio, lambda values: values)


def rotated_regions(rng, n, batch, height, width):
    rows = regions(rng, n, batch, height, width)
    return np.concatenate([rows[:, :3], np.abs(rows[:, 3:]), rng.uniform(-180, 180, (n, 1))], 1)


record(
    "_contrib_RROIAlign",
    dtypes=DTYPES,
    data=(0,),
    cast=(0, 1),
    grad=True,
    rtol={**LOOSE, "float16": 5e-2},
    samples=lambda rng: [
        Sample(
            [normal(rng, 2, 3, 6, 5), rotated_regions(rng, 4, 2, 12, 10)],
            dict(pooled_size=(2, 3), spatial_scale=0.5, sampling_ratio=2),
            oracle=False,  # without a gradient there
        ),
        Sample(
            [normal(rng, 2, 9, 4, 5), rotated_regions(rng, 9, 2, 4, 5)],
            dict(pooled_size=(3, 2), spatial_scale=1),
            grad=False,
        ),
    ],
    reference=rotated_align,
    errors=[ErrorSample([np.ones((1, 1, 4, 4)), np.ones((1, 5))], dict(pooled_size=(2, 2), spatial_scale=1), "rois")],
)


def scaled_corners(row, scale):
    """Top left corner and size (y, x) of a region whose end is included."""
    low = half_away(row[2:0:-1]) * scale
    return low, np.maximum((half_away(row[4:2:-1]) + 1) * scale - low, 0.1)


def group_channel(channel, bin_index, groups, pooled):
    i, j = np.array(bin_index) * groups // pooled
    return (channel * groups + i) * groups + j


def psroi_pooling(data, rois, spatial_scale, output_dim, pooled_size, group_size=0):
    groups, extent = group_size or pooled_size, data.shape[2:]
    out = np.zeros((len(rois), output_dim, pooled_size, pooled_size))
    for n, channel, i, j in np.ndindex(*out.shape):
        low, size = scaled_corners(rois[n], spatial_scale)
        a, b = np.clip(np.floor(np.array([i, j]) * size / pooled_size + low), 0, extent).astype(int)
        c, d = np.clip(np.ceil(np.array([i + 1, j + 1]) * size / pooled_size + low), 0, extent).astype(int)
        plane = data[int(rois[n, 0]), group_channel(channel, (i, j), groups, pooled_size)]
        if rois[n, 0] >= 0 and a < c and b < d:
            out[n, channel, i, j] = plane[a:c, b:d].mean()
    return out


record(
    "_contrib_PSROIPooling",
    dtypes=DTYPES,
    data=(0,),
    cast=(0, 1),
    grad=True,
    rtol=LOOSE,
    samples=lambda rng: [
        Sample(
            [normal(rng, 2, 8, 6, 5), regions(rng, 4, 2, 12, 10)],
            dict(spatial_scale=0.5, output_dim=2, pooled_size=2),
        ),
        Sample(
            [normal(rng, 1, 27, 6, 5), regions(rng, 3, 1, 6, 5)],
            dict(spatial_scale=1, output_dim=3, pooled_size=2, group_size=3),
        ),
        Sample(
            [normal(rng, 2, 4, 4, 4), regions(rng, 2, 1, 4, 4, [[-1], [1]])],
            dict(spatial_scale=1, output_dim=1, pooled_size=2),
            oracle=False,
        ),
    ],
    reference=psroi_pooling,
    errors=[
        ErrorSample(
            [np.ones((1, 3, 4, 4)), np.ones((1, 5))], dict(spatial_scale=1, output_dim=1, pooled_size=2), "data"
        ),
        ErrorSample(
            [np.ones((1, 4, 4, 4)), np.ones((1, 4))], dict(spatial_scale=1, output_dim=1, pooled_size=2), "rois"
        ),
        ErrorSample(
            [np.ones((1, 4, 4, 4)), np.ones((1, 5))],
            dict(spatial_scale=1, output_dim=1, pooled_size=2),
            "image 1",
            at_wait=True,
        ),
    ],
)


def deformable_psroi_pooling(
    data,
    rois,
    trans=None,
    spatial_scale=1,
    output_dim=1,
    group_size=1,
    pooled_size=1,
    part_size=0,
    sample_per_part=1,
    trans_std=0,
    no_trans=False,
):
    parts, extent = part_size or pooled_size, np.array(data.shape[2:])
    per_class = output_dim if no_trans else output_dim // (trans.shape[1] // 2)
    out = np.zeros((len(rois), output_dim, pooled_size, pooled_size))
    for n, channel, i, j in np.ndindex(*out.shape):
        low, size = scaled_corners(rois[n], spatial_scale)
        at = low - 0.5 + np.array([i, j]) * size / pooled_size
        if not no_trans:
            first, part = channel // per_class * 2, np.array([i, j]) * parts // pooled_size
            at = at + trans[(n, [first + 1, first], *part)] * trans_std * size
        plane = data[int(rois[n, 0]), group_channel(channel, (i, j), group_size, pooled_size)]
        values = []
        for sample in np.ndindex(sample_per_part, sample_per_part):
            point = at + np.array(sample) * size / pooled_size / sample_per_part
            if (point >= -0.5).all() and (point <= extent - 0.5).all():
                values.append(bilinear(plane[None], *np.clip(point, 0, extent - 1))[0])
        out[n, channel, i, j] = np.mean(values) if values and rois[n, 0] >= 0 else 0
    return out


record(
    "_contrib_DeformablePSROIPooling",
    dtypes=("float32", "float64"),
    data=(0, 2),
    cast=(0, 1, 2),
    grad=True,
    second_order=False,
    rtol=LOOSE,
    samples=lambda rng: [
        Sample(
            [normal(rng, 2, 16, 6, 5), regions(rng, 4, 2, 12, 10), normal(rng, 4, 4, 2, 2)],
            dict(spatial_scale=0.5, output_dim=4, group_size=2, pooled_size=2, sample_per_part=3, trans_std=0.125),
        ),
        Sample(
            [normal(rng, 1, 9, 6, 5), regions(rng, 3, 1, 6, 5), normal(rng, 3, 2, 2, 2)],
            dict(
                spatial_scale=1,
                output_dim=1,
                group_size=3,
                pooled_size=3,
                part_size=2,
                sample_per_part=2,
                trans_std=0.25,
            ),
        ),
        Sample(
            [normal(rng, 1, 8, 6, 5), regions(rng, 3, 1, 6, 5)],
            dict(spatial_scale=1, output_dim=2, group_size=2, pooled_size=3, sample_per_part=2, no_trans=True),
        ),
    ],
    reference=deformable_psroi_pooling,
    errors=[
        ErrorSample(
            [np.ones((1, 4, 4, 4)), np.ones((1, 5)), np.ones((1, 3, 2, 2))],
            dict(spatial_scale=1, output_dim=1, pooled_size=2, group_size=2),
            "trans",
        ),
        ErrorSample(
            [np.ones((1, 4, 4, 4)), np.ones((1, 5)), np.ones((1, 2, 3, 3))],
            dict(spatial_scale=1, output_dim=1, pooled_size=2, group_size=2),
            "trans",
        ),
        ErrorSample(
            [np.ones((1, 4, 4, 4)), np.ones((1, 5)), np.ones((1, 2, 2, 2))],
            dict(spatial_scale=1, output_dim=1, pooled_size=2, group_size=2, no_trans=True),
            "2 inputs",
        ),
    ],
)
