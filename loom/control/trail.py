"""The routes of the audit trail's chain: all of it for keeping elsewhere, and whether it holds."""

from __future__ import annotations

import json
from collections.abc import Iterator

from flask import Blueprint, Response, jsonify, request

from loom.clients.accounts import chained_to_json
from loom.control.accounts import Accounts
from loom.control.answers.accounts import VerdictOut
from loom.control.operation import Content, Within, operation
from loom.control.requests.accounts import ExportQuery
from loom.control.requests.reading import read_query
from loom.domain.access import Role
from loom.domain.auditchain import Chained, Check, Head

BATCH = 500
JSONL = "application/jsonl"


def routes(ledger: Accounts) -> Blueprint:
    """Export the trail, and look whether it is as it was written."""
    trail = Blueprint("trail", __name__)

    @trail.get("/audit/export")
    @operation(
        "Export the audit trail, oldest first, with its chain of hashes", needs=Role.ADMIN,
        within=Within.ALL, query=ExportQuery, answers={200: Content(JSONL)},
    )  # fmt: skip
    def export() -> Response:
        query = read_query(ExportQuery, request.args.to_dict(flat=False))
        batches = _batches(ledger, query.after)
        # The first before the answer begins: what is away is then still told as a problem.
        begun = next(batches, ((), Head()))

        def texts() -> Iterator[bytes]:
            yield _text(begun[0])
            for lines, _ in batches:
                yield _text(lines)

        response = Response(texts(), content_type=JSONL)
        response.headers["Content-Disposition"] = 'attachment; filename="loom-audit.jsonl"'
        return response

    @trail.get("/audit/verify")
    @operation(
        "Say whether the audit trail is as it was written", needs=Role.ADMIN, within=Within.ALL,
        answers={200: VerdictOut},
    )  # fmt: skip
    def verify() -> Response:
        check, kept = Check(), Head()
        for lines, head in _batches(ledger, 0):
            kept = head
            if not check.take(lines):
                break
        verdict = check.end(kept)
        return jsonify(
            {
                "lines": verdict.lines,
                "head": {"place": verdict.head.place, "hash": verdict.head.hash},
                "broken": verdict.broken or None,
                "why": verdict.why or None,
            }
        )

    return trail


def _batches(ledger: Accounts, after: int) -> Iterator[tuple[tuple[Chained, ...], Head]]:
    """The trail from a place up to where it ended when it was first asked for."""
    end: Head | None = None
    while True:
        lines, head = ledger.read_audit(after, BATCH)
        end = end or head
        yield tuple(line for line in lines if line.place <= end.place), end
        if not lines or lines[-1].place >= end.place:
            return
        after = lines[-1].place


def _text(lines: tuple[Chained, ...]) -> bytes:
    return "".join(
        json.dumps(chained_to_json(each), ensure_ascii=False, separators=(",", ":")) + "\n"
        for each in lines
    ).encode()
