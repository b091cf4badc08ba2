"""Kinds of sandboxes: what a spare is made for, and what it is told only when it becomes a launch."""

from __future__ import annotations

import json
import select
from dataclasses import dataclass

from daemon.sandbox import init
from daemon.sandbox.checks import Subject
from daemon.sandbox.options import SandboxOptions

_OF_A_LAUNCH = ("Cmd", "Env", "Labels")

Kind = tuple[str, str]


@dataclass(frozen=True)
class Wanted:
    """`count` spares of what these options ask for; their command does not matter."""

    options: SandboxOptions
    count: int


def kind_of(subject: Subject) -> Kind | None:
    """What a spare must be to become this; None where none can be."""
    options = subject.options
    if options.mounts or options.labels or options.tty or subject.egress is not None:
        return None
    if len(init.GO) + len(order(subject)) > select.PIPE_BUF:
        return None
    rest = {name: value for name, value in subject.body.items() if name not in _OF_A_LAUNCH}
    return subject.profile.digest, json.dumps(rest)


def order(subject: Subject) -> bytes:
    """What init.c reads behind the go."""
    command, variables = subject.body["Cmd"], subject.body["Env"]
    return b"".join(f"{part}\0".encode() for part in (len(command), *command, *variables))
