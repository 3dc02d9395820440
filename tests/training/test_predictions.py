from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from PIL import Image

from optuna_study.errors import DataError, NotFoundError
from optuna_study.training import checkpoint, loop
from optuna_study.training.device_data import to_model_input
from optuna_study.training.model_file import predict, save_model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from optuna_study.config.settings import TrainConfig
    from optuna_study.training.device_data import DeviceData
    from optuna_study.training.run import Run

CPU = torch.device("cpu")


@pytest.fixture
def trained(
    tiny_data: DeviceData, config: Callable[..., TrainConfig], tmp_path: Path
) -> tuple[Path, Run]:
    settings = config(normalisation="batch", optimizer="adam", lr=0.003)
    run = loop.prepare(settings, tiny_data, CPU)
    list(loop.epochs(run))
    save_model(tmp_path / "model.pt", run, settings, tiny_data)
    return tmp_path / "model.pt", run


@pytest.fixture
def pictures(tiny_data: DeviceData, tmp_path: Path) -> list[Path]:
    """The test pictures as files, which decode to the same bytes."""
    paths = []
    for number, image in enumerate(tiny_data.test_images):
        path = tmp_path / f"picture-{number}.png"
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(path)
        paths.append(path)
    return paths


@pytest.mark.slow
def test_predictions_are_those_of_the_trained_model(
    trained: tuple[Path, Run], pictures: list[Path], tiny_data: DeviceData
) -> None:
    path, run = trained
    assert run.test().accuracy > 0.9
    run.model.eval()
    with torch.inference_mode():
        expected = run.model(to_model_input(tiny_data.test_images, tiny_data)).softmax(dim=1)
    predictions = predict(path, pictures, CPU)
    assert [prediction.image for prediction in predictions] == pictures
    for prediction, row in zip(predictions, expected, strict=True):
        chances = dict(prediction.probabilities)
        got = torch.tensor([chances[name] for name in tiny_data.classes])
        torch.testing.assert_close(got, row, rtol=1e-4, atol=1e-5)
        assert prediction.label == tiny_data.classes[int(row.argmax())]
        assert prediction.label == prediction.probabilities[0][0]
        assert prediction.note is None
        ranked = [chance for _, chance in prediction.probabilities]
        assert ranked == sorted(ranked, reverse=True)


@pytest.mark.slow
def test_more_pictures_than_a_batch(trained: tuple[Path, Run], pictures: list[Path]) -> None:
    path, _ = trained
    many = predict(path, pictures * 2, CPU)
    assert [one.label for one in many[:36]] == [one.label for one in many[36:]]


@pytest.mark.slow
def test_a_mended_picture_has_a_note(trained: tuple[Path, Run], tmp_path: Path) -> None:
    path, _ = trained
    clear = tmp_path / "clear.png"
    Image.new("RGBA", (20, 30), (200, 10, 10, 0)).save(clear)
    (prediction,) = predict(path, [clear], CPU)
    assert prediction.note is not None
    assert "clear.png" in prediction.note


@pytest.mark.slow
def test_pictures_that_cannot_be_read_take_nothing_from_the_others(
    trained: tuple[Path, Run], pictures: list[Path], tmp_path: Path
) -> None:
    gone, broken = tmp_path / "gone.jpg", tmp_path / "broken.png"
    broken.write_bytes(pictures[0].read_bytes()[:60])
    found = predict(trained[0], [gone, pictures[0], broken, pictures[1]], CPU)
    assert [each for each in found if each.problem is None] == predict(
        trained[0], pictures[:2], CPU
    )
    assert found[0].problem == f"{gone}: no such picture"
    assert str(found[2].problem).startswith(f"{broken}: damaged beyond reading")
    assert found[2].label is None
    assert [each.problem for each in predict(trained[0], [gone], CPU)] == [found[0].problem]


@pytest.mark.slow
def test_a_resumable_state_is_no_model(
    trained: tuple[Path, Run], pictures: list[Path], tmp_path: Path
) -> None:
    checkpoint.save(tmp_path / "state.pt", trained[1].state_dict())
    with pytest.raises(DataError, match=r"state\.pt: holds no trained model of this version"):
        predict(tmp_path / "state.pt", pictures, CPU)


def test_a_missing_model(pictures: list[Path], tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such checkpoint"):
        predict(tmp_path / "none.pt", pictures, CPU)


@pytest.mark.slow
def test_a_fine_tuned_model_no_longer_needs_what_it_started_from(
    trained: tuple[Path, Run], pictures: list[Path]
) -> None:
    path, _ = trained
    expected = predict(path, pictures[:2], CPU)
    stored = checkpoint.load(path)
    stored["config"]["model"]["pretrained"] = "gone.pth"
    checkpoint.save(path, stored)
    assert predict(path, pictures[:2], CPU) == expected
