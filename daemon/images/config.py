"""What an image's configuration gives away: one check a function, `CHECKS` is the list.

CIS is the Docker Benchmark, part 4. All of it is the author's own text: it adds issues, and removes none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from daemon.findings import Severity
from daemon.images import secrets
from daemon.images.contents import ImageContents
from daemon.images.end_of_life import end_of_life
from daemon.images.findings import ImageIssue
from daemon.images.os_release import UNKNOWN, OsRelease

ISSUES_OF_A_CHECK = 20
ADMIN_PORTS = {
    22: "SSH",
    23: "Telnet",
    2375: "the Docker API",
    2376: "the Docker API",
    3389: "remote desktop",
    5900: "VNC",
    10250: "the kubelet",
}
# Read by loaders, shells and interpreters before any line of the program that is started.
_LOADING = {
    "BASH_ENV",
    "ENV",
    "GCONV_PATH",
    "GLIBC_TUNABLES",
    "JAVA_TOOL_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "NODE_OPTIONS",
    "PERL5LIB",
    "PERL5OPT",
    "PROMPT_COMMAND",
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "RUBYLIB",
    "RUBYOPT",
}
_HOST_PLACES = re.compile(r"/(?:(?:var/)?run/docker\.sock|proc|sys|dev|etc|boot|root|lib/modules)(?:/|$)")
_PIPED = re.compile(r"\b(?:curl|wget)\b[^|&;]{0,2000}\|\s{0,8}(?:sudo\s{1,8})?(?:ba|da|z)?sh\b")


@dataclass(frozen=True, slots=True)
class Subject:
    tags: tuple[str, ...] = ()
    config: dict[str, Any] = field(default_factory=dict)
    history: tuple[str, ...] = ()
    users: dict[str, int] = field(default_factory=dict)
    os: OsRelease = UNKNOWN
    today: date = field(default_factory=date.today)

    @classmethod
    def of(cls, contents: ImageContents, tags: tuple[str, ...], today: date) -> Subject:
        config, history = contents.config.get("config"), contents.config.get("history")
        steps = [item.get("created_by") for item in _items(history) if isinstance(item, dict)]
        return cls(
            tags,
            config if isinstance(config, dict) else {},
            tuple(step for step in steps if isinstance(step, str)),
            contents.users,
            contents.os,
            today,
        )

    def variables(self) -> Iterator[tuple[str, str]]:
        for item in _items(self.config.get("Env")):
            name, _, value = str(item).partition("=")
            yield name, value

    def labels(self) -> Iterator[tuple[str, str]]:
        found = self.config.get("Labels")
        yield from (
            (str(key), str(value)) for key, value in (found if isinstance(found, dict) else {}).items()
        )

    def keys(self, name: str) -> list[str]:
        found = self.config.get(name)
        return sorted(map(str, found)) if isinstance(found, dict) else []


def _items(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def root_user(subject: Subject) -> Iterator[ImageIssue]:
    """A name means what the image's own passwd says it does."""
    user = str(subject.config.get("User") or "").partition(":")[0]
    uid = subject.users.get(user, -1) if user and not user.isdecimal() else int(user or 0)
    if uid == 0:
        named = f"user {user[:64]!r} is root" if user else "no user is named, so it is root"
        yield _issue(
            "image.user.root", "Runs as root (CIS 4.1)", Severity.MEDIUM, named, "USER with an id above 0"
        )
    elif uid < 0:
        reason = f"user {user[:64]!r} is not in the image's passwd: it cannot start, or is defined elsewhere"
        yield _issue("image.user.unknown", "Unknown user", Severity.LOW, reason, "USER with a number")


def secret_variables(subject: Subject) -> Iterator[ImageIssue]:
    for name, value in subject.variables():
        form = secrets.by_form(value)
        if form or secrets.by_name(name, value):
            yield _secret(f"environment variable {name[:64]!r} holds {form or 'a secret, by its name'}", form)


def secret_labels(subject: Subject) -> Iterator[ImageIssue]:
    for name, value in subject.labels():
        if form := secrets.by_form(value):
            yield _secret(f"label {name[:64]!r} holds {form}", form)


def secret_history(subject: Subject) -> Iterator[ImageIssue]:
    for number, step in enumerate(subject.history):
        if form := secrets.by_form(step):
            yield _secret(f"step {number} of its history holds {form}", form)


def _secret(reason: str, form: str | None) -> ImageIssue:
    severity = Severity.CRITICAL if form else Severity.HIGH
    remedy = "replace the secret; give it to the build by --secret and to the program at run time"
    return _issue("image.secret", "A secret in the image (CIS 4.10)", severity, reason, remedy)


def loader_variables(subject: Subject) -> Iterator[ImageIssue]:
    for name, _ in subject.variables():
        if name in _LOADING or name.startswith("LD_"):
            reason = f"{name[:64]} makes programs load other code than their own"
            yield _issue(
                "image.environment.loader",
                "Code by variable",
                Severity.MEDIUM,
                reason,
                f"drop ENV {name[:64]}",
            )


def search_path(subject: Subject) -> Iterator[ImageIssue]:
    for name, value in subject.variables():
        if name == "PATH" and any(not part.startswith("/") for part in value.split(":")):
            reason = "PATH has the working directory in it: whoever writes there decides what is run"
            yield _issue(
                "image.environment.path", "Relative PATH", Severity.MEDIUM, reason, "absolute folders only"
            )


def volumes(subject: Subject) -> Iterator[ImageIssue]:
    for path in subject.keys("Volumes"):
        severity = Severity.HIGH if _HOST_PLACES.match(path) else Severity.LOW
        reason = f"VOLUME {path[:128]!a}: writable although the root file system is read-only"
        yield _issue("image.volume", "Declares a volume", severity, reason, "build without VOLUME")


def admin_ports(subject: Subject) -> Iterator[ImageIssue]:
    for port in subject.keys("ExposedPorts"):
        number = port.partition("/")[0]
        if number.isdecimal() and (service := ADMIN_PORTS.get(int(number[:6]))):
            reason = f"exposes {port[:20]}: {service}"
            yield _issue(
                "image.port",
                "A port for administration",
                Severity.MEDIUM,
                reason,
                "build without the service",
            )


def latest_tag(subject: Subject) -> Iterator[ImageIssue]:
    for tag in subject.tags:
        if tag.endswith(":latest"):
            reason = f"{tag[:128]!a}: what it means changes"
            yield _issue(
                "image.tag.latest", "Tag latest", Severity.LOW, reason, "name a version, or better a digest"
            )


def end_of_support(subject: Subject) -> Iterator[ImageIssue]:
    end = end_of_life(subject.os)
    if end and end < subject.today:
        name = subject.os.pretty_name or f"{subject.os.id} {subject.os.version_id}"
        reason = (
            f"{name} has had no security updates since {end}: no scanner learns of its new vulnerabilities"
        )
        yield _issue(
            "image.base.eol", "The base is out of support (CIS 4.4)", Severity.HIGH, reason, "a newer base"
        )


def on_build(subject: Subject) -> Iterator[ImageIssue]:
    if _items(subject.config.get("OnBuild")):
        reason = "ONBUILD runs commands in whatever image is built from it"
        yield _issue(
            "image.onbuild", "Commands for other builds", Severity.LOW, reason, "build without ONBUILD"
        )


def piped_installer(subject: Subject) -> Iterator[ImageIssue]:
    for number, step in enumerate(subject.history):
        if _PIPED.search(step[: secrets.TEXT_CHARACTERS]):
            reason = f"step {number} of its history ran what it downloaded, unchecked"
            yield _issue(
                "image.history.piped",
                "Download piped to a shell",
                Severity.MEDIUM,
                reason,
                "check a digest first",
            )


Check = Callable[[Subject], Iterator[ImageIssue]]
CHECKS: tuple[Check, ...] = (
    root_user,
    secret_variables,
    secret_labels,
    secret_history,
    loader_variables,
    search_path,
    volumes,
    admin_ports,
    latest_tag,
    end_of_support,
    on_build,
    piped_installer,
)


def check(subject: Subject) -> tuple[ImageIssue, ...]:
    """In the order of CHECKS, up to ISSUES_OF_A_CHECK of each."""
    return tuple(issue for one in CHECKS for issue in list(one(subject))[:ISSUES_OF_A_CHECK])


def _issue(name: str, title: str, severity: Severity, reason: str, remedy: str) -> ImageIssue:
    return ImageIssue(id=name, title=title, severity=severity, reason=reason, remedy=remedy)
