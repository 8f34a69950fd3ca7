"""Whether what listens on a port answers in its protocol: a light question to each."""

from __future__ import annotations

import socket
import ssl
import struct
import sys
from dataclasses import dataclass
from typing import Any

import grpc
import httpx
from grpc_health.v1 import health_pb2, health_pb2_grpc

from loom.stack.ports import HOST

TIMEOUT_S = 2.0
EPMD_NAMES = b"\x00\x01n"
"""epmd's NAMES_REQ, answered with its port as 4 bytes (erlang.org, distribution protocol)."""
SSL_REQUEST = struct.pack("!II", 8, 80877103)
"""PostgreSQL's SSLRequest, which server and pooler answer before any login
(postgresql.org/docs/current/protocol-message-formats.html)."""
STARTING_UP = b"C57P03\x00"
"""The SQLSTATE cannot_connect_now, as a field of an ErrorResponse."""
TRUSTS_NOBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For HTTP without TLS, where httpx would else read every certificate authority's certificate for
each question: 15 ms of CPU. A server with TLS is refused."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of the question. why: what is wrong, empty when it is well. waits: it says itself
    that it waits for another part, and `why` is which."""

    why: str = ""
    waits: bool = False

    @property
    def well(self) -> bool:
        """It does its work."""
        return not self.why


WELL = Answer()


def epmd(port: int) -> Answer:
    """The Erlang port mapper."""
    return _exchange(port, EPMD_NAMES, (b"\x00",), "epmd's protocol")


def pooler(port: int) -> Answer:
    """PgBouncer: it speaks PostgreSQL's protocol."""
    return _exchange(port, SSL_REQUEST, (b"S", b"N"), "PostgreSQL's protocol")


def postgres(port: int) -> Answer:
    """PostgreSQL: it lets clients log in, and is not still starting up."""
    fields = b"user\x00loom_reader\x00database\x00postgres\x00\x00"
    startup = struct.pack("!II", 8 + len(fields), 196608) + fields
    try:
        with socket.create_connection((HOST, port), timeout=TIMEOUT_S) as connection:
            connection.sendall(startup)
            answer = connection.recv(1024)
    except OSError as error:
        return Answer(f"{HOST}:{port} does not answer ({error})")
    if answer[:1] == b"E" and STARTING_UP in answer:
        return Answer(f"{HOST}:{port} is starting up or shutting down")
    return WELL if answer[:1] in (b"R", b"E") else Answer(f"{HOST}:{port} is no PostgreSQL")


def listens(port: int) -> Answer:
    """Something accepts a connection."""
    return _exchange(port, b"", (), "")


def http(url: str) -> Answer:
    """The address answers below 400, or with 401: the service is there, and keeps its door.

    A 503 with JSON `parts` is a service that waits: those are away that are not `ready`.
    """
    try:
        answer = httpx.get(url, timeout=TIMEOUT_S, trust_env=False, verify=TRUSTS_NOBODY)
    except httpx.HTTPError as error:
        return Answer(f"{url} does not answer ({error or type(error).__name__})")
    if answer.status_code < 400 or answer.status_code == 401:
        return WELL
    if answer.status_code == 503 and (parts := _parts(answer)):
        return Answer(", ".join(parts), waits=True)
    return Answer(f"{url} answers {answer.status_code}: {answer.text.strip()[:300]}")


def grpc_health(port: int) -> Answer:
    """The gRPC service reports SERVING; NOT_SERVING is its word for waiting."""
    place = f"{HOST}:{port}"
    with grpc.insecure_channel(place, _PRIVATE) as channel:
        try:
            # The stub's methods are made when it is, which mypy cannot see.
            stub: Any = health_pb2_grpc.HealthStub(channel)
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            return Answer(f"{place} does not answer ({error.code().name.lower()})")
    if answer.status == health_pb2.HealthCheckResponse.SERVING:
        return WELL
    said = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    return Answer(f"{place} says {said}", waits=said == "NOT_SERVING")


_PRIVATE = (("grpc.enable_http_proxy", 0),)
"""A proxy that the environment names has no part in loopback calls."""


def _parts(answer: httpx.Response) -> list[str]:
    try:
        parts = answer.json()["parts"]
        return [part for part, state in parts.items() if state != "ready"]
    except (ValueError, LookupError, TypeError, AttributeError):
        return []


def _exchange(port: int, question: bytes, answers: tuple[bytes, ...], protocol: str) -> Answer:
    try:
        with socket.create_connection((HOST, port), timeout=TIMEOUT_S) as connection:
            if not question:
                return WELL
            connection.sendall(question)
            answer = connection.recv(1)
    except OSError as error:
        return Answer(f"{HOST}:{port} does not answer ({error})")
    return WELL if answer in answers else Answer(f"{HOST}:{port} does not speak {protocol}")


def main() -> None:
    """`python -m loom.stack.probe NAME PORT`: a container's health; ends saying what is wrong."""
    name, port = sys.argv[1], int(sys.argv[2])
    questions = {
        "pgbouncer": lambda: pooler(port),
        "database": lambda: grpc_health(port),
        "connectors": lambda: grpc_health(port),
        "control": lambda: http(f"http://{HOST}:{port}/readyz"),
        "flower": lambda: http(f"http://{HOST}:{port}/healthcheck"),
    }
    sys.exit(questions[name]().why or 0)


if __name__ == "__main__":
    main()
