"""Devices of the host."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.sandbox.checks import Subject, Verdict
from daemon.sandbox.report import Control, RiskLevel, Threat


def check(subject: Subject) -> Iterator[Verdict]:
    for device in subject.host_config["Devices"]:
        yield Threat(
            id="device",
            severity=RiskLevel.CRITICAL,
            reason=f"device of the host: {device['PathOnHost']}",
            remedy="leave `devices` out: a sandbox has null, zero, full, random, urandom and tty",
            cis="5.18",
            attack="T1611",
        )
    if not subject.host_config["Devices"]:
        yield Control(id="devices", detail="no device of the host")
