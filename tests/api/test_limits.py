"""A limit that is hit is an audit event and a finding, also by a sandbox that has rested for long."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import Any

import docker
import pytest

from daemon.sandbox.cgroup import Cgroup
from daemon.sandbox.engine import LABEL
from tests.running import Daemon
from tests.sensors.test_limits import FORKS

pytestmark = [pytest.mark.root, pytest.mark.docker]

REST_S = 12
"""The shared counter is read each eight seconds by then."""
DEADLINE_S = 30.0


def reported(running: Daemon, sandbox_id: str) -> list[str]:
    events = [e for e in running.events() if e.get("sandbox_id") == sandbox_id]
    return [e["details"]["kind"] for e in events if e["event_type"] == "RESOURCE_LIMIT_EXCEEDED"]


def rules(result: Any) -> set[str]:
    return {found["rule_id"] for found in result["findings"]}


def test_of_a_short_run_the_last_sample_tells(running: Daemon, image: str) -> None:
    result = running.run(image, "sh", "-c", f"({FORKS}); sleep 0.2; exit 3", limits={"pids": 20})
    assert reported(running, result["sandbox_id"]) == ["pids"]
    assert "process-limit" in rules(result)


def test_so_it_is_of_a_full_workspace(running: Daemon, image: str) -> None:
    fill = "dd if=/dev/zero of=big bs=1k count=2000"
    result = running.run(image, "sh", "-c", fill, limits={"workspace_size": "1m"})
    assert reported(running, result["sandbox_id"]) == ["workspace"]
    assert "storage-limit" in rules(result)


def test_after_a_long_rest_it_is_told_while_it_runs(running: Daemon, image: str) -> None:
    script = f"sleep {REST_S}; ({FORKS}); exec sleep 600"
    launched = running.launch(image, "sh", "-c", script, limits={"pids": 20})
    try:
        deadline_s = time.monotonic() + REST_S + DEADLINE_S
        while not reported(running, launched["id"]):
            assert time.monotonic() < deadline_s
            time.sleep(0.2)
    finally:
        running.request("DELETE", f"/v1/sandboxes/{launched['id']}")


def test_sandboxes_share_a_counter_that_moves_when_one_of_them_runs(running: Daemon, image: str) -> None:
    launched = [running.launch(image, "sleep", "600") for _ in range(2)]
    try:
        for one in launched:  # past the engine's start
            running.request("POST", f"/v1/sandboxes/{one['id']}/exec", {"command": ["true"]})
        (file,) = {shared_cpu_time(one["id"]) for one in launched}
        before = file.read_bytes()
        running.request("POST", f"/v1/sandboxes/{launched[1]['id']}/exec", {"command": ["true"]})
        assert file.read_bytes() != before
    finally:
        for one in launched:
            running.request("DELETE", f"/v1/sandboxes/{one['id']}")


def shared_cpu_time(sandbox_id: str) -> Path:
    with closing(docker.APIClient(base_url="unix:///run/docker.sock", version="1.41")) as client:
        (container,) = client.containers(filters={"label": f"{LABEL}={sandbox_id}"})
        pid = client.inspect_container(container["Id"])["State"]["Pid"]
    with Cgroup.of_pid(pid) as cgroup:
        return cgroup.shared_cpu_time
