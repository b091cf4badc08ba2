"""Requests by a ring instead of by system calls (io_uring_setup(2))."""

from __future__ import annotations

from daemon.findings import Category, Rule, Severity
from detectors.process.calls import CallDetector

IO_URING = Rule(
    id="io-uring-call",
    title="io_uring set up",
    category=Category.PROCESS,
    severity=Severity.MEDIUM,
    techniques=("T1562.001", "T1068"),
    why="Files opened and sockets connected through the ring pass neither seccomp nor the hooks of "
    "system calls, and the ring has been a source of kernel exploits. New runtimes probe for it, so "
    "a refused attempt alone says little.",
    remedy="Deny io_uring_setup by seccomp, as every profile here does, or set kernel.io_uring_disabled=2.",
)


class IoUring(CallDetector):
    rules = (IO_URING,)
    syscalls = frozenset({"io_uring_setup", "io_uring_register"})
    otherwise = Severity.LOW
