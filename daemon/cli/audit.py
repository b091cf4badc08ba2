"""`container-kit audit`: the log itself, read from the disk; no daemon is asked, so root alone can."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import click

from daemon.cli.errors import CommandError
from daemon.cli.events import SEVERITIES
from daemon.cli.show import clean, print_json

STATE_DIR = "/var/lib/container-kit"
EXIT_BROKEN = 1
EXPORT_LINE_LIMIT = 4 << 20
KEPT = click.File("r", encoding="utf-8", errors="replace")
"""Whatever is in it: what is no checkpoint is told as such."""


@click.group()
@click.option(
    "--state-dir",
    envvar="CONTAINER_KIT_STATE_DIR",
    default=STATE_DIR,
    show_default=True,
    type=click.Path(path_type=Path),
    help="The daemon's `state_dir`.",
)
@click.pass_context
def audit(ctx: click.Context, state_dir: Path) -> None:
    """Verify and read the audit log."""
    ctx.obj = state_dir / "audit" / "audit.jsonl"


@audit.command()
@click.option("--key", "key_line", help="What `audit key` printed, kept elsewhere.")
@click.option("--against", multiple=True, type=KEPT, help="A checkpoint that was kept elsewhere.")
@click.option(
    "--prove", type=click.IntRange(1), metavar="SEQ", help="Print a proof that this event is in the log."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def verify(
    log: Path, key_line: str | None, against: tuple[Any, ...], prove: int | None, as_json: bool
) -> None:
    """Check that no line was changed, moved, added or lost. Exits 1 if one was."""
    from daemon.audit import evidence
    from daemon.audit.verify import verify as verified

    with _said():
        verifier = _verifier(log, key_line)
        if prove is not None:
            print_json(evidence.prove(log, verifier, prove))
            return
        found = verified(log, verifier, [file.read() for file in against])
    if as_json:
        print_json({name: getattr(found, name) for name in found.__slots__})
    else:
        click.echo(f"{found.lines} lines, {found.sealed} of them under {found.checkpoints} checkpoints")
        if found.retired:
            click.echo(f"{found.retired} of them were deleted by retention; their tombstones fit")
        for problem in found.problems:
            click.secho(clean(problem), fg="red")
    click.get_current_context().exit(EXIT_BROKEN if found.problems else 0)


@audit.command()
@click.pass_obj
def key(log: Path) -> None:
    """Print the key that verifies checkpoints: keep it where this host cannot change it."""
    with _said():
        click.echo(str(_verifier(log, None)))


@audit.command()
@click.option("--first", type=click.IntRange(1), default=1, show_default=True, help="Number of an event.")
@click.option("--last", type=click.IntRange(1), help="Default: the newest that a checkpoint stands for.")
@click.option("--against", multiple=True, type=KEPT, help="An older checkpoint to go on from.")
@click.pass_obj
def export(log: Path, first: int, last: int | None, against: tuple[Any, ...]) -> None:
    """Print a range of events with what proves it to somebody who has no more than the key."""
    from daemon.audit.export import export as exported

    with _said():
        for line in exported(log, _verifier(log, None), first, last, [file.read() for file in against]):
            click.echo(line)


@audit.command()
@click.argument("file", type=click.File("rb"))
@click.option("--key", "key_line", required=True, help="What `audit key` printed, from the host itself.")
@click.option("--against", multiple=True, type=KEPT, help="A checkpoint that was kept.")
def check(file: BinaryIO, key_line: str, against: tuple[Any, ...]) -> None:
    """Check a file of `audit export`, without the log. Exits 1 unless all of it is proved."""
    from daemon.audit.export import check as checked
    from daemon.audit.key import Verifier
    from daemon.errors import AuditError

    try:
        lines = (line.removesuffix(b"\n") for line in iter(lambda: file.readline(EXPORT_LINE_LIMIT), b""))
        header, _ = checked(lines, Verifier.parse(key_line), [one.read() for one in against])
    except AuditError as error:
        click.secho(clean(str(error)), fg="red")
        click.get_current_context().exit(EXIT_BROKEN)
    click.echo(f"events {header.first} to {header.last}: {header.lines} lines, as they were signed")


@audit.command()
@click.option("--since", type=click.DateTime(), help="From this time on, UTC.")
@click.option("--until", type=click.DateTime(), help="Before this time, UTC.")
@click.option("--session", help="Of one session.")
@click.option("--sandbox", help="Of one sandbox.")
@click.option("--severity", type=click.Choice(SEVERITIES), help="This one or a graver one.")
@click.option("--type", "event_type", help="Such as EXECUTION_BLOCKED.")
@click.option("--format", "form", default="plain", show_default=True, help="As the exporters write it.")
@click.pass_obj
def query(log: Path, /, form: str, **wanted: Any) -> None:
    """Print events, one a line, also those that the daemon no longer remembers."""
    from daemon.delivery.encoding import NAMES, encoded

    if form not in NAMES:
        raise CommandError("no such format", f"one of {', '.join(NAMES)}")
    if not log.exists():
        raise _not_there(log)
    for event in _events(log):
        if _matches(event, **wanted):
            click.echo(encoded(event, form))


def _events(log: Path) -> Iterator[Any]:
    """A line that a crash tore is passed over; `verify` counts it."""
    from pydantic import ValidationError

    from daemon.audit.record import SecurityAuditEvent
    from daemon.audit.segments import all_lines

    for line in all_lines(log):
        try:
            yield SecurityAuditEvent.model_validate_json(line)
        except ValidationError:
            continue


def _matches(
    event: Any,
    since: datetime | None,
    until: datetime | None,
    session: str | None,
    sandbox: str | None,
    severity: str | None,
    event_type: str | None,
) -> bool:
    from daemon.findings import Severity

    if since is not None and event.timestamp < since.replace(tzinfo=UTC):
        return False
    if until is not None and event.timestamp >= until.replace(tzinfo=UTC):
        return False
    if severity is not None and not event.severity.at_least(Severity(severity)):
        return False
    return (
        session in {None, event.session_id}
        and sandbox in {None, event.sandbox_id}
        and event_type in {None, event.event_type}
    )


def _verifier(log: Path, key_line: str | None) -> Any:
    from daemon.audit.key import Verifier

    return Verifier.parse(key_line or (log.parent / "key.pub").read_text("ascii", "replace"))


@contextmanager
def _said() -> Iterator[None]:
    from daemon.errors import AuditError

    try:
        yield
    except AuditError as error:
        raise CommandError("the audit log cannot be verified", str(error)) from error
    except FileNotFoundError as error:
        raise _not_there(error.filename or error) from error


def _not_there(path: object) -> CommandError:
    return CommandError("no audit log there", f"{path}: name the daemon's state_dir with --state-dir")
