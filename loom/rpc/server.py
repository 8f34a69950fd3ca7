"""A gRPC server as every Loom service runs it: callers, deadlines, errors, health, reflection."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent import futures
from contextlib import contextmanager
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from opentelemetry.instrumentation.grpc import server_interceptor

from loom.errors import DeadlineExceeded, Internal, LoomError, Unauthenticated
from loom.rpc import status
from loom.rpc.callers import Callers, check_allowed
from loom.telemetry import logs

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
MAX_DEADLINE_S = 60.0
"""A call that comes without a deadline is refused, and none may be longer than this, unless the
service says otherwise."""

CORRELATION_ID = "x-correlation-id"

_OPEN = ("/grpc.health.v1.", "/grpc.reflection.")

caller: contextvars.ContextVar[str] = contextvars.ContextVar("caller", default="")
"""Who makes the call that is being handled."""

log = logs.get(__name__)


class _Guard(grpc.ServerInterceptor):
    """Identifies the caller, checks the table and the deadline, and turns errors into statuses."""

    def __init__(self, callers: Callers, max_deadline_s: float) -> None:
        self._callers, self._max_deadline_s = callers, max_deadline_s

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler[Any, Any] | None],
        details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        handler = continuation(details)
        if handler is None or details.method.startswith(_OPEN):
            return handler
        call = details.method.rsplit("/", 1)[-1]
        metadata = {str(key): value for key, value in details.invocation_metadata}
        # A handler has the one behaviour that is as its request and its answer stream.
        inner: Any = (
            handler.unary_unary
            or handler.unary_stream
            or handler.stream_unary
            or handler.stream_stream
        )

        def handle(request: Any, context: grpc.ServicerContext) -> Any:
            with self._admitted(call, metadata, context):
                return inner(request, context)

        def handle_streaming(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            with self._admitted(call, metadata, context):
                yield from inner(request, context)

        make: Any = {
            (False, False): grpc.unary_unary_rpc_method_handler,
            (False, True): grpc.unary_stream_rpc_method_handler,
            (True, False): grpc.stream_unary_rpc_method_handler,
            (True, True): grpc.stream_stream_rpc_method_handler,
        }[bool(handler.request_streaming), bool(handler.response_streaming)]
        guarded: grpc.RpcMethodHandler[Any, Any] = make(
            handle_streaming if handler.response_streaming else handle,
            handler.request_deserializer,
            handler.response_serializer,
        )
        return guarded

    @contextmanager
    def _admitted(
        self, call: str, metadata: Mapping[str, str | bytes], context: grpc.ServicerContext
    ) -> Iterator[None]:
        """What runs inside is the caller's call; it ends with a status, whatever it raises."""
        correlation_id = str(metadata.get(CORRELATION_ID, ""))
        with logs.bound(call=call, correlation_id=correlation_id):
            try:
                who = self._identify(str(metadata.get("authorization", "")))
                check_allowed(who, call)
                _check_deadline(context, call, self._max_deadline_s)
                reset = caller.set(who)
                try:
                    yield
                finally:
                    caller.reset(reset)
            except LoomError as error:
                log.info("call_refused", code=error.code, detail=error.detail)
                status.abort(context, error)
            except grpc.RpcError:
                # What a stream of requests raises when its caller is gone.
                log.info("call_broken_off")
                raise
            except Exception:
                log.exception("call_failed")
                status.abort(context, Internal(f"{call} failed; the service's log says why"))

    def _identify(self, authorization: str) -> str:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated(
                "a token is needed: send the metadata `authorization: Bearer <token>`; "
                "`loom token show --service operator` prints the operator's"
            )
        return self._callers.identify(token)


def _check_deadline(context: grpc.ServicerContext, call: str, longest_s: float) -> None:
    left = context.time_remaining()
    # A second's grace: what is left is told by another clock than the one it was asked by.
    if left is None or left > longest_s + 1:
        raise DeadlineExceeded(
            f"{call} needs a deadline of at most {longest_s:g} s: set one on the call"
        )


class Server:
    """One listening gRPC server."""

    def __init__(
        self,
        listen: str,
        callers: Callers,
        threads: int,
        register: Callable[[grpc.Server], None],
        services: Iterable[str],
        *,
        max_deadline_s: float = MAX_DEADLINE_S,
    ) -> None:
        """services: the full names that health and reflection tell of."""
        self._names = tuple(services)
        self._health = health.HealthServicer()
        tracing: grpc.ServerInterceptor = server_interceptor()  # type: ignore[no-untyped-call]
        self._server = grpc.server(
            futures.ThreadPoolExecutor(max_workers=threads, thread_name_prefix="rpc"),
            interceptors=[tracing, _Guard(callers, max_deadline_s)],
            options=[
                ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
                ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
                ("grpc.so_reuseport", 0),
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
            ],
        )
        register(self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection(
            (*self._names, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server
        )
        self.set_serving(False)
        self.port: int = self._server.add_insecure_port(listen)

    def start(self) -> None:
        """Begin to answer; health says NOT_SERVING until set_serving."""
        self._server.start()

    def set_serving(self, serving: bool) -> None:
        """What health says, of the server and of each of its services."""
        verdict = health_pb2.HealthCheckResponse.ServingStatus.Value(
            "SERVING" if serving else "NOT_SERVING"
        )
        for name in ("", *self._names):
            self._health.set(name, verdict)

    def stop(self, grace_s: float) -> None:
        """Say NOT_SERVING, take no new call and let the running ones end within grace_s."""
        self._health.enter_graceful_shutdown()
        self._server.stop(grace_s).wait()
