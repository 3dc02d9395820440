from __future__ import annotations

import os
import zipfile
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from optuna_study.errors import DataError, NotFoundError, UsageError
from optuna_study.training import checkpoint, loop
from optuna_study.training.model_file import load_network, read_model, save_model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from optuna_study.config.settings import TrainConfig
    from optuna_study.training.device_data import DeviceData

CPU = torch.device("cpu")


@pytest.fixture
def written(
    tiny_data: DeviceData, config: Callable[..., TrainConfig], tmp_path: Path
) -> tuple[Path, TrainConfig]:
    """A model's file, of an untrained model."""
    made = config(normalisation="batch")
    run = loop.prepare(made, tiny_data, CPU)
    save_model(tmp_path / "model.pt", run, made, tiny_data)
    return tmp_path / "model.pt", made


def test_what_is_written_is_read(written: tuple[Path, TrainConfig], tiny_data: DeviceData) -> None:
    model = read_model(written[0])
    assert model.config == written[1]
    assert model.classes == tiny_data.classes
    assert (model.channels, model.cache_size) == (tiny_data.channels, tiny_data.cache_size)
    network = load_network(model, CPU)
    for name, weight in network.state_dict().items():
        assert torch.equal(weight, model.weights[name])


def ones(*shape: int) -> torch.Tensor:
    return torch.ones(shape)


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        (("config",), None, "config: must be a table, not nothing"),
        (("config", "data", "image_size"), 10**9, "config.data.image_size: must be between 1 and"),
        (("config", "model", "width"), "wide", "config.model.width: must be a number, not 'wide'"),
        (("config", "model", "name"), "alexnt", "config.model.name: unknown name 'alexnt', did"),
        (("config", "model", "nme"), "x", "config.model.nme: unknown key, did you mean 'name'?"),
        (("config", "train", "breakpoints"), [[0, 1.0]], "config.train.breakpoints[0]: the epoch"),
        (("classes",), "cats", "classes: must be a list of 2 to 100,000 names"),
        (("classes",), ["a", 3], "classes: must be a list of 2 to 100,000 names"),
        (("classes",), ["a", "a"], "classes: must be a list of 2 to 100,000 names"),
        (("classes",), None, "classes: must be a list of 2 to 100,000 names"),
        (("channels",), -1, "channels: must be between 1 and 16, not -1"),
        (("channels",), 2.5, "channels: must be a whole number, not 2.5"),
        (("cache_size",), 10**9, "cache_size: must be between 1 and 4,096, not 1000000000"),
        (("mean",), [0.5], "mean: must be a tensor, not a list"),
        (("mean",), ones(7), "mean: must be 3 finite numbers, one a channel"),
        (("mean",), ones(3) * torch.nan, "mean: must be 3 finite numbers, one a channel"),
        (("std",), torch.zeros(3), "std: must be above 0"),
        (("std",), ones(1).expand(10**12), "std: must be 3 finite numbers, one a channel"),
        (("permutation",), "abc", "permutation: must be a tensor, not 'abc'"),
        (("permutation",), torch.arange(7), "permutation: must be an order of "),
        (("fingerprint",), 3, "fingerprint: must be text in quotes, not 3"),
        (("epoch",), "last", "epoch: must be a whole number, not 'last'"),
        (("grey_ranges",), {"deep": [5, 1]}, "grey_ranges.deep: must be two numbers, the lower"),
        (("grey_ranges",), {"deep": "ab"}, "grey_ranges.deep: must be two numbers, the lower"),
        (("weights",), [], "weights: must be a table, not a list"),
        (("weights", "more"), 3, "weights.more: must be a tensor, not 3"),
        (("later",), 3, "later: unknown key, known: "),
    ],
)
def test_a_part_that_cannot_be_is_named_in_a_line(
    written: tuple[Path, TrainConfig], path: tuple[str, ...], value: object, sentence: str
) -> None:
    file = written[0]
    stored = checkpoint.load(file)
    table: Any = stored
    for key in path[:-1]:
        table = table[key]
    table[path[-1]] = value
    checkpoint.save(file, stored)
    with pytest.raises(DataError) as caught:
        read_model(file)
    assert str(caught.value).startswith(f"{file}: holds no model that can be used: {sentence}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["classes", "weights", "mean", "std", "channels", "cache_size"])
def test_a_part_that_is_missing_is_named(written: tuple[Path, TrainConfig], name: str) -> None:
    stored = checkpoint.load(written[0])
    del stored[name]
    checkpoint.save(written[0], stored)
    with pytest.raises(DataError, match=rf"{name}: is missing"):
        read_model(written[0])


def test_weights_of_another_model_take_no_memory(written: tuple[Path, TrainConfig]) -> None:
    stored = checkpoint.load(written[0])
    stored["config"]["model"]["width"] = 8.0
    stored["config"]["data"]["image_size"] = 1024  # some hundred GiB
    checkpoint.save(written[0], stored)
    with pytest.raises(DataError, match="the file's weights are not those of its model"):
        load_network(read_model(written[0]), CPU)


def test_a_module_that_is_not_here_is_named(written: tuple[Path, TrainConfig]) -> None:
    stored = checkpoint.load(written[0])
    stored["config"]["model"]["name"] = "not_installed_here.nets:make"
    checkpoint.save(written[0], stored)
    with pytest.raises(UsageError, match=r"module 'not_installed_here\.nets' cannot be imported"):
        load_network(read_model(written[0]), CPU, ["not_installed_here"])


def test_a_function_that_a_file_names_is_not_run_unless_allowed(
    written: tuple[Path, TrainConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "theirs.py").write_text("import pathlib; pathlib.Path('imported').touch()")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for section, name in (("model", "name"), ("model", "activation"), ("data", "name")):
        stored = checkpoint.load(written[0])
        stored["config"][section][name] = "theirs:function"
        checkpoint.save(tmp_path / "named.pt", stored)
        with pytest.raises(UsageError, match=r"functions of theirs, .* give --allow theirs"):
            load_network(read_model(tmp_path / "named.pt"), CPU)
    assert not (tmp_path / "imported").exists()


def test_pipes_and_packed_archives_are_refused(
    written: tuple[Path, TrainConfig], tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe.pt")
    with pytest.raises(NotFoundError, match="no such checkpoint"):
        read_model(tmp_path / "pipe.pt")
    packed = tmp_path / "packed.pt"
    with (
        zipfile.ZipFile(written[0]) as plain,
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for part in plain.infolist():
            archive.writestr(part.filename, plain.read(part))
    with pytest.raises(DataError, match="not a checkpoint of this program, or damaged"):
        read_model(packed)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
@pytest.mark.slow
def test_changed_bytes_are_noticed_or_change_nothing(
    written: tuple[Path, TrainConfig], data: st.DataObject
) -> None:
    file = written[0]
    whole = file.read_bytes()
    expected = read_model(file)
    damaged = bytearray(whole)
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=3)):
        damaged[place] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.sampled_from([len(whole), len(whole) - 1, len(whole) // 2, 0]))
    copy = file.with_name("damaged.pt")
    copy.write_bytes(bytes(damaged[:cut]))
    try:
        model = read_model(copy)
    except DataError:
        return
    assert model.weights.keys() == expected.weights.keys()
    for name, weight in model.weights.items():
        assert torch.equal(weight, expected.weights[name])
    for each in fields(model):
        ours, theirs = getattr(model, each.name), getattr(expected, each.name)
        if isinstance(theirs, torch.Tensor):
            assert torch.equal(ours, theirs), each.name
        elif each.name != "weights":
            assert ours == theirs, each.name
