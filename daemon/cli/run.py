"""`run`: launch, watch, exit as the program did."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import click

from daemon.cli.connection import call
from daemon.cli.errors import EXIT_FAILED, CommandError, Problem
from daemon.cli.output import pass_through
from daemon.cli.request import build_options, sandbox_options
from daemon.cli.show import clean, print_json
from daemon.cli.suggestions import sandbox_ids

if TYPE_CHECKING:
    from daemon.cli.client import Client

Json = dict[str, Any]
EXIT_TIMED_OUT = 124  # of timeout(1)


@click.command(context_settings={"allow_interspersed_args": False})
@sandbox_options
@click.option("-d", "--detach", is_flag=True, help="Print the id and leave it running.")
@click.option("--rm", "remove", is_flag=True, help="Forget it, with its workspace, when it has ended.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON instead of the output.")
def run(detach: bool, remove: bool, as_json: bool, **given: Any) -> None:
    """Run a command, or the image's own, in a new sandbox.

    Exits as it does; 124 if its time was up, 125 if it could not be launched.
    """
    options = build_options(given)
    if as_json and options.get("interactive") and not detach:
        raise click.UsageError("--json and --interactive exclude each other")
    if detach:
        sandbox = call(lambda client: client.launch(options))
        print_json(sandbox) if as_json else click.echo(clean(sandbox["id"]))
        return
    _check_terminal(options)
    result = call(lambda client: _run(client, options, quiet=as_json, remove=remove))
    finish(result, as_json=as_json)


def _check_terminal(options: Json) -> None:
    from daemon.cli.terminal import stdin_is_terminal

    if options.get("tty") and options.get("interactive") and not stdin_is_terminal():
        raise CommandError("stdin is not a terminal", "leave out --tty, or run this from a terminal")


async def _run(client: Client, options: Json, *, quiet: bool, remove: bool) -> Json:
    """Cancelled, by Ctrl-C, it leaves no sandbox behind: not even one that was being launched."""
    launch = asyncio.ensure_future(client.launch(options))
    try:
        sandbox = await asyncio.shield(launch)
        await _watch(client, sandbox["id"], options, quiet=quiet)
        result = await client.show(sandbox["id"], "result")
    except asyncio.CancelledError:
        await client.order((await launch)["id"], "kill")
        raise
    if remove:
        await client.remove(sandbox["id"])
    return result


async def _watch(client: Client, sandbox_id: str, options: Json, *, quiet: bool) -> None:
    if options.get("interactive") and await _attached(client, sandbox_id, terminal=bool(options.get("tty"))):
        return
    if not quiet:
        await pass_through(client.logs(sandbox_id, follow=True))


async def _attached(client: Client, sandbox_id: str, *, terminal: bool) -> bool:
    """False of a sandbox that ended before the attach: its logs have the output."""
    from daemon.cli.terminal import converse

    try:
        async with client.attach(sandbox_id) as socket:
            await converse(socket, terminal=terminal)
    except Problem as problem:
        if problem.kind != "sandbox-ended":
            raise
        return False
    return True


@click.command()
@click.argument("sandbox_id", metavar="ID", shell_complete=sandbox_ids)
def attach(sandbox_id: str) -> None:
    """Type to a running sandbox, and exit as it does."""
    finish(call(lambda client: _attach(client, sandbox_id)), as_json=False)


async def _attach(client: Client, sandbox_id: str) -> Json:
    from daemon.cli.terminal import converse, stdin_is_terminal

    sandbox = await client.show(sandbox_id)
    async with client.attach(sandbox_id) as socket:
        await converse(socket, terminal=sandbox["tty"] and stdin_is_terminal())
    return await client.show(sandbox_id, "result")


def finish(result: Json, *, as_json: bool) -> None:
    """Says what there is to say, and exits as the program did."""
    if as_json:
        print_json(result)
    elif result.get("message"):
        click.secho(f"container-kit: {clean(result['message'])}", fg="yellow", err=True)
    click.get_current_context().exit(_exit_code(result))


def _exit_code(result: Json) -> int:
    if result.get("timed_out"):
        return EXIT_TIMED_OUT
    return EXIT_FAILED if result["exit_code"] is None else int(result["exit_code"])
