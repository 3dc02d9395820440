"""`/studies` on the dashboard's server: all studies, and buttons to pause, resume and stop them.

The buttons are there for whoever came with the token of `dashboard --allow-write`. A click is a
request that the guard lets through from this very page alone: its cookie goes with no other
site's request, and the page may not be framed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from optuna_study.cli.guard import HTML, MAY_WRITE, answer
from optuna_study.errors import NotFoundError, StoreError
from optuna_study.launch.change_state import change_state
from optuna_study.report import values
from optuna_study.store.reads.reads import list_studies
from optuna_study.store.records import StudyRow, StudyState
from optuna_study.store.studies.studies import find_study

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from optuna_study.store.engine.connection import Store

PAGE = "/studies"
STEER = re.compile(r"/studies/([0-9a-f-]{36})/(pause|resume|stop)")
STATES = {
    "pause": StudyState.PAUSED,
    "resume": StudyState.ACTIVE,
    "stop": StudyState.STOPPING,
}
SAID = {
    "pause": "No new trials; those that run finish.",
    "resume": "Let it go on.",
    "stop": "Let running trials finish, then end.",
}
READING = (
    "To pause, resume and stop studies here, open the address that "
    "<code>optuna-study dashboard --allow-write</code> prints."
)
POLICY = (
    *("default-src 'none'", "style-src 'unsafe-inline'"),
    *("form-action 'self'", "frame-ancestors 'none'"),
)
HEADERS = [
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", "; ".join(POLICY)),
]
STYLE = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif }
body { margin: 2rem auto; max-width: 70rem; padding: 0 1rem }
.wide { overflow-x: auto }
table { border-collapse: collapse; width: 100% }
th, td { padding: .4rem .8rem; text-align: left; white-space: nowrap }
tr { border-bottom: 1px solid #8886 }
td.number { text-align: right }
form { display: inline }
button { font: inherit; padding: .1rem .6rem; cursor: pointer }
"""


@dataclass(frozen=True)
class StudiesPage:
    """A WSGI application with that page, which hands everything else to `app`."""

    app: WSGIApplication
    store: Store

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request; whether it may change anything the guard has found out."""
        path, method = environ.get("PATH_INFO", ""), environ["REQUEST_METHOD"]
        asked = STEER.fullmatch(path)
        try:
            if asked is not None and method == "POST":
                return self._steer(asked[1], asked[2], start_response)
            if path.rstrip("/") == PAGE and method == "GET":
                text = page(list_studies(self.store), may_write=environ.get(MAY_WRITE, False))
                return _answer(start_response, "200 OK", text)
        except NotFoundError as error:
            return _answer(start_response, "404 Not Found", _message(str(error)))
        except StoreError as error:
            return _answer(start_response, "503 Service Unavailable", _message(str(error)))
        return self.app(environ, start_response)

    def _steer(self, uuid: str, action: str, start_response: StartResponse) -> Iterable[bytes]:
        named = next((row.name for row in list_studies(self.store) if row.uuid == uuid), None)
        study = None if named is None else find_study(self.store, named)
        if study is None or study.uuid != uuid:
            raise NotFoundError("this study is gone")
        change_state(self.store, study, STATES[action])
        start_response("303 See Other", [("Location", PAGE), ("Content-Length", "0")])
        return []


def page(rows: Sequence[StudyRow], *, may_write: bool) -> str:
    """The page: a study a row, the one worked on last first."""
    ordered = sorted(rows, key=lambda row: -row.last_activity)
    heads = ["study", "owner", "state", "ended", "running", "best", "metric", "last activity"]
    lines = [f"<th>{head}</th>" for head in heads] + (["<th></th>"] if may_write else [])
    body = "".join(_row(row, may_write=may_write) for row in ordered)
    table = f'<div class="wide"><table><tr>{"".join(lines)}</tr>{body}</table></div>'
    said = "" if may_write else f"<p>{READING}</p>"
    links = '<p><a href="/dashboard">All trials in optuna-dashboard</a></p>'
    return _document(f"<h1>Studies</h1>{table if rows else '<p>None yet.</p>'}{said}{links}")


def _row(row: StudyRow, *, may_write: bool) -> str:
    met = row.ended >= row.total
    state = values.standing(row.state, running=row.running, met=met, halted=row.halted)
    link = f'<a href="/dashboard/studies/{row.study_id}">{escape(row.name)}</a>'
    cells = [
        f"<td>{link}</td>",
        f"<td>{escape(row.owner or '')}</td>",
        f"<td>{escape(state)}</td>",
        f'<td class="number">{row.ended}/{row.total}</td>',
        f'<td class="number">{row.running}</td>',
        f'<td class="number">{escape(values.metric(row.metric, row.best))}</td>',
        f"<td>{escape(row.metric)}</td>",
        f"<td>{escape(values.moment(row.last_activity) or '')}</td>",
    ]
    if may_write:
        cells.append(f"<td>{''.join(map(_button(row.uuid), _actions(row, met=met)))}</td>")
    return f"<tr>{''.join(cells)}</tr>"


def _actions(row: StudyRow, *, met: bool) -> list[str]:
    """What may be told a study as it stands."""
    if met:
        return []
    if row.halted or row.state is not StudyState.ACTIVE:
        return ["resume"]
    return ["pause", "stop"]


def _button(uuid: str) -> Callable[[str], str]:
    def button(action: str) -> str:
        return (
            f'<form method="post" action="{PAGE}/{uuid}/{action}">'
            f'<button title="{SAID[action]}">{action.capitalize()}</button></form> '
        )

    return button


def _message(text: str) -> str:
    return _document(f'<p>{escape(text)}</p><p><a href="{PAGE}">All studies</a></p>')


def _document(body: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Studies</title><style>{STYLE}</style></head><body>{body}</body></html>"
    )


def _answer(start_response: StartResponse, status: str, text: str) -> Iterable[bytes]:
    return answer(start_response, status, HTML, text, *HEADERS)
