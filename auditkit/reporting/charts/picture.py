"""Pictures with a signed overlay, as PNG data: grey below, one hue for and one against on top."""

import base64
import struct
import zlib
from collections.abc import Sequence

_FOR, _AGAINST = (0, 84, 140), (196, 74, 0)
_LIGHTEST, _DARKEST = 255, 118

Grid = Sequence[Sequence[float]]


def picture_data_uri(pixels: Grid, overlay: Grid = ()) -> str:
    """A picture as a ``data:`` address; the browser enlarges it.

    Args:
        pixels: Grey values in ``[0, 1]``, height x width; 0 is drawn as paper.
        overlay: Weights in ``[-1, 1]``, same shape, or empty.
    """
    rows = [
        [_blend(grey, overlay[y][x] if overlay else 0.0, bool(overlay)) for x, grey in enumerate(row)]
        for y, row in enumerate(pixels)
    ]
    return "data:image/png;base64," + base64.b64encode(png(rows)).decode("ascii")


def png(rows: Sequence[Sequence[tuple[int, int, int]]]) -> bytes:
    """An 8-bit RGB picture as PNG bytes (ISO/IEC 15948: signature, IHDR, IDAT, IEND)."""
    height, width = len(rows), len(rows[0]) if rows else 0
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    lines = b"".join(b"\0" + bytes(channel for pixel in row for channel in pixel) for row in rows)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _blend(grey: float, weight: float, has_overlay: bool) -> tuple[int, int, int]:
    darkest = _DARKEST if has_overlay else 20
    base = _LIGHTEST - min(1.0, max(0.0, grey)) * (_LIGHTEST - darkest)
    hue = _FOR if weight > 0 else _AGAINST
    share = min(1.0, abs(weight)) * 0.92
    red, green, blue = (round(base * (1 - share) + channel * share) for channel in hue)
    return red, green, blue
