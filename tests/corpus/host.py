"""The host's side of a case: a canary that only the host may touch, and a process that a case may aim at."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Canary:
    """A secret to read and a folder to write to. Any user may do both: only the sandbox is in the way."""

    folder: Path
    token: str

    @property
    def secret(self) -> Path:
        return self.folder / "secret"

    def drop(self, case_id: str) -> Path:
        """The file that a payload writes if it ever runs on the host."""
        return self.folder / "drop" / case_id

    def read_in(self, output: str) -> bool:
        return self.token in output


@dataclass(frozen=True)
class Host:
    canary: Canary
    victim: subprocess.Popen[bytes]
    disk: str

    def variables(self, case_id: str, image: str) -> dict[str, str]:
        """What a case may know: an attacker is assumed to know the host well."""
        return {
            "CASE_ID": case_id,
            "CASE_DIR": f"/cases/{case_id}",
            "CASE_IMAGE": image,
            "CANARY_PATH": str(self.canary.secret),
            "CANARY_DROP": str(self.canary.drop(case_id)),
            "HOST_DISK": self.disk,
            "HOST_PID": str(self.victim.pid),
        }


@contextmanager
def canary() -> Iterator[Canary]:
    """On the disk, not in memory: some cases look for it on the raw device."""
    folder = Path(tempfile.mkdtemp(prefix="container-kit-canary-", dir="/var/tmp"))
    made = Canary(folder, f"CORPUS-CANARY-{secrets.token_hex(8)}")
    try:
        folder.chmod(0o755)
        made.secret.write_text(made.token + "\n")
        made.drop("any").parent.mkdir()
        made.drop("any").parent.chmod(0o777)
        os.sync()
        yield made
    finally:
        shutil.rmtree(folder)


@contextmanager
def host() -> Iterator[Host]:
    with canary() as made:
        victim = subprocess.Popen(["sleep", "1h"], cwd=made.folder, env={"PATH": os.environ["PATH"]})
        try:
            yield Host(made, victim, root_disk())
        finally:
            victim.kill()
            victim.wait()


def root_disk() -> str:
    """The device of the host's root, as proc_pid_mountinfo(5) names it."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split(" ")
        if fields[4] == "/":
            return fields[fields.index("-") + 2]
    raise RuntimeError("/proc/self/mountinfo has no line for the root")
