from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from optuna_study.definition.read import (
    find_study_file,
    parse_study_file,
    read_study_file,
    study_folders,
)
from optuna_study.errors import NotFoundError, StudyFileError
from optuna_study.space.dimensions import Breakpoints, Choice, FloatRange

if TYPE_CHECKING:
    from collections.abc import Callable

    from optuna_study.definition.model import StudyFile

SPACE = '[space]\nactivation = ["relu", "gelu"]\n'


def test_a_file_becomes_typed_values(small_file: StudyFile) -> None:
    assert small_file.title == "A small study"
    assert small_file.config.train.epochs == 150
    assert small_file.search.trials == 30
    assert small_file.search.direction == "maximize"
    by_name = {each.setting: each for each in small_file.space}
    assert by_name["batch_size"] == Choice("batch_size", (8, 16, 32))
    assert by_name["dropout"] == FloatRange("dropout", 0.0, 0.6, step=0.1)
    assert by_name["momentum"] == FloatRange(
        "momentum", 0.5, 0.99, when={"optimizer": ("momentum",)}
    )
    assert by_name["breakpoints"] == Breakpoints("breakpoints", 2, 0.01, 1.0, factor_log=True)
    assert [each.name for each in small_file.baselines] == ["plain", "stepped", "reverse"]
    assert small_file.baselines[1].settings["breakpoints"] == ((18, 0.003),)
    assert small_file.profiles["cpu"].settings == {"train": {"epochs": 15}}


def test_whole_numbers_become_fractions_where_these_are_meant() -> None:
    file = parse_study_file(
        "model = {dropout = 0, width = 2}\ntrain = {lr = 1, breakpoints = [[3, 1]]}\n"
        "[space]\ndropout = [0, 0.5]\nslope = {low = 0, high = 1}\n",
        "whole",
    )
    for value in (file.config.model.dropout, file.config.model.width, file.config.train.lr):
        assert type(value) is float
    assert type(file.config.train.breakpoints[0][1]) is float
    dropout, slope = file.space
    assert isinstance(dropout, Choice)
    assert [type(each) for each in dropout.choices] == [float, float]
    assert isinstance(slope, FloatRange)
    assert type(slope.low) is float


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("titel = 'x'", "titel: unknown key, did you mean 'title'?"),
        ("title = 3", "title: must be text in quotes, not 3"),
        ("data = 3", "data: must be a table, not 3"),
        ("data = {image_sise = 3}", "data.image_sise: unknown key, did you mean 'image_size'?"),
        ("data = {lr = 3}", "data.lr: unknown key, it belongs in [train]"),
        ("data = {image_size = 0}", "data.image_size: must be between 1 and 1,024, not 0"),
        (  # truncated_normal divides by it, and weights of zero have a name of their own
            "model = {initialisation_std = 0}",
            "model.initialisation_std: must be between 1e-08 and 1, not 0",
        ),
        ("data = {image_size = 32.0}", "data.image_size: must be a whole number, not 32.0"),
        ("data = {image_size = true}", "data.image_size: must be a whole number, not true"),
        ("data = {name = 'digit'}", "data.name: unknown name 'digit', did you mean 'digits'?"),
        ("data = {name = 7}", "data.name: must be text in quotes, not 7"),
        ("data = {name = ':f'}", "data.name: ':f' must look like package.module:function"),
        ("data = {folder = 7}", "data.folder: must be text in quotes, not 7"),
        ("data = {folder = ''}", "data.folder: must name a folder"),
        (
            "data = {stand_in = 'renderd'}",
            "data.stand_in: must be a built-in data set, not 'renderd', did you mean 'rendered'?",
        ),
        (
            "data = {augmentation = 'crop+flop'}",
            "data.augmentation: no 'flop' to join with others, did you mean 'flip'?",
        ),
        (
            "data = {augmentation = 'crop+crop'}",
            "data.augmentation: 'crop' stands twice; name it once",
        ),
        (
            "data = {fit = 'padd'}",
            "data.fit: unknown name 'padd', did you mean 'pad'?",
        ),
        (
            "data = {group = '(patient'}",
            "data.group: '(patient' is no regular expression (missing ), unterminated subpattern "
            "at position 0)",
        ),
        (
            "data = {group = ' '}",
            "data.group: must be none, folder, a column's name or a pattern with a (group), not "
            "' '",
        ),
        (
            "model = {name = 'alexnt'}",
            "model.name: unknown name 'alexnt', did you mean 'alexnet'?",
        ),
        (
            "model = {activation = 'rleu'}",
            "model.activation: unknown name 'rleu', did you mean 'relu'?",
        ),
        (
            "model = {variant = 'singletower'}",
            "model.variant: unknown variant 'singletower', did you mean 'single_tower'?",
        ),
        ("model = {dropout = nan}", "model.dropout: must be finite, not nan"),
        ("model = {dropout = inf}", "model.dropout: must be finite, not inf"),
        ("model = {dropout = true}", "model.dropout: must be a number, not true"),
        ("model = {dropout = '0.5'}", "model.dropout: must be a number, not '0.5'"),
        ("model = {dropout = [0.5]}", "model.dropout: must be a number, not a list"),
        ("model = {dropout = 2026-11-23}", "model.dropout: must be a number, not a date"),
        (
            f"model = {{dropout = 1{'0' * 400}}}",
            "model.dropout: must be finite, not a number of more than 18 digits",
        ),
        (
            "train = {optimizer = 'adm'}",
            "train.optimizer: unknown name 'adm', did you mean 'adam'?",
        ),
        (
            "train = {optimizer = 'a.b:c'}",
            "train.optimizer: unknown name 'a.b:c', known: adagrad, adam, adamw, gd, lamb, "
            "momentum, nesterov, rmsprop, sgd",
        ),
        (
            "train = {breakpoints = 3}",
            "train.breakpoints: must be a list of [epoch, lr] pairs, not 3",
        ),
        (
            "train = {breakpoints = [[5, 0.01], 3]}",
            "train.breakpoints[1]: must be an [epoch, lr] pair, not 3",
        ),
        (
            "train = {breakpoints = [[2.5, 0.1]]}",
            "train.breakpoints[0]: must be a whole number, not 2.5",
        ),
        (
            "train = {breakpoints = [[0, 0.1]]}",
            "train.breakpoints[0]: the epoch must be positive, not 0",
        ),
        (
            "train = {breakpoints = [[1, 0]]}",
            "train.breakpoints[0]: the rate must be above 0 and at most 100, not 0",
        ),
        (
            "train = {breakpoints = [[1, nan]]}",
            "train.breakpoints[0]: must be finite, not nan",
        ),
        (
            "train = {breakpoints = [[5, 0.1], [5, 0.01]]}",
            "train.breakpoints: out of order: epoch 5 comes after epoch 5",
        ),
        (
            "train = {epochs = 10, breakpoints = [[10, 0.1]]}",
            "train.breakpoints: epoch 10 is not before the last of 10 epochs",
        ),
        (
            "search = {metric = 'valid_accuracy'}",
            "search.metric: unknown name 'valid_accuracy', did you mean 'validation_accuracy'?",
        ),
        ("search = {trials = 0}", "search.trials: must be between 1 and 1,000,000, not 0"),
        ("search = {timeout = 0}", "search.timeout: must be between 1 and 1,000,000,000, not 0"),
        (
            "search = {sampler = 'grid'}",
            "search.sampler: unknown name 'grid', known: cmaes, gp, nsgaii, qmc, random, tpe",
        ),
        ("search = {trails = 5}", "search.trails: unknown key, did you mean 'trials'?"),
        ("baselines = 3", "baselines: must be written as [[baselines]] tables, not 3"),
        ("baselines = [3]", "baselines[0]: must be a table, not 3"),
        ("profile = {gpu = {}}", "profile.gpu: unknown key, did you mean 'cpu'?"),
        (
            "profile = {cpu = {trian = {}}}",
            "profile.cpu.trian: unknown key, did you mean 'train'?",
        ),
        (
            "profile = {cpu = {train = {epohcs = 3}}}",
            "profile.cpu.train.epohcs: unknown key, did you mean 'epochs'?",
        ),
        (
            "profile = {cpu = {data = {folder = 'x'}}}",
            "profile.cpu.data.folder: unknown key, known: augmentation, "
            "evaluation, fit, group, image_size, name, picture_limit, pixels, scaling, subset, "
            "training_size, views",
        ),
        (
            "profile = {cpu = {train = {epochs = 'few'}}}",
            "profile.cpu.train.epochs: must be a whole number, not 'few'",
        ),
        (
            "profile = {cpu = {space = {lrr = [0.1]}}}",
            "profile.cpu.space.lrr: unknown setting, did you mean 'lr'?",
        ),
        (
            "provenance = {study = 'x'}",
            "provenance: is an exported configuration; use `optuna-study train`",
        ),
    ],
)
def test_each_problem_has_its_path_and_its_remedy(
    problems: Callable[[str], list[str]], text: str, expected: str
) -> None:
    assert problems(f"{text}\n{SPACE}") == [expected]


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ("", "space: is empty: name at least one setting to search"),
        ("lrr = [0.1]", "space.lrr: unknown setting, did you mean 'lr'?"),
        ("epochs = [5, 10]", "space.epochs: cannot be searched; set it in [train]"),
        ("dropout = []", "space.dropout: is empty; write {low = ..., high = ...} or a list"),
        ("dropout = {}", "space.dropout: is empty; write {low = ..., high = ...} or a list"),
        ("activation = []", "space.activation: is empty; write a list of names"),
        ("dropout = 0.5", "space.dropout: must be a table, not 0.5"),
        ("dropout = {low = 0.1}", "space.dropout: high is missing; write {low = ..., high"),
        ("dropout = {low = 0.5, high = 0.5}", "space.dropout: low must be below high, not 0.5"),
        (
            "dropout = {low = 0, high = 0.5, log = true}",
            "space.dropout: a log range needs low above 0, not 0",
        ),
        (
            "dropout = {low = 0, high = 1}",
            "space.dropout.high: must be between 0 and 0.95, not 1",
        ),
        (
            "dropout = {low = 0, high = 0.5, step = 0.2}",
            "space.dropout: high is not a whole number of steps of 0.2 above low",
        ),
        ("dropout = {low = 0, high = 0.5, step = 0}", "space.dropout.step: must be above 0"),
        (
            "dropout = {low = 0.1, high = 0.5, step = 0.1, log = true}",
            "space.dropout: has log and step; keep one of them",
        ),
        (
            "dropout = {low = 0.1, high = 0.5, log = 1}",
            "space.dropout.log: must be true or false, not 1",
        ),
        (
            "dropout = {low = 0.1, hihg = 0.5}",
            "space.dropout.hihg: unknown key, did you mean 'high'?",
        ),
        (
            "batch_size = {low = 8, high = 32.5}",
            "space.batch_size.high: must be a whole number, not 32.5",
        ),
        ("batch_size = [8, 16, 8]", "space.batch_size[2]: 8 stands twice; name it once"),
        ("dropout = [0, 0.0]", "space.dropout[1]: 0.0 stands twice; name it once"),
        ("batch_size = [8, true]", "space.batch_size[1]: must be a whole number, not true"),
        ("activation = ['relu', 'rleu']", "space.activation[1]: unknown name 'rleu', did you"),
        (
            "activation = {choices = 'relu'}",
            "space.activation: choices must be a list, not 'relu'",
        ),
        (
            "activation = {low = 1, high = 2}",
            "space.activation.low: unknown key, known: choices, when",
        ),
        (
            "dropout = {choices = [0.1], low = 0.2}",
            "space.dropout: has choices and a range; keep one of them",
        ),
        ("variant = ['orignal']", "space.variant: unknown variant 'orignal', did you mean"),
        (
            "momentum = {low = 0.5, high = 0.9, when = {optimiser = 'sgd'}}",
            "space.momentum.when.optimiser: unknown setting, did you mean 'optimizer'?",
        ),
        (
            "momentum = {low = 0.5, high = 0.9, when = {optimizer = 'sgd'}}",
            "space.momentum.when.optimizer: 'optimizer' is not searched; add it to [space]",
        ),
        (
            "optimizer = ['sgd', 'adam']\n"
            "momentum = {low = 0.5, high = 0.9, when = {optimizer = 'momentum'}}",
            "space.momentum.when.optimizer: 'momentum' is not among the choices of",
        ),
        (
            "momentum = {low = 0.5, high = 0.9, when = {optimizer = 'momentun'}}",
            "space.momentum.when.optimizer: unknown name 'momentun', did you mean 'momentum'?",
        ),
        (
            "momentum = {low = 0.5, high = 0.9, when = {optimizer = []}}",
            "space.momentum.when.optimizer: is empty; name the values",
        ),
        (
            "momentum = {low = 0.5, high = 0.9, when = {breakpoints = 1}}",
            "space.momentum.when.breakpoints: a condition needs a setting of one value",
        ),
        (
            "momentum = {low = 0.5, high = 0.9, when = 'momentum'}",
            "space.momentum.when: must be a table, not 'momentum'",
        ),
        ("momentum = {when = {activation = 'relu'}}", "space.momentum: is empty; write {low"),
        ("breakpoints = {most = 0, factor = {low = 0.1, high = 1}}", "space.breakpoints.most: "),
        ("breakpoints = {factor = {low = 0.1, high = 1}}", "space.breakpoints: most is missing"),
        ("breakpoints = {most = 2}", "space.breakpoints: factor is missing; write {most = 2"),
        ("breakpoints = {most = 2, factor = 3}", "space.breakpoints.factor: must be a table"),
        ("breakpoints = {most = 2, factor = {low = 1}}", "space.breakpoints.factor: high is"),
        (
            "breakpoints = {most = 2, factor = {low = 0, high = 1}}",
            "space.breakpoints.factor.low: must be above 0, not 0",
        ),
        (
            "breakpoints = {most = 2, factor = {low = 1, high = 0.1}}",
            "space.breakpoints.factor: low must be below high, not 1 and 0.1",
        ),
        (
            "breakpoints = {most = 1, factor = {low = 0.1, high = 1}, "
            "after = {low = 5, high = 10}}",
            "space.breakpoints.after: must lie within 1 to 9 in a run of 10 epochs",
        ),
        (
            "breakpoints = {most = 1, factor = {low = 0.1, high = 1, log = 3}}",
            "space.breakpoints.factor.log: must be true or false, not 3",
        ),
        ("breakpoints = [[18, 0.003]]", "space.breakpoints.choices: unknown key, known: after"),
    ],
)
def test_entries_of_the_space_say_what_is_wrong(
    problems: Callable[[str], list[str]], entries: str, expected: str
) -> None:
    found = problems(f"[space]\n{entries}\n")
    assert found[0].startswith(expected)


@pytest.mark.parametrize(
    ("baseline", "expected"),
    [
        (
            "name = 'x y'",
            "baselines[0].name: 'x y' cannot be a baseline's name; use letters, digits",
        ),
        ("group = 'lr'", "baselines[0].name: '' cannot be a baseline's name; use letters"),
        ("name = 'a'\nsetings = {}", "baselines.a.setings: unknown key, did you mean 'settings'?"),
        (
            "name = 'a'\nsettings = {batchsize = 8}",
            "baselines.a.batchsize: unknown setting, did you mean 'batch_size'?",
        ),
        (
            "name = 'a'\nsettings = {threads = 8}",
            "baselines.a.threads: is the same for all trials; set it in [train]",
        ),
        (
            "name = 'a'\nsettings = {activation = 3}",
            "baselines.a.activation: must be text in quotes, not 3",
        ),
        (
            "name = 'a'\nsettings = {activation = 'tanh'}",
            "baselines.a.activation: tanh is none of relu, gelu; widen space.activation, or list "
            "'activation' in the baseline's outside",
        ),
        (
            "name = 'a'\nsettings = {breakpoints = [[5, 0.1], [3, 0.01]]}",
            "baselines.a.breakpoints: out of order: epoch 3 comes after epoch 5",
        ),
        (
            "name = 'a'\nsettings = {breakpoints = [[9, 0.1], [12, 0.01]]}",
            "baselines.a.breakpoints: epoch 12 is not before the last of 10 epochs",
        ),
        (
            "name = 'a'\nsettings = {variant = 'orignal'}",
            "baselines.a.variant: unknown variant 'orignal', did you mean 'original'?",
        ),
        (
            "name = 'a'\noutside = 'lr'",
            "baselines.a.outside: must be a list of settings, not 'lr'",
        ),
        (
            "name = 'a'\noutside = ['activaton']",
            "baselines.a.outside: unknown setting 'activaton', did you mean 'activation'?",
        ),
        (
            "name = 'a'\noutside = ['lr']",
            "baselines.a.outside: 'lr' is not searched, so it lies outside nothing",
        ),
        (
            "name = 'a'\nin_search = 'no'",
            "baselines.a.in_search: must be true or false, not 'no'",
        ),
        (
            "name = 'a'\nrank = 0",
            "baselines.a.rank: must be 1 for the best, or more, not 0",
        ),
        (
            "name = 'a'\nfigure = {test_acuracy = 0.5}",
            "baselines.a.figure.test_acuracy: unknown key, did you mean 'test_accuracy'?",
        ),
        (
            "name = 'a'\nfigure = {test_accuracy = 87}",
            "baselines.a.figure.test_accuracy: must be a fraction of 1, not 87",
        ),
        (
            "name = 'a'\nfigure = {test_accuracy = 0.8, train_accuracy = 0.9}",
            "baselines.a.figure: must hold one figure, test_accuracy or train_accuracy",
        ),
        (
            "name = 'a'\nfigure = 0.9",
            "baselines.a.figure: must be a table, not 0.9",
        ),
        (
            "name = 'a'\n[[baselines]]\nname = 'a'",
            "baselines[1]: a second baseline named 'a'; names are unique",
        ),
    ],
)
def test_baselines_say_what_is_wrong(
    problems: Callable[[str], list[str]], baseline: str, expected: str
) -> None:
    found = problems(f"{SPACE}[[baselines]]\n{baseline}\n")
    assert len(found) == 1
    assert found[0].startswith(expected)


def test_a_second_stage_says_what_is_wrong(problems: Callable[[str], list[str]]) -> None:
    given = """
[search.finetune]
trials = 3
settings = {train_layer = "all", seed = 2, threads = 2, epochs = 4, breakpoints = [[9, 1]], lr = 9}
space = {lr = [0.1, 0.2], epochs = [2, 3], slope = {low = 0, high = 1, when = {lr2 = 1}}}
[space]
lr = [0.1, 0.2]
"""
    assert problems(given) == [
        "search.finetune.train_layer: unknown setting, did you mean 'train_layers'?",
        "search.finetune.seed: is the same for all trials; set it in [train]",
        "search.finetune.space.epochs: cannot be searched; set it in [train]",
        "search.finetune.space.slope.when.lr2: unknown setting, did you mean 'lr'?",
        "search.finetune.space.lr: stands in search.finetune.settings, too; leave one of them out",
        "search.finetune.breakpoints: epoch 9 is not before the last of 4 epochs",
    ]


def test_conditions_in_a_circle_are_told(problems: Callable[[str], list[str]]) -> None:
    found = problems(
        "[space]\n"
        "activation = {choices = ['relu', 'gelu'], when = {optimizer = 'sgd'}}\n"
        "optimizer = {choices = ['sgd', 'adam'], when = {activation = 'relu'}}\n"
    )
    assert found == [
        "space.activation.when: is a circle: it depends on itself through others",
        "space.optimizer.when: is a circle: it depends on itself through others",
    ]


def test_what_depends_on_a_broken_entry_is_not_blamed(
    problems: Callable[[str], list[str]],
) -> None:
    found = problems(
        f"{SPACE}optimizer = ['sgd', 'adm']\n"
        "momentum = {low = 0.5, high = 0.9, when = {optimizer = 'sgd'}}\n"
        "dropout = {low = 0.1, high = 0.9, when = {momentum = 0.5}}\n"
        "[[baselines]]\nname = 'a'\nsettings = {optimizer = 'sgd', dropout = 0.95}\n"
    )
    assert found == ["space.optimizer[1]: unknown name 'adm', did you mean 'adam'?"]


def test_every_problem_is_told_at_once(problems: Callable[[str], list[str]]) -> None:
    found = problems(
        "titel = 'x'\n[train]\nepochs = true\n[space]\ndropout = []\nlr = {low = 1, high = 0.1}\n"
        "[[baselines]]\nname = 'a'\nsettings = {activation = 'rleu'}\n[search]\ntrials = 0\n"
    )
    assert [each.split(":")[0] for each in found] == [
        "titel",
        "train.epochs",
        "search.trials",
        "space.dropout",
        "space.lr",
        "baselines.a.activation",
    ]


def test_a_profiles_own_problem_names_the_profile(
    problems: Callable[[str], list[str]],
) -> None:
    found = problems(
        "train = {epochs = 50}\n"
        "[space]\nactivation = ['relu', 'gelu']\n"
        "breakpoints = {most = 3, factor = {low = 0.1, high = 1}}\n"
        "[[baselines]]\nname = 'a'\n"
        "settings = {lr = 1, breakpoints = [[10, 0.5], [20, 0.2], [30, 0.1]]}\n"
        "[profile.cpu.train]\nepochs = 3\n"
    )
    assert found == [
        "profile.cpu: baselines.a.breakpoints: epoch 3 is not before the last of 3 epochs"
    ]


def test_no_toml_says_where() -> None:
    with pytest.raises(StudyFileError, match=r"no valid TOML: .*line 2, column"):
        parse_study_file("title = 'x'\nlr = = 3\n", "small")


def test_keys_with_control_characters_stay_on_one_line(
    problems: Callable[[str], list[str]],
) -> None:
    assert problems('"a\\nb\\u001b" = 1\n' + SPACE)[0].startswith("a\\nb\\x1b: unknown key")


def test_files_that_are_no_text_or_cannot_be_read(tmp_path: Path) -> None:
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"title = '\xff'")
    with pytest.raises(StudyFileError, match="byte 9: is not UTF-8 text"):
        read_study_file(binary)
    with pytest.raises(NotFoundError, match="cannot be read"):
        read_study_file(tmp_path)


def test_a_file_name_that_is_no_studys_name(tmp_path: Path) -> None:
    path = tmp_path / "my study.toml"
    path.write_text(SPACE)
    with pytest.raises(StudyFileError, match="'my study' cannot be the name of a study"):
        read_study_file(path)


def test_a_relative_folder_is_relative_to_the_file(tmp_path: Path) -> None:
    path = tmp_path / "cats.toml"
    path.write_text(f"data = {{folder = 'pictures'}}\n{SPACE}")
    assert read_study_file(path).folder == str(tmp_path / "pictures")
    path.write_text(f"data = {{folder = '/pictures'}}\n{SPACE}")
    assert read_study_file(path).folder == "/pictures"


def test_a_sampler_whose_package_is_missing_is_named(
    problems: Callable[[str], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"search = {{sampler = 'cmaes'}}\n{SPACE}"
    assert problems(text) == []
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert problems(text) == [
        "search.sampler: needs the package cmaes: `pip install 'optuna-study[cmaes]'`"
    ]


def test_home_and_blanks_behind_a_folders_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / "cats.toml"
    (tmp_path / "pictures").mkdir()
    for written in ("~/pictures", "~/pictures \\t", "pictures\\r", "pictures\\r\\n", "pictures "):
        path.write_text(f'data = {{folder = "{written}"}}\n{SPACE}')
        assert read_study_file(path).folder == str(tmp_path / "pictures"), written
    (tmp_path / "pictures ").mkdir()
    path.write_text(f"data = {{folder = 'pictures '}}\n{SPACE}")
    assert read_study_file(path).folder == str(tmp_path / "pictures "), "its name ends in a blank"


def test_names_are_found_in_the_first_folder_that_has_them(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder, names in ((first, ["cats"]), (second, ["cats", "dogs"])):
        folder.mkdir()
        for name in names:
            (folder / f"{name}.toml").write_text(SPACE)
    folders = (tmp_path / "missing", first, second)
    assert find_study_file("cats", folders) == first / "cats.toml"
    assert find_study_file("dogs", folders) == second / "dogs.toml"
    assert find_study_file(second / "cats.toml", folders) == second / "cats.toml"
    with pytest.raises(NotFoundError, match=r"study 'cast': .*did you mean 'cats'\?"):
        find_study_file("cast", folders)


@pytest.mark.parametrize("name", ["x" * 5000, "a/../b.toml", "", ".", "no\0such.toml", "@cpu"])
def test_names_that_no_file_can_have_are_not_found(name: str, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        find_study_file(name, (tmp_path,))


def test_the_packages_own_studies_are_found_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_study_file("alexnet_pokemon").is_file()
    assert study_folders()[0] == Path("studies")


@pytest.mark.parametrize(
    ("metric", "recorded", "direction"),
    [
        ("accuracy", "validation_accuracy", "maximize"),
        ("macro_f1", "macro_f1", "maximize"),
        ("log_loss", "log_loss", "minimize"),
    ],
)
def test_a_metric_has_the_name_that_curves_have(
    metric: str, recorded: str, direction: str
) -> None:
    text = f'search = {{metric = "{metric}"}}\nspace = {{dropout = [0.0, 0.5]}}\n'
    search = parse_study_file(text, "cats").search
    assert (search.metric, search.direction) == (recorded, direction)
    text += f'[profile.cpu]\nsearch = {{metric = "{metric}"}}\n'
    assert parse_study_file(text, "cats").profiles["cpu"].search == {"metric": recorded}
