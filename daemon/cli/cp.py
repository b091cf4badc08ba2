"""`cp`: files and trees into a workspace and out of it."""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING

import click

from daemon.cli.connection import call
from daemon.cli.errors import CommandError, Problem

if TYPE_CHECKING:
    from daemon.cli.client import Client

WORKSPACE = "/workspace"


@click.command()
@click.argument("source", metavar="SRC")
@click.argument("target", metavar="DST")
@click.option("-r", "--recursive", is_flag=True, help="SRC is a directory of the sandbox.")
def cp(source: str, target: str, recursive: bool) -> None:
    """Copy files between this host and a sandbox's workspace.

    The sandbox's side is ID:PATH. The content of a directory goes to DST itself. A local path that holds a
    colon begins with / or ./
    """
    there, here = _remote(source), _remote(target)
    if (there is None) == (here is None):
        raise click.UsageError("one of SRC and DST is ID:PATH, the other a local path")
    if there is not None:
        call(lambda client: _download(client, there, Path(target), recursive))
    elif here is not None:
        call(lambda client: _upload(client, Path(source), here))


def _remote(text: str) -> tuple[str, str] | None:
    """Sandbox id and path below the workspace."""
    sandbox_id, colon, path = text.partition(":")
    if not colon or "/" in sandbox_id or not sandbox_id:
        return None
    inside = path.removeprefix(WORKSPACE) if PurePosixPath(path).is_relative_to(WORKSPACE) else path
    if inside.startswith("/") and inside == path:
        raise CommandError("path outside the workspace", f"{path}: only {WORKSPACE} can be copied")
    return sandbox_id, inside.lstrip("/")


async def _upload(client: Client, source: Path, remote: tuple[str, str]) -> None:
    sandbox_id, path = remote
    if source.is_dir():  # noqa: ASYNC240  # nothing else runs in this loop
        with tempfile.TemporaryFile() as packed:
            with tarfile.open(fileobj=packed, mode="w") as tar:
                tar.add(source, arcname=".")
            packed.seek(0)
            await client.put_file(sandbox_id, path or ".", packed, tar=True)
        return
    name = f"{path}{source.name}" if not path or path.endswith("/") else path
    with source.open("rb") as file:
        await client.put_file(sandbox_id, name, file)


async def _download(client: Client, remote: tuple[str, str], target: Path, recursive: bool) -> None:
    sandbox_id, path = remote
    if path in {"", "."} and not recursive:
        raise CommandError("the workspace is a directory", "copy it with -r")
    with tempfile.TemporaryFile() as received:
        try:
            await client.get_file(sandbox_id, path or ".", received, tar=recursive)
        except Problem as problem:
            if problem.kind == "path-refused" and "is a directory" in problem.detail:
                raise CommandError(f"{path or '.'} is a directory", "copy it with -r") from problem
            raise
        received.seek(0)
        if recursive:
            _unpack(received, target)
            return
        final = target / PurePosixPath(path).name if target.is_dir() else target  # noqa: ASYNC240
        with final.open("wb") as file:
            shutil.copyfileobj(received, file)


def _unpack(packed: IO[bytes], target: Path) -> None:
    """The sandbox chose the names: the filter keeps them, links too, below the target (PEP 706)."""
    try:
        with tarfile.open(fileobj=packed) as tar:
            tar.extractall(target, filter="data")
    except tarfile.TarError as error:
        raise CommandError("the tree was not copied in full", str(error)) from error
