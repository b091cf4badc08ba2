"""Who is on the other end of the socket, and what the table in the settings lets them see and do."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass, replace
from typing import Any

from aiohttp import web

from daemon.api.problem_types import CALLER_UNKNOWN, CONNECTION_LOST, PROFILE_NOT_PERMITTED
from daemon.api.problems import ApiError, NotYours, not_found
from daemon.audit.record import Actor, EventType
from daemon.findings import Severity
from daemon.sandbox.sandbox import Registry, Sandbox
from daemon.settings import CallerRule

SO_PEERGROUPS = 59  # include/uapi/asm-generic/socket.h, Linux 4.13
GROUPS_BYTES = 1024  # the most that Python's getsockopt takes: 256 groups


@dataclass(frozen=True, slots=True)
class Caller:
    actor: Actor
    rule: CallerRule

    @property
    def administrator(self) -> bool:
        return self.rule.administrator

    def may_see(self, owner_uid: int | None) -> bool:
        return self.administrator or owner_uid == self.actor.uid


def peer(request: web.Request) -> tuple[Actor, frozenset[int]]:
    """The peer as it was when it connected (unix(7)): uid, gid and pid, and all its groups."""
    connection = request.transport.get_extra_info("socket") if request.transport else None
    if connection is None:
        raise ApiError(CONNECTION_LOST, "the connection was closed before the answer")
    pid, uid, gid = struct.unpack("iII", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return Actor(uid=uid, gid=gid, pid=pid), frozenset({gid, *_groups(connection)})


def _groups(connection: socket.socket) -> tuple[int, ...]:
    """Empty for a peer in more groups than fit: it then has the rights of its user and first group alone."""
    try:
        groups = connection.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, GROUPS_BYTES)
    except OSError:
        return ()
    return struct.unpack(f"{len(groups) // 4}I", groups)


class Access:
    def __init__(self, rules: list[CallerRule], registry: Registry) -> None:
        self._rules = rules
        self._registry = registry

    def caller(self, request: web.Request) -> Caller:
        actor, gids = peer(request)
        for rule in self._rules:
            if rule.names(actor.uid, gids):
                return Caller(actor, rule)
        raise ApiError(CALLER_UNKNOWN, f"uid {actor.uid} is in no rule of `callers`: ask the administrator")

    def sandbox(self, caller: Caller, sandbox_id: str) -> Sandbox:
        """What is not the caller's does not exist for it."""
        sandbox = self._registry.get(sandbox_id)
        if sandbox is None:
            raise not_found(f"sandbox {sandbox_id!r}")
        if not caller.may_see(sandbox.owner.uid):
            raise NotYours(f"sandbox {sandbox_id!r}")
        return sandbox

    def check_profile(self, caller: Caller, profile: str) -> None:
        if "*" not in caller.rule.profiles and profile not in caller.rule.profiles:
            allowed = ", ".join(caller.rule.profiles) or "none"
            raise ApiError(PROFILE_NOT_PERMITTED, f"profile {profile!r} is not yours: {allowed} are")


async def record_access(caller: Caller, sandbox: Sandbox, action: str, **details: Any) -> None:
    """Whoever reaches into a sandbox leaves an event with its own name. Raises AuditError."""
    trail = replace(sandbox.trail, actor=caller.actor)
    await trail.record(
        EventType.SANDBOX_ACCESSED, Severity.LOW, action, {"owner_uid": sandbox.owner.uid, **details}
    )
