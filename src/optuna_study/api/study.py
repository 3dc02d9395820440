"""A study in Python: what the commands print, as objects."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from optuna_study.paths import STORAGE_VARIABLE, Workspace
from optuna_study.store.engine.address import StoreAddress
from optuna_study.store.engine.open import open_store
from optuna_study.store.studies.studies import load_study

if TYPE_CHECKING:
    import optuna
    import pandas as pd
    from plotly.graph_objects import Figure

    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import StudyRecord, TrialRecord


class Study:
    """A study of a store. Everything is read when it is asked for: a running study grows."""

    def __init__(self, store: Store, name: str, workspace: Workspace) -> None:
        self.name = name
        self._store = store
        self._workspace = workspace

    def __repr__(self) -> str:
        return f"Study({self.name!r}, {str(self._store.address)!r})"

    def _repr_html_(self) -> str:
        """What a notebook shows: a line a figure would need an axis for."""
        from html import escape

        from optuna_study.report.load import load_summary
        from optuna_study.report.pages import best_block, ends_line
        from optuna_study.report.tables import plain

        summary = load_summary(self._store, self.record)
        lines = [*plain(best_block(summary)).splitlines(), plain(ends_line(summary))]
        return "<br>".join([f"<b>{escape(self.name)}</b>", *map(escape, lines)])

    @property
    def record(self) -> StudyRecord:
        """The study as stored: metric, direction, definition, budget, data, environment."""
        return load_study(self._store, self.name)

    @property
    def best(self) -> TrialRecord | None:
        """The best completed trial: by its confirmation runs, else by the search; or None."""
        from optuna_study.report.export import find_best

        return find_best(self._store, self.record)

    @property
    def optuna(self) -> optuna.Study:
        """The study as plain Optuna has it, for `optuna.visualization` and the like."""
        import optuna

        from optuna_study.store.engine.optuna_bridge import optuna_storage

        return optuna.load_study(study_name=self.name, storage=optuna_storage(self._store))

    def dataframe(self) -> pd.DataFrame:
        """One row a trial: settings as `params_...`, value, figures of its last epoch, end."""
        from optuna_study.api.frames import trials_frame

        return trials_frame(self._store, self.record)

    def curves(self) -> pd.DataFrame:
        """One row an epoch of a trial, with all that was measured in it."""
        from optuna_study.api.frames import curves_frame

        return curves_frame(self._store, self.record)

    def figure(self, kind: str, trial: int | None = None) -> Figure:
        """A plotly figure of a kind that `optuna-study plot STUDY` lists.

        `trial` is the one that figures of a single trial show, the best when None.

        Raises:
            UsageError: no such kind.
            NotFoundError: no such trial.
        """
        from optuna_study.report.figures.kinds import find_kind
        from optuna_study.report.figures.study_data import load_study_data

        found = find_kind(kind)
        return found.make(load_study_data(self._store, self.record, self._workspace, trial))

    def report(self, output: str | Path | None = None, form: str | None = None) -> str:
        """The report as the text of an HTML page or of Markdown; written where a file is named.

        `form` is `html` or `md`, what the file's name ends in when None.
        """
        from optuna_study.report.document.write import form_of, report_text
        from optuna_study.report.export import write
        from optuna_study.report.figures.study_data import load_study_data

        path = None if output is None else Path(output)
        data = load_study_data(self._store, self.record, self._workspace)
        text = report_text(data, form or form_of(path))
        if path is not None:
            write(path, text)
        return text

    def export(self, output: str | Path | None = None, trial: int | None = None) -> str:
        """The configuration of a trial, the best when None, as a file that `train` reads.

        TOML, or what the file's name ends in; written where one is named.

        Raises:
            NotFoundError: no such trial, or none has completed.
        """
        from optuna_study.report.export import export_trial, form_of, write

        path = None if output is None else Path(output)
        text = export_trial(self._store, self.record, trial, form_of(path))
        if path is not None:
            write(path, text)
        return text


def load(name: str, storage: str | None = None, *, artifacts: str | Path | None = None) -> Study:
    """A study by its name, from the storage that `--storage` would name.

    Raises:
        NotFoundError: no such study.
        StoreError: there is no such store, or it cannot be reached.
    """
    workspace = Workspace.locate(artifacts)
    store = open_store(find_address(storage, workspace))
    return Study(store, load_study(store, name).name, workspace)


def find_address(storage: str | None, workspace: Workspace) -> StoreAddress:
    """The store of a URL, else of the environment, else of the workspace's own file."""
    import os

    url = storage or os.environ.get(STORAGE_VARIABLE)
    return StoreAddress.parse(url) if url else StoreAddress.of_file(workspace.database)
