"""Where the image comes from: the registry of its name, and of every digest that it was pulled by."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.sandbox.checks import Subject, Verdict
from daemon.sandbox.report import Control, RiskLevel, Threat

DEFAULT_REGISTRY = "docker.io"


def registry(reference: str) -> str:
    """Of a reference's first component, if that has a dot, a port or is localhost: Docker's own rule."""
    first, slash, _ = reference.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return DEFAULT_REGISTRY if first == "index.docker.io" else first
    return DEFAULT_REGISTRY


def check(subject: Subject) -> Iterator[Verdict]:
    allowed = set(subject.profile.registries.value)
    if narrowed := subject.options.security_policy.trusted_registries:
        allowed &= set(narrowed)
    if subject.image.local:
        yield from _local(subject)
        return
    untrusted = sorted({registry(digest) for digest in subject.image.digests} - allowed)
    if untrusted or registry(subject.options.image) not in allowed:
        name = untrusted[0] if untrusted else registry(subject.options.image)
        yield _threat(
            RiskLevel.HIGH, f"untrusted registry: {name}", f"use an image from {', '.join(sorted(allowed))}"
        )
    else:
        yield Control(id="registry", detail=f"from {registry(subject.options.image)}")


def _local(subject: Subject) -> Iterator[Verdict]:
    if subject.profile.local_images.value:
        yield Control(
            id="registry", detail="built or imported on this host; signature and content were not checked"
        )
    else:
        yield _threat(
            RiskLevel.HIGH, "untrusted registry: the image is local", "use an image of a trusted registry"
        )


def _threat(severity: RiskLevel, reason: str, remedy: str) -> Threat:
    return Threat(
        id="image.registry", severity=severity, reason=reason, remedy=remedy, cis="5.28", attack="T1204.003"
    )
