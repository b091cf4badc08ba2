"""`replay`: what the detectors find in a recording."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from daemon.cli.errors import CommandError
from daemon.cli.events import FINDING_COLUMNS, finding_row
from daemon.cli.sandboxes import as_json_option
from daemon.cli.show import clean, print_json, print_table

if TYPE_CHECKING:
    from daemon.replaying import Replayed


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))
@click.option("--detector", metavar="ID", help="One alone: the id of a rule, or the name of its class.")
@as_json_option
def replay(files: tuple[Path, ...], detector: str | None, as_json: bool) -> None:
    """Print the findings that this program's detectors make of recordings, the oldest first.

    No daemon is needed. Give files that follow each other in their order.
    """
    replayed = _replayed(files, detector)
    found = [record.model_dump(mode="json") for record in replayed.findings]
    if as_json:
        print_json(found)
    else:
        print_table(FINDING_COLUMNS, map(finding_row, found))
    for line in _doubts(replayed):
        click.secho(f"container-kit: {clean(line)}", fg="yellow", err=True)


def _replayed(files: tuple[Path, ...], detector: str | None) -> Replayed:
    from daemon.errors import SensorError
    from daemon.replaying import Replay

    try:
        replay = Replay(detector)
        for path in files:
            replay.read(path)
    except (SensorError, LookupError) as error:
        raise CommandError(str(error.args[0])) from error
    return replay.end()


def _doubts(replayed: Replayed) -> list[str]:
    """Why there may be findings that are not here."""
    told = [f"{path}: line {number}: {wrong}"[:300] for path, number, wrong in replayed.complaints]
    if (more := replayed.malformed - len(told)) > 0:
        told.append(f"{more} more lines are no records")
    if replayed.missing:
        told.append(f"{replayed.missing} records were not recorded")
    if replayed.unjudged:
        told.append(f"{replayed.unjudged} events are of containers that no file describes")
    return told + [f"detector {name} failed: {reason}" for name, reason in replayed.failures[:20]]
