"""A channel to a Loom service: the caller's token and the correlation id go with every call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import grpc
import structlog
from opentelemetry.instrumentation.grpc import client_interceptor, grpcext

from loom.rpc.server import CORRELATION_ID, MAX_MESSAGE_BYTES

BALANCED = '{"loadBalancingConfig": [{"round_robin": {}}]}'
"""Every address that answers takes its turn; one that goes away is left out at once."""


class _Details(NamedTuple):
    method: str
    timeout: float | None
    metadata: list[tuple[str, str | bytes]]
    credentials: grpc.CallCredentials | None
    wait_for_ready: bool | None
    compression: grpc.Compression | None


class _Credentials(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
):
    def __init__(self, token: str) -> None:
        self._token = token

    def _intercept(
        self, continuation: Callable[..., Any], details: grpc.ClientCallDetails, request: Any
    ) -> Any:
        metadata = [*(details.metadata or ()), ("authorization", f"Bearer {self._token}")]
        correlation_id = structlog.contextvars.get_contextvars().get("correlation_id")
        if correlation_id:
            metadata.append((CORRELATION_ID, str(correlation_id)))
        return continuation(
            _Details(
                details.method,
                details.timeout,
                metadata,
                details.credentials,
                details.wait_for_ready,
                details.compression,
            ),
            request,
        )

    intercept_unary_unary: Any = _intercept
    intercept_unary_stream: Any = _intercept
    intercept_stream_unary: Any = _intercept


def connect(target: str, token: str) -> grpc.Channel:
    """A channel that connects when it is first used; make it after a fork, never before."""
    channel = grpc.insecure_channel(
        target,
        options=[
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            ("grpc.keepalive_time_ms", 20_000),
            ("grpc.keepalive_timeout_ms", 5_000),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 2_000),
            ("grpc.service_config", BALANCED),
        ],
    )
    # The tracing interceptor is of a kind of its own, which grpc's intercept_channel does not take.
    traced: grpc.Channel = grpcext.intercept_channel(  # type: ignore[no-untyped-call]
        grpc.intercept_channel(channel, _Credentials(token)),
        client_interceptor(),  # type: ignore[no-untyped-call]
    )
    return traced
