"""What is alerted on, and what fires."""

from __future__ import annotations

from typing import Any

import click

from daemon.cli.connection import call
from daemon.cli.sandboxes import as_json_option
from daemon.cli.show import age, print_json, print_table


@click.command()
@as_json_option
def alerts(as_json: bool) -> None:
    """List alert rules, their channels and what fires now. Exits 1 if a channel fails."""
    found = call(lambda client: client.get("/v1/alerts"))
    if as_json:
        print_json(found)
    else:
        _print(found)
    failed = any(channel["status"] == "failing" for channel in found["channels"])
    click.get_current_context().exit(int(failed))


def _print(found: dict[str, Any]) -> None:
    columns: tuple[str, ...] = ("RULE", "SEVERITY", "TYPES", "DETECTOR RULES", "WHEN", "CHANNELS")
    print_table(columns, map(_rule_row, found["rules"]))
    click.echo()
    print_table(
        ("CHANNEL", "KIND", "STATUS", "BEHIND", "REFUSED", "PROBLEM"), map(_channel_row, found["channels"])
    )
    click.echo()
    print_table(("RULE", "CHANNEL", "TOLD", "SUPPRESSED"), map(_count_row, found["counts"]))
    click.echo()
    columns = ("FIRING", "SEVERITY", "ABOUT", "EVENTS", "SINCE", "LAST", "TOLD", "WAITING")
    print_table(columns, map(_firing_row, found["firing"]))


def _rule_row(rule: dict[str, Any]) -> list[object]:
    lists = [" ".join(rule[name]) or "all" for name in ("event_types", "rule_ids")]
    return [rule["name"], rule["minimum_severity"], *lists, _when(rule), " ".join(rule["channels"])]


def _when(rule: dict[str, Any]) -> str:
    often = f"{rule['at_least']} in {rule['within_s']:g} s, " if rule["at_least"] > 1 else ""
    return f"{often}by {rule['by']}"


def _channel_row(channel: dict[str, Any]) -> list[object]:
    return [channel[name] for name in ("name", "kind", "status", "lag_events", "refused", "problem")]


def _count_row(count: dict[str, Any]) -> list[object]:
    return [count[name] for name in ("alert", "channel", "told", "suppressed")]


def _firing_row(alert: dict[str, Any]) -> list[object]:
    return [
        alert["alert"],
        alert["severity"],
        alert["subject"][:12] or "host",
        alert["count"],
        age(alert["started"]),
        age(alert["last"]),
        " ".join(alert["told"]),
        " ".join(alert["waiting"]),
    ]
