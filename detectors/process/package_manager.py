"""Installing software into a running sandbox."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from daemon.events import Event, FileOpened, ProcessExecuted
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector
from detectors.evidence import clip, clip_all

PACKAGE_MANAGER = Rule(
    id="package-manager",
    title="Package manager used at run time",
    category=Category.PROCESS,
    severity=Severity.LOW,
    techniques=("T1105", "T1072"),
    why="Packages belong into an image, where they are scanned and signed for. At run time they are how "
    "an intruder gets tools.",
    remedy="Build the package into the image and make the root file system read-only.",
)

PROGRAMS = frozenset(
    {
        *("apt", "apt-get", "aptitude", "dpkg", "apk", "yum", "dnf", "microdnf", "tdnf", "rpm", "zypper"),
        *("pacman", "emerge", "xbps-install", "opkg", "snap", "flatpak", "nix-env"),
    }
)
DATABASES = (
    "/var/lib/dpkg/",
    "/var/lib/apt/",
    "/lib/apk/db/",
    "/usr/lib/apk/db/",
    "/var/lib/rpm/",
    "/usr/lib/sysimage/rpm/",
    "/var/lib/pacman/",
)


class PackageManager(Detector):
    """By the program, and by writes to the database of what is installed, whatever the program's name."""

    rules = (PACKAGE_MANAGER,)
    events = (ProcessExecuted, FileOpened)

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if isinstance(event, ProcessExecuted):
            name = posixpath.basename(event.file.path)
            if name in PROGRAMS:
                yield finding(PACKAGE_MANAGER, event, identifier=name, argv=clip_all(event.argv))
        elif isinstance(event, FileOpened) and event.write:
            database = next((folder for folder in DATABASES if event.file.path.startswith(folder)), None)
            if database is not None:
                yield finding(PACKAGE_MANAGER, event, identifier=database, path=clip(event.file.path))
