"""A report says what was planted in its study: what mattered, what did not, and a tie."""

from __future__ import annotations

import dataclasses
import math
import random
import re
from typing import TYPE_CHECKING, Any

import pytest

from optuna_study.report.document.write import report_text
from optuna_study.report.figures.study_data import StudyData, load_study_data
from optuna_study.search import importance
from optuna_study.store.engine.optuna_bridge import optuna_storage
from optuna_study.store.queue import queue
from optuna_study.store.records import Claim, Confirmation
from optuna_study.store.schema import SIDE_COUNTS, TEST_ACCURACY, TEST_LOSS
from optuna_study.store.studies.budget import set_budget
from optuna_study.store.studies.studies import load_study, set_confirmation

if TYPE_CHECKING:
    from optuna_study.paths import Workspace

SEARCHED = 40
TESTED = ((0.88, 0.89, 0.87), (0.88, 0.88, 0.88))  # of the best trial and of the baseline


@pytest.fixture(scope="module")
def planted(
    store_study: Any, tmp_path_factory: pytest.TempPathFactory, finished_workspace: Workspace
) -> StudyData:
    """A study whose values follow from the rate alone, and whose confirmation is a tie."""
    stored = store_study(tmp_path_factory.mktemp("planted"))
    store, study, draws = stored.store, stored.study, random.Random(3)
    set_budget(store, study, SEARCHED + 2)
    stored.run([0.5, 0.9])
    stored.run([0.5, 0.6])
    for _ in range(SEARCHED):
        rate = 10 ** draws.uniform(-4, -1)
        drawn = {
            "activation": draws.choice(["relu", "tanh"]),
            "lr": rate,
            "dropout": draws.random() / 2,
        }
        value = 0.901 - 0.1 * (math.log10(rate) + 2) ** 2
        stored.run([0.5, value], parameters=drawn)
    importance.refresh(store, optuna_storage(store), study)
    set_confirmation(store, study, Confirmation(1, 3))
    for shares in zip(*TESTED, strict=True):
        for share in shares:
            stored.run([0.5, 0.89], attributes={TEST_ACCURACY: share, TEST_LOSS: 0.4})
    assert not isinstance(queue.claim(store, study, "host-1-001"), Claim)
    found = load_study(store, study.name)
    sides = {SIDE_COUNTS: {"train": 2000, "validation": 500, "test": 700}}
    found = dataclasses.replace(found, environment={**found.environment, **sides})
    return load_study_data(store, found, finished_workspace)


@pytest.mark.slow
def test_what_decided_is_told_and_what_did_not_has_no_share_to_speak_of(
    planted: StudyData,
) -> None:
    text = report_text(planted, "md").partition("## What mattered")[2].partition("##")[0]
    rows = re.findall(r"\| (\w+) \| ([\d.]+) % \| (\d+) to (\d+) % \| 42 \|", text)
    shares = {name: (float(share), int(low), int(high)) for name, share, low, high in rows}
    assert next(iter(shares)) == "lr"
    assert shares["lr"][0] > 80
    assert shares["lr"][1] > max(shares["dropout"][2], shares["activation"][2])


@pytest.mark.parametrize("form", ["md", "html"])
@pytest.mark.slow
def test_a_tie_is_told_as_one(planted: StudyData, form: str) -> None:
    text = " ".join(re.sub(r"<[^>]+>", " ", report_text(planted, form)).split())
    verdict = re.search(
        r"Trial \d+ and the baseline plain are not distinguishable: [^.]+\.\d", text
    )
    assert verdict is not None
    assert "88.0 % against 88.0 % of the 700 held-out pictures over 3 fresh seeds" in text
