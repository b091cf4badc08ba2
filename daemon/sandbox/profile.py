"""Profiles: named sets of ceilings, one TOML file each. A request may tighten one, never loosen it."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Annotated, Generic, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    StringConstraints,
    ValidationError,
    model_validator,
)

from daemon.errors import ConfigError, PolicyError
from daemon.findings import Severity
from daemon.images.policy import FILE as IMAGE_POLICY
from daemon.images.reference import pattern
from daemon.sandbox.egress import Ceiling as Destinations
from daemon.sandbox.options import Limits, Name
from daemon.units import Duration, Size

T = TypeVar("T")
Response = Literal["alert", "pause", "quarantine", "kill"]
Why = Annotated[str, StringConstraints(min_length=10)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Ceiling(_Part, Generic[T]):
    max: T
    why: Why


class Choice(_Part, Generic[T]):
    value: T
    why: Why


class LimitCeilings(_Part):
    cpus: Ceiling[float]
    memory: Ceiling[Size]
    swap: Ceiling[Size]
    pids: Ceiling[int]
    workspace_size: Ceiling[Size]
    tmp_size: Ceiling[Size]
    output: Ceiling[Size]
    nofile: Ceiling[int]
    core: Ceiling[Size]
    timeout_s: Ceiling[Duration]

    @model_validator(mode="after")
    def _can_be_kept_below(self) -> Self:
        """A ceiling under what may be asked at all would refuse every launch, each time by another reason."""
        try:
            Limits.model_validate({name: getattr(self, name).max for name in LimitCeilings.model_fields})
        except ValidationError as error:
            raise ValueError(f"no request can keep below it: {_first_problem(error)}") from error
        return self


class Responses(_Part):
    """What follows a finding of each severity, unless it was a refused attempt: that is only told."""

    low: Response
    medium: Response
    high: Response
    critical: Response

    def of(self, severity: Severity) -> str:
        answer: str = getattr(self, severity)
        return answer


class Profile(_Part):
    """`why` beside every entry is part of the format: a ceiling that nobody can explain is not a policy."""

    name: Name
    summary: str
    networking: Choice[bool]
    network: Choice[str]
    egress: Choice[Destinations]
    workspace_exec: Choice[bool]
    exec: Choice[bool]
    seccomp: Choice[Name]
    apparmor: Choice[Name]
    apparmor_required: Choice[bool]
    capabilities: Choice[list[str]]
    mounts: Choice[list[str]]
    environment: Choice[list[str]]
    registries: Choice[list[Annotated[str, AfterValidator(pattern)]]]
    local_images: Choice[bool]
    pull: Choice[bool]
    runtimes: Choice[list[Name]]
    on_throttling: Choice[Literal["alert", "kill"]]
    response: Choice[Responses]
    limits: LimitCeilings

    @cached_property
    def digest(self) -> str:
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


def load_profile(path: Path) -> Profile:
    """Raises ConfigError, which names the file and the key."""
    try:
        profile = Profile.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as TOML: {error}") from error
    except ValidationError as error:
        raise ConfigError(f"{path}: {_first_problem(error)}") from error
    if profile.name != path.stem:
        raise ConfigError(
            f"{path}: name: is {profile.name!r}, but the file is called {path.stem!r}: make them the same"
        )
    return profile


def _first_problem(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"


def profile_files(folder: Path) -> list[Path]:
    """The policy of images is beside them, and no profile."""
    return sorted(path for path in folder.glob("*.toml") if path.name != IMAGE_POLICY)


class Profiles:
    """All profiles of the given folders; a file in a later folder replaces one of the same name."""

    def __init__(self, folders: Iterable[Path]) -> None:
        files = {path.stem: path for folder in folders for path in profile_files(folder)}
        self._by_name = {name: load_profile(path) for name, path in files.items()}
        if not self._by_name:
            raise ConfigError("no profile found: reinstall the program or check the setting `profile_dirs`")

    def __iter__(self) -> Iterator[Profile]:
        return iter(self._by_name.values())

    def get(self, name: str) -> Profile:
        profile = self._by_name.get(name)
        if profile is None:
            raise PolicyError(
                f"no profile is called {name!r}: choose one of {', '.join(sorted(self._by_name))}"
            )
        return profile
