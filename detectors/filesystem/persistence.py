"""Files that make programs run again later, or let somebody in."""

from __future__ import annotations

import re
from collections.abc import Iterator

from daemon.events import Event, FileLinked, FileOpened
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector
from detectors.evidence import clip
from detectors.filesystem.paths import location, plain

PERSISTENCE = Rule(
    id="persistence-file",
    title="Start-up or account file opened for writing",
    category=Category.FILESYSTEM,
    severity=Severity.MEDIUM,
    techniques=("T1546.004", "T1053.003", "T1543.002", "T1136.001", "T1098.004"),
    why="What is written here runs at the next start, login or minute, or opens an account. A workload's "
    "own files are elsewhere.",
    remedy="Make the root file system read-only and run the workload as an unprivileged user. Rebuild the "
    "container from its image.",
)
PRELOAD = Rule(
    id="preload-file",
    title="ld.so.preload opened for writing",
    category=Category.FILESYSTEM,
    severity=Severity.HIGH,
    techniques=("T1574.006",),
    why="A library that it names is loaded into every program that starts, set-uid ones included: the "
    "usual place of a rootkit in user space (ld.so(8)).",
    remedy="Stop the sandbox. Make the root file system read-only and run the workload as an unprivileged "
    "user.",
)

LOADER = re.compile(r"/etc/ld\.so\.preload\Z")
KINDS = {
    "cron": r"/etc/(?:cron\.(?:d|hourly|daily|weekly|monthly)/.|crontab|anacrontab)|/var/spool/(?:cron|at)/.",
    "service": r"/(?:etc|lib|usr/lib|usr/local/lib|run)/systemd/(?:system|user)/.|/etc/(?:init\.d/.|inittab\Z"
    r"|rc\.local\Z|rc\d\.d/.|init/.|xdg/autostart/.|runit/.|sv/.)|/\.config/(?:systemd/user|autostart)/.",
    "shell": r"/etc/(?:profile(?:\.d/.|\Z)|(?:bash\.)?bashrc\Z|zsh/.|environment\Z|csh\.|update-motd\.d/.)",
    "login": r"/(?:root|home/[^/]+)/\.(?:bash|zsh|profile|login|kshrc|xprofile|xinitrc)(?!_history)",
    "account": r"/etc/(?:passwd|group|g?shadow|subuid|subgid)-?\Z",
    "rights": r"/etc/(?:sudoers(?:\.d/.|\Z)|doas\.conf|pam\.d/.|security/.|polkit-1/.)",
    "remote": r"/\.ssh/(?:authorized_keys2?|rc|environment)\Z|/etc/(?:ssh/.|hosts\.equiv\Z)|/\.rhosts\Z",
    "loader": r"/etc/ld\.so\.conf(?:\.d/.|\Z)",
    "device": r"/(?:etc|lib|usr/lib)/(?:udev/rules\.d|modprobe\.d|modules-load\.d|sysctl\.d|binfmt\.d)/.",
    "package manager": r"/etc/(?:apt/apt\.conf\.d|dpkg/dpkg\.cfg\.d|yum/pluginconf\.d)/.",
}
PATTERNS = {kind: re.compile(pattern) for kind, pattern in KINDS.items()}


class Persistence(Detector):
    """An attempt counts like a success: what wants to stay tries the next place. A link is one too."""

    rules = (PERSISTENCE, PRELOAD)
    events = (FileOpened, FileLinked)
    syscalls = frozenset({"symlink", "symlinkat", "link", "linkat"})
    names = frozenset({"authorized_keys", "authorized_keys2", "ld.so.preload", "crontab"})

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if not isinstance(event, FileOpened | FileLinked) or not (event.succeeded or event.refused):
            return
        path = _made(event)
        if LOADER.search(path):
            yield _found(PRELOAD, event, path, "preload")
        elif kind := next((kind for kind, pattern in PATTERNS.items() if pattern.search(path)), None):
            yield _found(PERSISTENCE, event, path, kind)


def _made(event: FileOpened | FileLinked) -> str:
    """What was written to or made, "" for what was read."""
    if isinstance(event, FileLinked):
        return plain(event.link)
    return location(event.file) if event.write else ""


def _found(rule: Rule, event: FileOpened | FileLinked, path: str, kind: str) -> Finding:
    return finding(
        rule,
        event,
        identifier=kind,
        path=clip(path),
        kind=kind,
        result=event.result,
    )
