"""The corpus as data. Each folder below cases/ is one case of that name: case.json, and the program run.sh.

An attack ends with 0 if it reached its goal, with 10 if all that it tried was refused; what it did is on its
stdout, as lib/attempt.sh describes. A benign case ends with 0 if it could do its work.
"""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, field_validator

from daemon.findings import Severity
from tests.corpus import options

CASES = Path(__file__).with_name("cases")
Line = Annotated[str, StringConstraints(min_length=1, max_length=300, pattern=r"^[^\n]+$")]


class Image(StrEnum):
    """Which root file system: one static program, or a Debian with compilers and interpreters."""

    BUSYBOX = "busybox"
    DEBIAN = "debian"


class Verdict(StrEnum):
    """What a run proves."""

    BREAKOUT = "BREAKOUT"  # the host's canary was read or written
    EFFECT = "EFFECT"  # the technique reached another goal
    REFUSED = "attempted, refused"  # something was tried, and nothing of it succeeded
    NOT_TRIED = "not tried"  # nothing was tried: a precondition is missing
    NOT_STARTED = "not started"  # the engine or the runtime refused the options
    OK = "ok"  # a benign case did its work
    FAILED = "failed"  # a benign case did not


class _Case(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, StringConstraints(pattern=r"^[a-z]+(-[a-z0-9]+)+$")]
    title: Line
    image: Image
    timeout_s: Annotated[float, Field(gt=0, le=120)]

    @property
    def folder(self) -> Path:
        return CASES / self.id

    @property
    def path(self) -> str:
        """The folder of the case in its image."""
        return f"/cases/{self.id}"


class Attack(_Case):
    kind: Literal["attack"]
    technique: Annotated[str, StringConstraints(pattern=r"^T\d{4}(\.\d{3})?$")] = Field(description="ATT&CK")
    source: Line = Field(description="where the technique is described or detected")
    category: Literal["process", "filesystem", "network", "resource"]
    min_severity: Severity = Field(description="a finding below it does not count as detection")
    signal: Line = Field(description="what reveals it")
    possible_with: Line = Field(description="the configuration that lets it reach its goal")
    docker: tuple[str, ...] = Field(description="that configuration, as options of docker run")
    net: Literal["none", "fakenet"] = "none"
    aids: tuple[Literal["victim"], ...] = Field(default=(), description="processes of the host it may aim at")
    goal: Literal["canary", "effect"]
    must_block: bool = Field(description="whether profile `strict` has to keep it from every effect")
    trace: tuple[Line, ...] = Field(
        default=(), description="strace lines it must cause, as regular expressions"
    )
    fake_log: Line | None = Field(default=None, description="what the far side must see, as such a one")
    ambiguous: Line | None = Field(default=None, description="why it may be taken for ordinary work")
    note: Line | None = Field(default=None, description="why it is harmless if `strict` lets it happen")
    measured: Verdict = Field(
        description="with these options, on Linux 6.18, Docker 20.10.24, runc 1.1.5, cgroup v1"
    )

    @field_validator("docker")
    @classmethod
    def _options_are_known(cls, arguments: tuple[str, ...]) -> tuple[str, ...]:
        options.parse(arguments)
        return arguments

    @property
    def options(self) -> options.DockerOptions:
        return options.parse(self.docker)


class Benign(_Case):
    kind: Literal["benign"]
    profile: Literal["default", "build"] = Field(description="the tightest profile that lets it work")
    looks_like: Line = Field(description="what a careless detector would take it for")


Case = Annotated[Attack | Benign, Field(discriminator="kind")]
_CASE: TypeAdapter[Attack | Benign] = TypeAdapter(Case)


def load(folder: Path) -> Attack | Benign:
    """Raises ValueError for a key that is unknown, missing or wrong."""
    fields = json.loads((folder / "case.json").read_text())
    return _CASE.validate_python({"id": folder.name, **fields})


def cases() -> list[Attack | Benign]:
    return [load(folder) for folder in sorted(CASES.iterdir())]


def attacks() -> list[Attack]:
    return [case for case in cases() if isinstance(case, Attack)]


def benign() -> list[Benign]:
    return [case for case in cases() if isinstance(case, Benign)]
