"""Daemons that are killed while they record: `python -m tests.benchmarks.audit_kills [KILLS] [--retain]`.

A child process records events on one audit log, prints the id of each once it is durable, and is killed with
SIGKILL at a random moment; the next one goes on. In the end every printed id must be in the log, once, and
the log must be whole. Every third time its writing process is killed first. LANES logs at once share the
kills. With --retain old segments are retired meanwhile, down to RETAINED_BYTES: what was in them is not
missing. Prints one line of JSON last.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from daemon import ROOT
from daemon.audit.key import signing_key
from daemon.audit.log import AuditLog
from daemon.audit.record import EventType, SecurityAuditEvent
from daemon.audit.retention import Limits, Retention
from daemon.audit.segments import all_lines, segments
from daemon.audit.verify import verify
from daemon.findings import Severity

WRITERS, LANES = 8, 4
LONGEST_S = 0.15
SEGMENT_BYTES, RETAINED_BYTES = 256 << 10, 1 << 20
"""So small that many are killed while a segment begins."""


async def record_for_ever(folder: Path, *, retain: bool) -> None:
    key, log = signing_key(folder), AuditLog(folder / "log", SEGMENT_BYTES)
    limits = Limits(limit_bytes=RETAINED_BYTES if retain else 0)
    retention = Retention(log, key, limits, lambda: log.newest)

    async def write(writer: int) -> None:
        while True:
            event = await log.record(
                SecurityAuditEvent(
                    session_id=f"writer-{writer}",
                    event_type=EventType.EXECUTION_STARTED,
                    severity=Severity.LOW,
                    action="allowed",
                    details={"text": "x" * random.randrange(2000)},
                )
            )
            print(event.seq, event.id, flush=True)

    async with asyncio.TaskGroup() as tasks:
        for writer in range(WRITERS):
            tasks.create_task(write(writer))
        print("writer", log._appending.pid, flush=True)
        while True:
            await asyncio.sleep(0.02)
            await log.checkpoint(key)
            await retention.step()


async def seal(folder: Path) -> None:
    """What the last one left of a line is cut off, and all the rest stands under a checkpoint."""
    log = AuditLog(folder / "log", SEGMENT_BYTES)
    await log.checkpoint(signing_key(folder))
    log.close()


def killed(folder: Path, number: int, *, retain: bool) -> list[str]:
    """What one child was told is durable: numbers and ids."""
    command = [sys.executable, "-m", "tests.benchmarks.audit_kills", "--record", str(folder)]
    command += ["--retain"] if retain else []
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        writing_pid = int(child.stdout.readline().split()[1])
        time.sleep(random.random() * LONGEST_S)
        if number % 3 == 0:
            os.kill(writing_pid, signal.SIGKILL)
            time.sleep(random.random() * LONGEST_S)
        child.kill()
        told = child.stdout.read()
    return told.splitlines()[:-1] if not told.endswith("\n") else told.splitlines()


def campaign(folder: Path, kills: int, *, retain: bool = False) -> dict[str, Any]:
    told = [line.split() for number in range(kills) for line in killed(folder, number, retain=retain)]
    asyncio.run(seal(folder))
    seen = Counter(json.loads(line)["id"] for line in all_lines(folder / "log"))
    kept = segments(folder / "log")
    found = verify(folder / "log", signing_key(folder).verifier)
    return {
        "kills": kills,
        "acknowledged": len(told),
        "missing": len({id_ for seq, id_ in told if int(seq) >= kept[0].first} - set(seen)),
        "twice": sum(count > 1 for count in seen.values()),
        "lines": found.lines,
        "segments": len(kept),
        "retired": found.retired,
        "checkpoints": found.checkpoints,
        "problems": found.problems,
    }


def campaigns(folder: Path, kills: int, *, retain: bool) -> dict[str, Any]:
    """The sums of all lanes."""
    folders = [folder / str(lane) for lane in range(min(LANES, kills))]
    shares = [kills // len(folders) + (lane < kills % len(folders)) for lane in range(len(folders))]
    with ThreadPoolExecutor(len(folders)) as pool:
        lanes = list(pool.map(partial(campaign, retain=retain), folders, shares))
    return {name: sum((lane[name] for lane in lanes), start=type(lanes[0][name])()) for name in lanes[0]}


def main() -> None:
    arguments = [argument for argument in sys.argv[1:] if argument != "--retain"]
    retain = "--retain" in sys.argv
    if arguments[:1] == ["--record"]:
        asyncio.run(record_for_ever(Path(arguments[1]), retain=retain))
        return
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(campaigns(Path(folder), int(arguments[0]) if arguments else 1000, retain=retain)))


if __name__ == "__main__":
    main()
