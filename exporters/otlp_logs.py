"""What an OTLP receiver of logs is sent, and what it answers, whoever carries it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, SeverityNumber

from daemon.audit.record import SecurityAuditEvent
from daemon.errors import ExportError
from daemon.findings import Severity
from exporters import Surroundings, secret
from exporters.embedding import time_ns
from exporters.http import HttpOptions

SEVERITIES = {
    Severity.LOW: SeverityNumber.SEVERITY_NUMBER_INFO,
    Severity.MEDIUM: SeverityNumber.SEVERITY_NUMBER_WARN,
    Severity.HIGH: SeverityNumber.SEVERITY_NUMBER_ERROR,
    Severity.CRITICAL: SeverityNumber.SEVERITY_NUMBER_FATAL,
}


class OtlpOptions(HttpOptions):
    """`url` is the collector's, without /v1/logs: port 4318 for http, 4317 for grpc as a rule."""

    protocol: Literal["http", "grpc"] = "http"
    bearer_token: secret.SecretReference | None = None


def authorization(options: OtlpOptions) -> dict[str, str]:
    if options.bearer_token:
        return {"Authorization": f"Bearer {secret.read(options.bearer_token)}"}
    return {}


def check(answer: bytes) -> None:
    """A success may be a partial one. Raises ExportError."""
    try:
        success = ExportLogsServiceResponse.FromString(answer).partial_success
    except Exception as error:  # protobuf's DecodeError has no common name over its versions
        raise ExportError("the receiver's answer is no ExportLogsServiceResponse") from error
    if success.rejected_log_records:
        reason = f"{success.rejected_log_records} records rejected: {success.error_message[:200]}"
        raise ExportError(reason, retryable=False)


def request(batch: Sequence[SecurityAuditEvent], surroundings: Surroundings) -> ExportLogsServiceRequest:
    made = ExportLogsServiceRequest()
    resource = made.resource_logs.add()
    resource.resource.attributes.extend(
        [
            _attribute("service.name", "container-kitd"),
            _attribute("service.version", surroundings.version),
            _attribute("host.name", surroundings.hostname),
        ]
    )
    scope = resource.scope_logs.add()
    scope.scope.name = "container-kit.audit"
    scope.log_records.extend(_record(event, surroundings.encode(event)) for event in batch)
    return made


def _record(event: SecurityAuditEvent, encoded: bytes) -> LogRecord:
    record = LogRecord(
        time_unix_nano=time_ns(event),
        observed_time_unix_nano=time_ns(event),
        severity_number=SEVERITIES[event.severity],
        severity_text=event.severity.upper(),
        event_name=f"container_kit.{event.event_type.lower()}",
        body=AnyValue(string_value=encoded.decode(errors="backslashreplace")),
        trace_id=_id(event.trace_id, 16),
        span_id=_id(event.span_id, 8),
    )
    named: dict[str, Any] = {
        "event.id": event.id,
        "container_kit.seq": event.seq,
        "container_kit.session.id": event.session_id,
        "container_kit.action": event.action,
        "container_kit.sandbox.id": event.sandbox_id,
        "container_kit.profile.digest": event.profile_digest,
        "container.image.id": event.image_digest,
    }
    record.attributes.extend(_attribute(name, value) for name, value in named.items() if value is not None)
    return record


def _attribute(name: str, value: str | int) -> KeyValue:
    typed = AnyValue(int_value=value) if isinstance(value, int) else AnyValue(string_value=value)
    return KeyValue(key=name, value=typed)


def _id(text: str | None, size_bytes: int) -> bytes:
    """Empty where it is none: a receiver refuses an id of another length."""
    try:
        data = bytes.fromhex(text or "")
    except ValueError:
        return b""
    return data if len(data) == size_bytes else b""
