"""The unit's sandboxing does not blind the daemon: what reaches into a sandbox works under it."""

from __future__ import annotations

import errno
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import Daemon
from tests.vm.guest.sandboxes import ask, launch
from tests.vm.guest.unit import SERVICE, await_that, command, main_pid, shown, systemctl

LARGE_BYTES = 3 << 20  # more than the daemon keeps in memory of a body: it goes through the disk


def tar(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size, member.mode = len(content), 0o640
        archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def test_files_given_are_the_user_s(kit: Daemon, image: str) -> None:
    script = 'cat in/a; stat -c "%u:%g %a" in/a in'
    result = kit.run(image, "sh", "-c", script, files={"in/a": {"content": "given\n", "mode": 0o600}})
    assert result["stdout"] == "given\n1000:1000 600\n1000:1000 755\n"


def test_files_go_in_and_out_while_it_runs_and_after(kit: Daemon, image: str) -> None:
    script = "until [ -e go ]; do sleep 0.2; done; wc -c <tree/large; mkdir d; cp tree/large d/copy"
    sandbox = launch(kit, image, "sh", "-c", script)
    path = f"/v1/sandboxes/{sandbox['id']}/files"
    large = bytes(range(256)) * (LARGE_BYTES // 256)
    assert kit.request("PUT", f"{path}/tree?tar=true", tar("large", large)).status == 204
    assert kit.request("GET", f"{path}/tree/large").body == large
    assert kit.request("PUT", f"{path}/go", b"").status == 204
    assert ask(kit, "GET", sandbox, "/result")["stdout"] == f"{LARGE_BYTES}\n"
    assert kit.request("GET", f"{path}/d/copy").body == large
    with tarfile.open(fileobj=io.BytesIO(kit.request("GET", f"{path}/tree?tar=true").body)) as archive:
        assert [member.size for member in archive] == [LARGE_BYTES]
    ask(kit, "DELETE", sandbox)


def test_usage_is_counted(kit: Daemon, image: str) -> None:
    script = "head -c 20000000 /dev/zero >/tmp/fill; sleep 300 & sleep 300 & wait"
    sandbox = launch(kit, image, "sh", "-c", script, limits={"memory": "64m"})
    await_that(lambda: ask(kit, "GET", sandbox, "/usage")["pids"] == 4)
    usage = ask(kit, "GET", sandbox, "/usage")
    assert usage["cpu_ns"] > 0
    assert 20_000_000 < usage["memory_bytes"] <= usage["memory_peak_bytes"] < 64 << 20
    assert usage["pids_peak"] >= 4
    assert (usage["network_received_bytes"], usage["oom_kills"], usage["pids_refused"]) == (0, 0, 0)
    ask(kit, "DELETE", sandbox)


def test_a_pause_holds_and_a_second_program_runs(kit: Daemon, image: str) -> None:
    sandbox = launch(kit, image, "sleep", "300")
    assert ask(kit, "POST", sandbox, "/pause")["state"] == "paused"
    assert ask(kit, "POST", sandbox, "/resume")["state"] == "running"
    body = {"command": ["sh", "-c", "cat /proc/self/attr/current; exit 4"]}
    lines = kit.request("POST", f"/v1/sandboxes/{sandbox['id']}/exec", body).lines()
    assert "container-kit-sandbox (enforce)" in lines[0]["data"]
    assert lines[-1] == {"exit_code": 4}
    ask(kit, "DELETE", sandbox)


@pytest.mark.parametrize("source", ["/var/run/docker.sock", "/tmp/to-the-engine", "/root/to-the-engine"])
def test_a_link_to_the_engine_s_socket_is_seen(kit: Daemon, image: str, source: str) -> None:
    """In folders that a hardened unit usually has of its own or cannot see."""
    if "to-the-engine" in source:
        command("ln", "--symbolic", "--force", "/run/docker.sock", source)
    mounts = [{"source": source, "target": "/mnt/s"}]
    problem = kit.run(image, "true", mounts=mounts)
    assert problem["status"] == 403, problem
    assert any("dangerous mount" in reason for reason in problem["reasons"]), problem["reasons"]


@pytest.fixture
def unforgiving() -> Iterator[None]:
    """A call that the unit denies kills the daemon, instead of failing where nobody may notice."""
    drop_in = Path(f"/run/systemd/system/{SERVICE}.d/kill.conf")
    drop_in.parent.mkdir()
    drop_in.write_text("[Service]\nSystemCallErrorNumber=kill\n")
    systemctl("daemon-reload")
    systemctl("restart", SERVICE)
    yield
    drop_in.unlink()
    drop_in.parent.rmdir()
    systemctl("daemon-reload")
    systemctl("restart", SERVICE)


@pytest.mark.usefixtures("unforgiving")
def test_it_makes_no_call_that_its_unit_denies(kit: Daemon, image: str) -> None:
    before = main_pid()
    sandbox = launch(kit, image, "sleep", "300", files={"a": "b"})
    body = tar("large", bytes(LARGE_BYTES))
    assert kit.request("PUT", f"/v1/sandboxes/{sandbox['id']}/files/d?tar=true", body).status == 204
    for what in ("/usage", "/report"):
        ask(kit, "GET", sandbox, what)
    for order in ("/pause", "/resume", "/kill"):
        ask(kit, "POST", sandbox, order)
    assert ask(kit, "GET", sandbox, "/result")["exit_code"] == 137
    ask(kit, "DELETE", sandbox)
    for path in ("/v1/profiles", "/v1/doctor", "/readyz", "/metrics", "/openapi.json"):
        assert kit.request("GET", path).status == 200
    assert main_pid() == before
    assert shown("SystemCallErrorNumber") != str(errno.EPERM)


def test_it_never_stumbled(kit: Daemon) -> None:
    """Denied calls show up as errors of Python or as warnings of the daemon. Since its start: other tests
    let it start in ways that it must refuse.
    """
    kit.request("GET", "/healthz")
    started = f"_SYSTEMD_INVOCATION_ID={shown('InvocationID')}"
    log = command("journalctl", "--no-pager", "--output=cat", "--unit", SERVICE, started)
    assert "listening" in log
    assert [line for line in log.splitlines() if "Traceback" in line or "not permitted" in line] == []
