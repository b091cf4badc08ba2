"""What is lost is counted, and a flood of ordinary events cannot push an alert out."""

from __future__ import annotations

import pytest

from daemon.events import FileOpened, Mounted
from tests.sensors.watching import OPEN, Watching

pytestmark = [pytest.mark.root, pytest.mark.docker, pytest.mark.bpf]
RECORDS = 40_000


def test_a_flood_is_counted_and_alerts_come_through(watching: Watching) -> None:
    before = watching.do(lambda: watching.sensor.lost)
    watching.paused.set()
    try:
        script = f"/act repeat 1 refused {RECORDS}; /act mount x /tmp tmpfs"
        run = watching.run("sh", "-c", script, options=(*OPEN, "--user=0"))
    finally:
        watching.paused.clear()
    watching.await_idle()
    assert watching.one(run.container, Mounted).target == "/tmp"
    after = watching.do(lambda: watching.sensor.lost)
    lost = after["bulk_full"] - before["bulk_full"]
    seen = len([e for e in watching.events(run.container, FileOpened) if e.file.path == "/nowhere/canary"])
    assert lost > 0
    assert seen + lost >= RECORDS
    assert after["alerts_full"] == before["alerts_full"]
