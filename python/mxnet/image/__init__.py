# SPDX-License-Identifier: Apache-2.0
"""Images as arrays (height, width, channels): files, sizes, crops, rotations, and augmentation of training data."""
from .augment import (Augmenter, BrightnessJitterAug, CastAug, CenterCropAug, ColorJitterAug, ColorNormalizeAug,
                      ContrastJitterAug, CreateAugmenter, ForceResizeAug, HorizontalFlipAug, HueJitterAug, LightingAug,
                      RandomCropAug, RandomGrayAug, RandomOrderAug, RandomSizedCropAug, ResizeAug, SaturationJitterAug,
                      SequentialAug)
from .image import (center_crop, color_normalize, copyMakeBorder, fixed_crop, imdecode, imread, imresize, imrotate,
                    random_crop, random_rotate, random_size_crop, resize_short, scale_down)

__all__ = ["Augmenter", "BrightnessJitterAug", "CastAug", "CenterCropAug", "ColorJitterAug", "ColorNormalizeAug",
           "ContrastJitterAug", "CreateAugmenter", "ForceResizeAug", "HorizontalFlipAug", "HueJitterAug",
           "LightingAug", "RandomCropAug", "RandomGrayAug", "RandomOrderAug", "RandomSizedCropAug", "ResizeAug",
           "SaturationJitterAug", "SequentialAug", "center_crop", "color_normalize", "copyMakeBorder", "fixed_crop",
           "imdecode", "imread", "imresize", "imrotate", "random_crop", "random_rotate", "random_size_crop",
           "resize_short", "scale_down"]
