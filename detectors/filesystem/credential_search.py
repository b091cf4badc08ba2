"""A search for credentials: files of several tools, whether they are there or not."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import Any

from daemon.events import Event, FileOpened
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector
from detectors.bounded import PerSandbox, Recent
from detectors.evidence import clip
from detectors.filesystem.paths import location

CREDENTIAL_SEARCH = Rule(
    id="credential-search",
    title="Credentials of several tools searched for",
    category=Category.FILESYSTEM,
    severity=Severity.MEDIUM,
    techniques=("T1552.001", "T1083"),
    why="A program reads its own credentials. One that asks for those of clouds, clusters, ssh and "
    "registries in turn is looking for whatever there is.",
    remedy="Keep credentials out of images and workspaces; give a workload short-lived ones of its own. "
    "Revoke what was readable.",
)
CREDENTIAL_FILE = Rule(
    id="credential-file",
    title="Credential file opened",
    category=Category.FILESYSTEM,
    severity=Severity.LOW,
    techniques=("T1552.001",),
    why="Whoever reads it has the rights that it stands for.",
    remedy="Keep credentials out of images and workspaces; mount short-lived ones where a workload needs "
    "them.",
)

# Ends of paths, and whose they are: several files of one tool count once.
FILES = {
    "/.aws/credentials": "aws",
    "/.ssh/id_rsa": "ssh",
    "/.ssh/id_dsa": "ssh",
    "/.ssh/id_ecdsa": "ssh",
    "/.ssh/id_ed25519": "ssh",
    "/.kube/config": "kubernetes",
    "/kubernetes/admin.conf": "kubernetes",
    "/kubernetes/kubelet.conf": "kubernetes",
    "/kubernetes.io/serviceaccount/token": "kubernetes service account",
    "/.docker/config.json": "docker",
    "/.dockercfg": "docker",
    "/gcloud/credentials.db": "gcloud",
    "/gcloud/access_tokens.db": "gcloud",
    "/.azure/accessTokens.json": "azure",
    "/.azure/azureProfile.json": "azure",
    "/.azure/msal_token_cache.json": "azure",
    "/.oci/config": "oracle",
    "/.vault-token": "vault",
    "/credentials.tfrc.json": "terraform",
    "/gh/hosts.yml": "github",
    "/rclone/rclone.conf": "rclone",
    "/.s3cfg": "s3cmd",
    "/.gnupg/secring.gpg": "gnupg",
    "/key4.db": "browser",
    "/logins.json": "browser",
    "/Login Data": "browser",
}
# Read by ordinary tools at each start: pip, npm, git, psql, mysql. Two count as one.
EVERYDAY = {
    "/.netrc": "netrc",
    "/.npmrc": "npm",
    "/.pypirc": "pypi",
    "/.git-credentials": "git",
    "/.pgpass": "postgresql",
    "/.my.cnf": "mysql",
}
ALL = FILES | EVERYDAY
BY_NAME: dict[str, list[str]] = {}
for end in ALL:
    BY_NAME.setdefault(posixpath.basename(end), []).append(end)
SPAN_NS = 60_000_000_000
ENOUGH = 3


class CredentialSearch(Detector):
    rules = (CREDENTIAL_SEARCH, CREDENTIAL_FILE)
    events = (FileOpened,)
    names = frozenset(BY_NAME)

    def __init__(self) -> None:
        self._seen: PerSandbox[Recent[str]] = PerSandbox(lambda: Recent(SPAN_NS))

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        end = _which(event) if isinstance(event, FileOpened) else None
        if not isinstance(event, FileOpened) or end is None:
            return
        seen = self._seen.of(event.sandbox)
        seen.add(ALL[end], event.time_ns)
        score = _count(seen, FILES, event.time_ns) + _count(seen, EVERYDAY, event.time_ns) // 2
        facts: dict[str, Any] = {"path": clip(event.file.path), "result": event.result, "whose": ALL[end]}
        if score >= ENOUGH:
            yield finding(CREDENTIAL_SEARCH, event, different=score, **facts)
        elif end in FILES:
            yield finding(CREDENTIAL_FILE, event, identifier=ALL[end], **facts)

    def forget(self, sandbox: str) -> None:
        self._seen.forget(sandbox)


def _which(event: FileOpened) -> str | None:
    path = location(event.file)
    ends = BY_NAME.get(posixpath.basename(path), ())
    return next((end for end in ends if path.endswith(end)), None)


def _count(seen: Recent[str], files: dict[str, str], now_ns: int) -> int:
    return sum(seen.has(whose, now_ns) for whose in set(files.values()))
