"""Who may run how much, and with which profile: real processes of other users, each rule of the table."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.running import Daemon, daemon, open_folder

pytestmark = [pytest.mark.root, pytest.mark.docker]

ADMINISTRATOR, RUNNING, RATE, MEMORY, CPUS, MEMBER, NOBODY = range(4701, 4708)
GROUP = 4750
RULES = f"""
[[callers]]
users = [0, {ADMINISTRATOR}]
profiles = ["*"]
administrator = true

[[callers]]
users = [{RUNNING}]
profiles = ["strict"]
quota = {{ running = 2, launches_per_minute = 100, memory = "1g", cpus = 10 }}

[[callers]]
users = [{RATE}]
profiles = ["strict"]
quota = {{ running = 10, launches_per_minute = 3, memory = "1g", cpus = 10 }}

[[callers]]
users = [{MEMORY}]
profiles = ["strict"]
quota = {{ running = 10, launches_per_minute = 100, memory = "100m", cpus = 10 }}

[[callers]]
users = [{CPUS}]
profiles = ["strict"]
quota = {{ running = 10, launches_per_minute = 100, memory = "1g", cpus = 0.5 }}

[[callers]]
groups = [{GROUP}]
profiles = ["default"]
"""


@pytest.fixture(scope="module")
def shared() -> Iterator[Daemon]:
    with open_folder() as folder, daemon(folder, RULES) as started:
        yield started


def launch(
    shared: Daemon, uid: int, image: str, *, groups: tuple[int, ...] = (), **options: object
) -> tuple[int, str]:
    """Status, and the id or the problem's type and detail; it sleeps in 40 MiB and 0.2 CPUs."""
    limits = {"memory": "40m", "cpus": 0.2, "timeout_s": "60s"}
    body = {"image": image, "command": ["sleep", "50"], "profile": "strict", "limits": limits, **options}
    answer = shared.request_as(uid, "POST", "/v1/sandboxes", body, groups=groups)
    content = answer.json()
    return answer.status, content.get("id") or f"{content['type']} {content['detail']}"


def end(shared: Daemon, *ids: str) -> None:
    for sandbox_id in ids:
        assert shared.request("DELETE", f"/v1/sandboxes/{sandbox_id}").status == 204


def last_denial(shared: Daemon) -> tuple[int, str]:
    event = [e for e in shared.events() if e["event_type"] == "ACCESS_DENIED"][-1]
    return event["actor"]["uid"], event["details"]["reason"]


@pytest.mark.parametrize(
    ("uid", "quota"),
    [
        (RUNNING, "2 sandboxes may run at once"),
        (MEMORY, "100m of memory in all"),
        (CPUS, "0.5 CPUs in all"),
    ],
)
def test_a_quota_is_met_by_what_runs_and_freed_by_its_end(
    shared: Daemon, image: str, uid: int, quota: str
) -> None:
    (one, first), (two, second) = launch(shared, uid, image), launch(shared, uid, image)
    assert (one, two) == (201, 201), (first, second)
    status, text = launch(shared, uid, image)
    assert (status, text.split()[0]) == (429, "/problems/quota-exceeded")
    assert quota in text
    assert last_denial(shared) == (uid, text.partition(" ")[2])
    end(shared, first)
    status, third = launch(shared, uid, image)
    assert status == 201, third
    end(shared, second, third)


def test_one_launch_that_alone_is_too_much_is_refused(shared: Daemon, image: str) -> None:
    status, text = launch(shared, MEMORY, image, limits={"memory": "101m"})
    assert status == 429
    assert "100m of memory" in text


def test_the_rate_counts_launches_that_have_ended_and_says_when_to_return(shared: Daemon, image: str) -> None:
    body = {"image": image, "command": ["true"], "profile": "strict"}
    for _ in range(3):
        assert shared.request_as(RATE, "POST", "/v1/sandboxes?wait=true", body).status == 201
    refused = shared.request_as(RATE, "POST", "/v1/sandboxes", body)
    assert refused.status == 429
    assert "3 launches a minute" in refused.json()["detail"]
    assert 1 <= int(refused.headers["Retry-After"]) <= 61


def test_at_once_no_more_get_in_than_one_after_another(shared: Daemon, image: str) -> None:
    """While a launch is under way it counts."""
    with ThreadPoolExecutor(6) as clients:
        answers = list(clients.map(lambda _: launch(shared, RUNNING, image), range(6)))
    assert sorted(status for status, _ in answers) == [201, 201, 429, 429, 429, 429]
    end(shared, *(sandbox_id for status, sandbox_id in answers if status == 201))


def test_a_launch_that_fails_gives_its_share_back(shared: Daemon, image: str) -> None:
    for _ in range(3):
        assert launch(shared, RUNNING, "no-such-image:1")[0] == 422
        assert launch(shared, RUNNING, image, privileged=True)[0] == 403
    (status, first), (_, second) = launch(shared, RUNNING, image), launch(shared, RUNNING, image)
    assert status == 201
    end(shared, first, second)


def test_one_callers_quota_is_not_anothers(shared: Daemon, image: str) -> None:
    (_, first), (_, second) = launch(shared, RUNNING, image), launch(shared, RUNNING, image)
    assert launch(shared, RUNNING, image)[0] == 429
    status, third = launch(shared, CPUS, image)
    assert status == 201
    end(shared, first, second, third)


@pytest.mark.parametrize("profile", ["default", "build", "network", "no-such-profile"])
def test_a_profile_that_is_not_its_own_is_refused(shared: Daemon, image: str, profile: str) -> None:
    status, text = launch(shared, RUNNING, image, profile=profile)
    assert status == 403
    assert text == f"/problems/profile-not-permitted profile {profile!r} is not yours: strict are"
    assert last_denial(shared) == (RUNNING, text.partition(" ")[2])
    answer = shared.request_as(RUNNING, "POST", "/v1/validate", {"image": image, "profile": profile})
    assert answer.status == 403


def test_a_rule_for_a_group_counts_for_its_members_alone(shared: Daemon, image: str) -> None:
    status, sandbox_id = launch(shared, MEMBER, image, groups=(GROUP,), profile="default")
    assert status == 201
    end(shared, sandbox_id)
    assert launch(shared, MEMBER, image, profile="default")[1].startswith("/problems/caller-unknown")


def test_who_is_in_no_rule_can_do_nothing(shared: Daemon) -> None:
    for method, path in [("GET", "/v1/sandboxes"), ("GET", "/v1/profiles"), ("GET", "/v1/events")]:
        answer = shared.request_as(NOBODY, method, path)
        assert (answer.status, answer.json()["type"]) == (403, "/problems/caller-unknown")
    assert last_denial(shared)[0] == NOBODY


def test_an_administrator_reaches_what_is_others_and_that_is_recorded(shared: Daemon, image: str) -> None:
    _, sandbox_id = launch(shared, RUNNING, image)
    path = f"/v1/sandboxes/{sandbox_id}"
    assert shared.request_as(ADMINISTRATOR, "GET", path).json()["owner_uid"] == RUNNING
    assert shared.request_as(CPUS, "GET", path).status == 404
    assert last_denial(shared) == (CPUS, f"sandbox {sandbox_id!r} does not exist, or is not yours")
    assert shared.request_as(ADMINISTRATOR, "PUT", f"{path}/files/x", "data").status == 204
    assert shared.request_as(ADMINISTRATOR, "POST", f"{path}/kill").status == 200
    assert shared.request_as(ADMINISTRATOR, "GET", f"{path}/result").json()["killed"] is True
    accesses = [e for e in shared.events() if e["event_type"] == "SANDBOX_ACCESSED"]
    acts = [(e["actor"]["uid"], e["action"], e["details"]["owner_uid"]) for e in accesses]
    assert acts[-2:] == [(ADMINISTRATOR, "write files", RUNNING), (ADMINISTRATOR, "kill", RUNNING)]


def test_events_are_shown_to_their_actor_and_denials_to_administrators(shared: Daemon, image: str) -> None:
    _, sandbox_id = launch(shared, RUNNING, image)
    end(shared, sandbox_id)
    assert launch(shared, RUNNING, image, profile="build")[0] == 403
    own = shared.request_as(RUNNING, "GET", "/v1/events").body.decode()
    assert "EXECUTION_STARTED" in own
    assert "ACCESS_DENIED" not in own
    assert f'"uid":{MEMORY}' not in own
    every = shared.request_as(ADMINISTRATOR, "GET", "/v1/events").body.decode()
    assert "ACCESS_DENIED" in every
    assert f'"uid":{RUNNING}' in every
