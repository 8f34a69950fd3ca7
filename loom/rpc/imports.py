"""Imports and exports as the contract's messages, and back."""

from __future__ import annotations

import json
from typing import Any

from loom.domain.imports.difference import View
from loom.domain.imports.issue import Origin, Source
from loom.domain.imports.reading import Line
from loom.domain.imports.verdict import Action, Verdict
from loom.errors import Invalid
from loom.rpc import codec
from loom.rpc.comments import comment_from_pb, comment_to_pb
from loom.rpc.v1 import imports_pb2 as pb


def source_of(text: str) -> Source:
    """The source of that name; raises Invalid."""
    try:
        return Source(text)
    except ValueError as error:
        known = ", ".join(each.value for each in Source)
        raise Invalid(f"{text[:40]!r} is no source: it is one of {known}", field="from") from error


def line_to_pb(line: Line) -> pb.ImportRecord:
    """A record of a file."""
    return pb.ImportRecord(line=line.number, record=json.dumps(dict(line.record or {})))


def line_from_pb(record: pb.ImportRecord) -> Line:
    """A record of a file."""
    try:
        value: Any = json.loads(record.record)
    except (ValueError, RecursionError) as error:
        return Line(record.line, fault=f"is no JSON: {error}")
    if not isinstance(value, dict):
        return Line(record.line, fault="is JSON, and no object")
    return Line(record.line, value)


def verdict_to_pb(verdict: Verdict) -> pb.ImportVerdict:
    """What becomes of an issue."""
    return pb.ImportVerdict(
        line=verdict.line,
        action=verdict.action.value,
        external_id=verdict.external_id,
        bead_id=verdict.bead_id,
        title=verdict.title,
        changes=verdict.changes,
        remarks=verdict.remarks,
    )


def verdict_from_pb(verdict: pb.ImportVerdict) -> Verdict:
    """What becomes of an issue."""
    return Verdict(
        line=verdict.line,
        action=Action(verdict.action),
        external_id=verdict.external_id,
        bead_id=verdict.bead_id,
        title=verdict.title,
        changes=tuple(verdict.changes),
        remarks=tuple(verdict.remarks),
    )


def origin_to_pb(origin: Origin | None) -> pb.Origin | None:
    """Where a bead came from."""
    if origin is None:
        return None
    return pb.Origin(
        bead_id=origin.bead_id,
        project_id=origin.project_id,
        source=origin.source.value,
        external_id=origin.external_id,
        record=json.dumps(dict(origin.record)),
        pending=origin.pending,
        imported_at=codec.stamp(origin.imported_at),
    )


def origin_from_pb(origin: pb.Origin) -> Origin:
    """Where a bead came from."""
    return Origin(
        bead_id=origin.bead_id,
        project_id=origin.project_id,
        source=Source(origin.source),
        external_id=origin.external_id,
        record=json.loads(origin.record),
        pending=tuple(origin.pending),
        imported_at=codec.moment(origin.imported_at) if origin.HasField("imported_at") else None,
    )


def view_to_pb(view: View) -> pb.ExportedBead:
    """A bead with all that is said of it."""
    return pb.ExportedBead(
        bead=codec.bead_to_pb(view.bead),
        comments=map(comment_to_pb, view.comments),
        origin=origin_to_pb(view.origin),
        names=[pb.LinkedName(bead_id=id_, external_id=name) for id_, name in view.names.items()],
    )


def view_from_pb(view: pb.ExportedBead) -> View:
    """A bead with all that is said of it."""
    return View(
        codec.bead_from_pb(view.bead),
        tuple(map(comment_from_pb, view.comments)),
        origin_from_pb(view.origin) if view.HasField("origin") else None,
        {each.bead_id: each.external_id for each in view.names},
    )
