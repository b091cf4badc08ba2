"""What arrives while the receiver is killed with SIGKILL: `python -m tests.benchmarks.delivery [KIND ...]`.

20,000 events and five kills a kind, one line of JSON in the end.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path

from tests.exporters.running import http_receiver, kill_and_count, nats, nats_stream, rsyslog, running

EVENTS, KILLS = 20_000, 5
RECEIVERS = {
    "webhook": http_receiver,
    "otlp": http_receiver,
    "hec": http_receiver,
    "elastic": http_receiver,
    "loki": http_receiver,
    "nats": nats,
    "syslog": rsyslog,
}


async def measure(kind: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="container-kit-delivery-") as name:
        folder = Path(name)
        child = RECEIVERS[kind](folder)
        with running(child):
            if kind == "nats":
                await nats_stream(child.port)
            before = time.monotonic()
            result = await kill_and_count(kind, child, folder, EVENTS, KILLS)
        return {**result, "seconds": round(time.monotonic() - before, 1)}


async def main(kinds: list[str]) -> None:
    results = {kind: await measure(kind) for kind in kinds or RECEIVERS}
    print(json.dumps({"benchmark": "delivery", "results": results}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
