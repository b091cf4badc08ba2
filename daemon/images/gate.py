"""The image gate: what stands against letting these very bytes run, and what was made sure of.

Its verdicts are of one image id, from which the container is created and with which it is compared before its
program starts: a name that comes to mean another image changes nothing. Names lead to the policy's rules:
each name that the image goes by must be covered, and each rule found that way must be met.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

from daemon.errors import ConfigError
from daemon.images.candidate import Candidate
from daemon.images.child import Unscannable
from daemon.images.examination import Scan
from daemon.images.exploits import NOTHING_KNOWN, ExploitFiles
from daemon.images.findings import ImageIssue, ScannerStatus, SignatureFindings
from daemon.images.judgement import Exemptions, Verdict, judge_issues, judge_scan, judge_signature
from daemon.images.policy import (
    ANY,
    ImagePolicy,
    Requirements,
    SignatureRequirement,
    VulnerabilityLimit,
    covers,
)
from daemon.images.reference import BadReference, Reference
from daemon.images.scanners.builtin import now
from daemon.sandbox.facts import ImageFacts
from daemon.sandbox.report import Control, RiskLevel, Threat


class Examined(Protocol):
    """See `Examination`."""

    async def scan(self, image_id: str, max_age_s: float) -> Scan: ...

    async def issues(self, image_id: str, tags: tuple[str, ...]) -> tuple[ImageIssue, ...]: ...

    async def status(self) -> ScannerStatus: ...

    def forget(self, image_id: str) -> None: ...

    def keep_only(self, image_ids: set[str]) -> None: ...


class SignatureCheck(Protocol):
    async def __call__(
        self, reference: Reference, manifest_digest: str, requirement: SignatureRequirement
    ) -> SignatureFindings:
        """Does not raise: that nobody can tell is a finding."""


async def no_signature_check(
    reference: Reference, manifest_digest: str, requirement: SignatureRequirement
) -> SignatureFindings:
    """Where nothing else is plugged in."""
    named = f"{reference.name}@{manifest_digest[:19]}"
    return SignatureFindings(
        image=named,
        threshold=requirement.threshold,
        problem=f"{named} must be signed, and no signature can be verified here",
        remedy="take `signature` out of the rule, if you can do without",
    )


@dataclass(frozen=True, slots=True)
class Duty:
    """Requirements, the name that they are for, None for an image of this host, and whose they are."""

    reference: Reference | None
    requirements: Requirements
    source: str


@dataclass(frozen=True, slots=True)
class SignatureReview:
    """Findings, each with whose requirement it is under; `problems` are why there is nothing to look at."""

    findings: tuple[tuple[str, SignatureFindings], ...]
    problems: tuple[str, ...]

    @property
    def met(self) -> bool:
        return not self.problems and all(found.met for _, found in self.findings)


class Gate:
    def __init__(
        self,
        policy: ImagePolicy,
        examination: Examined,
        verify: SignatureCheck = no_signature_check,
        clock: Callable[[], datetime] = now,
    ) -> None:
        self._policy = policy
        self.examination = examination
        self._verify = verify
        self._exploits = ExploitFiles(policy.exploits.kev, policy.exploits.epss)
        self._clock = clock

    def covers(self, reference: Reference) -> bool:
        """Whether there is a rule under which it might run."""
        return self._policy.rule_for(reference) is not None

    @property
    def max_database_age_s(self) -> float | None:
        """The least that is asked for anywhere; None: nobody asks for vulnerabilities."""
        limits = (one.vulnerabilities for one in self._policy.requirements)
        return min((limit.max_database_age for limit in limits if limit), default=None)

    def prewarmed(self) -> list[tuple[str, str]]:
        """Images to be judged ahead, each with its profile."""
        return self._policy.prewarmed()

    async def judge(self, asked: str, profile: str, image: ImageFacts) -> tuple[Verdict, ...]:
        """`asked` is how the request names `image`. Without I/O where the policy asks for none.

        Raises EngineError where the image has to be looked into and cannot be had.
        """
        try:
            candidate = Candidate.of(asked, image)
        except BadReference as error:
            return (_denied("image.reference", str(error), "name the image in a way that can mean one only"),)
        duties, verdicts = self._duties(candidate, profile)
        verdicts += _digest(candidate, duties)
        if any(isinstance(verdict, Threat) for verdict in verdicts):
            return tuple(verdicts)  # it is denied: nothing is read or asked for its sake
        verdicts += await self._signatures(candidate, duties)
        try:
            verdicts += await self._contents(candidate, duties)
        except OSError as error:
            verdicts.append(_denied("image.unread", f"it cannot be looked into: {error}", "free the disk"))
        return (*verdicts, *_unchecked(duties))

    async def signatures(self, asked: str, profile: str, image: ImageFacts) -> SignatureReview:
        """What `judge` would find of signatures, also where something else stands against the image."""
        try:
            candidate = Candidate.of(asked, image)
        except BadReference as error:
            return SignatureReview((), (str(error),))
        duties, verdicts = self._duties(candidate, profile)
        problems = [one.reason for one in verdicts if isinstance(one, Threat)]
        found: list[tuple[str, SignatureFindings]] = []
        for duty in duties:
            if (asked_for := duty.requirements.signature) is None:
                continue
            manifests = _manifests(candidate, duty)
            problems += [] if manifests else [_unsignable(duty.reference).reason]
            found += [(duty.source, await self._verify(*manifest, asked_for)) for manifest in manifests]
        return SignatureReview(tuple(found), tuple(problems))

    def _duties(self, candidate: Candidate, profile: str) -> tuple[list[Duty], list[Verdict]]:
        found = list(self._local(candidate) if candidate.image.local else self._covered(candidate))
        duties = [one for one in found if isinstance(one, Duty)]
        verdicts = [one for one in found if not isinstance(one, Duty)]
        if more := self._policy.profiles.get(profile):
            duties += [Duty(duty.reference, more, f"profile {profile}") for duty in duties]
        return duties, verdicts

    def _local(self, candidate: Candidate) -> Iterator[Duty | Verdict]:
        local = self._policy.local
        if not covers(local.images, candidate.references, candidate.image.id):
            reason = "made on this host, and not one of the local images that the policy lets run"
            yield _denied("image.policy", reason, "add its id or name to [local] of images.toml")
            return
        yield Duty(None, local, "[local]")
        yield Control(id="image.policy", detail="made on this host, which the policy lets run")
        yield from self._of_its_name(candidate)

    def _of_its_name(self, candidate: Candidate) -> Iterator[Duty]:
        """Who asks for a name expects what the name's rule promises, unless [local] has the very image."""
        listed = [entry for entry in self._policy.local.images if entry != ANY]
        decided = self._policy.rule_for(candidate.named) if candidate.named else None
        if decided and not covers(listed, candidate.references, candidate.image.id):
            yield Duty(candidate.named, decided[1], f"the rule for {decided[0]}")

    def _covered(self, candidate: Candidate) -> Iterator[Duty | Verdict]:
        for reference in candidate.references:
            decided = self._policy.rule_for(reference)
            if decided is None:
                reason = f"untrusted registry: no rule of the policy covers {reference.name}"
                yield _denied("image.policy", reason, "add a rule for it to images.toml")
            else:
                pattern, rule = decided
                yield Duty(reference, rule, f"the rule for {pattern}")
                yield Control(
                    id="image.policy", detail=f"{reference.name} is covered by the rule for {pattern}"
                )

    async def _signatures(self, candidate: Candidate, duties: list[Duty]) -> list[Verdict]:
        verdicts: list[Verdict] = []
        for duty in duties:
            if duty.requirements.signature is not None:
                verdicts += await self._signature(candidate, duty, duty.requirements.signature)
        return verdicts

    async def _signature(
        self, candidate: Candidate, duty: Duty, requirement: SignatureRequirement
    ) -> list[Verdict]:
        manifests = _manifests(candidate, duty)
        if not manifests:
            return [_unsignable(duty.reference)]
        return [judge_signature(await self._verify(*manifest, requirement)) for manifest in manifests]

    async def _contents(self, candidate: Candidate, duties: list[Duty]) -> list[Verdict]:
        verdicts: list[Verdict] = []
        limits = _limits(duties)
        try:
            exploits = await self._exploits.current() if limits else NOTHING_KNOWN
        except ConfigError as error:
            return [_denied("image.exploits", f"what is exploited cannot be told: {error}", "see [exploits]")]
        for limit in limits:
            scan = await self.examination.scan(candidate.image.id, limit.max_scan_age)
            now = self._clock()
            verdicts += judge_scan(limit, scan.result, self._exemptions(candidate, now.date()), now, exploits)
        return verdicts + await self._issues(candidate, duties)

    def _exemptions(self, candidate: Candidate, today: date) -> Exemptions:
        def meant(images: tuple[str, ...]) -> bool:
            return covers(images, candidate.references, candidate.image.id)

        digests = (one.digest for one in candidate.pulled if one.digest)
        return Exemptions(
            tuple(one for one in self._policy.exceptions if meant(one.images)),
            tuple(one.document for one in self._policy.vex if one.expires >= today and meant(one.images)),
            frozenset((*digests, candidate.image.id)),
        )

    async def _issues(self, candidate: Candidate, duties: list[Duty]) -> list[Verdict]:
        asked_for = [duty.requirements.max_issue for duty in duties]
        worst = min((one for one in asked_for if one), key=lambda one: one.rank, default=None)
        if worst is None:
            return []
        try:
            issues = await self.examination.issues(candidate.image.id, candidate.image.tags)
        except Unscannable as error:
            reason = f"its configuration and layers cannot be read: {str(error)[:1000]}"
            return [_denied("image.unread", reason, "see docs/scanning.md for what is not read")]
        return list(judge_issues(worst, issues))


def _manifests(candidate: Candidate, duty: Duty) -> list[tuple[Reference, str]]:
    """That can have a signature under the name that the duty is for."""
    if duty.reference is None:
        return []
    return [(duty.reference, digest) for digest in candidate.digests_of(duty.reference)]


def _limits(duties: list[Duty]) -> list[VulnerabilityLimit]:
    """Each once: names of one image mostly have one rule."""
    limits: list[VulnerabilityLimit] = []
    for duty in duties:
        limit = duty.requirements.vulnerabilities
        if limit is not None and limit not in limits:
            limits.append(limit)
    return limits


def _digest(candidate: Candidate, duties: list[Duty]) -> Iterator[Verdict]:
    if not candidate.consistent:
        reason = f"image {candidate.image.id[:19]} does not have the digest that was asked for"
        yield _denied("image.digest", reason, "pull the image by its digest")
    asking = [duty.source for duty in duties if duty.requirements.digest_required]
    if asking and not candidate.pinned:
        reason = f"{asking[0]} asks for a digest, and {candidate.named} has none: what it means can change"
        yield _denied("image.digest", reason, "name the image as NAME@sha256:..., or by its whole id")
    elif asking:
        yield Control(id="image.digest", detail="asked for by what these bytes are, not by a name for them")


def _unsignable(reference: Reference | None) -> Threat:
    what = f"was not pulled as {reference.name}" if reference else "has no registry"
    reason = f"the policy asks for a signature, and what {what} cannot have one"
    return _denied("image.signature", reason, "pull the image from the registry that signs it")


def _unchecked(duties: list[Duty]) -> Iterator[Threat]:
    """No policy asked, so nobody looked: that is no verdict, and the report must not read as if it were."""
    asked = [duty.requirements for duty in duties]
    checks = {
        "its signature": any(one.signature for one in asked),
        "vulnerabilities": any(one.vulnerabilities for one in asked),
        "configuration and layers": any(one.max_issue for one in asked),
    }
    if missing := [name for name, checked in checks.items() if not checked]:
        yield Threat(
            id="image.unchecked",
            severity=RiskLevel.LOW,
            reason=f"not checked, since the policy does not ask for it: {', '.join(missing)}",
            remedy="ask for it in images.toml: docs/images.md",
            cis="4.4",
        )


def _denied(rule: str, reason: str, remedy: str) -> Threat:
    return Threat(id=rule, severity=RiskLevel.HIGH, reason=reason, remedy=remedy, attack="T1204.003")
