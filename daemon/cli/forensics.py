"""`forensics`: what was collected after grave findings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import click

from daemon.cli.connection import call
from daemon.cli.sandboxes import as_json_option
from daemon.cli.show import clean, print_json, print_table
from daemon.cli.suggestions import sandbox_ids

Json = dict[str, Any]
EVENTS_SHOWN = 20


@click.command()
@click.argument("evidence_id", metavar="[ID]", required=False)
@click.option("--sandbox", shell_complete=sandbox_ids, help="List those of one sandbox.")
@as_json_option
def forensics(evidence_id: str | None, sandbox: str | None, as_json: bool) -> None:
    """List what was collected after grave findings, or show one of it.

    With ID and --json the file itself is printed, as its audit event has the sha256.
    """
    if evidence_id is None:
        _list({"sandbox": sandbox} if sandbox else {}, as_json)
        return
    path = f"/v1/forensics/{quote(evidence_id, safe='')}"
    if as_json:
        click.echo(call(lambda client: client.content(path)), nl=False)
    else:
        _show(call(lambda client: client.get(path)))


def _list(query: dict[str, str], as_json: bool) -> None:
    items = call(lambda client: client.items("/v1/forensics", **query))
    if as_json:
        print_json(items)
    else:
        print_table(("ID", "TIME", "SEVERITY", "RULE", "SANDBOX", "RESPONSE", "UID"), map(_row, items))


def _row(item: Json) -> list[object]:
    where = item["sandbox_id"] or item["container_id"][:12]
    values = [item[name] for name in ("severity", "rule_id")]
    return [item["id"], f"{item['time'][:19]}Z", *values, where, item["response"], item["owner_uid"]]


def _show(evidence: Json) -> None:
    summary = evidence["summary"]
    click.echo(f"{clean(summary['title'])} ({clean(summary['rule_id'])}, {clean(summary['severity'])})")
    click.echo(f"container {clean(summary['container_id'])}, response {clean(summary['response'])}")
    for problem in evidence["problems"]:
        click.secho(f"not collected: {clean(problem)}", fg="yellow")
    _section("processes", _tree(evidence["processes"]))
    _section("changed files", (f"{one['change']:8} {clean(one['path'])}" for one in evidence["changes"]))
    _section(f"last {EVENTS_SHOWN} events", map(_event, evidence["events"][-EVENTS_SHOWN:]))


def _section(title: str, lines: Iterator[str]) -> None:
    click.secho(f"\n{title}", bold=True)
    for line in lines:
        click.echo(f"  {line}")


def _tree(processes: list[Json]) -> Iterator[str]:
    """Children below their parents; a process whose parent is not known stands at the left."""
    known = {process["pid"] for process in processes}
    children: defaultdict[int, list[Json]] = defaultdict(list)
    for process in processes:
        children[process["ppid"] if process["ppid"] in known else 0].append(process)
    waiting: list[tuple[Json, int]] = []
    while waiting or children:
        if not waiting:  # the first of all; or a ring, which reused pids can make
            waiting = [(process, 0) for process in reversed(children.pop(min(children)))]
        process, depth = waiting.pop()
        yield from _process(process, "  " * depth)
        waiting += [(child, depth + 1) for child in reversed(children.pop(process["pid"], []))]


def _process(process: Json, indent: str) -> Iterator[str]:
    command = " ".join(process["argv"]) or process["exe"]
    state = f"{clean(process['state'])} uid {process['uid']}" if process["state"] else "ended"
    yield f"{indent}{process['pid']} {state} {clean(command)}"
    for one in process["open_files"]:
        yield f"{indent}    fd {one['descriptor']} {clean(one['target'])}"
    if process["maps"]:
        more = " and more" if process["cut"] else ""
        yield f"{indent}    {len(process['maps'])} maps{more}: --json has them"


def _event(event: Json) -> str:
    process = event["process"]
    subject = event.get("syscall") or event.get("reason") or ""
    path = (event.get("file") or {}).get("path") or event.get("target") or event.get("address") or ""
    return " ".join(clean(part) for part in (event["event"], process["pid"], subject, path) if part)
