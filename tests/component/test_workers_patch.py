"""A patch is applied by git, and refused by it."""

from __future__ import annotations

from pathlib import Path

import pytest

from loom.domain.evidence import FailureClass
from loom.testing.bench import bench
from workers.ways.patch import Patch
from workers.ways.verify import Verify
from workers.ways.way import Way, WorkFailed

MENDS = "--- a/sum\n+++ b/sum\n@@ -1 +1 @@\n-1 + 1 = 3\n+1 + 1 = 2"


BINARY = (
    f"diff --git a/x b/x\nnew file mode 100644\nindex {0:040}..{1:040}\n"
    "GIT binary patch\nliteral 9\nzzzz\n\n"
)


RENAMES = "diff --git a/sum b/total\nsimilarity index 100%\nrename from sum\nrename to total\n"


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


def test_verify_does_nothing_and_commits_nothing(tmp_path: Path) -> None:
    ready = bench(tmp_path, {"way": "verify"})
    Verify().check(ready.bead.context, ready.project)
    Verify().work(ready)
    assert (ready.steps, ready.changed(), Verify.commits, Patch.commits) == ([], [], False, True)
