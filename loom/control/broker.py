"""The route that tells how the broker is: alarms, consumers and rates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from flask import Blueprint, Response, jsonify

from loom.control import visible
from loom.control.answers.broker import BrokerOut
from loom.control.fresh import Fresh
from loom.control.operation import operation
from loom.domain.broker import BrokerState, Node
from loom.errors import LoomError, Unavailable
from loom.messaging.topology import project_of_queue

KEPT_S = 3.0

Look = Callable[[], BrokerState]
"""How the broker is; raises Unavailable while nobody can say."""


def nobody_tells() -> BrokerState:
    """What a control plane sees that was given no management API."""
    raise Unavailable("this control plane was given no LOOM_BROKER_MANAGEMENT_URL to ask")


class Watched:
    """The broker's state; asked once for all who look within some seconds."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self._kept = Fresh(KEPT_S, self._read)

    def state(self) -> BrokerState:
        """As it was a moment ago, or why nobody tells."""
        return self._kept.get()

    def _read(self) -> BrokerState:
        try:
            return self._look()
        except LoomError as error:
            return BrokerState(why=error.detail)


def routes(watched: Watched) -> Blueprint:
    """Tell how the broker is."""
    broker = Blueprint("broker", __name__)

    @broker.get("/broker")
    @operation(
        "Tell how the broker is: its nodes' alarms, its queues' consumers and rates",
        answers={200: BrokerOut},
    )
    def show() -> Response:
        scope = visible.scope()
        state = watched.state()
        return jsonify(
            {
                "why": state.why,
                "nodes": [_node(node) for node in state.nodes],
                "queues": [
                    asdict(each)
                    for name, each in sorted(state.queues.items())
                    if name.startswith("loom.") and (not scope or project_of_queue(name) in scope)
                ],
            }
        )

    return broker


def _node(node: Node) -> dict[str, Any]:
    return {
        "name": node.name,
        "running": node.running,
        "troubles": [each.value for each in node.troubles],
        "apart": list(node.apart),
        "memory_used_bytes": node.memory_used,
        "memory_limit_bytes": node.memory_limit,
        "disk_free_bytes": node.disk_free,
        "disk_limit_bytes": node.disk_limit,
        "connections": node.connections,
        "up_s": node.up_s,
    }
