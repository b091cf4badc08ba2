"""The policy of images: which may run, and what they must meet. One TOML file; every entry says why.

Of the rules, the most specific that covers a name decides alone. What no rule covers does not run.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from daemon.errors import ConfigError
from daemon.findings import Severity
from daemon.images.exploits import load
from daemon.images.keyless import Identity, check_root
from daemon.images.reference import Pattern, Reference, is_id, parse, pattern
from daemon.images.vex import Vex, read_vex
from daemon.units import Duration

FILE = "images.toml"
ANY = "*"
DAY_S = 86400.0

Why = Annotated[str, StringConstraints(min_length=10)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=512)]


def _image(text: str) -> str:
    return text if is_id(text) else pattern(text)


def _name(text: str) -> str:
    if not is_id(text):
        parse(text)
    return text


def _local_image(text: str) -> str:
    return text if text == ANY else _image(text)


ImageName = Annotated[str, AfterValidator(_name)]
Images = Annotated[str, AfterValidator(pattern)]
ImagesOrId = Annotated[str, AfterValidator(_image)]
LocalImage = Annotated[str, AfterValidator(_local_image)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SignatureRequirement(_Part):
    """`threshold` signatures, each by another of these keys (PEM files) and identities."""

    keys: list[Path] = []
    identities: list[Identity] = []
    threshold: int = Field(default=1, ge=1)
    any_repository: bool = False
    """Bundles that name no repository will do, as cosign makes them; they may be copies from another."""

    @model_validator(mode="after")
    def _can_be_met(self) -> Self:
        if self.threshold > len(self.keys) + len(self.identities):
            raise ValueError("threshold is above the number of keys and identities: no image could meet it")
        return self


class VulnerabilityLimit(_Part):
    """`unknown_as` is what a severity that nobody gave counts as, and an image that was not understood."""

    max_severity: Severity
    unknown_as: Severity = Severity.CRITICAL
    fixable_only: bool = False
    max_epss: float | None = Field(default=None, ge=0, le=1)
    """What is more likely to be exploited counts as critical."""
    max_database_age: Duration = Field(default=7 * DAY_S, gt=0)
    max_scan_age: Duration = Field(default=DAY_S, gt=0)


class Requirements(_Part):
    """What an image must meet. What is left out is not checked, and the report says so."""

    digest_required: bool = False
    signature: SignatureRequirement | None = None
    vulnerabilities: VulnerabilityLimit | None = None
    max_issue: Severity | None = None
    """The worst issue of its configuration and layers that it may have."""


class Rule(Requirements):
    images: list[Images] = Field(min_length=1)
    why: Why

    @cached_property
    def patterns(self) -> list[Pattern]:
        return [Pattern.of(text) for text in self.images]


class LocalImages(Requirements):
    """Images that no registry ever gave a digest: built, imported or loaded on this host."""

    images: list[LocalImage]
    why: Why


class Tightening(Requirements):
    """What a profile asks for besides: both must be met. `prewarm` are images to be judged ahead for it."""

    prewarm: list[ImageName] = []
    why: Why


class VulnerabilityException(_Part):
    """Up to and with the day `expires`, in UTC."""

    id: Text
    images: tuple[ImagesOrId, ...] = Field(min_length=1)
    package: Text | None = None
    expires: date
    why: Why


class VexFile(_Part):
    """An OpenVEX document that may excuse vulnerabilities of these images, up to and with `expires`."""

    file: Path
    images: tuple[ImagesOrId, ...] = Field(min_length=1)
    expires: date
    why: Why

    @cached_property
    def document(self) -> Vex:
        """Raises ConfigError."""
        return read_vex(self.file)


class ExploitSources(_Part):
    """Files as CISA and FIRST publish them."""

    kev: Path | None = None
    epss: Path | None = None


class SigstoreTrust(_Part):
    """Whom signatures by identities are verified by: a trusted_root.json of Sigstore's."""

    trusted_root: Path | None = None


class ImagePolicy(_Part):
    local: LocalImages
    rules: list[Rule] = []
    profiles: dict[str, Tightening] = {}
    exceptions: list[VulnerabilityException] = []
    vex: list[VexFile] = []
    exploits: ExploitSources = ExploitSources()
    sigstore: SigstoreTrust = SigstoreTrust()

    @model_validator(mode="after")
    def _one_rule_a_pattern(self) -> Self:
        patterns = [(one.registry, one.path or ("**",)) for rule in self.rules for one in rule.patterns]
        if twice := next((one for one in patterns if patterns.count(one) > 1), None):
            raise ValueError(f"two rules are for {'/'.join((twice[0], *twice[1]))}: which one decides?")
        return self

    @model_validator(mode="after")
    def _likelihoods_are_known(self) -> Self:
        limits = [one.vulnerabilities for one in self.requirements if one.vulnerabilities]
        if self.exploits.epss is None and any(one.max_epss is not None for one in limits):
            raise ValueError("max_epss needs EPSS scores: name their file as `epss` in [exploits]")
        return self

    @property
    def requirements(self) -> tuple[Requirements, ...]:
        """All that are made anywhere."""
        return (self.local, *self.rules, *self.profiles.values())

    def prewarmed(self) -> list[tuple[str, str]]:
        """Images, each with the profile that it is for."""
        return [(image, name) for name, profile in self.profiles.items() for image in profile.prewarm]

    def rule_for(self, reference: Reference) -> tuple[Pattern, Rule] | None:
        """The most specific that covers it, by the pattern that does."""
        found = [(one, rule) for rule in self.rules for one in rule.patterns if one.matches(reference)]
        return max(found, key=lambda pair: pair[0].specificity, default=None)


def covers(entries: Iterable[str], references: Iterable[Reference], image_id: str) -> bool:
    """Whether an entry is this id, or a pattern of one of the names, or "*"."""
    names = list(references)
    return any(
        entry in (ANY, image_id)
        or (not is_id(entry) and any(Pattern.of(entry).matches(name) for name in names))
        for entry in entries
    )


def load_policy(folders: Iterable[Path]) -> ImagePolicy:
    """The last folder that has the file decides. Raises ConfigError, which names the file and the key."""
    there = [folder / FILE for folder in folders if (folder / FILE).exists()]
    if not there:
        raise ConfigError(f"no {FILE} found: reinstall the program")
    return read_policy(there[-1])


def read_policy(path: Path) -> ImagePolicy:
    try:
        policy = ImagePolicy.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
        for entry in policy.vex:
            _ = entry.document  # read now: one that cannot be read is an error of the policy
        load(policy.exploits.kev, policy.exploits.epss)
        if any(one.signature and one.signature.identities for one in policy.requirements):
            check_root(policy.sigstore.trusted_root)
        return policy
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{path}: {key + ': ' if key else ''}{first['msg']}") from error
