"""Studies: pinned when made, found by name, changed, deleted."""

from __future__ import annotations

import dataclasses
import threading
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from sqlalchemy import func, select

from optuna_study.errors import DefinitionChangedError, NotFoundError
from optuna_study.store.engine.open import open_store
from optuna_study.store.importances import Importance
from optuna_study.store.reads import reads
from optuna_study.store.records import StudyState, TrialState
from optuna_study.store.schema import own_studies
from optuna_study.store.studies import studies
from optuna_study.store.studies.budget import set_budget

if TYPE_CHECKING:
    from collections.abc import Callable

    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import NewStudy


def test_a_study_is_read_as_it_was_made(
    store: Store, new_study: Callable[..., NewStudy], planned: Any, clock: Any
) -> None:
    new = new_study(
        definition={"train": {"lr": 0.01}, "search": {}},
        planned=(planned("relu"), planned("tanh", width=2)),
        direction="minimize",
        metric="validation_loss",
        seed=2**40,
    )
    made = studies.create_study(store, new)
    assert made == studies.load_study(store, new.name)
    for field in dataclasses.fields(new):
        if field.name != "planned":
            assert getattr(made, field.name) == getattr(new, field.name), field.name
    assert (made.state, made.created, made.importances) == (StudyState.ACTIVE, clock.now, None)
    waiting = reads.trials(store, made)
    assert [trial.state for trial in waiting] == [TrialState.WAITING] * 2
    assert [(trial.baseline, trial.group) for trial in waiting] == [
        ("relu", "activation"),
        ("tanh", "activation"),
    ]
    assert (waiting[1].parameters, waiting[1].fixed) == ({"lr": 0.01}, {"width": 2})


@pytest.mark.slow
def test_making_it_again_finds_it(
    store: Store, new_study: Callable[..., NewStudy], planned: Any
) -> None:
    new = new_study(planned=(planned(),))
    made = studies.create_study(store, new)
    assert studies.create_study(store, new_study(budget=99)) == made
    assert len(reads.trials(store, made)) == 1


def test_a_changed_definition_is_refused(
    store: Store, new_study: Callable[..., NewStudy], planned: Any
) -> None:
    made = studies.create_study(store, new_study())
    changed = new_study(definition={"search": {"seed": 1}}, definition_hash="other")

    def explain(old: Any, new: Any) -> list[str]:
        return [f"search: {old['search']} -> {new['search']}"]

    with pytest.raises(DefinitionChangedError) as caught:
        studies.create_study(store, changed, explain=explain)
    assert str(caught.value) == (
        "study 'cats@cpu' exists with another definition: search: {'stop_after_failures': 5} -> "
        "{'seed': 1}; keep the old one, or make another study with --name"
    )
    assert studies.load_study(store, made.name) == made


def test_a_name_that_plain_optuna_has_is_refused(
    store: Store, plain: Any, make_study: Any, new_study: Callable[..., NewStudy]
) -> None:
    study = make_study(store, name="other")
    optuna.create_study(study_name="cats@cpu", storage=plain(study.name)._storage)
    with pytest.raises(DefinitionChangedError, match="is a study of plain Optuna"):
        studies.create_study(store, new_study())
    assert [row.name for row in reads.list_studies(store)] == ["other"]


def test_a_folder_whose_name_is_no_text_is_kept_spelled_out(store: Store, make_study: Any) -> None:
    assert make_study(store, data_source="/caf\udce9").data_source == "/caf\\udce9"


@pytest.mark.postgres
def test_a_name_that_plain_optuna_takes_meanwhile_is_refused(
    postgres_url: str, new_study: Callable[..., NewStudy], name_taken_while: Any
) -> None:
    store = open_store(postgres_url)
    with pytest.raises(DefinitionChangedError, match="is a study of plain Optuna"):
        name_taken_while("cats@cpu", lambda: studies.create_study(store, new_study()))
    assert reads.list_studies(store) == []
    store.close()


def test_two_at_once_make_one(store: Store, new_study: Callable[..., NewStudy]) -> None:
    made: list[str] = []

    def make() -> None:
        made.append(studies.create_study(store, new_study()).uuid)

    threads = [threading.Thread(target=make) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 6
    assert len(set(made)) == 1


def test_nothing_of_a_study_is_kept_when_making_it_fails(
    store: Store, new_study: Callable[..., NewStudy], planned: Any
) -> None:
    with pytest.raises(TypeError):
        studies.create_study(store, new_study(planned=(planned(), planned(bad=object()))))
    assert reads.list_studies(store) == []
    assert studies.create_study(store, new_study()).name == "cats@cpu"


def test_a_bare_name_means_its_only_variant(store: Store, make_study: Any) -> None:
    study = make_study(store, name="cats@cpu")
    assert studies.load_study(store, "cats") == study
    make_study(store, name="cats@cpu-rendered")
    with pytest.raises(NotFoundError, match=r"several variants .*cats@cpu, cats@cpu-rendered"):
        studies.load_study(store, "cats")
    exact = make_study(store, name="cats")
    assert studies.load_study(store, "cats") == exact


def test_an_unknown_study_is_not_found(store: Store, make_study: Any) -> None:
    with pytest.raises(NotFoundError, match=r"no study 'cats' in .*; there are none yet"):
        studies.load_study(store, "cats")
    make_study(store, name="alexnet_pokemon")
    with pytest.raises(NotFoundError, match=r"did you mean 'alexnet_pokemon'\?") as caught:
        studies.load_study(store, "alexnet_pokeman")
    assert caught.value.exit_code == 4


def test_budget_and_state_change_freely(store: Store, make_study: Any) -> None:
    study = make_study(store)
    set_budget(store, study, 42)
    studies.set_state(store, study, StudyState.PAUSED)
    changed = studies.load_study(store, study.name)
    assert (changed.budget, changed.state) == (42, StudyState.PAUSED)


def test_only_going_on_after_a_stop_forgives_trials_without_improvement(
    store: Store, make_study: Any, clock: Any
) -> None:
    study = make_study(store)
    since = []
    for state in (StudyState.PAUSED, StudyState.STOPPING, StudyState.PAUSED):
        clock.now += 10
        studies.set_state(store, study, state)
        studies.set_state(store, study, StudyState.ACTIVE)
        since.append(studies.load_study(store, study.name).going_since)
    assert since == [None, clock.now - 10, clock.now - 10]


def test_importances_are_kept_with_their_age(store: Store, make_study: Any, clock: Any) -> None:
    study = make_study(store)
    clock.now += 100
    measured = {"lr": Importance(12, 0.75, 0.6, 0.8), "dropout": Importance(12, 0.25, 0.2, 0.4)}
    studies.save_importances(store, study, {**measured, "slope": Importance(3)}, 12)
    found = studies.load_study(store, study.name)
    assert found.importances == {"lr": 0.75, "dropout": 0.25}
    assert list(found.importances) == ["lr", "dropout"]
    assert found.untold_importances == ["slope"]
    assert (found.importances_at, found.importances_trials) == (clock.now, 12)


@pytest.mark.parametrize("name", ["ünï✓", "a'b\"c; DROP TABLE studies", "%s {x} \\n", "x" * 400])
def test_hostile_names_are_names(store: Store, make_study: Any, name: str) -> None:
    study = make_study(store, name=name)
    assert studies.load_study(store, name) == study
    with store.read() as connection:
        assert connection.execute(select(func.count()).select_from(own_studies)).scalar() == 1
