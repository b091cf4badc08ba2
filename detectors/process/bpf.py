"""eBPF from inside a sandbox (bpf(2))."""

from __future__ import annotations

from daemon.findings import Category, Rule, Severity
from detectors.process.calls import CallDetector

BPF = Rule(
    id="bpf-call",
    title="eBPF used from a sandbox",
    category=Category.PROCESS,
    severity=Severity.CRITICAL,
    techniques=("T1068", "T1014"),
    why="A loaded program runs in the host's kernel, can see and change other tenants' calls and can "
    "hide its own; the verifier is also where kernels are broken into.",
    remedy="Stop the sandbox; on success list programs and links on the host (bpftool prog, bpftool link) "
    "and remove what is not yours. Set kernel.unprivileged_bpf_disabled=2.",
)


class Bpf(CallDetector):
    rules = (BPF,)
    syscalls = frozenset({"bpf"})
    otherwise = Severity.HIGH
