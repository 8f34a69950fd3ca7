"""With the folder of an attempt goes all that was started in it, and whatever it holds."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from workers import strays
from workers.workspace import Workspace, environment, sweep, workspace


@pytest.fixture
def few_files() -> Iterator[int]:
    """How many files this process may have open: few, for the length of the test."""
    most, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = min(most, 1_024)
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, hard))
    yield few
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def test_folders_of_any_depth_are_removed(tmp_path: Path, few_files: int) -> None:
    depth = 1_500
    # Deeper than the stack, the open files of a process, and the longest path.
    assert depth > max(sys.getrecursionlimit(), few_files, 4_096 / len("deep/"))
    with workspace(Workspace.of(tmp_path, "bd-1", 1)) as place:
        _dig(place.home, depth)
        (place.home / "link").symlink_to(tmp_path)
    assert tmp_path.exists()
    assert not list(tmp_path.iterdir())


def _dig(folder: Path, depth: int) -> None:
    at = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("deep", dir_fd=at)
        inner = os.open("deep", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = inner
    os.close(os.open("file", os.O_CREAT, dir_fd=at))
    os.close(at)


def _begun(process: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
    """The process, once the kernel shows the environment that it was started with."""
    while not Path(f"/proc/{process.pid}/environ").read_bytes():
        pass
    return process


def test_a_process_that_left_its_group_ends_with_the_workspace(tmp_path: Path) -> None:
    with workspace(Workspace.of(tmp_path, "bd-1", 1)) as place:
        given = environment(place, os.environ["PATH"], "bd-1", "demo")
        stray = _begun(subprocess.Popen(["sleep", "600"], env=given, start_new_session=True))
    assert stray.wait(30) == -9


def test_a_sweep_ends_and_removes_what_a_killed_agent_left(tmp_path: Path) -> None:
    home = tmp_path / "bd-1" / "1" / "home"
    home.mkdir(parents=True)
    given = {"PATH": os.environ["PATH"], "HOME": str(home)}
    stray = _begun(subprocess.Popen(["sleep", "600"], env=given))
    sweep(tmp_path)
    assert stray.wait(30) == -9
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("home", ["", "elsewhere"])
def test_other_processes_are_let_live(tmp_path: Path, home: str) -> None:
    inside = tmp_path / "inside"
    given = {"PATH": os.environ["PATH"], "HOME": f"{inside}{home}"}
    other = subprocess.Popen(["sleep", "600"], env=given)
    try:
        assert strays.kill_under(inside) == 0
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()
