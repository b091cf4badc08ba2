"""Sandboxes as these tests launch and look at them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.running import Daemon
from tests.vm.guest.unit import command


def launch(kit: Daemon, image: str, *program: str, **options: Any) -> Any:
    """The SandboxView of one that runs."""
    answer = kit.request("POST", "/v1/sandboxes", {"image": image, "command": list(program), **options})
    assert answer.status == 201, answer.body
    return answer.json()


def ask(kit: Daemon, method: str, sandbox: Any, what: str = "") -> Any:
    answer = kit.request(method, f"/v1/sandboxes/{sandbox['id']}{what}")
    assert answer.status < 300, answer.body
    return answer.json() if answer.body else None


def proc(sandbox: Any) -> Path:
    """Of its first process."""
    pid = command("docker", "inspect", "--format", "{{.State.Pid}}", sandbox["container_id"])
    return Path("/proc") / pid.strip()


def details(kit: Daemon, sandbox_id: str, event_type: str) -> list[Any]:
    """Of every event of that type, oldest first."""
    events = [event for event in kit.events() if event.get("sandbox_id") == sandbox_id]
    return [event["details"] for event in events if event["event_type"] == event_type]
