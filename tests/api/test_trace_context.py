"""A caller's trace goes on in the sandbox's view and in every audit event about it."""

from __future__ import annotations

import pytest

from tests.running import Daemon

pytestmark = [pytest.mark.root, pytest.mark.docker]

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def launched(running: Daemon, image: str, header: str | None) -> tuple[str | None, set[str | None]]:
    """The trace id of the view, and those of all the sandbox's events."""
    body = {"image": image, "command": ["true"]}
    headers = {} if header is None else {"traceparent": header}
    sandbox = running.request("POST", "/v1/sandboxes", body, headers).json()
    running.request("GET", f"/v1/sandboxes/{sandbox['id']}/result")
    events = [event for event in running.events() if event.get("sandbox_id") == sandbox["id"]]
    assert [event["event_type"] for event in events] == ["EXECUTION_STARTED", "EXECUTION_FINISHED"]
    return sandbox["trace_id"], {event.get("trace_id") for event in events}


@pytest.mark.parametrize(
    "header", [f"00-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-00", f"cc-{TRACE}-{PARENT}-01-what"]
)
def test_a_trace_is_carried_on(running: Daemon, image: str, header: str) -> None:
    assert launched(running, image, header) == (TRACE, {TRACE})


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        f"00-{TRACE}-{PARENT}",
        f"00-{TRACE}-{PARENT}-01-more",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01-{'x' * 4000}",
    ],
)
def test_what_is_no_trace_is_ignored(running: Daemon, image: str, header: str | None) -> None:
    assert launched(running, image, header) == (None, {None})


def test_a_blocked_launch_has_its_trace_too(running: Daemon, image: str) -> None:
    body = {"image": image, "command": ["true"], "privileged": True}
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
    assert running.request("POST", "/v1/sandboxes", body, headers).status == 403
    event = running.events()[-1]
    assert (event["event_type"], event["trace_id"]) == ("EXECUTION_BLOCKED", TRACE)
