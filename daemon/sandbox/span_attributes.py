"""What spans of a launch say. Names are OpenTelemetry's where its semantic conventions have one:

https://opentelemetry.io/docs/specs/semconv/registry/attributes/container/ and .../process/
"""

from __future__ import annotations

from daemon.audit.trail import Trail
from daemon.sandbox.options import SandboxOptions
from daemon.sandbox.report import SecurityReport
from daemon.sandbox.result import ExecutionResult
from daemon.sandbox.sandbox import Sandbox
from daemon.tracing import Attributes


def asked_for(trail: Trail, options: SandboxOptions) -> Attributes:
    return {
        "container_kit.sandbox.id": trail.sandbox_id,
        "container_kit.session.id": trail.session_id,
        "container_kit.profile.name": options.profile,
        "container.image.name": options.image,
    }


def judged(report: SecurityReport) -> Attributes:
    return {
        "container_kit.profile.name": report.profile,
        "container_kit.profile.digest": report.profile_digest,
        "container_kit.report.id": report.id,
        "container_kit.risk.level": report.risk_level,
        "container_kit.decision": "blocked" if report.blocked else "allowed",
        "container_kit.threats": [threat.id for threat in report.threats],
    }


def running(sandbox: Sandbox) -> Attributes:
    return {
        "container.id": sandbox.container_id,
        "container.image.name": sandbox.options.image,
        "container.image.id": sandbox.report.image_id or "",
        "container_kit.sandbox.id": sandbox.id,
        "container_kit.session.id": sandbox.session_id,
        "process.pid": sandbox.pid,
    }


def ended(sandbox: Sandbox, result: ExecutionResult) -> Attributes:
    known = {} if result.exit_code is None else {"process.exit.code": result.exit_code}
    return {
        **known,
        "container_kit.oom_killed": result.oom_killed,
        "container_kit.timed_out": result.timed_out,
        "container_kit.killed": result.killed,
        "container_kit.message": sandbox.message or result.message,
        "container_kit.cpu_ns": result.cpu_ns,
        "container_kit.memory_peak_bytes": result.memory_peak_bytes,
        "container_kit.pids_peak": result.pids_peak,
    }
