"""An engine that makes another container than it was asked for: whatever differs, the program never runs."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.engine_proxy import EngineProxy, engine_proxy
from tests.images import imported
from tests.running import Daemon, daemon

pytestmark = [pytest.mark.root, pytest.mark.docker]

Body = dict[str, Any]
LENGTH = re.compile(rb"(?i)content-length: (\d+)")
OTHER_IMAGE = f"container-kit-test/other:{os.getpid()}"


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProxy]:
    with engine_proxy(tmp_path_factory.mktemp("engine")) as started:
        yield started


@pytest.fixture(scope="module")
def running(proxy: EngineProxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with daemon(tmp_path_factory.mktemp("daemon"), f'engine_socket = "{proxy.path}"') as started:
        yield started


def disobeying(change: Callable[[Body], object]) -> Callable[[bytes], bytes]:
    """Of each request that creates a container, with `change` made to its body once all of it is there."""
    connection = threading.local()  # each has a thread of its own

    def changed(piece: bytes) -> bytes:
        request = getattr(connection, "held", b"") + piece
        head, _, content = request.partition(b"\r\n\r\n")
        if b"/containers/create" not in head.partition(b"\r\n")[0]:
            return piece
        length = LENGTH.search(head)
        is_whole = length is not None and len(content) == int(length[1])
        connection.held = b"" if is_whole else request
        return _with(head, content, change) if is_whole else b""

    return changed


def _with(head: bytes, content: bytes, change: Callable[[Body], object]) -> bytes:
    body = json.loads(content)
    change(body)
    content = json.dumps(body).encode()
    return LENGTH.sub(b"Content-Length: %d" % len(content), head) + b"\r\n\r\n" + content


def host(**values: Any) -> Callable[[Body], object]:
    return lambda body: body["HostConfig"].update(values)


def without(kind: str) -> Callable[[Body], object]:
    def change(body: Body) -> None:
        options = body["HostConfig"]["SecurityOpt"]
        body["HostConfig"]["SecurityOpt"] = [option for option in options if not option.startswith(kind)]

    return change


def seccomp_off(body: Body) -> None:
    without("seccomp=")(body)
    body["HostConfig"]["SecurityOpt"].append("seccomp=unconfined")


def networked(body: Body) -> None:
    body["NetworkDisabled"] = False
    body["HostConfig"]["NetworkMode"] = "bridge"


def tmpfs(path: str, old: str, new: str) -> Callable[[Body], object]:
    def change(body: Body) -> None:
        mounts = body["HostConfig"]["Tmpfs"]
        mounts[path] = mounts[path].replace(old, new)

    return change


def hosts_name(body: Body) -> None:
    del body["Hostname"]
    body["HostConfig"]["UTSMode"] = "host"


def more_files(body: Body) -> None:
    body["HostConfig"]["Ulimits"][0] = {"Name": "nofile", "Soft": 4096, "Hard": 4096}


DISOBEDIENCE: dict[str, tuple[Callable[[Body], object], str]] = {
    "root": (lambda body: body.update(User="0:0"), "uid is "),
    "another user": (lambda body: body.update(User="1001:1000"), "uid is "),
    "another group": (lambda body: body.update(User="1000:0"), "gid is "),
    "more groups": (host(GroupAdd=["4"]), "supplementary groups is "),
    "capabilities": (host(CapDrop=[]), "CapBnd is "),
    "all capabilities": (host(CapDrop=[], CapAdd=["ALL"]), "CapBnd is "),
    "new privileges": (without("no-new-privileges"), "NoNewPrivs is 0"),
    "no seccomp": (seccomp_off, "Seccomp is 0"),
    "a writable root": (host(ReadonlyRootfs=False), "flags of / is without ro"),
    "an executable /tmp": (tmpfs("/tmp", "noexec", "exec"), "flags of /tmp is without noexec"),
    "devices on /var/tmp": (tmpfs("/var/tmp", "nodev", "dev"), "flags of /var/tmp is without nodev"),
    "no workspace": (
        lambda body: body["HostConfig"]["Tmpfs"].pop("/workspace"),
        "mount /workspace is missing",
    ),
    "one mount more": (
        lambda body: body["HostConfig"]["Tmpfs"].update({"/more": "rw"}),
        "unexpected mounts is ['/more']",
    ),
    "no masks": (host(MaskedPaths=[]), "/sys/firmware is as the kernel has it, asked for masked"),
    "no read-only views": (host(ReadonlyPaths=[]), "/proc/sys is as the kernel has it, asked for read-only"),
    "the host's ipc": (host(IpcMode="host"), "ipc namespace is the host's"),
    "the host's pids": (host(PidMode="host"), "pid namespace is the host's"),
    "the host's name": (hosts_name, "uts namespace is the host's"),
    "the host's cgroups": (host(CgroupnsMode="host"), "cgroup namespace is the host's"),
    "a network": (networked, "network devices is "),
    "more memory": (host(Memory=1 << 30, MemorySwap=1 << 30), "memory limit is 1073741824"),
    "no limit of memory": (host(Memory=0, MemorySwap=0), "memory limit is "),
    "more processes": (host(PidsLimit=101), "pids limit is 101"),
    "any number of processes": (host(PidsLimit=0), "pids limit is "),
    "more of the processor": (host(NanoCpus=2_000_000_000), "cpu quota is 2000000000"),
    "more open files": (more_files, "open files limit is 4096"),
    "another image": (lambda body: body.update(Image=OTHER_IMAGE), "image is sha256:"),
    "another place, where no sensor waits": (host(CgroupParent="/elsewhere"), "cgroup is "),
}


@pytest.mark.parametrize(("change", "difference"), DISOBEDIENCE.values(), ids=DISOBEDIENCE)
def test_each_difference_is_named_and_ends_it_before_it_ran(
    running: Daemon, proxy: EngineProxy, image: str, change: Callable[[Body], object], difference: str
) -> None:
    proxy.change = disobeying(change)
    with imported(OTHER_IMAGE):
        refused = running.run(image, "true")
    assert refused["type"] == "/problems/attestation-failed", refused
    assert any(reason.startswith(difference) for reason in refused["reasons"]), refused["reasons"]
    *_, violation = [e for e in running.events() if e["event_type"] == "SECURITY_VIOLATION"]
    assert (violation["severity"], violation["action"]) == ("critical", "killed")
    assert violation["details"]["differences"] == refused["reasons"]
    assert running.containers() == 0


def test_an_engine_that_obeys_is_trusted(running: Daemon, proxy: EngineProxy, image: str) -> None:
    proxy.change = disobeying(lambda body: body["Labels"].update(more="of them"))
    assert running.run(image, "true")["exit_code"] == 0
