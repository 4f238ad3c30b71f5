"""Pictures with a signed overlay, as PNG data: grey below, one hue for and one against on top.

What speaks against is striped as well, so that the two stay apart in print without colour.
"""

import base64
import struct
import zlib
from collections.abc import Sequence

_FOR, _AGAINST = (0, 84, 140), (196, 74, 0)
_LIGHTEST, _DARKEST, _DARKEST_BELOW = 255, 20, 150
"""Of the grey values; below an overlay the picture is kept faint."""

_PAPER = (255, 255, 255)
_SIDE = 144
_STRIPE, _GAP = 2, 6
_SEEN = 0.12
"""Weights whose hue is seen; lighter ones get no stripes."""

Grid = Sequence[Sequence[float]]
Colour = tuple[int, int, int]


def picture_data_uri(pixels: Grid, overlay: Grid = ()) -> str:
    """A picture as a ``data:`` address, enlarged by :func:`enlargement`.

    Args:
        pixels: Grey values in ``[0, 1]``, height x width; 0 is drawn as paper.
        overlay: Weights in ``[-1, 1]``, same shape, or empty.
    """
    times = enlargement(pixels)
    rows = []
    for y, row in enumerate(pixels):
        weights = overlay[y] if overlay else [0.0] * len(row)
        pairs = [
            (colour, _PAPER if weight <= -_SEEN else colour)
            for grey, weight in zip(row, weights, strict=True)
            for colour in (_blend(grey, weight, bool(overlay)),)
        ]
        rows += [
            [pairs[x // times][(x + line) % _GAP < _STRIPE] for x in range(len(row) * times)]
            for line in range(y * times, (y + 1) * times)
        ]
    return "data:image/png;base64," + base64.b64encode(png(rows)).decode("ascii")


def enlargement(pixels: Grid) -> int:
    """How often each pixel is drawn across and down: stripes must fit in, and eyes have something to see."""
    widest = max(len(pixels), len(pixels[0]) if pixels else 0, 1)
    return max(1, round(_SIDE / widest))


def png(rows: Sequence[Sequence[Colour]]) -> bytes:
    """An 8-bit RGB picture as PNG bytes (ISO/IEC 15948: signature, IHDR, IDAT, IEND)."""
    height, width = len(rows), len(rows[0]) if rows else 0
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    lines = b"".join(b"\0" + bytes(channel for pixel in row for channel in pixel) for row in rows)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _blend(grey: float, weight: float, has_overlay: bool) -> Colour:
    darkest = _DARKEST_BELOW if has_overlay else _DARKEST
    base = _LIGHTEST - min(1.0, max(0.0, grey)) * (_LIGHTEST - darkest)
    hue = _FOR if weight > 0 else _AGAINST
    # the root lifts weights that would else be lost in the grey
    share = min(1.0, abs(weight)) ** 0.75
    red, green, blue = (round(base * (1 - share) + channel * share) for channel in hue)
    return red, green, blue
