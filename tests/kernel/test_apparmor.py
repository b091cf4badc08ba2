"""The AppArmor profile parses, compiles whole, and its automaton judges paths as it should.

A kernel without AppArmor cannot enforce it: there, the automaton that the parser makes is what can be tested.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

PROFILE = Path(__file__).resolve().parents[2] / "profiles" / "apparmor" / "container-kit-sandbox"
ALL_FEATURES = Path("/etc/apparmor.d/abi/3.0")  # of a kernel that mediates everything, whatever this one does
PARSER = shutil.which("apparmor_parser", path="/usr/sbin:/sbin:/usr/bin")
BITS = {"x": 0x1, "w": 0x2, "r": 0x4, "k": 0x20, "m": 0x40}  # of the owner; the others' are 14 bits further

pytestmark = pytest.mark.skipif(PARSER is None, reason="the package apparmor is not installed")


def parse(profile: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Reads and compiles; loads nothing (-Q) and caches nothing (-K)."""
    command = [PARSER or "", "-Q", "-K", *options, str(profile)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_parser_takes_it() -> None:
    done = parse(PROFILE)
    assert done.returncode == 0, done.stderr


def test_no_rule_is_lost_where_the_kernel_mediates_everything() -> None:
    done = parse(PROFILE, "-M", str(ALL_FEATURES), "--warn=all")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("  file,", "  file"),
        ("audit deny mount,", "audit deny mounts,"),
        ("peer=unconfined,", "peer=,"),
        ("audit deny capability,", "audit deny capability sys_everything,"),
        ("\n}\n", "\n"),
    ],
)
def test_a_broken_copy_is_refused(tmp_path: Path, old: str, new: str) -> None:
    text = PROFILE.read_text(encoding="utf-8")
    assert old in text
    broken = tmp_path / "broken"
    broken.write_text(text.replace(old, new, 1), encoding="utf-8")
    assert parse(broken).returncode != 0


def test_every_group_of_rules_gives_its_reason() -> None:
    body = PROFILE.read_text(encoding="utf-8").partition("{\n")[2].rpartition("}")[0]
    groups = [group for group in body.split("\n\n") if group.strip()]
    assert len(groups) > 10
    assert [group for group in groups if not group.strip().startswith("# ")] == []


# --- the automaton


@dataclass(frozen=True)
class Automaton:
    permissions: dict[str, int]
    steps: dict[str, dict[int, str]]
    otherwise: dict[str, str]

    def permits(self, path: str, permission: str) -> bool:
        state = "1"
        for byte in path.encode():
            state = self.steps.get(state, {}).get(byte) or self.otherwise.get(state, "")
        return bool(self.permissions.get(state, 0) & BITS[permission])


def read_automaton(dump: str) -> Automaton:
    """The first one of `apparmor_parser -D dfa-states`, which is that of files."""
    automaton = Automaton({}, {}, {})
    state = ""
    for line in dump.partition("\n\n")[2].partition("\n\n")[0].splitlines():
        if match := re.match(r"\{(\d+)\} perms: +(?:none|\(0x ([0-9a-f]+)/([0-9a-f]+)/)", line):
            state, allowed, denied = match.groups(default="0")
            automaton.permissions[state] = int(allowed, 16) & ~int(denied, 16)
        elif match := re.match(r" +\[.*\] -> \{(\d+)\}", line):  # what it excepts is no part of a path
            automaton.otherwise[state] = match[1]
        elif match := re.match(r" +.*0x([0-9a-f]+) -> \{(\d+)\}", line):
            automaton.steps.setdefault(state, {})[int(match[1], 16)] = match[2]
    return automaton


@pytest.fixture(scope="module")
def automaton() -> Automaton:
    done = parse(PROFILE, "-M", str(ALL_FEATURES), "-D", "dfa-states")
    return read_automaton(done.stdout + done.stderr)


@pytest.mark.parametrize(
    "path",
    [
        "/usr/bin/python3 rxm",
        "/usr/lib/x86_64-linux-gnu/libc.so.6 rm",
        "/workspace/a.out rwxm",
        "/tmp/file rwk",
        "/var/tmp/file rw",
        "/dev/shm/sem.x rw",
        "/dev/null rw",
        "/dev/urandom r",
        "/dev/pts/0 rw",
        "/memfd:cursor rw",
        "/proc/7/status r",
        "/proc/7/oom_score_adj rw",
        "/proc/7/task/8/comm rw",
        "/proc/sys/kernel/osrelease r",
        "/proc/meminfo r",
        "/sys/devices/system/cpu/online r",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes r",
        "/run/user/1000/socket rw",
        "/run/secrets r",
    ],
)
def test_work_is_possible(automaton: Automaton, path: str) -> None:
    name, permissions = path.split()
    refused = [permission for permission in permissions if not automaton.permits(name, permission)]
    assert refused == []


@pytest.mark.parametrize(
    "path",
    [
        "/proc/sys/kernel/core_pattern w",
        "/proc/sys/kernel/modprobe w",
        "/proc/sys/fs/binfmt_misc/register w",
        "/proc/sysrq-trigger rw",
        "/proc/kcore rw",
        "/proc/kallsyms r",
        "/proc/keys r",
        "/proc/7/uid_map w",
        "/proc/7/setgroups w",
        "/proc/7/attr/exec w",
        "/proc/7/task/8/attr/apparmor/current w",
        "/sys/fs/cgroup/memory/release_agent w",
        "/sys/kernel/uevent_helper w",
        "/sys/kernel/security/apparmor/.load rw",
        "/sys/kernel/debug/kprobes/list r",
        "/sys/firmware/efi/efivars/x rw",
        "/dev/mem rwm",
        "/dev/kvm rw",
        "/dev/sda1 rw",
        "/dev/vda rw",
        "/dev/nvme0n1p1 r",
        "/dev/mapper/root r",
        "/dev/net/tun rw",
        "/run/docker.sock rw",
        "/var/run/docker.sock rw",
        "/run/containerd/containerd.sock rw",
        "/run/container-kit/api.sock rw",
        "/var/lib/docker/overlay2/x r",
        "/tmp/payload xm",
        "/var/tmp/deep/er/payload xm",
        "/dev/shm/payload xm",
        "/memfd:payload x",
        "/memfd:payload//deleted x",
    ],
)
def test_ways_out_are_shut(automaton: Automaton, path: str) -> None:
    name, permissions = path.split()
    permitted = [permission for permission in permissions if automaton.permits(name, permission)]
    assert permitted == []
