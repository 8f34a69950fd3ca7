"""What a command can leave in its working tree, and what of it Loom's own git does: nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from agent_stand import git
from repository_bench import At, Bench, fails

from loom.domain.evidence import FailureClass

WORK = FailureClass.WORK


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def at(bench: Bench) -> Iterator[At]:
    with bench.attempt() as attempt:
        attempt.repository.check_out()
        yield attempt


def _trap(at: At) -> tuple[Path, Path]:
    """A program, and the file that it makes when it is run."""
    sprung = at.place.folder.parent.parent / "sprung"
    program = at.place.scratch / "program"
    program.write_text(f"#!/bin/sh\ntouch {sprung}\ncat\n")
    program.chmod(0o755)
    return program, sprung


def _hooks(at: At, program: Path) -> None:
    hooks = at.checkout / ".git" / "hooks"
    hooks.mkdir()
    for name in ("pre-commit", "post-index-change", "pre-push", "reference-transaction"):
        (hooks / name).write_bytes(program.read_bytes())
        (hooks / name).chmod(0o755)
    git("config", "core.hooksPath", str(hooks), cwd=at.checkout)


def _fsmonitor(at: At, program: Path) -> None:
    git("config", "core.fsmonitor", str(program), cwd=at.checkout)
    git("config", "core.sshCommand", str(program), cwd=at.checkout)
    git("config", "core.alternateRefsCommand", str(program), cwd=at.checkout)


def _filters(at: At, program: Path) -> None:
    for key in ("filter.x.clean", "filter.x.smudge", "filter.x.process", "diff.x.command"):
        git("config", key, str(program), cwd=at.checkout)
    git("config", "diff.x.textconv", str(program), cwd=at.checkout)
    at.write(".gitattributes", "* filter=x diff=x\n")


def _attributes(at: At, program: Path) -> None:
    (at.checkout / ".git" / "info" / "attributes").write_text("* filter=x\n")
    (at.checkout / ".git" / "info" / "exclude").write_text("*\n")
    git("config", "filter.x.clean", str(program), cwd=at.checkout)


def _work_tree_elsewhere(at: At, _program: Path) -> None:
    git("config", "core.worktree", "/etc", cwd=at.checkout)
    git("config", "core.bare", "true", cwd=at.checkout)
    git("config", "include.path", "/etc/passwd", cwd=at.checkout)


def _replaced_by_a_file(at: At, _program: Path) -> None:
    (at.checkout / ".git").rename(at.place.scratch / "moved")
    at.write(".git", f"gitdir: {at.place.scratch / 'moved'}\n")


def _replaced_by_a_link(at: At, _program: Path) -> None:
    (at.checkout / ".git").rename(at.place.scratch / "moved")
    (at.checkout / ".git").symlink_to(at.place.scratch / "moved")


def _index(at: At, _program: Path) -> None:
    git("update-index", "--assume-unchanged", "sums.py", cwd=at.checkout)
    git("update-index", "--skip-worktree", "check.py", cwd=at.checkout)
    (at.checkout / ".git" / "index.lock").touch()
    (at.checkout / ".git" / "HEAD").write_text("ref: refs/heads/elsewhere\n")


@pytest.mark.parametrize(
    "plant",
    [
        _hooks, _fsmonitor, _filters, _attributes, _work_tree_elsewhere,
        _replaced_by_a_file, _replaced_by_a_link, _index,
    ],
    ids=lambda plant: plant.__name__.strip("_"),
)  # fmt: skip
def test_nothing_of_the_commands_own_repository_counts(
    bench: Bench, at: At, plant: Callable[[At, Path], None]
) -> None:
    program, sprung = _trap(at)
    plant(at, program)
    at.write("sums.py", "changed\n")
    sha = at.deliver()
    assert not sprung.exists()
    assert git("show", f"{sha}:sums.py", cwd=bench.upstream) == "changed"
    assert bench.refs()["refs/heads/agent/bd-1"] == sha


def test_a_repository_within_the_tree_is_refused_and_an_ignored_one_ignored(at: At) -> None:
    program, sprung = _trap(at)
    inner = at.checkout / "vendor" / "inner"
    inner.mkdir(parents=True)
    git("init", "--quiet", cwd=inner)
    git("commit", "--quiet", "--allow-empty", "--message=x", cwd=inner)
    git("config", "core.fsmonitor", str(program), cwd=inner)
    with fails(WORK, "vendor/inner/ holds a repository of its own"):
        at.repository.changes()
    at.write(".gitignore", "vendor/\n")
    assert [change.path for change in at.repository.changes().files] == [".gitignore"]
    assert not sprung.exists()


def test_a_tracked_folder_that_is_made_a_repository_is_files_all_the_same(
    bench: Bench, at: At
) -> None:
    at.write("lib/a.py", "a\n")
    at.repository.settle()
    git("init", "--quiet", cwd=at.checkout / "lib")
    at.write("lib/a.py", "b\n")
    assert [change.path for change in at.repository.changes().files] == ["lib/a.py"]


def test_git_never_looks_into_a_submodule(bench: Bench) -> None:
    seed = bench.folder / "upstream" / "seed"
    sha = git("rev-parse", "HEAD", cwd=seed)
    git("update-index", "--add", "--cacheinfo", f"160000,{sha},sub", cwd=seed)
    (seed / "sub").mkdir()
    bench.push()
    with bench.attempt() as at:
        at.repository.check_out()
        program, sprung = _trap(at)
        sub = at.checkout / "sub"
        git("init", "--quiet", cwd=sub)
        (sub / ".gitattributes").write_text("* filter=x\n")
        git("add", ".", cwd=sub)
        git("commit", "--quiet", "--message=x", cwd=sub)
        git("config", "filter.x.clean", str(program), cwd=sub)
        git("config", "core.fsmonitor", str(program), cwd=sub)
        (sub / ".gitattributes").write_text("* filter=x diff\n")
        at.write("sums.py", "changed\n")
        assert [change.path for change in at.repository.changes().files] == ["sums.py"]
        at.deliver()
        assert not sprung.exists()


def test_links_are_committed_as_they_are_and_led_through_by_none(at: At) -> None:
    at.write("folder/file", "inside\n")
    at.repository.settle()
    (at.checkout / "folder" / "file").unlink()
    (at.checkout / "folder").rmdir()
    (at.checkout / "folder").symlink_to("/etc")
    (at.checkout / "loop").symlink_to("loop")
    changed = {change.path for change in at.repository.changes().files}
    assert changed == {"folder", "loop"}
    with fails(WORK, "beyond a symbolic link"):
        at.repository.apply(b"--- /dev/null\n+++ b/folder/passwd2\n@@ -0,0 +1 @@\n+x\n")
    assert not Path("/etc/passwd2").exists()


@pytest.mark.parametrize("name", [".gitignore", "a/b/.gitattributes"])
def test_a_pipe_that_git_would_wait_on_for_ever_is_told(at: At, name: str) -> None:
    (at.checkout / name).parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(at.checkout / name)
    with fails(WORK, f"{name} is no file"):
        at.repository.changes()


def test_pipes_are_no_work(at: At) -> None:
    os.mkfifo(at.checkout / "pipe")
    assert not at.repository.changes()


def test_a_file_that_was_made_a_pipe_cannot_be_committed(at: At) -> None:
    (at.checkout / "sums.py").unlink()
    os.mkfifo(at.checkout / "sums.py")
    with fails(WORK, "cannot be committed"):
        at.repository.changes()


def test_a_working_tree_that_is_gone_is_told(at: At) -> None:
    at.checkout.rename(at.place.scratch / "moved")
    with fails(WORK, "removed its own working tree"):
        at.repository.changes()
    at.checkout.symlink_to("/etc")
    with fails(WORK, "removed its own working tree"):
        at.repository.changes()
    at.checkout.unlink()
    at.checkout.mkdir()
