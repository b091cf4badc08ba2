"""Where the image comes from: the registry of its name, and of every digest that it was pulled by."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.images.reference import BadReference, Pattern, Reference, is_id, parse
from daemon.sandbox.checks import Subject, Verdict
from daemon.sandbox.options import SandboxOptions
from daemon.sandbox.profile import Profile
from daemon.sandbox.report import Control, RiskLevel, Threat

AllowLists = list[list[Pattern]]


def check(subject: Subject) -> Iterator[Verdict]:
    try:
        references = [parse(name) for name in _names(subject)]
    except BadReference as error:
        yield _threat(f"untrusted registry: {error}", "name the image in a way that can mean one only")
        return
    if subject.image.local:
        yield from _local(subject)
    else:
        yield from _judge(references, allow_lists(subject.options, subject.profile))


def _names(subject: Subject) -> tuple[str, ...]:
    """An id names no registry: then the digests alone say where the image is from."""
    named = () if is_id(subject.options.image) else (subject.options.image,)
    return (*subject.image.digests, *named)


def allow_lists(options: SandboxOptions, profile: Profile) -> AllowLists:
    """Each must cover the name: the profile's, and what the request narrows it to."""
    narrowed = options.security_policy.trusted_registries
    lists = [profile.registries.value, *([narrowed] if narrowed else [])]
    return [[Pattern.of(text) for text in texts] for texts in lists]


def _judge(references: list[Reference], lists: AllowLists) -> Iterator[Verdict]:
    for reference in references:
        for patterns in lists:
            if (reason := untrusted(reference, [patterns])) is not None:
                allowed = ", ".join(map(str, patterns)) or "none: the profile trusts no registry"
                yield _threat(reason, f"allowed: {allowed}")
                return
    yield Control(id="registry", detail=f"from {', '.join(sorted({one.registry for one in references}))}")


def untrusted(reference: Reference, lists: AllowLists) -> str | None:
    """Why, if it is."""
    for patterns in lists:
        if not any(pattern.matches(reference) for pattern in patterns):
            return f"untrusted registry: {_blamed(reference, patterns)}"
    return None


def _blamed(reference: Reference, patterns: list[Pattern]) -> str:
    """The registry, unless it is another part of it that is trusted."""
    known = any(pattern.registry == reference.registry for pattern in patterns)
    return reference.name if known else reference.registry


def _local(subject: Subject) -> Iterator[Verdict]:
    if subject.profile.local_images.value:
        yield Control(id="registry", detail="built or imported on this host")
    else:
        yield _threat("untrusted registry: the image is local", "use an image of a trusted registry")


def _threat(reason: str, remedy: str) -> Threat:
    return Threat(
        id="image.registry",
        severity=RiskLevel.HIGH,
        reason=reason,
        remedy=remedy,
        cis="5.28",
        attack="T1204.003",
    )
