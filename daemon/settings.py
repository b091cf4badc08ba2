"""Settings: /etc/container-kit/config.toml, overridden by CONTAINER_KIT_* of the environment."""

from __future__ import annotations

import grp
import os
import pwd
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from daemon import PROFILES
from daemon.alerts.rule import AlertRule
from daemon.errors import ConfigError
from daemon.images.reference import is_host
from daemon.units import Size

PREFIX = "CONTAINER_KIT_"
DEFAULT_FILE = Path("/etc/container-kit/config.toml")
READ_ELSEWHERE = {"CONTAINER_KIT_CONFIG"}


class Quota(BaseModel):
    """Of one uid, over all its running sandboxes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    running: int = Field(default=16, ge=0)
    launches_per_minute: int = Field(default=600, ge=0)
    memory: Size = Field(default=8 << 30, ge=0)
    cpus: float = Field(default=16.0, ge=0)


class CallerRule(BaseModel):
    """Who may do what. The first rule of the table that names a caller decides."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    users: list[str | int] = []
    groups: list[str | int] = []
    profiles: list[str] = []
    administrator: bool = False
    quota: Quota = Quota()

    def names(self, uid: int, gids: frozenset[int]) -> bool:
        return uid in map(_uid, self.users) or not gids.isdisjoint(map(_gid, self.groups))


def _uid(user: str | int) -> int:
    try:
        return user if isinstance(user, int) else pwd.getpwnam(user).pw_uid
    except KeyError:
        return -1  # a rule may name somebody who does not exist yet


def _gid(group: str | int) -> int:
    try:
        return group if isinstance(group, int) else grp.getgrnam(group).gr_gid
    except KeyError:
        return -1


ROOT_RULE = CallerRule(
    users=[0],
    profiles=["*"],
    administrator=True,
    quota=Quota(running=1024, launches_per_minute=100_000, memory=1 << 50, cpus=100_000),
)
GROUP_RULE = CallerRule(groups=["container-kit"], profiles=["strict", "default"])


def _by_reference(text: str) -> str:
    """Says nothing of what was written: it may be the secret itself."""
    scheme, _, rest = text.partition(":")
    if (scheme == "file" and rest.startswith("/")) or (scheme == "credential" and rest and "/" not in rest):
        return text
    raise ValueError('write "file:/PATH" or "credential:NAME", never the secret itself')


SecretReference = Annotated[str, AfterValidator(_by_reference)]


class TelemetrySettings(BaseModel):
    """OpenTelemetry's traces and metrics. docs/telemetry.md has every key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    endpoint: str = Field(default="", pattern=r"^(https?://[^\s/@?#]+(/[^\s@?#]*)?)?$", max_length=1000)
    protocol: Literal["http", "grpc"] = "http"
    headers: dict[str, SecretReference] = Field(default={}, max_length=16)
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    interval_s: float = Field(default=60.0, ge=1)
    timeout_s: float = Field(default=10.0, gt=0, le=60)

    @model_validator(mode="after")
    def _a_pair(self) -> Self:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file go together: give both or none")
        return self


class ScannerSettings(BaseModel):
    """What finds the vulnerabilities of images. docs/scanning.md has every key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["builtin", "trivy", "grype"] = "builtin"
    program: Path | None = None
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-fA-F]{64}$")
    database: Path | None = None
    """None is `osv` below state_dir: the built-in scanner's."""

    @model_validator(mode="after")
    def _a_program_is_pinned(self) -> Self:
        needed = {"program": self.program, "sha256": self.sha256, "database": self.database}
        if self.name == "builtin" and (self.program or self.sha256):
            raise ValueError(
                "the built-in scanner has no program: take out `program` and `sha256`, or name another"
            )
        missing = [key for key, value in needed.items() if value is None]
        if self.name != "builtin" and missing:
            raise ValueError(
                f"{self.name} needs {' and '.join(missing)}: docs/scanning.md says what they are"
            )
        if odd := [key for key in ("program", "database") if not _absolute(needed[key])]:
            raise ValueError(f"{odd[0]} must be an absolute path")
        return self


def _absolute(path: object) -> bool:
    return not isinstance(path, Path) or path.is_absolute()


class RegistryLogin(BaseModel):
    """Who we are to one registry. docs/images.md has every key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    registry: str
    username: str = Field(default="", pattern=r"^[!-9;-~]*$", max_length=256)
    password: SecretReference | None = None
    token: SecretReference | None = None

    @field_validator("registry")
    @classmethod
    def _as_in_names(cls, text: str) -> str:
        if not is_host(text) or text == "index.docker.io":
            raise ValueError(
                "must be a registry as names of images have it, with its port, such as docker.io"
            )
        return text

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        by_password = bool(self.username) and self.password is not None
        half = bool(self.username) != (self.password is not None)
        if half or by_password == (self.token is not None):
            raise ValueError("give username and password, or token alone")
        return self


class ImageSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    scanner: ScannerSettings = ScannerSettings()
    registries: list[RegistryLogin] = Field(default=[], max_length=64)

    @field_validator("registries")
    @classmethod
    def _one_login_each(cls, logins: list[RegistryLogin]) -> list[RegistryLogin]:
        names = [login.registry for login in logins]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"two entries are for {twice}: which one is meant?")
        return logins


class SpareSettings(BaseModel):
    """Sandboxes made ahead. README.md has every key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image: str
    profile: str = "default"
    count: int = Field(default=1, ge=1, le=64)
    limits: dict[str, Any] = {}
    """As in a request: checked as one, when the daemon starts."""


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="forbid", frozen=True, env_nested_delimiter="__"
    )

    socket: Path = Path("/run/container-kit/api.sock")
    socket_group: str = "container-kit"
    state_dir: Path = Path("/var/lib/container-kit")
    engine_socket: Path = Path("/run/docker.sock")
    profile_dirs: list[Path] = [PROFILES, Path("/etc/container-kit/profiles")]
    debug: bool = False
    security_log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    audit_segment_size: Size = Field(default=64 << 20, ge=64 << 10, le=4 << 30)
    audit_reserve_size: Size = Field(default=1 << 20, ge=0, le=1 << 30)
    audit_keep_size: Size = Field(default=0, ge=0)
    audit_keep_days: int = Field(default=0, ge=0, le=36_500)
    audit_limit_size: Size = Field(default=0, ge=0)
    audit_limit_days: int = Field(default=0, ge=0, le=36_500)
    on_audit_failure: Literal["refuse_launch", "continue", "kill_all"] = "refuse_launch"
    watch: Literal["managed", "labelled", "all"] = "managed"
    unmanaged_response: Literal["alert", "pause", "quarantine", "kill"] = "alert"
    canaries: list[Path] = Field(default=[], max_length=64)
    guarded_files: list[Path] = Field(default=[], max_length=64)
    dns_servers: list[str] = Field(default=[], max_length=8)
    retained_sandboxes: int = Field(default=100, ge=0, le=10_000)
    retained_forensics: int = Field(default=200, ge=0, le=10_000)
    forensics_size: Size = Field(default=256 << 20, ge=0)
    recordings: int = Field(default=0, ge=0, le=10_000)
    recording_size: Size = Field(default=64 << 20, ge=1 << 20)
    recording_dir: Path = Path("/var/lib/container-kit/recordings")
    exporters: list[dict[str, Any]] = []
    """Each table is checked by its kind, when the exporters are made."""
    alerts: list[AlertRule] = Field(default=[], max_length=64)
    alert_channels: list[dict[str, Any]] = Field(default=[], max_length=16)
    """Each table is checked by its kind, when the channels are made."""
    telemetry: TelemetrySettings = TelemetrySettings()
    images: ImageSettings = ImageSettings()
    spares: list[SpareSettings] = Field(default=[], max_length=64)
    spares_of_repeats: int = Field(default=1, ge=0, le=64)
    callers: list[CallerRule] = [ROOT_RULE, GROUP_RULE]

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def settings_file() -> Path:
    return Path(os.environ.get("CONTAINER_KIT_CONFIG", DEFAULT_FILE))


def load_settings(file: Path | None = None) -> Settings:
    """Raises ConfigError, which names the file or the variable, and the key. Only a named file must exist."""
    named = file or (
        Path(os.environ["CONTAINER_KIT_CONFIG"]) if "CONTAINER_KIT_CONFIG" in os.environ else None
    )
    path = named or DEFAULT_FILE
    _check_file(path, must_exist=named is not None)
    _check_variables()

    class FromFile(Settings):
        model_config = SettingsConfigDict(toml_file=path)

    try:
        return FromFile()
    except ValidationError as error:
        first = error.errors()[0]
        key = tuple(str(part) for part in first["loc"])
        raise ConfigError(f"{_source(path, key)}: {'.'.join(key)}: {first['msg']}") from error
    except ValueError as error:
        raise ConfigError(f"{_unread(error) or path}: {error.__cause__ or error}: write JSON") from error


def _source(path: Path, key: tuple[str, ...]) -> str:
    """Where the key is set: a variable wins over the file, and one of a table's key adds to it."""
    setting = {name: _key(name) for name in sorted(os.environ) if name.startswith(PREFIX)}
    names = [name for name, part in setting.items() if all(map(str.__eq__, part, key))]
    whole = any(len(setting[name]) <= len(key) for name in names)
    return " or ".join(names if whole else [str(path), *names])


def _key(variable: str) -> list[str]:
    return variable.removeprefix(PREFIX).lower().split("__")


def _unread(error: ValueError) -> str:
    """The variables whose text is no JSON; the error itself names none."""
    text = getattr(error.__cause__, "doc", None)
    return " or ".join(name for name, value in os.environ.items() if value == text and PREFIX in name)


def _check_file(path: Path, *, must_exist: bool) -> None:
    try:
        keys = tomllib.loads(path.read_text(encoding="utf-8")).keys()
    except FileNotFoundError as error:
        if must_exist:
            remedy = "create it, or correct --config or CONTAINER_KIT_CONFIG"
            raise ConfigError(f"{path}: no such file: {remedy}") from error
        return
    except OSError as error:
        remedy = "name a file that can be with --config or CONTAINER_KIT_CONFIG"
        raise ConfigError(f"{path}: cannot be read: {error.strerror}: {remedy}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as TOML: {error}") from error
    if unknown := sorted(keys - Settings.model_fields.keys()):
        raise ConfigError(f"{path}: {unknown[0]}: unknown key; known are {', '.join(Settings.model_fields)}")


def _check_variables() -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields} | READ_ELSEWHERE
    fields = Settings.model_fields.items()
    tables = tuple(f"{PREFIX}{name.upper()}__" for name, one in fields if isinstance(one.default, BaseModel))
    for variable in os.environ:
        if variable.startswith(PREFIX) and variable not in known and not variable.startswith(tables):
            raise ConfigError(f"{variable}: unknown variable; known are {', '.join(sorted(known))}")
