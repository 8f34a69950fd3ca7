"""The routes by which people handle beads: take one by hand, link two, act on many."""

from __future__ import annotations

from collections import Counter

from flask import Blueprint, Response, jsonify

from loom.clients.representation import bulk_to_json
from loom.control import access, body, linking
from loom.control.answers.beads import BeadOut, BulkOut
from loom.control.beads import answer, known_bead
from loom.control.ledger import Ledger
from loom.control.operation import Within, operation
from loom.control.requests.bulk import BulkIn
from loom.control.requests.reading import read_body
from loom.control.requests.steering import ClaimIn, ReasonIn
from loom.control.steering import by, reason_in_body
from loom.domain.access import Role
from loom.domain.bead import Amendment
from loom.telemetry import logs, traces

log = logs.get(__name__)


def routes(ledger: Ledger) -> Blueprint:
    """Take a bead by hand and give it back, link it with another, and act on many at once."""
    handling = Blueprint("handling", __name__)

    @handling.post("/beads/<bead_id>/claim")
    @operation(
        "Take a bead by hand: no agent gets it until it is released", needs=Role.OPERATOR,
        within=Within.BEAD, body=ClaimIn, answers={200: BeadOut}, refuses=("illegal_transition",),
    )  # fmt: skip
    def claim(bead_id: str) -> Response:
        asked = read_body(ClaimIn, body.read())
        who = asked.assignee or access.principal().name
        bead = ledger.assign_bead(known_bead(bead_id), who, by(asked.reason))
        log.info("bead_claimed_by_hand", bead_id=bead_id, assignee=who)
        return answer(bead)

    @handling.post("/beads/<bead_id>/release")
    @operation(
        "Give a bead that was taken by hand to the agents again", needs=Role.OPERATOR,
        within=Within.BEAD, body=ReasonIn, answers={200: BeadOut},
    )  # fmt: skip
    def release(bead_id: str) -> Response:
        bead = ledger.assign_bead(known_bead(bead_id), "", reason_in_body())
        log.info("bead_released", bead_id=bead_id)
        return answer(bead)

    @handling.put("/beads/<bead_id>/blocked-by/<blocker_id>")
    @operation(
        "Let a bead wait for another", needs=Role.OPERATOR, within=Within.BEAD,
        answers={200: BeadOut}, refuses=("invalid", "illegal_transition"),
    )  # fmt: skip
    def wait_for(bead_id: str, blocker_id: str) -> Response:
        linking.check(ledger, known_bead(blocker_id))
        return _link(bead_id, Amendment(wait_for=(blocker_id,)))

    @handling.delete("/beads/<bead_id>/blocked-by/<blocker_id>")
    @operation(
        "Let a bead wait for another no more", needs=Role.OPERATOR, within=Within.BEAD,
        answers={200: BeadOut}, refuses=("invalid", "illegal_transition"),
    )  # fmt: skip
    def wait_no_more(bead_id: str, blocker_id: str) -> Response:
        return _link(bead_id, Amendment(not_for=(known_bead(blocker_id),)))

    def _link(bead_id: str, amendment: Amendment) -> Response:
        bead = ledger.amend_bead(
            known_bead(bead_id), amendment, 0, traces.traceparent(), by("")
        )  # fmt: skip
        log.info("bead_linked", bead_id=bead_id, version=bead.version)
        return answer(bead)

    @handling.post("/beads/bulk")
    @operation(
        "Cancel, retry or unblock many beads, or set their priority", needs=Role.OPERATOR,
        body=BulkIn, answers={200: BulkOut}, refuses=("not_found",),
    )  # fmt: skip
    def bulk() -> Response:
        asked = read_body(BulkIn, body.read())
        done = ledger.act_on_beads(asked.bulk(_may_act_in()), by(asked.reason))
        counts = Counter(each.verdict.value for each in done.done)
        log.info("beads_acted_on", act=asked.act, dry_run=asked.dry_run, **counts)
        return jsonify(bulk_to_json(done))

    return handling


def _may_act_in() -> tuple[str, ...]:
    """The projects that who asks is an operator of; empty: all."""
    who = access.principal()
    if who.may(Role.OPERATOR):
        return ()
    return tuple(sorted(id_ for id_, role in who.projects.items() if role.covers(Role.OPERATOR)))
