"""The folder of an attempt: fresh, and gone with all that was started in it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from workers import strays
from workers.workspace import Workspace, environment, sweep, workspace


def test_an_attempt_gets_a_fresh_folder_that_is_gone_afterwards(tmp_path: Path) -> None:
    with workspace(Workspace.of(tmp_path / "root", "bd-1", 3)) as place:
        assert place.folder == tmp_path / "root" / "bd-1" / "3"
        assert not list(place.home.iterdir())
        (place.home / "left").write_text("x")
    assert not list((tmp_path / "root").iterdir())


def test_what_an_earlier_attempt_left_is_removed_first(tmp_path: Path) -> None:
    left = tmp_path / "bd-1" / "1" / "checkout"
    left.mkdir(parents=True)
    with workspace(Workspace.of(tmp_path, "bd-1", 2)):
        assert not left.exists()


def test_an_attempt_that_ends_late_leaves_the_next_ones_folder(tmp_path: Path) -> None:
    with (
        workspace(Workspace.of(tmp_path, "bd-1", 1)),
        workspace(Workspace.of(tmp_path, "bd-1", 2)) as later,
    ):
        pass
    with workspace(Workspace.of(tmp_path, "bd-1", 1)) as first:
        later.folder.mkdir()
        assert first.folder.exists()
    assert later.folder.exists()


def test_folders_without_any_right_are_removed_all_the_same(tmp_path: Path) -> None:
    with workspace(Workspace.of(tmp_path, "bd-1", 1)) as place:
        deep = place.home / "a" / "b"
        deep.mkdir(parents=True)
        (deep / "file").write_text("x")
        deep.chmod(0)
        deep.parent.chmod(0)
    assert not list(tmp_path.iterdir())


def test_folders_of_any_depth_are_removed(tmp_path: Path) -> None:
    with workspace(Workspace.of(tmp_path, "bd-1", 1)) as place:
        # Deeper than the stack, the open files of a process, and the longest path.
        _dig(place.home, 5_000)
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


def test_a_link_out_of_the_workspace_is_removed_and_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o500)
    with workspace(Workspace.of(tmp_path / "root", "bd-1", 1)) as place:
        (place.home / "link").symlink_to(outside)
    assert outside.stat().st_mode & 0o777 == 0o500


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
