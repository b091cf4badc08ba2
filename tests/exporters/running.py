"""Receivers as child processes that can be killed and started again, and exporters in front of them."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from daemon import ROOT
from daemon.audit.log import AuditLog
from daemon.audit.record import EventType, SecurityAuditEvent
from daemon.delivery.deliveries import Deliveries, _made, _options, plug_ins
from daemon.findings import Severity
from exporters import Exporter
from exporters.inventory import KINDS
from tests.exporters.receiver import SIGNING_KEY, TOKEN
from tests.ports import free_port

DEADLINE_S = 60.0


def event(number: int = 0, **details: Any) -> SecurityAuditEvent:
    return SecurityAuditEvent(
        session_id=f"session-{number % 7}",
        event_type=EventType.SECURITY_VIOLATION,
        severity=Severity.HIGH,
        action="killed",
        details={"number": number, "rule_id": "a-rule", **details},
    )


@dataclass
class Child:
    """A receiver; `received` reads what it kept: pairs of an event's id and the record."""

    command: Sequence[str]
    port: int
    received: Callable[[], list[tuple[str, Any]]]
    log: Path
    process: subprocess.Popen[bytes] | None = field(default=None)

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, cwd=ROOT, stdout=log, stderr=log)
        deadline = time.monotonic() + DEADLINE_S
        while not self._listens():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.command[0]} does not listen:\n{self.log.read_text()}")
            time.sleep(0.05)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def http_receiver(folder: Path) -> Child:
    port, file = free_port(), folder / "received.jsonl"

    def received() -> list[tuple[str, Any]]:
        return [(line["id"], line["record"]) for line in map(json.loads, whole_lines(file))]

    command = [sys.executable, "-m", "tests.exporters.receiver", str(port), str(file)]
    return Child(command, port, received, folder / "receiver.log")


def broker(
    folder: Path, partitions: int = 1, port: int = 0, advertised_port: int = 0, pair: Sequence[Path] = ()
) -> Child:
    """Of Kafka, with TLS where it has a certificate and its key.

    `received` is what its records are in `_line` of tests.exporters.broker, in their order.
    """
    port, file = port or free_port(), folder / "received.jsonl"

    def received() -> list[tuple[str, Any]]:
        return [(line["id"], line) for line in map(json.loads, whole_lines(file))]

    numbers = map(str, (port, advertised_port or port, partitions))
    command = [sys.executable, "-m", "tests.exporters.broker", *numbers, str(file), *map(str, pair)]
    return Child(command, port, received, folder / "broker.log")


def whole_lines(file: Path) -> list[bytes]:
    return [line for line in file.read_bytes().split(b"\n")[:-1] if line] if file.exists() else []


def rsyslog(folder: Path, listen: str = "", modules: str = "", actions: str = "") -> Child:
    """Octet-counted TCP; its file holds each message, whole and in parts, JSON-escaped by rsyslog itself."""
    port, file = free_port(), folder / "rsyslog.jsonl"
    configuration = folder / "rsyslog.conf"
    configuration.write_text(f"""
global(workDirectory="{folder}" maxMessageSize="64k" {modules})
module(load="imtcp" {listen})
input(type="imtcp" port="{port}")
template(name="json" type="list") {{
  constant(value="{{") property(name="msg" outname="msg" format="jsonf")
  constant(value=",") property(name="hostname" outname="host" format="jsonf")
  constant(value=",") property(name="app-name" outname="app" format="jsonf")
  constant(value=",") property(name="msgid" outname="message_id" format="jsonf")
  constant(value=",") property(name="structured-data" outname="data" format="jsonf")
  constant(value=",") property(name="rawmsg" outname="raw" format="jsonf")
  constant(value=",") property(name="$!read" outname="read" format="jsonf")
  constant(value="}}\\n")
}}
{actions}
action(type="omfile" file="{file}" template="json" asyncWriting="off" flushOnTXEnd="on")
""")

    def received() -> list[tuple[str, Any]]:
        records: list[Any] = []
        for line in whole_lines(file):
            with suppress(ValueError):  # it was killed while it wrote that one
                records.append(json.loads(json.loads(line)["msg"].lstrip(" \ufeff")))
        return [(record["id"], record) for record in records]

    command = ["rsyslogd", "-n", "-i", str(folder / "rsyslog.pid"), "-f", str(configuration)]
    return Child(command, port, received, folder / "rsyslog.log")


def nats(folder: Path, settings: str = "") -> Child:
    port, configuration = free_port(), folder / "nats.conf"
    configuration.write_text(settings)
    program = next(Path(sys.executable).parent.glob("nats-server*"))
    command = [str(program), "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", str(folder / "nats")]
    command += ["-c", str(configuration)]
    return Child(command, port, lambda: _nats_messages(folder), folder / "nats.log")


def _nats_messages(folder: Path) -> list[tuple[str, Any]]:
    """Of a server that runs on the same store once more, where it was ended."""
    child = nats(folder)
    with running(child):
        return asyncio.run(nats_messages(child.port))


async def nats_stream(port: int, **limits: Any) -> None:
    import nats

    client = await nats.connect(f"nats://127.0.0.1:{port}")
    await client.jetstream().add_stream(name="AUDIT", subjects=["audit.>"], **limits)
    await client.close()


async def nats_messages(port: int) -> list[tuple[str, Any]]:
    import nats

    client = await nats.connect(f"nats://127.0.0.1:{port}")
    stream = client.jetstream()
    found: list[tuple[str, Any]] = []
    wanted = (await stream.stream_info("AUDIT")).state.messages
    reader = await stream.pull_subscribe("audit.>", stream="AUDIT")
    while len(found) < wanted:
        messages = await reader.fetch(500, timeout=20)
        found += [(m.headers["Nats-Msg-Id"], json.loads(m.data)) for m in messages]
        for message in messages:
            await message.ack()
    await client.close()
    return found


def table(kind: str, port: int, folder: Path) -> dict[str, Any]:
    """The settings of an exporter to the receiver at `port`."""
    for name, text in {"key": SIGNING_KEY, "token": TOKEN}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o600)
    url = f"http://127.0.0.1:{port}"
    own: dict[str, dict[str, Any]] = {
        "webhook": {"url": f"{url}/webhook", "signing_key": f"file:{folder}/key"},
        "otlp": {"url": url},
        "hec": {"url": url, "token": f"file:{folder}/token", "acknowledgement_deadline_s": 3, "poll_s": 0.02},
        "elastic": {"url": url},
        "loki": {"url": url},
        "alertmanager": {"url": url},
        "syslog": {"transport": "tcp", "host": "127.0.0.1", "port": port, "maximum_bytes": 60_000},
        "nats": {"servers": [f"nats://127.0.0.1:{port}"]},
        "file": {"path": str(folder / "events.jsonl")},
        "journald": {},
        "kafka": {"servers": [f"127.0.0.1:{port}"], "topic": "audit"},
    }
    return {"name": kind, "kind": kind, **own.get(kind, {})}


@contextmanager
def running(child: Child) -> Iterator[Child]:
    child.start()
    try:
        yield child
    finally:
        child.kill()


@asynccontextmanager
async def made(kind: str, port: int, folder: Path, **options: Any) -> AsyncIterator[Exporter]:
    """An exporter alone, without a log, as the settings' table of that kind and those options make it."""
    where = "config.toml"
    chosen, its_kind = _options(where, {**table(kind, port, folder), **options}, {**plug_ins(), **KINDS})
    exporter = _made(where, its_kind, chosen, folder)
    try:
        yield exporter
    finally:
        await exporter.close()


@asynccontextmanager
async def delivering(
    tables: Sequence[dict[str, Any]], folder: Path
) -> AsyncIterator[tuple[AuditLog, Deliveries]]:
    audit = AuditLog(folder / "audit.jsonl")
    deliveries = Deliveries(tables, folder / "config.toml", audit, folder)
    for delivery in deliveries.all:
        delivery._backoff._most_s = 0.5  # a test is in a hurry
    try:
        async with asyncio.TaskGroup() as tasks:
            running_ = tasks.create_task(deliveries.run())
            yield audit, deliveries
            running_.cancel()
    finally:
        audit.close()


async def record(audit: AuditLog, events: Sequence[SecurityAuditEvent]) -> None:
    async with asyncio.TaskGroup() as tasks:
        for one in events:
            tasks.create_task(audit.record(one))


async def until(condition: Callable[[], bool], deadline_s: float = DEADLINE_S, every_s: float = 0.02) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(deadline_s):
            while not condition():
                await asyncio.sleep(every_s)
    assert condition()


async def kill_and_count(
    kind: str, child: Child, folder: Path, events: int, kills: int, **own: Any
) -> dict[str, int]:
    """Events recorded while the receiver is killed with SIGKILL `kills` times, and what it has in the end.

    `own` are options of the exporter beside those of its kind's `table`.
    """
    sent = [event(number) for number in range(events)]
    options = {**table(kind, child.port, folder), "batch_events": max(10, events // 40), **own}
    async with delivering([options], folder) as (audit, deliveries):
        (delivery,) = deliveries.all
        for share in range(kills + 1):
            await record(audit, sent[share * events // (kills + 1) : (share + 1) * events // (kills + 1)])
            if share < kills:
                middle = (2 * share + 1) * events // (2 * kills + 2)
                await until(lambda middle=middle: delivery.state.cursor >= middle, 120, every_s=0)
                await asyncio.to_thread(child.kill)
                await asyncio.sleep(0.1)
                await asyncio.to_thread(child.start)
        await until(lambda: delivery.lag_events == 0 and not delivery.state.problem, 120)
        await record(audit, [event(-1)])  # one more: a hang-up is noticed at the next
        await until(lambda: delivery.lag_events == 0 and not delivery.state.problem, 120)
        await asyncio.sleep(0.5)
        log = await audit.read(0, events * 2)
        failures = sum(e.event_type is EventType.EXPORTER_FAILED for e in log)
        logged = len({e.id for e in log} & {e.id for e in sent})
    await asyncio.to_thread(child.kill)
    got = [key for key, _ in await asyncio.to_thread(child.received)]
    wanted = {e.id for e in sent}
    return {
        "events": events,
        "kills": kills,
        "missing": len(wanted - set(got)),
        "missing_in_log": events - logged,
        "received": len(got),
        "duplicates": len(got) - len(set(got)),
        "outages_told": failures,
    }
