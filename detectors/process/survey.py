"""A survey of where one is: which confinement, rights, host. The burst tells, not the single read."""

from __future__ import annotations

import re
from collections.abc import Iterator

from daemon.events import Event, File, FileOpened
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector
from detectors.bounded import PerSandbox, Recent

SURVEY = Rule(
    id="container-survey",
    title="The sandbox's confinement was surveyed",
    category=Category.PROCESS,
    severity=Severity.LOW,
    techniques=("T1613", "T1082"),
    why="Escape tools first read what confines them: cgroup, mounts, identity maps, security labels, "
    "kernel version. Ordinary programs read one or two of these.",
    remedy="Watch what comes next. Alone it is a trace, no alarm.",
)

NAMES = frozenset(
    {
        *("cgroup", "mountinfo", "mounts", "uid_map", "gid_map", "current", "version", "cmdline", "modules"),
        *("kallsyms", "config.gz", ".dockerenv", ".containerenv", "docker.sock", "containerd.sock"),
    }
)
OF_A_PROCESS = re.compile(
    r"/(?:\d+|self|thread-self)/(?:task/\d+/)?(cgroup|mountinfo|mounts|uid_map|gid_map|attr/current|root|ns)(?:/\w+)?\Z"
)
OF_THE_KERNEL = re.compile(r"/proc/(version|cmdline|modules|kallsyms|config\.gz|mounts|keys|sched_debug)\Z")
OF_THE_FIRST = re.compile(r"/proc/1/(status|environ|cmdline|maps)\Z")
OF_AN_ENGINE = re.compile(r"/(\.dockerenv|\.containerenv|docker\.sock|containerd\.sock)\Z")
PATH_LIMIT = 512
SPAN_NS = 10_000_000_000
ENOUGH = 5


class Survey(Detector):
    rules = (SURVEY,)
    events = (FileOpened,)
    names = NAMES

    def __init__(self) -> None:
        self._read: PerSandbox[Recent[str]] = PerSandbox(lambda: Recent(SPAN_NS))

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        item = _item(event.file) if isinstance(event, FileOpened) else None
        if item is None:
            return
        count = self._read.of(event.sandbox).add(item, event.time_ns)
        if count >= ENOUGH:
            yield finding(SURVEY, event, last=item, different=count, within_s=SPAN_NS // 1_000_000_000)

    def forget(self, sandbox: str) -> None:
        self._read.forget(sandbox)


def _item(file: File) -> str | None:
    """What is learnt from it: the same for every process and every way of naming it."""
    path = file.path[-PATH_LIMIT:]
    for kind in (OF_A_PROCESS, OF_THE_KERNEL, OF_THE_FIRST, OF_AN_ENGINE):
        if match := kind.search(path):
            return match[1]
    return None
