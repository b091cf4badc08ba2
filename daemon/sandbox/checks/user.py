"""The user inside. Without a user namespace, root inside is root outside but for its chains."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.sandbox.checks import Subject, Verdict
from daemon.sandbox.report import Control, RiskLevel, Threat


def check(subject: Subject) -> Iterator[Verdict]:
    user, _, group = subject.body["User"].partition(":")
    if not (_unprivileged(user) and _unprivileged(group)):
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


def _unprivileged(number: str) -> bool:
    """Names do not count: the image's own /etc/passwd would say who that is."""
    return number.isascii() and number.isdigit() and int(number) > 0
