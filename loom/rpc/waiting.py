"""What a bead waits for, as messages of the contract, and back."""

from __future__ import annotations

import json
from typing import Any

from loom.domain import rulebook
from loom.domain.audit import Intervention
from loom.domain.bead import Amendment
from loom.domain.lifecycle import State
from loom.domain.project import ProjectChange, ProjectState
from loom.domain.waiting import Reason, Why
from loom.errors import Invalid
from loom.rpc import codec
from loom.rpc.v1 import database_pb2 as pb


def why_to_pb(why: Why) -> pb.ExplainBeadResponse:
    """Why a bead is not running."""
    return pb.ExplainBeadResponse(
        bead_id=why.bead_id,
        state=why.state.value,
        reasons=[pb.Reason(code=r.code, sentence=r.sentence, remedy=r.remedy) for r in why.reasons],
        effective_priority=why.effective_priority,
        position=why.position,
    )


def why_from_pb(why: pb.ExplainBeadResponse) -> Why:
    """Why a bead is not running."""
    return Why(
        bead_id=why.bead_id,
        state=State(why.state),
        reasons=tuple(Reason(r.code, r.sentence, r.remedy) for r in why.reasons),
        effective_priority=why.effective_priority,
        position=why.position,
    )


def project_change_to_pb(
    project_id: str, change: ProjectChange, correlation_id: str, traceparent: str,
    *, expected_version: int = 0, by: Intervention | None = None,
) -> pb.UpdateProjectRequest:  # fmt: skip
    """What is to change of a project."""
    given = dict(change.given())
    if change.rules is not None:
        given["rules"] = json.dumps(dict(change.rules))
    if change.test_command is not None:
        given["test_command"] = pb.Words(words=change.test_command)
    return pb.UpdateProjectRequest(
        id=project_id, correlation_id=correlation_id, traceparent=traceparent,
        expected_version=expected_version, by=codec.intervention_to_pb(by) if by else None,
        **given,
    )  # fmt: skip


def project_change_from_pb(asked: pb.UpdateProjectRequest) -> ProjectChange:
    """What is to change of a project; raises Invalid for a state that there is not."""

    def given(name: str) -> Any:
        return getattr(asked, name) if asked.HasField(name) else None  # type: ignore[arg-type]

    try:
        state = ProjectState(asked.state) if asked.HasField("state") else None
    except ValueError as error:
        raise Invalid(
            f"a project is {', '.join(ProjectState)}, not {asked.state!r}", field="state"
        ) from error
    words = tuple(asked.test_command.words) if asked.HasField("test_command") else None
    return ProjectChange(
        name=given("name"),
        repository=given("repository"),
        default_branch=given("default_branch"),
        test_command=words,
        timeout_s=given("timeout_s"),
        soft_timeout_s=given("soft_timeout_s"),
        state=state,
        weight=given("weight"),
        max_in_progress=given("max_in_progress"),
        max_attempts=given("max_attempts"),
        queue_window=given("queue_window"),
        rules=rulebook.parsed(asked.rules) if asked.HasField("rules") else None,
    )


def amendment_to_pb(
    bead_id: str, amendment: Amendment, expected_version: int, traceparent: str,
    by: Intervention | None = None,
) -> pb.AmendBeadRequest:  # fmt: skip
    """What is to change of a bead."""
    ids = amendment.blocked_by
    return pb.AmendBeadRequest(
        id=bead_id,
        expected_version=expected_version,
        priority=amendment.priority,
        max_attempts=amendment.max_attempts,
        blocked_by=None if ids is None else pb.BeadIds(ids=ids),
        parent=amendment.parent,
        not_before=codec.stamp(amendment.not_before),
        due_now=amendment.due_now,
        traceparent=traceparent,
        title=amendment.title,
        description=amendment.description,
        context=None if amendment.context is None else json.dumps(dict(amendment.context)),
        wait_for=amendment.wait_for,
        not_for=amendment.not_for,
        by=codec.intervention_to_pb(by) if by else None,
    )


def amendment_from_pb(asked: pb.AmendBeadRequest) -> Amendment:
    """What is to change of a bead."""
    return Amendment(
        priority=asked.priority if asked.HasField("priority") else None,
        max_attempts=asked.max_attempts if asked.HasField("max_attempts") else None,
        blocked_by=tuple(asked.blocked_by.ids) if asked.HasField("blocked_by") else None,
        parent=asked.parent if asked.HasField("parent") else None,
        not_before=codec.moment(asked.not_before) if asked.HasField("not_before") else None,
        due_now=asked.due_now,
        title=asked.title if asked.HasField("title") else None,
        description=asked.description if asked.HasField("description") else None,
        context=_context(asked.context) if asked.HasField("context") else None,
        wait_for=tuple(asked.wait_for),
        not_for=tuple(asked.not_for),
    )


def _context(text: str) -> Any:
    """The object in a text; whether it can be stored, the ledger says."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"context is not a JSON object: {error}", field="context") from error
