# SPDX-License-Identifier: Apache-2.0
"""Transforms of images: (height, width, channels) as read, (channels, height, width) after ToTensor."""
from __future__ import annotations

import random

import numpy as np

from .... import image
from ...block import Block, HybridBlock
from ...nn import HybridSequential, Sequential

__all__ = ["Cast", "CenterCrop", "Compose", "CropResize", "Normalize", "RandomApply", "RandomBrightness",
           "RandomColorJitter", "RandomContrast", "RandomFlipLeftRight", "RandomFlipTopBottom", "RandomHue",
           "RandomLighting", "RandomResizedCrop", "RandomRotation", "RandomSaturation", "Resize", "Rotate", "ToTensor"]


class Compose(Sequential):
    """Transforms one after the other; those that can be compiled, together."""

    def __init__(self, transforms):
        super().__init__()
        run = []
        for transform in [*transforms, None]:
            if isinstance(transform, HybridBlock):
                run.append(transform)
                continue
            self._add_run(run)
            run = []
            if transform is not None:
                self.add(transform)

    def _add_run(self, blocks):
        if len(blocks) == 1:
            self.add(blocks[0])
        elif blocks:
            together = HybridSequential()
            together.add(*blocks)
            together.hybridize()
            self.add(together)


class Cast(HybridBlock):
    """Changes the dtype."""

    def __init__(self, dtype="float32"):
        super().__init__()
        self._dtype = dtype

    def hybrid_forward(self, F, x):
        return F.cast(x, self._dtype)


class ToTensor(HybridBlock):
    """An image (h, w, c) of numbers in [0, 255], or a batch (n, h, w, c), to float32 (c, h, w) or (n, c, h, w) in [0,
    1].
    """

    def __init__(self):
        super().__init__()

    def hybrid_forward(self, F, x):
        return F.image.to_tensor(x)


class Normalize(HybridBlock):
    """(x - mean) / std for each channel of (c, h, w) or (n, c, h, w); `mean` and `std` are numbers or one for each
    channel.
    """

    def __init__(self, mean=0.0, std=1.0):
        super().__init__()
        for name, value in (("mean", mean), ("std", std)):
            value = np.asarray(value, dtype="float32").reshape(-1, 1, 1)
            setattr(self, name, self.params.get_constant(name, value))
        self.initialize()

    def hybrid_forward(self, F, x, mean, std):
        return F.broadcast_div(F.broadcast_sub(x, mean), std)


class Resize(HybridBlock):
    """Images of another size.

    Parameters
    ----------
    size : int or (int, int)
        (width, height), or one number for both.
    keep_ratio : bool
        With one number: it is the shorter side's.
    interpolation : int
        0 nearest, 1 bilinear, 2 bicubic, 3 area, 4 Lanczos.
    """

    def __init__(self, size, keep_ratio=False, interpolation=1):
        super().__init__()
        self._size, self._keep, self._interpolation = size, keep_ratio, interpolation

    def hybrid_forward(self, F, x):
        return F.image.resize(x, self._size, self._keep, self._interpolation)


class CropResize(HybridBlock):
    """The rectangle of `width` columns from `x` on and `height` rows from `y` on; resized to `size` if given."""

    def __init__(self, x, y, width, height, size=None, interpolation=None):
        super().__init__()
        self._x, self._y, self._width, self._height = x, y, width, height
        self._size, self._interpolation = size, 1 if interpolation is None else interpolation

    def hybrid_forward(self, F, x):
        out = F.image.crop(x, self._x, self._y, self._width, self._height)
        if self._size:
            out = F.image.resize(out, self._size, False, self._interpolation)
        return out


class CenterCrop(Block):
    """The middle of an image, of `size` (width, height) or one number for both; a smaller image is cut to the same
    proportions and resized."""

    def __init__(self, size, interpolation=1):
        super().__init__()
        self._args = (_pair(size), interpolation)

    def forward(self, x):
        return image.center_crop(x, *self._args)[0]


class RandomResizedCrop(Block):
    """A random rectangle, resized to `size` (width, height) or one number for both.

    Parameters
    ----------
    scale : (float, float)
        Range of the rectangle's part of the area.
    ratio : (float, float)
        Range of its width / height.
    """

    def __init__(self, size, scale=(0.08, 1.0), ratio=(3.0 / 4.0, 4.0 / 3.0), interpolation=1):
        super().__init__()
        self._args = (_pair(size), scale, ratio, interpolation)

    def forward(self, x):
        return image.random_size_crop(x, *self._args)[0]


class RandomFlipLeftRight(HybridBlock):
    """Mirrors half of the images."""

    def __init__(self):
        super().__init__()

    def hybrid_forward(self, F, x):
        return F.image.random_flip_left_right(x)


class RandomFlipTopBottom(HybridBlock):
    """Turns half of the images upside down."""

    def __init__(self):
        super().__init__()

    def hybrid_forward(self, F, x):
        return F.image.random_flip_top_bottom(x)


class _RandomFactor(HybridBlock):
    """Changes images by a factor from [max(0, 1 - amount), 1 + amount]."""

    _operator = None

    def __init__(self, amount):
        super().__init__()
        self._range = (max(0, 1 - amount), 1 + amount)

    def hybrid_forward(self, F, x):
        return getattr(F.image, self._operator)(x, *self._range)


class RandomBrightness(_RandomFactor):
    """Multiplies images by a factor from [max(0, 1 - brightness), 1 + brightness]."""

    _operator = "random_brightness"

    def __init__(self, brightness):
        super().__init__(brightness)


class RandomContrast(_RandomFactor):
    """Changes contrast by a factor from [max(0, 1 - contrast), 1 + contrast]."""

    _operator = "random_contrast"

    def __init__(self, contrast):
        super().__init__(contrast)


class RandomSaturation(_RandomFactor):
    """Changes saturation by a factor from [max(0, 1 - saturation), 1 + saturation]."""

    _operator = "random_saturation"

    def __init__(self, saturation):
        super().__init__(saturation)


class RandomHue(_RandomFactor):
    """Turns hues by up to `hue` circles."""

    _operator = "random_hue"

    def __init__(self, hue):
        super().__init__(hue)


class RandomColorJitter(HybridBlock):
    """Random brightness, contrast, saturation and hue, in random order."""

    def __init__(self, brightness=0, contrast=0, saturation=0, hue=0):
        super().__init__()
        self._amounts = (brightness, contrast, saturation, hue)

    def hybrid_forward(self, F, x):
        return F.image.random_color_jitter(x, *self._amounts)


class RandomLighting(HybridBlock):
    """Adds a random color of standard deviation `alpha` along the principal axes of the colors of natural images."""

    def __init__(self, alpha):
        super().__init__()
        self._alpha = alpha

    def hybrid_forward(self, F, x):
        return F.image.random_lighting(x, self._alpha)


class RandomApply(Sequential):
    """Applies a transform, or a list of them, with probability `p`."""

    def __init__(self, transforms, p=0.5):
        super().__init__()
        self.transforms = Compose(transforms) if isinstance(transforms, (list, tuple)) else transforms
        self.p = p

    def forward(self, x):
        return self.transforms(x) if random.random() < self.p else x


class Rotate(Block):
    """Turns float32 images (c, h, w) or (n, c, h, w), as ToTensor gives them, around their middle.

    Parameters
    ----------
    rotation_degrees : float
    zoom_in, zoom_out : bool
        Enlarge until nothing from outside is seen; shrink until the whole image is.
    """

    def __init__(self, rotation_degrees, zoom_in=False, zoom_out=False):
        super().__init__()
        self._args = (rotation_degrees, zoom_in, zoom_out)

    def forward(self, x):
        _require_float32(x)
        return image.imrotate(x, *self._args)


class RandomRotation(Block):
    """Turns images, as Rotate does, by random angles between two limits, with probability `rotate_with_proba`."""

    def __init__(self, angle_limits, zoom_in=False, zoom_out=False, rotate_with_proba=1.0):
        super().__init__()
        low, high = angle_limits
        if low >= high:
            raise ValueError("`angle_limits` must be an ordered tuple")
        if not 0 <= rotate_with_proba <= 1:
            raise ValueError("Probability of rotating the image should be between 0 and 1")
        self._args = (angle_limits, zoom_in, zoom_out)
        self._probability = rotate_with_proba

    def forward(self, x):
        if random.random() >= self._probability:
            return x
        _require_float32(x)
        return image.random_rotate(x, *self._args)


def _pair(size):
    return (size, size) if np.isscalar(size) else tuple(size)


def _require_float32(x):
    if x.dtype is not np.float32:
        raise TypeError("This transformation only supports float32. Consider calling it after ToTensor")
