"""Launches of every sort, each in a trace of its own."""

from __future__ import annotations

from tests.running import Daemon

PARENT = "00f067aa0ba902b7"
FIRST, AGAIN, FAILED, CHATTY, HOSTILE, REFUSED = (digit * 32 for digit in "123456")


def launch_all(traced: Daemon, image: str) -> None:
    run(traced, image, FIRST, "true")
    run(traced, image, AGAIN, "true")
    run(traced, image, FAILED, "sh", "-c", "exit 3")
    run(traced, image, CHATTY, "sh", "-c", "head -c 200000 /dev/zero", limits={"output": "64k"})
    run(traced, image, HOSTILE, "unshare", "-r", "true")
    run(traced, image, REFUSED, "true", privileged=True)


def run(traced: Daemon, image: str, trace: str, *command: str, **options: object) -> None:
    headers = {"traceparent": f"00-{trace}-{PARENT}-00"}
    body = {"image": image, "command": list(command), **options}
    status = traced.request("POST", "/v1/sandboxes?wait=true", body, headers).status
    assert status == (403 if trace == REFUSED else 201)
