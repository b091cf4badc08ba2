"""A request that is sent again under its key launches nothing more."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.conftest import OTHER_UID
from tests.running import Answer, Daemon

pytestmark = [pytest.mark.root, pytest.mark.docker]


def send(running: Daemon, key: str, image: str, wait: str = "false", **options: Any) -> Answer:
    body = {"image": image, "command": ["true"], **options}
    return running.request("POST", f"/v1/sandboxes?wait={wait}", body, {"Idempotency-Key": key})


def started(running: Daemon) -> int:
    return sum(event["event_type"] == "EXECUTION_STARTED" for event in running.events())


def test_sent_again_it_is_the_same_sandbox(running: Daemon, image: str) -> None:
    first, again = send(running, "again", image), send(running, "again", image)
    assert (first.status, again.status) == (201, 201)
    assert first.json()["id"] == again.json()["id"]
    assert first.headers["Location"] == again.headers["Location"]
    result = send(running, "again", image, wait="true").json()
    assert result["sandbox_id"] == first.json()["id"]


def test_sent_many_times_at_once_it_is_launched_once(running: Daemon, image: str) -> None:
    before = started(running)
    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(lambda _: send(running, "at-once", image), range(8)))
    assert {answer.status for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert started(running) == before + 1


def test_with_another_body_the_key_is_refused(running: Daemon, image: str) -> None:
    send(running, "body", image)
    refused = send(running, "body", image, command=["false"])
    assert (refused.status, refused.json()["type"]) == (409, "/problems/key-reused")


def test_two_keys_are_two_sandboxes(running: Daemon, image: str) -> None:
    assert send(running, "one", image).json()["id"] != send(running, "two", image).json()["id"]


def test_another_callers_key_of_the_same_name_is_another(running: Daemon, image: str) -> None:
    options = {"profile": "strict", "limits": {"memory": "64m"}}
    mine = send(running, "shared", image, **options).json()["id"]
    body = {"image": image, "command": ["true"], **options}
    theirs = running.request_as(
        OTHER_UID, "POST", "/v1/sandboxes?wait=true", body, headers={"Idempotency-Key": "shared"}
    )
    assert theirs.status == 201
    assert theirs.json()["sandbox_id"] != mine


def test_a_launch_that_failed_has_not_spent_its_key(running: Daemon, image: str) -> None:
    assert send(running, "failed", image, privileged=True).status == 403
    assert send(running, "failed", image).status == 201


def test_a_forgotten_sandbox_is_not_launched_anew(running: Daemon, image: str) -> None:
    sandbox = send(running, "forgotten", image).json()
    assert running.request("DELETE", f"/v1/sandboxes/{sandbox['id']}").status == 204
    before = started(running)
    refused = send(running, "forgotten", image)
    assert (refused.status, refused.json()["type"]) == (409, "/problems/key-reused")
    assert sandbox["id"] in refused.json()["detail"]
    assert started(running) == before


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "ü"])
def test_a_key_that_is_none_is_refused(running: Daemon, image: str, key: str) -> None:
    refused = send(running, key, image)
    assert (refused.status, refused.json()["type"]) == (400, "/problems/invalid-header")
