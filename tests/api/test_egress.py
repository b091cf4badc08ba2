"""A profile's list of destinations, with real sandboxes: by network and port, by name, and nothing else.

The servers are on addresses that a bridge of the test has for as long as it lives: public by their number,
and not reachable from anywhere else.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from daemon import PROFILES
from tests.name_server import NameServer, name_server
from tests.running import Daemon, daemon

pytestmark = [pytest.mark.root, pytest.mark.docker, pytest.mark.bpf]

SITE, OTHER_SITE, INNER = "45.84.107.9", "45.84.107.10", "10.83.77.7"
NETWORK = f"container-kit-test-{os.getpid()}"
SUBNET, GATEWAY = "10.83.77.0/24", "10.83.77.1"
LIST = f"""
[egress]
value = [
    {{ name = "good.test", ports = [8080] }},
    {{ name = "*.wild.test", ports = [8080] }},
    {{ network = "{GATEWAY}/32", ports = ["8080-8081"] }},
]
why = "what the tests need, and no more"
"""
ZONE: dict[str, list[str] | str] = {
    "good.test": [SITE],
    "a.wild.test": "chain.elsewhere.test",
    "chain.elsewhere.test": [SITE],
    "rebound.wild.test": [INNER, "127.0.0.1", "169.254.169.254"],
    "bad.test": [OTHER_SITE],
}
FETCH = r"""
fetch() {  # by name: the C library of a static busybox cannot look one up, its nslookup can
    address=$(nslookup -type=a $1 2>/dev/null | sed -n 's/^Address: *\([0-9.]*\)$/\1/p' | tail -n 1)
    [ "$address" ] && get $address 8080 || echo no
}
get() {
    printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 5 $1 $2 | grep hello || echo no
}
"""


class Hello(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello\n")

    def log_message(self, *_: Any) -> None:
        return


@pytest.fixture(scope="module")
def network() -> Iterator[str]:
    bridge = f"ckt{os.getpid()}"[:15]
    create = ["docker", "network", "create", f"--subnet={SUBNET}", f"--gateway={GATEWAY}"]
    named = ["-o", f"com.docker.network.bridge.name={bridge}", NETWORK]
    subprocess.run([*create, *named], check=True, capture_output=True)
    try:
        for address in (SITE, OTHER_SITE, INNER):
            subprocess.run(["ip", "addr", "add", f"{address}/32", "dev", bridge], check=True)
        yield NETWORK
    finally:
        subprocess.run(["docker", "network", "rm", NETWORK], check=True, capture_output=True)


@pytest.fixture(scope="module")
def server(network: str) -> Iterator[None]:
    del network
    with ThreadingHTTPServer(("0.0.0.0", 8080), Hello) as listening:
        thread = Thread(target=listening.serve_forever)
        thread.start()
        try:
            yield
        finally:
            listening.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def upstream() -> Iterator[NameServer]:
    with name_server(ZONE) as started:
        yield started


@dataclass
class Confined:
    daemon: Daemon
    image: str

    def run(self, script: str, **policy: Any) -> Any:
        return self.daemon.run(self.image, "sh", "-c", FETCH + script, **self.options(**policy))

    def launch(self, script: str, **policy: Any) -> Any:
        return self.daemon.launch(self.image, "sh", "-c", FETCH + script, **self.options(**policy))

    @staticmethod
    def options(**policy: Any) -> dict[str, Any]:
        return {
            "profile": "network",
            "require_networking": True,
            "security_policy": {"allow_networking": True, **policy},
        }

    def findings(self, sandbox_id: str) -> dict[str, Any]:
        items = self.daemon.request("GET", f"/v1/findings?sandbox={sandbox_id}").json()["items"]
        return {item["rule_id"]: item for item in items}


def settings(folder: Path, upstream: NameServer) -> str:
    """A profile of the same name replaces the program's own."""
    profiles = folder / "profiles"
    profiles.mkdir(exist_ok=True)
    text = (PROFILES / "network.toml").read_text()
    before, _, rest = text.partition("[egress]")
    text = before + LIST + "\n[" + rest.partition("\n[")[2]
    text = text.replace('value = "bridge"', f'value = "{NETWORK}"')
    (profiles / "network.toml").write_text(text)
    return f'profile_dirs = ["{PROFILES}", "{profiles}"]\ndns_servers = ["{upstream.address}"]\n'


# Those with a daemon of their own come first: a network's gateway has one port 53.


def test_the_next_daemon_confines_what_it_adopts(
    tmp_path: Path, server: None, upstream: NameServer, image: str
) -> None:
    script = f"while [ ! -e go ]; do sleep 0.1; done; get {OTHER_SITE} 8080; get {GATEWAY} 8080"
    config = settings(tmp_path, upstream)
    with daemon(tmp_path, config, end=signal.SIGKILL) as first:
        sandbox = Confined(first, image).launch(script)
        assert sandbox["state"] == "running", sandbox
    with daemon(tmp_path, config) as second:
        path = f"/v1/sandboxes/{sandbox['id']}"
        second.request("PUT", f"{path}/files/go", b"")
        deadline_s = time.monotonic() + 30
        while second.request("GET", path).json()["state"] != "ended" and time.monotonic() < deadline_s:
            time.sleep(0.1)
        assert "egress-outside-policy" in Confined(second, image).findings(sandbox["id"])


def test_where_nothing_can_enforce_it_no_sandbox_starts(
    tmp_path: Path, server: None, upstream: NameServer, image: str
) -> None:
    config = settings(tmp_path, upstream)
    with daemon(tmp_path, config, without_bpf=True) as blind:
        refused = Confined(blind, image).run("true")
        assert refused["type"] == "/problems/confinement-unavailable", refused
        assert "cannot be enforced" in refused["detail"]
        assert blind.containers() == 0


@pytest.fixture(scope="module")
def confined(
    tmp_path_factory: pytest.TempPathFactory, server: None, upstream: NameServer, image: str
) -> Iterator[Confined]:
    folder = tmp_path_factory.mktemp("egress")
    with daemon(folder, settings(folder, upstream)) as started:
        yield Confined(started, image)


def test_by_name_at_the_first_try_and_through_a_chain_of_names(confined: Confined) -> None:
    done = confined.run("fetch good.test; fetch a.wild.test")
    assert (done["stdout"], done["stderr"]) == ("hello\nhello\n", "")
    assert done["findings"] == []


def test_an_address_without_its_name_and_another_port_are_denied(confined: Confined) -> None:
    script = f"get {SITE} 8080; nslookup good.test >/dev/null; get {SITE} 8081"
    done = confined.run(script)
    assert done["stdout"] == "no\nno\n"
    assert done["stderr"].count("not permitted") == 2
    assert "egress-outside-policy" in {found["rule_id"] for found in done["findings"]}


def test_other_names_are_refused_and_told(confined: Confined, upstream: NameServer) -> None:
    done = confined.run("fetch bad.test; nslookup good.test 127.0.0.1 || true")
    assert done["stdout"].startswith("no\n")
    assert "egress-name-refused" in {found["rule_id"] for found in done["findings"]}
    assert "bad.test" not in upstream.asked


def test_a_name_cannot_be_turned_against_the_inside(confined: Confined) -> None:
    script = f"fetch rebound.wild.test; get {INNER} 8080"
    done = confined.run(script)
    assert done["stdout"] == "no\nno\n"
    refused = next(found for found in done["findings"] if found["rule_id"] == "egress-name-refused")
    assert "not public" in refused["evidence"]["reason"]


def test_by_network_and_port(confined: Confined) -> None:
    done = confined.run(f"get {GATEWAY} 8080; get {GATEWAY} 9090")
    assert done["stdout"] == "hello\nno\n"


def test_two_hundred_of_two_hundred_are_denied_and_the_neighbour_is_not(confined: Confined) -> None:
    neighbour = confined.launch("sleep 1; for i in 1 2 3 4 5; do fetch good.test; done")
    once = f"nc -w 1 {OTHER_SITE} 8080 </dev/null && echo through"
    loop = f"i=0; while [ $i -lt 200 ]; do {once}; i=$((i+1)); done"
    done = confined.run(loop)
    assert (done["exit_code"], "through" in done["stdout"]) == (0, False)
    told = [found for found in done["findings"] if found["rule_id"] == "egress-outside-policy"]
    assert sum(found["count"] for found in told) >= 200
    logs = confined.daemon.request("GET", f"/v1/sandboxes/{neighbour['id']}/logs?follow=true").lines()
    assert "".join(line.get("data", "") for line in logs) == "hello\n" * 5


def test_a_request_can_narrow_and_cannot_widen(confined: Confined) -> None:
    narrowed = confined.run("fetch good.test", egress=[])
    assert narrowed["stdout"] == "no\n"
    for rule in ({"name": "bad.test"}, {"network": "0.0.0.0/0"}, {"name": "good.test", "ports": [22]}):
        refused = confined.run("true", egress=[rule])
        assert refused["type"] == "/problems/execution-blocked"
        assert "egress outside the profile" in refused["detail"]
