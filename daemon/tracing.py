"""Spans of a launch, by OpenTelemetry's API: next to nothing is done for them until `use` is called.

The current span goes along with a task, into its subtasks and threads (contextvars). Names of attributes are
those of OpenTelemetry's semantic conventions where they have one: container.*, process.*, security_rule.*.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    TracerProvider,
)
from opentelemetry.util.types import AttributeValue

Attributes = Mapping[str, AttributeValue]
NOWHERE = trace.INVALID_SPAN_CONTEXT
DESCRIPTION_LIMIT = 256
_tracer: Tracer | None = None


def use(provider: TracerProvider) -> None:
    global _tracer  # noqa: PLW0603  # one process, one daemon, one provider
    _tracer = provider.get_tracer("container-kit")


def context(trace_id: str | None, span_id: str | None, *, sampled: bool = True) -> SpanContext:
    """From their hexadecimal form; NOWHERE unless both are given."""
    if not trace_id or not span_id:
        return NOWHERE
    flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=flags)


def current() -> SpanContext:
    return trace.get_current_span().get_span_context()


def ids(of: SpanContext) -> tuple[str | None, str | None]:
    """Of the trace and of the span, in hexadecimal."""
    if not of.is_valid:
        return None, None
    return trace.format_trace_id(of.trace_id), trace.format_span_id(of.span_id)


@contextmanager
def continued(parent: SpanContext) -> Iterator[None]:
    """What happens inside belongs to that span, whoever made it."""
    if not parent.is_valid:
        yield
        return
    with trace.use_span(NonRecordingSpan(parent)):
        yield


@contextmanager
def served(
    parent: SpanContext, name: str, attributes: Attributes, status_of: Callable[[Exception], int]
) -> Iterator[Span]:
    """The span of a call of the API, in its caller's trace if it has one.

    `status_of` is the HTTP status that an error leaves with. By OpenTelemetry's conventions for servers, one
    below 500 is no error of the span.
    """
    if _tracer is None:
        with continued(parent):
            yield trace.get_current_span()
        return
    made = _made(_tracer, name, attributes, kind=SpanKind.SERVER, errors=False)
    with continued(parent), made as span:
        try:
            yield span
        except Exception as error:
            status = status_of(error)
            span.set_attribute("http.response.status_code", status)
            if status >= 500:
                span.set_status(Status(StatusCode.ERROR, _described(error)))
            raise


@contextmanager
def span(name: str, attributes: Attributes | None = None, *, start_ns: int | None = None) -> Iterator[Span]:
    """A child of the current span; where there is none that is recorded, nothing.

    `start_ns` is CLOCK_MONOTONIC's; now, if not given.
    """
    parent = trace.get_current_span()
    if _tracer is None or not parent.get_span_context().trace_flags.sampled:
        yield parent
        return
    with _made(_tracer, name, attributes, start_ns=start_ns) as made:
        yield made


@contextmanager
def violation(run: SpanContext, start_ns: int, attributes: Attributes) -> Iterator[Span]:
    """From when it was seen to when it was answered: its run's child, linked to it, or a trace of its own.

    `start_ns` is CLOCK_MONOTONIC's.
    """
    if _tracer is None:
        with continued(run):
            yield trace.get_current_span()
        return
    links = [Link(run)] if run.is_valid else []
    with (
        continued(run),
        _made(_tracer, "sandbox.violation", attributes, start_ns=start_ns, links=links) as made,
    ):
        made.set_status(Status(StatusCode.ERROR))
        yield made


@contextmanager
def _made(
    tracer: Tracer,
    name: str,
    attributes: Attributes | None,
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    start_ns: int | None = None,
    links: Sequence[Link] = (),
    errors: bool = True,
) -> Iterator[Span]:
    """An exception is told by its type and its message alone: a stack trace is the daemon's own log's."""
    with tracer.start_as_current_span(
        name,
        kind=kind,
        attributes=attributes,
        links=links,
        start_time=None if start_ns is None else _wall_clock_ns(start_ns),
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        try:
            yield span
        except BaseException as error:
            span.set_attribute("error.type", type(error).__name__)
            if errors and isinstance(error, Exception):
                span.set_status(Status(StatusCode.ERROR, _described(error)))
            raise


def fail(error: Exception) -> None:
    """The current span, of an error that goes no further."""
    trace.get_current_span().set_status(Status(StatusCode.ERROR, _described(error)))


def describe(attributes: Attributes) -> None:
    """Adds to the current span."""
    trace.get_current_span().set_attributes(attributes)


def note(event: str, attributes: Attributes) -> None:
    """A moment within the current span."""
    trace.get_current_span().add_event(event, attributes)


def _wall_clock_ns(monotonic_ns: int) -> int:
    """By the clocks as they are now: by those of the daemon's start a span could end before it began."""
    return time.time_ns() - (time.monotonic_ns() - monotonic_ns)


def _described(error: Exception) -> str:
    """A lone surrogate would not go into protobuf, and all spans of the request would be lost with it."""
    return str(error)[:DESCRIPTION_LIMIT].encode(errors="backslashreplace").decode()
