"""SIGTERM ends a process whatever its main thread does at that moment."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

WAITS_FOR_EVER_IN_C = """
import threading, time
from loom.settings import ServiceSettings
from loom.telemetry import process
stopping = process.start("test", ServiceSettings())
threading.Thread(target=lambda: (stopping.wait(), __import__("os")._exit(7))).start()
print("ready", flush=True)
"""
HOLDS_THE_EVENTS_LOCK = (
    WAITS_FOR_EVER_IN_C + "\nwith stopping._cond: time.sleep(0.1)\ntime.sleep(60)"
)
MASKED_ON_THE_MAIN_THREAD = (
    WAITS_FOR_EVER_IN_C
    + "\nimport signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, {15, 2})\ntime.sleep(60)"
)


@pytest.mark.parametrize("script", [HOLDS_THE_EVENTS_LOCK, MASKED_ON_THE_MAIN_THREAD])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_sets_the_event_whatever_the_main_thread_does(
    script: str, number: signal.Signals
) -> None:
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"ready\n"
        time.sleep(0.02)  # it may signal too early for the lock, never too late
        running.send_signal(number)
        assert running.wait(30) == 7


def test_after_the_block_a_signal_ends_the_process() -> None:
    script = (
        "import os, signal\n"
        "from loom.telemetry.process import stop_signals\n"
        "with stop_signals() as stopping:\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    assert stopping.wait(30)\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, timeout=30
    )
    assert done.returncode == -signal.SIGTERM, done.stderr
