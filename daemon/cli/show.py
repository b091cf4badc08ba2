"""Tables, JSON and errors on the terminal. What came from a sandbox cannot steer the terminal here."""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Iterable, Sequence
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


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str | None = None) -> None:
    """Aligned columns; with colours on a terminal, unfolded when read by a program."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    width = None if sys.stdout.isatty() else 10_000
    console = Console(width=width, markup=False, highlight=False)
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    for column in columns:
        table.add_column(Text(column), overflow="fold")
    for row in rows:
        table.add_row(*(Text(clean(cell), style=_style(cell)) for cell in row))
    console.print(table)


def _style(cell: object) -> str:
    text = str(cell)
    return STYLES.get(text) or STYLES.get(text.upper(), "")


def print_error(error: CommandError) -> None:
    """On stderr, red on a terminal: the title, then the detail, then the reasons, each once."""
    click.secho(f"container-kit: {clean(error.title)}", fg="red", err=True)
    lines = [error.detail] if error.detail and error.detail != error.title else []
    lines += [f"- {reason}" for reason in error.reasons if reason != error.detail]
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


def print_record(record: dict[str, Any]) -> None:
    """One value a line."""
    print_table(("NAME", "VALUE"), list(record.items()))
