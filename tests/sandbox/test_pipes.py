"""A program's pipes in the daemon's hands: real ones, of a real init."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from daemon.sandbox.pipes import Pipes
from daemon.sandbox.stream import Channel
from tests.sandbox.init_process import AS_USER, go, waiting

pytestmark = pytest.mark.root

DEADLINE_S = 10.0
PIPE_BYTES = 64 << 10


@contextmanager
def begun(program: Path, *command: str) -> Iterator[tuple[subprocess.Popen[bytes], Pipes]]:
    """Opened as the daemon does it, before the go; the test's own ends are closed."""
    with waiting(program, *command, within=AS_USER) as process:
        pipes = Pipes(process.pid)
        for ours in (process.stdin, process.stdout, process.stderr):
            assert ours is not None
            ours.close()
        go(process)
        yield process, pipes


@asynccontextmanager
async def deadline() -> AsyncIterator[None]:
    async with asyncio.timeout(DEADLINE_S):
        yield


async def written(pipes: Pipes) -> dict[Channel, bytes]:
    found = dict.fromkeys(Channel, b"")
    async for output in pipes.outputs():
        found[output.channel] += output.data
    return found


async def test_what_is_written_comes_by_channel_to_the_last_byte(program: Path) -> None:
    content = os.urandom(1 << 20)
    async with deadline():
        with begun(program, "sh", "-c", "echo wrong >&2; cat") as (_, pipes):
            reading = asyncio.create_task(written(pipes))
            await pipes.write(content)
            pipes.end_input()
            assert await reading == {Channel.STDOUT: content, Channel.STDERR: b"wrong\n"}
            await pipes.close()


async def test_who_does_not_read_holds_the_program_up(program: Path) -> None:
    async with deadline():
        with begun(program, "sh", "-c", "head -c 300000 /dev/zero; echo through >&2") as (_, pipes):
            outputs = pipes.outputs()
            held = asyncio.Event()
            pipes.hold = held.wait
            first = await anext(outputs)
            following = asyncio.ensure_future(anext(outputs))
            await asyncio.sleep(0.2)
            assert len(first.data) <= PIPE_BYTES
            assert not following.done()
            held.set()
            found = len(first.data) + len((await following).data)
            last = b""
            async for output in outputs:
                found += len(output.data) if output.channel is Channel.STDOUT else 0
                last = output.data if output.channel is Channel.STDERR else last
            assert (found, last) == (300_000, b"through\n")
            await pipes.close()


async def test_what_it_does_not_read_waits_and_its_end_is_told(program: Path) -> None:
    async with deadline():
        with begun(program, "sleep", "0.3") as (_, pipes):
            with pytest.raises(BrokenPipeError):
                await pipes.write(bytes(2 * PIPE_BYTES))
            await pipes.close()


async def test_input_that_is_ended_breaks_off_what_waits(program: Path) -> None:
    async with deadline():
        with begun(program, "sleep", "60") as (_, pipes):
            writing = [asyncio.create_task(pipes.write(bytes(2 * PIPE_BYTES))) for _ in range(2)]
            await asyncio.sleep(0.1)
            pipes.end_input()
            assert [type(e) for e in await asyncio.gather(*writing, return_exceptions=True)] == [
                BrokenPipeError,
                BrokenPipeError,
            ]
            await pipes.close()


async def test_a_reader_that_is_gone_is_followed_by_another(program: Path) -> None:
    """What the first had read is its own; the program waited meanwhile and lost nothing."""
    script = "echo first; read line; head -c 200000 /dev/zero; echo last"
    async with deadline():
        with begun(program, "sh", "-c", script) as (process, pipes):
            assert (await anext(pipes.outputs())).data == b"first\n"
            await pipes.write(b"go on\n")
            await pipes.close()
            await asyncio.sleep(0.2)
            second = Pipes(process.pid)
            with pytest.raises(BrokenPipeError, match="its input has ended"):
                await second.write(b"x")
            assert await written(second) == {
                Channel.STDOUT: bytes(200_000) + b"last\n",
                Channel.STDERR: b"",
            }
            await second.close()


async def test_what_its_user_does_to_its_own_ends_is_no_matter(program: Path) -> None:
    """Its stdout can be opened anew, as /dev/stdout is; to read there takes from itself alone."""
    script = "echo by name >/dev/stdout; echo wrong >/dev/stderr"
    async with deadline():
        with begun(program, "sh", "-c", script) as (_, pipes):
            assert await written(pipes) == {Channel.STDOUT: b"by name\n", Channel.STDERR: b"wrong\n"}
            await pipes.close()


async def test_closed_it_leaves_no_descriptor(program: Path) -> None:
    def count() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    async with deadline():
        with waiting(program, "true", within=AS_USER) as process:
            before = count()
            pipes = Pipes(process.pid)
            assert count() == before + 3
            await pipes.close()
            await pipes.close()
            assert count() == before
            process.kill()
            process.wait()
            with pytest.raises(OSError, match="No such file"):
                Pipes(process.pid)
            assert count() <= before
