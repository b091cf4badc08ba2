"""What follows a finding, as the profile has it, with real sandboxes: somebody enters one past the daemon."""

from __future__ import annotations

import re
import socketserver
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from daemon import PROFILES
from tests.engine_proxy import EngineProxy, engine_proxy
from tests.running import Daemon, daemon

pytestmark = [pytest.mark.root, pytest.mark.docker, pytest.mark.bpf]

DEADLINE_S = 30.0
SILENCE_S = 2.0
"""Who talks ten times a second is heard in it, also beside other work."""
NETWORKED = {"require_networking": True, "security_policy": {"allow_networking": True}}


def profiles(folder: Path) -> str:
    """One for each action, with a network that goes anywhere and no exec."""
    where = folder / "profiles"
    where.mkdir()
    text = (PROFILES / "network.toml").read_text()
    text = re.sub(r"(?<=^\[egress\]\n)value = .*", 'value = "anywhere"', text, flags=re.MULTILINE)
    text = re.sub(r"(?<=^\[exec\]\n)value = true", "value = false", text, flags=re.MULTILINE)
    for action in ("pause", "quarantine", "kill"):
        named = text.replace('name = "network"', f'name = "{action}"', 1)
        (where / f"{action}.toml").write_text(named.replace('high = "alert"', f'high = "{action}"'))
    return f'profile_dirs = ["{PROFILES}", "{where}"]\n'


def enter(container: str) -> None:
    """Past the daemon. It may be held or end while the engine is at it."""
    subprocess.run(["docker", "exec", "-d", container, "sleep", "0.1"], check=False, capture_output=True)


def eventually(condition: Callable[[], Any]) -> Any:
    deadline_s = time.monotonic() + DEADLINE_S
    while not (found := condition()):
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    return found


def answers(running: Daemon, sandbox: Any) -> list[str]:
    """What was done about the entry, as the audit log has it."""
    return [
        str(event["action"])
        for event in running.events()
        if event["event_type"] == "SECURITY_VIOLATION"
        and event.get("sandbox_id") == sandbox["id"]
        and event["details"]["rule_id"] == "second-entry"
    ]


def answer(running: Daemon, sandbox: Any) -> str:
    return str(eventually(lambda: answers(running, sandbox))[0])


def gateway() -> str:
    """The host, as containers of the engine's own bridge see it."""
    first = "{{(index .IPAM.Config 0).Gateway}}"
    command = ["docker", "network", "inspect", "-f", first, "bridge"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


class Heard(socketserver.ThreadingTCPServer):
    """`last_s`: when it last had a byte of each address."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__((gateway(), 0), Listening)
        self.last_s: dict[str, float] = {}

    @property
    def place(self) -> str:
        """As arguments of nc."""
        return "{} {}".format(*self.server_address)

    def has(self, address: str, after_s: float = 0.0) -> bool:
        return self.last_s.get(address, -1.0) > after_s

    def hears(self, address: str) -> bool:
        """Still, once what was on its way has come."""
        time.sleep(0.5)
        after_s, end_s = time.monotonic(), time.monotonic() + SILENCE_S
        while not self.has(address, after_s) and time.monotonic() < end_s:
            time.sleep(0.05)
        return self.has(address, after_s)


class Listening(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, Heard)
        while self.request.recv(64):
            self.server.last_s[self.client_address[0]] = time.monotonic()


@pytest.fixture
def heard() -> Iterator[Heard]:
    with Heard() as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def responding(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("responding")
    with daemon(folder, profiles(folder)) as started:
        yield started


def inspected(container: str, what: str) -> str:
    """Empty for one that is gone."""
    command = ["docker", "inspect", "-f", what, container]
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout.strip()


def talking(running: Daemon, image: str, heard: Heard, profile: str) -> tuple[Any, str]:
    """A sandbox that holds a connection and says something ten times a second; and its address."""
    script = f"while echo here; do sleep 0.1; done | nc {heard.place}"
    sandbox = running.launch(image, "sh", "-c", script, profile=profile, **NETWORKED)
    address = inspected(sandbox["container_id"], "{{.NetworkSettings.IPAddress}}")
    eventually(lambda: heard.has(address))
    return sandbox, address


def test_a_quarantine_ends_the_connection_that_stands_and_no_neighbours(
    responding: Daemon, image: str, heard: Heard
) -> None:
    (held, address), (free, other) = (talking(responding, image, heard, "quarantine") for _ in range(2))
    enter(held["container_id"])
    assert answer(responding, held) == "quarantine"
    assert (heard.hears(address), heard.hears(other)) == (False, True)
    assert responding.request("GET", f"/v1/sandboxes/{held['id']}").json()["state"] == "running"
    for sandbox in (held, free):
        responding.request("DELETE", f"/v1/sandboxes/{sandbox['id']}")


def test_without_ebpf_it_is_cut_off_as_well(tmp_path: Path, image: str, heard: Heard) -> None:
    with daemon(tmp_path, profiles(tmp_path), without_bpf=True) as running:
        held, address = talking(running, image, heard, "quarantine")
        assert running.request("GET", "/v1/findings").json()["items"] == []
        enter(held["container_id"])
        assert answer(running, held) == "quarantine"
        assert not heard.hears(address)
        running.request("DELETE", f"/v1/sandboxes/{held['id']}")


def test_what_is_quarantined_cannot_begin_anew_either(responding: Daemon, image: str, heard: Heard) -> None:
    script = f"until [ -e go ]; do sleep 0.1; done; nc -w 3 {heard.place} </dev/null"
    sandbox = responding.launch(image, "sh", "-c", script, profile="quarantine", **NETWORKED)
    enter(sandbox["container_id"])
    assert answer(responding, sandbox) == "quarantine"
    responding.request("PUT", f"/v1/sandboxes/{sandbox['id']}/files/go", b"")
    result = responding.request("GET", f"/v1/sandboxes/{sandbox['id']}/result").json()
    assert (result["exit_code"], "not permitted" in result["stderr"]) == (1, True)


def test_one_without_a_network_is_quarantined_as_it_is(responding: Daemon, image: str) -> None:
    sandbox = responding.launch(image, "sleep", "60", profile="quarantine")
    enter(sandbox["container_id"])
    assert answer(responding, sandbox) == "quarantine"
    responding.request("DELETE", f"/v1/sandboxes/{sandbox['id']}")


def test_a_pause_holds_it_until_somebody_lets_it_go_on(responding: Daemon, image: str) -> None:
    sandbox = responding.launch(image, "sleep", "60", profile="pause")
    enter(sandbox["container_id"])
    assert answer(responding, sandbox) == "pause"
    path = f"/v1/sandboxes/{sandbox['id']}"
    assert responding.request("GET", path).json()["state"] == "paused"
    assert responding.request("POST", f"{path}/resume").json()["state"] == "running"
    responding.request("DELETE", path)


def test_who_was_let_go_on_and_does_it_again_is_held_again(responding: Daemon, image: str) -> None:
    sandbox = responding.launch(image, "sleep", "60", profile="pause")
    path = f"/v1/sandboxes/{sandbox['id']}"
    for number in range(1, 4):
        enter(sandbox["container_id"])
        eventually(lambda: responding.request("GET", path).json()["state"] == "paused")
        eventually(lambda number=number: len(answers(responding, sandbox)) == number)
        responding.request("POST", f"{path}/resume")
    assert answers(responding, sandbox) == ["pause"] * 3
    responding.request("DELETE", path)


def test_a_kill_says_why(responding: Daemon, image: str) -> None:
    sandbox = responding.launch(image, "sleep", "60", profile="kill")
    enter(sandbox["container_id"])
    result = responding.request("GET", f"/v1/sandboxes/{sandbox['id']}/result").json()
    assert answer(responding, sandbox) == "kill"
    assert result["exit_code"] == 137
    assert result["message"].startswith("container killed: security violation: Another program")


def test_a_container_of_somebody_else_that_is_started_again_is_killed_again(
    tmp_path: Path, image: str
) -> None:
    options = ["--cap-add=SYS_ADMIN", "--security-opt=seccomp=unconfined"]
    offence = ["sh", "-c", "mkdir -p /mnt; sleep 0.5; mount -t proc own /mnt; sleep 60"]
    create = ["docker", "create", *options, image, *offence]
    container = subprocess.run(create, check=True, capture_output=True, text=True).stdout.strip()
    try:
        with daemon(tmp_path, 'watch = "all"\nunmanaged_response = "kill"\n'):
            for _ in range(2):
                subprocess.run(["docker", "start", container], check=True, capture_output=True)
                eventually(lambda: inspected(container, "{{.State.Status}}") == "exited")
                assert inspected(container, "{{.State.ExitCode}}") == "137"
    finally:
        subprocess.run(["docker", "rm", "-f", container], check=True, capture_output=True)


def test_one_that_cannot_be_held_is_killed(tmp_path: Path, image: str) -> None:
    with engine_proxy(tmp_path) as proxy:
        config = f'engine_socket = "{proxy.path}"\n{profiles(tmp_path)}'
        with daemon(tmp_path, config) as running:
            sandbox = running.launch(image, "sleep", "60", profile="pause")
            _cut_at(proxy, b"/pause")
            enter(sandbox["container_id"])
            assert answer(running, sandbox).startswith("kill: pause failed: ")
            proxy.on_request = lambda _: None
            proxy.mend()
            result = running.request("GET", f"/v1/sandboxes/{sandbox['id']}/result").json()
    assert (result["exit_code"], result["message"][:31]) == (137, "container killed: pause failed:")


@pytest.fixture
def unmanaged(image: str, heard: Heard) -> Iterator[tuple[str, str]]:
    """A container of somebody else that talks, and mounts the host's kernel settings when it is told to."""
    talk = f"while echo here; do sleep 0.1; done | nc {heard.place} &"
    script = f"{talk} until [ -e /go ]; do sleep 0.1; done; mount -t proc own /mnt; sleep 60"
    options = ["--rm", "-d", "--cap-add=SYS_ADMIN", "--security-opt=seccomp=unconfined"]
    run = ["docker", "run", *options, image, "sh", "-c", f"mkdir /mnt; {script}"]
    container = subprocess.run(run, check=True, capture_output=True, text=True).stdout.strip()
    try:
        yield container, inspected(container, "{{.NetworkSettings.IPAddress}}")
    finally:
        subprocess.run(["docker", "rm", "-f", container], check=False, capture_output=True)


@pytest.mark.parametrize(
    ("action", "status", "is_cut"),
    [
        ("alert", "running", False),
        ("quarantine", "running", True),
        ("pause", "paused", True),
        ("kill", "", True),
    ],
)
def test_a_container_of_somebody_else_is_answered_by_the_setting(
    tmp_path: Path, unmanaged: tuple[str, str], heard: Heard, action: str, status: str, is_cut: bool
) -> None:
    container, address = unmanaged
    with daemon(tmp_path, f'watch = "all"\nunmanaged_response = "{action}"\n') as running:
        eventually(lambda: heard.has(address))
        subprocess.run(["docker", "exec", container, "touch", "/go"], check=True)
        path = f"/v1/findings?container={container}&severity=critical"
        (found, *_) = eventually(lambda: running.request("GET", path).json()["items"])
        eventually(lambda: inspected(container, "{{.State.Status}}") == status)
        assert found["rule_id"] == "kernel-filesystem-mount"
        assert (not heard.hears(address)) is is_cut


def test_one_that_the_engine_is_slow_with_holds_up_no_other(tmp_path: Path, image: str) -> None:
    go_on = Event()
    with (
        engine_proxy(tmp_path) as proxy,
        daemon(tmp_path, f'engine_socket = "{proxy.path}"\n{profiles(tmp_path)}') as running,
    ):
        slow, other = (running.launch(image, "sleep", "60", profile=name) for name in ("pause", "quarantine"))
        proxy.on_request = lambda request: b"/pause" not in request or go_on.wait(DEADLINE_S)
        enter(slow["container_id"])
        enter(other["container_id"])
        assert answer(running, other) == "quarantine"
        assert answers(running, slow) == []
        go_on.set()
        assert answer(running, slow) == "pause"
        for sandbox in (slow, other):
            running.request("DELETE", f"/v1/sandboxes/{sandbox['id']}")


def _cut_at(proxy: EngineProxy, path: bytes) -> None:
    def cut(request: bytes) -> None:
        if path in request:
            proxy.cut()

    proxy.on_request = cut
