"""The page about adding one's own, run as it stands, and what one may get wrong."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from optuna_study.cli.main import run as cli

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```(?:python|toml)\n# (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MODULES = [f"mine/{name}.py" for name in ("activations", "models", "data", "objectives")]


def blocks() -> dict[str, str]:
    """The files that the page holds, by the path in their first line."""
    return dict(BLOCK.findall((ROOT / "docs/extending.md").read_text(encoding="utf-8")))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the page's package and study file."""
    for name, text in blocks().items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path


def pytest_in(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Pytest in the folder, which stands in PYTHONPATH."""
    paths = os.pathsep.join([str(folder), str(ROOT / "src")])
    return subprocess.run(
        [sys.executable, "-m", "pytest", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_page_holds_one_function_and_one_test_each() -> None:
    found = blocks()
    assert list(found) == [*MODULES, "mine.toml"]
    for name in MODULES:
        functions = re.findall(r"^def (\w+)", found[name], re.MULTILINE)
        assert functions == [functions[0], f"test_{functions[0]}"]


@pytest.fixture
def importable(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder, from which this process and those that it starts can import."""
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    for name in [name for name in sys.modules if name == "mine" or name.startswith("mine.")]:
        monkeypatch.delitem(sys.modules, name)
    return folder


@pytest.mark.slow
def test_what_is_added_passes_its_tests_and_is_searched_exported_and_trained_again(
    importable: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def command(*arguments: str) -> str:
        capfd.readouterr()
        code = cli(arguments)
        out, err = capfd.readouterr()
        assert code == 0, err
        return out

    done = pytest_in(importable, "-q", "-p", "no:cacheprovider", *MODULES)
    assert "4 passed" in done.stdout, done.stdout
    study = (importable / "mine.toml").read_text(encoding="utf-8")
    named = 'settings = {activation = "mine.activations:squared_relu", lr = 0.02}'
    study += f'[[baselines]]\nname = "own"\n{named}\n'  # the search may not come to it by itself
    (importable / "mine.toml").write_text(study, encoding="utf-8")
    command("launch", "mine.toml", "--no-confirm", "--device", "cpu")
    trials = json.loads(command("trials", "mine", "-f", "json"))
    assert len(trials) == 6  # four of the search, two baselines
    own = next(trial for trial in trials if trial["baseline"] == "own")
    assert own["state"] == "COMPLETE"
    assert own["params"]["activation"] == "mine.activations:squared_relu"
    assert own["value"] > 0.9
    number = str(own["number"])
    shown = command("show", "mine", "--trial", number, "-f", "json")
    assert json.loads(shown)["diagnosis"]["pattern"] == "healthy", shown
    command("export", "mine", "--trial", number, "-o", "own.toml")
    assert 'objective = "mine.objectives:smoothed"' in Path("own.toml").read_text("utf-8")
    trained = command("train", "own.toml", "-o", "again", "--verify", "--allow", "mine")
    assert "agree to the last bit" in trained


WRONG = """
import numpy as np
import torch
from torch import nn
from optuna_study.data.pictures import Pictures, computed

def epochless(run): return {}
def halved(values): return values[:, ::2]
def needy(values, more): return values
def narrow(settings, *, channels, image_size, classes): return nn.Flatten()
def no_sizes(settings): return nn.Flatten()
def numbers(request): return [1, 2, 3]
def no_request(): return None
def _pictures(images, labels=None, groups=None):
    count = len(images)
    labels = np.arange(count) % 2 if labels is None else labels
    groups = np.arange(count) if groups is None else groups
    return Pictures(images, labels, groups, ("a", "b"), "fingerprint")
BYTES = np.random.RandomState(0).randint(0, 256, (40, 16, 16, 1), dtype=np.uint8)
def floats(request): return _pictures(BYTES / 255)
def small(request): return _pictures(BYTES[:, :8, :8])
def uneven(request): return _pictures(BYTES, np.arange(39) % 2)
def third(request): return _pictures(BYTES, np.arange(40) % 3)
"""


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (
            "mine.activations:squared_relu",
            "mine.activation:squared_relu",
            "module 'mine.activation' cannot be imported (ModuleNotFoundError: No module named "
            "'mine.activation'); write package.module:function, and install the package or name "
            "its folder in PYTHONPATH",
        ),
        (
            "mine.activations:squared_relu",
            "mine.activations:squared_rleu",
            "module has no 'squared_rleu', did you mean 'squared_relu'?",
        ),
        (
            "mine.activations:squared_relu",
            "mine.wrong:halved",
            "activation 'mine.wrong:halved': gives (2, 2, 3, 3) for (2, 4, 3, 3); it must keep",
        ),
        (
            "mine.activations:squared_relu",
            "mine.wrong:needy",
            "activation 'mine.wrong:needy' cannot be used: TypeError: needy() missing 1 required "
            "positional argument: 'more'; it takes a tensor and gives one of the same shape",
        ),
        (
            "mine.models:perceptron",
            "mine.wrong:narrow",
            "model 'mine.wrong:narrow': gives (2, 256) for two pictures and 2 classes; it must",
        ),
        (
            "mine.models:perceptron",
            "mine.wrong:no_sizes",
            "model 'mine.wrong:no_sizes' cannot be used: TypeError: no_sizes() got an unexpected "
            "keyword argument 'channels'; it is called as function(settings, channels=,",
        ),
        (
            "mine.objectives:smoothed",
            "mine.wrong:epochless",
            "objective 'mine.wrong:epochless' cannot be used: TypeError: too many positional "
            "arguments; it is called as function(run, epoch) and gives a dictionary with",
        ),
        (
            "mine.objectives:smoothed",
            "mine.objective:smoothed",
            "module 'mine.objective' cannot be imported",
        ),
        ("mine.models:perceptron", "mine.broken:model", "cannot be imported (SyntaxError: "),
        ("mine.data:stripes", "mine.wrong:numbers", "gave list, not Pictures; see"),
        (
            "mine.data:stripes",
            "mine.wrong:no_request",
            "data set 'mine.wrong:no_request' cannot be used: TypeError: no_request() takes 0 "
            "positional arguments but 1 was given; it is called as function(request)",
        ),
        (
            "mine.data:stripes",
            "mine.wrong:floats",
            "its images are float64 (40, 16, 16, 1); they must be uint8 (N, side, side, channels)",
        ),
        ("mine.data:stripes", "mine.wrong:small", "its pictures have 8 pixels, a model wants 16;"),
        ("mine.data:stripes", "mine.wrong:uneven", "it has 40 images, 39 labels and 40 groups;"),
        ("mine.data:stripes", "mine.wrong:third", "its labels must be int64 from 0 to 1"),
    ],
)
@pytest.mark.slow
def test_what_is_wrong_with_it_is_one_line_before_anything_is_made(
    importable: Path, old: str, new: str, sentence: str
) -> None:
    from optuna_study.definition.read import read_study_file
    from optuna_study.definition.resolve import resolve
    from optuna_study.errors import UsageError
    from optuna_study.paths import Workspace
    from optuna_study.worker.preflight import prove

    (importable / "mine" / "wrong.py").write_text(WRONG, encoding="utf-8")
    (importable / "mine" / "broken.py").write_text("def model(:\n", encoding="utf-8")
    study = importable / "mine.toml"
    study.write_text(study.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    definition = resolve(read_study_file(study), "full", threads=1)
    with pytest.raises(UsageError) as caught:
        prove(definition, None, Workspace(importable / "storage"), "cpu")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
