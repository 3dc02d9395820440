"""Labels that stand in a table, `labels.csv` or `labels.tsv`, instead of in folders' names."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from optuna_study.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pandas

TABLE_NAMES = ("labels.csv", "labels.tsv")
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "file": (
        *("filename", "file", "filepath", "path", "imagepath", "imagefile", "imagename"),
        *("image", "img", "picture", "photo", "imageid", "id", "name"),
    ),
    "label": ("label", "class", "labels", "classname", "labelname", "category", "target", "y"),
    "split": ("split", "part", "subset", "partition", "set"),
    "group": ("group", "groupid"),
}
"""What each column may be called, the likelier first; case, blanks and signs do not matter."""

PART_NAMES: Mapping[str, str] = {
    **dict.fromkeys(("train", "training", "trn"), "training"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
}
"""What a part may be called, as a folder or in a table, in lower case."""


@dataclass(frozen=True)
class Row:
    """A row of a table: a file as it is written there, and what is said of it."""

    file: str
    label: str
    split: str
    group: str

    @property
    def part(self) -> str | None:
        """The part that it says, None where it says none."""
        return PART_NAMES.get(self.split.casefold())


def find_table(folder: Path) -> Path | None:
    """The table of labels in a folder, if there is one."""
    names = {path.name.casefold(): path for path in sorted(folder.iterdir()) if path.is_file()}
    return next((names[name] for name in TABLE_NAMES if name in names), None)


def read_rows(path: Path, group: str | None = None) -> list[Row]:
    """The rows of a table; `group` names the column of groups where it is another than `group`.

    Raises:
        DataError: it cannot be read, or lacks a column.
    """
    frame = _read_frame(path)
    names = {_plain(str(column)): str(column) for column in reversed(frame.columns)}
    columns = {
        kind: next((names[name] for name in known if name in names), None)
        for kind, known in COLUMNS.items()
    }
    if group is not None:
        columns["group"] = names.get(_plain(group))
    for kind, wanted in (("file", "file"), ("label", "label"), ("group", group)):
        if columns[kind] is None and (kind != "group" or group is not None):
            shown = ", ".join(f"'{column}'" for column in frame.columns)
            raise DataError(f"{path}: has no column '{wanted}'", f"its columns are {shown[:200]}")
    empty = [""] * len(frame)
    values = [
        frame[column].str.strip().tolist() if column is not None else empty
        for column in columns.values()
    ]
    return [Row(*row) for row in zip(*values, strict=True) if any(row)]


def _read_frame(path: Path) -> pandas.DataFrame:
    import pandas

    try:
        with path.open("rb") as file:
            start = file.read(4096)
        encoding = "utf-16" if start[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
        header = next(iter(start.decode(encoding, errors="ignore").splitlines()), "")
        likely = "\t,;" if path.suffix.casefold() == ".tsv" else ",;\t"
        return pandas.read_csv(
            path,
            sep=max(likely, key=header.count),
            dtype=str,
            keep_default_na=False,
            encoding=encoding,
        ).fillna("")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeError as error:
        raise DataError(f"{path}: is not UTF-8 text", "save it as UTF-8") from error
    except (ValueError, pandas.errors.ParserError) as error:  # an empty file, rows too long
        reason = next(iter(str(error).splitlines()), type(error).__name__).strip()
        raise DataError(f"{path}: no readable table ({reason})") from error


def _plain(column: str) -> str:
    return re.sub(r"[\W_]+", "", column).casefold()


@dataclass(frozen=True)
class Matched:
    """Which files a table's rows mean, by their places; names that are wrong, by the reason."""

    rows: Mapping[str, Row]
    wrong: Mapping[str, Sequence[str]]
    unlisted: Sequence[str]


def match_rows(rows: Iterable[Row], places: Sequence[str], table: str) -> Matched:
    """Find the files of a table's rows among `places`, those of the files below its folder."""
    finder = FileFinder(places)
    matched: dict[str, Row] = {}
    wrong: dict[str, list[str]] = defaultdict(list)
    clashing: set[str] = set()
    listed: set[str] = set()
    rows = list(rows)
    is_split = len({row.part for row in rows} - {None}) > 1
    for row in rows:
        means = finder.find(row.file)
        listed.update(means)
        reason = _wrong_row(row, means, is_split)
        if reason is not None:
            wrong[reason.format(table)].append(
                means[0] if len(means) == 1 else row.file or "a row"
            )
        elif clash := _clash(matched.setdefault(means[0], row), row):
            wrong[f"listed in {table} with several {clash}"].append(means[0])
            clashing.add(means[0])
    for place in clashing:
        del matched[place]
    unlisted = [place for place in places if place not in listed]
    return Matched(matched, wrong, unlisted)


def _clash(first: Row, second: Row) -> str | None:
    """What two rows of one file say differently."""
    if first.label != second.label:
        return "labels"
    if first.part != second.part:
        return "parts"
    return "groups" if first.group != second.group else None


def _wrong_row(row: Row, means: Sequence[str], is_split: bool) -> str | None:
    if not means:
        return "listed in {}, but not there"
    if len(means) > 1:
        return "listed in {} by a name that several files have"
    if not row.label:
        return "without a label in {}"
    if row.split and row.part is None:
        return "of a part in {} that is neither train, val nor test"
    if is_split and row.part is None:
        return "without a part in {}"
    return None


class FileFinder:
    """Finds the files that a table's rows mean among those below its folder."""

    def __init__(self, places: Iterable[str]) -> None:
        """Know some files by their places below the table's folder, with `/` between names."""
        self._by_name: dict[str, list[str]] = defaultdict(list)
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        for place in places:
            self._by_name[PurePosixPath(place).name].append(place)
            self._by_stem[PurePosixPath(place).stem].append(place)

    def find(self, written: str) -> Sequence[str]:
        r"""The places that a row may mean: by all that it says, then by its end, then any suffix.

        >>> finder = FileFinder(["images/1.png", "old/1.png", "images/2.png"])
        >>> (
        ...     finder.find("images\\\\1.png"),
        ...     finder.find("2.png"),
        ...     finder.find("2"),
        ...     finder.find("3"),
        ... )
        (['images/1.png'], ['images/2.png'], ['images/2.png'], [])
        >>> finder.find("1.png")
        ['images/1.png', 'old/1.png']
        """
        wanted = str(PurePosixPath(written.replace("\\", "/")))
        name = PurePosixPath(wanted).name
        same_name = self._by_name.get(name, [])
        if wanted in same_name:
            return [wanted]
        places = [place for place in same_name if f"/{place}".endswith(f"/{wanted}")]
        if places or not name:
            return places
        return [place for place in self._by_stem.get(name, []) if f"/{wanted}." in f"/{place}"]
