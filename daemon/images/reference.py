"""Names of images, read strictly: what can be read in two ways is refused, never repaired.

The grammar is that of distribution/reference, with which the engine reads names, less what programs disagree
on: upper case in the host, digests other than sha256, and names that the engine may take for an id.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv6Address

from daemon.errors import PolicyError

DEFAULT_REGISTRY = "docker.io"
REFERENCE_CHARACTERS = 512
NAME_CHARACTERS = 255  # of registry and repository, in distribution/reference

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"({_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:]{{2,39}}\])(?::([1-9][0-9]{{0,4}}))?")
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_ID = re.compile(r"sha256:[0-9a-f]{64}")
_PRINTABLE = re.compile(r"[!-~]+")
# What the engine looks up among ids where no image has the name: a prefix of one, with or without algorithm.
_LIKE_AN_ID = re.compile(r"(?:sha256:)?[0-9a-f]{1,64}")


class BadReference(PolicyError):
    """The message names the reference and what to write instead."""

    def __init__(self, text: str, problem: str) -> None:
        super().__init__(f"image reference {text[:128]!a}: {problem}")


@dataclass(frozen=True, slots=True)
class Reference:
    """`tag` and `digest` are as they were written: no tag means none was named. `digest` is "sha256:..."."""

    registry: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.name}{tag}{f'@{self.digest}' if self.digest else ''}"

    @property
    def name(self) -> str:
        """With the registry, without tag and digest."""
        return f"{self.registry}/{self.repository}"


def is_id(text: str) -> bool:
    """Whether this is an image's whole id. A shorter one may come to mean another image."""
    return _ID.fullmatch(text) is not None


def parse(text: str) -> Reference:
    """Raises BadReference. `docker.io` and `library/` are filled in where Docker would."""
    _check_characters(text)
    name, at, digest = text.partition("@")
    if at and not is_id(digest):
        raise BadReference(text, "the digest must be sha256: and 64 hexadecimal digits, in lower case")
    head, slash, last = name.rpartition("/")
    last, colon, tag = last.partition(":")
    if colon and not _TAG.fullmatch(tag):
        raise BadReference(text, "the tag must be of letters, digits, '_', '.' and '-', 128 at most")
    registry, repository = _split(text, head + slash + last)
    return Reference(registry, repository, tag or None, digest or None)


def _check_characters(text: str) -> None:
    if len(text) > REFERENCE_CHARACTERS:
        raise BadReference(text, f"has over {REFERENCE_CHARACTERS} characters")
    if not _PRINTABLE.fullmatch(text):
        raise BadReference(text, "must be of printable ASCII without spaces")
    if _LIKE_AN_ID.fullmatch(text):
        problem = "the engine may take it for an image's id: add a tag, or give the whole id with its sha256:"
        raise BadReference(text, problem)


def _split(text: str, name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    named = bool(slash) and (_like_a_host(first) or first.lower() != first)
    registry, repository = (_registry(text, first), rest) if named else (DEFAULT_REGISTRY, name)
    if registry == DEFAULT_REGISTRY and "/" not in repository:
        repository = f"library/{repository}"
    if not all(_COMPONENT.fullmatch(part) for part in repository.split("/")):
        raise BadReference(text, "each part of its path must be of lower-case letters and digits, and . _ -")
    if len(registry) + 1 + len(repository) > NAME_CHARACTERS:
        raise BadReference(text, f"the name has over {NAME_CHARACTERS} characters")
    return registry, repository


def _like_a_host(first: str) -> bool:
    """Of the first part of a name: Docker's own rule."""
    return "." in first or ":" in first or first == "localhost"


def _registry(text: str, host: str) -> str:
    if not is_host(host):
        raise BadReference(text, "the registry must be a host in lower case, with or without a port")
    return DEFAULT_REGISTRY if host == "index.docker.io" else host


def is_host(text: str) -> bool:
    """A registry as it stands in a reference: a host, with its port where it has one."""
    matched = _HOST.fullmatch(text)
    if matched is None or (matched[2] and int(matched[2]) > 65535):
        return False
    if not text.startswith("["):
        return True
    try:
        IPv6Address(matched[1][1:-1])
    except AddressValueError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Pattern:
    """An entry of an allow-list: `registry`, with its port, is always exact, as is each part of the path.

    `path` may end in "*", one more part, or in "**", one or more. () is the whole registry.
    """

    registry: str
    path: tuple[str, ...] = ()

    @classmethod
    def of(cls, text: str) -> Pattern:
        """Of "ghcr.io", "ghcr.io/team/tool", "ghcr.io/team/*" or "ghcr.io/team/**". Raises BadReference."""
        registry, slash, path = text.partition("/")
        if not (is_host(registry) and _like_a_host(registry)):
            raise BadReference(text, "must begin with a registry in full, as docker.io, without wildcards")
        parts = tuple(path.split("/")) if slash else ()
        for number, part in enumerate(parts, 1):
            wildcard = part in ("*", "**") and number == len(parts)
            if not (wildcard or _COMPONENT.fullmatch(part)):
                raise BadReference(text, "each part must be a name; only the last may be * or **")
        return cls(DEFAULT_REGISTRY if registry == "index.docker.io" else registry, parts)

    def __str__(self) -> str:
        return "/".join((self.registry, *self.path))

    @property
    def specificity(self) -> tuple[int, int]:
        """The greater, the more it says: first by the parts that it names, then by its wildcard."""
        ending = {"**": 0, "*": 1}.get(self.path[-1] if self.path else "**", 2)
        return len([part for part in self.path if "*" not in part]), ending

    def matches(self, reference: Reference) -> bool:
        if reference.registry != self.registry:
            return False
        parts, last = tuple(reference.repository.split("/")), self.path[-1] if self.path else "**"
        if last == "**":
            fixed = self.path[:-1]
            return len(parts) > len(fixed) and parts[: len(fixed)] == fixed
        if last == "*":
            return len(parts) == len(self.path) and parts[:-1] == self.path[:-1]
        return parts == self.path


def pattern(text: str) -> str:
    """For models whose values are entries of an allow-list. Raises ValueError, as their validators do."""
    try:
        Pattern.of(text)
    except BadReference as error:
        raise ValueError(str(error)) from error
    return text
