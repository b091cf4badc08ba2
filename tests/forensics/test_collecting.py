"""What is collected of real sandboxes: while they run, and when the response has ended them."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from daemon import PROFILES
from daemon.cli import main
from daemon.forensics.changes import CHANGES, of_root
from daemon.forensics.evidence import Evidence, FileChange
from tests.conftest import OTHER_UID
from tests.running import Daemon, daemon

pytestmark = [pytest.mark.root, pytest.mark.docker, pytest.mark.bpf]

DEADLINE_S = 40.0
ATTACK = "echo x 2>/dev/null >/proc/sys/kernel/core_pattern"
HOSTILE = r"""
mkdir deep many; : >deep/leaf; : >"$(printf 'a\033[2Jb\nc\377')"; ln -s /etc/shadow link
i=0; while [ $i -lt 1200 ]; do : >many/$i; i=$((i+1)); done
"""


def evidence(running: Daemon, sandbox_id: str) -> dict[str, Any]:
    """The audit event of the first of this sandbox, and the file that the API has."""
    end_s = time.monotonic() + DEADLINE_S
    while True:
        told = [e for e in running.events() if e["event_type"] == "FORENSICS_COLLECTED"]
        if mine := [e for e in told if e["sandbox_id"] == sandbox_id]:
            return dict(mine[0]["details"])
        assert time.monotonic() < end_s, "nothing was collected"
        time.sleep(0.1)


def fetched(running: Daemon, details: dict[str, Any]) -> dict[str, Any]:
    answer = running.request("GET", f"/v1/forensics/{details['forensics_id']}")
    assert hashlib.sha256(answer.body).hexdigest() == details["sha256"]
    Evidence.model_validate(answer.json())
    return dict(answer.json())


def test_of_one_that_runs_its_processes_files_and_events(running: Daemon, image: str) -> None:
    begun = "until grep -q sleep /proc/$!/comm; do :; done"
    script = f"echo kept >note.txt; sleep 61 3</etc/passwd & {begun}; {ATTACK}; sleep 60"
    sandbox = running.launch(image, "sh", "-c", script)
    details = evidence(running, sandbox["id"])
    found = fetched(running, details)
    assert (found["summary"]["rule_id"], found["problems"]) == ("core-pattern", [])
    processes = {" ".join(one["argv"]): one for one in found["processes"] if one["state"]}
    waiting = processes["sleep 61"]
    assert {"descriptor": 3, "target": "/etc/passwd"} in waiting["open_files"]
    assert any(line.endswith("/bin/busybox") for line in waiting["maps"])
    assert waiting["ppid"] in {one["pid"] for one in processes.values()}
    assert (waiting["uid"], waiting["cwd"], waiting["root"]) == (1000, "/workspace", "/")
    assert "/workspace/note.txt" in {one["path"] for one in found["changes"]}
    assert any("core_pattern" in json.dumps(event) for event in found["events"])
    assert found["summary"]["rule_id"] in {one["rule_id"] for one in found["findings"]}
    assert running.request("GET", f"/v1/sandboxes/{sandbox['id']}").json()["state"] == "running"
    running.request("DELETE", f"/v1/sandboxes/{sandbox['id']}")
    _shown(running, details["forensics_id"], sandbox["id"])


def _shown(running: Daemon, evidence_id: str, sandbox_id: str) -> None:
    """The client lists and shows it when its sandbox is long gone."""
    at = ["--socket", str(running.socket), "forensics"]
    listed = CliRunner().invoke(main, [*at, "--sandbox", sandbox_id])
    assert (listed.exit_code, listed.output.count(evidence_id)) == (0, 1)
    shown = CliRunner().invoke(main, [*at, evidence_id])
    assert "fd 3 /etc/passwd" in shown.output, shown.output
    assert "present  /workspace/note.txt" in shown.output
    raw = CliRunner().invoke(main, [*at, evidence_id, "--json"])
    assert raw.stdout_bytes == running.request("GET", f"/v1/forensics/{evidence_id}").body
    gone = CliRunner().invoke(main, [*at, "0" * 32])
    assert (gone.exit_code, "does not exist" in gone.output) == (125, True)


@pytest.fixture(scope="module")
def answering(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon whose profiles answer a high finding: `default` by a kill, `strict` by a pause."""
    folder = tmp_path_factory.mktemp("answering")
    profiles = folder / "profiles"
    profiles.mkdir()
    for name, action in (("default", "kill"), ("strict", "pause")):
        text = (PROFILES / f"{name}.toml").read_text()
        (profiles / f"{name}.toml").write_text(text.replace('high = "alert"', f'high = "{action}"'))
    with daemon(folder, f'profile_dirs = ["{PROFILES}", "{profiles}"]\n') as started:
        yield started


def entered(sandbox: dict[str, Any]) -> None:
    """By somebody who did not ask the daemon."""
    command = ["docker", "exec", sandbox["container_id"], "true"]
    subprocess.run(command, capture_output=True, check=False)


def test_of_one_that_the_response_killed_what_is_left(answering: Daemon, image: str) -> None:
    sandbox = answering.launch(image, "sh", "-c", "echo kept >note.txt; sleep 60")
    entered(sandbox)
    result = answering.request("GET", f"/v1/sandboxes/{sandbox['id']}/result").json()
    assert result["killed"], result
    found = fetched(answering, evidence(answering, sandbox["id"]))
    assert found["summary"]["response"] == "kill"
    assert found["problems"] == []
    assert {one["state"] for one in found["processes"]} == {""}
    assert ["sleep", "60"] in [one["argv"] for one in found["processes"]]
    assert "/workspace/note.txt" in {one["path"] for one in found["changes"]}


def test_of_one_that_is_paused_it_is_all_there(answering: Daemon, image: str) -> None:
    sandbox = answering.launch(image, "sleep", "60", profile="strict")
    entered(sandbox)
    found = fetched(answering, evidence(answering, sandbox["id"]))
    assert found["summary"]["response"] == "pause"
    (sleeping,) = [one for one in found["processes"] if one["argv"] == ["sleep", "60"] and one["state"]]
    assert sleeping["maps"]
    assert answering.request("GET", f"/v1/sandboxes/{sandbox['id']}").json()["state"] == "paused"
    answering.request("DELETE", f"/v1/sandboxes/{sandbox['id']}")


def test_hostile_names_are_bounded_escaped_and_not_followed(running: Daemon, image: str) -> None:
    sandbox = running.launch(image, "sh", "-c", f"{HOSTILE} {ATTACK}; sleep 60")
    found = fetched(running, evidence(running, sandbox["id"]))
    running.request("DELETE", f"/v1/sandboxes/{sandbox['id']}")
    paths = [one["path"] for one in found["changes"]]
    assert {"/workspace/deep/leaf", "/workspace/link", "/workspace/a\x1b[2Jb\nc\\udcff"} <= set(paths)
    assert len(paths) <= 2 * CHANGES
    assert len([path for path in paths if "/many/" in path]) > 900
    shown = CliRunner().invoke(main, ["--socket", str(running.socket), "forensics", found["summary"]["id"]])
    assert "\x1b[2J" not in shown.output
    assert r"a\x1b[2Jb\nc" in shown.output


def test_it_is_its_owners_alone(running: Daemon, image: str) -> None:
    command = ["sh", "-c", f"{ATTACK}; sleep 60"]
    body = {"image": image, "command": command, "profile": "strict", "limits": {"memory": "64m", "cpus": 1}}
    mine = running.launch(image, *command, profile="strict")
    theirs = running.request_as(OTHER_UID, "POST", "/v1/sandboxes", body).json()
    details = [evidence(running, one["id"]) for one in (mine, theirs)]
    seen = running.request_as(OTHER_UID, "GET", "/v1/forensics").json()["items"]
    assert {one["sandbox_id"] for one in seen} == {theirs["id"]}
    statuses = [
        running.request_as(OTHER_UID, "GET", f"/v1/forensics/{one['forensics_id']}").status for one in details
    ]
    assert statuses == [404, 200]
    for one in (mine, theirs):
        running.request("DELETE", f"/v1/sandboxes/{one['id']}")


def test_the_reader_bounds_what_a_process_has_open(image: str) -> None:
    command = ["docker", "run", "--detach", "--network=none", "--ulimit=nofile=4096", image]
    many = 'i=3; while [ $i -lt 900 ]; do eval "exec $i</etc/passwd"; i=$((i+1)); done; echo; sleep 60'
    container = subprocess.check_output([*command, "sh", "-c", many], text=True).strip()
    try:
        end_s = time.monotonic() + DEADLINE_S
        while not subprocess.check_output(["docker", "logs", container]):
            assert time.monotonic() < end_s
            time.sleep(0.1)
        reader = [sys.executable, "-m", "daemon.forensics.live", container]
        shell, *_ = json.loads(subprocess.check_output(reader))
    finally:
        subprocess.run(["docker", "rm", "--force", container], capture_output=True, check=True)
    assert (len(shell["open_files"]), shell["cut"]) == (128, True)


LISTED = [{"Path": "/a{}", "Kind": 1}, {"Path": '/b"},{"', "Kind": 0}, {"Path": "/c", "Kind": 2}]


@given(st.integers(0, len(json.dumps(LISTED))))
def test_a_list_that_is_cut_gives_its_whole_entries(length: int) -> None:
    whole = [one["path"] for one in of_root(json.dumps(LISTED).encode())]
    assert whole == [one["Path"] for one in LISTED]
    cut = [one["path"] for one in of_root(json.dumps(LISTED)[:length].encode())]
    assert cut == whole[: len(cut)]


@given(st.binary())
def test_any_other_answer_is_an_empty_list_or_entries(answer: bytes) -> None:
    assert all(FileChange(**one).place == "root" for one in of_root(answer))
