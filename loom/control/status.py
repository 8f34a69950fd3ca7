"""The route that tells how the whole of Loom is, as far as the control plane sees it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

from flask import Blueprint, Response, jsonify

from loom import __version__
from loom.clients.answers import every
from loom.clients.representation import time_to_json
from loom.control import visible
from loom.control.answers.status import StatusOut
from loom.control.fresh import Fresh
from loom.control.ledger import Ledger
from loom.control.operation import operation
from loom.control.readiness import Probe, state
from loom.control.reconciliation import Read
from loom.control.statistics import Counted
from loom.domain.presence import Agent, AgentState
from loom.domain.reconciliation import Depth, Reconciliation
from loom.domain.statistics import Flow
from loom.errors import LoomError
from loom.messaging.topology import RESULTS_QUEUE, project_of_queue, queues_of

PAGE = 200
KEPT_S = 5.0
LATE_EVENT_S = 10.0
"""Events wait for nothing but the dispatcher and the broker."""
LATE_RESULTS = 100
"""Results that wait for the ingester, which takes such a number at once."""
READY, LATE, AWAY, UNKNOWN = "ready", "late", "away", "unknown"


@dataclass(frozen=True, slots=True)
class Service:
    """One of Loom's parts. state: ready, late (it does not keep up), away or unknown."""

    name: str
    state: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was read of the broker. why: it cannot be read; accounts: compared with the ledger."""

    depths: tuple[Depth, ...] = ()
    accounts: Reconciliation | None = None
    why: str = ""


def services(
    parts: Mapping[str, str], breakers: Mapping[str, str], flow: Flow, seen: Seen
) -> tuple[Service, ...]:
    """Every service in the order of the trip. parts: why each is away, empty if it is there.

    The dispatcher, the ingester and the engine answer nobody: that they keep up shows in what
    they leave lying.
    """
    total = flow.total()
    results = next((each.ready for each in seen.depths if each.queue == RESULTS_QUEUE), None)
    late_event = flow.oldest_event_s > LATE_EVENT_S
    found = [Service("control", READY)]
    found += [Service(name, AWAY if why else READY, why) for name, why in parts.items()]
    if "connectors" in breakers:
        broken = breakers["connectors"] == "open"
        found.append(
            Service("connectors", AWAY, "its circuit breaker is open")
            if broken
            else Service("connectors", READY)
        )
    return (
        *found,
        Service("broker", AWAY if seen.why else READY, seen.why),
        Service(
            "dispatcher",
            LATE if late_event else READY,
            flow.publish_error or f"an event waits for {flow.oldest_event_s:.0f} s"
            if late_event
            else "",
        ),
        Service("ingester", UNKNOWN, seen.why)
        if results is None
        else Service(
            "ingester",
            LATE if results > LATE_RESULTS else READY,
            f"{results} results wait" if results > LATE_RESULTS else "",
        ),
        Service(
            "engine",
            LATE if total.overdue else READY,
            f"{total.overdue} leases ran out and nobody ended them" if total.overdue else "",
        ),
    )


def routes(
    ledger: Ledger, counted: Counted, read: Read, parts: Mapping[str, Probe],
    breakers: Mapping[str, Callable[[], str]],
) -> Blueprint:  # fmt: skip
    """Tell how everything is."""
    status = Blueprint("status", __name__)

    def look() -> Seen:
        projects = [each.id for each in every(lambda after: ledger.list_projects(PAGE, after))]
        try:
            depths = tuple(read([*queues_of(projects), RESULTS_QUEUE]))
        except LoomError as error:
            return Seen(why=error.detail)
        known = set(queues_of(projects))
        accounts = ledger.reconcile([each for each in depths if each.queue in known])
        return Seen(depths, accounts)

    looked = Fresh(KEPT_S, look)

    @status.get("/status")
    @operation(
        "Tell how every service is, and what waits where", answers={200: StatusOut}
    )  # fmt: skip
    def show() -> Response:
        scope = visible.scope()
        flow, seen = counted.flow(scope), looked.get()
        total = flow.total()
        agents = _agents(ledger)
        states = {name: each() for name, each in breakers.items()}
        found = services({name: state(probe) for name, probe in parts.items()}, states, flow, seen)
        accounts = [
            each
            for each in (seen.accounts.accounts if seen.accounts else ())
            if not scope or each.held.project_id in scope
        ]
        return jsonify(
            {
                "version": __version__,
                "at": time_to_json(flow.at),
                "ready": all(each.state in (READY, UNKNOWN) for each in found),
                "services": [asdict(each) for each in found],
                "breakers": states,
                "beads": {
                    "open": total.open,
                    "in_progress": total.in_progress,
                    "blocked": total.blocked,
                },
                "outbox": {
                    "tasks": total.owed,
                    "held": total.held,
                    "oldest_task_s": total.oldest_owed_s,
                    "events": flow.events_owed,
                    "oldest_event_s": flow.oldest_event_s,
                    "publish_error": flow.publish_error,
                },
                "queues": [
                    asdict(each)
                    for each in seen.depths
                    if not scope or project_of_queue(each.queue) in scope
                ],
                "agents": {
                    each.value: sum(agent.state is each for agent in agents) for each in AgentState
                },
                "versions": dict(Counter(_version(agent) for agent in agents)),
                "dead_letters": total.dead,
                "leases_overdue": total.overdue,
                "unaccounted": sum(each.unaccounted for each in accounts)
                if seen.accounts
                else None,
            }
        )

    return status


def _agents(ledger: Ledger) -> list[Agent]:
    return list(every(lambda after: ledger.list_agents(page_size=PAGE, cursor=after)))


def _version(agent: Agent) -> str:
    return agent.versions.get("loom", "unknown")
