"""Text that protobuf would refuse must not take the other spans of its request with it."""

from __future__ import annotations

from contextlib import suppress

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from daemon import tracing

LONE_SURROGATE = "\ud800"


@pytest.mark.parametrize("message", [LONE_SURROGATE, "x" * 100_000, "a\nb\0c", ""])
def test_an_error_with_any_message(message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ended, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(ended))
    monkeypatch.setattr(tracing, "_tracer", provider.get_tracer("test"))
    with (
        suppress(ValueError),
        tracing.served(tracing.NOWHERE, "outer", {}, lambda _: 500),
        tracing.span("inner"),
    ):
        raise ValueError(message)
    encoded = encode_spans(ended.get_finished_spans()).resource_spans[0].scope_spans[0].spans
    assert [span.name for span in encoded] == ["inner", "outer"]
    assert {span.status.code for span in encoded} == {2}
    assert all(len(span.status.message) <= 6 * tracing.DESCRIPTION_LIMIT for span in encoded)
