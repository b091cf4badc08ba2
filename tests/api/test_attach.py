"""Typing to a sandbox and reading it over the WebSocket, with and without a terminal."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import pytest

from tests.running import Daemon

pytestmark = [pytest.mark.root, pytest.mark.docker]

DEADLINE_S = 30.0
STDOUT, STDERR = 1, 2


class Client:
    """One attached client; `output` is all that it has received, by channel."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.output = {STDOUT: b"", STDERR: b""}

    async def type(self, data: bytes) -> None:
        await self.socket.send_bytes(data)

    async def order(self, order: Any) -> None:
        await self.socket.send_str(json.dumps(order))

    async def until(self, text: bytes, channel: int = STDOUT) -> bytes:
        """Reads until `text` has come."""
        async with asyncio.timeout(DEADLINE_S):
            while text not in self.output[channel]:
                message = await self.socket.receive()
                assert message.type is aiohttp.WSMsgType.BINARY, (message, self.output)
                self.output[message.data[0]] += message.data[1:]
        return self.output[channel]

    async def end(self) -> bytes:
        """Reads until the server closes."""
        async with asyncio.timeout(DEADLINE_S):
            async for message in self.socket:
                self.output[message.data[0]] += message.data[1:]
        return self.output[STDOUT]


@asynccontextmanager
async def attached(running: Daemon, sandbox_id: str) -> AsyncIterator[Client]:
    connector = aiohttp.UnixConnector(str(running.socket))
    async with (
        aiohttp.ClientSession("http://daemon", connector=connector) as session,
        session.ws_connect(f"/v1/sandboxes/{sandbox_id}/attach") as socket,
    ):
        yield Client(socket)


def interactive(running: Daemon, image: str, *command: str, **options: Any) -> str:
    sandbox = running.launch(image, *command, interactive=True, **options)
    return str(sandbox["id"])


def result(running: Daemon, sandbox_id: str) -> Any:
    return running.request("GET", f"/v1/sandboxes/{sandbox_id}/result").json()


def state(running: Daemon, sandbox_id: str) -> str:
    return str(running.request("GET", f"/v1/sandboxes/{sandbox_id}").json()["state"])


def end(running: Daemon, sandbox_id: str) -> None:
    assert running.request("DELETE", f"/v1/sandboxes/{sandbox_id}").status == 204


async def test_bytes_go_in_and_out_as_they_are(running: Daemon, image: str) -> None:
    every = bytes(range(256)) * 1024
    sandbox_id = interactive(running, image, "cat")
    async with attached(running, sandbox_id) as client:
        for start in range(0, len(every), 50_000):
            await client.type(every[start : start + 50_000])
        await client.order({"eof": True})
        assert await client.end() == every
    assert result(running, sandbox_id)["exit_code"] == 0


async def test_channels_are_told_apart_and_the_exit_code_passes(running: Daemon, image: str) -> None:
    script = "read line; echo out $line; echo err $line >&2; exit 42"
    sandbox_id = interactive(running, image, "sh", "-c", script)
    async with attached(running, sandbox_id) as client:
        await client.type(b"x\n")
        assert await client.end() == b"out x\n"
        assert client.output[STDERR] == b"err x\n"
    assert result(running, sandbox_id)["exit_code"] == 42


async def test_a_terminal_has_the_size_that_it_was_given(running: Daemon, image: str) -> None:
    script = "trap 'stty size; exit 9' WINCH; read go; stty size; while :; do sleep 0.1; done"
    sandbox_id = interactive(running, image, "sh", "-c", f"stty -echo; {script}", tty=True)
    async with attached(running, sandbox_id) as client:
        await asyncio.sleep(0.3)
        await client.order({"resize": [44, 102]})
        await client.until(b"44 102\r\n")
        await client.end()
    assert result(running, sandbox_id)["exit_code"] == 9


async def test_the_interrupt_key_reaches_the_program(running: Daemon, image: str) -> None:
    script = "trap 'echo caught; exit 3' INT; echo ready; while :; do sleep 0.1; done"
    sandbox_id = interactive(running, image, "sh", "-c", script, tty=True)
    async with attached(running, sandbox_id) as client:
        await client.until(b"ready")
        await client.type(b"\x03")
        assert b"caught" in await client.end()
    assert result(running, sandbox_id)["exit_code"] == 3


async def test_the_end_key_ends_the_input(running: Daemon, image: str) -> None:
    sandbox_id = interactive(running, image, "sh", "-c", "cat; echo after; exit 4", tty=True)
    async with attached(running, sandbox_id) as client:
        await client.type(b"line\n")
        await client.until(b"line\r\nline\r\n")
        await client.type(b"\x04")
        assert b"after\r\n" in await client.end()
    assert result(running, sandbox_id)["exit_code"] == 4


async def test_a_client_that_leaves_leaves_the_sandbox(running: Daemon, image: str) -> None:
    sandbox_id = interactive(running, image, "sh", "-c", "while read line; do echo got $line; done")
    async with attached(running, sandbox_id) as first:
        await first.type(b"one\n")
        await first.until(b"got one\n")
        first.socket._response.connection.transport.abort()  # as if it were killed
    await asyncio.sleep(0.5)
    assert state(running, sandbox_id) == "running"
    async with attached(running, sandbox_id) as second:
        assert await second.until(b"got one\n") == b"got one\n"  # what was kept
        await second.type(b"two\n")
        await second.order({"eof": True})
        assert await second.end() == b"got one\ngot two\n"
    assert result(running, sandbox_id)["exit_code"] == 0


async def test_two_clients_see_the_same_and_both_type(running: Daemon, image: str) -> None:
    sandbox_id = interactive(running, image, "sh", "-c", "while read line; do echo got $line; done")
    async with attached(running, sandbox_id) as first, attached(running, sandbox_id) as second:
        await first.type(b"one\n")
        await second.until(b"got one\n")
        await second.type(b"two\n")
        await first.until(b"got two\n")
        await second.order({"eof": True})
        assert await first.end() == await second.end() == b"got one\ngot two\n"


async def test_a_long_session_goes_on_beyond_what_is_kept(running: Daemon, image: str) -> None:
    script = "head -c 5000 /dev/zero; while read line; do echo got $line; done"
    sandbox_id = interactive(running, image, "sh", "-c", script, limits={"output": 1024})
    async with attached(running, sandbox_id) as client:
        for word in (b"one", b"two"):
            await client.type(word + b"\n")
            await client.until(b"got " + word)
        await client.order({"eof": True})
        await client.end()
    assert result(running, sandbox_id)["stdout_truncated"] is True


async def test_a_slow_client_gets_everything(running: Daemon, image: str) -> None:
    """Far more than is kept or buffered, at a tenth of the speed of the program."""
    size = 8 << 20
    sandbox_id = interactive(running, image, "sh", "-c", f"read go; head -c {size} /dev/zero; echo end")
    async with attached(running, sandbox_id) as client:
        await client.type(b"\n")
        received = 0
        async for message in client.socket:
            received += len(message.data) - 1
            await asyncio.sleep(0.005)
    assert received == size + len("end\n")
    assert result(running, sandbox_id)["exit_code"] == 0


async def test_a_client_that_does_not_read_is_let_go_of(running: Daemon, image: str) -> None:
    size = 16 << 20
    sandbox_id = interactive(running, image, "sh", "-c", f"read go; head -c {size} /dev/zero; read end")
    async with attached(running, sandbox_id) as idle, attached(running, sandbox_id) as client:
        await client.type(b"\n")
        received = 0
        async with asyncio.timeout(DEADLINE_S):
            while received < size:
                received += len((await client.socket.receive()).data) - 1
        assert len(await idle.end()) < size
        assert idle.socket.close_code == aiohttp.WSCloseCode.TRY_AGAIN_LATER
    assert state(running, sandbox_id) == "running"
    end(running, sandbox_id)


async def test_what_is_no_order_is_ignored(running: Daemon, image: str) -> None:
    sandbox_id = interactive(running, image, "cat", tty=True)
    async with attached(running, sandbox_id) as client:
        for text in (
            "",
            "{",
            "[]",
            '{"resize": [0, 0]}',
            '{"resize": [1, "2"]}',
            '{"resize": [99999, 1]}',
            "[" * 9999,
        ):
            await client.socket.send_str(text)
        await client.order({"resize": [10**9, 1]})
        await client.type(b"still here\n")
        await client.until(b"still here\r\nstill here\r\n")
        await client.type(b"\x04")
        await client.end()
    assert result(running, sandbox_id)["exit_code"] == 0


async def test_too_large_a_message_ends_the_client_alone(running: Daemon, image: str) -> None:
    sandbox_id = interactive(running, image, "cat")
    async with attached(running, sandbox_id) as client:
        with suppress(ConnectionError):  # the server may close before it has read all of it
            await client.type(bytes((1 << 20) + 1))
        await client.end()
        assert client.socket.close_code != aiohttp.WSCloseCode.OK
    assert state(running, sandbox_id) == "running"
    end(running, sandbox_id)


async def test_input_after_the_end_is_no_error(running: Daemon, image: str) -> None:
    sandbox_id = interactive(running, image, "sh", "-c", "exec <&-; sleep 1; exit 6")
    async with attached(running, sandbox_id) as client:
        for _ in range(20):
            await client.type(b"nobody reads this\n")
        await client.end()
    assert result(running, sandbox_id)["exit_code"] == 6


def test_what_cannot_be_attached_says_why(running: Daemon, image: str) -> None:
    def problem(sandbox_id: str, **headers: str) -> tuple[int, str]:
        answer = running.request("GET", f"/v1/sandboxes/{sandbox_id}/attach", headers=headers)
        return answer.status, answer.json()["type"]

    batch = running.launch(image, "sleep", "30")["id"]
    assert problem(batch) == (409, "/problems/not-interactive")
    typed = interactive(running, image, "cat")
    assert problem(typed) == (400, "/problems/not-a-websocket")
    running.request("POST", f"/v1/sandboxes/{typed}/kill")
    result(running, typed)
    assert problem(typed) == (409, "/problems/sandbox-ended")
    end(running, batch)


async def test_each_attach_is_recorded(running: Daemon, image: str) -> None:
    sandbox_id = interactive(running, image, "cat")
    async with attached(running, sandbox_id) as client:
        await client.order({"eof": True})
        await client.end()
    assert result(running, sandbox_id)["exit_code"] == 0
    acts = [event["action"] for event in running.events() if event.get("sandbox_id") == sandbox_id]
    assert acts == ["allowed", "attach", "finished"]
