"""The image: how exactly it is named, and what of its configuration is overridden."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.images.reference import BadReference, is_id, parse
from daemon.sandbox.checks import Subject, Verdict
from daemon.sandbox.report import Control, RiskLevel, Threat


def check(subject: Subject) -> Iterator[Verdict]:
    image = subject.image
    if not _pinned(subject.options.image):
        yield Threat(
            id="image.tag",
            severity=RiskLevel.LOW,
            reason=f"image without a version: {subject.options.image}",
            remedy="name a version, or better a digest",
            cis="5.28",
            attack="T1525",
        )
    yield Control(id="image.id", detail=f"created by id {image.id[7:19]}: a moved tag changes nothing")
    if image.volumes:
        covered = ", ".join(volume[:64] for volume in image.volumes[:10])
        yield Control(id="image.volumes", detail=f"covered by noexec tmpfs: {covered}")
    if image.user.partition(":")[0] in {"", "0", "root"}:
        yield Control(id="image.user", detail="the image would run as root: overridden")
    if image.healthcheck:
        yield Control(id="image.healthcheck", detail="the image's health check does not run")


def _pinned(text: str) -> bool:
    """Whether the name says which image it means: an id, a digest, or a tag other than `latest`."""
    if is_id(text):
        return True
    try:
        reference = parse(text)
    except BadReference:
        return False
    return reference.digest is not None or reference.tag not in {None, "latest"}
