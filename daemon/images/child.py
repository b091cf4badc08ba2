"""Confined child processes: started with nothing, read within limits, ended in any case."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from daemon import ROOT
from daemon.images.confinement import Limits
from daemon.tasks import together

STDERR_BYTES = 64 << 10
CHUNK_BYTES = 1 << 16


class Unscannable(Exception):
    """An image, or what reads it, is not as it must be: the message says what, for policy to judge."""


@dataclass(frozen=True, slots=True)
class Output:
    code: int
    stdout: bytes
    stderr: str


async def run_module(
    module: str,
    arguments: Sequence[str],
    limits: Limits,
    *,
    stdin: IO[bytes] | bytes | None = None,
    descriptors: Sequence[int] = (),
) -> bytes:
    """What the module, which confines itself, wrote to stdout. Raises Unscannable where it failed."""
    command = [sys.executable, "-s", "-E", "-m", module, limits.to_json(), *arguments]
    done = await _run(command, limits, stdin=stdin, descriptors=descriptors)
    if done.code:
        raise Unscannable(f"the reader {_ending(done.code)}: {last_line(done.stderr)}")
    return done.stdout


async def run_program(
    program: int,
    argv: Sequence[str],
    limits: Limits,
    folder: Path,
    environment: dict[str, str],
    *,
    descriptors: Sequence[int] = (),
    stdin: bytes | None = None,
    cut: bool = False,
) -> Output:
    """An open program of somebody else, confined. Raises Unscannable over a limit of time or output.

    With `cut`, what is over the limit of output is read and thrown away instead.
    """
    command = [sys.executable, "-s", "-E", "-m", "daemon.images.confined"]
    command += [limits.to_json(), str(folder), str(program), *argv]
    given = (program, *descriptors)
    return await _run(command, limits, stdin=stdin, environment=environment, descriptors=given, cut=cut)


async def _run(
    command: Sequence[str],
    limits: Limits,
    *,
    stdin: IO[bytes] | bytes | None = None,
    environment: dict[str, str] | None = None,
    descriptors: Sequence[int] = (),
    cut: bool = False,
) -> Output:
    given = PIPE if isinstance(stdin, bytes) else stdin or asyncio.subprocess.DEVNULL
    child = await asyncio.create_subprocess_exec(
        *command,
        stdin=given,
        stdout=PIPE,
        stderr=PIPE,
        cwd=ROOT,
        env=environment or {},
        pass_fds=tuple(descriptors),
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(limits.wall_s):
            content = stdin if isinstance(stdin, bytes) else b""
            return await _exchange(child, content, limits, cut=cut)
    except TimeoutError as error:
        raise Unscannable(f"it took more than {limits.wall_s:.0f} s") from error
    finally:
        await _end(child)


async def _exchange(child: Process, content: bytes, limits: Limits, *, cut: bool) -> Output:
    async with together() as tasks:
        tasks.create_task(_feed(child, content))
        stdout = tasks.create_task(_read(child.stdout, limits.output_bytes, cut=cut))
        stderr = tasks.create_task(_read(child.stderr, STDERR_BYTES, cut=True))
        code = tasks.create_task(child.wait())
    return Output(code.result(), stdout.result(), stderr.result().decode(errors="replace"))


async def _feed(child: Process, content: bytes) -> None:
    if child.stdin is None:
        return
    with suppress(BrokenPipeError, ConnectionResetError):
        child.stdin.write(content)
        await child.stdin.drain()
    child.stdin.close()


async def _read(stream: asyncio.StreamReader | None, most_bytes: int, *, cut: bool = False) -> bytes:
    parts: list[bytes] = []
    room_bytes = most_bytes
    while stream and (part := await stream.read(CHUNK_BYTES)):
        if len(part) > room_bytes and not cut:
            raise Unscannable(f"the reader's answer is over {most_bytes} bytes")
        parts.append(part[:room_bytes])
        room_bytes -= len(parts[-1])
    return b"".join(parts)


async def _end(child: Process) -> None:
    """With all that it started: they are one group of processes.

    The pipes are closed here as well: asyncio waits for their end, which never comes while one is full, or is
    held by a process that left the session.
    """
    _kill_group(child.pid, ended=child.returncode is not None)
    child._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001  there is no public way
    await child.wait()


def _kill_group(leader: int, *, ended: bool) -> None:
    """While one of the group lives, no other process gets its leader's number: who has it is a stranger."""
    if ended and Path(f"/proc/{leader}").exists():
        return
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def _ending(code: int) -> str:
    if -code in {signal.SIGKILL, signal.SIGXCPU}:
        return "was ended at its limit of CPU time or memory"
    return f"was ended by signal {-code}" if code < 0 else f"failed with {code}"


def last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip()[:500] if lines else "it said nothing"
