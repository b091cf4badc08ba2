"""Why a command could not do what was asked; shown in red, with docker's exit code 125."""

from __future__ import annotations

from typing import Any

EXIT_FAILED = 125


class CommandError(Exception):
    """`title` says what, `reasons` why, one a line."""

    def __init__(self, title: str, detail: str = "", reasons: list[str] | None = None) -> None:
        super().__init__(title)
        self.title = title
        self.detail = detail
        self.reasons = reasons or []


class Problem(CommandError):
    """The daemon refused: its RFC 9457 body. `kind` is the end of its `type`, such as `not-found`."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        reasons = [str(reason) for reason in body.get("reasons") or []]
        super().__init__(str(body.get("title") or f"HTTP {status}"), str(body.get("detail") or ""), reasons)
        self.kind = str(body.get("type", "")).rpartition("/")[2]
        self.body = body


class Unreachable(CommandError):
    """No daemon on the socket, or none that this user may talk to."""
