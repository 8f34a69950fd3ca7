"""Work by a list of actions, on a bench that really runs them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from loom.domain.evidence import FailureClass, StepKind, SubBead
from loom.domain.project import Project
from loom.errors import Invalid
from loom.testing.bench import FolderBench, bench
from workers.ways.actions import Actions
from workers.ways.way import WorkFailed

PROJECT = Project("demo", "/srv/demo.git")
FILES = {"sum": "1 + 1 = 3\n", "old/name": "x\n", "gone": "y\n"}
MENDS = "--- a/sum\n+++ b/sum\n@@ -1 +1 @@\n-1 + 1 = 4\n+1 + 1 = 2"
RECIPE = {StepKind.TEST: [["grep", "-q", "2", "sum"]], StepKind.LINT: [["test", "-e", "sum"]]}


def run(*argv: str, **more: Any) -> dict[str, Any]:
    return {"type": "run_command", "argv": list(argv)} | more


def worked(folder: Path, *actions: dict[str, Any], **options: Any) -> FolderBench:
    """The bench after the work."""
    ready = bench(folder, {"actions": list(actions)}, files=FILES, recipe=RECIPE, **options)
    Actions().check(ready.bead.context, ready.project)
    Actions().work(ready)
    return ready


def failure(folder: Path, *actions: dict[str, Any]) -> WorkFailed:
    with pytest.raises(WorkFailed) as failed:
        worked(folder, *actions)
    return failed.value


def test_actions_are_done_in_their_order(tmp_path: Path) -> None:
    ready = worked(
        tmp_path,
        {"type": "write_file", "path": "sum", "content": "1 + 1 = 4\n"},
        {"type": "apply_patch", "patch": MENDS},
        {"type": "move_file", "path": "old/name", "to": "new/name"},
        {"type": "delete_file", "path": "gone"},
        run("sh", "-c", "cat sum > copy"),
        {"type": "git_commit", "message": "Mend the sum\n\nAt last."},
        {"type": "git_push"},
        {"type": "note", "text": "Look at the sum."},
        {"type": "file_bead", "title": "Mend the product", "context": {"x": 1}, "priority": 1},
    )

    assert sorted(ready.changed()) == ["copy", "gone", "new/name", "old/name", "sum"]
    assert (ready.checkout / "copy").read_text() == "1 + 1 = 2\n"
    assert [(step.name, step.passed, step.kind) for step in ready.steps] == [
        ("actions.0.write_file", True, StepKind.WORK),
        ("actions.1.apply_patch", True, StepKind.WORK),
        ("actions.2.move_file", True, StepKind.WORK),
        ("actions.3.delete_file", True, StepKind.WORK),
        ("actions.4.run_command", True, StepKind.WORK),
    ]
    assert ready.commit_message == "Mend the sum\n\nAt last."
    assert ready.notes == ["Look at the sum."]
    assert ready.sub_beads == [SubBead("Mend the product", "", {"x": 1}, 1)]


def test_without_git_commit_the_work_is_committed_with_the_beads_own_words(tmp_path: Path) -> None:
    ready = worked(tmp_path, {"type": "write_file", "path": "new", "content": "x"})
    assert (Actions.commits, ready.commit_message, ready.changed()) == (True, None, ["new"])


def test_steps_that_prove_the_bead_anyway_are_not_run_twice(tmp_path: Path) -> None:
    ready = worked(
        tmp_path,
        {"type": "run_linter"},
        {"type": "write_file", "path": "sum", "content": "2\n"},
        {"type": "run_tests"},
        {"type": "git_commit"},
        {"type": "git_push"},
    )
    assert [step.name for step in ready.steps] == ["lint-1", "actions.1.write_file"]


def test_steps_that_prove_nothing_of_the_bead_are_run_where_they_stand(tmp_path: Path) -> None:
    write = {"type": "write_file", "path": "sum", "content": "2\n"}
    ready = worked(tmp_path, write, {"type": "run_tests"}, proven=frozenset({StepKind.LINT}))
    assert [step.name for step in ready.steps] == ["actions.0.write_file", "test-1"]


def test_a_step_that_the_recipe_does_not_have_is_the_works_fault(tmp_path: Path) -> None:
    failed = failure(tmp_path, {"type": "build"})
    assert failed.failure_class is FailureClass.WORK
    assert failed.reason == "context.actions.0 (build): the project's recipe has no build step"


@pytest.mark.parametrize(
    ("action", "words"),
    [
        ({"type": "delete_file", "path": "none"}, "there is no file 'none'"),
        ({"type": "move_file", "path": "sum", "to": "gone"}, "'gone' is there already"),
        ({"type": "write_file", "path": "out/x", "content": "x"}, "'out' is a symbolic link"),
        ({"type": "apply_patch", "patch": MENDS}, "the patch does not apply: error: patch failed"),
        (run("sh", "-c", "echo why; exit 3"), "ended with exit code 3: why"),
        (run("no-such-program"), "ended with exit code 127: cannot run 'no-such-program'"),
        (run("true", expect_exit=1), "it ended with exit code 0, not with 1: it said nothing"),
        ({"type": "run_tests"}, "ended with exit code 1"),
    ],
)
def test_the_action_that_failed_is_the_last_and_is_named(
    tmp_path: Path, action: dict[str, Any], words: str
) -> None:
    (tmp_path / "elsewhere").mkdir()
    failed = failure(
        tmp_path,
        run("ln", "-s", str(tmp_path / "elsewhere"), "out"),
        action,
        {"type": "write_file", "path": "never", "content": ""},
    )
    assert failed.failure_class is FailureClass.WORK
    assert failed.reason.startswith(f"context.actions.1 ({action['type']}): ")
    assert words in failed.reason
    assert not (tmp_path / "checkout/never").exists()
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_an_advisory_command_may_fail_and_another_has_to(tmp_path: Path) -> None:
    ready = worked(tmp_path, run("false", advisory=True), run("sh", "-c", "exit 7", expect_exit=7))
    assert [(step.exit_code, step.advisory) for step in ready.steps] == [(1, True), (7, True)]


def test_a_command_that_runs_out_of_time_says_so(tmp_path: Path) -> None:
    failed = failure(tmp_path, run("sleep", "60", timeout_s=1, expect_exit=1))
    assert failed.failure_class is FailureClass.TIMEOUT
    assert "did not end" in failed.reason


def test_nothing_is_touched_where_one_of_the_actions_cannot_be_done(tmp_path: Path) -> None:
    write = {"type": "write_file", "path": "new", "content": "x"}
    ready = bench(tmp_path, {"actions": [write, {"type": "delete_file", "path": "../x"}]})
    with pytest.raises(Invalid, match=r"context\.actions\.1\.delete_file\.path"):
        Actions().check(ready.bead.context, ready.project)
    assert ready.changed() == []


@pytest.mark.parametrize(
    ("name", "steps", "refused"),
    [
        ("git_commit", ["work", "test"], True),
        ("git_push", ["verify", "commit"], True),
        ("git_commit", ["verify", "push"], False),
        ("git_push", ["test", "push"], False),
        ("run_tests", ["test"], False),
    ],
)
def test_a_commit_is_not_asked_for_and_left_out_at_once(
    name: str, steps: list[str], refused: bool
) -> None:
    context = {"actions": [{"type": name}], "steps": steps}
    if not refused:
        Actions().check(context, PROJECT)
        return
    with pytest.raises(Invalid, match=rf"context\.actions\.0 is {name}, but .* leaves that out"):
        Actions().check(context, PROJECT)
