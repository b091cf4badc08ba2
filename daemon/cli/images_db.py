"""The database of advisories on this host, and what images hold: work on files, without the daemon."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from daemon.cli.errors import CommandError
from daemon.cli.sandboxes import as_json_option
from daemon.cli.show import print_json, print_table

if TYPE_CHECKING:
    from daemon.images.findings import ScannerStatus
    from daemon.images.osv.directory import Fetch
    from daemon.images.osv.index import Ecosystem
    from daemon.settings import Settings

DEFAULT_ENGINE = Path("/run/docker.sock")

directory_option = click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the advisories of the built-in scanner are.  [default: as in the settings]",
)


@click.group()
def db() -> None:
    """The advisories that images are judged by."""


@db.command("import")
@directory_option
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
def import_(directory: Path | None, folder: Path) -> None:
    """Take in the OSV archives of FOLDER: <Ecosystem>/all.zip, one or more.

    For hosts without a network: fetch them elsewhere, from osv-vulnerabilities.storage.googleapis.com.
    """
    from daemon.images.osv import directory as osv

    _bring(directory or _builtin_directory(), lambda: osv.of_folder(folder))


@db.command()
@directory_option
@click.option(
    "--ecosystem", "ecosystems", multiple=True, help="Such as Debian, Alpine, PyPI, npm; may be repeated."
)
@click.option("--url", help="A mirror of OSV's archives.  [default: OSV's own]")
def update(directory: Path | None, ecosystems: tuple[str, ...], url: str | None) -> None:
    """Fetch archives anew: those that are named, else all that are there."""
    from daemon.images.osv import directory as osv

    place = directory or _builtin_directory()
    names = ecosystems or tuple(path.parent.name for path in place.glob(f"*/{osv.ARCHIVE}"))
    if not names:
        raise CommandError("Nothing to update", "name what to fetch: --ecosystem Debian --ecosystem PyPI")
    if odd := next((name for name in names if "/" in name or name.startswith(".")), None):
        raise CommandError("No such ecosystem", repr(odd))
    _bring(place, lambda: osv.of_url(url or osv.PUBLISHED, names))


@db.command()
@directory_option
@as_json_option
def status(directory: Path | None, as_json: bool) -> None:
    """Show what is known to the scanner of the settings, and how old it is.

    Exits 1 where it is too old to judge by, or where the scanner cannot be used.
    """
    settings = _settings() if directory is None else None
    if settings is not None and settings.images.scanner.name != "builtin":
        _status_of_program(settings, as_json=as_json)
    else:
        _status_of_advisories(directory or _builtin_directory(), as_json=as_json)


def _status_of_program(settings: Settings, *, as_json: bool) -> None:
    from daemon.images.scanners.choice import chosen

    found = asyncio.run(chosen(settings.images.scanner, settings.state_dir).status())
    row = _row(found)
    print_json(row) if as_json else print_table([key.upper() for key in row], [[*row.values()]])
    click.get_current_context().exit(int(bool(row["problem"])))


def _row(status: ScannerStatus) -> dict[str, str]:
    time = status.database_time
    return {
        "scanner": status.name,
        "version": status.version,
        "database": str(status.database),
        "updated": time.isoformat(timespec="seconds") if time else "",
        "problem": status.problem or status.database_problem or "",
    }


def _settings() -> Settings:
    from daemon.errors import ConfigError
    from daemon.settings import load_settings

    try:
        return load_settings()
    except ConfigError as error:
        raise CommandError("The settings cannot be used", str(error)) from error


def _builtin_directory() -> Path:
    settings = _settings()
    scanner = settings.images.scanner
    if scanner.name != "builtin":
        detail = f"the settings name {scanner.name}, whose own program updates it: or give --directory"
        raise CommandError("Nobody would read that database", detail)
    return scanner.database or settings.state_dir / "osv"


def _status_of_advisories(directory: Path, *, as_json: bool) -> None:
    from daemon.images.osv.index import DatabaseError
    from daemon.images.scanners.builtin import MAX_AGE, ecosystems

    try:
        found = ecosystems(directory)
    except DatabaseError as error:
        raise CommandError("No database", str(error)) from error
    _show(found, as_json=as_json)
    stale = any(datetime.now(UTC) - item.modified > MAX_AGE for item in found)
    click.get_current_context().exit(int(stale))


def _bring(directory: Path, sources: Callable[[], dict[str, Fetch]]) -> None:
    from daemon.images.osv.directory import bring
    from daemon.images.osv.index import DatabaseError

    try:
        found = bring(directory, sources())
    except DatabaseError as error:
        raise CommandError("The advisories were not taken in", str(error)) from error
    _show(found, as_json=False)


def _show(found: list[Ecosystem], *, as_json: bool) -> None:
    rows = [
        {
            "ecosystem": item.name,
            "advisories": item.advisories,
            "newest": item.modified.isoformat(timespec="seconds"),
            "imported": item.imported.isoformat(timespec="seconds"),
        }
        for item in found
    ]
    if as_json:
        print_json(rows)
    else:
        print_table(("ECOSYSTEM", "ADVISORIES", "NEWEST", "IMPORTED"), ([*row.values()] for row in rows))


@click.command()
@click.option(
    "--engine",
    type=click.Path(path_type=Path),
    default=DEFAULT_ENGINE,
    show_default=True,
    help="The Docker Engine's socket.",
)
@click.argument("image")
def sbom(engine: Path, image: str) -> None:
    """Print the bill of materials of IMAGE, which is on this host: CycloneDX 1.6, JSON."""
    click.echo(json.dumps(asyncio.run(_sbom(engine, image)), indent=2))


async def _sbom(engine: Path, name: str) -> dict[str, object]:
    from daemon.errors import EngineError
    from daemon.images.child import Unscannable
    from daemon.images.layers import read_image
    from daemon.images.save import save
    from daemon.images.sbom import cyclonedx

    try:
        with tempfile.TemporaryDirectory(prefix="container-kit-sbom-") as folder:
            return cyclonedx(await read_image(await save(engine, name, Path(folder))))
    except EngineError as error:
        raise CommandError("The image could not be saved", str(error)) from error
    except Unscannable as error:
        raise CommandError("The image could not be read", str(error)) from error
