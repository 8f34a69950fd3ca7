"""The page of services: how each part of Loom is, and what to do about one that is not well."""

from __future__ import annotations

from collections.abc import Mapping

from flask import Blueprint, Response

from loom.control import visible
from loom.control.operation import Within, operation
from loom.control.pages import condition, frame
from loom.control.pages.desk import Desk
from loom.control.status import Seen, services

WHAT: Mapping[str, tuple[str, str]] = {
    "control": ("the API and these pages", ""),
    "database": (
        "the ledger, in front of PgBouncer and PostgreSQL",
        "Nothing can be filed or read until it is back; agents finish what they run, and keep "
        "their reports.",
    ),
    "connectors": (
        "artifacts and webhooks",
        "Beads run on; files that they leave cannot be fetched, and webhooks wait.",
    ),
    "broker": (
        "RabbitMQ, between the dispatcher, the agents and the ingester",
        "Beads are taken in and owed; nothing is handed out until it is back.",
    ),
    "dispatcher": (
        "carries what the ledger owes to the broker",
        "Beads wait in the ledger until it carries them.",
    ),
    "ingester": (
        "carries results to the ledger",
        "Results wait in their queue, and are not lost.",
    ),
    "engine": (
        "ends leases that ran out, and lets retries begin",
        "Beads of agents that were lost wait until it is back.",
    ),
}
"""What each part does, and what it means that it is away."""


def routes(desk: Desk) -> Blueprint:
    """Show the services."""
    pages = Blueprint("service_pages", __name__)

    @pages.get("/services")
    @operation("The page of services", page=True, within=Within.SOME)
    def index() -> Response:
        flow, queues, away = desk.counted.flow(visible.scope()), desk.queues(), desk.away()
        breakers = {name: state() for name, state in desk.breakers.items()}
        found = services(
            {name: "it does not answer" if name in away else "" for name in desk.parts},
            breakers,
            flow,
            Seen(tuple(queues.depths.values()), why=queues.why),
        )
        return frame.page(
            "services.html",
            alarms=condition.alarms(desk.broker()),
            services=found,
            what=WHAT,
            breakers=breakers,
            flow=flow,
            total=flow.total(),
            unaccounted=None if visible.scope() or queues.why else desk.unaccounted(),
        )

    return pages
