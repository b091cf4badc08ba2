"""no-new-privileges (PR_SET_NO_NEW_PRIVS): execve never gives what the caller did not have."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.sandbox.checks import Subject, Verdict
from daemon.sandbox.report import Control, RiskLevel, Threat


def check(subject: Subject) -> Iterator[Verdict]:
    if "no-new-privileges:true" in subject.host_config["SecurityOpt"]:
        yield Control(id="no-new-privileges", detail="setuid programs and file capabilities have no effect")
    else:
        yield Threat(
            id="new-privileges",
            severity=RiskLevel.HIGH,
            reason="no-new-privileges is off",
            remedy="leave `no_new_privileges` at true",
            cis="5.26",
            attack="T1548.001",
        )
