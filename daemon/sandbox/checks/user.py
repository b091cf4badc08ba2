"""The user inside. Without a user namespace, root inside is root outside but for its chains."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.sandbox.checks import Subject, Verdict
from daemon.sandbox.report import Control, RiskLevel, Threat


def check(subject: Subject) -> Iterator[Verdict]:
    user, _, group = subject.body["User"].partition(":")
    if "0" in {user, group} or not user.isdigit() or not group.isdigit():
        yield Threat(
            id="user.root",
            severity=RiskLevel.HIGH,
            reason=f"root user or group: {subject.body['User']}",
            remedy="choose `user` and `group` above 0; 1000 is the default",
            cis="4.1",
            attack="T1611",
        )
    else:
        yield Control(id="user", detail=f"uid {user}, gid {group}")
