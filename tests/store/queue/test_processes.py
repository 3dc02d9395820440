"""Eight processes at once: exactly the budget, no trial twice.

What becomes of the trials of those that are killed is seen in `test_storm.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from optuna_study.store.engine.open import open_store
from optuna_study.store.reads import reads
from optuna_study.store.records import EndKind, TrialState
from optuna_study.store.studies import studies

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import StudyRecord

    Storm = Callable[..., list[Any]]

pytestmark = pytest.mark.slow


@pytest.fixture
def real_time(url: str) -> Iterator[Store]:
    """The store by its own clock: other processes look at it, too."""
    store = open_store(url)
    yield store
    store.close()


def stormy_study(store: Store, make_study: Any, planned: Any, budget: int) -> StudyRecord:
    study: StudyRecord = make_study(
        store, name="storm", budget=budget, planned=(planned("one"), planned("two"))
    )
    return study


def test_eight_claim_exactly_the_budget(
    real_time: Store, url: str, make_study: Any, planned: Any, storm: Storm
) -> None:
    study = stormy_study(real_time, make_study, planned, 48)
    taken = [number for numbers in storm(url, "work") for number in numbers]
    assert sorted(taken) == list(range(48))
    found = reads.trials(real_time, study)
    assert [trial.number for trial in found] == list(range(48))
    assert {trial.claims for trial in found} == {1}
    assert [trial.value for trial in found] == [number + 0.3 for number in range(48)]


def test_plain_optuna_may_take_some(
    real_time: Store, url: str, make_study: Any, planned: Any, storm: Storm
) -> None:
    # Without waiting trials: of those plain Optuna's `ask` takes one that another has (SQLite).
    study: StudyRecord = make_study(real_time, name="storm", budget=48)
    taken = [number for numbers in storm(url, "work", "--plain", "1") for number in numbers]
    assert len(taken) == len(set(taken))
    counts = reads.counts(real_time, study)
    plain = counts.plain[TrialState.COMPLETE]
    assert plain == 10
    # Its own trials heed no budget: those it begins after the last of ours come on top.
    assert 48 <= counts.ended <= 58
    assert counts.ends[EndKind.COMPLETED] + plain == counts.ended
    assert counts.running == counts.waiting == 0
    assert [trial.number for trial in reads.trials(real_time, study)] == list(range(counts.ended))


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_eight_make_one_store_and_one_study(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest, storm: Storm
) -> None:
    if kind == "sqlite":
        url = f"sqlite:///{tmp_path / 'new' / 'studies.db'}"
    else:
        url = request.getfixturevalue("empty_postgres")
    uuids = storm(url, "create")
    assert len(uuids) == 8
    assert len(set(uuids)) == 1
    store = open_store(url)
    study = studies.load_study(store, "storm")
    assert [trial.baseline for trial in reads.trials(store, study)] == ["one", "two"]
    store.close()
