# SPDX-License-Identifier: Apache-2.0
"""Encoded images: OpenCV's decoders, or Pillow's where OpenCV is not installed."""
from __future__ import annotations

import io

import numpy as np

from ..base import MXNetError


def decode(contents, flag, to_rgb, name):
    """Pixels (height, width, 1 or 3) of an encoded image; MXNetError names what cannot be decoded."""
    if flag not in (0, 1):
        raise ValueError(f"imdecode: flag must be 0 (gray) or 1 (color), got {flag}")
    if not contents:
        raise MXNetError(f"imdecode: {name} is empty")
    try:
        import cv2
    except ImportError:
        return _decode_with_pillow(contents, flag, to_rgb, name)
    pixels = cv2.imdecode(np.frombuffer(contents, np.uint8), cv2.IMREAD_COLOR if flag else cv2.IMREAD_GRAYSCALE)
    if pixels is None:
        raise MXNetError(f"imdecode: {name} holds no image that OpenCV can decode")
    if not flag:
        return pixels[..., None]
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB) if to_rgb else pixels


def _decode_with_pillow(contents, flag, to_rgb, name):
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("decoding images needs OpenCV or Pillow: pip install opencv-python-headless") from error
    try:
        with Image.open(io.BytesIO(contents)) as image:
            pixels = np.asarray(image.convert("RGB" if flag else "L"))
    except Exception as error:  # Pillow raises whatever its decoders raise
        raise MXNetError(f"imdecode: {name} holds no image that Pillow can decode: {error}") from error
    if not flag:
        return pixels[..., None]
    return pixels if to_rgb else pixels[..., ::-1]
