# SPDX-License-Identifier: Apache-2.0
"""Records of the operators that sample and resize images, against plain NumPy."""

import numpy as np
from ops.harness import FLOATS, ErrorSample, Sample, record

LOOSE = {"float32": 1e-4, "float16": 2e-2, "bfloat16": 8e-2, "gradient": 1e-4}


def normal(rng, *shape):
    return rng.standard_normal(shape)


def sample_points(image, y, x):
    """Bilinear samples of (channels, height, width); pixels outside count as 0."""
    height, width = image.shape[1:]
    top, left = np.floor(y).astype(int), np.floor(x).astype(int)
    out = 0
    for row, column in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        weight = (1 - np.abs(y - row)) * (1 - np.abs(x - column)) * inside
        out = out + weight * image[:, row.clip(0, height - 1), column.clip(0, width - 1)]
    return out


def bilinear_sampler(data, grid):
    height, width = data.shape[2:]
    at = [(grid[:, 1] + 1) * (height - 1) / 2, (grid[:, 0] + 1) * (width - 1) / 2]
    out = np.zeros((*data.shape[:2], *grid.shape[2:]))
    for n in range(len(data)):
        out[n] = sample_points(data[n], at[0][n], at[1][n])
    return out


record(
    "BilinearSampler",
    dtypes=("float32", "float64", "float16"),
    grad=True,
    rtol={**LOOSE, "float16": 5e-2},
    samples=lambda rng: [
        Sample([normal(rng, 2, 3, 5, 4), rng.uniform(-0.9, 0.9, (2, 2, 3, 6))]),
        Sample([normal(rng, 1, 10, 3, 3), rng.uniform(-1.6, 1.6, (1, 2, 20, 20))], oracle=False),  # writes elsewhere
        Sample([normal(rng, 0, 2, 3, 3), normal(rng, 0, 2, 3, 3)], oracle=False),
        Sample([normal(rng, 1, 2, 3, 3), normal(rng, 1, 2, 0, 3)], oracle=False),
    ],
    reference=bilinear_sampler,
    errors=[
        ErrorSample([np.ones((1, 1, 2, 2)), np.ones((2, 2, 2, 2))], {}, "grid"),
        ErrorSample([np.ones((1, 1, 2, 2)), np.ones((1, 3, 2, 2))], {}, "grid"),
        ErrorSample([np.ones((1, 2, 2)), np.ones((1, 2, 2, 2))], {}, "data"),
    ],
)


def regular_grid(rows, columns):
    x, y = np.meshgrid(np.linspace(-1, 1, columns), np.linspace(-1, 1, rows))
    return np.stack([x.ravel(), y.ravel(), np.ones(x.size)])


def affine_grid(maps, shape):
    return (maps.reshape(-1, 2, 3) @ regular_grid(*shape)).reshape(-1, 2, *shape)


def grid_generator(data, transform_type, target_shape=(0, 0)):
    if transform_type == "affine":
        return affine_grid(data, target_shape)
    rows, columns = data.shape[2:]
    place = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)))
    return (data + place) * 2 / np.array([columns - 1, rows - 1]).reshape(2, 1, 1) - 1


record(
    "GridGenerator",
    dtypes=FLOATS,
    grad=True,
    rtol=LOOSE,
    samples=lambda rng: [
        Sample([normal(rng, 2, 6)], dict(transform_type="affine", target_shape=(3, 4))),
        Sample([normal(rng, 2, 2, 3, 5)], dict(transform_type="warp")),
        Sample([normal(rng, 0, 6)], dict(transform_type="affine", target_shape=(3, 4)), oracle=False),
    ],
    reference=grid_generator,
    errors=[
        ErrorSample([np.ones((1, 5))], dict(transform_type="affine", target_shape=(2, 2)), "data"),
        ErrorSample([np.ones((1, 6))], dict(transform_type="affine"), "target_shape"),
        ErrorSample([np.ones((1, 6))], dict(transform_type="affine", target_shape=(2,)), "target_shape"),
        ErrorSample([np.ones((1, 1, 2, 2))], dict(transform_type="warp"), "data"),
        ErrorSample([np.ones((1, 6))], dict(transform_type="bend"), "transform_type"),
    ],
)

BILINEAR = dict(transform_type="affine", sampler_type="bilinear")
record(
    "SpatialTransformer",
    dtypes=("float32", "float64"),
    grad=True,
    rtol=LOOSE,
    samples=lambda rng: [
        Sample(
            [normal(rng, 2, 3, 5, 4), np.tile([0.5, 0.1, 0.2, -0.1, 0.4, 0.1], (2, 1)) + rng.random((2, 6)) / 10],
            dict(target_shape=(3, 6), **BILINEAR),
        ),
        Sample([normal(rng, 1, 2, 4, 4), normal(rng, 1, 6)], dict(target_shape=(5, 5), **BILINEAR), oracle=False),
    ],
    reference=lambda data, loc, target_shape, **kinds: bilinear_sampler(data, affine_grid(loc, target_shape)),
    errors=[
        ErrorSample([np.ones((1, 1, 3, 4)), np.ones((1, 5))], dict(target_shape=(2, 2), **BILINEAR), "loc"),
        ErrorSample([np.ones((1, 1, 3, 4)), np.ones((1, 6))], BILINEAR, "target_shape"),
    ],
)


def adaptive_avg_pooling(data, output_size=()):
    size = (*output_size, *output_size)[:2] if len(output_size) == 1 else output_size or (1, 1)
    out = np.zeros((*data.shape[:2], *size))
    for i, j in np.ndindex(*size):
        rows, columns = (
            slice(k * n // m, -(-(k + 1) * n // m)) for k, n, m in zip((i, j), data.shape[2:], size, strict=True)
        )
        out[:, :, i, j] = data[:, :, rows, columns].mean((2, 3))
    return out


record(
    "_contrib_AdaptiveAvgPooling2D",
    dtypes=FLOATS,
    grad=True,
    rtol=LOOSE,
    samples=lambda rng: [
        Sample([normal(rng, 2, 3, 5, 7)], dict(output_size=(3, 4))),
        Sample([normal(rng, 2, 3, 5, 7)]),
        Sample([normal(rng, 1, 17, 3, 2)], dict(output_size=(5,))),
        Sample([normal(rng, 1, 2, 3, 2)], dict(output_size=(0, 2)), oracle=False),
    ],
    reference=adaptive_avg_pooling,
    errors=[
        ErrorSample([np.ones((1, 1, 4))], dict(output_size=2), "data"),
        ErrorSample([np.ones((1, 1, 4, 4))], dict(output_size=(2, 2, 2)), "output_size"),
        ErrorSample([np.ones((1, 1, 4, 4))], dict(output_size=(-1, 2)), "output_size"),
        ErrorSample([np.ones((1, 1, 0, 4))], dict(output_size=(1, 2)), "no pixels"),
        ErrorSample([np.ones((1, 1, 4, 4), "int32")], dict(output_size=2), "floating point"),
    ],
)


def resize(data, height, width, align_corners):
    def axis(n, size):
        if align_corners:
            at = np.arange(size) * ((n - 1) / (size - 1) if size > 1 else 0)
        else:
            at = np.maximum((np.arange(size) + 0.5) * (n / size if size > 1 else 0) - 0.5, 0)
        low = np.minimum(at.astype(int), n - 1)
        weights = np.zeros((size, n))
        weights[np.arange(size), low] += 1 - (at - low)
        weights[np.arange(size), np.minimum(low + 1, n - 1)] += at - low
        return weights

    rows, columns = axis(data.shape[2], height), axis(data.shape[3], width)
    return np.einsum("yh,xw,nchw->ncyx", rows, columns, data)


def resized(n, mode, given, scale):
    if mode == "size":
        return given if scale is None else int(n * scale)
    if mode == "odd_scale":
        return int(n * scale) if n % 2 == 0 else int((n - 1) * scale) + 1
    even = mode.startswith("to_even")
    step = (n % 2 if even else 1 - n % 2) * (1 if mode.endswith("up") else -1)
    return n + step


def bilinear_resize(
    data, like=None, height=1, width=1, scale_height=None, scale_width=None, mode="size", align_corners=True
):
    if mode == "like":
        return resize(data, *like.shape[2:], align_corners)
    if scale_height is None:
        scale_width = None
    size = resized(data.shape[2], mode, height, scale_height), resized(data.shape[3], mode, width, scale_width)
    return resize(data, *size, align_corners)


record(
    "_contrib_BilinearResize2D",
    dtypes=FLOATS,
    data=(0,),
    cast=(0, 1),
    grad=True,
    rtol=LOOSE,
    samples=lambda rng: [
        Sample([normal(rng, 2, 3, 4, 5)], dict(height=7, width=3)),
        Sample([normal(rng, 2, 3, 4, 5)], dict(height=3, width=9, align_corners=False)),
        Sample([normal(rng, 1, 2, 4, 5)], dict(height=1, width=1, align_corners=False)),
        Sample([normal(rng, 1, 2, 4, 5)], dict(scale_height=1.5, scale_width=0.5)),
        Sample([normal(rng, 1, 2, 4, 5)], dict(height=3, width=2, scale_width=0.5)),
        Sample([normal(rng, 1, 2, 4, 5)], dict(scale_height=1.5, scale_width=2, mode="odd_scale")),
        *(
            Sample([normal(rng, 1, 2, 4, 5)], dict(mode=mode))
            for mode in ("to_even_down", "to_even_up", "to_odd_down", "to_odd_up")
        ),
        Sample([normal(rng, 1, 2, 4, 5), normal(rng, 1, 1, 2, 6)], dict(mode="like")),
        Sample([normal(rng, 1, 2, 1, 5)], dict(mode="to_even_down"), oracle=False),
    ],
    reference=bilinear_resize,
    errors=[
        ErrorSample([np.ones((1, 1, 4))], dict(height=2, width=2), "data"),
        ErrorSample([np.ones((1, 1, 4, 4))], dict(height=0, width=2), "height"),
        ErrorSample([np.ones((1, 1, 4, 4))], dict(scale_height=2), "scale_width"),
        ErrorSample([np.ones((1, 1, 4, 4))], dict(mode="odd_scale"), "scale_width"),
        ErrorSample([np.ones((1, 1, 4, 4))], dict(mode="like"), "2 inputs"),
        ErrorSample([np.ones((1, 1, 4, 4)), np.ones((1, 2, 2))], dict(mode="like"), "like"),
        ErrorSample([np.ones((1, 1, 0, 4))], dict(height=2, width=2), "no pixels"),
    ],
)
