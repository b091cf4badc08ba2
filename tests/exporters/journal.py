"""A systemd-journald of a test's own: in a mount namespace where /run is a folder of the test."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.exporters.running import Child

PROGRAM = "/lib/systemd/systemd-journald"
CONFIGURATION = """[Journal]
Storage=volatile
ReadKMsg=no
Audit=no
ForwardToSyslog=no
RateLimitIntervalSec=0
"""
SCRIPT = f"""set -e
mount --make-rprivate /
mount --bind "$1/etc" /etc/systemd
mount -t tmpfs none /var/log
mount --bind "$1/run" /run
exec {PROGRAM}
"""


class Journal(Child):
    """Needs root. `socket` is where it receives; its entries are read by journalctl(1)."""

    def __init__(self, folder: Path) -> None:
        self._run = folder / "run"
        for name in ("run/mount", "etc"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / "etc/journald.conf").write_text(CONFIGURATION)
        command = ["unshare", "--mount", "sh", "-c", SCRIPT, "journald", str(folder)]
        super().__init__(command, 0, self._received, folder / "journald.log")

    @property
    def socket(self) -> Path:
        return self._run / "systemd/journal/socket"

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
            return probe.connect_ex(str(self.socket)) == 0

    def _received(self) -> list[tuple[str, Any]]:
        return [(entry["CONTAINER_KIT_EVENT_ID"], entry) for entry in self.entries()]

    def entries(self, *matches: str) -> list[dict[str, str]]:
        """Those of an exporter, oldest first."""
        command = ["journalctl", "--directory", str(self._run / "log/journal"), "--all", "--output", "json"]
        ours = ["SYSLOG_IDENTIFIER=container-kitd-audit", *matches]
        found = subprocess.run([*command, *ours], capture_output=True, check=True)
        return [dict(_fields(json.loads(line))) for line in found.stdout.splitlines()]


def _fields(entry: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What is no printable text comes as a list of bytes."""
    for name, value in entry.items():
        yield name, bytes(value).decode() if isinstance(value, list) else value
