"""The sandbox's pid 1, as pid 1 of a PID namespace of its own, with a user other than root."""

from __future__ import annotations

import ctypes
import os
import platform
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from select import PIPE_BUF

import pytest

from daemon import PROFILES
from daemon.sandbox import init
from daemon.sandbox.farewell import awaits_go
from tests.sandbox.init_process import (
    AS_USER,
    DEADLINE_S,
    NAMESPACE,
    children,
    end,
    go,
    init_of,
    opened,
    read_until,
    run,
    started,
    until,
    waiting,
)

PYTHON = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable

pytestmark = pytest.mark.root


@pytest.fixture(autouse=True)
def deadline() -> Iterator[None]:
    """What is tested here hangs when it is wrong: that must fail one test, not hold up the run."""

    def expired(*_: object) -> None:
        raise TimeoutError(f"not done after {2 * DEADLINE_S} s")

    previous = signal.signal(signal.SIGALRM, expired)
    signal.alarm(2 * DEADLINE_S)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)


class TestHandshake:
    def test_ready_comes_before_anything_is_run(self, program: Path) -> None:
        with waiting(program, "echo", "ran") as process:
            assert process.stdout is not None
            assert not select.select([process.stdout], [], [], 0.1)[0]
            go(process)
            assert process.communicate(timeout=DEADLINE_S) == (b"ran\n", b"")
        assert process.returncode == 0

    @pytest.mark.parametrize(
        "word",
        [
            b"g",
            b"go",
            b"no\n",
            b"gone\n",
            b"GO\n",
            b"go \n",
            b"go\r\n",
            b"\n",
            b" go\n",
            b"go\n\n",
            b"go\0\n",
        ],
    )
    def test_anything_but_the_word_is_refused_in_silence(self, program: Path, word: bytes) -> None:
        assert run(program, "echo", "ran", word=word) == (125, b"", b"")

    def test_no_input_is_taken_for_the_go(self, program: Path) -> None:
        with waiting(program, "cat") as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(init.GO)
            assert not select.select([process.stdout], [], [], 0.1)[0]
            go(process)
            assert process.communicate(b"more\n", DEADLINE_S) == (b"go\nmore\n", b"")

    def test_without_a_go_it_leaves(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(init, "FLAGS", (*init.FLAGS, "-DGO_DEADLINE_MS=300"))
        impatient = init.build(tmp_path / "container-kit-init")
        with waiting(impatient, "echo", "ran", within=NAMESPACE) as process:
            assert process.communicate(timeout=DEADLINE_S) == (b"", b"")
        assert process.returncode == 125

    def test_what_follows_is_the_commands_to_the_last_byte(self, program: Path) -> None:
        content = os.urandom(1 << 20) + b"go\n\x06"
        assert run(program, "cat", given=content) == (0, content, b"")

    def test_the_command_may_get_no_input_at_all(self, program: Path) -> None:
        assert run(program, "cat") == (0, b"", b"")


class TestSpare:
    """It is given no program: that comes with the go."""

    def test_it_runs_what_it_is_told(self, program: Path) -> None:
        told = b"4\0sh\0-c\0echo $0 $A $PATH; cat\0a  b\nc\0A=1 2\0PATH=/bin:/usr/bin\0"
        output = b"a b c 1 2 /bin:/usr/bin\ngiven"
        assert run(program, word=init.GO + told, given=b"given") == (0, output, b"")

    def test_its_status_is_the_commands(self, program: Path) -> None:
        assert run(program, word=init.GO + b"3\0sh\0-c\0exit 7\0")[0] == 7
        assert run(program, word=init.GO + b"1\0no-such-program\0")[0] == 127

    def test_an_order_may_fill_the_pipes_atom(self, program: Path) -> None:
        told = init.GO + b"2\0echo\0"
        long = b"x" * (PIPE_BUF - len(told) - 1)
        assert run(program, word=told + long + b"\0") == (0, long + b"\n", b"")

    @pytest.mark.parametrize(
        "told",
        [b"", b"\0", b"0\0", b"0\0sh\0", b"2\0sh\0", b"-1\0sh\0", b"x\0sh\0", b"99999999999\0sh\0", b"sh\0"],
    )
    def test_what_is_no_order_is_refused(self, program: Path, told: bytes) -> None:
        assert run(program, word=init.GO + told) == (125, b"", b"")

    def test_who_has_a_program_takes_no_other(self, program: Path) -> None:
        assert run(program, "echo", "own", word=init.GO + b"1\0true\0") == (125, b"", b"")


class TestExit:
    @pytest.mark.parametrize("status", [0, 1, 42, 125, 255])
    def test_status_is_the_commands(self, program: Path, status: int) -> None:
        assert run(program, "sh", "-c", f"exit {status}")[0] == status

    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGRTMAX])
    def test_a_signal_counts_from_128(self, program: Path, number: int) -> None:
        assert run(program, "sh", "-c", f"kill -{number:d} $$")[0] == 128 + number

    def test_not_found(self, program: Path) -> None:
        status, output, errors = run(program, "no-such-program")
        assert (status, output) == (127, b"")
        assert errors == b"container-kit: cannot run no-such-program: No such file or directory\n"

    @pytest.mark.parametrize("name", ["/etc", "/etc/passwd"])
    def test_not_executable(self, program: Path, name: str) -> None:
        status, output, errors = run(program, name)
        assert (status, output) == (126, b"")
        assert errors == f"container-kit: cannot run {name}: Permission denied\n".encode()

    def test_no_process_left_for_it(self, program: Path) -> None:
        # The limit counts all processes of the user, so one that nobody else has.
        user = ("setpriv", "--reuid=20783", "--regid=20783", "--clear-groups", "prlimit", "--nproc=1")
        status, _, errors = run(program, "true", within=(*NAMESPACE, *user))
        assert status == 126
        assert errors == b"container-kit: cannot run true: Resource temporarily unavailable\n"

    def test_path_is_the_commands_own(self, program: Path) -> None:
        assert run(program, "own")[0] == 127
        found = program.parent / "own"
        found.write_text("#!/bin/sh\necho found\n")
        found.chmod(0o755)
        assert run(program, "own", path=f"{program.parent}:/bin") == (0, b"found\n", b"")

    def test_the_rest_ends_with_the_command(self, program: Path) -> None:
        """A background process holds stdout: were it alive, there would be no end of it."""
        begin_s = time.monotonic()
        assert run(program, "sh", "-c", "sleep 60 & exit 3")[0] == 3
        assert time.monotonic() - begin_s < 30


@contextmanager
def heard(program: Path, *command: str) -> Iterator[tuple[FileIO, subprocess.Popen[bytes]]]:
    """The init itself as the child, its farewell opened as the daemon does it: before the go."""
    with (
        waiting(program, *command, within=AS_USER) as process,
        opened(process.pid, init.FAREWELL_FD, "r") as farewell,
    ):
        go(process)
        yield farewell, process


class TestFarewell:
    def test_it_stays_until_it_has_been_heard(self, program: Path) -> None:
        with heard(program, "sh", "-c", "exit 3") as (farewell, process):
            assert select.select([farewell], [], [], DEADLINE_S)[0]
            assert farewell.read(2) == b"\0"
            assert children(process) == []
            assert process.poll() is None
            farewell.close()
            begin_s = time.monotonic()
            assert process.wait(DEADLINE_S) == 3
            assert time.monotonic() - begin_s < 0.5  # of a second that it would wait

    def test_it_is_not_said_before_the_end(self, program: Path) -> None:
        with heard(program, "sleep", "60") as (farewell, process):
            until(lambda: children(process) != [])
            assert not select.select([farewell], [], [], 0.1)[0]

    def test_who_listens_and_does_nothing_holds_it_up_for_a_second(self, program: Path) -> None:
        with heard(program, "true") as (farewell, process):
            assert select.select([farewell], [], [], DEADLINE_S)[0]
            begin_s = time.monotonic()
            assert process.wait(DEADLINE_S) == 0
            assert 0.5 < time.monotonic() - begin_s < 5

    def test_killed_it_says_nothing(self, program: Path) -> None:
        with heard(program, "sleep", "60") as (farewell, process):
            until(lambda: children(process) != [])
            (command,) = children(process)
            process.kill()
            assert select.select([farewell], [], [], DEADLINE_S)[0]
            assert farewell.read(2) == b""
            os.kill(command, signal.SIGKILL)

    def test_a_second_listener_may_follow_one_that_died(self, program: Path) -> None:
        with heard(program, "sh", "-c", "read line; exit 3") as (farewell, process):
            farewell.close()
            with opened(process.pid, init.FAREWELL_FD, "r") as second:
                assert process.stdin is not None
                process.stdin.write(b"\n")
                assert select.select([second], [], [], DEADLINE_S)[0]
                assert (second.read(2), process.poll()) == (b"\0", None)
            assert process.wait(DEADLINE_S) == 3

    def test_the_command_has_no_part_in_it(self, program: Path) -> None:
        assert run(program, "sh", "-c", "ls /proc/self/fd") == (0, b"0\n1\n2\n3\n", b"")


ORPHANS = """
import os, sys, time
def children_of_init():
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            state, parent = open(f"/proc/{name}/stat").read().rpartition(")")[2].split()[:2]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == "1" and int(name) != os.getpid():
            yield state
read, write = os.pipe()
for _ in range(20):
    if os.fork() == 0:
        if os.fork() == 0:
            while os.getppid() != 1:
                time.sleep(0.001)
            os.write(write, b"x")
        os._exit(0)
    os.wait()
adopted = b""
while len(adopted) < 20:
    adopted += os.read(read, 20)
until = time.monotonic() + 10
while list(children_of_init()) and time.monotonic() < until:
    time.sleep(0.005)
print(len(adopted), list(children_of_init()))
"""

ANSWERS = """
import signal
numbers = {*range(1, signal.NSIG)} - {9, 17, 19, 32, 33}
signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
print("waiting", flush=True)
while True:
    print(signal.sigwait(numbers), flush=True)
"""


RESERVED = (32, 33)  # the C library's own: its signal(3) refuses them, and some programs leave them ignored


def ignore_raw(number: int) -> None:
    """rt_sigaction(2) itself, with SIG_IGN as the handler of struct kernel_sigaction."""
    action = (ctypes.c_ulong * 4)(1, 0, 0, 0)
    rt_sigaction = {"x86_64": 13, "aarch64": 134}[platform.machine()]
    if ctypes.CDLL(None, use_errno=True).syscall(rt_sigaction, number, ctypes.byref(action), None, 8) != 0:
        raise OSError(ctypes.get_errno(), "rt_sigaction")


class TestProcesses:
    def test_orphans_are_reaped(self, program: Path) -> None:
        assert run(program, PYTHON, "-c", ORPHANS) == (0, b"20 []\n", b"")

    def test_signals_are_forwarded(self, program: Path) -> None:
        forwarded = [1, 2, 3, 10, 12, 13, 14, 15, 18, 20, 28, 34, 64]
        with started(program, PYTHON, "-c", ANSWERS) as process:
            assert process.stdout is not None
            read_until(process.stdout.fileno(), b"waiting\n")
            for number in forwarded:
                os.kill(children(process)[0], number)
                assert int(read_until(process.stdout.fileno(), b"\n")) == number

    def test_a_signal_reaches_the_whole_group(self, program: Path) -> None:
        """The shell ignores it, its child does not: the status is what the shell says of the child."""
        script = "(trap - TERM; echo up; exec sleep 60) & trap : TERM; wait $!; wait $!; exit $?"
        with started(program, "sh", "-c", script) as process:
            assert process.stdout is not None
            read_until(process.stdout.fileno(), b"up\n")
            os.kill(children(process)[0], signal.SIGTERM)
            assert process.wait(DEADLINE_S) == 128 + signal.SIGTERM

    def test_the_command_starts_with_default_signals(self, program: Path) -> None:
        def unusual() -> None:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1})
            for number in (signal.SIGHUP, signal.SIGPIPE, signal.SIGCHLD):
                signal.signal(number, signal.SIG_IGN)
            for number in RESERVED:
                ignore_raw(number)

        with waiting(program, "cat", "/proc/self/status", within=(), before=unusual) as process:
            go(process)
            output, _ = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 0
        for field in ("SigBlk", "SigIgn", "SigCgt"):
            assert f"{field}:\t{0:016x}\n" in output.decode()

    def test_it_holds_no_end_of_the_pipes(self, program: Path) -> None:
        with started(program, "sh", "-c", "exec <&- >&- 2>&-; exec sleep 60", within=()) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stdout.read() == b""
            assert process.poll() is None
            with pytest.raises(BrokenPipeError):
                process.stdin.write(b"nobody reads this")
            process.stdin.close()


class TestSecrecy:
    def test_its_own_user_cannot_look_into_it(self, program: Path) -> None:
        script = "stat -c %u /proc/1/mem /proc/self/mem; ls /proc/1/fd; cat /proc/1/environ; cat /proc/1/mem"
        status, output, errors = run(program, "sh", "-c", script)
        assert output == b"0\n1000\n"
        assert errors.count(b"Permission denied") == 3
        assert status == 1

    def test_its_own_user_cannot_trace_it(self, program: Path) -> None:
        attach = (
            "import ctypes; libc = ctypes.CDLL(None, use_errno=True)\n"
            "print(libc.ptrace(0x4206, 1, 0, 0), ctypes.get_errno())"  # PTRACE_SEIZE
        )
        assert run(program, PYTHON, "-c", attach)[:2] == (0, b"-1 1\n")  # EPERM

    def test_the_command_itself_can_be_debugged(self, program: Path) -> None:
        dumpable = "import ctypes; print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"  # PR_GET_DUMPABLE
        assert run(program, PYTHON, "-c", dumpable)[:2] == (0, b"1\n")


@contextmanager
def on_terminal(program: Path, *command: str) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """The user's side, and the process around the init, which leads a session on the other."""
    ours, theirs = pty.openpty()
    line = [*NAMESPACE, "setsid", "--ctty", str(program), *command]
    try:
        with subprocess.Popen(line, stdin=theirs, stdout=theirs, stderr=theirs) as process:
            try:
                pid = init_of(process)
                until(lambda: awaits_go(pid))
                yield ours, process
            finally:
                end(process)
    finally:
        os.close(ours)
        os.close(theirs)


class TestTerminal:
    def test_its_settings_are_the_commands(self, program: Path) -> None:
        with on_terminal(program, "cat") as (ours, process):
            go(process)
            os.write(ours, b"typed\n")
            assert read_until(ours, b"typed\r\ntyped\r\n") == b"typed\r\ntyped\r\n"
            os.write(ours, b"\x04")
            assert process.wait(DEADLINE_S) == 0

    def test_input_that_came_before_the_go_is_the_commands(self, program: Path) -> None:
        with on_terminal(program, "head", "-n1") as (ours, process):
            os.write(ours, b"at once\n")
            go(process)
            assert b"at once\r\n" in read_until(ours, b"at once\r\n")
            assert process.wait(DEADLINE_S) == 0

    def test_the_command_has_the_terminal(self, program: Path) -> None:
        script = "import os; print(os.tcgetpgrp(0) == os.getpid() == os.getpgrp())"
        with on_terminal(program, PYTHON, "-c", script) as (ours, process):
            go(process)
            assert read_until(ours, b"\r\n") == b"True\r\n"

    def test_the_interrupt_key_ends_the_command(self, program: Path) -> None:
        with on_terminal(program, "sh", "-c", "echo up; exec sleep 60") as (ours, process):
            go(process)
            read_until(ours, b"up")
            os.write(ours, b"\x03")
            assert process.wait(DEADLINE_S) == 128 + signal.SIGINT

    def test_the_stop_key_does_not_strand_the_command(self, program: Path) -> None:
        with on_terminal(program, "sh", "-c", "echo up; exec cat") as (ours, process):
            go(process)
            read_until(ours, b"up\r\n")
            os.write(ours, b"\x1a")
            read_until(ours, b"^Z")
            os.write(ours, b"more\n")
            assert read_until(ours, b"more\r\nmore\r\n")


@pytest.mark.docker
@pytest.mark.parametrize("profile", sorted(path.stem for path in (PROFILES / "seccomp").glob("*.json")))
def test_it_needs_no_call_that_a_profile_denies(program: Path, image: str, profile: str) -> None:
    name = f"container-kit-test-init-{profile}-{os.getpid()}"
    line = [
        *("docker", "run", "--rm", f"--name={name}", "--read-only", "--network=none"),
        *("--user=1000:1000", "--cap-drop=ALL", "--security-opt=no-new-privileges"),
        f"--security-opt=seccomp={PROFILES}/seccomp/{profile}.json",
        f"--mount=type=bind,src={program},dst={init.MOUNT_POINT},ro",
        *("--entrypoint", init.MOUNT_POINT, image, "cat"),
    ]
    with subprocess.Popen(line) as process, removed(name):
        until(lambda: pid_in(name) > 0)
        pid = pid_in(name)
        until(lambda: awaits_go(pid))
        with opened(pid, init.INPUT_FD, "w") as given, opened(pid, init.OUTPUT_FD, "r") as output:
            with opened(pid, init.GO_FD, "w") as pipe:
                pipe.write(init.GO)
            given.write(b"hello")
            given.close()
            assert output.readall() == b"hello"
        assert process.wait(DEADLINE_S) == 0


@contextmanager
def removed(container: str) -> Iterator[None]:
    try:
        yield
    finally:
        subprocess.run(["docker", "rm", "-f", container], capture_output=True, check=False)


def pid_in(container: str) -> int:
    """0 where it does not run yet."""
    line = ["docker", "inspect", "--format={{.State.Pid}}", container]
    return int(subprocess.run(line, capture_output=True, check=False).stdout.strip() or 0)


class TestBuild:
    def test_the_program_needs_nothing_of_the_image(self, program: Path) -> None:
        headers = subprocess.run(
            ["readelf", "--program-headers", str(program)], capture_output=True, text=True, check=True
        ).stdout
        assert "LOAD" in headers
        assert "INTERP" not in headers
        assert program.stat().st_mode & 0o777 == 0o755

    def test_the_same_again_changes_nothing(self, tmp_path: Path) -> None:
        before = init.build(tmp_path / "init").stat()
        after = init.build(tmp_path / "init").stat()
        assert (after.st_ino, after.st_ctime_ns) == (before.st_ino, before.st_ctime_ns)

    def test_a_rebuild_leaves_the_running_one_alone(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        destination = init.build(tmp_path / "init")
        old = destination.stat().st_ino
        monkeypatch.setattr(init, "FLAGS", (*init.FLAGS, "-DGO_DEADLINE_MS=60000"))
        with waiting(destination, "true", within=()) as process:
            assert init.build(destination).stat().st_ino != old
            go(process)
            process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 0
        assert list(tmp_path.iterdir()) == [destination]

    def test_without_a_compiler_the_package_is_named(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(RuntimeError, match="no C compiler: apt-get install gcc libc6-dev"):
            init.build(tmp_path / "init")
        assert list(tmp_path.iterdir()) == []

    def test_without_a_static_library_the_package_is_named(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(init, "FLAGS", (*init.FLAGS, "-nostdlib", "-L", str(tmp_path), "-lc-missing"))
        with pytest.raises(RuntimeError, match="apt-get install libc6-dev"):
            init.build(tmp_path / "init")

    def test_a_source_that_does_not_compile_says_why(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "init.c").write_text("int main(void) { int unused; return 0; }\n")
        monkeypatch.setattr(init, "SOURCE", tmp_path / "init.c")
        with pytest.raises(RuntimeError, match="unused"):
            init.build(tmp_path / "init")
