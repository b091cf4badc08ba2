"""Evidence comes from the attacker, so it is cut before it is kept."""

from __future__ import annotations

from typing import Any

from daemon.events import Event, SyscallEvent
from daemon.findings import Finding, Rule, Severity, finding

TEXT_LIMIT = 256
ITEMS_LIMIT = 16


def clip(text: str, limit: int = TEXT_LIMIT) -> str:
    """At most `limit` characters, and valid UTF-8: names of files can be any bytes (os.fsdecode)."""
    return text[:limit].encode("utf-8", "backslashreplace").decode()[:limit]


def clip_all(texts: tuple[str, ...]) -> list[str]:
    return [clip(text) for text in texts[:ITEMS_LIMIT]]


def program(event: Event) -> str:
    """By its file where that was seen; the name of a thread is the program's own to choose."""
    return clip(event.process.exe or event.process.comm)


def attempt(
    rule: Rule,
    event: SyscallEvent,
    *,
    otherwise: Severity,
    severity: Severity | None = None,
    identifier: str = "",
    **evidence: Any,
) -> Finding:
    """`severity`, the rule's if none is given, where the call succeeded; `otherwise` where it did not."""
    return finding(
        rule,
        event,
        severity=severity if event.succeeded else otherwise,
        identifier=identifier or f"{clip(event.syscall)}:{program(event)}",
        syscall=clip(event.syscall),
        result=event.result,
        **evidence,
    )
