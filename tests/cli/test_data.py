from __future__ import annotations

import hashlib
import json
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from optuna_study.cli.commands.files import data

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Any, Protocol

    class Result(Protocol):
        code: int
        out: str
        err: str


FILES = {"cat/1.jpg": b"cat " * 50, "dog/1.jpg": b"dog " * 5000}


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[list[str]]:
    """The options that fetch from a web server on this machine, with a manifest of its files."""
    root = tmp_path / "served"
    rows = ["path\tbytes\tsha256"]
    for name, content in FILES.items():
        (root / name).parent.mkdir(parents=True)
        (root / name).write_bytes(content)
        rows.append(f"{name}\t{len(content)}\t{hashlib.sha256(content).hexdigest()}")
    table = tmp_path / "manifest.tsv"
    table.write_text("\n".join(rows))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(root)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield ["--from", f"http://127.0.0.1:{server.server_port}/", "--manifest", str(table)]
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two classes of four different pictures."""
    root = tmp_path / "pictures"
    for label, name in enumerate(("cat", "dog")):
        (root / name).mkdir(parents=True)
        for number in range(4):
            random = np.random.RandomState(10 * label + number)
            coarse = random.randint(0, 256, (9, 12, 3), dtype=np.uint8)
            image = Image.fromarray(coarse).resize((60, 45), Image.Resampling.BICUBIC)
            image.save(root / name / f"{number}.png")
    return root


def answer(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """What a person types when the program asks."""
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_list_names_every_data_set(cli: Callable[..., Result]) -> None:
    result = cli("data", "list")
    assert result.code == 0
    assert [line.split()[0] for line in result.out.splitlines()] == [
        "cifar10",
        "cifar100",
        "digits",
        "fashion_mnist",
        "flower",
        "folder",
        "mnist",
        "pokemon",
        "rendered",
        "spiral",
    ]
    rows = json.loads(cli("data", "list", "-f", "json").out)
    assert rows[7]["state"] == "not here: optuna-study data fetch pokemon"


@pytest.mark.slow
def test_show_counts_classes_and_sides(cli: Callable[..., Result]) -> None:
    result = cli("data", "show", "digits", "--image-size", "16", "-f", "json")
    assert result.code == 0
    found = json.loads(result.out)
    assert found["pictures"] == 1797
    assert sum(sides["test"] for sides in found["classes"].values()) == 359
    text = cli("data", "show", "digits", "--image-size", "16").out
    assert text.startswith("digits: 1,797 handwritten digits")


def test_show_of_an_unknown_name_has_a_hint(cli: Callable[..., Result]) -> None:
    result = cli("data", "show", "digts")
    assert (result.code, result.out) == (2, "")
    assert result.err == "Error: data set 'digts': not known, did you mean 'digits'?\n"


def test_check_of_a_good_folder(cli: Callable[..., Result], pictures: Path) -> None:
    result = cli("data", "check", pictures.name)
    assert (result.code, result.err) == (0, "")
    assert result.out == (
        f"{pictures.name}: 8 pictures\n"
        "\n"
        "class  pictures  different\n"
        "cat           4          4\n"
        "dog           4          4\n"
        "largest by smallest class: 1.00\n"
        "training 4, validation 2, test 2\n"
        "\n"
        "No problems found.\n"
    )


def test_check_that_finds_something(cli: Callable[..., Result], pictures: Path) -> None:
    (pictures / "dog" / "cat.png").write_bytes((pictures / "cat" / "0.png").read_bytes())
    (pictures / "dog" / "empty.png").write_bytes(b"")
    result = cli("data", "check", str(pictures))
    assert result.code == 1
    assert "Unreadable (1):\n  dog/empty.png: not a picture (0 bytes)\n" in result.out
    assert "Byte-identical, different labels (1):\n  cat/0.png = dog/cat.png\n" in result.out
    assert result.err == (
        f"Error: {pictures}: unreadable as pictures: 1; 1 group of byte-identical pictures, "
        "1 of them across labels\n"
    )
    result = cli("data", "check", str(pictures), "-f", "json")
    assert result.code == 1
    report = json.loads(result.out)
    assert report["identical"] == [{"files": ["cat/0.png", "dog/cat.png"], "across_labels": True}]
    assert len(report["problems"]) == 2


def test_check_of_a_missing_folder(cli: Callable[..., Result]) -> None:
    result = cli("data", "check", "missing")
    assert (result.code, result.out) == (2, "")
    assert "missing: no such folder" in result.err


def test_fetch_shows_the_licence_and_the_progress(
    cli: Callable[..., Result], mirror: list[str], tmp_path: Path
) -> None:
    result = cli("data", "fetch", "pokemon", "--yes", *mirror)
    assert result.code == 0, result.err
    folder = tmp_path / "storage" / "data" / "pokemon"
    assert result.out == f"{folder}\n"
    assert {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.jpg")
    } == FILES
    assert "Licence: These pictures carry no licence at all" in result.err
    assert "squirtle/00000036.jpg, is left out" in result.err
    assert "B/s]" in result.err
    again = cli("data", "fetch", "pokemon", *mirror)
    assert (again.code, again.out, again.err) == (0, result.out, "")


def test_fetch_asks_first(
    cli: Callable[..., Result], mirror: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, "y\n")
    result = cli("data", "fetch", "pokemon", *mirror)
    assert result.code == 0, result.err
    assert "Download? [y/N]" in result.err


@pytest.mark.parametrize("typed", ["n\n", "\n", ""])
def test_fetch_refused_downloads_nothing(
    cli: Callable[..., Result],
    mirror: list[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    typed: str,
) -> None:
    answer(monkeypatch, typed)
    result = cli("data", "fetch", "pokemon", *mirror)
    assert (result.code, result.out) == (2, "")
    assert "nothing was downloaded: the licence was not accepted" in result.err
    assert not (tmp_path / "storage").exists()


def test_quiet_fetch_has_no_bar(cli: Callable[..., Result], mirror: list[str]) -> None:
    result = cli("data", "fetch", "pokemon", "--yes", "--quiet", *mirror)
    assert result.code == 0
    assert "B/s]" not in result.err


@pytest.mark.slow
def test_a_corrupted_download_is_named(
    cli: Callable[..., Result], mirror: list[str], tmp_path: Path
) -> None:
    table = tmp_path / "manifest.tsv"
    digest = hashlib.sha256(FILES["dog/1.jpg"]).hexdigest()
    table.write_text(table.read_text().replace(digest, "0" * 64))
    result = cli("data", "fetch", "pokemon", "--yes", *mirror)
    assert (result.code, result.out) == (2, "")
    assert "dog/1.jpg: what http://127.0.0.1" in result.err.splitlines()[-1]
    assert not (tmp_path / "storage" / "data" / "pokemon").exists()


def test_fetch_offline_is_one_line(
    cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    datasets = pytest.importorskip("torchvision.datasets")
    monkeypatch.setattr(datasets.FashionMNIST, "mirrors", ["http://127.0.0.1:9/"])
    result = cli("data", "fetch", "fashion_mnist", "--yes")
    assert (result.code, result.out) == (2, "")
    assert "fashion_mnist: 31 MB" in result.err
    *_, line = result.err.splitlines()
    assert line.startswith("Error: data set 'fashion_mnist': cannot be downloaded (")
    assert line.endswith("check the network, or give files that are here with --data DIR")
    assert not (tmp_path / "storage" / "data" / "FashionMNIST").exists()


def test_fetch_of_an_unknown_name_has_a_hint(cli: Callable[..., Result]) -> None:
    result = cli("data", "fetch", "flowr")
    assert result.code == 2
    assert result.err == "Error: 'flowr': nothing to fetch, did you mean 'flower'?\n"


@pytest.mark.parametrize("name", sorted(data.command.commands))
def test_every_command_has_help_with_an_example(cli: Callable[..., Result], name: str) -> None:
    result = cli("data", name, "--help")
    assert result.code == 0
    assert f"optuna-study data {name}" in result.out.split("Example:")[1]
