# SPDX-License-Identifier: Apache-2.0
"""Augmentation of training images: callables on arrays (height, width, channels)."""
from __future__ import annotations

import json
import random

import numpy as np

from .. import ndarray as nd
from . import image

__all__ = ["Augmenter", "BrightnessJitterAug", "CastAug", "CenterCropAug", "ColorJitterAug", "ColorNormalizeAug",
           "ContrastJitterAug", "CreateAugmenter", "ForceResizeAug", "HorizontalFlipAug", "HueJitterAug",
           "LightingAug", "RandomCropAug", "RandomGrayAug", "RandomOrderAug", "RandomSizedCropAug", "ResizeAug",
           "SaturationJitterAug", "SequentialAug"]

_LUMA = (0.299, 0.587, 0.114)


class Augmenter:
    """Base of what changes an image. Keyword arguments are what `dumps` tells."""

    def __init__(self, **kwargs):
        self._kwargs = {}
        for key, value in kwargs.items():
            if isinstance(value, nd.NDArray):
                value = value.asnumpy()
            if isinstance(value, (np.ndarray, np.generic)):
                value = value.tolist()
            self._kwargs[key] = value

    def dumps(self):
        """The name and arguments as JSON."""
        return json.dumps([type(self).__name__.lower(), self._kwargs])

    def __call__(self, src):
        raise NotImplementedError(f"{type(self).__name__} must define __call__(src)")


class SequentialAug(Augmenter):
    """Augmenters one after the other."""

    def __init__(self, ts):
        super().__init__()
        self.ts = ts

    def dumps(self):
        """The name, and what the augmenters tell."""
        return [type(self).__name__.lower(), [augmenter.dumps() for augmenter in self.ts]]

    def __call__(self, src):
        for augmenter in self.ts:
            src = augmenter(src)
        return src


class RandomOrderAug(SequentialAug):
    """Augmenters in a new random order at each call."""

    def __call__(self, src):
        for augmenter in random.sample(self.ts, len(self.ts)):
            src = augmenter(src)
        return src


class ResizeAug(Augmenter):
    """The shorter side becomes `size`."""

    def __init__(self, size, interp=2):
        super().__init__(size=size, interp=interp)
        self.size, self.interp = size, interp

    def __call__(self, src):
        return image.resize_short(src, self.size, self.interp)


class ForceResizeAug(Augmenter):
    """The image becomes of `size` (width, height)."""

    def __init__(self, size, interp=2):
        super().__init__(size=size, interp=interp)
        self.size, self.interp = size, interp

    def __call__(self, src):
        h, w, _ = src.shape
        return image.imresize(src, *self.size, interp=image.interp_method(self.interp, (w, h), self.size))


class RandomCropAug(Augmenter):
    """A random crop of `size` (width, height)."""

    def __init__(self, size, interp=2):
        super().__init__(size=size, interp=interp)
        self.size, self.interp = size, interp

    def __call__(self, src):
        return image.random_crop(src, self.size, self.interp)[0]


class CenterCropAug(Augmenter):
    """The middle, of `size` (width, height)."""

    def __init__(self, size, interp=2):
        super().__init__(size=size, interp=interp)
        self.size, self.interp = size, interp

    def __call__(self, src):
        return image.center_crop(src, self.size, self.interp)[0]


class RandomSizedCropAug(Augmenter):
    """A random crop of random area and proportions, resized to `size`; see `random_size_crop`."""

    def __init__(self, size, area, ratio, interp=2, **kwargs):
        area = kwargs.pop("min_area", area)
        if kwargs:
            raise TypeError(f"RandomSizedCropAug: unexpected keyword arguments {sorted(kwargs)}")
        super().__init__(size=size, area=area, ratio=ratio, interp=interp)
        self.size, self.area, self.ratio, self.interp = size, area, ratio, interp

    def __call__(self, src):
        return image.random_size_crop(src, self.size, self.area, self.ratio, self.interp)[0]


class HorizontalFlipAug(Augmenter):
    """Mirrors with probability `p`."""

    def __init__(self, p):
        super().__init__(p=p)
        self.p = p

    def __call__(self, src):
        return nd.flip(src, axis=1) if random.random() < self.p else src


class CastAug(Augmenter):
    """Changes the dtype."""

    def __init__(self, typ="float32"):
        super().__init__(type=typ)
        self.typ = typ

    def __call__(self, src):
        return src.astype(self.typ)


class BrightnessJitterAug(Augmenter):
    """Multiplies by a factor from [1 - brightness, 1 + brightness]."""

    def __init__(self, brightness):
        super().__init__(brightness=brightness)
        self.brightness = brightness

    def __call__(self, src):
        return src * (1 + random.uniform(-self.brightness, self.brightness))


class ContrastJitterAug(Augmenter):
    """Away from the mean luma, or towards it, by a factor from [1 - contrast, 1 + contrast]."""

    def __init__(self, contrast):
        super().__init__(contrast=contrast)
        self.contrast = contrast

    def __call__(self, src):
        factor = 1 + random.uniform(-self.contrast, self.contrast)
        gray = (src * nd.array(_LUMA, ctx=src.context)).sum() * (1 - factor) / (src.shape[0] * src.shape[1])
        return src * factor + gray


class SaturationJitterAug(Augmenter):
    """Away from the luma of each pixel, or towards it, by a factor from [1 - saturation, 1 + saturation]."""

    def __init__(self, saturation):
        super().__init__(saturation=saturation)
        self.saturation = saturation

    def __call__(self, src):
        factor = 1 + random.uniform(-self.saturation, self.saturation)
        gray = (src * nd.array(_LUMA, ctx=src.context)).sum(axis=2, keepdims=True)
        return src * factor + gray * (1 - factor)


class HueJitterAug(Augmenter):
    """Turns colors around the gray axis of YIQ by up to half of `hue` circles."""

    _to_yiq = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.321], [0.211, -0.523, 0.311]])
    _from_yiq = np.array([[1.0, 0.956, 0.621], [1.0, -0.272, -0.647], [1.0, -1.107, 1.705]])

    def __init__(self, hue):
        super().__init__(hue=hue)
        self.hue = hue

    def __call__(self, src):
        angle = random.uniform(-self.hue, self.hue) * np.pi
        cos, sin = np.cos(angle), np.sin(angle)
        turn = np.array([[1.0, 0.0, 0.0], [0.0, cos, -sin], [0.0, sin, cos]])
        return nd.dot(src, nd.array((self._from_yiq @ turn @ self._to_yiq).T, ctx=src.context))


class ColorJitterAug(RandomOrderAug):
    """Brightness, contrast and saturation in random order."""

    def __init__(self, brightness, contrast, saturation):
        parts = ((brightness, BrightnessJitterAug), (contrast, ContrastJitterAug), (saturation, SaturationJitterAug))
        super().__init__([make(amount) for amount, make in parts if amount > 0])


class LightingAug(Augmenter):
    """Adds a color along the principal axes `eigvec`, of lengths `eigval`, of the colors of the data."""

    def __init__(self, alphastd, eigval, eigvec):
        super().__init__(alphastd=alphastd, eigval=eigval, eigvec=eigvec)
        self.alphastd, self.eigval, self.eigvec = alphastd, np.asarray(eigval), np.asarray(eigvec)

    def __call__(self, src):
        alpha = np.random.normal(0, self.alphastd, size=(3,))
        return src + nd.array(np.dot(self.eigvec * alpha, self.eigval), ctx=src.context)


class ColorNormalizeAug(Augmenter):
    """(src - mean) / std for each channel; either may be None."""

    def __init__(self, mean, std):
        self.mean = mean if mean is None or isinstance(mean, nd.NDArray) else nd.array(mean)
        self.std = std if std is None or isinstance(std, nd.NDArray) else nd.array(std)
        super().__init__(mean=self.mean, std=self.std)

    def __call__(self, src):
        return image.color_normalize(src, self.mean, self.std)


class RandomGrayAug(Augmenter):
    """Makes all channels alike with probability `p`."""

    _weights = np.array([[0.21], [0.72], [0.07]]) @ np.ones((1, 3))

    def __init__(self, p):
        super().__init__(p=p)
        self.p = p

    def __call__(self, src):
        return nd.dot(src, nd.array(self._weights, ctx=src.context)) if random.random() < self.p else src


def CreateAugmenter(data_shape, resize=0, rand_crop=False, rand_resize=False, rand_mirror=False, mean=None, std=None,
                    brightness=0, contrast=0, saturation=0, hue=0, pca_noise=0, rand_gray=0, inter_method=2):
    """The usual list of augmenters for images of `data_shape` (channels, height, width).

    Parameters
    ----------
    resize : int
        The shorter side is brought to this length first; 0: it is not.
    rand_crop, rand_resize, rand_mirror : bool
        Crop at random instead of in the middle; of random area and proportions; mirror half of the images.
    mean, std : None, True (those of ImageNet) or one number for each channel
    brightness, contrast, saturation, hue, pca_noise, rand_gray : float
        Amounts of the changes of light and color; 0: none.
    inter_method : int
        Filter for sizes: 0-4 as in `imresize`, 9 by the sizes, 10 at random.
    """
    size = (data_shape[2], data_shape[1])
    augmenters = [ResizeAug(resize, inter_method)] if resize > 0 else []
    if rand_resize:
        if not rand_crop:
            raise ValueError("CreateAugmenter: rand_resize needs rand_crop")
        augmenters.append(RandomSizedCropAug(size, 0.08, (3.0 / 4.0, 4.0 / 3.0), inter_method))
    else:
        augmenters.append((RandomCropAug if rand_crop else CenterCropAug)(size, inter_method))
    if rand_mirror:
        augmenters.append(HorizontalFlipAug(0.5))
    augmenters.append(CastAug())
    if brightness or contrast or saturation:
        augmenters.append(ColorJitterAug(brightness, contrast, saturation))
    if hue:
        augmenters.append(HueJitterAug(hue))
    if pca_noise > 0:
        augmenters.append(LightingAug(pca_noise, np.array([55.46, 4.794, 1.148]),
                                      np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140],
                                                [-0.5836, -0.6948, 0.4203]])))
    if rand_gray > 0:
        augmenters.append(RandomGrayAug(rand_gray))
    mean = np.array([123.68, 116.28, 103.53]) if mean is True else mean
    std = np.array([58.395, 57.12, 57.375]) if std is True else std
    for name, values in (("mean", mean), ("std", std)):
        if values is not None and np.shape(values) not in ((1,), (3,)):
            raise ValueError(f"CreateAugmenter: {name} must have 1 or 3 entries, got shape {np.shape(values)}")
    if mean is not None or std is not None:
        augmenters.append(ColorNormalizeAug(mean, std))
    return augmenters
