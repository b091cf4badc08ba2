"""A program whose standard descriptors are a network connection: a reverse or bind shell."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from daemon.events import Event, ProcessExecuted
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector
from detectors.evidence import TEXT_LIMIT, clip, clip_all

REVERSE_SHELL = Rule(
    id="reverse-shell",
    title="A program was started on a network connection",
    category=Category.PROCESS,
    severity=Severity.HIGH,
    techniques=("T1059.004", "T1095"),
    why="Standard input or output is an internet socket: whoever is at the other end gives the commands. "
    "Apart from inetd nothing starts programs like this.",
    remedy="Stop the sandbox. Find the connection's other end, and how the first command came in.",
)

COMMAND = Rule(
    id="reverse-shell-command",
    title="A command was started whose text makes a reverse shell",
    category=Category.PROCESS,
    severity=Severity.HIGH,
    techniques=("T1059.004", "T1095"),
    why="The arguments tie a program to a connection. Where there is no network nothing comes of it, "
    "and these words are all that there is to see.",
    remedy="Stop the sandbox. Find out how the command came in.",
)

STDIN = 0
NETCATS = frozenset({"nc", "ncat", "netcat", "nc.traditional"})
EXECUTES = re.compile(r"-[A-Za-z]{0,8}e|--exec|--sh-exec|-c=?.*sh")
SOCAT = re.compile(r"(?:exec|system|shell):", re.IGNORECASE)
# Both ways: a script that only asks whether a port is open uses one.
BY_BASH = re.compile(r"/dev/(?:tcp|udp)/[^;]{1,200}(?:0>&|0<&|<&\d|>&0)|0<\s*/dev/(?:tcp|udp)/")
BY_INTERPRETER = re.compile(
    r"socket.{0,600}(?:dup2|pty\.spawn)|fsockopen.{0,200}exec|IO::Socket.{0,200}(?:exec|system)", re.DOTALL
)
ARGUMENTS_LIMIT, SCRIPT_LIMIT = 16, 2048


class ReverseShell(Detector):
    """Input from a socket, or both outputs to it, is a conversation; one output alone may be an upload."""

    rules = (REVERSE_SHELL, COMMAND)
    events = (ProcessExecuted,)

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if not isinstance(event, ProcessExecuted):
            return
        path, argv = clip(event.file.path), clip_all(event.argv)
        if event.inet_stdio:
            both_ways = STDIN in event.inet_stdio or len(event.inet_stdio) > 1
            yield finding(
                REVERSE_SHELL,
                event,
                severity=Severity.HIGH if both_ways else Severity.MEDIUM,
                identifier=path,
                path=path,
                argv=argv,
                descriptors=sorted(event.inet_stdio)[:3],
            )
        if _is_command(event.argv[:ARGUMENTS_LIMIT]):
            yield finding(COMMAND, event, identifier=path, path=path, argv=argv)


def _is_command(argv: tuple[str, ...]) -> bool:
    names = [posixpath.basename(argument[:TEXT_LIMIT]) for argument in argv[:2]]
    if names[:1] == ["busybox"]:
        names = names[1:]
    arguments = [argument[:SCRIPT_LIMIT] for argument in argv[1:]]
    if names[:1] == ["socat"]:
        return any(SOCAT.match(argument) for argument in arguments)
    if names and names[0] in NETCATS:
        return any(EXECUTES.fullmatch(argument) for argument in arguments[:-1])
    return any(BY_BASH.search(each) or BY_INTERPRETER.search(each) for each in arguments)
