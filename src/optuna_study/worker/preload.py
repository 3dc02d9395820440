"""Imported once by the server that workers are forked from; importing it is all it is for."""

from __future__ import annotations

import signal

from optuna_study.worker.forking import preloading

with preloading():
    import optuna_study.worker.assignment
    import optuna_study.worker.preflight
    import optuna_study.worker.process  # noqa: F401 - as above

# A closed terminal, or whoever ends a whole process group, signals the server too; were it to die,
# the launch could no longer wait for its workers. It ends when the launch does.
for _number in (signal.SIGHUP, signal.SIGTERM):
    signal.signal(_number, signal.SIG_IGN)
