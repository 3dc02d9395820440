from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from optuna_study.data.decode import FITS, Framing, decode
from optuna_study.errors import DataError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def noise(seed: int, width: int = 40, height: int = 30) -> Image.Image:
    """A smooth random picture, unlike that of any other seed."""
    coarse = np.random.RandomState(seed).randint(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def save_palette(path: Path) -> None:
    image = Image.new("P", (32, 32), 0)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.paste(1, (0, 0, 32, 16))
    image.save(path, "PNG", transparency=0)


def save_turned(path: Path) -> None:
    image = Image.new("RGB", (40, 20), "red")
    image.paste("blue", (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(path, "JPEG", exif=exif)


def save_truncated(path: Path) -> None:
    noise(1, 200, 200).save(path, "JPEG")
    path.write_bytes(path.read_bytes()[:3000])


@pytest.mark.parametrize(
    ("name", "save", "sentence"),
    [
        ("palette.png", save_palette, "transparent parts shown on white"),
        (
            "rgba.jpg",
            lambda path: Image.new("RGBA", (32, 32), (255, 0, 0, 128)).save(path, "PNG"),
            "PNG inside, though named .jpg; transparent parts shown on white",
        ),
        ("UPPER.JPG", lambda path: noise(1).save(path, "JPEG"), None),
        (
            "cmyk.jpg",
            lambda path: Image.new("CMYK", (32, 32), (0, 255, 255, 0)).save(path, "JPEG"),
            "CMYK colours turned into RGB",
        ),
        ("truncated.jpg", save_truncated, "cut short, the part that is missing is grey"),
        ("grey.jpg", lambda path: noise(1).convert("L").save(path, "JPEG"), None),
        ("turned.jpg", save_turned, "turned upright as its EXIF orientation says"),
        (
            "deep.png",
            lambda path: Image.new("I;16", (16, 16), 0x8000).save(path),
            "more than 8 bits a pixel, scaled down to 8",
        ),
        (
            "moving.gif",
            lambda path: noise(1).save(path, save_all=True, append_images=[noise(2)]),
            "several frames, the first is used",
        ),
        ("opaque.png", lambda path: noise(1).convert("RGBA").save(path), None),
    ],
)
def test_every_odd_picture_is_decoded_and_says_what_was_mended(
    tmp_path: Path, name: str, save: Callable[[Path], None], sentence: str | None
) -> None:
    path = tmp_path / name
    save(path)
    pixels, said = decode(path, 24)
    assert pixels.shape == (24, 24, 3)
    assert pixels.dtype == np.uint8
    assert said == (f"{path}: {sentence}" if sentence else None)


def test_transparent_parts_become_white(tmp_path: Path) -> None:
    save_palette(tmp_path / "a.png")
    pixels, _ = decode(tmp_path / "a.png", 32)
    assert pixels[2, 2].tolist() == [0, 0, 255]
    assert pixels[30, 2].tolist() == [255, 255, 255]


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    save_turned(tmp_path / "a.jpg")
    pixels, _ = decode(tmp_path / "a.jpg", 20)
    # Turned by a quarter: the blue left half is on top, the middle square has both.
    assert pixels[1, 10, 2] > 200 > 60 > pixels[1, 10, 0]
    assert pixels[18, 10, 0] > 200 > 60 > pixels[18, 10, 2]


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    Image.new("I;16", (16, 16), 0x8000).save(tmp_path / "a.png")
    pixels, _ = decode(tmp_path / "a.png", 8, channels=1)
    assert pixels.shape == (8, 8, 1)
    assert set(pixels.ravel().tolist()) == {128}


def test_a_very_large_jpeg_is_decoded_at_a_reduced_scale(tmp_path: Path) -> None:
    Image.new("RGB", (8000, 4500), (10, 200, 30)).save(tmp_path / "a.jpg", quality=30)
    pixels, said = decode(tmp_path / "a.jpg", 72)
    assert said is None
    assert np.abs(pixels.astype(int) - [10, 200, 30]).max() < 8


def test_the_shorter_side_is_scaled_and_the_centre_kept(tmp_path: Path) -> None:
    image = Image.new("RGB", (90, 30), "black")
    image.paste("white", (30, 0, 60, 30))
    image.save(tmp_path / "a.png")
    pixels, _ = decode(tmp_path / "a.png", 10)
    assert pixels[:, 1:-1].min() == 255


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(72), r"not a picture \(80 bytes\)"),
        (b"", r"not a picture \(0 bytes\)"),
        (b"no picture at all", "not a picture"),
    ],
)
def test_what_is_no_picture_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DataError, match=reason):
        decode(tmp_path / "a.png", 24)


def test_a_picture_of_one_pixel_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="1x1 pixels, too small to show anything"):
        decode(tmp_path / "a.png", 24)


@pytest.mark.slow
def test_a_decompression_bomb_is_refused(tmp_path: Path) -> None:
    Image.new("1", (20_000, 20_000)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="more pixels than can be decoded safely"):
        decode(tmp_path / "a.png", 24)


def test_a_png_cut_short_is_refused(tmp_path: Path) -> None:
    noise(1, 200, 200).save(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:900])
    with pytest.raises(DataError, match="damaged beyond reading"):
        decode(tmp_path / "a.png", 24)


def test_a_missing_picture_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"a\.png: no such picture"):
        decode(tmp_path / "a.png", 24)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".gif", ".bmp", ".tiff", ".webp", ".ppm"])
def test_damaged_bytes_never_escape_as_another_error(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    noise(3).save(path)
    whole, random = path.read_bytes(), np.random.RandomState(7)
    refused = 0
    for _ in range(60):
        data = bytearray(whole)
        for position in random.randint(0, len(data), random.randint(1, 12)):
            data[position] = random.randint(256)
        path.write_bytes(data[: random.randint(1, len(data) + 1)])
        try:
            decode(path, 16)
        except DataError:
            refused += 1
    assert refused > 0


# --- squares ---------------------------------------------------------------------------------


def save_halves(path: Path) -> None:
    """Twice as wide as high: red at the left, blue at the right."""
    image = Image.new("RGB", (80, 40), "red")
    image.paste("blue", (40, 0, 80, 40))
    image.save(path)


def test_a_crop_is_the_middle(tmp_path: Path) -> None:
    save_halves(tmp_path / "x.png")
    pixels, _ = decode(tmp_path / "x.png", 40)
    assert (pixels[:, :18, 0] == 255).all()
    assert (pixels[:, 22:, 2] == 255).all()


def test_padding_shows_the_whole_on_black(tmp_path: Path) -> None:
    save_halves(tmp_path / "x.png")
    pixels, _ = decode(tmp_path / "x.png", 45, framing=Framing("pad", 40))
    assert pixels.shape == (45, 45, 3)
    seen = pixels[2:42, 2:42]  # what a model sees: the rest is for crops
    assert not seen[:10].any()
    assert not seen[31:].any()
    assert (seen[11:29, :18, 0] == 255).all()
    assert (seen[11:29, 22:, 2] == 255).all()
    assert not pixels[:, :2].any()


def test_stretching_shows_the_whole_with_its_edge_around(tmp_path: Path) -> None:
    save_halves(tmp_path / "x.png")
    pixels, _ = decode(tmp_path / "x.png", 45, 3, Framing("stretch", 40))
    assert (pixels[:, :20, 0] == 255).all()
    assert (pixels[:, 25:, 2] == 255).all()


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize(("width", "height"), [(40, 40), (300, 8), (9, 200)])
def test_every_fit_gives_the_size_asked_for(
    tmp_path: Path, fit: str, width: int, height: int
) -> None:
    noise(1, width, height).save(tmp_path / "x.png")
    for channels in (1, 3):
        pixels, _ = decode(tmp_path / "x.png", 36, channels, Framing(fit, 32))
        assert pixels.shape == (36, 36, channels)


# --- other formats ---------------------------------------------------------------------------

HEIC = b"\0\0\0\x18ftypheic" + bytes(200)


def test_dicom_and_heic_are_called_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "x.dcm").write_bytes(bytes(128) + b"DICM" + bytes(100))
    with pytest.raises(DataError, match=r"a DICOM file, which is not read; save it as PNG"):
        decode(tmp_path / "x.dcm", 16)
    (tmp_path / "x.heic").write_bytes(HEIC)
    with pytest.raises(DataError, match=r"a HEIC picture, which needs `pip install pillow-heif`"):
        decode(tmp_path / "x.heic", 16)


OPENER = """
from PIL import Image

def register_heif_opener():
    Image.register_open("HEIF", lambda file, name: Image.new("RGB", (20, 20), "red"), heic)

def heic(start):
    return start[4:12] == b"ftypheic"
"""


def test_heic_is_read_by_pillow_heif_where_that_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pillow_heif.py").write_text(OPENER)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(Image, "OPEN", dict(Image.OPEN))
    monkeypatch.setattr(Image, "ID", list(Image.ID))
    (tmp_path / "x.heic").write_bytes(HEIC)
    pixels, _ = decode(tmp_path / "x.heic", 16)
    assert (pixels == (255, 0, 0)).all()
