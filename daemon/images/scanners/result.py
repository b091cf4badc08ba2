"""What a program's answer comes to."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from daemon.images.findings import ScanResult, Vulnerability
from daemon.images.osv.match_worker import VULNERABILITIES

FoundBy = tuple[str, str, datetime | None]
"""Scanner, its version, and the time of its database."""


def result(
    found_by: FoundBy, problems: Sequence[str], found: Sequence[Vulnerability], packages: int
) -> ScanResult:
    """Understood where there is no problem. Of too many vulnerabilities the first are kept."""
    scanner, version, time = found_by
    over = f"over {VULNERABILITIES} vulnerabilities: not all were looked at"
    reasons = [*problems, *([over] if len(found) > VULNERABILITIES else [])]
    return ScanResult(
        scanner=scanner,
        version=version,
        database_time=time,
        understood=not reasons,
        unscannable_reason="; ".join(reasons[:5]) or None,
        vulnerabilities=tuple(found[:VULNERABILITIES]),
        packages=packages,
    )
