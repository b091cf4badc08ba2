"""What sandboxes wrote, to the file descriptor they wrote it to."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Literal

import click

from daemon.cli.errors import Problem


def write(stream: Literal["stdout", "stderr"], data: bytes) -> None:
    """Raw, as docker does: the program's own bytes, at once."""
    target = (sys.stdout if stream == "stdout" else sys.stderr).buffer
    target.write(data)
    target.flush()


def _warn(dropped_bytes: dict[str, int]) -> None:
    for stream, count in dropped_bytes.items():
        text = f"container-kit: {count} more bytes of {stream} were not kept: launch with a larger --output"
        click.secho(text, fg="yellow", err=True)


async def pass_through(lines: AsyncGenerator[dict[str, Any], None]) -> dict[str, Any]:
    """Writes output lines; gives the last line that was something else, such as an exit code.

    Raises Problem where the answer broke off with one.
    """
    last: dict[str, Any] = {}
    async with aclosing(lines):  # also where nobody reads what is written here: BrokenPipeError
        async for line in lines:
            if not _passed(line):
                last = line
    return last


def _passed(line: dict[str, Any]) -> bool:
    from daemon.cli.client import output_bytes

    if "stream" in line:
        write("stderr" if line["stream"] == "stderr" else "stdout", output_bytes(line))
    elif "dropped_bytes" in line:
        _warn(line["dropped_bytes"])
    elif "problem" in line:
        raise Problem(line["problem"]["status"], line["problem"])
    else:
        return False
    return True
