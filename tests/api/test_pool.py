"""Spares, by the settings or by what is launched: what a launch that takes one has of any other."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine_proxy import engine_proxy
from tests.running import Daemon, daemon

pytestmark = [pytest.mark.root, pytest.mark.docker]

COUNT = 2
DEADLINE_S = 30.0


def settings(image: str) -> str:
    return f'[[spares]]\nimage = "{image}"\nprofile = "default"\ncount = {COUNT}\n'


def await_true(question: Callable[[], bool]) -> None:
    end_s = time.monotonic() + DEADLINE_S
    while not question():
        assert time.monotonic() < end_s
        time.sleep(0.05)


def full(running: Daemon) -> None:
    await_true(lambda: running.request("GET", "/healthz").json()["spares"] == COUNT)


@pytest.fixture(scope="module")
def pooled(tmp_path_factory: pytest.TempPathFactory, image: str) -> Iterator[Daemon]:
    with daemon(tmp_path_factory.mktemp("pooled"), settings(image)) as running:
        yield running


@pytest.fixture
def ready(pooled: Daemon) -> Daemon:
    full(pooled)
    return pooled


def launched(running: Daemon, image: str, *command: str, **options: Any) -> tuple[Any, Any]:
    """Its result, and the details of its EXECUTION_STARTED."""
    body = {"image": image, "command": list(command), "profile": "default", **options}
    answer = running.request("POST", "/v1/sandboxes?wait=true", body)
    assert answer.status == 201, answer.body
    result = answer.json()
    mine = (e for e in running.events() if e.get("sandbox_id") == result["sandbox_id"])
    return result, next(e["details"] for e in mine if e["event_type"] == "EXECUTION_STARTED")


def test_a_launch_becomes_one_and_another_is_made(ready: Daemon, image: str) -> None:
    result, started = launched(
        ready,
        image,
        "sh",
        "-c",
        "cat; echo $A $0; pwd; id -u; exit 7",
        "a b\n c",
        env={"A": "1 2"},
        stdin="typed\n",
        session_id="one-session",
    )
    assert started["spare"] is True
    assert started["command"][3] == "a b\n c"
    assert (result["stdout"], result["exit_code"]) == ("typed\n1 2 a b c\n/workspace\n1000\n", 7)
    assert result["session_id"] == "one-session"
    assert {"attest", "run", "validate"} <= set(result["durations_ms"])
    full(ready)


def test_its_variables_are_those_of_any_launch(ready: Daemon, image: str) -> None:
    by_spare, started = launched(ready, image, "env", env={"B": "x=y", "PATH": "/bin"})
    anew, not_started = launched(ready, image, "env", env={"B": "x=y", "PATH": "/bin"}, labels={"a": "b"})
    assert (started.get("spare"), not_started.get("spare")) == (True, None)
    assert sorted(by_spare["stdout"].split()) == sorted(anew["stdout"].split())


def test_files_are_written_before_it_runs(ready: Daemon, image: str) -> None:
    result, started = launched(ready, image, "cat", "given", files={"given": "there"})
    assert (started["spare"], result["stdout"]) == (True, "there")


@pytest.mark.parametrize(
    "options",
    [
        {"limits": {"memory": "64m"}},
        {"profile": "strict"},
        {"user": 1001},
        {"labels": {"team": "a"}},
        {"env": {"LONG": "x" * 4096}},
    ],
)
def test_what_none_of_them_is_is_launched_anew(ready: Daemon, image: str, options: dict[str, Any]) -> None:
    result, started = launched(ready, image, "echo", "hi", **options)
    assert (started.get("spare"), result["stdout"]) == (None, "hi\n")


def test_one_that_has_died_is_nobodys(ready: Daemon, image: str) -> None:
    for container in ready.container_ids():
        subprocess.run(["docker", "kill", container], check=True, capture_output=True)
    result, started = launched(ready, image, "echo", "hi")
    assert (started.get("spare"), result["stdout"]) == (None, "hi\n")


def test_what_it_does_is_found_under_its_own_name(tmp_path: Path, image: str) -> None:
    with daemon(tmp_path, settings(image)) as running:
        full(running)
        result, started = launched(
            running, image, "sh", "-c", "echo x >/proc/sys/kernel/core_pattern", session_id="mine"
        )
        assert started["spare"] is True
        found = [(f["rule_id"], f["sandbox_id"], f["session_id"]) for f in result["findings"]]
        assert ("core-pattern", result["sandbox_id"], "mine") in found


def test_none_is_left_and_none_is_told_of_as_a_launch(tmp_path: Path, image: str) -> None:
    with daemon(tmp_path, settings(image), end=signal.SIGKILL) as first:
        full(first)
        left = set(first.container_ids())
    with daemon(tmp_path, settings(image)) as second:
        full(second)
        assert not left & set(second.container_ids())
        kinds = {event["event_type"] for event in second.events()}
        assert not kinds & {"EXECUTION_STARTED", "EXECUTION_FAILED", "SECURITY_VIOLATION"}
    assert second.containers() == 0


def test_one_that_is_nearly_made_as_the_daemon_ends_goes_with_it(tmp_path: Path, image: str) -> None:
    """It is attested and wants only the engine's answer to its start."""
    started = threading.Event()
    with engine_proxy(tmp_path) as proxy:

        def hold_up(answer: bytes) -> None:
            if answer.startswith(b"HTTP/1.1 204"):
                proxy.on_answer = lambda _: None
                started.set()
                time.sleep(5)

        proxy.on_answer = hold_up
        with daemon(tmp_path, f'engine_socket = "{proxy.path}"\n{settings(image)}') as running:
            assert started.wait(DEADLINE_S)
            time.sleep(1)
            assert running.containers() == 1
    assert running.containers() == 0


def test_another_image_of_the_same_name_is_another(tmp_path: Path, image: str) -> None:
    name = f"{image}-retagged"
    subprocess.run(["docker", "tag", image, name], check=True)
    try:
        with daemon(tmp_path, settings(name)) as running:
            full(running)
            recipe = f'FROM {image}\nRUN ["/bin/touch", "/new"]\n'
            build = ["docker", "build", "--network=none", "-q", "-t", name, "-"]
            subprocess.run(build, input=recipe.encode(), check=True, capture_output=True)
            result, started = launched(running, name, "ls", "/new")
            assert (result["stdout"], started.get("spare")) == ("/new\n", None)
    finally:
        subprocess.run(["docker", "rmi", "-f", name], check=True, capture_output=True)


def test_limits_that_cannot_be_are_told_at_the_start(tmp_path: Path, image: str) -> None:
    wrong = settings(image) + 'limits = {memory = "much"}\n'
    with (
        pytest.raises(RuntimeError, match=r"ended with 78:(.|\n)*spares\.0\.limits\.memory"),
        daemon(tmp_path, wrong),
    ):
        pass


@pytest.mark.parametrize(
    "options",
    [
        {},
        {
            "profile": "strict",
            "user": 1001,
            "working_dir": "/tmp",
            "limits": {"memory": "64m", "timeout_s": 9},
            "args": ["x"],
        },
    ],
)
def test_what_is_launched_again_has_one(tmp_path: Path, image: str, options: dict[str, Any]) -> None:
    with daemon(tmp_path, spares_of_repeats=1) as running:
        _, first = launched(running, image, "echo", "1", **options)
        _, second = launched(running, image, "echo", "2", **options, env={"A": "1"})
        await_true(lambda: running.request("GET", "/healthz").json()["spares"] == 1)
        result, third = launched(running, image, "cat", "-", **options | {"args": []}, stdin="3")
        assert [details.get("spare") for details in (first, second, third)] == [None, None, True]
        assert result["stdout"] == "3"


def test_another_kind_that_is_launched_again_takes_its_place(tmp_path: Path, image: str) -> None:
    with daemon(tmp_path, spares_of_repeats=1) as running:

        def is_spare(memory: str) -> bool:
            return launched(running, image, "true", limits={"memory": memory})[1].get("spare") is True

        await_true(lambda: is_spare("64m"))
        await_true(lambda: is_spare("65m"))
        assert running.request("GET", "/healthz").json()["spares"] <= 1
        assert not is_spare("64m")
    assert running.containers() == 0
