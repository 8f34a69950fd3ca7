"""Whether what listens on a port answers in its protocol: a light question to each."""

from __future__ import annotations

import socket
import struct
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


def epmd(port: int) -> str:
    """Empty if an Erlang port mapper answers, else why not."""
    return _exchange(port, EPMD_NAMES, (b"\x00",), "epmd's protocol")


def postgres_protocol(port: int) -> str:
    """Empty if a PostgreSQL or PgBouncer answers, else why not."""
    return _exchange(port, SSL_REQUEST, (b"S", b"N"), "PostgreSQL's protocol")


def listens(port: int) -> str:
    """Empty if something accepts a connection, else why not."""
    return _exchange(port, b"", (), "")


def http(url: str) -> str:
    """Empty if the address answers below 400, else why not.

    A 401 is an answer too: the service is there, and keeps its door.
    """
    try:
        answer = httpx.get(url, timeout=TIMEOUT_S, trust_env=False)
    except httpx.HTTPError as error:
        return f"{url} does not answer ({error or type(error).__name__})"
    if answer.status_code < 400 or answer.status_code == 401:
        return ""
    return f"{url} answers {answer.status_code}: {answer.text.strip()[:300]}"


def grpc_health(port: int) -> str:
    """Empty if the gRPC service reports SERVING, else why not."""
    with grpc.insecure_channel(f"{HOST}:{port}", _PRIVATE) as channel:
        try:
            # The stub's methods are made when it is, which mypy cannot see.
            check: Any = health_pb2_grpc.HealthStub(channel)
            answer = check.Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            return f"{HOST}:{port} does not answer ({error.code().name.lower()})"
    if answer.status == health_pb2.HealthCheckResponse.SERVING:
        return ""
    return f"{HOST}:{port} says {health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)}"


_PRIVATE = (("grpc.enable_http_proxy", 0),)
"""A proxy that the environment names has no part in loopback calls."""


def _exchange(port: int, question: bytes, answers: tuple[bytes, ...], protocol: str) -> str:
    try:
        with socket.create_connection((HOST, port), timeout=TIMEOUT_S) as connection:
            if not question:
                return ""
            connection.sendall(question)
            answer = connection.recv(1)
    except OSError as error:
        return f"{HOST}:{port} does not answer ({error})"
    if answer in answers:
        return ""
    return f"{HOST}:{port} does not speak {protocol}"
