"""Work by `actions`: a typed list in the bead's context, done in its order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loom.domain import actions
from loom.domain.actions import (
    Action,
    ApplyPatch,
    Build,
    DeleteFile,
    FileBead,
    GitCommit,
    GitPush,
    MoveFile,
    Note,
    RunCommand,
    RunLinter,
    RunTests,
    WriteFile,
)
from loom.domain.evidence import FailureClass, StepKind
from loom.domain.project import Project
from loom.domain.recipe import STEPS
from loom.errors import Invalid
from workers.ways.way import Bench, Way, WorkFailed

_CHANGING = (WriteFile, DeleteFile, MoveFile, ApplyPatch, RunCommand)
_PROVING: dict[type[Action], StepKind] = {
    RunTests: StepKind.TEST,
    RunLinter: StepKind.LINT,
    Build: StepKind.BUILD,
}
_DELIVERING: dict[type[Action], frozenset[str]] = {
    GitCommit: frozenset({StepKind.COMMIT, StepKind.PUSH}),  # a push is of a commit
    GitPush: frozenset({StepKind.PUSH}),
}
"""One of these steps has to be among those that the bead names, if it names any."""


class Actions(Way):
    """Does what context.actions lists; one that fails is the last."""

    def check(self, context: Mapping[str, Any], project: Project) -> None:
        """Raise Invalid for the first faults of the list, before any of it is done."""
        steps = context.get("steps")
        listed = steps if isinstance(steps, list | tuple) else STEPS
        named = {step for step in listed if isinstance(step, str)}
        for index, action in enumerate(actions.read(context.get("actions"))):
            enough = _DELIVERING.get(type(action))
            if enough and not enough & named:
                raise Invalid(
                    f"context.actions.{index} is {action.type}, but context.steps leaves that out"
                )

    def work(self, bench: Bench) -> None:
        """Do them one after the other."""
        listed = actions.read(bench.bead.context.get("actions"))
        changing = [at for at, action in enumerate(listed) if isinstance(action, _CHANGING)]
        last_change = max(changing, default=-1)
        for index, action in enumerate(listed):
            kind = _PROVING.get(type(action))
            if kind and index > last_change and bench.proves(kind):
                continue  # nothing changes any more, so what proves the bead is this very run
            try:
                _do(bench, action, f"actions.{index}.{action.type}")
            except Invalid as fault:
                raise WorkFailed(FailureClass.WORK, _placed(index, action, fault.detail)) from fault
            except WorkFailed as failed:
                reason = _placed(index, action, failed.reason)
                raise WorkFailed(failed.failure_class, reason, failed.step) from failed


def _placed(index: int, action: Action, words: str) -> str:
    return f"context.actions.{index} ({action.type}): {words}"


def _do(bench: Bench, action: Action, name: str) -> None:
    """name: of the step that it leaves as evidence."""
    match action:
        case WriteFile(path=path, content=content, mode=mode):
            encoded = content.encode()
            bench.files.write(path, encoded, None if mode is None else int(mode, 8))
            bench.record(name, f"{path}: {len(encoded)} bytes written")
        case DeleteFile(path=path):
            bench.files.delete(path)
            bench.record(name, f"{path} deleted")
        case MoveFile(path=path, to=to):
            bench.files.move(path, to)
            bench.record(name, f"{path} moved to {to}")
        case ApplyPatch(patch=patch):
            encoded = patch.encode()
            bench.apply_patch(encoded if encoded.endswith(b"\n") else encoded + b"\n", name)
        case RunCommand():
            _run(bench, action, name)
        case RunTests() | RunLinter() | Build():
            kind = _PROVING[type(action)]
            if not bench.run_recipe(kind):
                raise Invalid(f"the project's recipe has no {kind} step")
        case GitCommit(message=message):
            if message.strip():
                bench.describe_commit(message)
        case GitPush():
            pass  # a bead's commit is pushed once it is proven, as the project's rules say
        case Note(text=text):
            bench.note(text)
        case FileBead():
            bench.file_bead(action.sub_bead())


def _run(bench: Bench, action: RunCommand, name: str) -> None:
    # A command that has to end with another code than 0 cannot pass as a step of its own, so it is
    # advisory in the evidence and judged here.
    judged = action.expect_exit != 0
    step = bench.run(
        name, action.argv, timeout_s=action.timeout_s, advisory=action.advisory or judged
    )
    if judged and step.exit_code is None:
        raise WorkFailed(FailureClass.TIMEOUT, "it did not end by itself", step)
    if judged and step.exit_code != action.expect_exit:
        raise WorkFailed(
            FailureClass.WORK,
            f"it ended with exit code {step.exit_code}, not with {action.expect_exit}: "
            f"{step.output_tail.strip()[-1500:] or 'it said nothing'}",
            step,
        )
