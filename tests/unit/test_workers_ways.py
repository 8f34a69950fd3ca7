"""Which way a bead is worked on by, and the ways that need no list and no command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from loom.domain.actions import MAX_WORK_BYTES
from loom.domain.evidence import FailureClass
from loom.domain.project import Project
from loom.domain.rules import Rules
from loom.errors import Invalid, Unavailable
from loom.testing.bench import bench
from workers.ways import registry
from workers.ways.patch import Patch
from workers.ways.verify import Verify
from workers.ways.way import Way, WorkFailed

PROJECT = Project("demo", "/srv/demo.git")
WITH_COMMAND = Project("demo", "/srv/demo.git", rules=Rules(command=("true",)))
MENDS = "--- a/sum\n+++ b/sum\n@@ -1 +1 @@\n-1 + 1 = 3\n+1 + 1 = 2"
BINARY = (
    f"diff --git a/x b/x\nnew file mode 100644\nindex {0:040}..{1:040}\n"
    "GIT binary patch\nliteral 9\nzzzz\n\n"
)
RENAMES = "diff --git a/sum b/total\nsimilarity index 100%\nrename from sum\nrename to total\n"


@pytest.mark.parametrize(
    ("context", "project", "name"),
    [
        ({}, PROJECT, "verify"),
        ({"test_command": ["true"]}, PROJECT, "verify"),
        ({"patch": "x"}, PROJECT, "patch"),
        ({"patch": " \n"}, PROJECT, "verify"),
        ({"actions": []}, PROJECT, "actions"),
        ({}, WITH_COMMAND, "command"),
        ({"patch": "x"}, WITH_COMMAND, "patch"),
        ({"way": "verify"}, WITH_COMMAND, "verify"),
        ({"way": "mine", "patch": "x", "actions": []}, PROJECT, "mine"),
    ],
)
def test_the_way_is_named_or_follows_from_what_the_bead_brings(
    context: dict[str, Any], project: Project, name: str
) -> None:
    assert registry.choose(context, project) == name


def test_a_bead_that_could_be_worked_on_in_two_ways_is_refused() -> None:
    with pytest.raises(Invalid, match="has a patch and actions"):
        registry.choose({"patch": "x", "actions": []}, PROJECT)
    with pytest.raises(Invalid, match=r"context\.way has to be text"):
        registry.choose({"way": ["patch"]}, PROJECT)


def test_loom_installs_four_ways() -> None:
    assert set(registry.installed()) >= {"actions", "command", "patch", "verify"}
    assert isinstance(registry.load("patch"), Patch)
    assert registry.load("patch") is not registry.load("patch")


def test_an_unknown_way_is_told_with_those_that_are_installed() -> None:
    with pytest.raises(Invalid, match="called 'none'; this agent has actions, command, patch, ver"):
        registry.load("none")


def package(folder: Path, name: str, entry: str, code: str = "") -> None:
    """A package as an installer leaves it on the path."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[loom.ways]\n{entry}\n")
    (folder / f"{name}.py").write_text(code)


@pytest.mark.parametrize(
    ("entry", "code", "words"),
    [
        ("odd = odd1:Odd", "import nothing_of_this_name", "ModuleNotFoundError: No module named"),
        ("odd = odd2:Odd", "raise SystemExit(3)", "'odd' of odd2 1.0 cannot be loaded: SystemExit"),
        ("odd = odd3:Odd", "x = 1", "AttributeError: module 'odd3' has no attribute 'Odd'"),
        ("odd = odd4:Odd", "class Odd: pass", "'odd' of odd4 1.0 is none"),
        ("odd = odd5:Odd", "class Odd:\n def __init__(self, x): pass", "TypeError"),
        ("patch = odd6:Odd", "", "several packages have a way to work called 'patch': loom .*odd6"),
    ],
)
def test_a_broken_plug_in_is_told_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: str, code: str, words: str
) -> None:
    package(tmp_path, entry.split()[2].split(":", maxsplit=1)[0], entry, code)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(Unavailable, match=words):
        registry.load(entry.split(maxsplit=1)[0])


def test_a_patch_is_applied(tmp_path: Path) -> None:
    ready = bench(tmp_path, {"patch": MENDS}, files={"sum": "1 + 1 = 3\n"})
    way: Way = Patch()
    way.check(ready.bead.context, ready.project)

    way.work(ready)

    assert (ready.checkout / "sum").read_text() == "1 + 1 = 2\n"
    assert [step.passed for step in ready.steps] == [True]


def test_a_patch_may_rename(tmp_path: Path) -> None:
    ready = bench(tmp_path, {"patch": RENAMES}, files={"sum": "1\n"})
    Patch().work(ready)
    assert sorted(ready.changed()) == ["sum", "total"]


@pytest.mark.parametrize(
    ("patch", "words"),
    [
        (MENDS.replace("1 + 1 = 3", "1 + 1 = 4"), "patch failed: sum:1"),
        (MENDS.replace("\n", "\r\n"), "patch"),
        ("not a patch", "No valid patches in input"),
        ("--- /dev/null\n+++ b/../../out\n@@ -0,0 +1 @@\n+x\n", "invalid path '../../out'"),
        ("--- /dev/null\n+++ b/link/out\n@@ -0,0 +1 @@\n+x\n", "beyond a symbolic link"),
        (MENDS.replace("/sum", "/.git/config"), "invalid path"),
        (BINARY, "corrupt binary patch"),
    ],
)
def test_a_patch_that_does_not_apply_is_the_works_fault(
    tmp_path: Path, patch: str, words: str
) -> None:
    ready = bench(tmp_path, {"patch": patch}, files={"sum": "1 + 1 = 3\n"})
    (ready.checkout / "link").symlink_to(tmp_path)
    with pytest.raises(WorkFailed, match="the patch does not apply") as failed:
        Patch().work(ready)
    assert failed.value.failure_class is FailureClass.WORK
    assert words in failed.value.reason
    assert ready.changed() == ["link"]


@pytest.mark.parametrize(
    ("patch", "words"),
    [
        (None, "has to be text"), (7, "has to be text"), (["x"], "has to be text"),
        ("\n ", "is empty"), ("x" * (MAX_WORK_BYTES + 1), f"the limit is {MAX_WORK_BYTES}"),
    ],
)  # fmt: skip
def test_a_patch_that_is_none_is_refused_before_anything_is_touched(
    patch: object, words: str
) -> None:
    with pytest.raises(Invalid, match=words):
        Patch().check({"patch": patch}, PROJECT)


def test_verify_does_nothing_and_commits_nothing(tmp_path: Path) -> None:
    ready = bench(tmp_path, {"way": "verify"})
    Verify().check(ready.bead.context, ready.project)
    Verify().work(ready)
    assert (ready.steps, ready.changed(), Verify.commits, Patch.commits) == ([], [], False, True)


@pytest.mark.parametrize("name", ["patch", "actions"])
def test_verify_refuses_work_that_it_would_leave_undone(name: str) -> None:
    with pytest.raises(Invalid, match=rf"but there is a context\.{name}"):
        Verify().check({"way": "verify", name: ["x"]}, PROJECT)
