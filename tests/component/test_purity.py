"""A test in tests/unit that opens a socket, starts a process or waits for its time is noticed."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from purity import ImpureError, watched

TESTS = Path(__file__).parents[1]
NOWHERE = ("127.0.0.1", 9)
IMPURE: dict[str, Callable[[], object]] = {
    "opened a socket": socket.socket,
    "connected a socket": lambda: made_before.connect(NOWHERE),
    "bound a socket": lambda: made_before.bind(("127.0.0.1", 0)),
    "looked up the name of a host": lambda: socket.getaddrinfo("localhost", 80),
    "started a process": lambda: subprocess.run(["true"], check=True),
    "started a process (os.posix_spawn": lambda: os.posix_spawn("/bin/true", ["true"], {}),
    "forked": os.fork,
    "started a shell": lambda: os.system("true"),  # noqa: S605
    "slept": lambda: time.sleep(0.001),
}
made_before = socket.socket()


@pytest.mark.parametrize("words", IMPURE)
def test_what_is_impure_is_refused_where_it_happens_and_told(words: str) -> None:
    with watched() as seen, pytest.raises(ImpureError, match=r"put the test into tests/component"):
        IMPURE[words]()
    (told,) = seen
    assert told.startswith(words)


def test_a_wait_that_runs_out_is_told_and_one_for_another_thread_is_not() -> None:
    come = threading.Event()
    with watched() as seen:
        assert not come.wait(0.001)
        threading.Thread(target=come.set).start()
        assert come.wait(60)
    assert seen == ["waited until the time was over (threading: 0.001 s)"]


def test_nothing_is_refused_to_who_is_not_watched() -> None:
    with watched(), pytest.raises(ImpureError):
        time.sleep(0)
    time.sleep(0)
    subprocess.run(["true"], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))


IN_A_TEST = """
import socket, subprocess, time
import pytest

@pytest.fixture
def tidied():
    yield
    subprocess.run(["true"], check=False)

@pytest.fixture
def served():
    return socket.socket()

def test_pure(tmp_path):
    (tmp_path / "file").write_text("x")

def test_that_hides_it():
    try:
        subprocess.run(["true"], check=False)
    except Exception:
        pass

def test_with_a_process():
    subprocess.run(["true"], check=False)

def test_with_a_fixture(served):
    pass

def test_with_what_comes_after(tidied):
    pass

def test_that_sleeps():
    time.sleep(0)
"""


def test_a_unit_test_that_is_not_pure_fails_also_in_a_process_of_xdists(tmp_path: Path) -> None:
    shutil.copy(TESTS / "unit/conftest.py", tmp_path)
    (tmp_path / "test_some.py").write_text(IN_A_TEST)
    plugins = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(TESTS)}
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "xdist", "-n", "1", "-p", "no:cacheprovider"),
            *("-c", os.devnull, "--rootdir", str(tmp_path), "-q", "-rpfE", str(tmp_path)),
        ],
        env=os.environ | plugins, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    ended = re.findall(r"^(PASSED|FAILED|ERROR) \S+::(\w+)", done.stdout, re.MULTILINE)
    assert sorted(ended) == [
        ("ERROR", "test_with_a_fixture"),
        ("ERROR", "test_with_what_comes_after"),
        ("FAILED", "test_that_hides_it"),
        ("FAILED", "test_that_sleeps"),
        ("FAILED", "test_with_a_process"),
        ("PASSED", "test_pure"),
        ("PASSED", "test_with_what_comes_after"),
    ], done.stdout
