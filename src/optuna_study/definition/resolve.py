"""A study file and a profile to a definition; every part is checked against every other."""

from __future__ import annotations

import dataclasses
import importlib.util
from typing import TYPE_CHECKING, Any

from optuna_study.config.catalogue import variants
from optuna_study.config.reader import Problems
from optuna_study.config.settings import (
    MODEL,
    OWN_SIZE,
    SECTION_OF,
    SECTIONS,
    TrainConfig,
    get_setting,
    with_settings,
)
from optuna_study.definition.model import MISSING_CMAES, PROFILES, Baseline, Definition, Profile
from optuna_study.definition.names import require_name, variant_name
from optuna_study.definition.scale import scale_dimension, scale_settings
from optuna_study.errors import OutsideSpaceError, StudyFileError
from optuna_study.space.dimensions import Breakpoints, Choice, IntRange
from optuna_study.space.space import Space, find_circle
from optuna_study.text import count

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from optuna_study.config.settings import Scalar, Setting
    from optuna_study.definition.model import Finetune, SearchSettings, StudyFile
    from optuna_study.space.dimensions import Dimension


def resolve(
    file: StudyFile,
    profile: str,
    *,
    stand_in: bool = False,
    name: str | None = None,
    threads: int = 0,
    image_size: int = OWN_SIZE,
    only: str | None = None,
) -> Definition:
    """The definition that a launch runs.

    `stand_in` takes the file's built-in stand-in for its pictures, `name` makes a further study of
    the same file, `threads` are what a run gets where the file says 0, `image_size` is the side of
    pictures where the file leaves it to a timm model, `only` is ONLY_BASELINES for a comparison
    that searches nothing.

    Raises:
        UsageError: a name that cannot be one, or no stand-in where one is asked for.
        StudyFileError: the parts of the file do not fit each other in this profile.
    """
    problems = Problems()
    definition = assemble(file, profile, problems)
    if problems.noted:
        raise StudyFileError(file.name, problems.sentences())
    if stand_in and file.stand_in is None:
        raise StudyFileError(file.name, ["data.stand_in: is missing, and the pictures are absent"])
    if only and not file.baselines:
        raise StudyFileError(file.name, ["baselines: there are none to compare; add some"])
    changes: dict[str, Setting] = {} if definition.config.train.threads else {"threads": threads}
    if definition.config.data.image_size == OWN_SIZE:
        changes["image_size"] = image_size
    config = with_settings(definition.config, changes)
    if stand_in:
        data = dataclasses.replace(config.data, name=str(file.stand_in))
        config = dataclasses.replace(config, data=data)
    study = require_name(name) if name else file.name
    variant = variant_name(study, profile, file.stand_in if stand_in else None, only)
    return dataclasses.replace(definition, name=variant, config=config, only=only)


def outline(file: StudyFile) -> str:
    """What a study file holds, in one line, and how its profiles differ."""
    lengths = []
    for profile in PROFILES:
        definition = resolve(file, profile)
        config, trials = definition.config, count(definition.search.trials, "trial")
        epochs = count(config.train.epochs, "epoch")
        size = config.data.image_size
        seen = "its model's own size" if size == OWN_SIZE else f"{size} px"
        length = f"profile {profile}: {trials} of {epochs} at {seen}"
        known = profile == "full" or profile in file.profiles
        lengths.append(length if known else f"no profile {profile}")
    baselines = count(len(file.baselines), "baseline")
    compared = sum(not baseline.in_search for baseline in file.baselines)
    if compared:
        baselines += f", {compared} of them for comparisons alone"
    return "; ".join([count(len(file.space), "dimension"), baselines, *lengths])


def assemble(file: StudyFile, profile: str, problems: Problems) -> Definition:
    """A file's definition in a profile, as far as it goes; what does not fit is noted."""
    assert profile in PROFILES
    overrides = file.profiles.get(profile, Profile())
    config = _config(file, overrides)
    before, after = file.config.train.epochs, config.train.epochs
    dimensions = _dimensions(file, overrides, after)
    search = dataclasses.replace(file.search, **overrides.search)
    check_config(config, problems)
    if search.sampler == "cmaes" and importlib.util.find_spec("cmaes") is None:
        problems.add("search.sampler", MISSING_CMAES)
    _check_second_metric(search, problems)
    _check_dimensions(dimensions, config, problems)
    usable = _usable(dimensions, problems)
    baselines = tuple(
        dataclasses.replace(one, settings=scale_settings(one.settings, before, after))
        for one in file.baselines
    )
    definition = Definition(
        name=variant_name(file.name, profile, None),
        study=file.name,
        profile=profile,
        title=file.title,
        source=file.source,
        folder=file.folder,
        stand_in=file.stand_in,
        config=config,
        search=search,
        space=Space.of(usable, config),
        baselines=baselines,
        statements=file.statements,
        fixed=file.fixed,
    )
    for baseline in baselines:
        _check_baseline(definition, baseline, problems)
    if definition.second_stage is not None:
        _check_second_stage(definition.second_stage, search.finetune, problems)
    return definition


def _check_second_metric(search: SearchSettings, problems: Problems) -> None:
    """Check that what optimises one objective is not asked for two."""
    if search.second_metric is None:
        return
    if search.second_metric == search.metric:
        problems.add("search.second_metric", "is the metric itself; take another, or leave it out")
    if search.sampler == "cmaes":
        problems.add("search.sampler", "cmaes has one objective; take tpe, gp or nsgaii for two")
    if search.pruner != "none":
        problems.add(
            "search.pruner",
            f"{search.pruner} would give up what is worse in the metric alone; with "
            f"{search.second_metric} beside it leave the pruner out",
        )


def baseline_config(definition: Definition, baseline: Baseline) -> TrainConfig:
    """The configuration that a baseline stands for."""
    return with_settings(definition.config, baseline.settings)


def searched_models(definition: Definition) -> list[TrainConfig]:
    """The base configuration with each model, and each choice of weights, that the space holds.

    Settings that a choice depends on, or that depend on it, keep the base value where they may.
    """
    base = definition.config
    searched = [one for one in definition.space.dimensions if isinstance(one, Choice)]
    configs = []
    for dimension in (one for one in searched if one.setting in (MODEL, "pretrained")):
        for choice in dimension.choices:
            tied = {
                other.setting: other.choices
                for other in searched
                if choice in other.when.get(dimension.setting, ())
            }
            changes: dict[str, Setting] = {
                name: values[0]
                for name, values in {**dimension.when, **tied}.items()
                if get_setting(base, name) not in values
            }
            configs.append(with_settings(base, {**changes, dimension.setting: choice}))
    return configs


def searched_crops(definition: Definition) -> list[TrainConfig]:
    """The base configuration with each searched model and each kind and size of crop it may see.

    As the second stage has them, too. Of a range of sizes the ends are taken.
    """
    found = [definition.config, *searched_models(definition)]
    found = _vary(found, definition.space.dimensions, CROPS)
    stage = definition.search.finetune
    if stage.trials:
        later = [with_settings(config, stage.settings) for config in found]
        found += _vary(later, stage.space, CROPS)
    return list(dict.fromkeys(found))


CROPS = ("augmentation", "training_size")


def _vary(
    configs: list[TrainConfig], dimensions: Iterable[Dimension], names: Collection[str]
) -> list[TrainConfig]:
    """Configurations with all values of some settings, where these dimensions apply."""
    for one in dimensions:
        if one.setting not in names or not isinstance(one, Choice | IntRange):
            continue
        values = one.choices if isinstance(one, Choice) else (one.low, one.high)
        configs = [
            with_settings(config, {one.setting: value})
            for config in configs
            for value in (values if _applies(one, config) else [get_setting(config, one.setting)])
        ]
    return configs


def _applies(dimension: Dimension, config: TrainConfig) -> bool:
    return all(get_setting(config, name) in values for name, values in dimension.when.items())


def baseline_parameters(
    definition: Definition, baseline: Baseline
) -> tuple[dict[str, Scalar], dict[str, Setting]]:
    """A baseline as `space.build` takes it: parameters, and the settings that are none.

    One with settings outside the space on purpose has no parameters at all.

    Raises:
        OutsideSpaceError: settings outside the space that the baseline does not list.
    """
    if baseline.outside:
        return {}, dict(baseline.settings)
    space = definition.space
    parameters = space.parameters(baseline_config(definition, baseline))
    fixed = {
        name: value for name, value in baseline.settings.items() if name not in space.defaults
    }
    return parameters, fixed


def _config(file: StudyFile, overrides: Profile) -> TrainConfig:
    sections: dict[str, Any] = {
        section: dataclasses.replace(
            getattr(file.config, section), **overrides.settings.get(section, {})
        )
        for section in SECTIONS
    }
    config = TrainConfig(**sections)
    before, after = file.config.train.epochs, config.train.epochs
    own = overrides.settings.get("train", {})
    counted = {
        name: getattr(config.train, name)
        for name in ("breakpoints", "warmup_epochs")
        if name not in own
    }
    return with_settings(config, scale_settings(counted, before, after))


def _dimensions(file: StudyFile, overrides: Profile, epochs: int) -> list[Dimension]:
    """The file's dimensions with the profile's in their place; further ones of it at the end."""
    before = file.config.train.epochs
    scaled = [scale_dimension(dimension, before, epochs) for dimension in file.space]
    return list({one.setting: one for one in (*scaled, *overrides.space)}.values())


def _usable(dimensions: list[Dimension], problems: Problems) -> list[Dimension]:
    """The dimensions without problems, and without those that depend on one with some."""
    left = [one for one in dimensions if not problems.at(f"space.{one.setting}")]
    while True:
        names = {dimension.setting for dimension in left}
        usable = [dimension for dimension in left if dimension.when.keys() <= names]
        if len(usable) == len(left):
            return usable
        left = usable


def check_config(config: TrainConfig, problems: Problems) -> None:
    """Check that the settings of one configuration fit each other."""
    _check_variant(config.model.variant, config, "model.variant", problems)
    _check_within(config.train.breakpoints, config.train.epochs, "train.breakpoints", problems)


def _check_second_stage(config: TrainConfig, stage: Finetune, problems: Problems) -> None:
    own = Problems()
    check_config(config, own)
    _check_dimensions(list(stage.space), config, own)
    for path, sentence in own.noted:
        setting = path.split(".")[1]
        known = setting in stage.settings or path.startswith("space.")
        if known or not problems.at(path):
            problems.add(f"search.finetune.{setting}", sentence)


def _check_within(pairs: Setting, epochs: int, path: str, problems: Problems) -> None:
    assert isinstance(pairs, tuple)
    for epoch, _ in pairs:
        if epoch >= epochs:
            problems.add(path, f"epoch {epoch} is not before the last of {epochs} epochs")


def _check_dimensions(
    dimensions: list[Dimension], config: TrainConfig, problems: Problems
) -> None:
    searched = {dimension.setting: dimension for dimension in dimensions}
    for dimension in dimensions:
        path = f"space.{dimension.setting}"
        for name, values in dimension.when.items():
            _check_when(name, values, searched, config, f"{path}.when.{name}", problems)
        if isinstance(dimension, Breakpoints):
            _check_breakpoints(dimension, config.train.epochs, path, problems)
        if isinstance(dimension, Choice) and dimension.setting == "variant":
            for variant in dimension.choices:
                _check_variant(variant, config, path, problems)
    for name in find_circle(dimensions):
        problems.add(f"space.{name}.when", "is a circle: it depends on itself through others")


def _check_when(
    name: str,
    values: tuple[Scalar, ...],
    searched: dict[str, Dimension],
    config: TrainConfig,
    path: str,
    problems: Problems,
) -> None:
    if name not in searched:
        if not problems.at(f"space.{name}"):
            problems.add(
                path, f"'{name}' is not searched; add it to [space] or drop the condition"
            )
        return
    on = searched[name]
    if not isinstance(on, Choice):
        return
    for value in values:
        if value not in on.choices:
            hint = problems.hint(str(value), map(str, on.choices))
            problems.add(path, f"'{value}' is not among the choices of space.{name}, {hint}")


def _check_breakpoints(dimension: Breakpoints, epochs: int, path: str, problems: Problems) -> None:
    high = epochs - 1 if dimension.after_high is None else dimension.after_high
    if epochs < 2:
        problems.add(path, "cannot be searched in a run of one epoch")
    elif not dimension.after_low <= high < epochs:
        problems.add(
            f"{path}.after", f"must lie within 1 to {epochs - 1} in a run of {epochs} epochs"
        )


def _check_variant(variant: Scalar, config: TrainConfig, path: str, problems: Problems) -> None:
    known = variants(config.model.name)
    if known and variant not in known:
        problems.add(path, f"unknown variant '{variant}', {problems.hint(str(variant), known)}")


def _check_baseline(definition: Definition, baseline: Baseline, problems: Problems) -> None:
    path = f"baselines.{baseline.name}"
    if problems.at(path):
        return
    config = baseline_config(definition, baseline)
    if "variant" in baseline.settings:
        _check_variant(config.model.variant, config, f"{path}.variant", problems)
    if {"breakpoints", "epochs"} & baseline.settings.keys():
        pairs = config.train.breakpoints
        _check_within(pairs, config.train.epochs, f"{path}.breakpoints", problems)
    for name in baseline.outside:
        if name not in definition.space.defaults and not problems.at(f"space.{name}"):
            problems.add(
                f"{path}.outside", f"'{name}' is not searched, so it lies outside nothing"
            )
    for name, sentence in _outside(definition, config).items():
        own, base = f"{path}.{name}", f"{SECTION_OF[name]}.{name}"
        if name in baseline.outside or problems.at(base) or problems.at(own):
            continue
        if name in baseline.settings:
            remedy = f"widen space.{name}, or list '{name}' in the baseline's outside"
            problems.add(own, f"{sentence}; {remedy}")
        else:
            remedy = f"baseline '{baseline.name}' takes it over: let it lie in space.{name}"
            problems.add(base, f"{sentence}, yet {remedy}")


def _outside(definition: Definition, config: TrainConfig) -> dict[str, str]:
    try:
        definition.space.parameters(config)
    except OutsideSpaceError as error:
        return error.problems
    return {}
