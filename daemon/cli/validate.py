"""`validate`: what the daemon would say, without a launch."""

from __future__ import annotations

from typing import Any

import click

from daemon.cli.connection import call
from daemon.cli.request import build_options, sandbox_options
from daemon.cli.show import print_json, print_report


@click.command(context_settings={"allow_interspersed_args": False})
@sandbox_options
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def validate(as_json: bool, **given: Any) -> None:
    """Judge a sandbox without launching it. Exits 1 if it is blocked."""
    options = build_options(given)
    report = call(lambda client: client.validate(options))
    print_json(report) if as_json else print_report(report)
    click.get_current_context().exit(int(report["blocked"]))
