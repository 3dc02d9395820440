"""The tables: Optuna's, mirrored for our own statements, and ours, which stand beside them.

Optuna's tables are never made or changed from here: `creation.py` lets Optuna do it once, and a
test compares the mirror with Optuna's own models. Ours are keyed by a study's UUID and a trial's
number, since SQLite hands the ids of deleted rows out again. They hold no foreign keys: one
without CASCADE makes Optuna's deletion of a study do nothing on PostgreSQL, and SQLite enforces
none of them. The UUID itself lives in Optuna's study attributes and dies with the study.

A missing figure (NaN) is stored as NULL in our tables, which SQLite would make of it anyway.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
    Enum,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    and_,
    case,
    exists,
    func,
    literal,
)

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, FromClause

OPTUNA_REVISION = "v3.2.0.a"  # the schema mirrored below: that of Optuna 3.2 to 5.0
OLDER_REVISIONS = frozenset(
    (
        "v0.9.0.a",
        "v1.2.0.a",
        "v1.3.0.a",
        "v2.4.0.a",
        "v2.6.0.a",
        "v3.0.0.a",
        "v3.0.0.b",
        "v3.0.0.c",
        "v3.0.0.d",
    )
)
OWN_VERSION = 7  # of our tables; a store with a greater one was made by a newer optuna-study

UUID_KEY = "optuna_study:uuid"  # Optuna's study attribute that makes a study ours
ASKED_BUDGET_KEY = "optuna_study:asked_budget"  # another: the budget before a search was cut short
TEST_ACCURACY, TEST_LOSS = "test_accuracy", "test_loss"  # of comparisons and confirmation runs
FINETUNES = "finetunes"  # attribute of a trial that goes on from another's settings: its number
CONFIRMS = "confirms"  # attribute of a confirmation run: the number of the trial it trains again
EXCLUDED = "excluded"  # attribute of a trial that is left out of everything: why
REUSES = "reuses"  # attribute of a trial that was not trained: the number of the one that was
RETRIED_AFTER = "retried_after"  # attribute of a trial that an exception did not end
CLASS_COUNTS, SIDE_COUNTS = "class_counts", "side_counts"  # in a study's `environment`
NEIGHBOURS = "nearest_neighbours"  # there, too: their accuracy on the validation pictures
OWNER = "owner"  # in a study's `environment`: the user's name, when the study was made
ENDED_BY_KEY = "optuna_study:ended_by"  # Optuna's trial attribute: the token of the ending claim
INFEASIBLE_KEY = "constraints:infeasible"  # what `Trial.set_constraint("infeasible", ...)` writes
EXCLUDED_KEY = "constraints:excluded"  # so that Optuna and its dashboard call no such trial best
DASHBOARD_CONSTRAINTS_KEY = "constraints"  # a list of them, as Optuna 4 wrote and it reads
ARTIFACT_KEY = "artifacts:"  # before an artifact's id: what `upload_artifact` writes
# Attributes of a study that the dashboard keeps for one of its trials, whose id is the group.
OF_A_TRIAL = re.compile(r"dashboard:(?:artifacts:)?(\d+):.*", re.DOTALL)

optuna_tables = MetaData()
own_tables = MetaData()

_trial_state = Enum("RUNNING", "COMPLETE", "PRUNED", "FAIL", "WAITING", name="trialstate")
_direction = Enum("NOT_SET", "MINIMIZE", "MAXIMIZE", name="studydirection")
_value_type = Enum("FINITE", "INF_POS", "INF_NEG", name="trialvaluetype")
_report_type = Enum("FINITE", "INF_POS", "INF_NEG", "NAN", name="trialintermediatevaluetype")

alembic_version = Table("alembic_version", optuna_tables, Column("version_num", String(32)))
studies = Table(
    "studies",
    optuna_tables,
    Column("study_id", Integer, primary_key=True),
    Column("study_name", String(512)),
)
study_directions = Table(
    "study_directions",
    optuna_tables,
    Column("study_direction_id", Integer, primary_key=True),
    Column("direction", _direction),
    Column("study_id", Integer),
    Column("objective", Integer),
)
trials = Table(
    "trials",
    optuna_tables,
    Column("trial_id", Integer, primary_key=True),
    Column("number", Integer),
    Column("study_id", Integer),
    Column("state", _trial_state),
    Column("datetime_start", DateTime),  # naive UTC, as Optuna 5 stores it
    Column("datetime_complete", DateTime),
)


def _attributes(owner: str, kind: str) -> Table:
    """What Optuna keeps as JSON under keys, for a study or a trial."""
    name = f"{owner}_{kind}_attribute"
    return Table(
        f"{name}s",
        optuna_tables,
        Column(f"{name}_id", Integer, primary_key=True),
        Column(f"{owner}_id", Integer),
        Column("key", String(512)),
        Column("value_json", Text),
    )


study_user_attributes = _attributes("study", "user")
study_system_attributes = _attributes("study", "system")
trial_user_attributes = _attributes("trial", "user")
trial_system_attributes = _attributes("trial", "system")
trial_params = Table(
    "trial_params",
    optuna_tables,
    Column("param_id", Integer, primary_key=True),
    Column("trial_id", Integer),
    Column("param_name", String(512)),
    Column("param_value", Float(53)),
    Column("distribution_json", Text),
)
trial_values = Table(
    "trial_values",
    optuna_tables,
    Column("trial_value_id", Integer, primary_key=True),
    Column("trial_id", Integer),
    Column("objective", Integer),
    Column("value", Float(53)),
    Column("value_type", _value_type),
)
trial_intermediate_values = Table(
    "trial_intermediate_values",
    optuna_tables,
    Column("trial_intermediate_value_id", Integer, primary_key=True),
    Column("trial_id", Integer),
    Column("step", Integer),
    Column("intermediate_value", Float(53)),
    Column("intermediate_value_type", _report_type),
)
trial_heartbeats = Table(
    "trial_heartbeats",
    optuna_tables,
    Column("trial_heartbeat_id", Integer, primary_key=True),
    Column("trial_id", Integer),
    Column("heartbeat", DateTime),
)
TRIAL_TABLES = (  # what a trial consists of beside its row
    trial_user_attributes,
    trial_system_attributes,
    trial_params,
    trial_values,
    trial_intermediate_values,
    trial_heartbeats,
)

own_schema = Table(
    "optuna_study_schema",
    own_tables,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("version", Integer, nullable=False),
    # Of a SQLite file: the boot of its machine in which leases were last written, and the UTC
    # seconds of that boot by which they go.
    Column("boot", String(36)),
    Column("origin", Double),
)
own_studies = Table(
    "optuna_study_studies",
    own_tables,
    Column("uuid", String(36), primary_key=True),
    Column("metric", String(64), nullable=False),
    Column("direction", String(8), nullable=False),
    Column("definition", Text, nullable=False),
    Column("definition_hash", String(64), nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("data_source", Text, nullable=False),
    Column("environment", Text, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("budget", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("stop_after_failures", Integer, nullable=False),
    Column("failures_in_a_row", Integer, nullable=False, default=0),
    # The first so many trials, up to this id, have ended for good: claims count only later ones.
    Column("settled", Integer, nullable=False, default=0),
    Column("settled_id", Integer, nullable=False, default=0),
    Column("created", Double, nullable=False),
    Column("importances", Text),
    Column("importances_at", Double),
    Column("importances_trials", Integer),
    Column("priority", Integer, nullable=False, server_default="0"),  # higher ones come first
    Column("claimed", Double),  # when one of its trials was last handed out
    Column("going_since", Double),  # when it was last told to go on; NULL before the first time
    # Trials that the budget does not count: confirmation runs, and baselines where it is one of
    # searched trials alone, as since version 7.
    Column("beside", Integer, nullable=False, server_default="0"),
    Column("searched_budget", Integer, nullable=False, server_default="0"),  # 1 or 0
    Column("confirm", Text),  # JSON: the confirmation still to come; NULL when there is none
)
own_trials = Table(
    "optuna_study_trials",
    own_tables,
    Column("uuid", String(36), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("trial_id", Integer, nullable=False),
    Column("baseline", Text),
    Column("baseline_group", Text),
    Column("fixed", Text),
    Column("seed", BigInteger),
    Column("token", String(32)),  # of the claim that holds the trial; NULL when nobody does
    Column("owner", Text),
    Column("lease_until", Double),
    Column("claims", Integer, nullable=False, default=0),
    Column("strikes", Integer, nullable=False, default=0),
    Column("checkpoint_epoch", Integer, nullable=False, default=0),
    Column("checkpoint_claim", Integer),  # which of the claims wrote the checkpoint that stands
    Column("progressed", Boolean, nullable=False, default=False),  # a checkpoint since the claim
    Column("epochs", Integer, nullable=False, default=0),
    Column("worked", Double, nullable=False, default=0.0),
    Column("started", Double),
    Column("completed", Double),
    Column("touched", Double, nullable=False),
    Column("end_kind", String(16)),
    Column("reason", Text),
    Column("traceback", Text),
    Column("resumed_elsewhere", Boolean, nullable=False, default=False),
    Column("end_details", Text),  # why it ended, as JSON; `reason` is a sentence beside no end
    Column("confirms", Integer),  # the number of the trial that this one trains again
    Column("retried", Integer, nullable=False, server_default="0"),  # after an exception
)
own_epochs = Table(
    "optuna_study_epochs",
    own_tables,
    Column("uuid", String(36), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("value", Double),
    Column("train_loss", Double),
    Column("train_accuracy", Double),
    Column("validation_loss", Double),
    Column("validation_accuracy", Double),
    Column("lr", Double),
    Column("gradient_norm", Double),
    Column("seconds", Double),
    Column("balanced_accuracy", Double),
    Column("macro_f1", Double),
    Column("log_loss", Double),
)

# What each version of our tables added to the one before it.
ADDED = {
    2: (own_studies.c.priority, own_studies.c.claimed),
    3: (own_schema.c.boot, own_schema.c.origin),
    4: (own_studies.c.going_since,),
    5: (own_trials.c.end_details, own_trials.c.checkpoint_claim),
    6: (own_epochs.c.balanced_accuracy, own_epochs.c.macro_f1, own_epochs.c.log_loss),
    7: (
        own_studies.c.beside,
        own_studies.c.searched_budget,
        own_studies.c.confirm,
        own_trials.c.confirms,
        own_trials.c.retried,
    ),
}


def value_of(table: FromClause) -> ColumnElement[float]:
    """A trial's value in Optuna's table or an alias of it, as one number.

    Infinite ones are among them, which Optuna stores as NULL and a type.
    """
    return case(
        (table.c.value_type == "INF_POS", literal(math.inf, Double)),
        (table.c.value_type == "INF_NEG", literal(-math.inf, Double)),
        else_=table.c.value,
    )


VALUE: ColumnElement[float] = value_of(trial_values)

# Whether a trial was given the known end of another, which had the same settings.
REUSED: ColumnElement[bool] = func.coalesce(own_trials.c.end_details, "").like(
    '{"kind": "reused"%'
)


# Whether a trial is one that a sampler proposes: a search's, and not of its second stage.
IS_FIRST_STAGE: ColumnElement[bool] = and_(
    own_trials.c.baseline.is_(None), own_trials.c.confirms.is_(None), own_trials.c.fixed.is_(None)
)


def quoted(column: ColumnElement[str]) -> ColumnElement[str]:
    """A text as Optuna's attributes hold it: as JSON."""
    return literal('"') + column + literal('"')


def is_excluded(trial_id: ColumnElement[int]) -> ColumnElement[bool]:
    """Whether somebody has excluded the trial of an id."""
    attribute = trial_user_attributes.alias().c  # statements around it may ask for others
    return exists().where(attribute.trial_id == trial_id, attribute.key == EXCLUDED)
