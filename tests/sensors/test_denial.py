"""BPF LSM, where the kernel runs it: what is denied does not happen, and a neighbour is left alone."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import pytest

from daemon.errors import SensorError
from daemon.events import Connected, FileOpened, Mounted
from daemon.sensors.abi import InKernel, InodeAction
from tests.sensors.watching import OPEN, Watching

pytestmark = [pytest.mark.root, pytest.mark.docker, pytest.mark.bpf]


def has_lsm(watching: Watching) -> bool:
    return all(state == "on" for name, state in watching.sensor.hooks.items() if name.startswith("deny_"))


@pytest.fixture
def denied(watching: Watching) -> Iterator[str]:
    if not has_lsm(watching):
        pytest.skip(f"no BPF LSM: {watching.sensor.hooks['deny_file_open']}")
    container = watching.start("sleep", "600", options=OPEN)
    try:
        watching.await_enrolled(container)
        watching.do(watching.sensor.respond, container, InKernel.DENY_ESCAPES)
        yield container
    finally:
        watching.remove(container)


def errno_of(watching: Watching, container: str, *act: str) -> int:
    return int(watching.exec(container, "/act", *act).stdout.split()[1])


def test_without_it_nothing_is_promised(watching: Watching) -> None:
    if has_lsm(watching):
        pytest.skip("this kernel has BPF LSM")
    run = watching.run("/act", "nap", "1")
    with pytest.raises(SensorError, match="nothing can be denied here: deny_"):
        watching.do(watching.sensor.respond, run.container, InKernel.DENY_ESCAPES)
    with pytest.raises(SensorError, match="nothing can be denied here: deny_"):
        watching.do(watching.sensor.watch_inode, 1, 1, InodeAction.DENY)


@pytest.mark.parametrize(
    "offence",
    [("mount", "x", "/tmp", "tmpfs"), ("unshare", "0x10000000"), ("ptrace", "1"), ("call", "321")],
    ids=lambda offence: offence[0],
)
def test_escapes(watching: Watching, denied: str, offence: tuple[str, ...]) -> None:
    assert errno_of(watching, denied, *offence) == errno.EPERM


def test_a_child_may_be_traced(watching: Watching, denied: str) -> None:
    assert errno_of(watching, denied, "ptrace-child") == 0


def test_a_neighbour_may(watching: Watching, denied: str) -> None:
    run = watching.act("mount", "x", "/tmp", "tmpfs")
    assert run.result == (0, 0)
    assert watching.one(run.container, Mounted).succeeded


def test_a_socket_is_not_connected_to(watching: Watching, denied: str) -> None:
    watching.exec(denied, "/act", "unix-serve", "/tmp/engine.sock", options=("-d",))
    assert errno_of(watching, denied, "unix", "/tmp/engine.sock") == 0
    reached = watching.events(denied, Connected)[-1].file
    assert reached is not None
    watching.do(watching.sensor.watch_inode, reached.device, reached.inode, InodeAction.DENY)
    assert errno_of(watching, denied, "unix", "/tmp/engine.sock") == errno.EPERM


def test_an_inode_is_not_opened_nor_executed(watching: Watching, denied: str) -> None:
    watching.exec(denied, "sh", "-c", "cp /act /tmp/canary; cat /tmp/canary >/dev/null")
    bait = next(e for e in watching.events(denied, FileOpened) if e.file.path == "/tmp/canary").file
    watching.do(watching.sensor.watch_inode, bait.device, bait.inode, InodeAction.DENY)
    assert errno_of(watching, denied, "open", "/tmp/canary", "0") == errno.EPERM
    assert errno_of(watching, denied, "exec", "/tmp/canary") == errno.EPERM
    assert errno_of(watching, denied, "open", "/etc/canary", "0") == 0
