"""The mirror of Optuna's tables is held against Optuna's own models."""

from __future__ import annotations

import optuna
import pytest
from optuna.storages._rdb import models
from sqlalchemy import Enum

from optuna_study.store.schema import OLDER_REVISIONS, OPTUNA_REVISION, optuna_tables, own_tables

THEIRS = models.BaseModel.metadata.tables
MIRRORED = [name for name in optuna_tables.tables if name != "alembic_version"]


@pytest.mark.parametrize("name", MIRRORED)
def test_a_mirrored_table_is_optuna_s(name: str) -> None:
    theirs, ours = THEIRS[name], optuna_tables.tables[name]
    assert [column.name for column in ours.columns] == [column.name for column in theirs.columns]
    for column in ours.columns:
        other = theirs.columns[column.name]
        assert column.primary_key == other.primary_key
        assert column.type.python_type in (other.type.python_type, str)
        if isinstance(column.type, Enum):
            assert isinstance(other.type, Enum)
            assert column.type.name == other.type.name
            assert set(column.type.enums) == set(other.type.enums)


def test_every_table_with_rows_of_a_study_is_mirrored() -> None:
    assert set(THEIRS) == {*MIRRORED, "version_info"}


def test_the_revision_is_that_of_the_installed_optuna() -> None:
    storage = optuna.storages.RDBStorage("sqlite://")
    assert storage.get_head_version() == OPTUNA_REVISION
    assert set(storage.get_all_versions()) == OLDER_REVISIONS | {OPTUNA_REVISION}
    storage.remove_session()
    storage.engine.dispose()


def test_our_tables_refer_to_none() -> None:
    """A foreign key makes Optuna's deletion of a study fail, or do nothing, in silence."""
    for table in own_tables.sorted_tables:
        assert table.name.startswith("optuna_study_")
        assert not table.foreign_keys
