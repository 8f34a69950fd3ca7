"""The JSON file by which a project's own command gets its bead; docs/ways.md describes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loom.domain.bead import Attempt, Bead
from loom.domain.project import Project

VERSION = 1
"""Grows when something of it changes its meaning; new keys may come at any time."""


def document(
    bead: Bead,
    project: Project,
    attempt: int,
    previous: Attempt | None,
    *,
    checkout: str,
    report_file: str,
) -> Mapping[str, Any]:
    """All that a command is told of its bead."""
    return {
        "version": VERSION,
        "id": bead.id,
        "project": project.id,
        "title": bead.title,
        "description": bead.description,
        "context": dict(bead.context),
        "priority": bead.priority,
        "attempt": attempt,
        "epoch": bead.epoch,
        "correlation_id": bead.correlation_id,
        "idempotency_key": idempotency_key(bead),
        "checkout": checkout,
        "report_file": report_file,
        "previous_attempt": _told(previous) if previous else None,
    }


def idempotency_key(bead: Bead) -> str:
    """The same for every attempt at a bead, and for no other bead: for effects outside of Loom."""
    return f"loom-{bead.id}"


def _told(previous: Attempt) -> Mapping[str, Any]:
    failing = [
        {"name": failure.name, "message": failure.message}
        for step in previous.steps
        if step.tests is not None
        for failure in step.tests.failures
    ]
    return {
        "epoch": previous.epoch,
        "outcome": previous.outcome,
        "failure_class": previous.failure_class.value if previous.failure_class else None,
        "reason": previous.reason,
        "failing_tests": failing,
        "output": previous.output,
    }
