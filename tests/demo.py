"""`make run`: a daemon on a temporary socket, a harmless sandbox and one that tries to break out."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tests.images import imported
from tests.running import Daemon, daemon

IMAGE = "container-kit-demo:local"

HARMLESS = """
echo "hello from uid $(id -u), pid $$"
echo 6 7 | awk '{print "6 x 7 =", $1 * $2}' | tee answer.txt
"""

# Each line is a step of a real breakout; each must fail. The canary is a file of the host.
BREAKOUT = """
try() {
    what=$1; shift
    if out=$("$@" 2>&1); then echo "NOT DENIED $what"; else echo "denied: $what: ${out##*: }"; fi
}
try "become root (setuid)"               su root -c id
try "mount the host's disk"              mount -t proc proc /tmp
try "make a device node"                 mknod /tmp/disk b 8 0
try "write the root file system"         touch /etc/passwd
try "write core_pattern"                 sh -c 'echo "|/tmp/x" > /proc/sys/kernel/core_pattern'
try "read the host's file"               cat "$CANARY"
try "read it through pid 1"              cat "/proc/1/root$CANARY"
try "enter a new user namespace"         unshare -r true
try "run a dropped program"              sh -c 'cp /bin/busybox /tmp/busybox && /tmp/busybox true'
try "leave by chroot"                    chroot /proc/1/root true
try "reach the network"                  ping -c 1 -W 1 1.1.1.1
try "talk to the Docker Engine"          sh -c 'test -S /var/run/docker.sock'
"""

console = Console(highlight=False, soft_wrap=True)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="container-kit-demo-") as name, imported(IMAGE):
        folder = Path(name)
        canary = folder / "canary"
        canary.write_text("a secret of the host\n")
        with daemon(folder) as running:
            _show_report(running)
            _launch(running, "A harmless program", HARMLESS)
            _launch(running, "A program that tries to break out", f"CANARY={canary}\n{BREAKOUT}")
            _show_blocked(running)
            _show_events(running)


def _show_report(running: Daemon) -> None:
    body = {"image": IMAGE, "command": ["true"], "profile": "strict"}
    report = running.request("POST", "/v1/validate", body).json()
    console.rule("[bold]Security report, before anything runs")
    console.print(
        f"risk level [bold]{report['risk_level']}[/], score {report['score']}, profile {report['profile']}\n"
    )
    table = Table("", "what", "detail", box=None)
    for threat in report["threats"]:
        table.add_row(
            f"[yellow]{threat['severity']}[/]",
            threat["id"],
            escape(f"{threat['reason']}. {threat['remedy']}"),
        )
    for control in report["active_controls"]:
        table.add_row("[green]ok[/]", control["id"], escape(control["detail"]))
    console.print(table)


def _launch(running: Daemon, title: str, script: str) -> None:
    result = running.run(IMAGE, "sh", "-c", script, profile="strict", limits={"timeout_s": "30s"})
    console.rule(f"[bold]{title}")
    console.print(escape(result["stdout"] + result["stderr"]))
    phases = ", ".join(f"{phase} {value:.0f}" for phase, value in result["durations_ms"].items())
    console.print(f"exit code {result['exit_code']}; milliseconds: {phases}")
    if "NOT DENIED" in result["stdout"]:
        raise SystemExit("the demonstration failed: something was not denied")


def _show_blocked(running: Daemon) -> None:
    console.rule("[bold]A request that is never launched")
    mounts = [{"source": "/var/run/docker.sock", "target": "/var/run/docker.sock"}]
    problem: Any = running.run(IMAGE, "true", privileged=True, mounts=mounts)
    console.print(f"[red]{problem['status']} {escape(problem['title'])}[/]")
    for reason in problem["reasons"]:
        console.print(f"  - {escape(reason)}")


TOLD = ("rule_id", "title", "message", "exit_code", "profile")
"""Of an event's details, as far as it has them."""


def _show_events(running: Daemon) -> None:
    console.rule("[bold]The audit log")
    table = Table("seq", "event", "severity", "sandbox", "details", box=None)
    for event in running.events():
        told = [str(event["details"][key]) for key in TOLD if event["details"].get(key) not in (None, "")]
        row = (str(event["seq"]), event["event_type"], event["severity"], event.get("sandbox_id", ""))
        table.add_row(*row, escape(", ".join(told)))
    console.print(table)


if __name__ == "__main__":
    os.umask(0o022)
    main()
