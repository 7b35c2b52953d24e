# SPDX-License-Identifier: Apache-2.0
"""Draws curves and images as an SVG file with nothing but NumPy, for machines without matplotlib."""

import base64
import math
import struct
import zlib

import numpy as np

COLOURS = ("#1f77b4", "#ff7f0e")
PANEL = (520, 300)
TILE = 72


def png(image):
    """A grey image with values in [0, 1], dark where large, as a PNG file."""
    grey = np.uint8(255 * (1 - np.clip(image, 0, 1)))
    rows = b"".join(b"\0" + row.tobytes() for row in grey)

    def part(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", grey.shape[1], grey.shape[0], 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", header) + part(b"IDAT", zlib.compress(rows)) + part(b"IEND", b"")


def text(x, y, words, colour="black", anchor="middle", size=13):
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}" font-size="{size}">{words}</text>'


def panel(left, title, curves, logarithmic):
    """The elements of one diagram; `curves` is {label: values}, one value for each epoch."""
    width, height = PANEL
    x0, x1, y0, y1 = left + 55, left + width - 15, height - 40, 35
    scale = (lambda v: math.log10(max(v, 1e-6))) if logarithmic else float
    values = [scale(v) for series in curves.values() for v in series]
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    count = max(len(series) for series in curves.values())

    def point(i, value):
        return f"{x0 + (x1 - x0) * i / max(count - 1, 1):.1f},{y0 - (y0 - y1) * (scale(value) - low) / span:.1f}"

    yield text((x0 + x1) / 2, 22, title, size=15)
    yield text((x0 + x1) / 2, height - 8, "epoch")
    for i in range(5):
        y, value = y0 - (y0 - y1) * i / 4, low + span * i / 4
        yield f'<line x1="{x0}" x2="{x1}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
        yield text(x0 - 6, y + 4, f"{10 ** value if logarithmic else value:.3g}", anchor="end", size=11)
    for x, label in ((x0, "1"), (x1, str(count))):
        yield text(x, y0 + 16, label, size=11)
    legend = y1 + 18 if logarithmic else y0 - 28  # where falling, or rising, curves leave room
    for i, (label, series) in enumerate(curves.items()):
        points = " ".join(point(epoch, value) for epoch, value in enumerate(series))
        yield f'<polyline points="{points}" fill="none" stroke="{COLOURS[i]}" stroke-width="2"/>'
        yield text(x1 - 5, legend + 18 * i, label, COLOURS[i], "end")


def tile(x, y, image, caption, right):
    """One image with its caption, red if the prediction was wrong."""
    data = base64.b64encode(png(image)).decode()
    yield text(x + TILE / 2, y - 5, caption, "black" if right else "red")
    yield (f'<image x="{x}" y="{y}" width="{TILE}" height="{TILE}" style="image-rendering:pixelated" '
           f'href="data:image/png;base64,{data}"/>')


def write(path, panels, tiles, columns=12):
    """`panels`: (title, {label: values}, logarithmic); `tiles`: (image, caption, right)."""
    elements = []
    for i, (title, curves, logarithmic) in enumerate(panels):
        elements += panel(i * PANEL[0], title, curves, logarithmic)
    for i, (image, caption, right) in enumerate(tiles):
        row, column = divmod(i, columns)
        elements += tile(20 + column * (TILE + 14), PANEL[1] + 30 + row * (TILE + 30), image, caption, right)
    width = max(len(panels) * PANEL[0], 40 + columns * (TILE + 14))
    height = PANEL[1] + 20 + -(-len(tiles) // columns) * (TILE + 30)
    body = "\n".join(elements)
    path.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
                    f'font-family="sans-serif"><rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n')
