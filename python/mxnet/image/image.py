# SPDX-License-Identifier: Apache-2.0
"""Functions on single images. Sizes are (width, height); arrays are (height, width, channels)."""
from __future__ import annotations

import math
import random

import numpy as np

from .. import ndarray as nd
from ..base import MXNetError
from .decode import decode

NDArray = nd.NDArray

__all__ = ["center_crop", "color_normalize", "copyMakeBorder", "fixed_crop", "imdecode", "imread", "imresize",
           "imrotate", "random_crop", "random_rotate", "random_size_crop", "resize_short", "scale_down"]


# ---- files

def imdecode(buf, flag=1, to_rgb=True, out=None):
    """The image in an encoded file's contents, as uint8 (height, width, channels).

    Needs OpenCV (`pip install opencv-python-headless`) or Pillow.

    Parameters
    ----------
    buf : bytes, bytearray, numpy.ndarray or NDArray of uint8
    flag : int
        1: three channels, 0: one, gray.
    to_rgb : bool
        The channels are red, green, blue; else blue, green, red.
    """
    if isinstance(buf, NDArray):
        buf = buf.asnumpy()
    if isinstance(buf, np.ndarray):
        buf = np.ascontiguousarray(buf, dtype=np.uint8).tobytes()
    if not isinstance(buf, (bytes, bytearray, memoryview)):
        raise ValueError("imdecode: buf must be of type bytes, bytearray, numpy.ndarray or NDArray, "
                         f"got {type(buf).__name__}")
    return _deliver(decode(bytes(buf), flag, to_rgb, "the buffer"), out)


def imread(filename, flag=1, to_rgb=True, out=None):
    """The image in a file; see `imdecode`."""
    try:
        with open(filename, "rb") as file:
            contents = file.read()
    except OSError as error:
        raise MXNetError(f"imread: {filename} cannot be read: {error.strerror}") from error
    return _deliver(decode(contents, flag, to_rgb, filename), out)


def _deliver(pixels, out):
    if out is None:
        return nd.array(pixels, dtype="uint8")
    out[:] = nd.array(pixels, dtype="uint8")
    return out


# ---- sizes and crops

def imresize(src, w, h, interp=1):
    """An image of another size. `interp`: 0 nearest, 1 bilinear, 2 bicubic, 3 area, 4 Lanczos."""
    return nd._internal._cvimresize(src, w=w, h=h, interp=interp)


def copyMakeBorder(src, top, bot, left, right, type=0, value=0.0, values=()):
    """An image with a border. `type`: 0 a constant, 1 the edge, 2 mirrored, 3 the other side, 4 mirrored at the
    edge."""
    return nd._internal._cvcopyMakeBorder(src, top=top, bot=bot, left=left, right=right, type=type, value=value,
                                          values=values)


def interp_method(interp, old_size=None, new_size=None):
    """The filter of a number: 9 chooses by the sizes (width, height), 10 at random."""
    if interp == 9:
        if not old_size:
            return 2
        grows = [new > old for old, new in zip(old_size, new_size)]
        shrinks = [new < old for old, new in zip(old_size, new_size)]
        return 2 if all(grows) else 3 if all(shrinks) else 1
    if interp == 10:
        return random.randint(0, 4)
    if interp not in (0, 1, 2, 3, 4):
        raise ValueError(f"Unknown interp method {interp}")
    return interp


def scale_down(src_size, size):
    """`size` made smaller, in its own proportions, until it fits into `src_size`; both (width, height).

    >>> scale_down((640, 480), (720, 120))
    (640, 106)
    """
    w, h = size
    src_w, src_h = src_size
    if src_h < h:
        w, h = w * src_h / h, src_h
    if src_w < w:
        w, h = src_w, h * src_w / w
    return int(w), int(h)


def resize_short(src, size, interp=2):
    """An image whose shorter side is `size`."""
    h, w, _ = src.shape
    new = (size, size * h // w) if h > w else (size * w // h, size)
    return imresize(src, *new, interp=interp_method(interp, (w, h), new))


def fixed_crop(src, x0, y0, w, h, size=None, interp=2):
    """The rectangle of w columns from x0 on and h rows from y0 on; resized to `size` (width, height) if given."""
    out = nd.slice(src, begin=(y0, x0, 0), end=(y0 + h, x0 + w, src.shape[2]))
    if size is None or (w, h) == tuple(size):
        return out
    return imresize(out, *size, interp=interp_method(interp, (w, h), size))


def random_crop(src, size, interp=2):
    """A random rectangle of this size, or smaller in its proportions if the image is, resized to `size`.

    Returns (image, (x0, y0, width, height)).
    """
    h, w, _ = src.shape
    new_w, new_h = scale_down((w, h), size)
    x0, y0 = random.randint(0, w - new_w), random.randint(0, h - new_h)
    return fixed_crop(src, x0, y0, new_w, new_h, size, interp), (x0, y0, new_w, new_h)


def center_crop(src, size, interp=2):
    """As `random_crop`, from the middle."""
    h, w, _ = src.shape
    new_w, new_h = scale_down((w, h), size)
    x0, y0 = (w - new_w) // 2, (h - new_h) // 2
    return fixed_crop(src, x0, y0, new_w, new_h, size, interp), (x0, y0, new_w, new_h)


def random_size_crop(src, size, area, ratio, interp=2, **kwargs):
    """A random rectangle whose part of the image's area and whose proportions lie in ranges, resized to `size`.

    Parameters
    ----------
    area : float or (float, float)
        Range of the part of the area; one number is the smallest.
    ratio : (float, float)
        Range of width / height.

    Returns (image, (x0, y0, width, height)).
    """
    area = kwargs.pop("min_area", area)
    if kwargs:
        raise TypeError(f"random_size_crop: unexpected keyword arguments {sorted(kwargs)}")
    area = (area, 1.0) if np.isscalar(area) else area
    h, w, _ = src.shape
    for _ in range(10):
        target = random.uniform(*area) * h * w
        proportion = math.exp(random.uniform(math.log(ratio[0]), math.log(ratio[1])))
        new_w, new_h = round(math.sqrt(target * proportion)), round(math.sqrt(target / proportion))
        if 0 < new_w <= w and 0 < new_h <= h:
            x0, y0 = random.randint(0, w - new_w), random.randint(0, h - new_h)
            return fixed_crop(src, x0, y0, new_w, new_h, size, interp), (x0, y0, new_w, new_h)
    return center_crop(src, size, interp)


def color_normalize(src, mean, std=None):
    """(src - mean) / std; `mean` and `std` may be None."""
    if mean is not None:
        src = src - mean
    if std is not None:
        src = src / std
    return src


# ---- rotation

def imrotate(src, rotation_degrees, zoom_in=False, zoom_out=False):
    """Images turned around their middle; what comes from outside is 0.

    Parameters
    ----------
    src : NDArray of float32
        (channels, height, width), or a batch (n, channels, height, width).
    rotation_degrees : number, or NDArray with one for each image of a batch
    zoom_in : bool
        Enlarge until nothing from outside is seen.
    zoom_out : bool
        Shrink until the whole image is seen.
    """
    if zoom_in and zoom_out:
        raise ValueError("`zoom_in` and `zoom_out` cannot be both True")
    if src.dtype is not np.float32:
        raise TypeError("Only `float32` images are supported by this function")
    if src.ndim not in (3, 4):
        raise ValueError("Only 3D and 4D are supported by this function")
    batch = src.expand_dims(0) if src.ndim == 3 else src
    angles = rotation_degrees.asnumpy() if isinstance(rotation_degrees, NDArray) else np.asarray(rotation_degrees)
    if angles.ndim and (src.ndim == 3 or len(angles) != len(batch)):
        raise ValueError(f"imrotate: one angle is needed, or one for each image, got shape {angles.shape} for images "
                         f"of shape {src.shape}")
    angles = np.broadcast_to(angles, len(batch))
    grids = np.stack([_rotation_grid(*src.shape[-2:], math.radians(a), zoom_in, zoom_out) for a in angles])
    out = nd.BilinearSampler(batch, nd.array(grids, ctx=src.context))
    return out[0] if src.ndim == 3 else out


def _rotation_grid(height, width, angle, zoom_in, zoom_out):
    """Where the pixels of the result come from, in [-1, 1] from edge to edge: (2, height, width), x first."""
    y, x = np.mgrid[:height, :width].astype("float64")
    x -= (width - 1) / 2
    y -= (height - 1) / 2
    cos, sin = math.cos(angle), math.sin(angle)
    from_x, from_y = cos * x - sin * y, sin * x + cos * y
    scale_x, scale_y = max(width - 1, 1) / 2, max(height - 1, 1) / 2
    reach = abs(cos) + abs(sin) * max(width / height, height / width)
    zoom = 1 / reach if zoom_in else reach if zoom_out else 1
    return np.stack([from_x / scale_x, from_y / scale_y]) * zoom


def random_rotate(src, angle_limits, zoom_in=False, zoom_out=False):
    """Images turned by random angles between the two limits, in degrees; each image of a batch by its own."""
    if src.ndim == 3:
        return imrotate(src, random.uniform(*angle_limits), zoom_in, zoom_out)
    return imrotate(src, nd.array([random.uniform(*angle_limits) for _ in range(len(src))]), zoom_in, zoom_out)
