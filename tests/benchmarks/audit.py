"""The audit log: `python -m tests.benchmarks.audit [EVENTS]`. Prints one line of JSON last.

take: what `record` costs the event loop before it waits for the disk. durable: from the call to the return of
`record` at 1,000 events a second, with a free loop and with one that is kept busy in slices of 200 us.
sustained: 64 writers that record one event after the other. verify: the whole log, with its checkpoints.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from daemon.audit.key import SigningKey, signing_key
from daemon.audit.log import AuditLog
from daemon.audit.record import EventType, SecurityAuditEvent
from daemon.audit.verify import verify
from daemon.findings import Severity
from tests.benchmarks.launch import quantile

RATE = 1000
RATED_S = 3
WRITERS = 64
CHECKPOINT_EVENTS = 5000
BUSY_S = 200e-6


def event(number: int) -> SecurityAuditEvent:
    return SecurityAuditEvent(
        session_id=f"session-{number % 50}",
        event_type=EventType.EXECUTION_STARTED,
        severity=Severity.LOW,
        action="allowed",
        details={"image": "registry.example/app:1", "command": ["/bin/echo", "hi"], "number": number},
        sandbox_id="0123456789abcdef",
    )


def taken_us(log: AuditLog, count: int) -> list[float]:
    """Without the disk; what waits for it is dropped by the hundred, as a commit would."""
    times = []
    for number in range(count):
        if number % 100 == 0:
            log._batch.clear()
            log._unpublished.clear()
        one = event(number)
        start = time.perf_counter()
        log._take(one)
        times.append((time.perf_counter() - start) * 1e6)
    return times


async def durable_ms(log: AuditLog, *, busy: bool) -> list[float]:
    times: list[float] = []

    async def record(number: int) -> None:
        start = time.perf_counter()
        await log.record(event(number))
        times.append((time.perf_counter() - start) * 1000)

    async def burn() -> None:
        while True:
            until = time.perf_counter() + BUSY_S
            while time.perf_counter() < until:
                sum(range(50))
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        burning = tasks.create_task(burn()) if busy else None
        begin, count = time.perf_counter(), 0
        async with asyncio.TaskGroup() as records:
            while count < RATE * RATED_S:
                due = min(RATE * RATED_S, int((time.perf_counter() - begin) * RATE) + 1)
                for number in range(count, due):
                    records.create_task(record(number))
                count = due
                await asyncio.sleep(0.0005)
        if burning is not None:
            burning.cancel()
    return times


async def sustained(log: AuditLog, key: SigningKey, count: int) -> float:
    """Events a second."""
    numbers = iter(range(count))

    async def write() -> None:
        for number in numbers:
            await log.record(event(number))
            if number % CHECKPOINT_EVENTS == 0:
                await log.checkpoint(key)

    begin = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(WRITERS):
            tasks.create_task(write())
    return count / (time.perf_counter() - begin)


async def measured(folder: Path, count: int) -> dict[str, Any]:
    key = signing_key(folder)
    log = AuditLog(folder / "log")
    free, busy = await durable_ms(log, busy=False), await durable_ms(log, busy=True)
    rate = await sustained(log, key, count)
    await log.checkpoint(key)
    log.close()
    begin = time.perf_counter()
    found = verify(folder / "log", key.verifier)
    verified_per_s = found.lines / (time.perf_counter() - begin)
    scratch = AuditLog(folder / "scratch")
    taken = taken_us(scratch, 10_000)
    scratch.close()
    return {
        "take_p50_us": quantile(taken, 0.5),
        "take_p99_us": quantile(taken, 0.99),
        "durable_p50_ms": quantile(free, 0.5),
        "durable_p99_ms": quantile(free, 0.99),
        "durable_busy_p50_ms": quantile(busy, 0.5),
        "durable_busy_p99_ms": quantile(busy, 0.99),
        "sustained_per_s": round(rate),
        "verified_per_s": round(verified_per_s),
        "lines": found.lines,
        "problems": found.problems,
    }


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(asyncio.run(measured(Path(folder), count))))


if __name__ == "__main__":
    main()
