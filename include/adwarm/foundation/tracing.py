"""OpenTelemetry spans: one per batch and account, and those of the instrumentation packages per call and statement.

Spans go to whatever provider the process has. Airflow sets one up with `[traces] otel_on`. `adwarm serve` sets one up
when a standard variable such as `OTEL_EXPORTER_OTLP_ENDPOINT` names a collector. Without a provider, a span costs about
a microsecond and goes nowhere. The instrumentation packages come with the extra `otel`; without them a warning says so.
Nothing here records a query, a header or a body.
"""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from sqlalchemy import Engine

log = logging.getLogger(__name__)
_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_URL_ATTRIBUTES: Final = ("http.url", "url.full")
_EXTRA: Final = (
    "opentelemetry.exporter.otlp.proto.http",
    "opentelemetry.instrumentation.asgi",
    "opentelemetry.instrumentation.requests",
    "opentelemetry.instrumentation.sqlalchemy",
    "opentelemetry.sdk",
)


@contextmanager
def span(name: str, attributes: Mapping[str, str | int | float] | None = None) -> Iterator[None]:
    """Run the block in a span.

    Args:
        name: such as `adwarm.batch`.
    """
    from opentelemetry import trace

    with trace.get_tracer("adwarm").start_as_current_span(name, attributes=attributes):
        yield


def is_recording() -> bool:
    """Return whether this process has a provider, so that spans go somewhere."""
    from opentelemetry import trace

    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider | trace.NoOpTracerProvider)


@cache
def has_extra() -> bool:
    """Return whether the packages of the extra `otel` are installed; a warning says when one is missing."""
    missing = [name for name in _EXTRA if not _is_installed(name)]
    if missing:
        log.warning(
            "calls and statements have no spans, because %s is not installed; run pip install 'adwarm[otel]'",
            missing[0],
        )
    return not missing


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # the package above it is missing too
        return False


def start_provider(service: str) -> bool:
    """Send the spans of this process to the collector that the environment names; return whether there is one.

    Args:
        service: name of the service in traces, unless `OTEL_SERVICE_NAME` says otherwise.
    """
    if is_recording():
        return True
    if not any(os.environ.get(name) for name in _ENDPOINTS) or not has_extra():
        return False
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    name = os.environ.get("OTEL_SERVICE_NAME") or service
    provider = TracerProvider(resource=Resource.create({"service.name": name}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    return True


def instrument(engine: "Engine | None" = None) -> bool:
    """Let calls of the platform, and statements of `engine`, have spans of their own; return whether they do.

    Does nothing in a process without a provider; call it as often as you like.
    """
    if not is_recording() or not has_extra():
        return False
    from opentelemetry.instrumentation.requests import RequestsInstrumentor

    calls = RequestsInstrumentor()
    if not calls.is_instrumented_by_opentelemetry:
        calls.instrument(request_hook=_hide_query)
    if engine is not None:
        from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor

        statements = SQLAlchemyInstrumentor()
        if not statements.is_instrumented_by_opentelemetry:
            statements.instrument(engine=engine)
    return True


def trace_requests(application: Any) -> Any:
    """Return an ASGI application whose requests have spans of their own, named by method only."""
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

    return OpenTelemetryMiddleware(application, exclude_spans=["receive", "send"])


def _hide_query(current: Any, request: Any) -> None:
    """Take the query out of a call's span: it holds a proof of the token, and names accounts' fields."""
    url = str(request.url or "").partition("?")[0]
    for name in _URL_ATTRIBUTES:
        if name in (current.attributes or {}):
            current.set_attribute(name, url)
