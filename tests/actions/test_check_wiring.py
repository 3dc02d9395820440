"""`validate --overfit`: sound and broken wiring, within its bounds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from PIL import Image

from optuna_study.actions.check_wiring import check_wiring
from optuna_study.cli.main import run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from optuna_study.paths import Workspace

STUDIES = sorted((Path(__file__).parents[2] / "studies").glob("*.toml"))

MODELS = """
import torch
from torch import nn

class Blind(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.answer = nn.Parameter(torch.zeros(classes))
        self.unused = nn.Linear(3, 3)
    def forward(self, images):
        return self.answer.expand(len(images), -1)

def blind(settings, *, channels, image_size, classes):
    return Blind(classes)

def seeing(settings, *, channels, image_size, classes):
    flat = channels * image_size ** 2
    return nn.Sequential(nn.Flatten(), nn.Linear(flat, 32), nn.ReLU(), nn.Linear(32, classes))

class Changed(nn.Module):
    def __init__(self, flat, classes, *, seen=lambda module, values: values, frozen=()):
        super().__init__()
        self.first, self.last = nn.Linear(flat, 256), nn.Linear(256, classes)
        self.seen = seen
        for name in frozen:
            getattr(self, name).requires_grad_(False)
    def forward(self, images):
        return self.last(self.seen(self, self.first(images.flatten(1)).relu()))

def changed(channels, image_size, classes, **wrong):
    return Changed(channels * image_size ** 2, classes, **wrong)

def blind_when_judged(settings, **sizes):
    return changed(**sizes, seen=lambda module, values: values * module.training)

def detached(settings, **sizes):
    return changed(**sizes, seen=lambda module, values: values.detach())

def half_frozen(settings, **sizes):
    return changed(**sizes, frozen=("first",))

def frozen(settings, **sizes):
    return changed(**sizes, frozen=("first", "last"))

def smoothed(run, epoch):
    run.optimizer.zero_grad()
    logits = run.model(run.data.train_images / 255)
    labels = run.data.train_labels
    loss = nn.functional.cross_entropy(logits, labels, label_smoothing=0.1)
    loss.backward()
    run.optimizer.step()
    right = float((logits.argmax(1) == labels).float().mean())
    return {"train_loss": float(loss.detach()), "train_accuracy": right}

def shifted_after_a_rest(run, epoch):
    # A loss of unknown zero that rests for longer than STALLED steps before it falls.
    if epoch <= 250:
        return {"train_loss": 12.3, "train_accuracy": 0.1}
    told = smoothed(run, epoch)
    return told | {"train_loss": told["train_loss"] + 10}

def wrong_shape(settings, *, channels, image_size, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(7, classes))
"""


@pytest.fixture(autouse=True)
def _threads_put_back() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warm_workspace: Workspace
) -> Callable[..., str]:
    """A study file of digits whose base model is one of ours or one of MODELS; its path.

    The decoded digits are in `workspace`, where the commands look for them, too.
    """
    (tmp_path / "wired.py").write_text(MODELS)
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(model: str = "name = 'alexnet'\nwidth = 0.1", train: str = "") -> str:
        path = tmp_path / "small.toml"
        path.write_text(
            f"[data]\nname = 'digits'\nimage_size = 16\n[model]\n{model}\n"
            f"[train]\nepochs = 3\nthreads = 1\n{train}\n"
            "[space]\nlr = {low = 0.001, high = 0.1}\n"
        )
        return str(path)

    return write


def test_a_sound_model_learns_a_handful_by_heart(
    study: Callable[..., str], workspace: Workspace
) -> None:
    found = check_wiring(study(), workspace, device="cpu")
    assert found.sound
    assert found.sentence.startswith(
        "small@cpu: the wiring is sound: 10 pictures learned by heart, training loss 0.0"
    )
    assert found.sentence.endswith("of Adam at 0.001, where guessing gives 2.303")


def test_what_keeps_a_model_from_learning_by_heart_is_left_out(
    study: Callable[..., str], workspace: Workspace
) -> None:
    train = "lr = 0.1\nweight_decay = 1.0\nbatch_size = 1\nschedule = 'cosine'"
    model = "name = 'alexnet'\nwidth = 0.1\ndropout = 0.95\nnormalisation = 'batch'"
    assert check_wiring(study(model, train), workspace, device="cpu").sound


def test_a_model_of_ones_own_that_sees_is_sound(
    study: Callable[..., str], workspace: Workspace
) -> None:
    assert check_wiring(study("name = 'wired:seeing'"), workspace, device="cpu").sound


@pytest.mark.slow
def test_a_model_with_frozen_weights_is_sound(
    study: Callable[..., str], workspace: Workspace
) -> None:
    assert check_wiring(study("name = 'wired:half_frozen'"), workspace, device="cpu").sound


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("blind_when_judged", "in evaluation the model answers the same whatever the picture"),
        ("detached", "no gradient reaches first.weight, first.bias (freeze with requires_grad_("),
    ],
)
def test_what_is_learned_by_heart_may_be_wired_wrongly_all_the_same(
    study: Callable[..., str], workspace: Workspace, name: str, why: str
) -> None:
    found = check_wiring(study(f"name = 'wired:{name}'"), workspace, device="cpu")
    assert not found.sound
    assert found.sentence.startswith("small@cpu: 10 pictures were learned by heart (training loss")
    assert f"where guessing gives 2.303), yet {why}" in found.sentence


def test_no_figures_are_told_where_no_step_was_made(
    study: Callable[..., str], workspace: Workspace
) -> None:
    found = check_wiring(study("name = 'wired:frozen'"), workspace, device="cpu")
    assert not found.sound
    assert found.sentence == (
        "small@cpu: 10 pictures could not be learned by heart: no step was made; the model "
        "'wired:frozen' raised ValueError: optimizer got an empty parameter list"
    )


@pytest.mark.slow
def test_an_own_objective_is_judged_by_accuracy_alone(
    study: Callable[..., str], workspace: Workspace
) -> None:
    """Cross entropy on smoothed labels stays above half, which is no sign of anything."""
    path = study("name = 'wired:seeing'", "objective = 'wired:smoothed'")
    found = check_wiring(path, workspace, device="cpu")
    assert found.sound, found.sentence
    assert found.sentence.startswith(
        "small@cpu: the wiring is sound: 10 pictures learned by heart, accuracy 100 % after "
    )
    assert found.sentence.endswith(
        "by accuracy alone, since how low the loss of wired:smoothed can get is not known"
    )
    blind = study("name = 'wired:blind'", "objective = 'wired:smoothed'")
    assert not check_wiring(blind, workspace, device="cpu", steps=40).sound


def test_an_own_objective_is_not_left_early_for_what_its_loss_is(
    study: Callable[..., str], workspace: Workspace
) -> None:
    path = study("name = 'wired:seeing'", "objective = 'wired:shifted_after_a_rest'")
    found = check_wiring(path, workspace, device="cpu")
    assert found.sound, found.sentence
    assert "of Adam at 0.001; by accuracy alone" in found.sentence


@pytest.mark.slow
def test_a_model_that_ignores_its_input_is_not(
    study: Callable[..., str], workspace: Workspace
) -> None:
    found = check_wiring(study("name = 'wired:blind'"), workspace, device="cpu", steps=40)
    assert not found.sound
    assert "10 pictures could not be learned by heart: training loss 2.3" in found.sentence
    assert "answers the same whatever the picture: its output ignores it" in found.sentence
    assert "no gradient reaches unused.weight, unused.bias" in found.sentence


@pytest.mark.slow
def test_weights_of_zero_learn_nothing(study: Callable[..., str], workspace: Workspace) -> None:
    model = "name = 'alexnet'\nwidth = 0.1\ninitialisation = 'zeros'"
    found = check_wiring(study(model), workspace, device="cpu", steps=30)
    assert not found.sound
    assert "answers the same whatever the picture" in found.sentence


def test_a_model_that_raises_is_not_sound(study: Callable[..., str], workspace: Workspace) -> None:
    found = check_wiring(study("name = 'wired:wrong_shape'"), workspace, device="cpu")
    assert not found.sound
    assert "the model 'wired:wrong_shape' raised RuntimeError: " in found.sentence


@pytest.mark.slow
def test_it_ends_when_its_time_is_over(study: Callable[..., str], workspace: Workspace) -> None:
    found = check_wiring(study(), workspace, device="cpu", seconds=0.0)
    assert not found.sound
    assert "after 1 steps of Adam at 0.001" in found.sentence


@pytest.mark.slow
def test_the_command_says_it_and_ends_with_1_for_a_broken_model(
    study: Callable[..., str], tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["validate", "small.toml", "--overfit", "--device", "cpu"]
    study("name = 'wired:seeing'")
    assert run(arguments) == 0
    out = capfd.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in out] == ["small.toml is valid", "small@cpu"]
    study("name = 'wired:blind'")
    assert run(arguments) == 1
    captured = capfd.readouterr()
    assert captured.err.startswith("Error: small@cpu: 10 pictures could not be learned by heart")
    assert "is valid" in captured.out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "why"),
    [("detached", "no gradient reaches"), ("blind_when_judged", "same whatever the picture")],
)
def test_it_ends_with_1_as_its_help_says_though_the_model_learned(
    study: Callable[..., str], tmp_path: Path, capfd: Any, name: str, why: str
) -> None:
    path = study(f"name = 'wired:{name}'")
    arguments = [path, "--overfit", "--device", "cpu", "--artifacts", str(tmp_path / "storage")]
    assert run(["validate", *arguments]) == 1
    said = capfd.readouterr().err
    assert "were learned by heart" in said
    assert why in said
    assert run(["validate", "--help"]) == 0
    assert why in " ".join(capfd.readouterr().out.split())


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., str]:
    """A folder of ten pictures in two classes, each picture of one shade; its path."""

    def write(name: str, *, alike: bool) -> str:
        for label, base in (("dark", 40), ("light", 40 if alike else 180)):
            path = tmp_path / name / label
            path.mkdir(parents=True)
            for number in range(5):
                shade = base + 2 * number
                Image.new("RGB", (16, 16), (shade, shade, shade)).save(path / f"{number}.png")
        return str(tmp_path / name)

    return write


@pytest.mark.slow
def test_pictures_of_ones_own_are_those_checked(
    study: Callable[..., str], folder: Callable[..., str], tmp_path: Path, capfd: Any
) -> None:
    """The same shades in both classes cannot be told apart, however sound the model is."""
    arguments = ["validate", study("name = 'wired:seeing'"), "--overfit", "--device", "cpu"]
    arguments += ["--artifacts", str(tmp_path / "storage"), "--data"]
    assert run([*arguments, folder("apart", alike=False)]) == 0
    assert "small@cpu: the wiring is sound" in capfd.readouterr().out
    assert run([*arguments, folder("alike", alike=True)]) == 1
    assert "could not be learned by heart" in capfd.readouterr().err


@pytest.mark.slow
def test_the_profile_asked_for_is_the_one_checked(
    study: Callable[..., str], tmp_path: Path, capfd: Any
) -> None:
    arguments = ["validate", study("name = 'wired:seeing'"), "--overfit", "--device", "cpu"]
    arguments += ["--artifacts", str(tmp_path / "storage")]
    for profile, name in (("full", "small"), ("cpu", "small@cpu"), ("auto", "small@cpu")):
        assert run([*arguments, "--profile", profile]) == 0
        assert capfd.readouterr().out.splitlines()[-1].startswith(f"{name}: the wiring is sound")


@pytest.mark.slow
@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_study_of_the_package_is_sound(path: Path, shared_workspace: Workspace) -> None:
    found = check_wiring(str(path), shared_workspace, device="cpu")
    assert found.sound, found.sentence


@pytest.mark.slow
def test_pictures_that_are_absent_are_stood_in_for(shared_workspace: Workspace) -> None:
    found = check_wiring("alexnet_pokemon", shared_workspace, device="cpu", steps=1)
    assert found.sentence.startswith("alexnet_pokemon@cpu-rendered: 10 pictures")
    assert "stand in" in found.notes[0]
