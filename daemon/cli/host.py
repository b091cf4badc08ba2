"""What the daemon offers, and what its host can enforce."""

from __future__ import annotations

from typing import Any

import click

from daemon.cli.connection import call
from daemon.cli.sandboxes import as_json_option
from daemon.cli.show import print_json, print_table, size


@click.command()
@as_json_option
def profiles(as_json: bool) -> None:
    """List the security profiles and the most that each gives."""
    items = call(lambda client: client.items("/v1/profiles"))
    if as_json:
        print_json(items)
    else:
        print_table(("NAME", "CPUS", "MEMORY", "TIME", "NETWORK", "EXEC", "SUMMARY"), map(_row, items))


def _row(profile: dict[str, Any]) -> list[object]:
    limits = profile["limits"]
    may = ["yes" if profile[name]["value"] else "no" for name in ("networking", "exec")]
    most = [limits["cpus"]["max"], size(limits["memory"]["max"]), f"{limits['timeout_s']['max']:.0f} s"]
    return [profile["name"], *most, *may, profile["summary"]]


@click.command()
@as_json_option
def doctor(as_json: bool) -> None:
    """Check what this host can enforce. Exits 1 if no sandbox can start."""
    items = call(lambda client: client.items("/v1/doctor"))
    if as_json:
        print_json(items)
    else:
        rows = [(item["name"], _verdict(item), item["detail"], item["remedy"]) for item in items]
        print_table(("CHECK", "", "DETAIL", "REMEDY"), rows)
    failed = any(_verdict(item) == "FAILED" for item in items)
    click.get_current_context().exit(int(failed))


def _verdict(item: dict[str, Any]) -> str:
    if item["ok"]:
        return "ok"
    return "FAILED" if item.get("required", True) else "warning"


@click.command()
@as_json_option
def exporters(as_json: bool) -> None:
    """List where audit events go, and how far behind each is. Exits 1 if one fails."""
    items = call(lambda client: client.items("/v1/exporters"))
    if as_json:
        print_json(items)
    else:
        columns = ("NAME", "KIND", "STATUS", "CURSOR", "BEHIND", "AGE", "DELIVERED", "REFUSED", "PROBLEM")
        print_table(columns, map(_exporter_row, items))
    failed = any(item["status"] == "failing" for item in items)
    click.get_current_context().exit(int(failed))


def _exporter_row(item: dict[str, Any]) -> list[object]:
    item = {**item, "lag_s": f"{item['lag_s']:.0f} s"}
    shown = ("name", "kind", "status", "cursor", "lag_events", "lag_s", "delivered", "refused", "problem")
    return [item[name] for name in shown]
