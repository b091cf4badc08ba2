"""SandboxOptions: everything that a caller may ask for. The defaults are the hardened ones."""

from __future__ import annotations

import base64
import re
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from daemon.images.reference import pattern
from daemon.sandbox.egress import RULES_LIMIT, EgressRule
from daemon.units import Duration, Size

MIB = 1 << 20
GIB = 1 << 30
MAX_FILES_BYTES = 4 * MIB


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("contains a NUL character, which no argument, path or variable can hold")
    text.encode()  # a lone surrogate has no UTF-8 form: refuse it here, not in the engine call
    return text


def _absolute(path: str) -> str:
    if not path.startswith("/") or ".." in path.split("/"):
        raise ValueError("must be an absolute path without '..'")
    return path


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


Text = Annotated[str, StringConstraints(max_length=128 * 1024), AfterValidator(_no_nul)]
Path = Annotated[
    str, StringConstraints(min_length=1, max_length=4096), AfterValidator(_no_nul), AfterValidator(_absolute)
]
RelativePath = Annotated[str, StringConstraints(min_length=1, max_length=4096), AfterValidator(_no_nul)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$")]
ImageName = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_.:/@-]{0,510}$")]
RegistryPattern = Annotated[str, StringConstraints(min_length=1, max_length=255), AfterValidator(pattern)]
EnvironmentName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,254}$")]
Capability = Annotated[str, StringConstraints(pattern=r"^(CAP_)?[A-Z][A-Z_]{1,31}$")]
HostNamespace = Literal["pid", "net", "ipc", "uts", "user", "cgroup"]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SecurityPolicy(Strict):
    """What the caller lets its own code do; never more than the profile does."""

    allow_networking: bool = False
    trusted_registries: list[RegistryPattern] = Field(
        default=[],
        max_length=64,
        description="`ghcr.io`, `ghcr.io/team/tool`, `ghcr.io/team/*` (one more part) or `ghcr.io/team/**` "
        "(any more): narrows the profile's list; empty: the profile's list as it is",
    )
    egress: list[EgressRule] | None = Field(
        default=None,
        max_length=RULES_LIMIT,
        description="narrows the profile's destinations; null: the profile's list as it is; []: none",
    )


class Mount(Strict):
    """A path of the host inside the sandbox. Refused unless the profile lists it."""

    source: Path
    target: Path
    read_only: bool = True
    propagation: Literal["private", "rprivate", "shared", "rshared", "slave", "rslave"] = "rprivate"


class File(Strict):
    """A file put into the workspace before the program starts."""

    content: Annotated[str, StringConstraints(max_length=MAX_FILES_BYTES * 4 // 3 + 4)]
    encoding: Literal["utf-8", "base64"] = "utf-8"
    mode: int = Field(default=0o644, ge=0, le=0o777)

    @field_validator("content")
    @classmethod
    def _is_utf8(cls, content: str) -> str:
        content.encode()
        return content

    @model_validator(mode="after")
    def _decodes(self) -> Self:
        self.data()
        return self

    def data(self) -> bytes:
        if self.encoding == "base64":
            return base64.b64decode(self.content, validate=True)
        return self.content.encode()


def _as_file(value: object) -> object:
    return {"content": value} if isinstance(value, str) else value


class Limits(Strict):
    """Ceilings of one sandbox, all enforced by the kernel but for output and time, which the daemon enforces.

    `/tmp`, `/var/tmp` and the workspace are memory: what the program writes there counts against `memory`,
    what the daemon puts into the workspace counts against the host and is bounded by `workspace_size`.
    """

    cpus: float = Field(default=1.0, ge=0.01, le=256)
    memory: Size = Field(
        default=512 * MIB, ge=6 * MIB, le=1 << 40, description="bytes, or a string such as '512m'"
    )
    swap: Size | None = Field(
        default=None,
        ge=6 * MIB,
        le=1 << 40,
        description="memory and swap together; default: as much as memory, so no swap",
    )
    # The runtime's own init, a Go program, is counted until it execs: with fewer, starts fail now and then.
    pids: int = Field(
        default=100, ge=16, le=65536, description="processes and threads, the sandbox's init included"
    )
    workspace_size: Size = Field(default=100 * MIB, ge=64 * 1024, le=64 * GIB)
    tmp_size: Size = Field(
        default=100 * MIB, ge=64 * 1024, le=64 * GIB, description="of /tmp and of /var/tmp, each"
    )
    output: Size = Field(
        default=MIB, ge=1024, le=64 * MIB, description="bytes kept of stdout and of stderr, each"
    )
    nofile: int = Field(default=1024, ge=16, le=1 << 20)
    core: Size = Field(default=0, ge=0, le=GIB)
    timeout_s: Duration = Field(
        default=300.0, gt=0, le=7 * 86400, description="wall-clock, from the program's start"
    )

    @model_validator(mode="after")
    def _swap_holds_memory(self) -> Self:
        if self.swap is not None and self.swap < self.memory:
            raise ValueError("limits.swap is memory and swap together: it cannot be less than limits.memory")
        return self

    @property
    def swap_total(self) -> int:
        return self.memory if self.swap is None else self.swap


class SandboxOptions(Strict):
    """A request for one sandbox. What weakens it may be asked for, is judged, and is refused by name."""

    image: ImageName
    command: Annotated[list[Text], BeforeValidator(_as_list, json_schema_input_type=str | list[str])] = Field(
        default=[],
        max_length=1024,
        description="program and its first arguments; default: the image's entry point",
    )
    args: list[Text] = Field(
        default=[], max_length=4096, description="arguments; default: the image's, if it has an entry point"
    )
    env: dict[EnvironmentName, Text] = Field(default={}, max_length=256)
    stdin: Annotated[str, StringConstraints(max_length=MIB)] | None = Field(
        default=None, description="given to the program, then closed; default: an empty stdin"
    )
    interactive: bool = Field(default=False, description="keep stdin open for `attach`")
    tty: bool = False
    working_dir: Path = "/workspace"
    user: int = Field(default=1000, ge=0, le=(1 << 31) - 1, description="numeric; 0 is refused")
    group: int = Field(default=1000, ge=0, le=(1 << 31) - 1, description="numeric; 0 is refused")
    profile: Name = "default"
    security_policy: SecurityPolicy = SecurityPolicy()
    require_networking: bool = False
    capabilities: list[Capability] = Field(default=[], max_length=64)
    mounts: list[Mount] = Field(default=[], max_length=32)
    devices: list[Path] = Field(default=[], max_length=32)
    host_namespaces: list[HostNamespace] = Field(default=[], max_length=6)
    privileged: bool = False
    read_only_root: bool = True
    no_new_privileges: bool = True
    seccomp: Literal["profile", "unconfined"] = "profile"
    apparmor: Literal["profile", "unconfined"] = "profile"
    session_id: Name | None = Field(
        default=None, description="groups sandboxes; default: the sandbox's own id"
    )
    limits: Limits = Limits()
    runtime: Name | None = Field(
        default=None, description="an OCI runtime registered with the engine; default: the engine's"
    )
    labels: dict[
        Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._/-]{0,127}$")],
        Annotated[Text, StringConstraints(max_length=1024)],
    ] = Field(default={}, max_length=64)
    files: dict[
        RelativePath, Annotated[File, BeforeValidator(_as_file, json_schema_input_type=str | File)]
    ] = Field(
        default={},
        max_length=256,
        description="path below the workspace to content; 4 MiB in all; larger trees go through /files",
    )

    @field_validator("stdin")
    @classmethod
    def _stdin_is_utf8(cls, stdin: str | None) -> str | None:
        if stdin is not None:
            stdin.encode()
        return stdin

    @field_validator("labels")
    @classmethod
    def _labels_are_the_callers(cls, labels: dict[str, str]) -> dict[str, str]:
        if reserved := [name for name in labels if re.match(r"container-kit([./]|$)|com\.docker\.", name)]:
            raise ValueError(f"label {reserved[0]!r} is reserved: choose another prefix")
        return labels

    @field_validator("files")
    @classmethod
    def _files_fit(cls, files: dict[str, File]) -> dict[str, File]:
        if sum(len(file.content) for file in files.values()) > MAX_FILES_BYTES * 4 // 3:
            raise ValueError(
                "more than 4 MiB of files in the request: PUT larger ones to /v1/sandboxes/{id}/files"
            )
        return files

    @model_validator(mode="after")
    def _one_source_of_stdin(self) -> Self:
        if self.stdin is not None and self.interactive:
            raise ValueError(
                "stdin and interactive exclude each other: give the input, or attach and type it"
            )
        return self
