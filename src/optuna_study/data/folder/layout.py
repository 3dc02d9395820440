"""What a folder of pictures is: class folders, a person's own split, or a table of labels.

Vocabulary: a *part folder* is one named like a part, whose folders are the classes. A *wrapper* is
a folder that holds nothing but the one folder that matters.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from optuna_study.data.folder.digests import file_digests
from optuna_study.data.folder.listing import (
    FOLDER_GROUP,
    IN_NO_CLASS,
    NO_GROUP,
    PARTS,
    Listing,
    PictureFile,
    group_in_name,
    is_column,
    require_groups,
    twins,
)
from optuna_study.data.folder.table import PART_NAMES, Matched, find_table, match_rows, read_rows
from optuna_study.data.folder.walk import (
    NO_PICTURE,
    Contents,
    FoundFile,
    LeftOut,
    is_picture_name,
    printable_name,
    visible_folders,
    walk,
)
from optuna_study.errors import DataError
from optuna_study.text import join_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


def list_folder(folder: Path, group: str = NO_GROUP, index: Path | None = None) -> Listing:
    """Everything in a folder: files with their classes, and what is left out.

    `group` is a value of the setting `data.group`; `index` a file that remembers digests.

    Raises:
        DataError: no such folder, one that cannot be read, or one without classes.
    """
    if not folder.is_dir():
        what = "not a folder" if folder.exists() else "no such folder"
        raise DataError(
            f"{folder}: {what}", "give one that holds a folder of pictures for each class"
        )
    try:
        above = _is_flat(folder) and find_table(folder.parent) is not None
        root = folder.parent if above else _enter_wrappers(folder)
        table = find_table(root)
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror})") from error
    contents = walk(folder)
    listing = _by_table(root, table, contents, folder, group) if table is not None else None
    if listing is None:
        listing = _by_folders(root, contents, folder, group)
        if table is not None:
            unused = f"the table '{printable_name(table.name)}' lists no pictures: not used"
            listing = replace(listing, remarks=(*listing.remarks, unused))
    require_groups(listing, group)
    files = [
        replace(file, digest=digest)
        for file, digest in zip(
            listing.files, file_digests([file.path for file in listing.files], index), strict=True
        )
    ]
    return replace(
        listing,
        files=tuple(sorted(files, key=lambda file: (file.label, file.digest, file.name))),
        left_out=tuple(sorted(listing.left_out, key=lambda each: each.file)),
        remarks=(
            *((_entered(root, folder),) if root != folder else ()),
            *listing.remarks,
            *twins(listing.classes),
        ),
        grouping=group,
    )


def _is_flat(folder: Path) -> bool:
    return not visible_folders(folder) and find_table(folder) is None


def _enter_wrappers(folder: Path) -> Path:
    """The folder that matters: below others that hold one folder alone, which holds folders."""
    entered = {folder.resolve()}
    while find_table(folder) is None:
        inner = visible_folders(folder)
        if len(inner) != 1 or inner[0].resolve() in entered:
            break
        if not visible_folders(inner[0]) and find_table(inner[0]) is None:
            break
        folder = inner[0]
        entered.add(folder.resolve())
    return folder


def _entered(root: Path, given: Path) -> str:
    if root.is_relative_to(given):
        return f"the folder '{printable_name(root.relative_to(given).as_posix())}' is used"
    return f"the table of the folder above, '{printable_name(root.name)}', is used"


# --- folders ---------------------------------------------------------------------------------


def _by_folders(root: Path, contents: Contents, folder: Path, group: str) -> Listing:
    """Files with their classes by the folders that they lie in."""
    at = root.relative_to(folder).parts
    parts = _part_folders(root)
    tops: dict[tuple[str, ...], str | None] = {at: None}
    if parts:
        tops = {
            (*at, path.name, *_enter_wrappers(path).relative_to(path).parts): part
            for path, part in parts.items()
        }
    left_out = list(contents.left_out)
    files = []
    for found in contents.files:
        top = next((top for top in tops if found.place[: len(top)] == top), None)
        below = found.place[len(top) :] if top is not None else ()
        if top is None or len(below) < 2:
            left_out.append(LeftOut(found.name, _why_outside(found, at, parts)))
            continue
        files.append(_in_class(found, below, tops[top], group))
    classes = {printable_name(place[-1]) for place in contents.folders if place[:-1] in tops}
    names = {part: path.name for path, part in parts.items()}
    part_names = {file.part: names[file.part] for file in files if file.part is not None}
    files, part_names = _drop_lone_part(files, part_names)
    return Listing(
        folder=folder,
        files=tuple(files),
        classes=tuple(sorted(classes)),
        left_out=tuple(left_out),
        remarks=_split_sentence(part_names, "folder"),
        part_names=part_names,
    )


def _part_folders(root: Path) -> dict[Path, str]:
    """The part folders of a folder, each with its part; none where its folders are classes."""
    folders = visible_folders(root)
    parts = {
        path: PART_NAMES[path.name.casefold()]
        for path in folders
        if path.name.casefold() in PART_NAMES
    }
    sure = len(parts) == len(folders) or len(set(parts.values())) > 1
    return parts if sure or any(map(visible_folders, parts)) else {}


def _in_class(
    found: FoundFile, below: tuple[str, ...], part: str | None, group: str
) -> PictureFile:
    label = printable_name(below[0])
    sub_folder = printable_name(below[1]) if len(below) > 2 else None
    return PictureFile(
        path=found.path,
        name=found.name,
        label=label,
        part=part,
        group=sub_folder if group == FOLDER_GROUP else group_in_name(found.name, group),
        sub_folder=None if sub_folder is None else f"{label}/{sub_folder}",
    )


def _why_outside(found: FoundFile, at: tuple[str, ...], parts: Mapping[Path, str]) -> str:
    if not is_picture_name(found.place[-1]):
        return NO_PICTURE
    names = {path.name for path in parts}
    below = found.place[len(at) :]
    if parts and len(below) > 1 and below[0] not in names:
        return f"beside {join_words(sorted(names))}"
    return IN_NO_CLASS


def _split_sentence(part_names: Mapping[str, str], kind: str) -> tuple[str, ...]:
    if not part_names:
        return ()
    named = [f"'{part_names[part]}'" for part in PARTS if part in part_names]
    if len(part_names) == len(PARTS):
        return (f"the split into {join_words(named)} is used as it is",)
    missing = next(part for part in PARTS if part not in part_names)
    if missing == "training":
        return (f"{join_words(named)} are used as they are, and there is no training {kind}",)
    given = next(part for part in ("validation", "test") if part in part_names)
    return (
        f"'{part_names[given]}' is used for {given} as it is; there is no {missing} {kind}, so a "
        f"fifth of '{part_names['training']}' is split off for it",
    )


# --- a table ---------------------------------------------------------------------------------


def _by_table(
    root: Path, table: Path, contents: Contents, folder: Path, group: str
) -> Listing | None:
    """Files with their classes by a table; None where it is none, and there are class folders."""
    column = group if is_column(group) else None
    try:
        rows = read_rows(table, column)
    except DataError:
        if column is None and len(visible_folders(root)) > 1:
            return None
        raise
    found = {
        place: file
        for file in contents.files
        if (place := _below(root, folder, file)) is not None and file.path.name != table.name
    }
    matched = match_rows(rows, list(found), table.name)
    if not matched.rows and len(visible_folders(root)) > 1:
        return None
    folders = {place.rpartition("/")[0] for place in matched.rows}
    files = []
    for place, row in matched.rows.items():
        within = place.rpartition("/")[0] if len(folders) > 1 else None
        kinds = {FOLDER_GROUP: within, NO_GROUP: row.group or None, column: row.group or None}
        name = found[place].name
        files.append(
            PictureFile(
                path=found[place].path,
                name=name,
                label=printable_name(row.label),
                part=row.part,
                group=kinds[group] if group in kinds else group_in_name(name, group),
                sub_folder=within,
            )
        )
    part_names = {row.part: row.split for row in matched.rows.values() if row.part is not None}
    files, part_names = _drop_lone_part(files, part_names)
    return Listing(
        folder=folder,
        files=tuple(files),
        classes=tuple(sorted({file.label for file in files})),
        left_out=(*contents.left_out, *_unused(matched, found, contents, table)),
        problems=tuple(
            f"{len(names)} {reason}, the first {names[0]}"
            if len(names) > 1
            else f"1 {reason}: {names[0]}"
            for reason, names in matched.wrong.items()
        ),
        remarks=(
            f"classes are those of the table '{printable_name(table.name)}'",
            *_split_sentence(part_names, "row"),
        ),
        part_names=part_names,
    )


def _below(root: Path, folder: Path, file: FoundFile) -> str | None:
    """A file's place below the folder of its table; None where it lies elsewhere."""
    if not root.is_relative_to(folder):  # the folder above
        return "/".join((folder.name, *file.place))
    at = root.relative_to(folder).parts
    return "/".join(file.place[len(at) :]) if file.place[: len(at)] == at else None


def _unused(
    matched: Matched, found: Mapping[str, FoundFile], contents: Contents, table: Path
) -> Iterator[LeftOut]:
    for reason, names in matched.wrong.items():
        for name in names:
            yield LeftOut(found[name].name if name in found else printable_name(name), reason)
    unlisted = {found[place].path for place in matched.unlisted}
    known = {file.path for file in found.values()} - unlisted
    for file in contents.files:
        if file.path not in known and file.path.name != table.name:
            named = is_picture_name(file.place[-1])
            yield LeftOut(file.name, f"not listed in {table.name}" if named else NO_PICTURE)


def _drop_lone_part(
    files: list[PictureFile], part_names: dict[str, str]
) -> tuple[list[PictureFile], dict[str, str]]:
    """Where only one part has labelled pictures there is no split."""
    if len(part_names) > 1:
        return files, part_names
    return [replace(file, part=None) for file in files], {}
