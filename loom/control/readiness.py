"""Whether the parts that the control plane needs are there."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import grpc
from flask import Blueprint, Response, jsonify
from grpc_health.v1 import health_pb2, health_pb2_grpc

from loom.clients.database import SERVICE
from loom.control.answers.system import AliveOut, ReadyOut
from loom.control.operation import Within, operation
from loom.errors import LoomError, Unavailable
from loom.rpc import status

DEADLINE_S = 1.0

Probe = Callable[[], None]
"""Returns if the part is there, and raises Unavailable if not."""


def serving(channel: grpc.Channel) -> Probe:
    """A probe of the gRPC service at the other end of the channel."""
    stub = health_pb2_grpc.HealthStub(channel)

    def probe() -> None:
        try:
            answer = stub.Check(  # type: ignore[attr-defined]
                health_pb2.HealthCheckRequest(), timeout=DEADLINE_S
            )
        except grpc.RpcError as error:
            raise Unavailable(status.from_call(error, SERVICE).detail, service=SERVICE) from error
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            raise Unavailable(f"{SERVICE} is up and does not serve yet", service=SERVICE)

    return probe


def routes(parts: Mapping[str, Probe], breakers: Mapping[str, Callable[[], str]]) -> Blueprint:
    """/healthz: the process answers. /readyz: so do the parts, or which one is away and why.

    breakers: the state of each circuit breaker. An open one is told of, and says nothing more
    about readiness: the probe does.
    """
    probes = Blueprint("readiness", __name__)

    @probes.get("/healthz")
    @operation("Say that the process answers", within=Within.ANYBODY, answers={200: AliveOut})
    def healthz() -> Response:
        return jsonify({"status": "alive"})

    @probes.get("/readyz")
    @operation(
        "Say whether the parts are there", within=Within.ANYBODY,
        answers={200: ReadyOut, 503: ReadyOut},
    )  # fmt: skip
    def readyz() -> Response:
        found = {name: state(probe) for name, probe in parts.items()}
        ready = all(not why for why in found.values())
        response = jsonify(
            {
                "status": "ready" if ready else "waiting",
                "parts": {name: why or "ready" for name, why in found.items()},
                "breakers": {name: state() for name, state in breakers.items()},
            }
        )
        response.status_code = 200 if ready else 503
        if not ready:
            response.headers["Retry-After"] = "1"
        return response

    return probes


def state(probe: Probe) -> str:
    """Why a part is away; empty if it is there."""
    try:
        probe()
    except LoomError as error:
        return error.detail
    return ""
