"""The folder of an attempt: fresh, and gone at its end."""

from __future__ import annotations

from pathlib import Path

from workers.workspace import Workspace, workspace


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


def test_a_link_out_of_the_workspace_is_removed_and_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o500)
    with workspace(Workspace.of(tmp_path / "root", "bd-1", 1)) as place:
        (place.home / "link").symlink_to(outside)
    assert outside.stat().st_mode & 0o777 == 0o500
