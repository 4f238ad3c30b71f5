"""One picture file as grey values of a given size. Files are untrusted: few formats, bounded, checked first.

The only place that touches Pillow.
"""

import warnings
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from auditkit.data.rows import ByteArray
from auditkit.errors import DataError, UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = {"PNG": (".png",), "JPEG": (".jpg", ".jpeg"), "WEBP": (".webp",), "BMP": (".bmp",)}
"""Decoders that may see the bytes of a file, and the endings that belong to them."""

MOST_PIXELS = 40_000_000
_LIMIT_B = 64 * 2**20
_DEPTHS = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"})
"""Modes of eight bits and less; of others the conversion to grey would cut off what is above 255."""


def read_grey(path: Path, *, height: int, width: int) -> ByteArray:
    """Grey values in ``[0, 255]``, shape ``(height, width)``.

    Colours become their luma (ITU-R BT.601). A picture of another size is cut in the middle to the shape
    and resampled, each pixel the mean of what it covers; one of that size stays as it is. The direction
    that a camera noted is obeyed.

    Raises:
        DataError: The file is too large, damaged, of another format, animated, transparent or of more than
            eight bits per channel; the message begins with its name.
        UsageError: Pillow cannot be imported.
    """
    try:
        if path.stat().st_size > _LIMIT_B:
            raise DataError(f"{path.name!r} is larger than {_LIMIT_B >> 20} MiB")
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path.name!r} cannot be read: {error.strerror}") from None
    try:
        return _grey(_decoded(content), height, width)
    except ImportError:
        raise UsageError(f"{path}: reading pictures needs Pillow; pip install pillow") from None
    except DataError as error:
        raise DataError(f"{path.name!r} {error}") from None
    except Exception as error:  # a damaged file raises whatever its bytes happen to mean
        raise DataError(
            f"{path.name!r} is damaged or no {'/'.join(FORMATS)} picture: {_short(error)}"
        ) from None


def _decoded(content: bytes) -> "Image":
    from PIL import Image, ImageOps

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header = Image.open(BytesIO(content), formats=tuple(FORMATS))
        if header.width * header.height > MOST_PIXELS:
            raise DataError(
                f"says it has {header.width} by {header.height} pixels, at most {MOST_PIXELS:,} are read"
            )
        # loading overlooks wrong checksums and a missing end of the file
        header.verify()
        image = Image.open(BytesIO(content), formats=tuple(FORMATS))
        # phones put a preview behind the picture (MPO); the first one is the picture
        if getattr(image, "is_animated", False) and image.format != "MPO":
            raise DataError("is animated; save the one picture that is meant")
        image.load()
        return ImageOps.exif_transpose(image)


def _grey(image: "Image", height: int, width: int) -> ByteArray:
    from PIL import ImageOps
    from PIL.Image import Resampling

    if image.mode not in _DEPTHS:
        raise DataError(f"has pixels of kind {image.mode}; save it with 8 bits per channel")
    if image.has_transparency_data and (np.asarray(image.convert("RGBA").getchannel("A")) < 255).any():
        raise DataError("is transparent in places; save it on the background that is meant")
    grey = image.convert("RGB").convert("L") if image.mode != "L" else image
    if grey.size != (width, height):
        grey = ImageOps.fit(grey, (width, height), method=Resampling.BOX)
    return np.array(grey, dtype=np.uint8)


def _short(error: Exception) -> str:
    """First line of what the decoder says, without the address of a buffer."""
    text = str(error).partition("<_io")[0].strip() or type(error).__name__
    return text.splitlines()[0][:120]
