"""The scanner that the settings name."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from daemon.errors import ConfigError
from daemon.images.findings import Scanner
from daemon.images.scanners.builtin import MAX_AGE, BuiltinScanner
from daemon.images.scanners.grype import GrypeScanner
from daemon.images.scanners.program import Program
from daemon.images.scanners.trivy import TrivyScanner
from daemon.settings import ScannerSettings

PROGRAMS: dict[str, type[TrivyScanner | GrypeScanner]] = {"trivy": TrivyScanner, "grype": GrypeScanner}


def chosen(settings: ScannerSettings, state_dir: Path, max_age: timedelta = MAX_AGE) -> Scanner:
    """Not judged yet: see `Scanner.status`."""
    if settings.name == "builtin":
        return BuiltinScanner(settings.database or state_dir / "osv", max_age)
    if settings.program is None or settings.sha256 is None or settings.database is None:
        raise ConfigError(f"images.scanner: {settings.name} needs program, sha256 and database")
    made = PROGRAMS[settings.name]
    return made(Program(settings.program, settings.sha256), settings.database, max_age)


async def check(scanner: Scanner) -> None:
    """Raises ConfigError where it would judge nothing, whatever its database. That one may come later."""
    status = await scanner.status()
    if status.problem is not None:
        raise ConfigError(f"images.scanner: {status.problem}; see docs/scanning.md")
