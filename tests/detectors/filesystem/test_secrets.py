"""Credentials and hashes."""

from __future__ import annotations

import pytest

from detectors.filesystem.credential_search import CredentialSearch
from detectors.filesystem.password_hashes import PasswordHashes
from tests.detectors.making import EACCES, ENOENT, SANDBOX, linked, opened, told

AWS, SSH, KUBE = "/root/.aws/credentials", "/home/ann/.ssh/id_ed25519", "/root/.kube/config"
ONE, SEVERAL = ("credential-file", "low"), ("credential-search", "medium")


def test_one_credential_is_a_trace() -> None:
    for result in (3, ENOENT, EACCES):
        assert told(CredentialSearch(), opened(AWS, result=result)) == [ONE]


def test_several_tools_credentials_are_a_search() -> None:
    events = [opened(path, result=ENOENT, at_s=n) for n, path in enumerate((AWS, SSH, KUBE))]
    assert told(CredentialSearch(), *events) == [ONE, ONE, SEVERAL]


def test_spellings() -> None:
    paths = (
        "/proc/self/root/root/.aws/credentials",
        "../../root/.ssh/id_rsa",
        "/root/.azure/../.kube/config",
    )
    assert told(CredentialSearch(), *(opened(path, result=ENOENT) for path in paths))[-1] == SEVERAL


def test_one_tool_that_tries_all_its_files() -> None:
    keys = ("id_rsa", "id_dsa", "id_ecdsa", "id_ed25519")
    assert (
        told(CredentialSearch(), *(opened(f"/root/.ssh/{key}", result=ENOENT) for key in keys)) == [ONE] * 4
    )


def test_a_build_that_uses_pip_npm_git_and_ssh() -> None:
    paths = ("/root/.netrc", "/root/.npmrc", "/root/.git-credentials", SSH)
    assert told(CredentialSearch(), *(opened(path) for path in paths)) == [ONE]


def test_every_tool_of_the_day_and_two_more() -> None:
    paths = ("/root/.netrc", "/root/.npmrc", AWS, SSH)
    assert told(CredentialSearch(), *(opened(path) for path in paths))[-1] == SEVERAL


def test_over_hours_it_is_no_search() -> None:
    events = [opened(path, at_s=n * 100) for n, path in enumerate((AWS, SSH, KUBE))]
    assert told(CredentialSearch(), *events) == [ONE, ONE, ONE]


def test_the_next_sandbox_starts_anew() -> None:
    detector = CredentialSearch()
    told(detector, opened(AWS), opened(SSH))
    detector.forget(SANDBOX)
    assert told(detector, opened(KUBE)) == [ONE]


@pytest.mark.parametrize(
    "path", ["/tmp/g/.git/config", "/srv/app/config.json", "/srv/credentials", "/srv/token", "config"]
)
def test_files_of_the_same_names(path: str) -> None:
    assert told(CredentialSearch(), opened(path)) == []


@pytest.mark.parametrize(
    ("path", "result", "severity"),
    [
        ("/etc/shadow", 3, "medium"),
        ("/etc/gshadow-", 3, "medium"),
        ("/mnt/root/etc/shadow", 3, "medium"),
        ("/etc/security/opasswd", 3, "medium"),
        ("/proc/self/root/etc/../etc/shadow", EACCES, "medium"),
        ("../../../../etc/shadow", EACCES, "medium"),
        ("/etc/shadow", ENOENT, "low"),
    ],
)
def test_hashes_of_passwords(path: str, result: int, severity: str) -> None:
    assert told(PasswordHashes(), opened(path, result=result)) == [("password-hashes", severity)]


@pytest.mark.parametrize("path", ["/etc/passwd", "/srv/shadow", "/srv/petc/shadow", "/etc/shadow/x"])
def test_no_hashes(path: str) -> None:
    assert told(PasswordHashes(), opened(path)) == []
    assert told(PasswordHashes(), linked("/etc/shadow", path)) == []
