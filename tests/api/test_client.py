"""The client against a real daemon: what a person at a shell sees, command by command."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from daemon import ROOT
from tests.running import Daemon

pytestmark = [pytest.mark.root, pytest.mark.docker]

DEADLINE_S = 30


def command(running: Daemon, *arguments: str) -> list[str]:
    program = [sys.executable, "-c", "from daemon.cli import main; main(prog_name='container-kit')"]
    return [*program, "--socket", str(running.socket), *arguments]


def call(running: Daemon, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(running, *arguments),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def read(running: Daemon, *arguments: str) -> Any:
    return json.loads(call(running, *arguments, "--json").stdout)


@pytest.fixture
def sandbox(running: Daemon, image: str) -> Iterator[str]:
    done = call(running, "run", "-d", "--session", "shown", image, "sh", "-c", "echo up; sleep 60")
    sandbox_id = done.stdout.strip()
    yield sandbox_id
    assert call(running, "rm", sandbox_id).stdout.strip() == sandbox_id


def test_doctor_and_profiles(running: Daemon) -> None:
    checks = {item["name"]: item for item in read(running, "doctor")}
    assert {name for name, item in checks.items() if item["required"]} == {
        "engine",
        "init",
        "cgroups",
        "seccomp",
    }
    assert all(item["remedy"] for item in checks.values() if not item["ok"])
    shown = call(running, "doctor")
    assert shown.returncode == 0
    assert shown.stdout.split()[:3] == ["CHECK", "DETAIL", "REMEDY"]
    rows = {line.split()[0]: line for line in call(running, "profiles").stdout.splitlines()}
    assert "512 MiB" in rows["strict"]


def test_ps_and_usage(running: Daemon, sandbox: str) -> None:
    row = next(line for line in call(running, "ps").stdout.splitlines() if line.startswith(sandbox))
    assert row.split()[2:4] == ["default", "running"]
    assert row.split()[-2:] == ["0", "shown"]
    assert next(item for item in read(running, "ps") if item["id"] == sandbox)["tty"] is False
    assert "workspace_size    100 MiB" in call(running, "usage", sandbox).stdout


def test_a_sandbox_is_frozen_and_goes_on(running: Daemon, sandbox: str) -> None:
    for order, state in (("pause", "paused"), ("resume", "running")):
        assert call(running, order, sandbox).stdout == f"{sandbox}\n"
        assert [item["state"] for item in read(running, "ps") if item["id"] == sandbox] == [state]
        again = call(running, order, sandbox)
        assert (again.returncode, again.stdout) == (125, "")
        assert again.stderr.startswith("container-kit: wrong state\n")


def test_what_was_judged_before_the_start_is_read_afterwards(running: Daemon, sandbox: str) -> None:
    whole = running.request("GET", f"/v1/sandboxes/{sandbox}/report").json()
    assert read(running, "report", sandbox) == whole
    verdict, profile, *lines = call(running, "report", sandbox).stdout.splitlines()
    assert verdict == f"allowed: risk {whole['risk_level']}, score {whole['score']}"
    assert profile == f"profile default, image {whole['image']}"
    shown = "\n".join(lines)
    assert all(one["id"] in shown for one in (*whole["threats"], *whole["active_controls"]))


def test_with_rm_nothing_is_left_of_it(running: Daemon, image: str) -> None:
    done = call(running, "run", "--rm", "--session", "forgotten", image, "sh", "-c", "echo out; exit 3")
    assert (done.returncode, done.stdout) == (3, "out\n")
    assert "forgotten" not in {item["session_id"] for item in read(running, "ps", "-a")}


def test_logs_follow_until_the_end(running: Daemon, image: str) -> None:
    script = "echo one; echo two >&2; sleep 1; echo three"
    sandbox_id = call(running, "run", "-d", image, "sh", "-c", script).stdout.strip()
    done = call(running, "logs", "-f", sandbox_id)
    assert (done.stdout, done.stderr) == ("one\nthree\n", "two\n")
    assert call(running, "logs", sandbox_id).stdout == done.stdout


def test_what_was_not_kept_is_said(running: Daemon, image: str) -> None:
    done = call(running, "run", "--output", "1k", image, "sh", "-c", "head -c 3000 /dev/zero")
    assert len(done.stdout) == 1024
    assert "1976 more bytes of stdout were not kept" in done.stderr


def test_events_are_followed(running: Daemon, sandbox: str) -> None:
    following = command(running, "events", "-f", "--session", "shown", "--type", "SANDBOX_ACCESSED")
    with subprocess.Popen(following, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        call(running, "exec", sandbox, "true")
        try:
            line = next(line for line in process.stdout if sandbox in line)
            process.send_signal(signal.SIGINT)
            assert process.wait(DEADLINE_S) == 130
        finally:
            process.kill()
    assert "SANDBOX_ACCESSED" in line
    assert 'command=["true"]' in line


def test_files_go_in_and_out(running: Daemon, sandbox: str, tmp_path: Path) -> None:
    (tmp_path / "tree/d").mkdir(parents=True)
    (tmp_path / "tree/d/f").write_bytes(b"\0data")
    assert call(running, "cp", str(tmp_path / "tree"), f"{sandbox}:").returncode == 0
    assert call(running, "exec", sandbox, "find", ".", "-type", "f").stdout == "./d/f\n"
    assert call(running, "cp", f"{sandbox}:d/f", str(tmp_path / "back")).returncode == 0
    assert (tmp_path / "back").read_bytes() == b"\0data"
    assert call(running, "cp", "-r", f"{sandbox}:", str(tmp_path / "all")).returncode == 0
    assert (tmp_path / "all/d/f").read_bytes() == b"\0data"
    for path in ("d", "", "."):
        refused = call(running, "cp", f"{sandbox}:{path}", str(tmp_path / "no"))
        assert (refused.returncode, "copy it with -r" in refused.stderr) == (125, True)
    assert not (tmp_path / "no").exists()


def test_a_refusal_names_each_reason_once(running: Daemon, image: str) -> None:
    done = call(running, "run", "--privileged", "-u", "0", image, "id")
    assert done.returncode == 125
    assert done.stdout == ""
    assert done.stderr.splitlines()[0] == "container-kit: execution blocked: CRITICAL risk level"
    assert done.stderr.count("privileged mode") == 1
    assert done.stderr.count("root user or group: 0:0") == 1


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["true"], 0), (["sh", "-c", "exit 9"], 9), (["nope"], 127), (["sleep", "60"], 124)],
)
def test_exit_codes(running: Daemon, image: str, arguments: list[str], code: int) -> None:
    assert call(running, "run", "--timeout", "2s", image, *arguments).returncode == code
