# SPDX-License-Identifier: Apache-2.0
"""Images."""

from .entry import Array, Op

PIXELS = Array((32, 32, 3), (480, 640, 3))

OPS = {
    "image_to_tensor": Op(
        "nd.image.to_tensor(a)", "a.permute(2,0,1).contiguous().float().div_(255)", a=PIXELS.below(256).of("uint8")
    ),
    "image_to_tensor_batch": Op(
        "nd.image.to_tensor(a)",
        "a.permute(0,3,1,2).contiguous().float().div_(255)",
        a=Array((2, 32, 32, 3), (16, 224, 224, 3)).below(256).of("uint8"),
    ),
    "image_normalize": Op(
        "nd.image.normalize(a, mean=(0.5,0.4,0.3), std=(0.2,0.2,0.2))",
        "(a - m) / s",
        a=Array((3, 32, 32), (3, 480, 640)).within(0.05, 0.95),
        first=("", "m = torch.tensor([0.5,0.4,0.3]).view(3,1,1)\ns = torch.tensor([0.2,0.2,0.2]).view(3,1,1)"),
    ),
    "image_normalize_batch": Op(
        "nd.image.normalize(a, mean=(0.5,0.4,0.3), std=(0.2,0.2,0.2))",
        "(a - m) / s",
        a=Array((2, 3, 32, 32), (16, 3, 224, 224)).within(0.05, 0.95),
        backward="a",
        first=("", "m = torch.tensor([0.5,0.4,0.3]).view(3,1,1)\ns = torch.tensor([0.2,0.2,0.2]).view(3,1,1)"),
    ),
    "image_resize": Op(
        "nd.image.resize(a, (R, R))", a=PIXELS.below(256).of("uint8"), first=("R = 24 if a.shape[0]==32 else 256", "")
    ),
    "image_resize_batch": Op(
        "nd.image.resize(a, (R, R))",
        a=Array((2, 32, 32, 3), (16, 224, 224, 3)).below(256).of("uint8"),
        first=("R = 24 if a.shape[0]==2 else 256", ""),
    ),
    "image_resize_f32": Op(
        "nd.image.resize(a, (R, R))", a=PIXELS.within(0.05, 0.95), first=("R = 24 if a.shape[0]==32 else 256", "")
    ),
    "image_resize_nearest": Op(
        "nd.image.resize(a, (R, R), interp=0)",
        a=PIXELS.below(256).of("uint8"),
        first=("R = 24 if a.shape[0]==32 else 256", ""),
    ),
    "image_resize_cubic": Op(
        "nd.image.resize(a, (R, R), interp=2)",
        a=PIXELS.below(256).of("uint8"),
        first=("R = 24 if a.shape[0]==32 else 256", ""),
    ),
    "image_crop": Op(
        "nd.image.crop(a, 4, 4, W, W)",
        "a[4:4+W, 4:4+W].contiguous()",
        a=PIXELS.below(256).of("uint8"),
        first=("W = 16 if a.shape[0]==32 else 224", "W = 16 if a.shape[0]==32 else 224"),
    ),
    "image_flip_left_right": Op("nd.image.flip_left_right(a)", "a.flip(1)", a=PIXELS.below(256).of("uint8")),
    "image_flip_top_bottom": Op("nd.image.flip_top_bottom(a)", "a.flip(0)", a=PIXELS.below(256).of("uint8")),
    "image_random_flip_lr": Op("nd.image.random_flip_left_right(a)", a=PIXELS.below(256).of("uint8"), compared=False),
    "image_random_brightness": Op(
        "nd.image.random_brightness(a, 0.5, 1.5)", a=PIXELS.below(256).of("uint8"), compared=False
    ),
    "image_random_brightness_f32": Op(
        "nd.image.random_brightness(a, 0.5, 1.5)", a=PIXELS.within(0.05, 0.95), compared=False
    ),
    "image_random_contrast": Op(
        "nd.image.random_contrast(a, 0.5, 1.5)", a=PIXELS.below(256).of("uint8"), compared=False
    ),
    "image_random_saturation": Op(
        "nd.image.random_saturation(a, 0.5, 1.5)", a=PIXELS.below(256).of("uint8"), compared=False
    ),
    "image_random_hue": Op("nd.image.random_hue(a, 0.9, 1.1)", a=PIXELS.below(256).of("uint8"), compared=False),
    "image_random_color_jitter": Op(
        "nd.image.random_color_jitter(a, 0.2, 0.2, 0.2, 0.1)", a=PIXELS.below(256).of("uint8"), compared=False
    ),
    "image_random_lighting": Op("nd.image.random_lighting(a, 0.1)", a=PIXELS.below(256).of("uint8"), compared=False),
    "image_adjust_lighting": Op("nd.image.adjust_lighting(a, (0.1,0.2,0.3))", a=PIXELS.below(256).of("uint8")),
    "cvimresize": Op(
        "nd._internal._cvimresize(a, W, W)",
        a=PIXELS.below(256).of("uint8"),
        first=("W = 24 if a.shape[0]==32 else 224", ""),
    ),
    "cvcopyMakeBorder": Op("nd._internal._cvcopyMakeBorder(a, 4, 4, 4, 4)", a=PIXELS.below(256).of("uint8")),
}
