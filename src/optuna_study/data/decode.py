"""Turns the bytes of a picture, whatever their state, into pixels, and says what was mended.

Pictures come upright, without transparency, as 8-bit grey or RGB. What cannot be read is a
`DataError` whose sentence begins with the reason; what was mended is a sentence beside the pixels.
"""

from __future__ import annotations

import math
import struct
import warnings
import zlib
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from optuna_study.errors import DataError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

SMALLEST_SIDE = 8
"""Pixels below which a picture shows nothing: the smallest side that a model may be given."""

THUMBNAIL_SIDE = 32
LEAST_SIDE = 256
"""Pixels to which a large JPEG may be reduced while it is decoded.

One value for all smaller sizes, so that thumbnails, and the groups found with them, do not depend
on the size.
"""

_GREY = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N", "F"})
_JPEG = frozenset({"JPEG", "MPO"})
# What Pillow's decoders raise on damaged files, found by damaging files.
_BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
    RuntimeError,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True)
class DecodedImage:
    """A decoded picture: upright, of mode L or RGB, and the sentences about what was mended."""

    image: Image.Image
    repairs: tuple[str, ...] = ()

    @property
    def grey(self) -> bool:
        """Whether the picture has no colours."""
        return self.image.mode == "L"


def decode(path: Path, size: int, channels: int = 3) -> tuple[NDArray[np.uint8], str | None]:
    """One picture as uint8 (size, size, channels), and a sentence where it had to be mended.

    Raises:
        NotFoundError: no such file.
        DataError: the file cannot be read, or not as a picture.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise NotFoundError(f"{path}: no such picture") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        with without_warnings():
            decoded = decode_bytes(data, path.suffix, max(size, LEAST_SIDE))
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    repairs = "; ".join(decoded.repairs)
    return to_square(decoded.image, size, channels), f"{path}: {repairs}" if repairs else None


def decode_bytes(data: bytes, suffix: str, least: int) -> DecodedImage:
    """Decode a file's bytes, a JPEG at a reduced scale with a shorter side of `least`.

    Raises:
        DataError: why this is no picture; the file's name is for the caller to add.
    """
    try:
        return _decode_bytes(data, suffix, least)
    except (Image.DecompressionBombError, MemoryError):
        raise DataError("more pixels than can be decoded safely") from None
    except UnidentifiedImageError:
        raise DataError(f"not a picture ({len(data)} bytes)") from None
    except _BROKEN as error:
        if "truncated" in str(error) and data.startswith(b"\xff\xd8") and data[-2:] != b"\xff\xd9":
            # An end mark lets the decoder finish with what is there.
            mended = decode_bytes(data + b"\xff\xd9", suffix, least)
            sentence = "cut short, the part that is missing is grey"
            return replace(mended, repairs=(*mended.repairs, sentence))
        reason = str(error) or type(error).__name__
        raise DataError(f"damaged beyond reading ({reason})") from error


def to_square(image: Image.Image, size: int, channels: int) -> NDArray[np.uint8]:
    """The middle of a picture as uint8 (size, size, channels), its shorter side scaled."""
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    box = (left, top, left + side, top + side)
    mode = "L" if channels == 1 else "RGB"
    scaled = image.resize((size, size), Image.Resampling.BILINEAR, box, reducing_gap=3.0)
    return np.asarray(scaled.convert(mode), dtype=np.uint8).reshape(size, size, channels)


def thumbnail(image: Image.Image) -> NDArray[np.uint8]:
    """The whole picture as uint8 (32, 32, 3), its sides scaled each by its own factor."""
    side = (THUMBNAIL_SIDE, THUMBNAIL_SIDE)
    scaled = image.resize(side, Image.Resampling.BILINEAR, reducing_gap=3.0)
    return np.asarray(scaled.convert("RGB"), dtype=np.uint8)


@contextmanager
def without_warnings() -> Iterator[None]:
    """Keep Pillow's warnings about odd files to itself: each gets a sentence of ours.

    Enter it once around threads that decode, not in each: the filters belong to the whole process.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _decode_bytes(data: bytes, suffix: str, least: int) -> DecodedImage:
    image = Image.open(BytesIO(data))
    if min(image.size) < SMALLEST_SIDE:
        raise DataError(f"{image.width}x{image.height} pixels, too small to show anything")
    repairs = _misnamed(image.format or "", suffix)
    if image.format in _JPEG:
        factor = least / min(image.size)
        wanted = (math.ceil(image.width * factor), math.ceil(image.height * factor))
        image.draft(image.mode, wanted)
    image.load()
    if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
        repairs.append("several frames, the first is used")
    upright = _upright(image)
    if upright is not image:
        repairs.append("turned upright as its EXIF orientation says")
    plain, sentence = _plain(upright)
    return DecodedImage(plain, (*repairs, *([sentence] if sentence else [])))


def _misnamed(found: str, suffix: str) -> list[str]:
    named = Image.registered_extensions().get(suffix.lower())
    if named is None or found == named or {found, named} <= _JPEG:
        return []
    return [f"{found} inside, though named {suffix}"]


def _upright(image: Image.Image) -> Image.Image:
    try:
        if image.getexif().get(0x0112, 1) == 1:
            return image
        return ImageOps.exif_transpose(image)
    except _BROKEN:
        # Damaged metadata says nothing; the pixels are whole.
        return image


def _plain(image: Image.Image) -> tuple[Image.Image, str | None]:
    """The picture as L or RGB, and what that took."""
    mode = image.mode
    if mode in ("RGBA", "LA", "La", "RGBa", "PA") or "transparency" in image.info:
        solid = image.convert("RGBA")
        if solid.getchannel("A").getextrema() == (255, 255):
            return solid.convert("L" if mode in _GREY else "RGB"), None
        paper = Image.new("RGBA", solid.size, "white")
        flat = Image.alpha_composite(paper, solid).convert("L" if mode in _GREY else "RGB")
        return flat, "transparent parts shown on white"
    if mode in ("L", "RGB"):
        return image, None
    if mode == "1":
        return image.convert("L"), None
    if mode in _GREY:
        return _eight_bits(image), "more than 8 bits a pixel, scaled down to 8"
    if mode in ("P", "YCbCr"):
        return image.convert("RGB"), None
    return image.convert("RGB"), f"{mode} colours turned into RGB"


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 8 bits from 16 or more; the range of floating-point values is stretched."""
    values = np.asarray(image).astype(np.float64)
    low, high = (0.0, 65535.0) if image.mode.startswith("I") else (values.min(), values.max())
    scaled = np.nan_to_num((values - low) / max(high - low, 1e-12)) * 255
    return Image.fromarray(np.clip(np.rint(scaled), 0, 255).astype(np.uint8))
