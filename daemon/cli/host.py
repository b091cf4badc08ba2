"""What the daemon offers, and what its host can enforce."""

from __future__ import annotations

from typing import Any

import click

from daemon.cli.connection import call
from daemon.cli.sandboxes import as_json_option
from daemon.cli.show import print_json, print_table


@click.command()
@as_json_option
def profiles(as_json: bool) -> None:
    """List the security profiles."""
    items = call(lambda client: client.items("/v1/profiles"))
    if as_json:
        print_json(items)
        return
    print_table(("NAME", "SUMMARY"), [(item["name"], item.get("summary")) for item in items])


@click.command()
@as_json_option
def doctor(as_json: bool) -> None:
    """Check the daemon and its host: exits 1 if something that sandboxes need is missing."""
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
