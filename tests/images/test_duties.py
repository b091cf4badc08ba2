"""Which names of an image the policy is asked for, and what then must be met: nothing is read for that."""

from __future__ import annotations

from pathlib import Path

import pytest

from daemon.images.examination import Scan
from daemon.images.findings import ImageIssue, ScannerStatus
from daemon.images.gate import Gate
from daemon.images.policy import FILE, read_policy
from daemon.sandbox.facts import ImageFacts
from daemon.sandbox.report import Control, Threat

ID, DIGEST, OTHER = ("sha256:" + digit * 64 for digit in "abc")
POLICY = """
[local]
images = ["*"]
why = "made on this host"

[[rules]]
images = ["docker.io/**"]
why = "from the registry"

[[rules]]
images = ["docker.io/team/**"]
signature = { keys = ["/k.pub"] }
why = "signed by the team"

[[rules]]
images = ["docker.io/library/pinned"]
digest_required = true
why = "the same bytes each time"

[profiles.strict]
digest_required = true
why = "the same bytes each time"
"""


class Unread:
    """Where the policy asks for no findings, nobody may look for any."""

    async def scan(self, image_id: str, max_age_s: float) -> Scan:
        raise AssertionError("it was scanned")

    async def issues(self, image_id: str, tags: tuple[str, ...]) -> tuple[ImageIssue, ...]:
        raise AssertionError("it was read")

    async def status(self) -> ScannerStatus:
        raise AssertionError("it was asked")

    def forget(self, image_id: str) -> None: ...

    def keep_only(self, image_ids: set[str]) -> None: ...


def facts(*digests: str) -> ImageFacts:
    return ImageFacts(
        id=ID, tags=(), digests=digests, user="", env=(), entrypoint=(), cmd=(), volumes=(),
        healthcheck=False, size_bytes=1,
    )  # fmt: skip


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    (tmp_path / FILE).write_text(POLICY)
    return Gate(read_policy(tmp_path / FILE), Unread())


LOCAL, PULLED = facts(), facts(f"python@{DIGEST}")
ALIAS = facts(f"python@{DIGEST}", f"team/python@{DIGEST}")


@pytest.mark.parametrize(
    ("asked", "profile", "image", "blocking"),
    [
        ("python:3", "default", PULLED, []),
        ("docker.io/library/python", "default", PULLED, []),
        (f"python@{DIGEST}", "strict", PULLED, []),
        (ID, "strict", PULLED, []),
        ("python:3", "strict", PULLED, ["image.digest"]),
        (f"python:3@{OTHER}", "default", PULLED, ["image.digest"]),
        (f"other@{DIGEST}", "default", PULLED, ["image.digest"]),
        ("ghcr.io/x/y", "default", PULLED, ["image.policy"]),
        ("python:3", "default", facts(f"python@{DIGEST}", f"ghcr.io/x@{DIGEST}"), ["image.policy"]),
        (ID, "default", facts(f"ghcr.io/x/y@{DIGEST}"), ["image.policy"]),
        ("team/tool:1", "default", facts(f"team/tool@{DIGEST}"), ["image.signature"]),
        ("team/tool:1", "default", PULLED, ["image.signature"]),
        ("python:3", "default", ALIAS, ["image.signature"]),
        (ID, "default", ALIAS, ["image.signature"]),
        ("tool:1", "default", LOCAL, []),
        ("ghcr.io/x/tool:1", "default", LOCAL, []),
        (ID, "strict", LOCAL, []),
        ("tool:1", "strict", LOCAL, ["image.digest"]),
        ("pinned:1", "default", LOCAL, ["image.digest"]),
        ("team/tool:1", "default", LOCAL, ["image.signature"]),
        ("deadbeef", "default", LOCAL, ["image.reference"]),
        ("python\u0131:3", "default", PULLED, ["image.reference"]),
        ("python:3", "default", facts(f"DOCKER.IO/library/python@{DIGEST}"), ["image.reference"]),
    ],
)
async def test_what_blocks(
    gate: Gate, asked: str, profile: str, image: ImageFacts, blocking: list[str]
) -> None:
    verdicts = await gate.judge(asked, profile, image)
    threats = [one for one in verdicts if isinstance(one, Threat) and one.severity.blocks]
    assert [one.id for one in threats] == blocking
    assert all(one.remedy for one in threats)
    if not blocking:
        assert any(isinstance(one, Control) and one.id == "image.policy" for one in verdicts)
        assert verdicts[-1].id == "image.unchecked"


async def test_a_local_image_that_is_listed_needs_no_other_rule(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(POLICY.replace('"*"', f'"*", "{ID}"'))
    gate = Gate(read_policy(tmp_path / FILE), Unread())
    verdicts = await gate.judge("team/tool:1", "default", LOCAL)
    assert [one.id for one in verdicts] == ["image.policy", "image.unchecked"]
