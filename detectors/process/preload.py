"""Code put into other programs by the dynamic loader's environment: LD_PRELOAD, LD_AUDIT (ld.so(8))."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from daemon.events import Event, FileMapped, ProcessExecuted, ProcessExited
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector
from detectors.bounded import Bounded, PerSandbox
from detectors.evidence import ITEMS_LIMIT, TEXT_LIMIT, clip, clip_all

PRELOAD = Rule(
    id="library-preload",
    title="A library from a writable place is loaded into a program",
    category=Category.PROCESS,
    severity=Severity.MEDIUM,
    techniques=("T1574.006",),
    why="LD_PRELOAD and LD_AUDIT make the loader run a library's code before the program's own. From a "
    "directory of the image it is a setting; from a writable place it hides, steals or takes over.",
    remedy="Fetch the library and look at it. Sandboxes of this daemon start without loader variables.",
)

INJECTING = ("LD_PRELOAD", "LD_AUDIT")
SEPARATORS = re.compile(r"[ :]+")
IMAGE_FOLDERS = ("/lib/", "/lib32/", "/lib64/", "/libx32/", "/usr/", "/opt/", "/nix/store/", "/gnu/store/")
PROCESSES_LIMIT = 256


class Preload(Detector):
    """A library in the image's folders is believed until it is mapped and proves fresh."""

    rules = (PRELOAD,)
    events = (ProcessExecuted, ProcessExited, FileMapped)
    syscalls = frozenset({"mmap"})

    def __init__(self) -> None:
        self._believed: PerSandbox[Bounded[int, list[str]]] = PerSandbox(lambda: Bounded(PROCESSES_LIMIT))

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if isinstance(event, ProcessExecuted):
            yield from self._executed(event)
        elif isinstance(event, ProcessExited):
            self._believed.of(event.sandbox).pop(event.process.pid, None)
        elif isinstance(event, FileMapped) and event.fresh and event.file is not None:
            name = posixpath.basename(clip(event.file.path))
            if name in self._believed.of(event.sandbox).get(event.process.pid, ()):
                yield _finding(event, [clip(event.file.path)])

    def forget(self, sandbox: str) -> None:
        self._believed.forget(sandbox)

    def _executed(self, event: ProcessExecuted) -> Iterator[Finding]:
        libraries = _libraries(event.preloads)
        suspect = [library for library in libraries if _is_writable(library, event.preloads)]
        believed = self._believed.of(event.sandbox)
        believed.pop(event.process.pid, None)
        if suspect:
            yield _finding(event, suspect)
        elif libraries:
            believed[event.process.pid] = [posixpath.basename(library) for library in libraries]


def _finding(event: Event, libraries: list[str]) -> Finding:
    return finding(PRELOAD, event, identifier=libraries[0], libraries=clip_all(tuple(libraries)))


def _values(preloads: tuple[str, ...], names: tuple[str, ...]) -> list[str]:
    pairs = (entry[: ITEMS_LIMIT * TEXT_LIMIT].partition("=") for entry in preloads[:ITEMS_LIMIT])
    found = [part for name, _, value in pairs if name in names for part in SEPARATORS.split(value) if part]
    return [clip(part) for part in found[:ITEMS_LIMIT]]


def _libraries(preloads: tuple[str, ...]) -> list[str]:
    return _values(preloads, INJECTING)


def _is_writable(library: str, preloads: tuple[str, ...]) -> bool:
    """A name without a slash is looked up along LD_LIBRARY_PATH first."""
    if "/" in library:
        return not _is_of_image(library)
    return any(not _is_of_image(f"{folder}/") for folder in _values(preloads, ("LD_LIBRARY_PATH",)))


def _is_of_image(path: str) -> bool:
    """`..` is taken out as if there were no symbolic links: one of the image's own that leads out of it is
    met again when the file is mapped."""
    return f"{posixpath.normpath(path)}/".startswith(IMAGE_FOLDERS)
