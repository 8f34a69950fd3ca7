"""What an attempt has of its repository: a tree, what changed in it, a commit, a push."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from agent_stand import BROKEN, MEND, git
from repository_bench import At, Bench, fails

from loom.domain.evidence import FailureClass
from loom.domain.rules import Limits, Rules, Strategy
from workers.changes import How

WORK, INFRA = FailureClass.WORK, FailureClass.INFRA
MENDED = BROKEN.replace("a - b", "a + b")
DIRECT = Rules(strategy=Strategy.DIRECT)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_checkout_is_the_tip_of_the_default_branch(bench: Bench) -> None:
    with bench.attempt() as at:
        assert at.repository.check_out() == bench.refs()["refs/heads/main"]
        assert (at.checkout / "sums.py").read_text() == BROKEN
        assert [name for name, _, _ in at.steps] == ["checkout"]
        assert not at.repository.changes()


def test_commands_have_a_repository_of_their_own_with_tags_and_branches(bench: Bench) -> None:
    git("tag", "v1.2", "main", cwd=bench.upstream)
    git("branch", "next", "main", cwd=bench.upstream)
    with bench.attempt() as at:
        at.repository.check_out()
        assert git("describe", "--tags", cwd=at.checkout) == "v1.2"
        assert git("status", "--porcelain", "--branch", cwd=at.checkout) == "## main"
        assert git("rev-parse", "origin/next", cwd=at.checkout) == at.repository.parent
        at.write("more.py", "")
        git("add", ".", cwd=at.checkout)
        git("commit", "--quiet", "--message=Mine", cwd=at.checkout)
        # Their history is theirs: what counts is what the tree holds.
        assert [change.path for change in at.repository.changes().files] == ["more.py"]


def test_everything_that_a_work_can_do_to_files_is_told_and_committed(bench: Bench) -> None:
    bench.push(old__py="print('a rather long line that stays')\n" * 3, gone="x\n", kind="x\n")
    with bench.attempt() as at:
        at.repository.check_out()
        at.write("sums.py", MENDED)
        (at.checkout / "old.py").rename(at.checkout / "new.py")
        (at.checkout / "gone").unlink()
        (at.checkout / "kind").unlink()
        (at.checkout / "kind").symlink_to("/etc/passwd")
        (at.checkout / "binary").write_bytes(bytes(range(256)))
        at.write("with blank/'quote\" ünïcode\n\tand all", "odd\n")
        at.write("-rf", "no option\n")
        (at.checkout / "check.py").chmod(0o755)
        found = at.repository.changes()
        told = {change.path: change for change in found.files}
        assert {path: change.how for path, change in told.items()} == {
            "sums.py": How.MODIFIED,
            "new.py": How.RENAMED,
            "gone": How.DELETED,
            "kind": How.TYPE,
            "binary": How.ADDED,
            "with blank/'quote\" ünïcode\n\tand all": How.ADDED,
            "-rf": How.ADDED,
            "check.py": How.MODIFIED,
        }
        assert (told["sums.py"].insertions, told["sums.py"].deletions) == (1, 1)
        assert told["new.py"].was == "old.py"
        assert told["binary"].binary
        sha = at.deliver()
        # The diff that is kept makes the same tree of the same parent.
        git("apply", "--index", "-", cwd=_clone(bench, found.parent), stdin=found.diff)
        assert git("write-tree", cwd=bench.folder / "clone") == found.tree
    assert git("rev-parse", f"{sha}^{{tree}}", cwd=bench.upstream) == found.tree
    assert bench.refs()["refs/heads/agent/bd-1"] == sha


def _clone(bench: Bench, sha: str) -> Path:
    clone = bench.folder / "clone"
    git("clone", "--quiet", str(bench.upstream), str(clone), cwd=bench.folder)
    git("checkout", "--quiet", sha, cwd=clone)
    return clone


def test_ignored_files_are_no_work_and_a_patch_that_names_one_is(bench: Bench) -> None:
    bench.push(__gitignore="*.log\nbuild/\n")
    patch = b"--- /dev/null\n+++ b/build/kept\n@@ -0,0 +1 @@\n+kept\n"
    with bench.attempt() as at:
        at.repository.check_out()
        at.write("noise.log", "noise\n")
        at.write("build/out", "out\n")
        assert not at.repository.changes()
        at.repository.apply(patch)
        assert [change.path for change in at.repository.changes().files] == ["build/kept"]


def test_what_was_there_before_the_work_is_no_part_of_it(bench: Bench) -> None:
    bench.push(lock="1\n", folder="a file\n")
    with bench.attempt() as at:
        at.repository.check_out()
        at.write("lock", "2, by the installer\n")
        at.write("egg-info/PKG", "made\n")
        (at.checkout / "folder").unlink()
        at.repository.settle()
        at.write("sums.py", MENDED)
        at.write("folder/inner", "the work's\n")
        found = at.repository.changes()
        assert sorted(change.path for change in found.files) == [
            "folder", "folder/inner", "sums.py",
        ]  # fmt: skip
        sha = at.deliver()
    assert git("show", f"{sha}:lock", cwd=bench.upstream) == "1"


def test_the_same_work_twice_is_the_same_commit(bench: Bench) -> None:
    shas = []
    for epoch in (1, 2):
        with bench.attempt(epoch) as at:
            at.repository.check_out()
            at.repository.apply(MEND.encode())
            shas.append(at.deliver())
        bench.push(later="x")  # main moves on, and the work still begins where it began
    assert shas[0] == shas[1]
    assert git("rev-list", "--count", f"{shas[0]}", cwd=bench.upstream) == "2"


@pytest.mark.parametrize("rules", [Rules(), DIRECT])
def test_work_that_was_pushed_and_not_reported_can_be_taken_as_it_is(
    bench: Bench, rules: Rules
) -> None:
    """So that work which never comes out the same twice does not collide with itself."""
    with bench.attempt(rules=rules) as at:
        at.repository.check_out()
        at.write("sums.py", MENDED)
        first = at.deliver()
    with bench.attempt(2, rules=rules) as at:
        parent = at.repository.check_out()
        assert at.repository.earlier == first
        assert (at.checkout / "sums.py").read_text() == BROKEN
        at.repository.restore_earlier()
        assert (at.checkout / "sums.py").read_text() == MENDED
        found = at.repository.changes()
        assert found.parent == parent
        assert at.repository.commit(found, "Another message") == first
        assert at.repository.push(first, lambda: None).sha == first
        # Each step that was planned has to leave evidence, or the ledger refuses the result.
        assert [name for name, _, _ in at.steps] == ["checkout", "commit", "push"]


def test_a_commit_says_what_the_work_says_of_it_and_whose_it_is(bench: Bench) -> None:
    with bench.attempt() as at:
        at.repository.check_out()
        at.write("sums.py", MENDED)
        sha = at.repository.commit(at.repository.changes(), "Add, do not subtract\n\nAs asked.")
        at.repository.push(sha, lambda: None)
    said = git("log", "-1", "--format=%B", sha, cwd=bench.upstream)
    assert said == "Add, do not subtract\n\nAs asked.\n\nBead-Id: bd-1\nCorrelation-Id: corr-1"


def test_a_change_that_is_larger_than_a_diff_may_be_is_cut_and_committed(bench: Bench) -> None:
    with bench.attempt() as at:
        at.repository.check_out()
        at.write("long", "a line of a long file\n" * 80_000)
        found = at.repository.changes()
        assert found.truncated
        assert len(found.diff) == 1024 * 1024
        assert found.insertions == 80_000
        at.deliver()


# ----- patches


@pytest.fixture
def at(bench: Bench) -> Iterator[At]:
    bench.push(dos="one\r\ntwo\r\n", name="a name\nof three\nlines\n")
    with bench.attempt() as attempt:
        attempt.repository.check_out()
        yield attempt


DOS = "--- a/dos\n+++ b/dos\n@@ -1,2 +1,2 @@\n-one\r\n+ONE\r\n two\r\n"


@pytest.mark.parametrize("patch", [MEND, MEND.replace("\n", "\r\n"), MEND.rstrip("\n")])
def test_a_patch_applies_whatever_became_of_its_line_ends(at: At, patch: str) -> None:
    at.repository.apply(patch.encode())
    assert (at.checkout / "sums.py").read_bytes() == MENDED.encode()


@pytest.mark.parametrize("patch", [DOS, DOS.replace("\r\n", "\n")])
def test_a_file_with_crlf_keeps_it(at: At, patch: str) -> None:
    at.repository.apply(patch.encode())
    assert (at.checkout / "dos").read_bytes() == b"ONE\r\ntwo\r\n"


def test_renames_modes_binary_files_new_and_deleted_ones_come_by_patch(
    bench: Bench, at: At
) -> None:
    clone = _clone(bench, at.repository.parent)
    (clone / "bytes").write_bytes(bytes(range(256)) * 3)
    (clone / "check.py").unlink()
    (clone / "sums.py").chmod(0o755)
    (clone / "name").rename(clone / "renamed")
    (clone / "empty").touch()
    (clone / "link").symlink_to("sums.py")
    git("add", "--all", cwd=clone)
    patch = git("diff", "--cached", "--binary", "-M", cwd=clone)
    at.repository.apply(patch.encode())
    assert at.repository.changes().tree == git("write-tree", cwd=clone)


@pytest.mark.parametrize(
    "patch",
    [
        "--- /dev/null\n+++ b/../out\n@@ -0,0 +1 @@\n+x\n",
        "--- /dev/null\n+++ /tmp/out\n@@ -0,0 +1 @@\n+x\n",
        "--- /dev/null\n+++ b/.git/config\n@@ -0,0 +1 @@\n+x\n",
        "--- /dev/null\n+++ b/a/.GIT/hooks/x\n@@ -0,0 +1 @@\n+x\n",
        "diff --git a/name b/name\nsimilarity index 100%\nrename from name\nrename to ../../out\n",
        "diff --git a/l b/l\nnew file mode 120000\n--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+..\n"
        "\\ No newline at end of file\n"
        "diff --git a/l/out b/l/out\nnew file mode 100644\n--- /dev/null\n+++ b/l/out\n"
        "@@ -0,0 +1 @@\n+x\n",
        "diff --git a/sub b/sub\nnew file mode 160000\nindex 0000000..1234567\n--- /dev/null\n"
        f"+++ b/sub\n@@ -0,0 +1 @@\n+Subproject commit {'1' * 40}\n",
        MEND.replace("a - b", "a * b"),
        "no patch at all",
        " \n",
    ],
    ids=["dots", "root", "git", "GIT", "rename", "link", "submodule", "context", "words", "empty"],
)
def test_a_patch_that_reaches_out_or_does_not_fit_changes_nothing(
    tmp_path: Path, at: At, patch: str
) -> None:
    config = (at.place.git_directory / "config").read_text()
    with fails(WORK, "the patch does not apply|submodule"):
        at.repository.apply(patch.encode())
    assert not list(at.place.folder.rglob("out"))
    assert not Path("/tmp/out").exists()
    assert (at.place.git_directory / "config").read_text() == config


def test_a_patch_may_follow_what_commands_changed(at: At) -> None:
    at.write("check.py", "print('other')\n")
    at.write("fresh.py", BROKEN)
    at.repository.apply(MEND.replace("sums.py", "fresh.py").encode())
    assert (at.checkout / "fresh.py").read_text() == MENDED
    assert {change.path for change in at.repository.changes().files} == {"check.py", "fresh.py"}


# ----- the default branch


def test_the_default_branch_moves_from_the_parent_to_its_child(bench: Bench) -> None:
    with bench.attempt(rules=DIRECT) as at:
        parent = at.repository.check_out()
        at.write("sums.py", MENDED)
        sha = at.deliver()
    assert bench.refs() == {"refs/heads/main": sha}
    assert git("rev-parse", f"{sha}^", cwd=bench.upstream) == parent


def test_a_default_branch_that_moved_meanwhile_is_left_as_it_is(bench: Bench) -> None:
    with bench.attempt(rules=DIRECT) as at:
        at.repository.check_out()
        at.write("sums.py", MENDED)
        theirs = bench.push(more="x")
        with fails(INFRA, "main has moved on.*the next attempt begins from its new tip"):
            at.deliver()
    assert bench.refs() == {"refs/heads/main": theirs}
    with bench.attempt(2, rules=DIRECT) as at:
        assert at.repository.check_out() == theirs


def test_a_default_branch_that_has_the_work_already_is_left_as_it_is(bench: Bench) -> None:
    with bench.attempt(rules=DIRECT) as at:
        at.repository.check_out()
        at.write("sums.py", MENDED)
        first = at.deliver()
    git("fetch", "--quiet", str(bench.upstream), "main", cwd=bench.upstream.parent / "seed")
    git("reset", "--quiet", "--hard", "FETCH_HEAD", cwd=bench.upstream.parent / "seed")
    theirs = bench.push(more="x")
    fenced = []
    with bench.attempt(2, rules=DIRECT) as at:
        assert at.repository.check_out() != theirs
        at.write("sums.py", MENDED)
        assert at.deliver(lambda: fenced.append(True)) == first
    assert fenced
    assert bench.refs() == {"refs/heads/main": theirs}


# ----- secrets

KEY = "-----BEGIN RSA PRIVATE " + "KEY-----"
TOKEN = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"


def test_a_secret_is_told_by_its_place_and_kind_and_never_itself(bench: Bench) -> None:
    with bench.attempt() as at:
        at.repository.check_out()
        at.write("deploy/key name.pem", f"\n{KEY}\n")
        at.write("sums.py", BROKEN + f"# {TOKEN}\n")
        leaks = at.repository.scan(at.repository.changes())
        assert [(leak.file, leak.line, leak.kind) for leak in leaks] == [
            ("deploy/key name.pem", 2, "Private Key"),
            ("sums.py", 3, "GitHub Token"),
        ]
        assert TOKEN not in str(leaks)


def test_a_secret_cannot_be_hidden_by_an_attribute(bench: Bench) -> None:
    with bench.attempt() as at:
        at.repository.check_out()
        at.write(".gitattributes", "* -diff -text binary\n")
        at.write("key", KEY + "\n")
        assert at.repository.scan(at.repository.changes())


def test_what_was_there_before_and_what_is_marked_is_let_pass(bench: Bench) -> None:
    bench.push(old=KEY + "\n")
    with bench.attempt() as at:
        at.repository.check_out()
        at.write("old", f"{KEY}\nmore\n")
        at.write("sample.py", f"token = '{TOKEN}'  # pragma: allowlist secret\n")
        assert not at.repository.scan(at.repository.changes())


def test_a_project_may_do_without_the_search(bench: Bench) -> None:
    with bench.attempt(rules=Rules(scan_secrets=False)) as at:
        at.repository.check_out()
        at.write("key", KEY + "\n")
        assert not at.repository.scan(at.repository.changes())


# ----- repositories that are none


def test_a_repository_that_cannot_be_worked_on_is_the_projects_fault(bench: Bench) -> None:
    empty = bench.folder / "empty.git"
    git("init", "--quiet", "--bare", str(empty), cwd=bench.folder)
    plain = bench.folder / "plain"
    plain.mkdir()
    for address, words in {
        str(empty): "is empty: it has no commit to begin from",
        str(bench.folder / "away.git"): "does not exist on the agent's machine",
        str(plain): "there is no such repository",
        "ext::sh -c 'touch pwned'": "remote helper",
        "git://127.0.0.1/x": "transport git://",
        "http://127.0.0.1/x": "transport http://",
        "https://user:hunter2@127.0.0.1/x": "user or a password",
    }.items():
        bench.address = address
        with bench.attempt() as at, fails(WORK, words) as failure:
            at.repository.check_out()
        assert "hunter2" not in str(failure)


def test_a_repository_without_the_projects_branch_says_which_it_has(bench: Bench) -> None:
    with bench.attempt(branch="trunk") as at, fails(WORK, "no branch trunk; it has main"):
        at.repository.check_out()


def test_a_host_that_does_not_answer_is_the_surroundings_fault(bench: Bench) -> None:
    bench.address = "https://127.0.0.1:9/x.git"
    with bench.attempt() as at, fails(INFRA, "it cannot be reached"):
        at.repository.check_out()


def test_a_protocol_that_the_rules_leave_out_is_not_spoken(bench: Bench) -> None:
    rules = Rules(protocols=("https",))
    with bench.attempt(rules=rules) as at, fails(WORK, "reached by file; the project's rules"):
        at.repository.check_out()


def test_a_tree_that_is_larger_than_the_rules_allow_is_not_checked_out(bench: Bench) -> None:
    bench.push(big="0123456789abcdef\n" * 70_000)
    rules = Rules(limits=Limits(disk_mb=1))
    with bench.attempt(rules=rules) as at, fails(WORK, "too large to be checked out: 1 MB"):
        at.repository.check_out()
    assert not list((bench.folder / "workspaces").iterdir())
