"""Each check of an image's configuration, with what it must and must not say."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from daemon.findings import Severity
from daemon.images.config import CHECKS, ISSUES_OF_A_CHECK, Subject, check
from daemon.images.contents import ImageContents
from daemon.images.os_release import OsRelease

TODAY = date(2026, 1, 1)
USERS = {"root": 0, "toor": 0, "user": 1000}
AWS_KEY = "AKIA" + "ABCDEFGHIJKLMNOP"


def judged(config: dict[str, Any], **other: Any) -> list[tuple[str, Severity]]:
    subject = Subject(config={"User": "1000", **config}, users=USERS, today=TODAY, **other)
    return [(issue.id, issue.severity) for issue in check(subject)]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, []),
        ({"User": ""}, [("image.user.root", Severity.MEDIUM)]),
        ({"User": "0:1000"}, [("image.user.root", Severity.MEDIUM)]),
        ({"User": "000"}, [("image.user.root", Severity.MEDIUM)]),
        ({"User": "toor"}, [("image.user.root", Severity.MEDIUM)]),
        ({"User": "user:user"}, []),
        ({"User": "nobody-knows"}, [("image.user.unknown", Severity.LOW)]),
        ({"Env": ["DB_PASSWORD=hunter2"]}, [("image.secret", Severity.HIGH)]),
        ({"Env": [f"X={AWS_KEY}"]}, [("image.secret", Severity.CRITICAL)]),
        ({"Env": ["URL=postgres://user:pass@db/x"]}, [("image.secret", Severity.CRITICAL)]),
        ({"Env": ["DB_PASSWORD_FILE=/run/secrets/x", "PASSWORD=/run/secrets/x", "TOKEN=", "PWD=x"]}, []),
        ({"Labels": {"note": f"key {AWS_KEY}"}}, [("image.secret", Severity.CRITICAL)]),
        ({"Env": ["LD_PRELOAD=/x.so"]}, [("image.environment.loader", Severity.MEDIUM)]),
        ({"Env": ["NODE_OPTIONS=-r x"]}, [("image.environment.loader", Severity.MEDIUM)]),
        ({"Env": ["PATH=/usr/bin:/bin", "LANG=C"]}, []),
        ({"Env": ["PATH=/usr/bin:"]}, [("image.environment.path", Severity.MEDIUM)]),
        ({"Volumes": {"/data": {}}}, [("image.volume", Severity.LOW)]),
        ({"Volumes": {"/var/run/docker.sock": {}}}, [("image.volume", Severity.HIGH)]),
        ({"ExposedPorts": {"22/tcp": {}, "8080/tcp": {}}}, [("image.port", Severity.MEDIUM)]),
        ({"OnBuild": ["RUN x"]}, [("image.onbuild", Severity.LOW)]),
        ({"Env": "no list", "Labels": 5, "Volumes": [], "ExposedPorts": None, "OnBuild": {}}, []),
    ],
)
def test_configuration(config: dict[str, Any], expected: list[tuple[str, Severity]]) -> None:
    assert judged(config) == expected


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ("RUN curl -fsSL https://example.org/i | sudo bash", "image.history.piped"),
        (f"RUN echo {AWS_KEY}", "image.secret"),
        ("ENV KEY=-----BEGIN OPENSSH PRIVATE KEY-----", "image.secret"),
    ],
)
def test_history(step: str, expected: str) -> None:
    assert [name for name, _ in judged({}, history=("RUN apt-get update", step))] == [expected]


def test_tags() -> None:
    assert judged({}, tags=("a:latest", "a:1")) == [("image.tag.latest", Severity.LOW)]


@pytest.mark.parametrize(
    ("system", "old"),
    [
        (OsRelease("debian", "10"), True),
        (OsRelease("debian", "12"), False),
        (OsRelease("alpine", "3.18.4"), True),
        (OsRelease("ubuntu", "20.04"), True),
        (OsRelease("rocky", "9.3"), False),
        (OsRelease("nixos", "1"), False),
        (OsRelease(), False),
    ],
)
def test_end_of_life(system: OsRelease, old: bool) -> None:
    assert judged({}, os=system) == ([("image.base.eol", Severity.HIGH)] if old else [])


def test_every_issue_says_what_to_do_and_none_repeats_the_secret() -> None:
    config = {"Env": [f"TOKEN={AWS_KEY}"], "Volumes": {f"/{n}": {} for n in range(100)}}
    issues = check(Subject(config=config, today=TODAY))
    assert all(issue.title and issue.reason and issue.remedy for issue in issues)
    assert not any(AWS_KEY in issue.reason for issue in issues)
    assert len(issues) <= ISSUES_OF_A_CHECK * len(CHECKS)
    assert sum(issue.id == "image.volume" for issue in issues) == ISSUES_OF_A_CHECK


def test_of_what_was_read() -> None:
    document = {"config": {"User": "toor"}, "history": [{"created_by": "RUN x"}, {}, 5]}
    subject = Subject.of(ImageContents("sha256:0", config=document, users=USERS), ("a:1",), TODAY)
    assert (subject.config, subject.history) == ({"User": "toor"}, ("RUN x",))
    broken = Subject.of(ImageContents("sha256:0", config={"config": 5, "history": {}}), (), TODAY)
    assert [issue.id for issue in check(broken)] == ["image.user.root"]
