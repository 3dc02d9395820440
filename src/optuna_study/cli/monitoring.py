"""`/health` and `/metrics` on the dashboard's server, for monitors such as Prometheus.

The format is Prometheus' own text format, version 0.0.4: a line a sample, below its help and type.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from optuna_study.cli.guard import JSON, answer
from optuna_study.errors import StoreError
from optuna_study.store.reads.status import StudyStatus, require_reachable, study_statuses
from optuna_study.store.records import TrialState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from optuna_study.store.engine.connection import Store

    Samples: TypeAlias = "Iterable[tuple[Mapping[str, str], float | None]]"

HEALTH, METRICS = "/health", "/metrics"
PREFIX = "optuna_study"
TEXT = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True)
class Monitoring:
    """A WSGI application that answers monitors, and hands everything else to `app`."""

    app: WSGIApplication
    store: Store

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request; with 503 where the store does not answer."""
        path = environ.get("PATH_INFO", "")
        if path not in (HEALTH, METRICS) or environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return self.app(environ, start_response)
        try:
            if path == HEALTH:
                require_reachable(self.store)
                status, kind, text = "200 OK", JSON, json.dumps({"status": "ok"})
            else:
                status, kind, text = "200 OK", TEXT, metrics(study_statuses(self.store))
        except StoreError as error:
            status, kind = "503 Service Unavailable", JSON
            text = json.dumps({"status": "unreachable", "reason": str(error)})
        told = answer(start_response, status, kind, text, ("Cache-Control", "no-store"))
        return told if environ["REQUEST_METHOD"] == "GET" else []


def metrics(statuses: Sequence[StudyStatus]) -> str:
    """All studies as Prometheus reads them."""
    by_state = [
        ({"study": each.name, "state": state.value.lower()}, each.trials.get(state, 0))
        for each in statuses
        for state in TrialState
    ]
    by_study = [({"study": each.name}, each) for each in statuses]
    families: tuple[tuple[str, str, Samples], ...] = (
        ("trials", "Trials by Optuna's state.", by_state),
        ("trials_left", "Trials that have yet to end.", [(k, s.left) for k, s in by_study]),
        (
            "workers",
            "Workers that hold a trial and are alive.",
            [(k, s.workers) for k, s in by_study],
        ),
        ("lost_trials", "Trials whose workers are lost.", [(k, s.lost) for k, s in by_study]),
        (
            "last_end_timestamp_seconds",
            "When a trial last ended.",
            [(k, s.last_end) for k, s in by_study],
        ),
        (
            "last_failure_timestamp_seconds",
            "When a trial last failed.",
            [(k, s.last_failure) for k, s in by_study],
        ),
    )
    return "".join(line for family in families for line in _lines(*family))


def _lines(name: str, said: str, samples: Samples) -> Iterator[str]:
    """One family of samples, all of them gauges; what is not known yet has no line."""
    yield f"# HELP {PREFIX}_{name} {said}\n# TYPE {PREFIX}_{name} gauge\n"
    for labels, value in samples:
        if value is not None:
            written = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
            yield f"{PREFIX}_{name}{{{written}}} {float(value)!r}\n"


def _escaped(text: str) -> str:
    r"""A label's value; names of studies may hold anything.

    >>> print(_escaped('a"b'))
    a\"b
    """
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
