"""Tables, JSON and errors on the terminal. What came from a sandbox cannot steer the terminal here."""

from __future__ import annotations

import json
import os
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from daemon.cli.errors import CommandError

STYLES = {
    "CRITICAL": "bold red",
    "HIGH": "red",
    "MEDIUM": "yellow",
    "LOW": "green",
    "running": "green",
    "paused": "yellow",
    "ok": "green",
    "FAILED": "bold red",
    "failing": "bold red",
    "warning": "yellow",
}
_UNSAFE = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def clean(value: object) -> str:
    """Control, bidirectional and line separating characters as escapes, so that no name moves the cursor."""
    text = "" if value is None else str(value)
    return "".join(_escaped(character) for character in text)


def _escaped(character: str) -> str:
    if unicodedata.category(character) not in _UNSAFE:
        return character
    return character.encode("unicode_escape").decode("ascii")


def print_json(value: object) -> None:
    click.echo(json.dumps(value, indent=2))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Aligned columns; with colours on a terminal, unfolded when read by a program."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    terminal = sys.stdout.isatty()
    console = Console(
        width=None if terminal else 10_000,
        force_terminal=terminal and "NO_COLOR" not in os.environ,
        markup=False,
        highlight=False,
    )
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(Text(column), overflow="fold")
    for row in rows:
        table.add_row(*(Text(clean(cell), style=_style(cell)) for cell in row))
    with console.capture() as captured:
        console.print(table)
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()), color=console.is_terminal)


def _style(cell: object) -> str:
    text = str(cell)
    return STYLES.get(text) or STYLES.get(text.upper(), "")


def print_error(error: CommandError) -> None:
    """On stderr, red on a terminal: the title, then the detail, then the reasons, each once."""
    click.secho(f"container-kit: {clean(error.title)}", fg="red", err=True)
    lines = [f"- {reason}" for reason in error.reasons]
    if len(lines) <= 1 and error.detail != error.title:
        lines = [error.detail] if error.detail and not error.reasons else [*error.reasons]
    for line in lines:
        click.secho(f"  {clean(line)}", fg="red", err=True)


def print_report(report: dict[str, Any]) -> None:
    """A SecurityReport: the verdict, what weakens the sandbox, what protects it."""
    verdict = "BLOCKED" if report["blocked"] else "allowed"
    colour = "red" if report["blocked"] else "green"
    click.secho(f"{verdict}: risk {clean(report['risk_level'])}, score {report['score']}", fg=colour)
    click.echo(f"profile {clean(report['profile'])}, image {clean(report['image'])}")
    click.echo(f"report {clean(report['id'])}")
    if report["threats"]:
        threats = [(t["severity"], t["id"], t["reason"], t["remedy"]) for t in report["threats"]]
        print_table(("SEVERITY", "THREAT", "REASON", "REMEDY"), threats)
    controls = [(control["id"], control["detail"]) for control in report["active_controls"]]
    print_table(("CONTROL", "DETAIL"), controls)


def print_signatures(found: dict[str, Any]) -> None:
    """Who signed, what does not count and why, and what the policy asks for."""
    met, asked_for = found["met"], bool(found["manifests"])
    verdict = (
        ("signed as the policy asks" if asked_for else "no signature is asked for") if met else "BLOCKED"
    )
    click.secho(f"{verdict}: {clean(found['image'])}", fg="green" if met else "red")
    for problem in found["problems"]:
        click.echo(clean(problem))
    for one in found["manifests"]:
        click.echo(
            f"{clean(one['image'])}: {clean(one['required_by'])} asks for {one['threshold']} signers,"
            f" {len(one['signed_by'])} found"
        )
        rows = [("good", signer) for signer in one["signed_by"]]
        rows += [("refused", reason) for reason in one["refused"]]
        rows += [("problem", one["problem"])] if one["problem"] else []
        print_table(("SIGNATURE", "BY OR WHY NOT"), rows)


def print_usage(usage: dict[str, int]) -> None:
    """One value a line, in units that fit."""
    print_table(("NAME", "VALUE"), [_in_units(name, value) for name, value in usage.items()])


def _in_units(name: str, value: int) -> tuple[str, str]:
    if name.endswith("_ns"):
        return name.removesuffix("_ns"), f"{value / 1e6:,.1f} ms"
    if name.endswith("_bytes"):
        return name.removesuffix("_bytes"), size(value)
    return name, str(value)


def size(size_bytes: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size_bytes < 1024:
            return f"{size_bytes:.3g} {unit}"
        size_bytes /= 1024
    return f"{size_bytes:.3g} TiB"


def age(since: str) -> str:
    """Of an ISO 8601 date, in its largest unit."""
    seconds = max(0, (datetime.now(UTC) - datetime.fromisoformat(since)).total_seconds())
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f}{unit}"
    return f"{seconds:.0f}s"
