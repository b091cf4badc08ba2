"""The options of `run` and `validate`, and the SandboxOptions that they make."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from daemon.cli.suggestions import profiles
from daemon.cli.workspace import read_files

Command = Callable[..., None]
LIMITS = {
    "memory": "Bytes of memory, such as 512m.",
    "cpus": "CPUs, such as 0.5.",
    "pids": "Processes and threads.",
    "timeout": "Wall-clock time, such as 90s.",
    "workspace-size": "Size of /workspace.",
    "tmp-size": "Size of /tmp and of /var/tmp.",
    "output": "Bytes kept of stdout and of stderr.",
}


def sandbox_options(command: Command) -> Command:
    """Adds the image, the command and every option of a sandbox."""
    directory = click.Path(exists=True, file_okay=False, path_type=Path)
    decorators = [
        click.argument("image"),
        click.argument("command", nargs=-1, type=click.UNPROCESSED),
        click.option("-i", "--interactive", is_flag=True, help="Keep stdin open and send it."),
        click.option("-t", "--tty", is_flag=True, help="Give the program a terminal."),
        click.option("-e", "--env", multiple=True, metavar="NAME[=VALUE]", help="Set a variable."),
        click.option("-w", "--workdir", metavar="PATH", help="Directory to start in."),
        click.option("-u", "--user", metavar="UID[:GID]", help="Numeric; default 1000:1000."),
        click.option("--profile", shell_complete=profiles, help="Security profile."),
        click.option("--session", help="Session that the sandbox belongs to."),
        click.option("--runtime", help="OCI runtime of the engine."),
        *(click.option(f"--{name}", help=text) for name, text in LIMITS.items()),
        click.option("--network", is_flag=True, help="Ask for a network."),
        click.option("-v", "--volume", multiple=True, metavar="SRC:DST[:ro|rw]", help="Mount; ro unless rw."),
        click.option("--cap-add", multiple=True, help="Ask for a capability."),
        click.option("--device", multiple=True, help="Ask for a device."),
        click.option("--privileged", is_flag=True, help="Ask for everything; refused."),
        click.option("--workspace", type=directory, help="Copy a directory of up to 4 MiB to /workspace."),
        click.option("-l", "--label", multiple=True, metavar="NAME=VALUE", help="Set a label."),
    ]
    for decorator in reversed(decorators):
        command = decorator(command)
    return command


def build_options(given: dict[str, Any]) -> dict[str, Any]:
    """The request's body; what was not given is left to the daemon's hardened defaults."""
    request = {
        "image": given["image"],
        "command": list(given["command"]),
        "interactive": given["interactive"],
        "tty": given["tty"],
        "env": variables(given["env"]),
        "working_dir": given["workdir"],
        "profile": given["profile"],
        "session_id": given["session"],
        "runtime": given["runtime"],
        "limits": _limits(given),
        "mounts": [_mount(text) for text in given["volume"]],
        "capabilities": list(given["cap_add"]),
        "devices": list(given["device"]),
        "privileged": given["privileged"],
        "labels": dict(_label(text) for text in given["label"]),
        "files": read_files(given["workspace"]) if given["workspace"] else {},
        **_network(given["network"]),
    }
    return {name: value for name, value in request.items() if value} | _user(given["user"])


def _network(wanted: bool) -> dict[str, Any]:
    if not wanted:
        return {}
    return {"require_networking": True, "security_policy": {"allow_networking": True}}


def _limits(given: dict[str, Any]) -> dict[str, Any]:
    limits = {name.replace("-", "_"): given[name.replace("-", "_")] for name in LIMITS}
    limits["timeout_s"] = limits.pop("timeout")
    return {name: value for name, value in limits.items() if value is not None}


def _user(text: str | None) -> dict[str, int]:
    """0 is sent too: the daemon refuses it, and says why."""
    if text is None:
        return {}
    user, _, group = text.partition(":")
    if not user.isdecimal() or not (group or user).isdecimal():
        raise click.BadParameter("write numbers, such as 1000:1000", param_hint="--user")
    return {"user": int(user), "group": int(group or user)}


def variables(texts: Iterable[str]) -> dict[str, str]:
    return dict(_variable(text) for text in texts)


def _variable(text: str) -> tuple[str, str]:
    """As docker does, a name alone takes the caller's value."""
    name, equals, value = text.partition("=")
    if equals:
        return name, value
    if name not in os.environ:
        raise click.BadParameter(f"{name} is not set here: write {name}=VALUE", param_hint="--env")
    return name, os.environ[name]


def _label(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


def _mount(text: str) -> dict[str, Any]:
    source, _, rest = text.partition(":")
    target, _, mode = rest.partition(":")
    if not source or not target or mode not in {"", "ro", "rw"}:
        raise click.BadParameter(f"{text!r} is not SRC:DST[:ro|rw]", param_hint="--volume")
    return {"source": str(Path(source).absolute()), "target": target, "read_only": mode != "rw"}
