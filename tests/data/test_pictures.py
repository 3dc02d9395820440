from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import folders
import numpy as np
import pytest
from PIL import Image

from optuna_study.data.cache import load_or_build
from optuna_study.data.decode import decode
from optuna_study.data.folder import digests
from optuna_study.data.folder.layout import list_folder
from optuna_study.data.folder.read import read_folder
from optuna_study.data.pictures import Pictures, Request, computed, resize
from optuna_study.errors import DataError, FolderError
from optuna_study.paths import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

ODD = Path(
    os.environ.get("OPTUNA_STUDY_TEST_PICTURES")
    or Path(__file__).parents[2].parent / "shared" / "datasets"
)


def noise(seed: int, width: int = 40, height: int = 30) -> Image.Image:
    """A smooth random picture, unlike that of any other seed."""
    coarse = np.random.RandomState(seed).randint(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "storage")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of six pictures each."""
    root = tmp_path / "pictures"
    for label in range(2):
        (root / f"class{label}").mkdir(parents=True)
        for number in range(6):
            noise(10 * label + number).save(root / f"class{label}" / f"{number}.png")
    return root


def read(folder: Path, size: int, workspace: Workspace) -> Pictures:
    """A folder's pictures at a size."""
    return read_folder(folder, Request(size, size, workspace))


def save_turned(path: Path) -> None:
    image = Image.new("RGB", (40, 20), "red")
    image.paste("blue", (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(path, "JPEG", exif=exif)


# --- a folder --------------------------------------------------------------------------------


def test_a_folder_becomes_arrays(folder: Path, workspace: Workspace) -> None:
    pictures = read(folder, 20, workspace)
    assert pictures.images.shape == (12, 20, 20, 3)
    assert pictures.images.dtype == np.uint8
    assert isinstance(pictures.images, np.memmap)
    assert pictures.classes == ("class0", "class1")
    assert np.bincount(pictures.labels).tolist() == [6, 6]
    assert len(set(pictures.groups.tolist())) == 12
    assert pictures.notes == ()
    assert pictures.sides is not None
    assert sum(pictures.sides) == 12
    for picture, label in zip(pictures.images, pictures.labels, strict=True):
        originals = [decode(path, 20)[0] for path in (folder / f"class{label}").iterdir()]
        assert any(np.array_equal(picture, original) for original in originals)


def test_every_skipped_or_mended_file_has_a_sentence(folder: Path, workspace: Workspace) -> None:
    save_turned(folder / "class0" / "turned.jpg")
    noise(50).convert("L").save(folder / "class0" / "grey.png")
    (folder / "class1" / "broken.png").write_bytes(bytes(80))
    shutil.copy(folder / "class0" / "0.png", folder / "class1" / "again.png")
    (folder / "class1" / ".DS_Store").write_bytes(b"x")
    (folder / "README.txt").write_text("not in a class folder")
    pictures = read(folder, 20, workspace)
    assert pictures.notes == (
        "15 used, 2 left out: 1 not a picture, 1 unreadable",
        "class0/grey.png: grey, repeated over the three colours",
        "class0/turned.jpg: turned upright as its EXIF orientation says",
        "class1/broken.png: skipped, not a picture (80 bytes)",
        "class0/0.png and class1/again.png: the same picture under different labels; all are "
        "kept, on one side of the split",
    )
    assert len(pictures.labels) == 15
    assert len(set(pictures.groups.tolist())) == 14


def test_files_that_cannot_be_opened_are_skipped(folder: Path, workspace: Workspace) -> None:
    (folder / "class0" / "nowhere.png").symlink_to(folder / "missing.png")
    os.mkfifo(folder / "class0" / "pipe.png")
    pictures = read(folder, 16, workspace)
    assert pictures.notes == (
        "12 used, 2 left out: 1 neither a file nor a folder, 1 unreadable",
        "class0/nowhere.png: skipped, cannot be read (No such file or directory)",
    )
    assert len(pictures.labels) == 12


def test_names_need_not_be_text(folder: Path, workspace: Workspace) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    (folder / "class0" / name).write_bytes(b"broken")
    notes = read(folder, 16, workspace).notes
    assert notes[1:] == ("class0/caf\ufffd.png: skipped, not a picture (6 bytes)",)
    assert read(folder, 16, workspace).notes == notes


def test_grey_folders_keep_one_channel(tmp_path: Path, workspace: Workspace) -> None:
    for label in ("a", "b"):
        (tmp_path / "grey" / label).mkdir(parents=True)
        for number in range(4):
            image = noise(ord(label) * 10 + number).convert("L")
            image.save(tmp_path / "grey" / label / f"{number}.png")
    pictures = read(tmp_path / "grey", 16, workspace)
    assert pictures.images.shape == (8, 16, 16, 1)
    assert pictures.notes == ()


@pytest.mark.slow
def test_groups_stay_on_one_side_and_are_part_of_the_fingerprint(
    tmp_path: Path, workspace: Workspace
) -> None:
    folders.patients(tmp_path / "given")
    plain = read(tmp_path / "given", 16, workspace)
    request = Request(16, 16, workspace, group="folder")
    grouped = read_folder(tmp_path / "given", request)
    assert grouped.fingerprint != plain.fingerprint
    assert grouped.sides is not None
    sides = np.repeat(range(3), grouped.sides)
    members = [sides[grouped.groups == number] for number in np.unique(grouped.groups)]
    assert sorted({len(each) for each in members}) == [6]
    assert all(len(set(each.tolist())) == 1 for each in members)
    assert np.bincount(grouped.labels).tolist() == [60, 60]


def test_another_fit_is_another_entry_of_the_same_pictures(
    tmp_path: Path, workspace: Workspace
) -> None:
    folders.wide(tmp_path / "given", 6)
    crop, pad = (
        read_folder(tmp_path / "given", Request(16, 18, workspace, fit=fit))
        for fit in ("crop", "pad")
    )
    assert crop.fingerprint == pad.fingerprint
    assert not np.array_equal(crop.images, pad.images)
    assert any("median aspect" in note for note in crop.notes)
    assert not any("median aspect" in note for note in pad.notes)


def test_sub_folders_belong_to_their_class(folder: Path, workspace: Workspace) -> None:
    (folder / "class0" / "more" / "deep").mkdir(parents=True)
    noise(77).save(folder / "class0" / "more" / "deep" / "x.png")
    assert np.bincount(read(folder, 16, workspace).labels).tolist() == [7, 6]


def test_plain_class_folders_are_read_as_0_1_0_did(tmp_path: Path, workspace: Workspace) -> None:
    """Fingerprint, split and pixels are those that version 0.1.0 gave: its studies resume."""
    root = tmp_path / "plain"
    for label in range(3):
        for number in range(9):
            coarse = np.random.RandomState(100 * label + number).randint(
                0, 256, (4, 4, 3), dtype=np.uint8
            )
            pixels = coarse.repeat(6, axis=0).repeat(6, axis=1)
            path = root / f"class{label}" / ("deep" if number == 4 else ".") / f"{number}.ppm"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"P6 24 24 255\n" + pixels.tobytes())
    shutil.copy(root / "class1" / "0.ppm", root / "class0" / "copy.ppm")
    (root / "class0" / "notes.txt").write_text("notes")
    pictures = read(root, 24, workspace)
    before = "8163faec4f35472a2e47276b38cbdaa6605aa2c9285b3dfb8b202db804ef3187"
    assert (pictures.fingerprint, pictures.sides) == (before, (17, 5, 6))
    content = np.ascontiguousarray(pictures.images).tobytes()
    content += pictures.labels.tobytes() + pictures.groups.tobytes()
    assert hashlib.sha256(content).hexdigest()[:16] == "7fe8fc7416aca0eb"


def test_the_fingerprint_is_of_content_and_labels(
    folder: Path, tmp_path: Path, workspace: Workspace
) -> None:
    first = read(folder, 16, workspace)
    moved = tmp_path / "elsewhere"
    shutil.copytree(folder, moved)
    (moved / "class0" / "0.png").rename(moved / "class0" / "renamed.png")
    again = read(moved, 16, Workspace(tmp_path / "other"))
    assert again.fingerprint == first.fingerprint
    assert np.array_equal(again.images, first.images)
    assert np.array_equal(again.labels, first.labels)
    shutil.move(moved / "class0" / "1.png", moved / "class1" / "moved.png")
    assert read(moved, 16, workspace).fingerprint != first.fingerprint


def test_a_changed_file_is_noticed(folder: Path, workspace: Workspace) -> None:
    path = folder / "class0" / "0.png"
    os.utime(path, (1_000_000, 1_000_000))
    before = read(folder, 16, workspace).fingerprint
    assert read(folder, 16, workspace).fingerprint == before
    noise(99).save(path)
    os.utime(path, (2_000_000, 2_000_000))
    assert read(folder, 16, workspace).fingerprint != before


def test_unchanged_files_are_not_read_again(
    folder: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "SETTLED_SECONDS", 0.0)
    index = workspace.root / "index.json"
    first = list_folder(folder, index=index).files
    monkeypatch.setattr(hashlib, "file_digest", None)
    assert list_folder(folder, index=index).files == first
    with pytest.raises(TypeError):
        list_folder(folder)


def test_a_file_replaced_with_its_time_kept_is_noticed(
    folder: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "SETTLED_SECONDS", 0.0)
    path = folder / "class0" / "0.png"
    os.utime(path, (1_000_000, 1_000_000))
    before = read(folder, 16, workspace).fingerprint
    content = bytearray(path.read_bytes())
    content[-20] ^= 1  # as `rsync --inplace -t` leaves a file: same size, same time
    with path.open("r+b") as file:
        file.write(content)
    os.utime(path, (1_000_000, 1_000_000))
    assert read(folder, 16, workspace).fingerprint != before


def test_a_damaged_index_is_written_again(
    folder: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "SETTLED_SECONDS", 0.0)
    fingerprint = read(folder, 16, workspace).fingerprint
    index = next(workspace.cache("x").parent.glob("index-*"))
    for content in (b"", b"[1]", b'{"x": 3', b"\xff"):
        index.write_bytes(content)
        assert read(folder, 16, workspace).fingerprint == fingerprint
        assert len(json.loads(index.read_bytes())) == 12


def save_alone(root: Path) -> None:
    root.mkdir()
    noise(1).save(root / "a.png")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: None, "no such folder; give one that holds"),
        (lambda root: root.write_text("x"), "not a folder"),
        (lambda root: root.mkdir(), "holds no pictures"),
        (save_alone, "no class folders"),
    ],
)
def test_what_is_no_folder_of_classes_is_refused(
    tmp_path: Path, workspace: Workspace, make: Callable[[Path], object], message: str
) -> None:
    make(tmp_path / "given")
    with pytest.raises(DataError, match=message):
        read(tmp_path / "given", 16, workspace)


def test_one_class_is_refused(folder: Path, workspace: Workspace) -> None:
    shutil.rmtree(folder / "class1")
    with pytest.raises(DataError, match="only one class, 'class0'"):
        read(folder, 16, workspace)


def test_a_class_with_one_picture_is_refused(folder: Path, workspace: Workspace) -> None:
    for number in range(1, 6):
        (folder / "class1" / f"{number}.png").unlink()
    with pytest.raises(DataError, match="class 'class1' has 1 picture; each class needs at least"):
        read(folder, 16, workspace)


def test_a_class_of_copies_is_refused(folder: Path, workspace: Workspace) -> None:
    for number in range(1, 6):
        shutil.copy(folder / "class1" / "0.png", folder / "class1" / f"{number}.png")
    with pytest.raises(DataError, match="class 'class1' has 1 picture"):
        read(folder, 16, workspace)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("*/*.png", "none of its 12 files can be read as a picture; the first: class0/"),
        ("class1/*.png", "none of the 6 files of class 'class1' can be read"),
    ],
)
def test_unreadable_pictures_alone_are_refused(
    folder: Path, workspace: Workspace, pattern: str, message: str
) -> None:
    for path in folder.glob(pattern):
        path.write_bytes(b"broken")
    with pytest.raises(DataError, match=message):
        read(folder, 16, workspace)
    assert not workspace.root.exists()


@pytest.mark.pictures
def test_the_real_odd_pictures_are_survived(tmp_path: Path, workspace: Workspace) -> None:
    odd = ODD / "odd"
    if not odd.is_dir():
        pytest.skip(f"no real pictures at {ODD}")
    for label in ("a", "b"):
        (tmp_path / "odd" / label).mkdir(parents=True)
        for number in range(4):
            noise(10 * ord(label) + number).save(tmp_path / "odd" / label / f"{number}.png")
    for path in odd.iterdir():
        label = "b" if "squirtle" in path.name else "a"
        shutil.copy(path, tmp_path / "odd" / label / path.name)
    notes = read(tmp_path / "odd", 72, workspace).notes
    assert notes[0].startswith("18 used, 3 left out: 2 unreadable, 1 not a picture")
    assert notes[1:] == (
        "a/LICENSE.Pillow.txt: skipped, not a picture (1457 bytes)",
        "a/broken_80_bytes.png: skipped, not a picture (80 bytes)",
        "a/cmyk.jpg: CMYK colours turned into RGB",
        "a/exif_orientation_6.jpg: turned upright as its EXIF orientation says",
        "a/grayscale.jpg: grey, repeated over the three colours",
        "a/palette_transparent.png: transparent parts shown on white",
        "a/png_rgba_named.jpg: PNG inside, though named .jpg; transparent parts shown on white",
        "a/truncated.jpg: cut short, the part that is missing is grey",
        "a/very_small_1x1.png: skipped, 1x1 pixels, too small to show anything",
        "a/two_labels_a_bulbasaur.jpg and b/two_labels_b_squirtle.jpg: the same picture under "
        "different labels; all are kept, on one side of the split",
    )


# --- the cache -------------------------------------------------------------------------------


def some_pictures(count: int = 20) -> Pictures:
    images: NDArray[np.uint8] = np.random.RandomState(0).randint(
        0, 256, (count, 8, 8, 3), dtype=np.uint8
    )
    return computed(images, np.arange(count, dtype=np.int64) % 2, ("even", "odd"), 8)


def refuse(scratch: Path) -> Pictures:
    raise AssertionError(f"built again in {scratch}")


def test_stored_pictures_are_built_once(workspace: Workspace) -> None:
    first = load_or_build("some", workspace, lambda scratch: some_pictures())
    again = load_or_build("some", workspace, refuse)
    assert np.array_equal(first.images, again.images)
    assert first.sides == again.sides == (12, 4, 4)
    by_content = {picture.tobytes() for picture in some_pictures().images}
    assert {picture.tobytes() for picture in again.images} == by_content


def test_one_of_several_builders_builds(workspace: Workspace) -> None:
    built: list[int] = []
    together = threading.Barrier(4)

    def build(scratch: Path) -> Pictures:
        built.append(1)
        return some_pictures()

    def work() -> None:
        together.wait()
        load_or_build("some", workspace, build)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert built == [1]


def test_a_build_that_fails_leaves_nothing(workspace: Workspace) -> None:
    def build(scratch: Path) -> Pictures:
        (scratch / "half").write_bytes(b"x")
        raise DataError("no good")

    with pytest.raises(DataError, match="no good"):
        load_or_build("some", workspace, build)
    assert not workspace.root.exists()


def zero(path: Path, at: int) -> None:
    """Take what stands somewhere in a file to zero, its length kept."""
    with path.open("r+b") as file:
        file.seek(at)
        file.write(bytes(64))


def shuffle_labels(folder: Path) -> None:
    np.save(folder / "labels.npy", np.load(folder / "labels.npy")[::-1].copy())


@pytest.mark.parametrize(
    "damage",
    [
        shuffle_labels,
        lambda folder: zero(folder / "images.npy", 400),
        lambda folder: zero(folder / "groups.npy", 0),
        lambda folder: os.truncate(folder / "images.npy", 700),
        lambda folder: (folder / "images.npy").unlink(),
        lambda folder: (folder / "about.json").unlink(),
        lambda folder: (folder / "about.json").write_text("{}"),
        lambda folder: (folder / "about.json").write_bytes(b"\xff\0"),
        lambda folder: (folder / "about.json").write_text(
            (folder / "about.json").read_text().replace("odd", "add")
        ),
        lambda folder: [path.unlink() for path in folder.iterdir()],
    ],
)
def test_a_damaged_entry_is_built_again_and_never_used(
    workspace: Workspace,
    damage: Callable[[Path], object],
    caplog: pytest.LogCaptureFixture,
) -> None:
    first = load_or_build("some", workspace, lambda scratch: some_pictures())
    images, labels = first.images.copy(), first.labels.copy()
    [folder] = (workspace.root / "cache").iterdir()
    damage(folder)
    again = load_or_build("some", workspace, lambda scratch: some_pictures())
    assert np.array_equal(again.images, images)
    assert np.array_equal(again.labels, labels)
    assert again.classes == ("even", "odd")
    [line] = [record.message for record in caplog.records]
    assert line.endswith(", built anew")
    assert np.array_equal(load_or_build("some", workspace, refuse).images, images)
    assert [path.name for path in (workspace.root / "cache").iterdir()] == [folder.name]


def test_a_damaged_entry_is_built_again_by_one(workspace: Workspace) -> None:
    load_or_build("some", workspace, lambda scratch: some_pictures())
    [folder] = (workspace.root / "cache").iterdir()
    shuffle_labels(folder)
    built: list[int] = []
    together = threading.Barrier(4)

    def build(scratch: Path) -> Pictures:
        built.append(1)
        return some_pictures()

    def work() -> None:
        together.wait()
        load_or_build("some", workspace, build)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert built == [1]


def test_an_entry_of_an_earlier_version_is_replaced(workspace: Workspace) -> None:
    earlier = workspace.root / "cache" / "some-v1"
    earlier.mkdir(parents=True)
    (earlier / "images.npy").write_bytes(b"x")
    load_or_build("some", workspace, lambda scratch: some_pictures())
    assert not earlier.exists()


def test_what_a_killed_build_left_is_removed(workspace: Workspace) -> None:
    def look(scratch: Path) -> Pictures:
        assert [path.name for path in scratch.parent.iterdir()] == [scratch.name]
        return some_pictures()

    load_or_build("other", workspace, lambda scratch: some_pictures())
    kept = next((workspace.root / "cache").iterdir())
    left = kept.with_name(f".building-{kept.name.replace('other', 'some')}-killed")
    left.mkdir()
    (left / "all.npy").write_bytes(b"half")
    kept.rename(workspace.root / "aside")
    load_or_build("some", workspace, look)
    assert not left.exists()


def test_nobody_can_change_the_cache_through_its_pictures(workspace: Workspace) -> None:
    first = load_or_build("some", workspace, lambda scratch: some_pictures())
    kept = first.images[0].copy()
    first.images[0] = 0
    assert np.array_equal(load_or_build("some", workspace, refuse).images[0], kept)


def test_a_workspace_that_cannot_be_written_is_a_folder_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(FolderError, match="cannot be written"):
        load_or_build("some", Workspace(tmp_path / "file"), refuse)


@pytest.mark.parametrize("channels", [1, 3])
def test_resized_keeps_shape_and_flat_colours(channels: int) -> None:
    images: NDArray[np.uint8] = np.full((2, 8, 8, channels), 77, dtype=np.uint8)
    larger = resize(images, 20)
    assert larger.shape == (2, 20, 20, channels)
    assert set(larger.ravel().tolist()) == {77}
