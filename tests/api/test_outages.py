"""The engine away, the disk full, the socket taken: clear errors, and nothing left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from daemon import ROOT
from daemon.sandbox.leftovers import LAUNCH_LIMIT_S, is_leftover
from daemon.sandbox.sandbox import Registry
from tests.engine_proxy import EngineProxy, engine_proxy
from tests.running import Answer, Daemon, daemon, process_of

pytestmark = [pytest.mark.root, pytest.mark.docker]

DEADLINE_S = 40.0
EX_CONFIG = 78  # of sysexits.h


def await_(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.2)


def launch(running: Daemon, image: str, *command: str, wait: bool = False, **options: Any) -> Answer:
    body = {"image": image, "command": list(command or ["true"]), **options}
    return running.request("POST", f"/v1/sandboxes?wait={str(wait).lower()}", body)


def problem(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.json()["type"]


KILLED = "container killed: the audit log cannot be written"
UNAVAILABLE = (503, "/problems/engine-unavailable")


class TestEngineAway:
    """A daemon of its own for each test, behind a socket that can be cut."""

    @pytest.fixture
    def proxy(self, tmp_path: Path) -> Iterator[EngineProxy]:
        with engine_proxy(tmp_path) as proxy:
            yield proxy

    @pytest.fixture
    def behind(self, proxy: EngineProxy, tmp_path: Path) -> Iterator[Daemon]:
        with daemon(tmp_path, f'engine_socket = "{proxy.path}"') as started:
            yield started
            with suppress(OSError):
                proxy.mend()  # so that its sandboxes can be ended

    def test_it_starts_without_and_works_once_it_is_there(self, tmp_path: Path, image: str) -> None:
        with engine_proxy(tmp_path) as proxy:
            proxy.cut()
            config = f'engine_socket = "{proxy.path}"'
            with daemon(tmp_path, config, ready="/healthz") as started:
                assert problem(started.request("GET", "/readyz")) == UNAVAILABLE
                refused = launch(started, image)
                assert problem(refused) == UNAVAILABLE
                assert int(refused.headers["Retry-After"]) > 0
                assert str(proxy.path) in refused.json()["detail"]
                assert problem(started.request("POST", "/v1/validate", {"image": image})) == UNAVAILABLE
                proxy.mend()
                assert started.request("GET", "/readyz").status == 200
                assert launch(started, image, wait=True).json()["exit_code"] == 0

    def test_the_doctor_says_so_and_the_rest_all_the_same(self, behind: Daemon, proxy: EngineProxy) -> None:
        def checks() -> dict[str, Any]:
            return {item["name"]: item for item in behind.request("GET", "/v1/doctor").json()["items"]}

        assert checks()["engine"]["ok"] is True
        proxy.cut()
        assert checks()["engine"]["ok"] is False
        assert "docker" in checks()["engine"]["remedy"]
        assert checks()["init"]["ok"] is True

    def test_a_sandbox_outlives_the_outage(self, behind: Daemon, proxy: EngineProxy, image: str) -> None:
        sandbox = launch(behind, image, "sh", "-c", "sleep 4; exit 3").json()
        path = f"/v1/sandboxes/{sandbox['id']}"
        proxy.cut()
        assert behind.request("GET", path).json()["state"] == "running"
        for order, body in [("pause", None), ("exec", {"command": ["id"]})]:
            assert problem(behind.request("POST", f"{path}/{order}", body)) == UNAVAILABLE
        proxy.mend()
        assert behind.request("GET", f"{path}/result").json()["exit_code"] == 3
        assert behind.containers() == 0

    def test_one_that_ends_during_the_outage_has_its_result(
        self, behind: Daemon, proxy: EngineProxy, image: str
    ) -> None:
        sandbox = launch(behind, image, "sh", "-c", "sleep 2; exit 3").json()
        process = process_of(sandbox["container_id"])
        proxy.cut()
        await_(lambda: not process.exists())
        time.sleep(1)
        proxy.mend()
        assert behind.request("GET", f"/v1/sandboxes/{sandbox['id']}/result").json()["exit_code"] == 3

    def test_it_can_be_killed_without_the_engine(
        self, behind: Daemon, proxy: EngineProxy, image: str
    ) -> None:
        sandbox = launch(behind, image, "sleep", "60").json()
        process = process_of(sandbox["container_id"])
        proxy.cut()
        assert behind.request("POST", f"/v1/sandboxes/{sandbox['id']}/kill").status == 200
        await_(lambda: not process.exists())
        proxy.mend()
        result = behind.request("GET", f"/v1/sandboxes/{sandbox['id']}/result").json()
        assert (result["killed"], result["message"]) == (True, "container killed: on request")

    def test_the_time_limit_holds_without_the_engine(
        self, behind: Daemon, proxy: EngineProxy, image: str
    ) -> None:
        sandbox = launch(behind, image, "sleep", "60", limits={"timeout_s": 2}).json()
        process = process_of(sandbox["container_id"])
        proxy.cut()
        await_(lambda: not process.exists())
        proxy.mend()
        result = behind.request("GET", f"/v1/sandboxes/{sandbox['id']}/result").json()
        assert (result["timed_out"], result["exit_code"]) == (True, 137)

    @pytest.mark.parametrize(
        ("call", "left"),
        [
            (b"/images/", 0),
            (b"/containers/create", 0),
            (b"/start", 1),
        ],
    )
    def test_a_launch_that_it_breaks_off_says_so_and_is_cleared_away(
        self, behind: Daemon, proxy: EngineProxy, image: str, call: bytes, left: int
    ) -> None:
        """What could not be removed is later: see is_leftover."""

        def cut(data: bytes) -> None:
            if call in data.split(b"\r\n")[0]:
                proxy.on_request = lambda _: None
                proxy.cut()

        proxy.on_request = cut
        assert problem(launch(behind, image, "sleep", "60")) == UNAVAILABLE
        proxy.mend()
        assert behind.containers() <= left
        assert launch(behind, image, wait=True).json()["exit_code"] == 0
        failed = [e["details"]["reason"] for e in behind.events() if e["event_type"] == "EXECUTION_FAILED"]
        assert len(failed) == (0 if call == b"/images/" else 1)
        assert ["Docker Engine" in reason for reason in failed] == [True] * len(failed), failed

    def test_a_removal_that_failed_is_made_good(self, behind: Daemon, proxy: EngineProxy, image: str) -> None:
        sandbox = launch(behind, image, "sleep", "2").json()
        proxy.on_request = lambda data: proxy.cut() if data.startswith(b"DELETE") else None
        result = behind.request("GET", f"/v1/sandboxes/{sandbox['id']}/result").json()
        assert result["exit_code"] == 0
        assert behind.request("GET", f"/v1/sandboxes/{sandbox['id']}").json()["state"] == "ended"
        assert behind.containers() == 1
        proxy.on_request = lambda _: None
        proxy.mend()
        await_(lambda: behind.containers() == 0)
        await_(lambda: behind.events()[-1]["event_type"] == "EXECUTION_FAILED")
        assert behind.events()[-1]["sandbox_id"] == sandbox["id"]


def test_a_container_is_left_over_when_no_launch_can_still_want_it() -> None:
    container = {"Id": "c", "Created": 1000, "Labels": {"container-kit.sandbox": "s"}}
    assert not is_leftover(container, Registry(0), 1000 + LAUNCH_LIMIT_S)
    assert is_leftover(container, Registry(0), 1001 + LAUNCH_LIMIT_S)


class TestAuditDisk:
    @pytest.fixture
    def disk(self, tmp_path: Path) -> Iterator[Path]:
        folder = tmp_path / "state/audit"
        folder.mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], check=True)
        yield folder
        subprocess.run(["umount", "--lazy", folder], check=True)

    @pytest.mark.parametrize("policy", ["kill_all", "continue"])
    def test_full_it_does_what_the_settings_say(
        self, disk: Path, tmp_path: Path, image: str, policy: str
    ) -> None:
        with daemon(tmp_path, f'on_audit_failure = "{policy}"\n') as started:
            kept = launch(started, image, "sleep", "60").json()["id"]
            with (disk / "ballast").open("wb", buffering=0) as ballast, suppress(OSError):
                while True:
                    ballast.write(bytes(1024))
            last = [launch(started, image, "true", "x" * 4000, wait=True) for _ in range(3)][-1]
            state = started.request("GET", f"/v1/sandboxes/{kept}").json()["state"]
            if policy == "continue":
                assert (last.json()["exit_code"], state) == (0, "running")
                (disk / "ballast").unlink()
                assert launch(started, image, wait=True).json()["exit_code"] == 0
                assert [e["seq"] for e in started.events()] == sorted({e["seq"] for e in started.events()})
                assert len([e for e in started.events() if e["event_type"] == "EXECUTION_STARTED"]) == 5
            else:
                assert problem(last) == (503, "/problems/audit-unavailable")
                result = started.request("GET", f"/v1/sandboxes/{kept}/result").json()
                assert (result["killed"], result["message"]) == (True, KILLED)

    def test_full_it_stops_launches_and_nothing_else(self, disk: Path, tmp_path: Path, image: str) -> None:
        """How what runs ends is written on the reserve."""
        with daemon(tmp_path, 'audit_reserve_size = "128k"\n') as started:
            kept = launch(started, image, "sleep", "60").json()["id"]
            with (disk / "ballast").open("wb", buffering=0) as ballast, suppress(OSError):
                while True:
                    ballast.write(bytes(1024))
            long = ["true", *(["x" * 250] * 60)]  # more than what is left of a page
            refusals = [launch(started, image, *long) for _ in range(3)]
            assert problem(refusals[-1]) == (503, "/problems/audit-unavailable")
            assert "No space left on device" in refusals[-1].json()["detail"]
            exec_path = f"/v1/sandboxes/{kept}/exec"
            refused = started.request("POST", exec_path, {"command": long})
            assert problem(refused) == (503, "/problems/audit-unavailable")
            assert started.request("GET", f"/v1/sandboxes/{kept}").json()["state"] == "running"
            assert (
                started.request("POST", f"/v1/sandboxes/{kept}/kill").status == 200
            )  # an end is never refused
            assert started.request("GET", f"/v1/sandboxes/{kept}/result").json()["killed"] is True
            assert started.containers() == 0
            ends = [e["sandbox_id"] for e in started.events() if e["event_type"] == "EXECUTION_FINISHED"]
            assert kept in ends
            assert [e for e in started.events() if e["event_type"] == "AUDIT_FAILED"] != []
            doctor = {i["name"]: i for i in started.request("GET", "/v1/doctor").json()["items"]}
            assert doctor["audit disk"]["ok"] is False
            (disk / "ballast").unlink()
            assert launch(started, image, wait=True).json()["exit_code"] == 0
            assert started.newest() == (started.state / "audit/audit.jsonl").read_bytes().count(b"\n")


def start(folder: Path, config: str) -> subprocess.CompletedProcess[str]:
    """A daemon that is expected not to start."""
    (folder / "settings.toml").write_text(config)
    environment = {"PATH": os.environ["PATH"], "CONTAINER_KIT_CONFIG": str(folder / "settings.toml")}
    return subprocess.run(
        [sys.executable, "-m", "daemon"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


class TestWhatKeepsItFromStarting:
    def test_another_daemon_on_its_socket(self, tmp_path: Path) -> None:
        with daemon(tmp_path) as first:
            (tmp_path / "second").mkdir()
            config = f'socket = "{first.socket}"\nstate_dir = "{tmp_path}/second/state"\n'
            second = start(tmp_path / "second", config)
            assert (second.returncode, second.stdout) == (EX_CONFIG, "")
            assert f"{first.socket}: another daemon listens there" in second.stderr
            assert first.request("GET", "/healthz").status == 200
        assert not first.socket.exists()

    def test_another_daemon_on_its_state(self, tmp_path: Path) -> None:
        """Two writers would give the same numbers to different events."""
        with daemon(tmp_path) as first:
            (tmp_path / "second").mkdir()
            config = f'socket = "{tmp_path}/second/api.sock"\nstate_dir = "{first.state}"\n'
            second = start(tmp_path / "second", config)
            assert second.returncode == EX_CONFIG
            assert "another daemon writes it" in second.stderr
            assert not (tmp_path / "second/api.sock").exists()
            assert first.request("GET", "/healthz").status == 200

    @pytest.mark.parametrize("where", ["state_dir", "socket"])
    def test_a_disk_that_cannot_be_written(self, tmp_path: Path, where: str) -> None:
        folder = tmp_path / "readonly"
        folder.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", folder], check=True)
        try:
            places = {"socket": f"{tmp_path}/api.sock", "state_dir": f"{tmp_path}/state"}
            places[where] = f"{folder}/below"
            refused = start(tmp_path, "".join(f'{key} = "{value}"\n' for key, value in places.items()))
        finally:
            subprocess.run(["umount", folder], check=True)
        assert refused.returncode == EX_CONFIG
        assert "Read-only file system" in refused.stderr
        assert len(refused.stderr.splitlines()) == 1
        assert not (tmp_path / "api.sock").exists()

    @pytest.mark.parametrize(
        ("config", "said"),
        [
            ("socket = 5", "socket"),
            ("sokcet = 'x'", "sokcet: unknown key"),
            ("debug = 'maybe'", "debug"),
            ("retained_sandboxes = -1", "retained_sandboxes"),
            ("security_log_level = 'LOUD'", "security_log_level"),
            ("[[callers]]\nusers = [0]\nprofile = ['strict']", "profile"),
            ("[[callers]]\nusers = [0]\nquota = { memory = 'lots' }", "memory"),
            ("profile_dirs = []", "no profile found"),
            ("watch = 'everything'", "watch"),
            ("= 5", "cannot be read as TOML"),
        ],
    )
    def test_a_setting_that_is_wrong(self, tmp_path: Path, config: str, said: str) -> None:
        config = f'{config if "=" in config[:1] else ""}\nstate_dir = "{tmp_path}/state"\n{config}'
        refused = start(tmp_path, config)
        assert refused.returncode == EX_CONFIG, refused.stderr
        assert said in refused.stderr
        assert len(refused.stderr.splitlines()) == 1

    def test_a_profile_that_is_wrong(self, tmp_path: Path) -> None:
        (tmp_path / "profiles").mkdir()
        (tmp_path / "profiles/mine.toml").write_text('name = "mine"\n')
        config = f'state_dir = "{tmp_path}/state"\nprofile_dirs = ["{tmp_path}/profiles"]\n'
        refused = start(tmp_path, config)
        assert refused.returncode == EX_CONFIG
        assert f"{tmp_path}/profiles/mine.toml" in refused.stderr
