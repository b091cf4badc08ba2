"""The program's environment: what of the image's and the caller's variables goes in, what is left out."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from daemon.sandbox.facts import ImageFacts
from daemon.sandbox.options import SandboxOptions
from daemon.sandbox.profile import Profile

# Each makes a loader, libc or interpreter run or read something before the program (ld.so(8), T1574.006).
LOADER_VARIABLES = (
    "LD_*",
    "GLIBC_TUNABLES",
    "GCONV_PATH",
    "GETCONF_DIR",
    "LOCPATH",
    "NLSPATH",
    "HOSTALIASES",
    "RES_OPTIONS",
    "BASH_ENV",
    "ENV",
    "BASH_FUNC_*",
    "PYTHONSTARTUP",
    "PYTHONHOME",
    "PERL5OPT",
    "RUBYOPT",
    "NODE_OPTIONS",
    "JAVA_TOOL_OPTIONS",
    "_JAVA_OPTIONS",
)

# An image is hostile: of its variables only those pass that say where its parts are and how it speaks.
IMAGE_VARIABLES = (
    "PATH",
    "LANG",
    "LANGUAGE",
    "LC_*",
    "TZ",
    "TERM",
    "*_HOME",
    "*_VERSION",
    "GOPATH",
    "GOROOT",
    "GOTOOLCHAIN",
    "NODE_ENV",
    "PYTHONUNBUFFERED",
    "PYTHONDONTWRITEBYTECODE",
    "DEBIAN_FRONTEND",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "VIRTUAL_ENV",
)

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Environment:
    """`variables` as the engine takes them; `dropped` names what was left out, for the report."""

    variables: tuple[str, ...]
    dropped: tuple[str, ...]


def environment(options: SandboxOptions, profile: Profile, image: ImageFacts) -> Environment:
    """The caller's variables override the image's; names that steer a loader pass from neither."""
    of_image = dict(variable.partition("=")[::2] for variable in image.env)
    kept = {name: value for name, value in of_image.items() if _passes(name, IMAGE_VARIABLES)}
    kept |= {name: value for name, value in options.env.items() if permitted(name, profile)}
    dropped = (of_image.keys() | options.env.keys()) - kept.keys()
    defaults = {"PATH": DEFAULT_PATH, "HOME": options.working_dir}
    # Docker takes a name without "=" as "unset what the image sets".
    unset = [name for name in of_image if name not in kept and name not in defaults]
    return Environment(
        tuple(f"{name}={value}" for name, value in (defaults | kept).items()) + tuple(unset),
        tuple(sorted(dropped)),
    )


def permitted(name: str, profile: Profile) -> bool:
    """Whether a caller may set the variable in a sandbox of this profile."""
    return _passes(name, profile.environment.value)


def steers_loader(name: str) -> bool:
    """Whether a loader, libc or interpreter would take the variable as an order."""
    return _matches(name, LOADER_VARIABLES)


def _passes(name: str, allowed: tuple[str, ...] | list[str]) -> bool:
    return _matches(name, allowed) and not steers_loader(name)


def _matches(name: str, patterns: tuple[str, ...] | list[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
