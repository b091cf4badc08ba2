"""Statements that a vulnerability does not affect a product: OpenVEX documents, as files of the policy.

A statement speaks of packages, by their package URLs, or of images, by their digests. The newest one that
speaks of a package decides; what cannot be read, or lacks what the specification asks for, makes the whole
document an error. Source: OpenVEX specification v0.2.0 (https://github.com/openvex/spec).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Annotated

from packageurl import PackageURL
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints
from pydantic import ValidationError as Invalid

from daemon.errors import ConfigError
from daemon.images.findings import Vulnerability

FILE_BYTES = 16 << 20
STATEMENTS, PRODUCTS = 10_000, 1_000
CONTEXT = "https://openvex.dev/ns"
PARSED = 10_000

Text = Annotated[str, StringConstraints(min_length=1, max_length=2048)]
_DIGEST = re.compile(r"(?:^|@)(sha256:[0-9a-f]{64})$")


class Status(StrEnum):
    NOT_AFFECTED = "not_affected"
    FIXED = "fixed"
    AFFECTED = "affected"
    UNDER_INVESTIGATION = "under_investigation"


class Justification(StrEnum):
    COMPONENT_NOT_PRESENT = "component_not_present"
    VULNERABLE_CODE_NOT_PRESENT = "vulnerable_code_not_present"
    NOT_IN_EXECUTE_PATH = "vulnerable_code_not_in_execute_path"
    NOT_CONTROLLED_BY_ADVERSARY = "vulnerable_code_cannot_be_controlled_by_adversary"
    INLINE_MITIGATIONS_EXIST = "inline_mitigations_already_exist"


class _Part(BaseModel):
    """JSON-LD: a document may say more than is read here."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class _Identifiers(_Part):
    purl: Text | None = None


class _Hashes(_Part):
    sha256: str | None = Field(None, alias="sha-256", pattern="^[0-9a-f]{64}$")


class _Component(_Part):
    id: Text | None = Field(None, alias="@id")
    identifiers: _Identifiers = _Identifiers()
    hashes: _Hashes = _Hashes()

    def purls(self) -> Iterator[str]:
        yield from (one for one in (self.id, self.identifiers.purl) if one and one.startswith("pkg:"))

    def digests(self) -> Iterator[str]:
        """Of images: by a hash, a reference or a package URL of type oci."""
        if self.hashes.sha256:
            yield f"sha256:{self.hashes.sha256}"
        if self.id and (found := _DIGEST.search(self.id)):
            yield found[1]
        for purl in self.purls():
            named = _parsed(purl)
            if named.type in {"oci", "docker"} and named.version:
                yield named.version


class _Product(_Component):
    subcomponents: list[_Component] = Field([], max_length=PRODUCTS)


class _Vulnerability(_Part):
    name: Text
    aliases: list[Text] = Field([], max_length=PRODUCTS)


class _Statement(_Part):
    vulnerability: _Vulnerability
    products: list[_Product] = Field(min_length=1, max_length=PRODUCTS)
    status: Status
    justification: Justification | None = None
    impact_statement: Text | None = None
    timestamp: AwareDatetime | None = None


def _of_openvex(context: str) -> str:
    if not context.startswith(CONTEXT):
        raise ValueError(f"is not of OpenVEX: {CONTEXT} is expected")
    return context


class _File(_Part):
    context: Annotated[str, AfterValidator(_of_openvex)] = Field(alias="@context")
    author: Text
    timestamp: AwareDatetime
    statements: list[_Statement] = Field(min_length=1, max_length=STATEMENTS)


@dataclass(frozen=True, slots=True)
class Statement:
    time: datetime
    status: Status
    reason: str
    products: tuple[_Product, ...]

    @property
    def excuses(self) -> bool:
        return self.status in {Status.NOT_AFFECTED, Status.FIXED}

    def is_about(self, found: Vulnerability, digests: frozenset[str]) -> bool:
        return any(self._is_about(product, found, digests) for product in self.products)

    def _is_about(self, product: _Product, found: Vulnerability, digests: frozenset[str]) -> bool:
        if not digests.isdisjoint(product.digests()):
            return not product.subcomponents or _names(product.subcomponents, found, self.status)
        return not product.subcomponents and _names([product], found, self.status)


def _names(components: list[_Component] | list[_Product], found: Vulnerability, status: Status) -> bool:
    return any(_is(purl, found.purl, status) for one in components for purl in one.purls())


def _is(said: str, ours: str, status: Status) -> bool:
    """What it leaves out may be anything; but that a package is fixed says nothing without its version."""
    if not ours:
        return False
    one, other = _parsed(said), _parsed(ours)
    if (one.type, one.namespace, one.name) != (other.type, other.namespace, other.name):
        return False
    if not one.version:
        return status is not Status.FIXED
    return _version(one) == _version(other) and _qualifiers(one).items() <= _qualifiers(other).items()


def _version(purl: PackageURL) -> str:
    """With its epoch, which some keep beside it."""
    version, epoch = str(purl.version or ""), str(_all_qualifiers(purl).get("epoch", "0"))
    return version if ":" in version or epoch == "0" else f"{epoch}:{version}"


def _qualifiers(purl: PackageURL) -> dict[str, str]:
    return {key: value for key, value in _all_qualifiers(purl).items() if key != "epoch"}


def _all_qualifiers(purl: PackageURL) -> dict[str, str]:
    return purl.qualifiers if isinstance(purl.qualifiers, dict) else {}


@lru_cache(PARSED)
def _parsed(purl: str) -> PackageURL:
    return PackageURL.from_string(purl)


@dataclass(frozen=True, eq=False)
class Vex:
    """By the names of vulnerabilities, oldest statement first. Equal to itself alone."""

    statements: dict[str, tuple[Statement, ...]]

    def about(self, found: Vulnerability) -> Iterator[Statement]:
        for name in {found.id, found.source}:
            yield from self.statements.get(name, ())


def excused(documents: tuple[Vex, ...], found: Vulnerability, digests: frozenset[str]) -> str | None:
    """Why it does not count, by the newest statement about it; of two at one time the one that counts it."""
    about = [one for document in documents for one in document.about(found) if one.is_about(found, digests)]
    newest = max(about, key=lambda one: (one.time, not one.excuses), default=None)
    return newest.reason if newest is not None and newest.excuses else None


def read_vex(path: Path) -> Vex:
    """Raises ConfigError, which names the file and what is wrong with it."""
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    if len(content) > FILE_BYTES:
        raise ConfigError(f"{path}: has over {FILE_BYTES} bytes")
    try:
        return _vex(_File.model_validate_json(content))
    except Invalid as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ConfigError(f"{path}: no OpenVEX document: {place}: {first['msg']}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: no OpenVEX document: {error}") from error


def _vex(file: _File) -> Vex:
    """Raises ValueError."""
    found: dict[str, list[Statement]] = {}
    for number, one in enumerate(file.statements):
        made = _statement(one, file.timestamp, f"statements.{number}")
        for name in {one.vulnerability.name, *one.vulnerability.aliases}:
            found.setdefault(name, []).append(made)
    return Vex({name: tuple(statements) for name, statements in found.items()})


def _statement(one: _Statement, written: datetime, place: str) -> Statement:
    if one.status is Status.NOT_AFFECTED and not (one.justification or one.impact_statement):
        raise ValueError(f"{place}: not_affected without a justification or an impact_statement")
    components = [part for product in one.products for part in (product, *product.subcomponents)]
    if not [name for part in components for name in (*part.purls(), *part.digests())]:
        raise ValueError(f"{place}: names no product by a package URL or the digest of an image")
    reason = one.justification or (one.impact_statement or "")[:120] or one.status
    return Statement((one.timestamp or written).astimezone(UTC), one.status, str(reason), tuple(one.products))
