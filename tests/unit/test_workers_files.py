"""Files of a checkout that untrusted code has written to."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from loom.errors import Invalid
from workers.ways.files import Files


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """Files below a folder, beside which a secret stands."""
    (tmp_path / "secret").write_text("s3cret")
    (tmp_path / "work").mkdir()
    return Files(tmp_path / "work")


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_is_written_in_folders_that_are_made(files: Files) -> None:
    files.write("a/b/c.txt", b"one")

    assert (files.root / "a/b/c.txt").read_bytes() == b"one"
    assert files.read("a/b/c.txt", 3) == b"one"
    assert mode_of(files.root / "a/b/c.txt") == 0o644
    assert [path.name for path in (files.root / "a/b").iterdir()] == ["c.txt"]


def test_a_file_stays_executable_unless_it_is_told_otherwise(files: Files) -> None:
    files.write("run", b"1", 0o755)
    files.write("run", b"2")
    assert mode_of(files.root / "run") == 0o755

    files.write("run", b"3", 0o644)
    assert mode_of(files.root / "run") == 0o644


def test_files_and_links_are_moved_and_deleted_and_folders_are_not(files: Files) -> None:
    files.write("x", b"x")
    (files.root / "link").symlink_to("../secret")
    (files.root / "folder").mkdir()

    files.move("x", "deep/y")
    files.move("link", "other")
    files.delete("deep/y")
    files.delete("other")

    assert sorted(path.name for path in files.root.iterdir()) == ["deep", "folder"]
    assert (files.root.parent / "secret").read_text() == "s3cret"
    with pytest.raises(Invalid, match="'folder' is a folder"):
        files.delete("folder")
    with pytest.raises(Invalid, match="there is no file 'none'"):
        files.move("none", "some")


def test_nothing_is_moved_over_another_file(files: Files) -> None:
    files.write("x", b"x")
    files.write("y", b"y")
    with pytest.raises(Invalid, match="'y' is there already, as a file"):
        files.move("x", "y")
    assert files.read("x", 1) == b"x"


@pytest.mark.parametrize(
    "name",
    [
        "", "/etc/passwd", "..", "../secret", "a/../../secret", "a//b", "a/", "./a", ".git",
        ".git/config", ".GIT/hooks/pre-push", "sub/.Git/config", "git~1/config", "a\0b", "a\nb",
        "\ud800", "x" * 256, "a/" * 600 + "a",
    ],
)  # fmt: skip
def test_a_path_that_is_none_below_the_checkout_is_refused(files: Files, name: str) -> None:
    acts: tuple[Callable[[], object], ...] = (
        lambda: files.read(name, 10),
        lambda: files.write(name, b"x"),
        lambda: files.delete(name),
        lambda: files.move(name, "new"),
    )
    for act in acts:
        with pytest.raises(Invalid):
            act()
    assert list(files.root.iterdir()) == []


@pytest.mark.parametrize("target", ["../secret", "/etc/passwd", "real"])
def test_no_symbolic_link_is_followed_to_a_file(files: Files, target: str) -> None:
    files.write("real", b"real")
    (files.root / "link").symlink_to(target)

    with pytest.raises(Invalid, match="'link' is a symbolic link"):
        files.read("link", 100)
    with pytest.raises(Invalid, match="'link' is a symbolic link"):
        files.write("link", b"x")
    assert (files.root.parent / "secret").read_text() == "s3cret"
    assert files.read("real", 100) == b"real"


@pytest.mark.parametrize("target", ["..", "/", "inside"])
def test_no_symbolic_link_is_followed_to_a_folder(files: Files, target: str) -> None:
    (files.root / "inside").mkdir()
    files.write("x", b"x")
    (files.root / "link").symlink_to(target)

    for act in (
        lambda: files.read("link/secret", 10),
        lambda: files.write("link/new", b"x"),
        lambda: files.delete("link/secret"),
        lambda: files.move("x", "link/new"),
    ):
        with pytest.raises(Invalid, match="'link' is a symbolic link, and no path leads through"):
            act()
    assert sorted(path.name for path in files.root.parent.iterdir()) == ["secret", "work"]


def test_what_stands_in_the_way_is_named(files: Files) -> None:
    files.write("x", b"x")
    os.mkfifo(files.root / "pipe")

    with pytest.raises(Invalid, match="'x' is a file, and no path leads through it"):
        files.write("x/y", b"x")
    with pytest.raises(Invalid, match="there is no folder 'none'"):
        files.delete("none/x")
    with pytest.raises(Invalid, match="'pipe' is a special file"):
        files.read("pipe", 10)
    with pytest.raises(Invalid, match="'x' is larger than 0 bytes"):
        files.read("x", 0)
