"""Turns the bytes of a picture, whatever their state, into pixels, and says what was mended.

Pictures come upright, without transparency, as 8-bit grey or RGB. What cannot be read is a
`DataError` whose sentence begins with the reason; what was mended is a sentence beside the pixels.
"""

from __future__ import annotations

import importlib.util
import math
import struct
import warnings
import zlib
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from typing import IO, TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from optuna_study.data.grey import DEEP_MODES, to_bytes
from optuna_study.errors import DataError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from optuna_study.data.grey import GreyRanges

SMALLEST_SIDE = 8
"""Pixels below which a picture shows nothing: the smallest side that a model may be given."""

THUMBNAIL_SIDE = 32
LEAST_SIDE = 256
"""Pixels to which a large JPEG may be reduced while it is decoded.

One value for all smaller sizes, so that thumbnails, and the groups found with them, do not depend
on the size.
"""

FITS = ("crop", "pad", "stretch")
"""How a picture becomes a square: its middle, the whole of it on black, or its sides scaled."""

_GREY = frozenset({"1", "L", "LA", "La"}) | DEEP_MODES
_JPEG = frozenset({"JPEG", "MPO"})
_HEIF_BRANDS = frozenset(
    {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"msf1"}
)
# What Pillow's decoders raise on damaged files, found by damaging files.
BROKEN = (
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

UNREADABLE = (*BROKEN, Image.DecompressionBombError, MemoryError)
"""What opening and reading a file raises that is no picture."""


@dataclass(frozen=True)
class Framing:
    """How a picture becomes a square: one of FITS, and the side that a model sees of it."""

    fit: str = "crop"
    inner: int = 0


CROP = Framing()


@dataclass(frozen=True)
class DecodedImage:
    """A decoded picture: upright, of mode L or RGB, and the sentences about what was mended.

    `deep` says that it had more than 8 bits of grey.
    """

    image: Image.Image
    repairs: tuple[str, ...] = ()
    deep: bool = False

    @property
    def grey(self) -> bool:
        """Whether the picture has no colours."""
        return self.image.mode == "L"


def decode(
    path: Path,
    size: int,
    channels: int = 3,
    framing: Framing = CROP,
    ranges: GreyRanges | None = None,
) -> tuple[NDArray[np.uint8], str | None]:
    """One picture as uint8 (size, size, channels), and a sentence where it had to be mended.

    `ranges` are those of the data set whose pictures this one is to be like.

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
            decoded = decode_bytes(data, path.suffix, max(size, LEAST_SIDE), ranges)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    repairs = "; ".join(decoded.repairs)
    pixels = to_square(decoded.image, size, channels, framing)
    return pixels, f"{path}: {repairs}" if repairs else None


def decode_bytes(
    data: bytes, suffix: str, least: int, ranges: GreyRanges | None = None
) -> DecodedImage:
    """Decode a file's bytes, a JPEG at a reduced scale with a shorter side of `least`.

    Raises:
        DataError: why this is no picture; the file's name is for the caller to add.
    """
    try:
        return _decode_bytes(data, suffix, least, ranges)
    except (Image.DecompressionBombError, MemoryError):
        raise DataError("more pixels than can be decoded safely") from None
    except UnidentifiedImageError:
        raise DataError(_foreign_kind(data) or f"not a picture ({len(data)} bytes)") from None
    except BROKEN as error:
        if "truncated" in str(error) and data.startswith(b"\xff\xd8") and data[-2:] != b"\xff\xd9":
            # An end mark lets the decoder finish with what is there.
            mended = decode_bytes(data + b"\xff\xd9", suffix, least, ranges)
            sentence = "cut short, the part that is missing is grey"
            return replace(mended, repairs=(*mended.repairs, sentence))
        reason = str(error) or type(error).__name__
        raise DataError(f"damaged beyond reading ({reason})") from error


def open_image(file: IO[bytes]) -> Image.Image:
    """Open a picture, its pixels not read yet; one of HEIC, too, where pillow-heif is installed.

    Raises:
        UnidentifiedImageError: it is none.
    """
    try:
        return Image.open(file)
    except UnidentifiedImageError:
        file.seek(0)
        if not _is_heif(file.read(12)) or importlib.util.find_spec("pillow_heif") is None:
            raise
        importlib.import_module("pillow_heif").register_heif_opener()
        file.seek(0)
        return Image.open(file)


def _is_heif(start: bytes) -> bool:
    return start[4:8] == b"ftyp" and start[8:12] in _HEIF_BRANDS


def _foreign_kind(data: bytes) -> str | None:
    """What a file is that Pillow does not read, and what helps."""
    if data[128:132] == b"DICM":
        return "a DICOM file, which is not read; save it as PNG or TIFF, for instance with pydicom"
    if _is_heif(data[:12]) and importlib.util.find_spec("pillow_heif") is None:
        return "a HEIC picture, which needs `pip install pillow-heif`"
    return None


def to_square(
    image: Image.Image, size: int, channels: int, framing: Framing = CROP
) -> NDArray[np.uint8]:
    """A picture as uint8 (size, size, channels), made a square as `framing` says.

    Of `crop` the shorter side is scaled to `size`. Otherwise the whole picture is scaled to the
    side that a model sees and stands in the middle, with black around it or its own edge.
    """
    mode = "L" if channels == 1 else "RGB"
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    box = (left, top, left + side, top + side)
    wanted = (size, size)
    if framing.fit != "crop":
        inner = framing.inner or size
        box = (0.0, 0.0, float(image.width), float(image.height))
        factor = inner / max(image.size)
        wanted = (inner, inner)
        if framing.fit == "pad":
            wanted = (max(round(image.width * factor), 1), max(round(image.height * factor), 1))
    scaled = image.resize(wanted, Image.Resampling.BILINEAR, box, reducing_gap=3.0)
    pixels = np.asarray(scaled.convert(mode), dtype=np.uint8)
    pixels = pixels.reshape(wanted[1], wanted[0], channels)
    rows, columns = size - wanted[1], size - wanted[0]
    margins = ((rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2), (0, 0))
    if framing.fit == "stretch":
        return np.pad(pixels, margins, mode="edge")
    return np.pad(pixels, margins)  # none of a crop, black of pad


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


def _decode_bytes(data: bytes, suffix: str, least: int, ranges: GreyRanges | None) -> DecodedImage:
    image = open_image(BytesIO(data))
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
    plain, sentence = _plain(upright, ranges)
    said = (*repairs, *([sentence] if sentence else []))
    return DecodedImage(plain, said, deep=upright.mode in DEEP_MODES)


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
    except BROKEN:
        # Damaged metadata says nothing; the pixels are whole.
        return image


def _plain(image: Image.Image, ranges: GreyRanges | None) -> tuple[Image.Image, str | None]:
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
        return to_bytes(image, ranges)
    if mode in ("P", "YCbCr"):
        return image.convert("RGB"), None
    return image.convert("RGB"), f"{mode} colours turned into RGB"
