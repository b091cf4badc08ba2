"""An event that JSON cannot hold, made one that it can: no program may keep an event out of the log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any

from daemon.audit.record import SecurityAuditEvent


def writable(event: SecurityAuditEvent) -> SecurityAuditEvent:
    """Bytes that were no UTF-8, which `os.fsdecode` made lone surrogates of, are written out as `\\udcff`.

    What is neither text, a number, a list nor a mapping becomes its own description.
    """
    return event.model_copy(
        update={name: _text(value) for name, value in event if type(value) is str}
        | {"details": _writable(event.details)}
    )


def _writable(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {_text(str(key)): _writable(one) for key, one in value.items()}
    if isinstance(value, Sequence | Set) and not isinstance(value, str | bytes):
        return [_writable(one) for one in value]
    return _text(str(value))


def _text(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
