"""What sandboxes wrote, to the file descriptor they wrote it to."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from typing import Any, Literal


def write(stream: Literal["stdout", "stderr"], data: bytes) -> None:
    """Raw, as docker does: the program's own bytes, at once."""
    target = (sys.stdout if stream == "stdout" else sys.stderr).buffer
    target.write(data)
    target.flush()


async def pass_through(lines: AsyncIterator[dict[str, Any]]) -> dict[str, Any]:
    """Writes output lines; gives the last line that was something else, such as an exit code."""
    from daemon.cli.client import output_bytes

    last: dict[str, Any] = {}
    async for line in lines:
        if "stream" in line:
            write("stderr" if line["stream"] == "stderr" else "stdout", output_bytes(line))
        else:
            last = line
    return last
