"""What most commands work on: a store, its files' folder, and often one study."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from optuna_study.cli.options import artifacts_option, storage_option, tell

if TYPE_CHECKING:
    from collections.abc import Callable

    from optuna_study.paths import Workspace
    from optuna_study.store.engine.address import StoreAddress
    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import StudyRecord


@dataclass(frozen=True)
class Target:
    """A store and the folder of its files, as the command line names them."""

    storage: StoreAddress | None  # None: nothing was said, so the folder's own SQLite file
    workspace: Workspace
    study_name: str = ""

    @property
    def address(self) -> StoreAddress:
        """Where the store is."""
        from optuna_study.store.engine.address import StoreAddress

        return self.storage or StoreAddress.of_file(self.workspace.database)

    def open(self) -> Store:
        """The store.

        Raises:
            NotFoundError: there is none.
            StoreError: it cannot be reached.
        """
        from optuna_study.store.engine.open import open_store

        return open_store(self.address)

    def open_study(self, *, exact: bool = False) -> tuple[Store, StudyRecord]:
        """The store, and the study that is named.

        A bare name of several variants means the one that was worked on last, which is said on
        stderr, unless it has to be `exact`.

        Raises:
            NotFoundError: no such store or study.
            StoreError: it cannot be reached.
        """
        from optuna_study.store.studies.studies import find_study, load_study

        store = self.open()
        found = find_study(store, self.study_name)
        if found is None:
            name = self.study_name if exact else self._variant(store)
            found = load_study(store, name)
        return store, found

    def _variant(self, store: Store) -> str:
        from optuna_study.definition.names import bare_name
        from optuna_study.store.reads.reads import list_studies

        rows = list_studies(store)
        variants = [row for row in rows if bare_name(row.name) == self.study_name]
        if len(variants) < 2:
            return self.study_name
        last = max(variants, key=lambda row: row.last_activity)
        others = ", ".join(row.name for row in variants if row is not last)
        tell(f"{last.name}, which was worked on last; there is also {others}.")
        return last.name


def store_target(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--storage` and `--artifacts`: handed over as `target`."""

    @functools.wraps(command)
    def call(*, storage: StoreAddress | None, workspace: Workspace, **options: Any) -> Any:
        return command(target=Target(storage, workspace), **options)

    return storage_option(artifacts_option(call))


def study_target(command: Callable[..., Any]) -> Callable[..., Any]:
    """`STUDY`, `--storage` and `--artifacts`: handed over as `target`."""

    @functools.wraps(command)
    def call(
        *, study: str, storage: StoreAddress | None, workspace: Workspace, **options: Any
    ) -> Any:
        return command(target=Target(storage, workspace, study), **options)

    return click.argument("study")(storage_option(artifacts_option(call)))
