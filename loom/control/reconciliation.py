"""The route that compares ledger and broker, on demand."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from flask import Blueprint, Response, jsonify

from loom.clients.answers import every
from loom.clients.reconciliation import to_json
from loom.control import body
from loom.control.answers.reconciliation import ReconciliationOut
from loom.control.ledger import Ledger
from loom.control.operation import Within, operation
from loom.control.requests.reading import read_body
from loom.control.requests.reconciliation import ReconcileIn
from loom.domain.access import Role
from loom.domain.reconciliation import Depth
from loom.errors import Unavailable
from loom.messaging.topology import queues_of
from loom.telemetry import logs

PAGE = 200

log = logs.get(__name__)

Read = Callable[[Sequence[str]], Sequence[Depth]]
"""The depths of queues; raises Unavailable while the broker is away."""


def no_broker(_queues: Sequence[str]) -> Sequence[Depth]:
    """What a control plane reads that was given no broker."""
    raise Unavailable(
        "this control plane was given no broker to compare the ledger with: set LOOM_BROKER_*"
    )


def routes(ledger: Ledger, read: Read) -> Blueprint:
    """Compare, and mend if asked."""
    reconciliation = Blueprint("reconciliation", __name__)

    @reconciliation.post("/reconcile")
    @operation(
        "Compare ledger and broker, and mend if asked", needs=Role.OPERATOR, within=Within.ALL,
        body=ReconcileIn, answers={200: ReconciliationOut},
    )  # fmt: skip
    def reconcile() -> Response:
        asked = read_body(ReconcileIn, body.read())
        projects = [p.id for p in every(lambda after: ledger.list_projects(PAGE, after))]
        done = ledger.reconcile(
            read(queues_of(projects)), repair=asked.repair, grace_s=asked.grace_s
        )
        log.info(
            "reconciled",
            unaccounted=done.unaccounted,
            reowed=done.mended.reowed,
            reopened=done.mended.reopened,
            expired=done.mended.expired,
        )
        return jsonify(to_json(done))

    return reconciliation
