"""`events` and `findings`: what the daemon recorded."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from daemon.cli.connection import call
from daemon.cli.sandboxes import as_json_option
from daemon.cli.show import STYLES, clean, print_json, print_table
from daemon.cli.suggestions import event_types, sandbox_ids

if TYPE_CHECKING:
    from daemon.cli.client import Client

SEVERITIES = ["low", "medium", "high", "critical"]
SHORT = 40
FINDING_COLUMNS = ("TIME", "SEVERITY", "RULE", "SANDBOX", "PROCESS", "COUNT", "ACTION", "TITLE")
COLOURS = {name: style.rpartition(" ")[2] for name, style in STYLES.items()}


@click.command()
@click.option("-f", "--follow", is_flag=True, help="Go on as events happen.")
@click.option("--type", "event_type", shell_complete=event_types, help="Such as EXECUTION_BLOCKED.")
@click.option("--session", help="Of one session.")
@click.option("--severity", type=click.Choice(SEVERITIES))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def events(
    follow: bool, event_type: str | None, session: str | None, severity: str | None, as_json: bool
) -> None:
    """Print audit events."""
    query = _given(type=event_type, session=session, severity=severity)
    query["follow"] = "true" if follow else "false"
    call(lambda client: _print(client, query, as_json))


def _given(**options: str | None) -> dict[str, str]:
    return {name: value for name, value in options.items() if value is not None}


async def _print(client: Client, query: dict[str, str], as_json: bool) -> None:
    async for event in client.events(query):
        if "event_type" not in event:  # those that only the audit log still has
            text = f"container-kit: events {event['first']} to {event['last']} are only in the audit log"
            click.secho(text, fg="yellow", err=True)
        else:
            click.echo(json.dumps(event) if as_json else _line(event))


def _line(event: dict[str, Any]) -> str:
    severity = clean(event["severity"])
    details = {key: value for key, value in (event.get("details") or {}).items() if value not in ("", [])}
    return "  ".join(
        [
            f"{clean(event['timestamp'])[:19]}Z",
            click.style(f"{severity:8}", fg=COLOURS.get(severity.upper())),
            f"{clean(event['event_type']):18}",
            clean(event.get("sandbox_id") or event["session_id"]),
            clean(event["action"]),
            " ".join(f"{clean(key)}={_short(value)}" for key, value in details.items()),
        ]
    )


def _short(value: object) -> str:
    text = clean(value if isinstance(value, str) else json.dumps(value))
    return text if len(text) <= SHORT else text[: SHORT - 1] + "…"


@click.command()
@click.option("--sandbox", shell_complete=sandbox_ids, help="Of one sandbox.")
@click.option("--severity", type=click.Choice(SEVERITIES))
@click.option("--category", type=click.Choice(["process", "filesystem", "network", "resource"]))
@as_json_option
def findings(sandbox: str | None, severity: str | None, category: str | None, as_json: bool) -> None:
    """Print what the detectors found."""
    query = _given(sandbox=sandbox, severity=severity, category=category)
    items = call(lambda client: client.items("/v1/findings", **query))
    if as_json:
        print_json(items)
    else:
        print_table(FINDING_COLUMNS, map(finding_row, items))


def finding_row(item: dict[str, Any]) -> list[object]:
    where = item["sandbox_id"] or item["container_id"][:12] or "host"
    process = f"{item['process']['exe']} ({item['process']['pid']})"
    found = [item[name] for name in ("severity", "rule_id")]
    return [
        f"{item['last_time'][:19]}Z",
        *found,
        where,
        process,
        item["count"],
        item["action"],
        item["title"],
    ]
