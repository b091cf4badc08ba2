"""The service manager's side: units that it accepts, and the protocols that the daemon speaks with it."""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
import socket
import stat
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon import ROOT, UNITS, systemd
from daemon.errors import ConfigError
from daemon.settings import Settings

PROGRAM = "/opt/container-kit/bin/container-kitd"
EXPOSURE_LIMIT = 37
"""Tenths, as `systemd-analyze security --threshold` counts; six are for the resolver's internet sockets, two
for setpriority(2), which without SYS_NICE can only lower a priority."""
DROP_INS = sorted((UNITS / "drop-ins").glob("*.conf"))
NAMES = ("container-kitd.service", "container-kitd.socket")


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units as they are, but with a program that exists: systemd knows nothing else to say about it."""
    for name in NAMES:
        (tmp_path / name).write_text((UNITS / name).read_text().replace(PROGRAM, "/bin/true"))
    return tmp_path


def _analyze(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "SYSTEMD_UNIT_PATH": f"{folder}:"}
    command = ["systemd-analyze", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def _complaints(folder: Path) -> str:
    """All of the output: for a key that it does not know, systemd-analyze warns and returns 0."""
    done = _analyze(folder, "verify", "--man=no", *(str(folder / name) for name in NAMES))
    return done.stdout + done.stderr + ("" if done.returncode == 0 else f"status {done.returncode}")


def _exposed(folder: Path) -> str:
    """Empty, or the end of the judgement on the service where it is over the limit."""
    unit = str(folder / "container-kitd.service")
    done = _analyze(folder, "security", "--offline=yes", f"--threshold={EXPOSURE_LIMIT}", unit)
    return "" if done.returncode == 0 else done.stdout[-500:] + done.stderr


def _settings(name: str = "container-kitd.service") -> dict[str, list[str]]:
    """Key to values of all sections, in their order."""
    found: dict[str, list[str]] = {}
    for line in (UNITS / name).read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


class TestUnits:
    def test_they_are_accepted_without_a_word(self, units: Path) -> None:
        assert _complaints(units) == ""

    @pytest.mark.parametrize(
        ("name", "good", "bad"),
        [
            ("container-kitd.service", "ProtectClock=", "ProtectClok="),
            ("container-kitd.service", "=@system-service", "=@system-servant"),
            ("container-kitd.service", "/bin/true", "/no/such/program"),
            ("container-kitd.socket", "SocketMode=0660", "SocketMode=group"),
        ],
    )
    def test_a_mistake_in_them_is_noticed(self, units: Path, name: str, good: str, bad: str) -> None:
        text = (units / name).read_text()
        assert good in text
        (units / name).write_text(text.replace(good, bad))
        assert name in _complaints(units)

    def test_the_service_is_hardened(self, units: Path) -> None:
        assert _exposed(units) == ""

    def test_less_hardening_would_be_noticed(self, units: Path) -> None:
        service = units / "container-kitd.service"
        service.write_text(service.read_text().replace("NoNewPrivileges=yes", "NoNewPrivileges=no"))
        assert "exposure level" in _exposed(units)

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("PrivateTmp", "no"),
            ("ProtectHostname", "no"),
            ("PrivateNetwork", "no"),
            ("PrivateIPC", "no"),
            ("PrivateUsers", "no"),
            ("ProtectHome", "read-only"),
            ("ProtectProc", "default"),
            ("ProcSubset", "all"),
            ("ProtectControlGroups", "no"),
            ("RestrictSUIDSGID", "no"),
        ],
    )
    def test_what_would_blind_the_daemon_is_off_and_says_why(self, key: str, value: str) -> None:
        """Attestation, the check of mounts and the workspace need the host as it is."""
        assert _settings()[key] == [value]
        assert _reason(f"{key}={value}").startswith("# ")

    def test_what_the_daemon_has_no_use_for_is_denied(self) -> None:
        on = {key for key, values in _settings().items() if values == ["yes"]}
        wanted = {
            *("NoNewPrivileges", "PrivateDevices", "PrivateMounts", "ProtectClock", "ProtectKernelLogs"),
            *("ProtectKernelModules", "ProtectKernelTunables", "RestrictNamespaces", "RestrictRealtime"),
            *("LockPersonality", "MemoryDenyWriteExecute"),
        }
        assert wanted - on == set()
        assert _settings()["ProtectSystem"] == ["strict"]
        assert _settings()["RestrictAddressFamilies"] == ["AF_UNIX AF_NETLINK AF_INET AF_INET6"]

    def test_of_roots_powers_it_keeps_eight(self) -> None:
        """By name, as systemd passes over one that it does not know without a word."""
        kept = _settings()["CapabilityBoundingSet"][0].split()
        of_files = ["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_CHOWN", "CAP_FOWNER"]
        assert kept == [
            *of_files,
            "CAP_BPF",
            "CAP_PERFMON",
            "CAP_NET_ADMIN",
            "CAP_NET_BIND_SERVICE",
            "CAP_KILL",
        ]
        assert _settings()["AmbientCapabilities"] == [""]

    def test_no_setting_is_given_twice(self) -> None:
        lists = {"SystemCallFilter", "Environment"}
        assert [key for key, values in _settings().items() if len(values) > 1 and key not in lists] == []

    @pytest.mark.parametrize("drop_in", DROP_INS, ids=lambda path: path.stem)
    def test_each_drop_in_is_accepted_and_no_more_than_it_says(self, units: Path, drop_in: Path) -> None:
        folder = units / "container-kitd.service.d"
        folder.mkdir()
        (folder / drop_in.name).write_text(drop_in.read_text())
        assert _complaints(units) == ""
        keys = {line.partition("=")[0] for line in drop_in.read_text().splitlines() if line[:1].isupper()}
        assert keys == {"CapabilityBoundingSet", "SystemCallFilter"}
        text = drop_in.read_text()
        (folder / drop_in.name).write_text(text.replace("SystemCallFilter=", "SystemCallFiltre="))
        assert "SystemCallFiltre" in _complaints(units)

    def test_each_is_installed_and_documented(self) -> None:
        install = (ROOT / "systemd/install.sh").read_text()
        documents = "".join(path.read_text() for path in (ROOT / "docs").glob("*.md"))
        for drop_in in DROP_INS:
            assert f"systemd/drop-ins/{drop_in.name} " in install
            assert f"share/container-kit/drop-ins/{drop_in.name}" in documents

    def test_the_calls_that_the_daemon_lives_by_are_allowed(self) -> None:
        calls = _allowed_calls(_settings()["SystemCallFilter"])
        assert {"openat2", "pidfd_open", "fchown", "eventfd2", "epoll_wait", "fdatasync", "accept4"} <= calls
        assert {"bpf", "inotify_add_watch", "setpriority"} <= calls
        assert not calls & {"mount", "ptrace", "open_by_handle_at", "init_module", "kexec_load"}
        assert not calls & {"setgid", "setuid", "keyctl", "mlock", "sched_setscheduler", "sethostname"}

    def test_socket_and_folders_are_the_programs_own(self) -> None:
        fields, service = Settings.model_fields, _settings()
        assert _settings("container-kitd.socket")["ListenStream"] == [str(fields["socket"].default)]
        assert _settings("container-kitd.socket")["SocketGroup"] == [fields["socket_group"].default]
        assert [f"/var/lib/{name}" for name in service["StateDirectory"]] == [
            str(fields["state_dir"].default)
        ]
        assert service["RuntimeDirectoryPreserve"] == ["yes"]  # or a stop removes the socket

    def test_the_program_is_the_one_that_is_packaged(self) -> None:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        assert Path(PROGRAM).name in project["scripts"]
        assert _settings()["ExecStart"] == [PROGRAM]


def _reason(setting: str) -> str:
    """The comment above it or above the settings it stands with; empty where there is only a heading."""
    lines = (UNITS / "container-kitd.service").read_text().partition(f"\n{setting}\n")[0].splitlines()
    while lines and "=" in lines[-1] and not lines[-1].startswith("#"):
        lines.pop()
    return "" if lines[-1].startswith("# ---") else lines[-1]


def _allowed_calls(filters: list[str]) -> set[str]:
    """As systemd.exec(5) has it: the first line decides that it is an allow list, "~" takes away again."""
    allowed: set[str] = set()
    for line in filters:
        names = _expanded(line.removeprefix("~").split())
        allowed = allowed - names if line.startswith("~") else allowed | names
    return allowed


def _expanded(names: list[str]) -> set[str]:
    found: set[str] = set()
    for name in names:
        found |= _expanded(_members(name)) if name.startswith("@") else {name}
    return found


def _members(group: str) -> list[str]:
    done = subprocess.run(
        ["systemd-analyze", "syscall-filter", group], capture_output=True, text=True, check=True
    )
    return [line.strip() for line in done.stdout.splitlines()[1:] if not line.strip().startswith("#")]


class TestFilesOfTheSystem:
    def test_the_group_is_made(self, tmp_path: Path) -> None:
        (tmp_path / "etc").mkdir()
        source = UNITS / "sysusers.d/container-kit.conf"
        done = _run("systemd-sysusers", f"--root={tmp_path}", str(source))
        assert "Creating group 'container-kit'" in done
        assert (tmp_path / "etc/group").read_text().startswith("container-kit:x:")
        assert not (tmp_path / "etc/passwd").exists()

    @pytest.mark.root
    def test_the_folders_are_made(self, tmp_path: Path) -> None:
        source = UNITS / "tmpfiles.d/container-kit.conf"
        assert _run("systemd-tmpfiles", "--create", f"--root={tmp_path}", str(source)) == ""
        modes = {
            str(path.relative_to(tmp_path)): stat.S_IMODE(path.stat().st_mode)
            for path in tmp_path.rglob("container-kit*")
        }
        assert modes == {
            "run/container-kit": 0o755,
            "var/lib/container-kit": 0o700,
            "etc/container-kit": 0o755,
        }
        assert (tmp_path / "etc/container-kit/profiles").is_dir()

    @pytest.mark.parametrize("tool", ["sysusers", "tmpfiles"])
    def test_a_mistake_in_them_is_noticed(self, tmp_path: Path, tool: str) -> None:
        (tmp_path / "etc").mkdir()
        (tmp_path / "bad.conf").write_text("? container-kit\n")
        command = [f"systemd-{tool}", *(["--create"] if tool == "tmpfiles" else []), f"--root={tmp_path}"]
        done = subprocess.run(
            [*command, str(tmp_path / "bad.conf")], capture_output=True, text=True, check=False
        )
        assert "bad.conf" in done.stderr


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.fixture(params=["path", "abstract"])
def manager(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    """A service manager's notification socket, in the file system and in the abstract namespace."""
    name = secrets.token_hex(8)
    shown, bound = str(tmp_path / name), str(tmp_path / name)
    if request.param == "abstract":
        shown, bound = f"@{name}", f"\0{name}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(bound)
        listener.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", shown)
        yield listener


class TestNotify:
    def test_each_state_is_one_datagram(self, manager: socket.socket) -> None:
        systemd.ready()
        systemd.status("3 sandboxes")
        systemd.stopping()
        assert [manager.recv(64) for _ in range(3)] == [b"READY=1", b"STATUS=3 sandboxes", b"STOPPING=1"]

    def test_a_status_cannot_say_anything_else(self, manager: socket.socket) -> None:
        systemd.status("image x\nSTOPPING=1\r\nMAINPID=1")
        assert manager.recv(64) == b"STATUS=image x STOPPING=1 MAINPID=1"

    @pytest.mark.parametrize(
        "address", ["", "/no/such/socket", "@no-such-socket", "vsock:2:1", "/" + "x" * 200]
    )
    def test_nobody_there_is_no_reason_to_stop(self, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        assert systemd.notify("READY=1") is False

    def test_without_a_service_manager_nothing_is_sent(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
        assert systemd.notify("READY=1") is False

    def test_a_service_manager_that_reads_nothing_holds_up_for_a_moment_only(
        self, manager: socket.socket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(systemd, "NOTIFY_DEADLINE_S", 0.05)
        sent = 0
        while systemd.notify("STATUS=full"):
            sent += 1
            assert sent < 100_000
        assert manager.recv(64) == b"STATUS=full"
        assert systemd.notify("READY=1") is True


class TestWatchdog:
    @pytest.mark.parametrize(
        ("allowed_us", "pid", "interval_s"),
        [
            ("30000000", "ours", 15.0),
            ("30000000", None, 15.0),
            ("30000000", "1", None),
            (None, None, None),
            ("", None, None),
        ],
    )
    def test_it_is_half_of_what_is_allowed(
        self,
        allowed_us: str | None,
        pid: str | None,
        interval_s: float | None,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        for name, value in (("WATCHDOG_USEC", allowed_us), ("WATCHDOG_PID", pid)):
            monkeypatch.delenv(name, raising=False)
            if value is not None:
                monkeypatch.setenv(name, str(os.getpid()) if value == "ours" else value)
        assert systemd.watchdog_interval_s() == interval_s

    @pytest.mark.parametrize("allowed_us", ["0", "-1", "30s", "1.5"])
    def test_what_is_no_time_is_refused(self, allowed_us: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("WATCHDOG_USEC", allowed_us)
        monkeypatch.delenv("WATCHDOG_PID", raising=False)
        with pytest.raises(ConfigError, match="WATCHDOG_USEC"):
            systemd.watchdog_interval_s()

    async def test_each_sign_of_life_follows_a_beat(
        self, manager: socket.socket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("WATCHDOG_USEC", "60000")
        monkeypatch.delenv("WATCHDOG_PID", raising=False)
        beats: list[int] = []
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await systemd.watchdog(lambda: beats.append(len(beats)))
        manager.settimeout(0)
        signs = 0
        while signs < len(beats):
            assert manager.recv(64) == b"WATCHDOG=1"
            signs += 1
        assert signs >= 3
        with pytest.raises(BlockingIOError):
            manager.recv(64)

    async def test_a_beat_that_fails_gives_no_sign(
        self, manager: socket.socket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("WATCHDOG_USEC", "60000")
        monkeypatch.delenv("WATCHDOG_PID", raising=False)

        def beat() -> None:
            raise RuntimeError("sick")

        with pytest.raises(RuntimeError, match="sick"):
            await systemd.watchdog(beat)
        manager.settimeout(0)
        with pytest.raises(BlockingIOError):
            manager.recv(64)

    async def test_nobody_watches_and_it_ends(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("WATCHDOG_USEC", raising=False)
        async with asyncio.timeout(5):
            assert await systemd.watchdog(lambda: pytest.fail("nobody watches")) is None  # type: ignore[func-returns-value]


# As execve(2) after sd_listen_fds(3): descriptors from 3 on, and the process's own id.
RECEIVER = """
import os, sys
for number, fd in enumerate(map(int, sys.argv[3:])):
    os.dup2(fd, 3 + number)
os.environ["LISTEN_PID"] = str(os.getpid()) if sys.argv[1] == "ours" else sys.argv[1]
from daemon import systemd
from daemon.errors import ConfigError
try:
    taken = systemd.listen_sockets()
except ConfigError as error:
    sys.exit(f"refused: {error}")
print([passed.getsockname() for passed in taken])
print([passed.getblocking() or os.get_inheritable(passed.fileno()) for passed in taken])
print([name for name in os.environ if name.startswith("LISTEN_")], systemd.listen_sockets())
for passed in taken:
    passed.close()
"""


def receive(*fds: int, count: str | None = None, names: str | None = None, pid: str = "ours") -> str:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("LISTEN_")}
    environment["LISTEN_FDS"] = str(len(fds)) if count is None else count
    if names is not None:
        environment["LISTEN_FDNAMES"] = names
    done = subprocess.run(
        # Copies far above 3: the receiver's dup2 must not overwrite one that it still needs.
        [sys.executable, "-c", RECEIVER, pid, "--", *map(str, fds)],
        pass_fds=fds,
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.fixture
def listeners(tmp_path: Path) -> Iterator[list[socket.socket]]:
    """Two, on descriptors far above those that they are passed as."""
    made = []
    for name in ("api", "metrics"):
        with socket.socket(socket.AF_UNIX) as low:
            low.bind(str(tmp_path / name))
            low.listen()
            made.append(socket.socket(fileno=_high(low.fileno())))
    yield made
    for listener in made:
        listener.close()


def _high(fd: int) -> int:
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100)


class TestPassedSockets:
    def test_they_are_taken_in_order_and_once(self, listeners: list[socket.socket]) -> None:
        names = [listener.getsockname() for listener in listeners]
        seen = receive(*(listener.fileno() for listener in listeners), names="api:metrics")
        assert seen == f"{names}\n[False, False]\n[] []\n"

    @pytest.mark.parametrize("names", [None, "", "api", "api:metrics:more"])
    def test_names_may_be_missing(self, listeners: list[socket.socket], names: str | None) -> None:
        paths = [listener.getsockname() for listener in listeners]
        seen = receive(*(listener.fileno() for listener in listeners), names=names)
        assert seen.startswith(str(paths))

    @pytest.mark.parametrize("pid", ["1", "", "nobody"])
    def test_another_process_s_are_left_alone(self, listeners: list[socket.socket], pid: str) -> None:
        assert receive(listeners[0].fileno(), pid=pid) == "[]\n[]\n[] []\n"

    @pytest.mark.parametrize("count", ["", "many", "-1", "65", "1.0"])
    def test_a_count_that_is_none_is_refused(self, count: str) -> None:
        assert f"refused: LISTEN_FDS: {count!r}" in receive(count=count)

    def test_a_descriptor_that_is_not_open_is_refused_by_name(self, listeners: list[socket.socket]) -> None:
        seen = receive(listeners[0].fileno(), count="9", names="api:b")
        assert seen.startswith("refused: passed descriptor 4 (b) is no socket")

    def test_a_file_is_refused(self, tmp_path: Path) -> None:
        with (tmp_path / "file").open("w") as file:
            high = _high(file.fileno())
        try:
            assert receive(high).startswith("refused: passed descriptor 3 (unnamed) is no socket")
        finally:
            os.close(high)

    @pytest.mark.parametrize("kind", ["SOCK_STREAM", "SOCK_DGRAM", "SOCK_SEQPACKET"])
    def test_one_that_is_no_listening_stream_is_refused(self, kind: str) -> None:
        with socket.socket(socket.AF_UNIX, getattr(socket, kind)) as low:
            if kind == "SOCK_SEQPACKET":
                low.bind("")  # a name of the kernel's choice
                low.listen()
            high = _high(low.fileno())
        try:
            assert "(unnamed) is no listening stream" in receive(high)
        finally:
            os.close(high)
