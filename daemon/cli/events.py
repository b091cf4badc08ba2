"""`events` and `findings`: what the daemon recorded."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from daemon.cli.connection import call
from daemon.cli.sandboxes import as_json_option
from daemon.cli.show import STYLES, clean, print_json, print_table

if TYPE_CHECKING:
    from daemon.cli.client import Client

COLOURS = {name: style.rpartition(" ")[2] for name, style in STYLES.items()}


@click.command()
@click.option("-f", "--follow", is_flag=True, help="Go on as events happen.")
@click.option("--type", "event_type", help="Such as EXECUTION_BLOCKED.")
@click.option("--session", help="Of one session.")
@click.option("--severity", type=click.Choice(["low", "medium", "high", "critical"]))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def events(
    follow: bool, event_type: str | None, session: str | None, severity: str | None, as_json: bool
) -> None:
    """Print audit events."""
    given = {"type": event_type, "session": session, "severity": severity}
    query = {name: value for name, value in given.items() if value is not None}
    query["follow"] = "true" if follow else "false"
    call(lambda client: _print(client, query, as_json))


async def _print(client: Client, query: dict[str, str], as_json: bool) -> None:
    async for event in client.events(query):
        click.echo(json.dumps(event) if as_json else _line(event))


def _line(event: dict[str, Any]) -> str:
    severity = clean(event["severity"])
    columns = [
        clean(event["timestamp"]),
        click.style(f"{severity:8}", fg=COLOURS.get(severity.upper())),
        clean(event["event_type"]),
        clean(event["session_id"]),
        clean(event["action"]),
        clean(json.dumps(event.get("details") or {})),
    ]
    return "  ".join(columns)


@click.command()
@as_json_option
def findings(as_json: bool) -> None:
    """Print what the detectors found."""
    items = call(lambda client: client.items("/v1/findings"))
    if as_json:
        print_json(items)
        return
    columns = list(dict.fromkeys(name for item in items for name in item))
    print_table([clean(c).upper() for c in columns], [[item.get(c) for c in columns] for item in items])
