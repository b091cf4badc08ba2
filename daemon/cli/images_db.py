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
    from daemon.images.osv.directory import Fetch
    from daemon.images.osv.index import Ecosystem

DEFAULT_DIRECTORY = Path("/var/lib/container-kit/osv")
DEFAULT_ENGINE = Path("/run/docker.sock")

directory_option = click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_DIRECTORY,
    show_default=True,
    help="Where the advisories are.",
)


@click.group()
def db() -> None:
    """The advisories that the built-in scanner knows."""


@db.command("import")
@directory_option
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
def import_(directory: Path, folder: Path) -> None:
    """Take in the OSV archives of FOLDER: <Ecosystem>/all.zip, one or more.

    For hosts without a network: fetch them elsewhere, from osv-vulnerabilities.storage.googleapis.com.
    """
    from daemon.images.osv import directory as osv

    _bring(directory, lambda: osv.of_folder(folder))


@db.command()
@directory_option
@click.option(
    "--ecosystem", "ecosystems", multiple=True, help="Such as Debian, Alpine, PyPI, npm; may be repeated."
)
@click.option("--url", help="A mirror of OSV's archives.  [default: OSV's own]")
def update(directory: Path, ecosystems: tuple[str, ...], url: str | None) -> None:
    """Fetch archives anew: those that are named, else all that are there."""
    from daemon.images.osv import directory as osv

    names = ecosystems or tuple(path.parent.name for path in directory.glob(f"*/{osv.ARCHIVE}"))
    if not names:
        raise CommandError("Nothing to update", "name what to fetch: --ecosystem Debian --ecosystem PyPI")
    if odd := next((name for name in names if "/" in name or name.startswith(".")), None):
        raise CommandError("No such ecosystem", repr(odd))
    _bring(directory, lambda: osv.of_url(url or osv.PUBLISHED, names))


@db.command()
@directory_option
@as_json_option
def status(directory: Path, as_json: bool) -> None:
    """Show what is known and how old it is. Exits 1 where it is too old to judge by."""
    from daemon.images.osv.index import DatabaseError, Index
    from daemon.images.scanners.builtin import MAX_AGE

    try:
        index = Index(directory)
        found = index.ecosystems()
        index.close()
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
