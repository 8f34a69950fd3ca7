"""Whether a project or a bead can be filed as it is asked for, decided before any I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NoReturn

from loom.domain import rulebook
from loom.domain.bead import MAX_BATCH, MAX_BLOCKERS, Amendment, NewBead
from loom.domain.identity import check_bead_id, check_project_id, new_bead_id
from loom.domain.priority import MAX_PRIORITY, check_not_before
from loom.domain.project import (
    DEFAULT_QUEUE_WINDOW,
    DEFAULT_TIMEOUT_S,
    DEFAULT_WEIGHT,
    MAX_ATTEMPTS,
    MAX_IN_PROGRESS,
    MAX_TIMEOUT_S,
    MAX_WEIGHT,
    Project,
    ProjectChange,
)
from loom.errors import Conflict, Invalid, TooLarge
from loom.messaging.topology import MAX_TASK_BYTES

MAX_TITLE = 500
MAX_QUEUE_WINDOW = 10_000
MAX_BEAD_BYTES = MAX_TASK_BYTES - 16 * 1024
"""Its task message has to fit on the broker, envelope included."""
MAX_REQUEST_BYTES = 8 * 1024 * 1024
"""All beads of one request: the answer repeats them, and has to fit in one gRPC message."""


MAX_DEPTH = 100
"""Readers of the task message stop at 200 levels of JSON."""


def check_text(value: str, field: str) -> str:
    """Return value, or raise Invalid if PostgreSQL cannot hold it as text."""
    if "\0" in value:
        raise Invalid(f"{field} has a NUL character, which no text here may have", field=field)
    return value


def storable(value: str) -> str:
    """The text as PostgreSQL can hold it: what a command printed may have NUL characters."""
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}")


def read_context(text: str) -> dict[str, Any]:
    """A bead's context from JSON; raises Invalid unless it is an object that can be stored."""
    if not text:
        return {}
    try:
        value = json.loads(text, parse_constant=_no_constant)
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise Invalid(f"context is not a JSON object: {error}", field="context") from error
    if not isinstance(value, dict):
        raise Invalid("context has to be a JSON object", field="context")
    _check_nested(value)
    return value


def _check_nested(value: object, depth: int = 0) -> None:
    if depth > MAX_DEPTH:
        raise Invalid(f"context is nested more than {MAX_DEPTH} deep", field="context")
    if isinstance(value, str):
        check_text(value, "context")
    elif isinstance(value, dict):
        for key, item in value.items():
            check_text(key, "context")
            _check_nested(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _check_nested(item, depth + 1)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def task_payload(title: str, description: str, context: Mapping[str, Any]) -> str:
    """What a task message carries of a bead, as JSON."""
    words = {"title": title, "description": description, "context": dict(context)}
    return json.dumps(words, ensure_ascii=False)


def check_bead(bead: NewBead) -> int:
    """Raise Invalid or TooLarge if the bead cannot be filed; its size in bytes otherwise."""
    if bead.id:
        check_bead_id(bead.id)
    check_text(bead.title, "title")
    check_text(bead.description, "description")
    if not bead.title.strip() or len(bead.title) > MAX_TITLE:
        raise Invalid(f"title has to be 1 to {MAX_TITLE} characters", field="title")
    check_priority(bead.priority)
    check_not_before(bead.not_before)
    check_attempts(bead.max_attempts)
    check_links(bead.id, bead.blocked_by, bead.parent)
    size = len(task_payload(bead.title, bead.description, bead.context).encode())
    if size > MAX_BEAD_BYTES:
        raise TooLarge(
            f"the bead {bead.title[:80]!r} takes {size} bytes as a message: the limit is "
            f"{MAX_BEAD_BYTES}. Put large inputs into the repository",
            limit=str(MAX_BEAD_BYTES),
        )
    return size


def check_attempts(max_attempts: int) -> None:
    """Raise Invalid if it is no limit; 0: none."""
    if not 0 <= max_attempts <= MAX_ATTEMPTS:
        raise Invalid(f"max_attempts has to be 0 to {MAX_ATTEMPTS}", field="max_attempts")


def check_links(bead_id: str, blocked_by: Sequence[str], parent: str) -> None:
    """Raise Invalid if a bead cannot wait for those, whoever they are."""
    for id_ in (*blocked_by, *([parent] if parent else [])):
        check_bead_id(id_)
    if len(blocked_by) > MAX_BLOCKERS or len(set(blocked_by)) < len(blocked_by):
        raise Invalid(f"blocked_by has at most {MAX_BLOCKERS} ids, each once", field="blocked_by")
    if bead_id and bead_id in (*blocked_by, parent):
        raise Invalid(f"bead {bead_id} cannot wait for itself", field="blocked_by")


def check_project_change(change: ProjectChange) -> None:
    """Raise Invalid if a project could not be so; 0 does not stand for a default here."""
    if change.weight is not None and not 1 <= change.weight <= MAX_WEIGHT:
        raise Invalid(f"weight has to be 1 to {MAX_WEIGHT}", field="weight")
    if change.queue_window is not None and not 1 <= change.queue_window <= MAX_QUEUE_WINDOW:
        raise Invalid(f"queue_window has to be 1 to {MAX_QUEUE_WINDOW}", field="queue_window")
    if change.max_in_progress is not None:
        check_cap(change.max_in_progress)
    if change.max_attempts is not None:
        check_attempts(change.max_attempts)
    if change.rules is not None:
        rulebook.read(change.rules)
    for name in ("timeout_s", "repository", "default_branch"):
        if getattr(change, name) in (0, ""):
            raise Invalid(f"{name} has to say something", field=name)


def check_cap(max_in_progress: int) -> None:
    """Raise Invalid if it is no cap; 0: none."""
    if not 0 <= max_in_progress <= MAX_IN_PROGRESS:
        raise Invalid(
            f"max_in_progress has to be 0 (any number) to {MAX_IN_PROGRESS}",
            field="max_in_progress",
        )


def check_amendment(bead_id: str, amendment: Amendment) -> None:
    """Raise Invalid if a bead could not wait so."""
    check_bead_id(bead_id)
    if amendment.priority is not None:
        check_priority(amendment.priority)
    if amendment.max_attempts is not None:
        check_attempts(amendment.max_attempts)
    if amendment.not_before and amendment.due_now:
        raise Invalid("not_before and now exclude each other", field="not_before")
    check_not_before(amendment.not_before)
    check_links(bead_id, amendment.blocked_by or (), amendment.parent or "")
    check_links(bead_id, amendment.wait_for, "")
    for id_ in amendment.not_for:
        check_bead_id(id_)
    if amendment.context is not None:
        read_context(json.dumps(dict(amendment.context)))


def check_priority(priority: int) -> None:
    """Raise Invalid if it is no priority."""
    if not 0 <= priority <= MAX_PRIORITY:
        raise Invalid(
            f"priority {priority} is not one of 0 (first) to {MAX_PRIORITY}", field="priority"
        )


def check_beads(beads: Sequence[NewBead]) -> tuple[NewBead, ...]:
    """The beads, each with an id; raises Invalid, TooLarge, or Conflict if two have the same id."""
    if not 1 <= len(beads) <= MAX_BATCH:
        raise Invalid(f"a request files 1 to {MAX_BATCH} beads, not {len(beads)}", field="beads")
    size = sum(check_bead(bead) for bead in beads)
    if size > MAX_REQUEST_BYTES:
        raise TooLarge(
            f"the beads take {size} bytes: one request may file {MAX_REQUEST_BYTES}",
            limit=str(MAX_REQUEST_BYTES),
        )
    seen: set[str] = set()
    for bead in beads:
        if bead.id and bead.id in seen:
            raise Conflict(f"the request files bead {bead.id} twice", bead_id=bead.id)
        seen.add(bead.id)
    return tuple(bead if bead.id else replace(bead, id=new_bead_id()) for bead in beads)


def check_project(project: Project) -> Project:
    """The project with its defaults filled in; raises Invalid."""
    check_project_id(project.id)
    for field in ("repository", "name", "default_branch"):
        check_text(getattr(project, field), field)
    if not project.repository.strip() or len(project.repository) > 2_000:
        raise Invalid("repository has to be what `git clone` takes", field="repository")
    if len(project.name) > MAX_TITLE or len(project.default_branch) > MAX_TITLE:
        raise Invalid(f"a name has at most {MAX_TITLE} characters", field="name")
    for argument in project.test_command:
        check_text(argument, "test_command")
    timeout_s = project.timeout_s or DEFAULT_TIMEOUT_S
    if not 1 <= timeout_s <= MAX_TIMEOUT_S:
        raise Invalid(f"timeout_s has to be 1 to {MAX_TIMEOUT_S}", field="timeout_s")
    if project.soft_timeout_s and not 0 < project.soft_timeout_s < timeout_s:
        raise Invalid(
            f"soft_timeout_s has to be below timeout_s, which is {timeout_s}; 0: it is not asked",
            field="soft_timeout_s",
        )
    window = project.queue_window or DEFAULT_QUEUE_WINDOW
    if not 1 <= window <= MAX_QUEUE_WINDOW:
        raise Invalid(f"queue_window has to be 1 to {MAX_QUEUE_WINDOW}", field="queue_window")
    weight = project.weight or DEFAULT_WEIGHT
    if not 1 <= weight <= MAX_WEIGHT:
        raise Invalid(f"weight has to be 1 to {MAX_WEIGHT}", field="weight")
    check_cap(project.max_in_progress)
    check_attempts(project.max_attempts)
    rulebook.read(rulebook.to_json(project.rules))
    return replace(
        project,
        weight=weight,
        name=project.name or project.id,
        default_branch=project.default_branch or "main",
        timeout_s=timeout_s,
        queue_window=window,
    )
