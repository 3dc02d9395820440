"""What the commands make of folders as people have them, a row a kind."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import folders
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from typing import Protocol

    class Result(Protocol):
        code: int
        out: str
        err: str

    Cli = Callable[..., Result]


@dataclass(frozen=True)
class Kind:
    """A kind of folder, and what is right for it; `said` and `wrong` are parts of sentences.

    `left_out` counts the files of each reason.
    """

    make: Callable[[Path], object]
    classes: Mapping[str, int]
    parts: tuple[int, int, int] | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)
    said: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    count: str | None = None
    below: str = ""


CAT_DOG = {"cat": 10, "dog": 10}
KINDS = {
    "split": Kind(
        partial(folders.parts, counts=[("train", 12), ("val", 6), ("test", 5)]),
        {"cat": 23, "dog": 23},
        (24, 12, 10),
        said=("split into 'train', 'val' and 'test'",),
    ),
    "split by other names": Kind(
        partial(folders.parts, counts=[("Training", 6), ("VALID", 3), ("testing", 4)]),
        {"cat": 13, "dog": 13},
        (12, 6, 8),
        said=("'Training', 'VALID' and 'testing'",),
    ),
    "no test": Kind(
        partial(folders.parts, counts=[("train", 20), ("val", 6)]),
        {"cat": 26, "dog": 26},
        (32, 12, 8),
        said=("'val' is used for validation as it is; there is no test folder",),
    ),
    "no validation": Kind(
        partial(folders.parts, counts=[("train", 20), ("test", 6)]),
        {"cat": 26, "dog": 26},
        (32, 8, 12),
        said=("'test' is used for test as it is; there is no validation folder",),
    ),
    "wrapper": Kind(
        folders.wrapped,
        {"Cat": 10, "Dog": 10},
        left_out={"not a picture": 1},
        said=("the folder 'archive/PetImages' is used",),
    ),
    "one wrapper": Kind(
        folders.wrapped,
        {"Cat": 10, "Dog": 10},
        left_out={"not a picture": 1},
        said=("the folder 'PetImages' is used",),
        below="archive",
    ),
    "bad table": Kind(
        folders.badly_listed,
        CAT_DOG,
        left_out={
            "listed in labels.csv, but not there": 1,
            "without a label in labels.csv": 1,
            "unreadable: not a picture (10 bytes)": 1,
            "not listed in labels.csv": 1,
        },
        wrong=("gone.png", "blank.png", "unreadable as pictures: 1"),
        count="20 used, 4 left out",
    ),
    "table beside": Kind(partial(folders.listed, table="labels.csv", images="."), CAT_DOG),
    "table of tabs": Kind(partial(folders.listed, table="labels.tsv"), CAT_DOG),
    "table above": Kind(
        partial(folders.listed, table="labels.csv"),
        CAT_DOG,
        said=("the table of the folder above",),
        below="images",
    ),
    "machine-made": Kind(
        folders.machine_made,
        CAT_DOG,
        left_out={
            "in the hidden folder @eaDir": 5,
            "in the hidden folder $RECYCLE.BIN": 1,
            "in the hidden folder lost+found": 1,
            "in the hidden folder .ipynb_checkpoints": 1,
        },
        count="20 used, 8 left out",
    ),
    "left out": Kind(
        folders.left_out,
        {"cat": 8, "dog": 8},
        left_out={"in the hidden folder .net": 8, "in no class folder": 4},
        said=("16 used, 12 left out: 8 in the hidden folder .net, 4 in no class folder",),
        count="16 used, 12 left out",
    ),
    "links": Kind(
        folders.linked,
        {"bird": 10, "cat": 10, "dog": 10},
        left_out={
            "a link to a folder above it": 1,
            "a link to a folder that is read already": 1,
        },
        below="pics",
    ),
    "empty classes": Kind(
        folders.with_empty_classes,
        {"__background__": 10, "cat": 10, "dog": 10},
        left_out={"not a picture": 1},
        wrong=("without pictures, left out: 'bird' and 'fish'",),
        count="30 used, 1 left out",
    ),
    "sub-folders": Kind(
        folders.patients,
        {"benign": 60, "malignant": 60},
        said=('of the 20 sub-folders; data.group = "folder" keeps each on one side',),
    ),
    "12 bits": Kind(
        partial(folders.deep, top=4095),
        {"cell": 10, "void": 10},
        said=("of more than 8 bits, 0 to 4",),
    ),
    "10 bits": Kind(
        partial(folders.deep, top=1023),
        {"cell": 10, "void": 10},
        said=("of more than 8 bits, 0 to 1",),
    ),
    "mixed bits": Kind(
        partial(folders.deep, top=4095, mixed=True),
        {"cell": 10, "void": 10},
        said=("10 files of more than 8 bits, scaled by one range, and 10 of 8 bits",),
    ),
    "few levels": Kind(
        partial(folders.deep, top=7),
        {"cell": 10, "void": 10},
        said=("come to only 8 levels of grey",),
    ),
    "fractions": Kind(
        folders.fractions,
        {"bright": 8, "dark": 11},
        said=("of more than 8 bits, 0 to 1,",),
    ),
    "wide": Kind(
        folders.wide,
        {"left": 20, "right": 20},
        said=("median aspect 3.0: the middle third is all that a model sees", "data.fit"),
    ),
    "unequal": Kind(
        folders.unequal,
        {"defect": 10, "ok": 190},
        (128, 32, 40),
        wrong=("the largest class has 19.0 times the pictures of the smallest",),
    ),
    "twins": Kind(
        folders.twins,
        dict.fromkeys(("Cat", "caf\u00e9", "cafe\u0301", "cat", "dog", "dog "), 5),
        said=(
            "'Cat' and 'cat' differ by case",
            r"'cafe\u0301' and 'caf\xe9' differ by Unicode form",
            "'dog' and 'dog ' differ by blanks",
        ),
    ),
}
STUDY = """
data = {{name = "folder", folder = "{folder}", image_size = 16}}
model = {{name = "mlp", variant = "50"}}
train = {{epochs = 1, batch_size = 8}}
search = {{trials = 1}}
space = {{dropout = [0.0, 0.5]}}
"""


def make(kind: Kind, tmp_path: Path) -> Path:
    kind.make(tmp_path / "given")
    return tmp_path / "given" / kind.below


def in_one_line(result: Result) -> bool:
    """No traceback and no sentence over several lines."""
    return "Traceback" not in result.err and all(
        line.startswith("Error: ") for line in result.err.splitlines()
    )


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.slow
def test_a_folder_is_checked_and_surveyed(cli: Cli, tmp_path: Path, name: str) -> None:
    kind = KINDS[name]
    folder = make(kind, tmp_path)
    checked = cli("data", "check", folder, "-f", "json")
    assert checked.code == (1 if kind.wrong else 0), checked.err
    assert in_one_line(checked)
    report = json.loads(checked.out)
    assert report["classes"] == kind.classes
    if kind.parts:
        assert tuple(report["parts"].values()) == kind.parts
    assert Counter(each["reason"] for each in report["left_out"]) == kind.left_out
    for key, sentences in (("remarks", kind.said), ("problems", kind.wrong)):
        for sentence in sentences:
            assert [each for each in report[key] if sentence in each], report[key]
    assert len(report["problems"]) == len(kind.wrong)
    assert not report["identical"] + report["near_identical"]
    text = cli("data", "check", folder).out
    assert max(map(len, text.splitlines())) <= 80
    made = cli("init", "pets", "--data", folder)
    assert made.code == 0, made.err
    pictures = sum(kind.classes.values())
    assert f"{len(kind.classes)} classes, {pictures} pictures" in made.out
    if kind.count:
        assert kind.count in made.err


@pytest.mark.parametrize("name", ["bad table", "left out", "machine-made", "empty classes"])
def test_training_says_what_it_leaves_out(cli: Cli, tmp_path: Path, name: str) -> None:
    kind = KINDS[name]
    result = train(cli, make(kind, tmp_path), tmp_path)
    assert result.code == 0, result.err
    assert any(f"{kind.count}: " in line for line in result.err.splitlines())
    if name == "empty classes":
        assert "classes without pictures, left out: 'bird' and 'fish'" in result.err


def train(cli: Cli, folder: Path, tmp_path: Path, data: str = "", epochs: int = 1) -> Result:
    """Train a small configuration on a folder, into `trained`."""
    (tmp_path / "config.toml").write_text(
        f"data = {{name = 'folder', image_size = 32 {data}}}\n"
        "model = {name = 'mlp', variant = '50'}\n"
        f"train = {{epochs = {epochs}, batch_size = 8, lr = 0.02, optimizer = 'momentum'}}\n"
    )
    output = tmp_path / "trained"
    return cli("train", "config.toml", "--data", folder, "-o", output, "--device", "cpu")


@pytest.mark.slow
def test_a_launch_says_what_it_leaves_out(cli: Cli, tmp_path: Path) -> None:
    """Of whatever kind, it has its sentences from where `train` and `data check` have them."""
    kind = KINDS["left out"]
    folder = make(kind, tmp_path)
    (tmp_path / "pets.toml").write_text(STUDY.format(folder=folder))
    result = cli("launch", "pets.toml", "--detach", "--device", "cpu")
    assert result.code == 0, result.err
    for sentence in (*kind.said, *kind.wrong):
        assert sentence in result.err


def test_flat_pictures_are_told_both_layouts(cli: Cli, tmp_path: Path) -> None:
    folders.fill(tmp_path / "flat", folders.numbered(10), 0)
    (tmp_path / "pets.toml").write_text(STUDY.format(folder=tmp_path / "flat"))
    before = sorted(tmp_path.rglob("*"))
    for arguments in (["data", "check", "flat"], ["init", "pets", "--data", "flat"]):
        result = cli(*arguments)
        assert (result.code, result.out) == (2, "")
        [line] = result.err.splitlines()
        assert "each class in a folder of its own" in line
        assert "a labels.csv" in line
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("part", ["train", "Training", "val"])
def test_no_class_is_ever_called_like_a_part(cli: Cli, tmp_path: Path, part: str) -> None:
    folders.fill(tmp_path / "given" / part, folders.numbered(6), 0)
    folders.fill(tmp_path / "given" / "test", folders.numbered(6), 1)
    result = cli("data", "check", "given", "-f", "json")
    assert (result.code, result.out) == (2, "")
    assert "holds pictures but no class folders" in result.err


def test_a_class_missing_in_one_part_is_named(cli: Cli, tmp_path: Path) -> None:
    folders.parts(tmp_path / "given", [("train", 6), ("val", 3), ("test", 3)])
    folders.fill(tmp_path / "given" / "train" / "bird", folders.numbered(6), 90)
    folders.fill(tmp_path / "given" / "test" / "bird", folders.numbered(3), 91)
    report = json.loads(cli("data", "check", "given", "-f", "json").out)
    assert report["problems"] == ["'val' has no pictures of 'bird'"]


def test_a_copy_in_two_parts_of_a_split_is_a_problem(cli: Cli, tmp_path: Path) -> None:
    folders.parts(tmp_path / "given", [("train", 6), ("val", 3), ("test", 3)])
    folders.fill(tmp_path / "given" / "test" / "cat", ["copy.png"], 0)
    report = json.loads(cli("data", "check", "given", "-f", "json").out)
    assert "in more than one part of the split given: 1 picture" in report["problems"]
    assert report["parts"] == {"training": 12, "validation": 6, "test": 7}


def test_a_table_may_hold_parts_and_groups(cli: Cli, tmp_path: Path) -> None:
    folders.fill(tmp_path / "given" / "images", folders.numbered(24), 0)
    rows = [
        f"{number};images/{name};{('cat', 'dog')[number % 2]};{part};p{number // 4}"
        for number, name in enumerate(folders.numbered(24))
        for part in [("Train", "val", "test")[max(number // 4 - 3, 0)]]
    ]
    header = ";File Name;Class;Split;Group\n"
    folders.write(tmp_path / "given" / "Labels.CSV", header + "\n".join(rows))
    report = json.loads(cli("data", "check", "given", "-f", "json").out)
    assert report["classes"] == {"cat": 12, "dog": 12}
    assert report["parts"] == {"training": 16, "validation": 4, "test": 4}
    assert report["problems"] == []


def test_rows_that_contradict_each_other_or_say_no_part_are_named_and_left_out(
    cli: Cli, tmp_path: Path
) -> None:
    folders.fill(tmp_path / "given", folders.numbered(28), 0)
    rows = [
        f"{name},{('cat', 'dog')[number % 2]},{'test' if number > 20 else 'Train'},p{number}"
        for number, name in enumerate(folders.numbered(28))
    ]
    rows[0] = rows[0].replace("Train", "")
    rows += [rows[1].replace("dog", "cat"), rows[2].replace("Train", "test"), f"{rows[3]}0"]
    rows += [rows[4], rows[5].replace("Train", "training")]  # they say the same twice
    folders.write(tmp_path / "given" / "labels.csv", "\n".join(["file,label,split,group", *rows]))
    result = cli("data", "check", "given", "-f", "json")
    assert result.code == 1, result.err
    report = json.loads(result.out)
    assert report["problems"] == [
        "1 without a part in labels.csv: 000.png",
        "1 listed in labels.csv with several labels: 001.png",
        "1 listed in labels.csv with several parts: 002.png",
        "1 listed in labels.csv with several groups: 003.png",
    ]
    assert [each["file"] for each in report["left_out"]] == folders.numbered(4)
    assert (report["classes"], report["parts"]["test"]) == ({"cat": 12, "dog": 12}, 7)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("file,what\na.png,cat\n", "has no column 'label'; its columns are"),
        ("", "no readable table"),
        ("filename,label\n\xff", "is not UTF-8 text"),
    ],
)
def test_a_table_that_is_none_is_one_line(
    cli: Cli, tmp_path: Path, content: str, message: str
) -> None:
    folders.fill(tmp_path / "given", folders.numbered(4), 0)
    (tmp_path / "given" / "labels.csv").write_bytes(content.encode("latin-1"))
    result = cli("data", "check", "given")
    assert (result.code, result.out) == (2, "")
    assert message in result.err
    assert len(result.err.splitlines()) == 1


@pytest.mark.parametrize("text", ["name,label\ncat,0\ndog,1\n", "number,meaning\n0,cat\n"])
def test_a_table_of_something_else_leaves_class_folders_as_they_are(
    cli: Cli, tmp_path: Path, text: str
) -> None:
    folders.classes(tmp_path / "given", "cat", "dog")
    folders.write(tmp_path / "given" / "labels.csv", text)
    result = cli("data", "check", "given", "-f", "json")
    assert result.code == 0
    report = json.loads(result.out)
    assert report["classes"] == CAT_DOG
    assert "the table 'labels.csv' lists no pictures: not used" in report["remarks"]
    assert report["left_out"] == [{"file": "labels.csv", "reason": "not a picture"}]


def test_too_few_groups_are_called_groups(cli: Cli, tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        for group in range(2):
            name = tmp_path / "given" / label / f"{label}{group}"
            folders.fill(name, folders.numbered(4), 10 * group + len(label) + (label == "dog"))
    (tmp_path / "pets.toml").write_text(STUDY.format(folder=tmp_path / "given"))
    result = train(cli, tmp_path / "given", tmp_path, ", group = 'folder'")
    assert result.code == 2
    assert "class 'cat' has 2 groups; each class needs at least 3" in result.err


@pytest.mark.parametrize("group", ["folder", r"/(patient\d+)/"])
def test_a_group_lies_in_one_part(cli: Cli, tmp_path: Path, group: str) -> None:
    folders.patients(tmp_path / "given")
    report = json.loads(cli("data", "check", "given", "--group", group, "-f", "json").out)
    assert report["remarks"] == []
    assert all(count % 6 == 0 and count for count in report["parts"].values())


@pytest.mark.parametrize(
    ("group", "why"),
    [
        ("folder", "its class folders have no sub-folders"),
        ("(patient)", "no file's name holds it"),
        ("patient", "it has no table with that column"),
    ],
)
def test_a_grouping_that_groups_nothing_is_refused(
    cli: Cli, tmp_path: Path, group: str, why: str
) -> None:
    folders.classes(tmp_path / "given", "cat", "dog")
    result = cli("data", "check", "given", "--group", group)
    assert result.code == 2
    assert f"data.group = '{group}' groups nothing: {why}" in result.err


@pytest.mark.slow
def test_what_stands_at_the_sides_is_seen_as_the_fit_says(cli: Cli, tmp_path: Path) -> None:
    folders.wide(tmp_path / "given", 60)
    accuracies = {}
    for fit in ("crop", "pad", "stretch"):
        result = train(cli, tmp_path / "given", tmp_path, f", fit = '{fit}'", epochs=15)
        assert result.code == 0, result.err
        assert ("median aspect" in result.err) == (fit == "crop")
        figures = json.loads((tmp_path / "trained" / "result.json").read_text())
        accuracies[fit] = figures["test_accuracy"]
        if fit != "crop":
            predicted = cli(
                *("predict", tmp_path / "trained" / "model.pt", "-f", "json"),
                *sorted((tmp_path / "given" / "right").iterdir()),
            )
            labels = Counter(row["class"] for row in json.loads(predicted.out))
            assert labels["right"] > 50
    assert accuracies["crop"] < 0.75
    assert min(accuracies["pad"], accuracies["stretch"]) > 0.9


@pytest.mark.slow
def test_forty_damaged_files_are_each_named_and_the_rest_is_used(cli: Cli, tmp_path: Path) -> None:
    folders.classes(tmp_path / "given", "cat", "dog")
    names = folders.damaged(tmp_path / "given" / "dog")
    assert len(names) == 40
    folders.write(tmp_path / "given" / "dog" / "notes.txt")
    checked = cli("data", "check", "given", "-f", "json")
    report = json.loads(checked.out)
    assert (checked.code, report["classes"]) == (1, CAT_DOG)
    assert report["problems"] == ["unreadable as pictures: 40"]
    reasons = {each["file"]: each["reason"] for each in report["left_out"]}
    assert set(reasons) == {f"dog/{name}" for name in (*names, "notes.txt")}
    assert all(reasons[f"dog/{name}"].startswith("unreadable: ") for name in names)
    assert in_one_line(checked)

    trained = train(cli, tmp_path / "given", tmp_path)
    assert trained.code == 0, trained.err
    assert "20 used, 41 left out: 40 unreadable, 1 not a picture" in trained.err

    predicted = cli("predict", "trained/model.pt", "given/dog", "-f", "json")
    assert predicted.code == 1
    counted, *said, last = predicted.err.splitlines()
    assert counted == "10 used, 1 left out: 1 not a picture"
    assert last == "Error: 40 of 50 pictures cannot be read"
    problems = {
        row["image"]: row["problem"] for row in json.loads(predicted.out) if not row["class"]
    }
    assert set(problems) == {f"given/dog/{name}" for name in names}
    assert said == list(problems.values())
    alone = cli("predict", "trained/model.pt", "given/dog/000.png", "given/dog/001.png")
    assert (alone.code, alone.err) == (0, "")
    table = cli("predict", "trained/model.pt", "given/dog").out
    rows = [line.split() for line in table.splitlines()]
    assert all(line.split() in rows for line in alone.out.splitlines())
    assert table.count("unreadable") == 40


@pytest.mark.slow
def test_deep_pictures_are_predicted_alone_as_in_a_batch(cli: Cli, tmp_path: Path) -> None:
    folders.deep(tmp_path / "given", 1023)
    assert train(cli, tmp_path / "given", tmp_path).code == 0
    paths = sorted((tmp_path / "given" / "cell").iterdir())
    model = tmp_path / "trained" / "model.pt"
    together = json.loads(cli("predict", model, *paths, "-f", "json").out)
    for path, row in zip(paths, together, strict=True):
        [alone] = json.loads(cli("predict", model, path, "-f", "json").out)
        assert alone["class"] == row["class"]
        assert alone["probabilities"] == pytest.approx(row["probabilities"], rel=1e-5)
