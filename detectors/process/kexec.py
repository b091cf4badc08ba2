"""Replacing the running kernel (kexec_load(2))."""

from __future__ import annotations

from daemon.findings import Category, Rule, Severity
from detectors.process.calls import CallDetector

KERNEL_REPLACEMENT = Rule(
    id="kernel-replacement",
    title="Another kernel staged",
    category=Category.PROCESS,
    severity=Severity.CRITICAL,
    techniques=("T1611",),
    why="kexec puts a kernel of the caller's choice in the place of the host's.",
    remedy="Stop the sandbox. If the call succeeded, treat the host as taken over and reboot it from known "
    "media. Set kernel.kexec_load_disabled=1.",
)


class Kexec(CallDetector):
    rules = (KERNEL_REPLACEMENT,)
    syscalls = frozenset({"kexec_load", "kexec_file_load"})
    otherwise = Severity.HIGH
