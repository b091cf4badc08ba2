"""Commands as they are run: what they get, what they have not, and that nothing of them stays."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from daemon import ROOT
from daemon.alerts.alert import Notification
from daemon.alerts.channels.command import OUTPUT_BYTES, Command, CommandOptions
from daemon.alerts.evaluation import Evaluation
from daemon.alerts.limit import Limit
from daemon.errors import ConfigError, ExportError
from tests.alerts.making import event, rule

pytestmark = pytest.mark.root
PYTHON = str(Path(sys.executable).resolve())
ESCAPES = """
import os, signal, time
for leave in (os.setsid, lambda: os.setpgid(0, 0)):
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        try: leave()
        except PermissionError: pass
        open(f"{folder}/{os.getpid()}", "w").close()
        time.sleep(3600)
"""


def notification(**details: Any) -> Notification:
    made = Evaluation(rule(), Limit(9, 60), "host.example").take(event(0, **details), 0)
    assert made is not None
    return made


def command(code: str, *arguments: str, **options: Any) -> Command:
    argv = [PYTHON, "-I", "-S", "-c", code, *arguments]
    return Command(
        CommandOptions(**{"name": "c", "kind": "command", "timeout_s": 30, "argv": argv, **options})
    )


@pytest.fixture
def shared() -> Iterator[Path]:
    """Where a command of another user can write, and that it can reach; the folder above it is root's."""
    with tempfile.TemporaryDirectory(prefix="container-kit-test-") as name:
        Path(name).chmod(0o755)
        made = Path(name) / "shared"
        made.mkdir()
        made.chmod(0o777)
        yield made


async def said(code: str, shared: Path, **options: Any) -> Any:
    """What the command wrote as JSON; `say` is its function for it."""
    prefix = f"import json, os, sys\ndef say(x): json.dump(x, open({str(shared / 'said')!r}, 'w'))\n"
    await command(prefix + code, **options).tell(notification(text="a\nb"))
    return json.loads((shared / "said").read_text())


async def until(condition: Callable[[], bool], deadline_s: float = 30) -> None:
    end_s = time.monotonic() + deadline_s
    while not condition() and time.monotonic() < end_s:
        await asyncio.sleep(0.02)
    assert condition()


async def test_the_alert_is_one_line_of_json_on_its_stdin(shared: Path) -> None:
    line = await said("say(sys.stdin.read())", shared)
    assert line.endswith("\n")
    assert line.count("\n") == 1
    got = json.loads(line)
    assert (got["alert"], got["status"], got["subject"], got["severity"]) == ("a", "firing", "s1", "high")
    assert got["event"]["details"]["text"] == "a\nb"
    assert got["id"] == notification(text="a\nb").model_copy(update={"id": got["id"]}).id


async def test_arguments_are_as_they_are_written(shared: Path) -> None:
    arguments = ["$(id)", "; touch x", "*", "a b", ""]
    code = f"import json, sys; json.dump(sys.argv[1:], open({str(shared / 'said')!r}, 'w'))"
    await command(code, *arguments).tell(notification())
    assert json.loads((shared / "said").read_text()) == arguments


async def test_it_has_a_small_environment_and_nothing_of_the_daemons(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "hunter2")
    got = await said("say(dict(os.environ))", shared)
    assert got == {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
    (shared / "said").unlink()
    with (shared.parent / "secret").open("w") as secret:
        os.set_inheritable(secret.fileno(), True)
        links = "[os.path.realpath(f'/proc/self/fd/{n}') for n in os.listdir('/proc/self/fd')]"
        folder, files = await said(f"say([os.getcwd(), {links}])", shared)
    assert folder == "/"
    assert {file for file in files if not file.startswith("/proc/")} == {PYTHON}


async def test_it_is_another_user_without_rights(shared: Path) -> None:
    who = "say([os.getresuid(), os.getresgid(), os.getgroups()])"
    assert await said(who, shared) == [[65534] * 3, [65534] * 3, []]
    (shared / "said").unlink()
    assert (await said(who, shared, user="daemon"))[0] == [1, 1, 1]
    (shared / "said").unlink()
    status = await said("say(open('/proc/self/status').read())", shared)
    assert "NoNewPrivs:\t1" in status
    assert "CapEff:\t0000000000000000" in status
    assert "CapPrm:\t0000000000000000" in status
    assert "Seccomp:\t2" in status


async def test_sockets_are_for_who_asks_for_them(shared: Path) -> None:
    code = "import socket\ntry: socket.socket(); say(True)\nexcept PermissionError: say(False)"
    assert await said(code, shared) is False
    assert await said(code, shared, sockets=True) is True


async def test_a_failure_says_the_code_and_the_last_line(shared: Path) -> None:
    with pytest.raises(ExportError, match=r"exit code 3: no route to the pager$") as raised:
        await command("import sys; print('x\\nno route to the pager', file=sys.stderr); sys.exit(3)").tell(
            notification()
        )
    assert raised.value.retryable
    with pytest.raises(ExportError, match=r"exit code 65: on stdout$") as raised:
        await command("print('on stdout'); raise SystemExit(65)").tell(notification())
    assert not raised.value.retryable


async def test_output_is_cut(shared: Path) -> None:
    code = "import sys; sys.stdout.write('x' * 50_000_000); sys.stderr.write('y' * 50_000_000); sys.exit(1)"
    with pytest.raises(ExportError) as raised:
        await command(code).tell(notification())
    assert len(str(raised.value)) < OUTPUT_BYTES


async def test_one_that_reads_nothing_is_no_failure(shared: Path) -> None:
    await command("").tell(notification(text="x" * 1_000_000))


@pytest.mark.parametrize("ends", ["os._exit(0)", "time.sleep(3600)"])
async def test_what_it_started_ends_with_it(shared: Path, ends: str) -> None:
    """Also where it closes its output, and tries to leave the group that is killed."""
    silent = "import os\nfor n in (0, 1, 2): os.close(n)\n"
    wait = f"while len(os.listdir({str(shared)!r})) < 2: time.sleep(0.02)\n"
    one = command(silent + f"folder = {str(shared)!r}\n" + ESCAPES + wait + ends, timeout_s=3)
    if ends.startswith("time"):
        with pytest.raises(ExportError, match="it took more than 3 s"):
            await one.tell(notification())
    else:
        await one.tell(notification())
    pids = [path.name for path in shared.iterdir()]
    assert len(pids) == 2
    await until(lambda: not any(_lives(pid) for pid in pids))


def _lives(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_a_script_is_run_by_its_interpreter(shared: Path) -> None:
    script = shared.parent / "page"
    script.write_text(f'#!/bin/sh\ncat >{shared}/said\necho "$1" >>{shared}/said\n')
    script.chmod(0o755)
    options = CommandOptions(name="c", kind="command", argv=[str(script), "$HOME"], timeout_s=30)
    await Command(options).tell(notification())
    line, argument, _ = (shared / "said").read_text().split("\n")
    assert (json.loads(line)["alert"], argument) == ("a", "$HOME")


def test_a_program_that_others_could_change_is_refused(shared: Path) -> None:
    program = shared.parent / "page"
    program.write_text("#!/bin/sh\n")
    for argv0, mode, message in [
        ("page", 0o755, "no absolute path"),
        (f"{program}x", 0o755, "No such file"),
        (str(shared), 0o755, "no file that everybody may execute"),
        (str(program), 0o644, "no file that everybody may execute"),
        (str(program), 0o777, "can be changed by others"),
        ("/dev/null", 0o755, "no file that everybody may execute"),
    ]:
        program.chmod(mode)
        with pytest.raises(ConfigError, match=message):
            Command(CommandOptions(name="c", kind="command", argv=[argv0]))
    (shared / "page").write_text("#!/bin/sh\n")
    (shared / "page").chmod(0o755)
    with pytest.raises(ConfigError, match="shared can be changed by others"):
        Command(CommandOptions(name="c", kind="command", argv=[str(shared / "page")]))
    program.chmod(0o755)
    os.chown(program, 1, 1)
    with pytest.raises(ConfigError, match="can be changed by others"):
        Command(CommandOptions(name="c", kind="command", argv=[str(program)]))


@pytest.mark.parametrize(
    ("user", "message"), [("root", "never runs as root"), ("no-such-user", "is no user")]
)
def test_users_that_cannot_be(user: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        command("", user=user)


def test_who_is_not_root_runs_commands_as_itself_alone() -> None:
    os.seteuid(65534)
    try:
        Command(CommandOptions(name="c", kind="command", argv=["/bin/true"], user="nobody"))
        with pytest.raises(ConfigError, match="only root can become daemon: run the daemon as root"):
            command("", user="daemon")
    finally:
        os.seteuid(0)


UNIT = (ROOT / "systemd/container-kitd.service").read_text()
ONE = """
import asyncio
from tests.alerts.test_command import command, notification
asyncio.run(command("import os, sys; sys.exit(40 + (os.getuid() == 65534))").tell(notification()))
"""


@pytest.mark.parametrize(
    ("added", "message"), [("", "add the drop-in alert-commands.conf"), (",+setuid,+setgid", "exit code 41")]
)
def test_with_the_rights_of_the_unit_a_drop_in_is_needed_and_enough(added: str, message: str) -> None:
    """Its system call filter aside."""
    (bounding,) = re.findall(r"^CapabilityBoundingSet=(.*)$", UNIT, re.MULTILINE)
    rights = ",".join(f"+{name.removeprefix('CAP_').lower()}" for name in bounding.split())
    limited = ["setpriv", "--no-new-privs", f"--bounding-set=-all,{rights}{added}"]
    done = subprocess.run([*limited, sys.executable, "-c", ONE], cwd=ROOT, capture_output=True, check=False)
    assert message in done.stderr.decode()
