"""What arrives while the receiver is killed with SIGKILL: `python -m tests.benchmarks.delivery [NAME ...]`.

20,000 events and five kills each, one line of JSON in the end.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from tests.exporters.running import (
    Child,
    broker,
    http_receiver,
    kill_and_count,
    nats,
    nats_stream,
    rsyslog,
    running,
)
from tests.exporters.secure import Certificates, secure_rsyslog

EVENTS, KILLS = 20_000, 5


@contextmanager
def receiver(name: str, folder: Path) -> Iterator[tuple[Child, dict[str, Any]]]:
    """And the options of its exporter beside the usual ones."""
    if name == "syslog-tls":
        certificates = Certificates(folder)
        child = secure_rsyslog(folder, certificates)
        options: dict[str, Any] = {"transport": "tls", "tls": certificates.tls(certificates.client)}
    else:
        child, options = RECEIVERS[name](folder), {}
    with running(child):
        yield child, options


RECEIVERS: dict[str, Callable[[Path], Child]] = {
    "webhook": http_receiver,
    "otlp": http_receiver,
    "hec": http_receiver,
    "elastic": http_receiver,
    "loki": http_receiver,
    "nats": nats,
    "kafka": partial(broker, partitions=3),
    "syslog": rsyslog,
}
NAMES = [*RECEIVERS, "syslog-tls"]


async def measure(name: str) -> dict[str, float]:
    kind = name.partition("-")[0]
    with (
        tempfile.TemporaryDirectory(prefix="container-kit-delivery-") as temporary,
        receiver(name, folder := Path(temporary)) as (child, options),
    ):
        if kind == "nats":
            await nats_stream(child.port)
        before = time.monotonic()
        result = await kill_and_count(kind, child, folder, EVENTS, KILLS, **options)
        return {**result, "seconds": round(time.monotonic() - before, 1)}


async def main(names: list[str]) -> None:
    results = {name: await measure(name) for name in names or NAMES}
    print(json.dumps({"benchmark": "delivery", "results": results}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
