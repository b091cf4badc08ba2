"""Reads the layers of an image in a confined process, and judges what stands out in them."""

from __future__ import annotations

import json
from dataclasses import dataclass

from daemon.findings import Severity
from daemon.images.beside import beside
from daemon.images.child import Unscannable, run_module
from daemon.images.confinement import Limits
from daemon.images.contents import ImageContents
from daemon.images.findings import ImageIssue, SavedImage
from daemon.images.notable import Kind, Notable

WORKER = "daemon.images.layers_worker"
LIMITS = Limits()


async def read_image(image: SavedImage, limits: Limits = LIMITS) -> ImageContents:
    """Bound to `image.image_id`: configuration and layers are checked against their digests.

    Raises Unscannable, with the reason, for an image that cannot be read within `limits`.
    """
    with image.path.open("rb") as archive:
        answer = await run_module(WORKER, [image.image_id], limits, stdin=archive)
    if answer.startswith(b'{"unscannable"'):
        raise Unscannable(json.loads(answer)["unscannable"])
    return await beside(ImageContents.from_lines, answer)


@dataclass(frozen=True, slots=True)
class _Meaning:
    id: str
    title: str
    severity: Severity
    remedy: str


# CIS is the Docker Benchmark, 4 (container images).
_MEANINGS = {
    Kind.SETUID: _Meaning(
        "image.setuid", "A program runs as its owner (CIS 4.8)", Severity.LOW, "remove the bit: chmod u-s"
    ),
    Kind.SETGID: _Meaning(
        "image.setgid", "A program runs as its group (CIS 4.8)", Severity.LOW, "remove the bit: chmod g-s"
    ),
    Kind.CAPABILITIES: _Meaning(
        "image.capabilities", "A program has capabilities", Severity.MEDIUM, "remove them: setcap -r"
    ),
    Kind.DEVICE: _Meaning(
        "image.device", "A device node", Severity.HIGH, "build the image without device nodes"
    ),
    Kind.WORLD_WRITABLE: _Meaning(
        "image.world-writable",
        "Everybody may write to it",
        Severity.LOW,
        "chmod o-w, or the sticky bit on a folder",
    ),
    Kind.KEY_FILE: _Meaning(
        "image.key-file",
        "A key or password in a file (CIS 4.10)",
        Severity.HIGH,
        "replace the key, and build without it: deleting it in a later step leaves it in the image",
    ),
    Kind.NAME: _Meaning(
        "image.name",
        "A name that hides what it is",
        Severity.MEDIUM,
        "find out how it came there; name it in plain text",
    ),
    Kind.PASSWORD: _Meaning(
        "image.password", "An account without a password", Severity.MEDIUM, "lock the account: passwd -l"
    ),
}
SHOWN = 20


def issues(contents: ImageContents) -> tuple[ImageIssue, ...]:
    """Up to SHOWN of each kind; the last of more says how many there are."""
    found: list[ImageIssue] = []
    for kind in _MEANINGS:
        notables = [notable for notable in contents.notables if notable.kind is kind]
        found += [_issue(notable) for notable in notables[:SHOWN]]
        if len(notables) > SHOWN:
            found[-1] = _and_more(found[-1], len(notables) - SHOWN + 1)
    return tuple(found)


def _issue(notable: Notable) -> ImageIssue:
    meaning = _MEANINGS[notable.kind]
    path = f"/{notable.path}"
    hidden = ", deleted by a later layer but still in the image" if notable.deleted else ""
    return ImageIssue(
        id=meaning.id,
        title=meaning.title,
        severity=meaning.severity,
        path=path,
        layer=notable.layer,
        reason=f"{ascii(path)[1:-1]}: {notable.detail}{hidden}",
        remedy=meaning.remedy,
    )


def _and_more(issue: ImageIssue, count: int) -> ImageIssue:
    return ImageIssue(
        id=issue.id,
        title=issue.title,
        severity=issue.severity,
        reason=f"{count} more of this kind",
        remedy=issue.remedy,
    )
