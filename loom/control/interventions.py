"""The routes by which a person acts on a bead, and the audit trail of what people did."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request

from loom.clients.representation import bead_to_json
from loom.clients.trail import audit_line_to_json
from loom.control.answers.audit import AuditPageOut
from loom.control.answers.beads import BeadOut
from loom.control.beads import known_bead
from loom.control.operation import Within, operation
from loom.control.requests.reading import read_query
from loom.control.requests.steering import AuditQuery, ReasonIn
from loom.control.steering import Steering, reason_in_body
from loom.domain.access import Role
from loom.telemetry import logs

log = logs.get(__name__)


def routes(ledger: Steering) -> Blueprint:
    """Cancel a bead, let it go on, and show what people did."""
    acts = Blueprint("interventions", __name__)

    @acts.post("/beads/<bead_id>/cancel")
    @operation(
        "Give a bead up", needs=Role.OPERATOR, within=Within.BEAD, body=ReasonIn,
        answers={200: BeadOut}, refuses=("illegal_transition",),
    )  # fmt: skip
    def cancel(bead_id: str) -> Response:
        bead = ledger.cancel_bead(known_bead(bead_id), reason_in_body())
        log.info("bead_cancelled", bead_id=bead_id)
        return jsonify(bead_to_json(bead))

    # A closed bead is never tried again, so a retry is for what is blocked.
    @acts.post("/beads/<bead_id>/unblock")
    @acts.post("/beads/<bead_id>/retry")
    @operation(
        "Let a blocked bead go on", needs=Role.OPERATOR, within=Within.BEAD, body=ReasonIn,
        answers={200: BeadOut}, refuses=("illegal_transition",),
    )  # fmt: skip
    def unblock(bead_id: str) -> Response:
        bead = ledger.unblock_bead(known_bead(bead_id), reason_in_body())
        log.info("bead_unblocked", bead_id=bead_id)
        return jsonify(bead_to_json(bead))

    @acts.get("/audit")
    @operation(
        "Show what people did, newest first", within=Within.ALL, query=AuditQuery,
        answers={200: AuditPageOut},
    )  # fmt: skip
    def audit() -> Response:
        query = read_query(AuditQuery, request.args.to_dict(flat=False))
        page = ledger.list_audit(query.target, query.action, query.limit, query.cursor)
        return jsonify(
            {
                "lines": [audit_line_to_json(line) for line in page.items],
                "next_cursor": page.next_cursor or None,
            }
        )

    return acts
