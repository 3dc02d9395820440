"""What only the server that workers are forked from may import."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest


def test_collecting_doctests_leaves_the_tests_open_to_sigterm() -> None:
    """In a run of everything, the modules of src were collected before this."""
    assert signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN


@pytest.mark.slow
def test_the_server_outlives_a_closed_terminal_and_the_end_of_its_group() -> None:
    code = (
        "import signal\n"
        "import optuna_study.worker.preload\n"
        "for number in (signal.SIGHUP, signal.SIGTERM):\n"
        "    signal.raise_signal(number)\n"
        "print('alive')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr
