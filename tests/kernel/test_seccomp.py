"""The table is whole, the files are its picture, and the kernel answers every call as the table says."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from daemon.sandbox import seccomp
from daemon.sandbox.seccomp import ALLOWED, PROFILES, REFUSED, UNKNOWN, Decision, decision
from tests.kernel.probe_image import ENTRY, probe_image

NUMBERS = range(471)
NUMBER_OF = {name: number for number, name in seccomp.syscall_numbers().items()}
KERNEL_LETS_PASS = {"uretprobe", "uprobe"}  # see the group `uprobes`
ESCAPES = """
    keyctl add_key request_key bpf process_vm_readv process_vm_writev kcmp pidfd_getfd mount umount2
    open_tree move_mount fsopen fsconfig fsmount fspick mount_setattr pivot_root chroot unshare
    setns kexec_load kexec_file_load init_module finit_module delete_module reboot open_by_handle_at
    name_to_handle_at userfaultfd perf_event_open fanotify_init swapon swapoff acct quotactl
    settimeofday clock_settime sethostname setdomainname iopl ioperm syslog lookup_dcookie vhangup
    nfsservctl
""".split()  # noqa: SIM905
TMPFS = "rw,noexec,nosuid,nodev,size=16m,mode=1777"


def names(table: tuple[seccomp.Group, ...], profile: str) -> list[str]:
    return [name for group in table if profile in group.profiles for name in group.syscalls]


# --- the table


@pytest.mark.parametrize("profile", PROFILES)
def test_every_call_has_exactly_one_decision(profile: str) -> None:
    always = {
        name for group in ALLOWED if profile in group.profiles and not group.args for name in group.syscalls
    }
    sometimes = {
        name for group in ALLOWED if profile in group.profiles and group.args for name in group.syscalls
    }
    decided = [*always, *sometimes, *names(UNKNOWN, profile), *names(REFUSED, profile)]
    assert sorted(decided) == sorted(NUMBER_OF)


@pytest.mark.parametrize("profile", PROFILES)
def test_unconditional_calls_are_named_once(profile: str) -> None:
    always = [
        name for group in ALLOWED if profile in group.profiles and not group.args for name in group.syscalls
    ]
    assert len(always) == len(set(always))


def test_every_group_gives_a_reason_and_a_name_of_its_own() -> None:
    groups = (*ALLOWED, *UNKNOWN, *REFUSED)
    assert all(len(group.reason) >= 12 for group in groups), [g.name for g in groups if len(g.reason) < 12]
    for table in (ALLOWED, UNKNOWN, REFUSED):
        assert len({group.name for group in table}) == len(table)


def test_no_alternative_has_two_conditions_on_one_argument() -> None:
    """runc takes such a pair for two rules, of which either is enough."""
    for group in ALLOWED:
        for conditions in group.args:
            indexes = [condition.index for condition in conditions]
            assert len(indexes) == len(set(indexes)), group.name


def test_only_allowed_groups_have_conditions() -> None:
    assert not [group.name for group in (*UNKNOWN, *REFUSED) if group.args]


def test_numbers_from_451_on_are_unknown_in_every_profile() -> None:
    newer = [name for name, number in NUMBER_OF.items() if number >= 451]
    assert len(newer) == 19
    assert {decision(profile, name) for profile in PROFILES for name in newer} == {Decision.ENOSYS}


@pytest.mark.parametrize(
    ("profile", "call", "expected"),
    [
        ("strict", "read", Decision.ALLOW),
        ("strict", "clone", Decision.CONDITIONAL),
        ("strict", "memfd_create", Decision.ENOSYS),
        ("default", "memfd_create", Decision.ALLOW),
        ("default", "ptrace", Decision.EPERM),
        ("build", "ptrace", Decision.ALLOW),
        ("build", "io_uring_setup", Decision.ENOSYS),
        ("build", "no_such_call", Decision.EPERM),
    ],
)
def test_decision(profile: str, call: str, expected: Decision) -> None:
    assert decision(profile, call) is expected


@pytest.mark.parametrize("profile", PROFILES)
def test_no_profile_lets_in_what_escapes_are_made_of(profile: str) -> None:
    assert {name: decision(profile, name) for name in ESCAPES} == dict.fromkeys(ESCAPES, Decision.EPERM)


# --- the files


@pytest.mark.parametrize("profile", PROFILES)
def test_files_are_up_to_date(profile: str) -> None:
    text = (seccomp.FOLDER / f"{profile}.json").read_text(encoding="ascii")
    assert text == seccomp.rendered(profile), "run: python -m daemon.sandbox.seccomp"


@pytest.mark.parametrize("profile", PROFILES)
def test_what_the_engine_gets_is_the_file(profile: str) -> None:
    assert json.loads(seccomp.load(profile)) == json.loads((seccomp.FOLDER / f"{profile}.json").read_text())
    assert "\n" not in seccomp.load(profile)


@pytest.mark.parametrize("profile", PROFILES)
def test_one_abi_and_a_refusing_default_that_docker_20_understands(profile: str) -> None:
    made = seccomp.profile(profile)
    assert made["defaultAction"] == "SCMP_ACT_ERRNO"
    assert set(made) == {"defaultAction", "archMap", "syscalls"}
    assert [entry["subArchitectures"] for entry in made["archMap"]] == [[], []]


def test_an_unknown_profile_is_an_error() -> None:
    with pytest.raises(ValueError, match="choose one of strict, default, build"):
        seccomp.load("unconfined")
    with pytest.raises(ValueError, match="choose one of"):
        decision("network", "read")


# --- the kernel

ALLOWED_CALLS = {
    "clone(0x11)",
    "clone(0x3d0f00)",
    "socket(1,1,0)",
    "socket(1,0x80802,0)",
    "socket(2,1,0)",
    "socket(2,0x80801,6)",
    "socket(2,2,17)",
    "socket(10,1,0)",
    "socket(10,2,17)",
    "socket(16,3,0)",
    "socket(0x100000001,1,0)",
    "socketpair(1,1,0)",
    "personality(0)",
    "personality(8)",
    "personality(0xffffffff)",
    "mknod(0x11a4)",
    "mknodat(0x11a4)",
    "mknod(0x81a4)",
    "mknodat(0x81a4)",
    "mknod(0xc1a4)",
    "mknodat(0xc1a4)",
}
ALLOWED_BEYOND_STRICT = {"socket(2,2,1)", "socket(10,2,58)", "memfd_create(MFD_CLOEXEC)"}
OTHER_ABI_REFUSALS = {"EPERM", "ENOSYS", "killed:SIGSYS", "killed:SIGSEGV"}
ALLOWED_TO_DEBUGGERS = {"personality(0x40000)", "personality(0x40008)"}


def answer(profile: dict[str, Any], name: str) -> str:
    """What the JSON says to a call whose arguments are all 0."""
    for entry in profile["syscalls"]:
        if name in entry["names"] and all(argument["valueTwo"] == 0 for argument in entry["args"]):
            return {None: "allowed", seccomp.ENOSYS: "ENOSYS"}[entry.get("errnoRet")]
    return "EPERM"


def expected_answers(profile: str) -> dict[int, str]:
    made = seccomp.profile(profile)
    assigned = seccomp.syscall_numbers()
    largest = max(assigned)
    free = {number: "ENOSYS" if number > largest else "EPERM" for number in NUMBERS}
    return free | {number: answer(made, name) for number, name in assigned.items()}


def departures(profile: str, found: dict[str, Any]) -> dict[str | int, tuple[str, str]]:
    """Calls that the kernel answered otherwise than the table says: call -> (expected, measured)."""
    assigned, expected = seccomp.syscall_numbers(), expected_answers(profile)
    measured = dict(enumerate(found["syscalls"]["x86_64"]))
    assert measured.keys() == expected.keys()
    differing = {
        assigned.get(n, n): (expected[n], measured[n]) for n in NUMBERS if expected[n] != measured[n]
    }
    passing = {name: differing.pop(name) for name in KERNEL_LETS_PASS if name in differing}
    assert "allowed" not in {answer for _, answer in passing.values()}
    return differing


def other_abi_answers(found: dict[str, Any]) -> set[str]:
    assert len(found["syscalls"]["i386"]) == len(NUMBERS)
    return {*found["syscalls"]["i386"], found["calls"]["x32 getpid"], found["calls"]["x32 execve"]}


@pytest.fixture(scope="module")
def client() -> Iterator[docker.DockerClient]:
    client = docker.from_env()
    yield client
    client.close()


@pytest.fixture(scope="module")
def image(client: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with probe_image(
        client, tmp_path_factory.mktemp("probe"), f"container-kit-test/probe:{os.getpid()}"
    ) as tag:
        yield tag


def run(client: docker.DockerClient, image: str, command: list[str], filter_text: str, **more: Any) -> bytes:
    output: bytes = client.containers.run(
        image,
        command,
        user="1000:1000",
        cap_drop=["ALL"],
        security_opt=["no-new-privileges", f"seccomp={filter_text}"],
        read_only=True,
        network_disabled=True,
        pids_limit=100,
        mem_limit="512m",
        memswap_limit="512m",
        ulimits=[docker.types.Ulimit(name="core", soft=0, hard=0)],
        tmpfs=dict.fromkeys(("/tmp", "/var/tmp", "/workspace"), TMPFS),
        working_dir="/workspace",
        stderr=True,
        remove=True,
        **more,
    )
    return output


@pytest.fixture(scope="module", params=PROFILES)
def probed(
    request: pytest.FixtureRequest, client: docker.DockerClient, image: str
) -> tuple[str, dict[str, Any]]:
    return request.param, json.loads(run(client, image, [ENTRY], seccomp.load(request.param)))


@pytest.mark.root
@pytest.mark.docker
def test_every_number_is_answered_as_the_table_says(probed: tuple[str, dict[str, Any]]) -> None:
    assert departures(*probed) == {}


@pytest.mark.root
@pytest.mark.docker
def test_no_32_bit_and_no_x32_call_is_answered(probed: tuple[str, dict[str, Any]]) -> None:
    assert other_abi_answers(probed[1]) <= OTHER_ABI_REFUSALS


@pytest.mark.root
@pytest.mark.docker
def test_arguments_decide_what_the_table_leaves_to_them(probed: tuple[str, dict[str, Any]]) -> None:
    profile, found = probed
    allowed = {call for call, answer in found["calls"].items() if answer == "allowed"}
    assert allowed == ALLOWED_CALLS | (ALLOWED_BEYOND_STRICT if profile != "strict" else set()) | (
        ALLOWED_TO_DEBUGGERS if profile == "build" else set()
    )


@pytest.mark.root
@pytest.mark.docker
def test_nothing_else_of_the_sandbox_is_open(probed: tuple[str, dict[str, Any]]) -> None:
    profile, found = probed
    none = "0" * 16
    assert found["uid"] == [1000, 1000]
    status = {key: found["status"][key] for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
    assert status == dict.fromkeys(status, none)
    assert (found["status"]["NoNewPrivs"], found["status"]["Seccomp"]) == ("1", "2")
    assert found["interfaces"] == ["lo"]
    assert {found["create"][folder] for folder in ("/", "/etc", "/usr", "/sys")} == {"EROFS"}
    places = dict.fromkeys(("/tmp", "/var/tmp", "/workspace", "/dev/shm"), "EACCES")
    assert found["exec"] == places | {"memfd": "no file: ENOSYS" if profile == "strict" else "ok"}


@pytest.mark.root
@pytest.mark.docker
def test_without_a_filter_the_probe_sees_no_refusal(client: docker.DockerClient, image: str) -> None:
    """The control: what the tests above measure is the filter's doing and not the probe's."""
    found = json.loads(run(client, image, [ENTRY], "unconfined"))
    refused = {n for n, answer in enumerate(found["syscalls"]["x86_64"]) if answer != "allowed"}
    assert refused <= {NUMBER_OF[name] for name in KERNEL_LETS_PASS}
    assert set(found["calls"].values()) == {"allowed"}
    assert found["exec"]["memfd"] == "ok"


# --- and it is wide enough

PYTHON = """
import asyncio, concurrent.futures, multiprocessing, os, socket, sqlite3, subprocess, sys, tempfile, threading

async def echo():
    async def serve(reader, writer):
        writer.write(await reader.readline())
        writer.close()
        await writer.wait_closed()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"hi\\n")
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", "print(6 * 7)", stdout=subprocess.PIPE)
    assert (await child.communicate())[0] == b"42\\n"
    assert await reader.readline() == b"hi\\n"
    writer.close()
    server.close()

os.chdir("/dev/shm")
os.mkfifo("fifo")
assert "lo" in [name for _, name in socket.if_nameindex()]
assert socket.getaddrinfo("127.0.0.1", 80)
asyncio.run(echo())
with multiprocessing.get_context("spawn").Pool(2) as pool:
    assert pool.map(abs, [-1, -2]) == [1, 2]
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map(abs, [-1, -2]) == [1, 2]
with concurrent.futures.ThreadPoolExecutor(4) as threads:
    assert list(threads.map(abs, [-1, -2])) == [1, 2]
with tempfile.TemporaryDirectory(dir=".") as folder:
    database = sqlite3.connect(folder + "/db")
    database.execute("pragma journal_mode=wal")
    database.execute("create table t as select 1")
    database.commit()
    database.close()
print("done")
"""
GIT = """
export HOME=/dev/shm && git init -q /dev/shm/a && cd /dev/shm/a && echo hi > a && git add a &&
git -c user.name=a -c user.email=a@b commit -qm a && git gc -q &&
git clone -q . ../b && cat ../b/a && echo done
"""
GCC = """
cd /dev/shm && export TMPDIR=/dev/shm &&
printf '#include <stdio.h>\\nint main(void){puts("hi");}' > a.c && gcc -O2 -o a a.c && test -s a && echo done
"""
GO = "containerd config default | grep -q oom_score && echo done"
WORKLOADS = {
    "python": [sys.executable, "-c", PYTHON],
    "git": ["sh", "-c", GIT],
    "gcc": ["sh", "-c", GCC],
    "containerd": ["sh", "-c", GO],
}


@pytest.mark.root
@pytest.mark.docker
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("workload", WORKLOADS)
def test_everyday_programs_run(client: docker.DockerClient, image: str, profile: str, workload: str) -> None:
    """The programs are this machine's own, mounted read-only: what is judged here is the filter."""
    command = WORKLOADS[workload]
    if not shutil.which(workload if workload != "python" else command[0]):
        pytest.skip(f"{workload} is not installed here")
    roots = [
        path
        for path in ("/usr", "/bin", "/lib", "/lib64", sys.prefix, sys.base_prefix)
        if Path(path).exists()
    ]
    volumes = {path: {"bind": path, "mode": "ro"} for path in roots}
    output = run(client, image, command, seccomp.load(profile), volumes=volumes)
    assert output.decode().splitlines()[-1:] == ["done"]
