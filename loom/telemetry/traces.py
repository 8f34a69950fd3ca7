"""Traces: W3C trace context from the HTTP request to the commit, over every hop.

Global state: `configure` sets the process's tracer provider, once and after any fork.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_W3C = TraceContextTextMapPropagator()


def configure(service: str, instance: str = "1", otlp_endpoint: str = "") -> None:
    """Record spans; send them to otlp_endpoint, or nowhere if it is empty."""
    provider = TracerProvider(
        resource=Resource.create(
            {"service.name": f"loom-{service}", "service.instance.id": instance}
        )
    )
    if otlp_endpoint:
        # A tenth of what a service takes to start, and most send their spans nowhere.
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter,
        )

        exporter = OTLPSpanExporter(endpoint=otlp_endpoint, insecure=True)
        provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)


def traceparent() -> str:
    """The current span as a `traceparent` header; empty outside any span."""
    carrier: dict[str, str] = {}
    _W3C.inject(carrier)
    return carrier.get("traceparent", "")


@contextmanager
def span(
    name: str,
    parent: str = "",
    kind: trace.SpanKind = trace.SpanKind.INTERNAL,
    **attributes: str | int,
) -> Iterator[trace.Span]:
    """A span around a block, under the `traceparent` given, or under the current span."""
    context = _W3C.extract({"traceparent": parent}) if parent else None
    tracer = trace.get_tracer("loom")
    with tracer.start_as_current_span(
        name, context=context, kind=kind, attributes=attributes
    ) as current:
        yield current


class Detached:
    """A span that is current nowhere, for work on many messages at once.

    traceparent: what goes on with the message: the span's own, or the parent's if there is none.
    trace_id: for log lines; empty without a trace.
    """

    def __init__(
        self, name: str, parent: str, kind: trace.SpanKind, **attributes: str | int
    ) -> None:
        self.traceparent = parent
        self.trace_id = ""
        self._span: trace.Span | None = None
        context = _W3C.extract({"traceparent": parent})
        if not trace.get_current_span(context).get_span_context().is_valid:
            return
        self._span = trace.get_tracer("loom").start_span(
            name, context=context, kind=kind, attributes=attributes
        )
        carrier: dict[str, str] = {}
        _W3C.inject(carrier, context=trace.set_span_in_context(self._span))
        self.traceparent = carrier.get("traceparent", parent)
        self.trace_id = trace.format_trace_id(self._span.get_span_context().trace_id)

    def end(self, error: str = "") -> None:
        """End the span; error: what went wrong, if anything did."""
        if self._span is not None:
            if error:
                self._span.set_status(trace.Status(trace.StatusCode.ERROR, error))
            self._span.end()
