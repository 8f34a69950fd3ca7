"""Imports and exports as the HTTP API's JSON, and the calls of the API about them."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import httpx

from loom.clients.representation import bead_path, project_path, time_to_json
from loom.domain.imports.issue import Origin, Source
from loom.domain.imports.reading import Line, read
from loom.domain.imports.verdict import Action, Verdict

PART_S = 60.0
"""How long one part of an import may take."""


def verdict_to_json(verdict: Verdict) -> dict[str, Any]:
    """What becomes of an issue."""
    return {
        "line": verdict.line,
        "action": verdict.action.value,
        "external_id": verdict.external_id,
        "bead_id": verdict.bead_id or None,
        "title": verdict.title,
        "changes": list(verdict.changes),
        "remarks": list(verdict.remarks),
    }


def verdict_from_json(document: Mapping[str, Any]) -> Verdict:
    """What becomes of an issue."""
    return Verdict(
        line=document["line"],
        action=Action(document["action"]),
        external_id=document["external_id"],
        bead_id=document["bead_id"] or "",
        title=document["title"],
        changes=tuple(document["changes"]),
        remarks=tuple(document["remarks"]),
    )


def verdicts_to_json(verdicts: Sequence[Verdict], *, dry_run: bool) -> dict[str, Any]:
    """What an import did, or would do."""
    counts = Counter(each.action for each in verdicts)
    return {
        "dry_run": dry_run,
        "counts": {action.value: counts[action] for action in Action},
        "results": [verdict_to_json(each) for each in verdicts],
    }


def origin_to_json(origin: Origin) -> dict[str, Any]:
    """Where a bead came from."""
    issue = read(origin.source, origin.record)
    details = dataclasses.asdict(issue.details)
    return {
        "bead_id": origin.bead_id,
        "project_id": origin.project_id,
        "source": origin.source.value,
        "external_id": origin.external_id,
        "status": issue.status,
        "details": details | {key: list(details[key]) for key in ("labels", "assignees")},
        "pending": list(origin.pending),
        "imported_at": time_to_json(origin.imported_at),
        "record": dict(origin.record),
    }


class ImportingCalls:
    """Calls about imports and exports; ControlClient has the others."""

    _get: Callable[..., Any]
    _ask: Callable[..., httpx.Response]
    _stream: Callable[..., AbstractContextManager[httpx.Response]]

    def import_beads(
        self, project_id: str, source: Source, lines: Sequence[Line], *, dry_run: bool = False,
        run: bool = False,
    ) -> tuple[Verdict, ...]:  # fmt: skip
        """Bring issues in; what became of each. Raises NotFound (the project), Invalid."""
        body = {
            "from": source.value,
            "records": [{"line": each.number, "record": each.record} for each in lines],
            "dry_run": dry_run,
            "run": run,
        }
        answer = self._ask("POST", f"{project_path(project_id)}/import", json=body, timeout=PART_S)
        return tuple(map(verdict_from_json, answer.json()["results"]))

    def export_beads(self, project_id: str, source: Source) -> Iterator[bytes]:
        """A project's beads as a file, in pieces. Raises NotFound."""
        path = f"{project_path(project_id)}/export"
        with self._stream(path, params={"format": source.value}, timeout=PART_S) as answer:
            yield from answer.iter_bytes()

    def get_origin(self, bead_id: str) -> Mapping[str, Any]:
        """Where a bead came from, as JSON. Raises NotFound."""
        found: Mapping[str, Any] = self._get(f"{bead_path(bead_id)}/origin")
        return found
