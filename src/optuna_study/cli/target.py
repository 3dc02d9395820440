"""What most commands work on: a store, its files' folder, and often one study."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from optuna_study.cli.options import artifacts_option, storage_option

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

    def open_study(self) -> tuple[Store, StudyRecord]:
        """The store, and the study that is named.

        Raises:
            NotFoundError: no such store or study.
            StoreError: it cannot be reached.
        """
        from optuna_study.store.studies.studies import load_study

        store = self.open()
        return store, load_study(store, self.study_name)


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
