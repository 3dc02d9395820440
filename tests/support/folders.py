"""Folders of small pictures as people have them: a function a kind, each below an empty folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray


def colours(seed: int, width: int = 32, height: int = 32) -> NDArray[np.uint8]:
    """A smooth random picture (height, width, 3), unlike that of any other seed."""
    coarse = np.random.RandomState(seed).randint(0, 256, (6, 6, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(image)


def greys(seed: int) -> NDArray[np.float64]:
    """A grey picture of 48 pixels from 0 to 1, both of which it holds."""
    values: NDArray[np.float64] = colours(seed, 48, 48).mean(axis=2)
    return np.asarray((values - values.min()) / np.ptp(values))


def save(path: Path, values: NDArray[np.generic]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def fill(folder: Path, names: Iterable[str], seed: int) -> None:
    """Pictures of these names, each its own."""
    for number, name in enumerate(names):
        save(folder / name, colours(1000 * seed + number))


def numbered(count: int, pattern: str = "{:03}.png") -> list[str]:
    return [pattern.format(number) for number in range(count)]


def write(path: Path, text: str = "x") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def classes(root: Path, *names: str, count: int = 10) -> None:
    for seed, name in enumerate(names):
        fill(root / name, numbered(count), seed)


def parts(root: Path, counts: Sequence[tuple[str, int]]) -> None:
    """Part folders, each with `cat` and `dog`."""
    for seed, (part, count) in enumerate(counts):
        for label in range(2):
            fill(root / part / ("cat", "dog")[label], numbered(count), 10 * seed + label)


def wrapped(root: Path) -> None:
    classes(root / "archive" / "PetImages", "Cat", "Dog")
    write(root / "archive" / "readme[1].txt")


def listed(root: Path, table: str, images: str = "images", header: str = "filename,label") -> None:
    """Twenty pictures in one folder and a table above or beside it."""
    fill(root / images, numbered(20), 3)
    rows = [f"{name},{('cat', 'dog')[number % 2]}" for number, name in enumerate(numbered(20))]
    text = "\n".join([header, *rows]) + "\n"
    write(root / table, text.replace(",", "\t") if table.endswith("tsv") else text)


def badly_listed(root: Path) -> None:
    """A table with rows that are wrong, and a picture that has none."""
    listed(root, "labels.csv")
    write(root / "images" / "broken.png", "no picture")
    fill(root / "images", ["unlisted.png", "blank.png"], 4)
    with (root / "labels.csv").open("a", encoding="utf-8") as file:
        file.write("gone.png,cat\nbroken.png,dog\nblank.png,\n")


def damaged(folder: Path) -> list[str]:
    """Forty files that are no pictures, each by its name meant to be one; their names."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(40):
        suffix = ("png", "gif", "bmp", "tif", "webp", "png", "jpg", "ppm")[number % 8]
        path = folder / f"damaged-{number:02}.{suffix}"
        Image.fromarray(colours(500 + number)).save(path)
        whole = path.read_bytes()
        cut = len(whole) * (number // 8) // 8  # nothing at all, or a beginning
        changes = (
            *(whole[:cut], whole[:cut], whole[:cut], whole[:cut], whole[:cut]),
            whole[:41] + bytes(40) + whole[81:],  # its pixels do not unpack
            b"\xff\xd8\xff" + bytes(number),
            b"P6 " + b"9" * number + b" 32 255 ",
        )
        path.write_bytes(changes[number % 8])
    return sorted(path.name for path in folder.glob("damaged-*"))


def machine_made(root: Path) -> None:
    """What file servers, desktops and notebooks leave in two classes."""
    classes(root, "cat", "dog")
    for number in range(5):
        fill(root / "cat" / "@eaDir" / f"{number:03}.png", ["SYNOPHOTO_THUMB_M.jpg"], 20 + number)
    fill(root / "$RECYCLE.BIN" / "S-1", ["$R1.png"], 30)
    fill(root / "lost+found", ["#1.png"], 31)
    fill(root / "cat" / ".ipynb_checkpoints", ["000-checkpoint.png"], 0)
    write(root / "System Volume Information" / "WPSettings.dat")
    for name in ("__MACOSX/cat/._000.png", "cat/._001.png", "dog/.DS_Store", "dog/thumbs.db"):
        write(root / name)
    for name in ("Thumbs.db", "desktop.ini", "$RECYCLE.BIN/desktop.ini"):
        write(root / name)


def left_out(root: Path) -> None:
    fill(root / "cat", [*numbered(4), *numbered(4, "__{}.png")], 0)
    fill(root / "dog", numbered(5), 1)
    fill(root / "dog" / "__old", numbered(3), 2)
    fill(root / ".net", numbered(8), 3)
    fill(root, numbered(4, "loose{}.png"), 4)


def linked(root: Path) -> Path:
    """Classes that are links, or hold links, one of them to a folder above."""
    classes(root / "real", "cat", "dog")
    fill(root / "pics" / "bird" / "2023", numbered(4), 5)
    fill(root / "other", numbered(6), 6)
    for place, target in (
        ("cat", "../real/cat"),
        ("dog", "../real/dog"),
        ("bird/2024", "../../other"),
        ("bird/again", "2023"),
        ("bird/loop", ".."),
    ):
        (root / "pics" / place).symlink_to(target)
    return root / "pics"


def with_empty_classes(root: Path) -> None:
    classes(root, "cat", "dog", "__background__")
    (root / "bird").mkdir()
    write(root / "fish" / "notes.txt")


def patients(root: Path) -> None:
    """Twenty sub-folders of six pictures that share nothing a copy would."""
    for label in range(2):
        for patient in range(10):
            name = f"patient{10 * label + patient:02}"
            fill(root / ("benign", "malignant")[label] / name, numbered(6), 100 * label + patient)


def unequal(root: Path) -> None:
    """Nineteen times as many pictures of one class as of the other."""
    fill(root / "ok", numbered(190), 0)
    fill(root / "defect", numbered(10), 500)


def deep(root: Path, top: int, *, mixed: bool = False) -> None:
    """Dark and bright grey pictures up to `top`; half of them with 8 bits where `mixed`."""
    for label in range(2):
        for number in range(10):
            values = greys(100 * label + number) * (0.35, 1.0)[number % 2]
            shallow = mixed and number > 4
            kind, most = (np.uint8, 255) if shallow else (np.uint16, top)
            path = root / ("cell", "void")[label] / f"{number:02}.png"
            save(path, np.rint(values * most).astype(kind))


def fractions(root: Path) -> None:
    """Dark and bright ones from 0 to 1, and three with one odd pixel."""
    for label, (name, top) in enumerate((("dark", 0.15), ("bright", 1.0))):
        for number in range(8):
            values = greys(100 * label + number).astype(np.float32) * top
            save(root / name / f"{number}.tif", values)
    for number, (name, value) in enumerate((("nan", np.nan), ("inf", np.inf), ("far", -9999.0))):
        values = greys(500 + number).astype(np.float32) * 0.15
        values[3, 3] = value
        save(root / "dark" / f"{name}.tif", values)


def wide(root: Path, count: int = 20) -> None:
    """Three times as wide as high; the class shows at the sides alone."""
    for label in range(2):
        for number in range(count):
            values = colours(1000 * label + number, 96, 32).astype(np.float64) * 0.5 + 64
            at = slice(2, 22) if label == 0 else slice(74, 94)
            values[4:28, at] = 250
            save(root / ("left", "right")[label] / f"{number:02}.png", values.astype(np.uint8))


def twins(root: Path) -> None:
    classes(root, "caf\u00e9", "cafe\u0301", "Cat", "cat", "dog", "dog ", count=5)
