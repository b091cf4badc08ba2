"""The detector of writes to single files of the kernel: each subclass names its files and one rule."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import ClassVar

from daemon.events import Event, File, FileOpened
from daemon.expectation import Expectation
from daemon.findings import Finding, Severity
from detectors import Detector
from detectors.evidence import attempt, clip
from detectors.filesystem.paths import location


class KernelFileWrite(Detector):
    """`names` are the files. One that was reached counts on its own file system alone, wherever that is
    mounted; of one that was not reached the name is all there is."""

    events = (FileOpened,)
    filesystems: ClassVar[frozenset[str]]
    folders: ClassVar[frozenset[str]] = frozenset()
    """Names of the folders that the files lie in, where their own names are not telling enough."""
    otherwise: ClassVar[Severity] = Severity.HIGH
    """Of an attempt that failed."""

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if isinstance(event, FileOpened) and event.write and self._is_meant(event.file):
            yield attempt(
                self.rules[0],
                event,
                otherwise=self.otherwise,
                identifier=posixpath.basename(event.file.path),
                path=clip(event.file.path),
            )

    def _is_meant(self, file: File) -> bool:
        if posixpath.basename(file.path) not in self.names:
            return False
        if file.resolved:
            return file.filesystem in self.filesystems
        folder = posixpath.dirname(location(file))
        return not self.folders or not folder or posixpath.basename(folder) in self.folders
