"""Who is on the other end of the socket, and what the table in the settings lets them do."""

from __future__ import annotations

import socket
import struct
import time
from collections import defaultdict, deque
from dataclasses import dataclass

from aiohttp import web

from daemon.api.problems import ApiError, not_found
from daemon.audit.record import Actor
from daemon.errors import QuotaExceeded
from daemon.sandbox.options import SandboxOptions
from daemon.sandbox.sandbox import Registry, Sandbox
from daemon.settings import CallerRule
from daemon.units import format_size

SO_PEERGROUPS = 59  # include/uapi/asm-generic/socket.h, Linux 4.13
GROUPS_BYTES = 1024  # the most that Python's getsockopt takes: 256 groups
MINUTE_S = 60.0


@dataclass(frozen=True, slots=True)
class Caller:
    actor: Actor
    rule: CallerRule

    @property
    def administrator(self) -> bool:
        return self.rule.administrator

    def may_see(self, owner_uid: int | None) -> bool:
        return self.administrator or owner_uid == self.actor.uid


def peer(connection: socket.socket) -> tuple[Actor, frozenset[int]]:
    """The peer as it was when it connected (unix(7)): uid, gid and pid, and all its groups."""
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
        self._launches: dict[int, deque[float]] = defaultdict(deque)
        self._starting: dict[int, list[SandboxOptions]] = defaultdict(list)

    def caller(self, request: web.Request) -> Caller:
        connection = request.transport.get_extra_info("socket") if request.transport else None
        if connection is None:
            raise ApiError(
                400, "connection-lost", "connection lost", "the connection was closed before the answer"
            )
        actor, gids = peer(connection)
        for rule in self._rules:
            if rule.names(actor.uid, gids):
                return Caller(actor, rule)
        raise ApiError(
            403,
            "caller-unknown",
            "caller unknown",
            f"uid {actor.uid} is in no rule of `callers`: ask the administrator",
        )

    def sandbox(self, caller: Caller, sandbox_id: str) -> Sandbox:
        """What is not the caller's does not exist for it."""
        sandbox = self._registry.get(sandbox_id)
        if sandbox is None or not caller.may_see(sandbox.owner.uid):
            raise not_found(f"sandbox {sandbox_id!r}")
        return sandbox

    def check_profile(self, caller: Caller, profile: str) -> None:
        if "*" not in caller.rule.profiles and profile not in caller.rule.profiles:
            allowed = ", ".join(caller.rule.profiles) or "none"
            raise ApiError(
                403,
                "profile-not-permitted",
                "profile not permitted",
                f"profile {profile!r} is not yours: {allowed} are",
            )

    def reserve(self, caller: Caller, options: SandboxOptions) -> None:
        """Counts a launch against the quota until `release`. Raises QuotaExceeded, which names the quota."""
        uid, quota = caller.actor.uid, caller.rule.quota
        held = [sandbox.options for sandbox in self._registry.running(uid)] + self._starting[uid]
        self._check_rate(uid, quota.launches_per_minute)
        if len(held) >= quota.running:
            raise QuotaExceeded(f"quota: {quota.running} sandboxes may run at once: end one first")
        memory = sum(o.limits.memory for o in held) + options.limits.memory
        if memory > quota.memory:
            raise QuotaExceeded(
                f"quota: {format_size(quota.memory)} of memory in all: end a sandbox or ask for less"
            )
        if sum(o.limits.cpus for o in held) + options.limits.cpus > quota.cpus:
            raise QuotaExceeded(f"quota: {quota.cpus:g} CPUs in all: end a sandbox or ask for less")
        self._launches[uid].append(time.monotonic())
        self._starting[uid].append(options)

    def release(self, caller: Caller, options: SandboxOptions) -> None:
        self._starting[caller.actor.uid].remove(options)

    def _check_rate(self, uid: int, per_minute: int) -> None:
        launches, now = self._launches[uid], time.monotonic()
        while launches and now - launches[0] > MINUTE_S:
            launches.popleft()
        if len(launches) >= per_minute:
            wait_s = MINUTE_S - (now - launches[0]) if launches else MINUTE_S
            raise QuotaExceeded(f"quota: {per_minute} launches a minute: try again in {wait_s:.0f} s", wait_s)
