"""Steps of a range are shown as a person writes them, wherever a trial's parameters are."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from optuna_study.definition.serialise import from_json
from optuna_study.search.propose import propose
from optuna_study.store.engine.optuna_bridge import optuna_storage
from optuna_study.store.queue import queue
from optuna_study.store.records import Claim, End, EndKind

if TYPE_CHECKING:
    from collections.abc import Callable

STEPS = {0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7}
STUDY = """
data = {{name = "rendered", image_size = 32}}
train = {{epochs = 3}}
search = {{trials = 24, sampler = "{sampler}"}}
[space]
dropout = {{low = 0, high = 0.7, step = 0.1}}
"""


@pytest.mark.parametrize("sampler", ["random", pytest.param("tpe", marks=pytest.mark.slow)])
def test_steps_stand_everywhere_as_they_are_written(
    store_file: Callable[..., Any], cli: Callable[..., Any], sampler: str
) -> None:
    made = store_file(STUDY.format(sampler=sampler))
    definition, storage = from_json(made.study.definition), optuna_storage(made.store)
    drawn = []
    for number in range(24):
        claim = queue.claim(made.store, made.study, "host-1-001")
        assert isinstance(claim, Claim)
        config = propose(made.store, storage, made.study, definition, claim).config
        drawn.append(config.model.dropout)
        queue.end(made.store, claim, End(EndKind.COMPLETED, "all 3 epochs", number / 24))
    assert set(drawn) <= STEPS
    telling = [number for number, value in enumerate(drawn) if value in (0.3, 0.6, 0.7)]
    assert telling, "the steps that binary fractions miss"

    rows = json.loads(cli("trials", "small", "--storage", made.url, "-f", "json").out)
    assert [row["params"]["dropout"] for row in rows] == drawn
    table = csv.DictReader(
        io.StringIO(cli("trials", "small", "--storage", made.url, "-f", "csv").out)
    )
    assert [row["params_dropout"] for row in table] == [str(value) for value in drawn]
    exported = cli("export", "small", "--storage", made.url, "--trial", str(telling[0]))
    assert tomllib.loads(exported.out)["model"]["dropout"] == drawn[telling[0]]
    with sqlite3.connect(made.url.removeprefix("sqlite:///")) as connection:
        stored = connection.execute("SELECT param_value FROM trial_params ORDER BY trial_id")
        assert [value for (value,) in stored] == drawn
