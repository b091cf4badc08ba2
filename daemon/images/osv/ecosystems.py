"""Which ecosystem of OSV a package belongs to, and how versions compare in it."""

from __future__ import annotations

from typing import Any

from daemon.images.os_release import OsRelease
from daemon.images.packages.package import Kind, Package

# os-release's ID: the ecosystem, and how many parts of VERSION_ID its releases are named by.
_DISTRIBUTIONS = {
    "debian": ("Debian", "", 1),
    "ubuntu": ("Ubuntu", "", 2),
    "alpine": ("Alpine", "v", 2),
    "rocky": ("Rocky Linux", "", 1),
    "almalinux": ("AlmaLinux", "", 1),
    "wolfi": ("Wolfi", "", 0),
    "chainguard": ("Chainguard", "", 0),
}
_LTS_MONTH = ".04"


def ecosystem(package: Package, os: OsRelease) -> str | None:
    """As `affected[].package.ecosystem` has it, such as "Debian:12"; None where OSV has no such thing."""
    if package.kind is Kind.PYPI:
        return "PyPI"
    if package.kind is Kind.NPM:
        return "npm"
    name, prefix, parts = _DISTRIBUTIONS.get(os.id, ("", "", 0))
    if not name or not (parts == 0 or os.version_id):
        return None
    release = ".".join(os.version_id.split(".")[:parts])
    return f"{name}:{prefix}{release}{_lts(os)}" if release else name


def _lts(os: OsRelease) -> str:
    """OSV names Ubuntu's long-term releases so: those of April in even years."""
    year, _, _ = os.version_id.partition(".")
    is_lts = (
        os.id == "ubuntu" and os.version_id.endswith(_LTS_MONTH) and year.isdigit() and int(year) % 2 == 0
    )
    return ":LTS" if is_lts else ""


def names(package: Package, ecosystem: str) -> tuple[str, ...]:
    """What advisories may call it: its source in Debian's and Alpine's, either in those of the others."""
    source, _ = package.advised
    both = package.kind.of_os and ecosystem.partition(":")[0] not in ("Debian", "Ubuntu", "Alpine")
    return tuple({source: None, package.name: None}) if both else (source,)


def version_class(ecosystem: str) -> Any:
    """The class of `univers` that orders versions of the ecosystem."""
    from univers import versions

    base = ecosystem.partition(":")[0]
    return {
        "Debian": versions.DebianVersion,
        "Ubuntu": versions.DebianVersion,
        "Alpine": versions.AlpineLinuxVersion,
        "Wolfi": versions.AlpineLinuxVersion,
        "Chainguard": versions.AlpineLinuxVersion,
        "Rocky Linux": versions.RpmVersion,
        "AlmaLinux": versions.RpmVersion,
        "PyPI": versions.PypiVersion,
        "npm": versions.SemverVersion,
    }[base]
