"""Commands on sandboxes that exist."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import click

from daemon.cli.connection import call
from daemon.cli.errors import EXIT_FAILED, CommandError
from daemon.cli.output import pass_through
from daemon.cli.show import age, clean, print_error, print_json, print_report, print_table, print_usage
from daemon.cli.suggestions import sandbox_ids

if TYPE_CHECKING:
    from daemon.cli.client import Client

as_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
id_argument = click.argument("sandbox_id", metavar="ID", shell_complete=sandbox_ids)
ids_argument = click.argument("ids", nargs=-1, required=True, metavar="ID...", shell_complete=sandbox_ids)


@click.command()
@click.option("-a", "--all", "with_ended", is_flag=True, help="Those that have ended, too.")
@as_json_option
def ps(with_ended: bool, as_json: bool) -> None:
    """List your running sandboxes.

    An administrator's list has everybody's.
    """
    items = call(lambda client: client.items("/v1/sandboxes"))
    shown = [item for item in items if with_ended or item["state"] != "ended"]
    if as_json:
        print_json(shown)
    else:
        print_table(("ID", "IMAGE", "PROFILE", "STATE", "EXIT", "AGE", "UID", "SESSION"), map(_row, shown))


def _row(item: dict[str, Any]) -> list[object]:
    session = item["session_id"] if item["session_id"] != item["id"] else ""
    columns = [item[name] for name in ("id", "image", "profile", "state", "exit_code")]
    return [*columns, age(item["created"]), item["owner_uid"], session]


@click.command()
@ids_argument
def kill(ids: tuple[str, ...]) -> None:
    """Kill sandboxes; their results stay."""
    _each(ids, lambda client, one: client.order(one, "kill"))


@click.command()
@ids_argument
def pause(ids: tuple[str, ...]) -> None:
    """Freeze sandboxes."""
    _each(ids, lambda client, one: client.order(one, "pause"))


@click.command()
@ids_argument
def resume(ids: tuple[str, ...]) -> None:
    """Let frozen sandboxes go on."""
    _each(ids, lambda client, one: client.order(one, "resume"))


@click.command()
@ids_argument
def rm(ids: tuple[str, ...]) -> None:
    """Kill and forget sandboxes, with their workspaces."""
    _each(ids, lambda client, one: client.remove(one))


def _each(ids: tuple[str, ...], act: Callable[[Client, str], Awaitable[Any]]) -> None:
    """Every one is tried; one that fails makes the exit code 125."""
    failed = call(lambda client: _all(client, ids, act))
    if failed:
        click.get_current_context().exit(EXIT_FAILED)


async def _all(client: Client, ids: tuple[str, ...], act: Callable[[Client, str], Awaitable[Any]]) -> bool:
    failed = False
    for sandbox_id in ids:
        try:
            await act(client, sandbox_id)
            click.echo(clean(sandbox_id))
        except CommandError as error:
            print_error(error)
            failed = True
    return failed


@click.command()
@id_argument
@click.option("-f", "--follow", is_flag=True, help="Until the sandbox ends.")
def logs(sandbox_id: str, follow: bool) -> None:
    """Print what a sandbox wrote."""
    call(lambda client: pass_through(client.logs(sandbox_id, follow=follow)))


@click.command(name="exec", context_settings={"allow_interspersed_args": False})
@id_argument
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("-e", "--env", multiple=True, metavar="NAME[=VALUE]", help="Set a variable.")
@click.option("-w", "--workdir", help="Directory to start in.")
def exec_(sandbox_id: str, command: tuple[str, ...], env: tuple[str, ...], workdir: str | None) -> None:
    """Run another program in a sandbox, and exit as it does."""
    from daemon.cli.request import variables

    options: dict[str, Any] = {"command": list(command), "env": variables(env)}
    if workdir:
        options["working_dir"] = workdir
    last = call(lambda client: pass_through(client.exec(sandbox_id, options)))
    code = last.get("exit_code")
    click.get_current_context().exit(EXIT_FAILED if code is None else int(code))


@click.command()
@id_argument
@as_json_option
def report(sandbox_id: str, as_json: bool) -> None:
    """Show what was judged before a sandbox started."""
    value = call(lambda client: client.show(sandbox_id, "report"))
    print_json(value) if as_json else print_report(value)


@click.command()
@id_argument
@as_json_option
def usage(sandbox_id: str, as_json: bool) -> None:
    """Show what a running sandbox uses now."""
    value = call(lambda client: client.show(sandbox_id, "usage"))
    print_json(value) if as_json else print_usage(value)
