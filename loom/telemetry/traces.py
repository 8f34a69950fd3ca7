"""Traces: W3C trace context from the HTTP request to the commit, over every hop.

Global state: `configure` sets the process's tracer provider, once and after any fork.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
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
