"""The root file system: nothing of the image may be changed."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.sandbox.checks import Subject, Verdict
from daemon.sandbox.report import Control, RiskLevel, Threat


def check(subject: Subject) -> Iterator[Verdict]:
    if subject.host_config["ReadonlyRootfs"]:
        yield Control(id="root-file-system", detail="read-only; /tmp and /var/tmp are noexec, nosuid, nodev")
    else:
        yield Threat(
            id="root-file-system",
            severity=RiskLevel.HIGH,
            reason="writable root file system",
            remedy="leave `read_only_root` at true",
            cis="5.13",
            attack="T1611",
        )
