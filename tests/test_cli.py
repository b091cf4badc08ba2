"""The client against a small daemon on a real Unix socket."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import pty
import signal
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import pytest
from aiohttp import WSCloseCode, WSMsgType, web
from click.testing import CliRunner

from daemon.cli import main

PROGRAM = [sys.executable, "-c", "from daemon.cli import main; main()"]
REPORT = {
    "id": "r1", "risk_level": "CRITICAL", "score": 1000, "blocked": True, "profile": "default",
    "profile_digest": "d", "image": "alpine", "image_id": None,
    "threats": [{"id": "privileged", "severity": "CRITICAL", "reason": "all", "remedy": "leave it out"}],
    "active_controls": [{"id": "seccomp", "detail": "filter"}],
}  # fmt: skip


SANDBOX = {
    "id": "s1", "image": "a\x1b[31m[red]", "state": "running", "profile": "strict", "exit_code": None,
    "owner_uid": 0, "session_id": "s1", "created": "2026-01-01T00:00:00Z",
}  # fmt: skip
FINDING = {
    "last_time": "2026-01-01T00:00:00.5Z", "severity": "high", "rule_id": "mount", "sandbox_id": None,
    "container_id": "c" * 64, "process": {"exe": "/bin/\x1b[2J", "pid": 7}, "count": 3, "action": "kill",
    "title": "t",
}  # fmt: skip
EVENT = {
    "severity": "high", "timestamp": "t", "event_type": "EXECUTION_BLOCKED", "session_id": "x\x9b",
    "action": "launch",
}  # fmt: skip


class Daemon:
    """Answers as the API says, and remembers what came."""

    def __init__(self, socket):
        self.socket, self.requests, self.exit_code, self.lines = socket, [], 3, []
        self.files, self.launched = {}, threading.Event()
        self.closes, self.repeats = WSCloseCode.OK, 1
        self.endless = self.ended = False
        self.doctor = [{"name": "swap", "ok": False, "required": False, "detail": "x", "remedy": "boot"}]

    async def answer(self, request):
        path, body = request.path.removeprefix("/v1/"), await request.read()
        self.requests.append((request.method, request.path_qs, body))
        match request.method, path.split("/"):
            case "POST", ["sandboxes"] if b"privileged" in body:
                problem = {"type": "/problems/execution-blocked", "title": "blocked", "detail": "no",
                           "reasons": ["privileged: \x1b[2J everything"]}  # fmt: skip
                return web.json_response(problem, status=403, content_type="application/problem+json")
            case "POST", ["sandboxes"]:
                return web.json_response({"id": "s1"}, status=201)
            case "GET", ["sandboxes"]:
                return web.json_response({"items": [SANDBOX, {**SANDBOX, "id": "s2", "state": "ended"}]})
            case "POST", ["validate"]:
                return web.json_response({**REPORT, "blocked": b"privileged" in body})
            case "GET", ["sandboxes", "s1"]:
                return web.json_response({**SANDBOX, "tty": False})
            case "GET", ["sandboxes", "s1", "report"]:
                return web.json_response({**REPORT, "blocked": False, "risk_level": "LOW"})
            case "GET", ["sandboxes", "s1", "result"]:
                return web.json_response({"exit_code": self.exit_code, "timed_out": self.exit_code is None})
            case "GET", ["sandboxes", "s1", "logs"]:
                return await self.stream(request, self.lines)
            case "POST", ["sandboxes", "s1", "exec"]:
                return await self.stream(request, [{"stream": "stdout", "data": "hi"}, {"exit_code": 7}])
            case "GET", ["sandboxes", "s1", "attach"] if self.ended:
                problem = {"type": "/problems/sandbox-ended", "title": "sandbox ended", "detail": "no"}
                return web.json_response(problem, status=409)
            case "GET", ["sandboxes", "s1", "attach"]:
                return await self.attach(request)
            case _, ["sandboxes", "dying", *_]:
                return await self.die(request)
            case "PUT", ["sandboxes", "s1", "files", *name]:
                self.files["/".join(name)] = body
                return web.Response(status=204)
            case "GET", ["sandboxes", "s1", "files", *name]:
                return web.Response(body=self.files["/".join(name)])
            case "GET", ["findings"]:
                first = "after" not in request.query
                return web.json_response({"items": [FINDING], "next": "more" if first else None})
            case "GET", ["sandboxes", "s1", "usage"]:
                return web.json_response({"cpu_ns": 1_500_000, "memory_bytes": 3 << 20, "pids": 2})
            case "GET", ["events"]:
                gap = 'event: GAP\ndata: {"first": 1, "last": 7}\n\n'
                return web.Response(
                    text=f"{gap}id: 8\nevent: E\ndata: {json.dumps(EVENT)}\n\n" * self.repeats
                )
            case "GET", ["doctor"]:
                return web.json_response({"items": self.doctor})
            case "POST", ["sandboxes", "s1", "kill"]:
                self.endless = False
                return web.json_response({"id": "s1"})
        return web.json_response({"title": "not found", "detail": "no such thing"}, status=404)

    async def stream(self, request, lines):
        response = web.StreamResponse()
        await response.prepare(request)
        for line in lines:
            await response.write(json.dumps(line).encode() + b"\n")
        self.launched.set()
        while self.endless:
            await asyncio.sleep(0.01)
        return response

    async def die(self, request):
        """In the midst of an answer."""
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b'{"stream": "stdout", "data": "begun"}\n{"stre')
        request.transport.close()
        return response

    async def attach(self, request):
        if self.closes is None:
            request.transport.abort()
            return web.Response()
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.type is WSMsgType.BINARY:
                await socket.send_bytes(b"\x01" + message.data.upper())
            elif json.loads(message.data) == {"eof": True} or self.closes != WSCloseCode.OK:
                await socket.send_bytes(b"\x02done")
                break
        if self.closes == WSCloseCode.ABNORMAL_CLOSURE:
            request.transport.abort()
        await socket.close(code=self.closes)
        return socket


@pytest.fixture
def daemon(tmp_path):
    daemon = Daemon(str(tmp_path / "api.sock"))
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve():
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", daemon.answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.UnixSite(runner, daemon.socket).start()
        ready.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(5)
    yield daemon
    loop.call_soon_threadsafe(stop.set)
    thread.join()
    loop.close()


def call(daemon, *args):
    return CliRunner().invoke(main, ["--socket", daemon.socket, *args])


def test_run_sends_options_splits_streams_and_passes_the_exit_code(daemon):
    daemon.lines = [
        {"stream": "stdout", "data": "out\n"},
        {"stream": "stderr", "base64": "/w=="},
    ]
    result = call(daemon, "run", "-e", "A=b=c", "--memory", "64m", "--timeout", "9s", "--network", "-v",
                  "/a:/b", "-u", "0", "alpine", "sh", "-c", "x")  # fmt: skip
    assert (result.exit_code, result.stdout_bytes, result.stderr_bytes) == (3, b"out\n", b"\xff")
    assert json.loads(daemon.requests[0][2]) == {
        "image": "alpine", "command": ["sh", "-c", "x"], "env": {"A": "b=c"}, "user": 0, "group": 0,
        "limits": {"memory": "64m", "timeout_s": "9s"}, "require_networking": True,
        "security_policy": {"allow_networking": True},
        "mounts": [{"source": "/a", "target": "/b", "read_only": True}],
    }  # fmt: skip


def test_run_without_an_exit_code_says_it_timed_out(daemon):
    daemon.exit_code = None
    assert call(daemon, "run", "alpine").exit_code == 124


def test_refusal_prints_reasons_without_control_characters(daemon):
    result = call(daemon, "run", "--privileged", "alpine")
    assert result.exit_code == 125
    assert "privileged: \\x1b[2J everything" in result.stderr
    assert "\x1b" not in result.stderr


def test_no_daemon_says_how_to_start_it(tmp_path):
    result = CliRunner().invoke(main, ["--socket", str(tmp_path / "none"), "ps"])
    assert result.exit_code == 125
    assert "systemctl start container-kitd" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run", "--json", "-i", "alpine"], "--json and --interactive exclude each other"),
        (["run", "-u", "root", "alpine"], "--user: write numbers, such as 1000:1000"),
        (["run", "-u", "0:root", "alpine"], "--user: write numbers"),
        (["run", "-v", "/a", "alpine"], "'/a' is not SRC:DST[:ro|rw]"),
        (["run", "-v", "/a:/b:rx", "alpine"], "'/a:/b:rx' is not SRC:DST[:ro|rw]"),
        (["run", "-e", "NOT_SET_HERE", "alpine"], "NOT_SET_HERE is not set here: write NOT_SET_HERE=VALUE"),
        (["exec", "-e", "NOT_SET_HERE", "s1", "env"], "NOT_SET_HERE is not set here"),
        (["cp", "/a", "/b"], "one of SRC and DST is ID:PATH"),
        (["cp", "s1:a", "s1:b"], "one of SRC and DST is ID:PATH"),
    ],
)
def test_a_malformed_argument_is_named_and_nothing_is_sent(
    daemon: Daemon, arguments: list[str], told: str
) -> None:
    result = call(daemon, *arguments)
    assert (result.exit_code, daemon.requests) == (2, [])
    assert told in result.stderr


@pytest.mark.parametrize("command", [["run", "-d", "-e", "A", "alpine"], ["exec", "-e", "A", "s1", "env"]])
def test_a_variable_without_a_value_is_the_callers(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.setenv("A", "x=y")
    call(daemon, *command)
    assert json.loads(daemon.requests[0][2])["env"] == {"A": "x=y"}


@pytest.mark.root
def test_without_a_right_to_the_socket_it_says_who_has_one(daemon: Daemon) -> None:
    program = "import os; from daemon.cli import client, main; os.seteuid(4711); main()"
    command = [sys.executable, "-c", program, "--socket", daemon.socket, "ps"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 125
    assert f"no permission to use {daemon.socket}" in done.stderr
    assert "join the socket's group" in done.stderr


def test_detach_prints_the_id(daemon):
    assert call(daemon, "run", "-d", "alpine").stdout == "s1\n"
    assert len(daemon.requests) == 1


def test_interactive_sends_stdin_and_reads_both_channels(daemon):
    done = subprocess.run(
        [*PROGRAM, "--socket", daemon.socket, "run", "-i", "alpine"],
        check=False,
        input=b"abc",
        capture_output=True,
        timeout=30,
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, b"ABC", b"done")


def interactively(daemon: Daemon, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*PROGRAM, "--socket", daemon.socket, *arguments]
    return subprocess.run(command, check=False, input="abc", capture_output=True, text=True, timeout=30)


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (WSCloseCode.TRY_AGAIN_LATER, "not read fast enough\n  the sandbox runs on: attach again"),
        (WSCloseCode.INTERNAL_ERROR, "the connection broke off\n  attach again"),
        (WSCloseCode.ABNORMAL_CLOSURE, "the connection broke off\n  attach again"),
    ],
)
@pytest.mark.parametrize("command", [["attach", "s1"], ["run", "-i", "alpine"]])
def test_a_conversation_that_breaks_off_is_no_end_of_the_sandbox(
    daemon: Daemon, command: list[str], code: WSCloseCode, told: str
) -> None:
    daemon.closes = code
    done = interactively(daemon, *command)
    assert (done.returncode, done.stdout) == (125, "ABC")
    assert told in done.stderr


def test_so_it_is_on_a_terminal(daemon: Daemon) -> None:
    daemon.closes = WSCloseCode.TRY_AGAIN_LATER
    shown = run_on_terminal([*PROGRAM, "--socket", daemon.socket, "run", "-it", "alpine"], {})
    assert "not read fast enough" in shown.splitlines()[-2]
    assert "the sandbox runs on: attach again" in shown.splitlines()[-1]


def test_what_ended_before_the_attach_has_its_output_in_the_logs(daemon: Daemon) -> None:
    daemon.ended, daemon.lines = True, [{"stream": "stdout", "data": "out"}]
    done = interactively(daemon, "run", "-i", "alpine")
    assert (done.returncode, done.stdout, done.stderr) == (3, "out", "")


def test_a_daemon_that_dies_at_the_attach_is_said(daemon: Daemon) -> None:
    daemon.closes = None
    done = interactively(daemon, "run", "-i", "alpine")
    assert done.returncode == 125
    assert done.stderr.startswith("container-kit: the daemon's answer broke off\n")


def test_what_the_server_itself_refuses_is_said(daemon: Daemon) -> None:
    result = call(daemon, "report", "x" * 9000)
    assert (result.exit_code, daemon.requests) == (125, [])
    assert result.stderr.startswith("container-kit: HTTP 400\n  Bad Request\n")


def test_an_attach_that_is_refused_says_why(daemon: Daemon) -> None:
    daemon.ended = True
    done = interactively(daemon, "attach", "s1")
    assert (done.returncode, done.stdout) == (125, "")
    assert "container-kit: sandbox ended" in done.stderr


def test_interrupt_kills_the_sandbox(daemon):
    daemon.endless = True
    process = subprocess.Popen([*PROGRAM, "--socket", daemon.socket, "run", "alpine"])
    assert daemon.launched.wait(20)
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(20) == 130
    assert ("POST", "/v1/sandboxes/s1/kill", b"") in daemon.requests


@pytest.mark.parametrize(("option", "code"), [([], 0), (["--privileged"], 1)])
def test_validate_shows_remedies_and_controls(daemon, option, code):
    result = call(daemon, "validate", *option, "alpine")
    assert result.exit_code == code
    assert "leave it out" in result.stdout
    assert "seccomp" in result.stdout


def test_ps_escapes_hostile_names_and_prints_markup_as_text(daemon):
    result = call(daemon, "ps")
    assert "a\\x1b[31m[red]" in result.stdout
    assert "\x1b" not in result.stdout


def test_exec_passes_output_and_exit_code(daemon):
    result = call(daemon, "exec", "s1", "echo", "-n", "hi")
    assert (result.exit_code, result.stdout) == (7, "hi")
    assert json.loads(daemon.requests[0][2])["command"] == ["echo", "-n", "hi"]


def test_a_problem_in_the_midst_of_the_output_is_said(daemon: Daemon) -> None:
    problem = {"status": 503, "title": "engine unavailable", "detail": "start the engine"}
    daemon.lines = [{"stream": "stdout", "data": "begun"}, {"problem": problem}]
    result = call(daemon, "logs", "s1")
    assert (result.exit_code, result.stdout) == (125, "begun")
    assert result.stderr == "container-kit: engine unavailable\n  start the engine\n"


@pytest.mark.parametrize("command", [["logs", "dying"], ["exec", "dying", "id"], ["report", "dying"]])
def test_a_daemon_that_dies_in_the_midst_of_its_answer_is_said(daemon: Daemon, command: list[str]) -> None:
    result = call(daemon, *command)
    assert result.exit_code == 125
    assert "container-kit: the daemon's answer broke off" in result.stderr
    assert "journalctl -u container-kitd" in result.stderr
    assert ("begun" in result.stdout) is (command[0] != "report")


@pytest.mark.parametrize("command", [["logs", "s1"], ["events"], ["events", "--json"]])
def test_who_reads_no_further_ends_it_without_a_word(daemon: Daemon, command: list[str]) -> None:
    daemon.lines, daemon.repeats = [{"stream": "stdout", "data": "x" * 65536}] * 32, 100_000
    reading, writing = os.pipe()
    os.close(reading)
    whole = [*PROGRAM, "--socket", daemon.socket, *command]
    done = subprocess.run(whole, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert done.returncode == 1
    assert [line for line in done.stderr.splitlines() if "only in the audit log" not in line] == []


def test_each_id_is_tried(daemon):
    result = call(daemon, "kill", "nope/../s1", "s1")
    assert (result.exit_code, result.stdout) == (125, "s1\n")
    assert daemon.requests[0][1] == "/v1/sandboxes/nope%2F..%2Fs1/kill"


def test_cp_in_and_out(daemon, tmp_path):
    (tmp_path / "in").write_bytes(b"\x00data")
    assert call(daemon, "cp", str(tmp_path / "in"), "s1:/workspace/d/").exit_code == 0
    assert daemon.files == {"d/in": b"\x00data"}
    assert call(daemon, "cp", "s1:d/in", str(tmp_path / "back")).exit_code == 0
    assert (tmp_path / "back").read_bytes() == b"\x00data"


def test_cp_of_a_tree_round_trips(daemon, tmp_path):
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "f").write_text("x")
    assert call(daemon, "cp", str(tmp_path / "tree"), "s1:t").exit_code == 0
    assert daemon.requests[-1][1] == "/v1/sandboxes/s1/files/t?tar=true"
    assert call(daemon, "cp", "-r", "s1:t", str(tmp_path / "back")).exit_code == 0
    assert (tmp_path / "back" / "f").read_text() == "x"


def test_cp_never_writes_outside_the_target(daemon, tmp_path):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("../escaped"), io.BytesIO())
    daemon.files["t"] = packed.getvalue()
    assert call(daemon, "cp", "-r", "s1:t", str(tmp_path / "back")).exit_code == 125
    assert not (tmp_path / "escaped").exists()


@pytest.mark.parametrize("path", ["/etc/passwd", "/workspaces/a", "/"])
def test_cp_is_of_the_workspace_alone(daemon: Daemon, tmp_path: Path, path: str) -> None:
    result = call(daemon, "cp", f"s1:{path}", str(tmp_path))
    assert (result.exit_code, daemon.requests) == (125, [])
    assert f"{path}: only /workspace can be copied" in result.stderr


@pytest.mark.parametrize("recursive", [[], ["-r"]])
def test_a_copy_that_breaks_off_leaves_nothing_here(
    daemon: Daemon, tmp_path: Path, recursive: list[str]
) -> None:
    result = call(daemon, "cp", *recursive, "dying:f", str(tmp_path / "f"))
    assert result.exit_code == 125
    assert "broke off" in result.stderr
    assert not (tmp_path / "f").exists()


def test_workspace_sends_files_with_their_modes(daemon, tmp_path):
    (tmp_path / "a.sh").write_text("hi")
    (tmp_path / "a.sh").chmod(0o755)
    socket_free = tmp_path / "w"
    socket_free.mkdir()
    (tmp_path / "a.sh").rename(socket_free / "a.sh")
    call(daemon, "run", "-d", "--workspace", str(socket_free), "alpine")
    files = json.loads(daemon.requests[0][2])["files"]
    assert files == {"a.sh": {"content": "aGk=", "encoding": "base64", "mode": 0o755}}


@pytest.mark.parametrize("kind", ["large", "many", "link"])
def test_workspace_refuses_what_does_not_fit(daemon, tmp_path, kind):
    folder = tmp_path / "w"
    folder.mkdir()
    if kind == "large":
        (folder / "f").write_bytes(bytes((4 << 20) + 1))
    elif kind == "many":
        for number in range(257):
            (folder / str(number)).touch()
    else:
        (folder / "f").symlink_to("/etc/passwd")
    result = call(daemon, "run", "--workspace", str(folder), "alpine")
    assert result.exit_code == 125
    assert "--workspace" in result.stderr
    assert daemon.requests == []


def test_events_filter_and_escape(daemon):
    result = call(daemon, "events", "--severity", "high", "-f")
    assert "EXECUTION_BLOCKED" in result.stdout
    assert "x\\x9b" in result.stdout
    assert daemon.requests[0][1] == "/v1/events?severity=high&follow=true"
    assert "events 1 to 7 are only in the audit log" in result.stderr


def test_events_as_json_are_one_a_line(daemon: Daemon) -> None:
    daemon.repeats = 2
    assert list(map(json.loads, call(daemon, "events", "--json").stdout.splitlines())) == [EVENT, EVENT]


def test_ps_shows_what_runs_and_with_all_the_rest(daemon):
    assert "s2" not in call(daemon, "ps").stdout
    assert "s2" in call(daemon, "ps", "-a").stdout
    assert [item["id"] for item in json.loads(call(daemon, "ps", "--json").stdout)] == ["s1"]


def test_findings_are_of_every_page_and_cannot_steer_the_terminal(daemon):
    result = call(daemon, "findings", "--severity", "high")
    assert [request[1] for request in daemon.requests] == [
        "/v1/findings?severity=high",
        "/v1/findings?severity=high&after=more",
    ]
    assert result.stdout.count("/bin/\\x1b[2J (7)") == 2
    assert json.loads(call(daemon, "findings", "--json").stdout) == [FINDING, FINDING]
    assert "c" * 12 in result.stdout


def test_usage_is_in_units_and_json_is_exact(daemon):
    shown = call(daemon, "usage", "s1").stdout
    assert "1.5 ms" in shown
    assert "3 MiB" in shown
    assert json.loads(call(daemon, "usage", "s1", "--json").stdout)["memory_bytes"] == 3 << 20


def test_a_file_that_is_not_here_is_said_without_a_traceback(daemon, tmp_path):
    result = call(daemon, "cp", str(tmp_path / "absent"), "s1:")
    assert result.exit_code == 125
    assert "No such file or directory" in result.stderr
    assert str(tmp_path / "absent") in result.stderr


def complete(daemon, typed):
    """What the tab key offers after `typed`, as bash asks for it."""
    words = ["container-kit", *typed]
    environment = {
        **os.environ,
        "_CONTAINER_KIT_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(len(words) - 1),
        "CONTAINER_KIT_SOCKET": daemon.socket,
    }
    done = subprocess.run(
        [sys.executable, "-c", "from daemon.cli import main; main(prog_name='container-kit')"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


def test_the_tab_key_offers_commands_sandboxes_and_event_types(daemon):
    assert complete(daemon, ["pro"]) == ["profiles"]
    assert complete(daemon, ["kill", "s"]) == ["s1", "s2"]
    assert "EXECUTION_BLOCKED" in complete(daemon, ["events", "--type", "EXEC"])


def test_the_tab_key_is_quiet_without_a_daemon(daemon):
    daemon.socket += ".none"
    assert complete(daemon, ["kill", ""]) == []


@pytest.mark.parametrize(("variables", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colours_are_for_terminals_that_want_them(daemon, variables, coloured):
    """On a pipe there are none: every other test here reads one."""
    shown = run_on_terminal([*PROGRAM, "--socket", daemon.socket, "ps"], variables)
    assert ("\x1b[" in shown.replace("\\x1b[", "")) is coloured
    shown = run_on_terminal([*PROGRAM, "--socket", daemon.socket, "kill", "nope"], variables)
    assert ("\x1b[31m" in shown) is coloured


def run_on_terminal(command, variables):
    ours, theirs = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    environment |= {"TERM": "xterm-256color", **variables}
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # EIO: the other end is closed
            while data := os.read(ours, 65536):
                shown += data
        process.wait(20)
    os.close(ours)
    return shown.decode()


@pytest.mark.parametrize("required", [False, True])
def test_doctor_fails_only_for_what_is_required(daemon, required):
    daemon.doctor[0]["required"] = required
    result = call(daemon, "doctor")
    assert result.exit_code == int(required)
    assert "boot" in result.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell):
    result = CliRunner().invoke(main, ["completion", shell])
    assert result.exit_code == 0
    assert f"_CONTAINER_KIT_COMPLETE={shell}_complete" in result.stdout
