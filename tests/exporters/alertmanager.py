"""Prometheus Alertmanager, as a child process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from tests.exporters.running import Child
from tests.ports import free_port


def alertmanager(folder: Path) -> Child:
    """Without a cluster and without anybody to tell; it keeps what its API v2 lists."""
    port = free_port()
    configuration = folder / "alertmanager.yml"
    configuration.write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")

    def received() -> list[tuple[str, Any]]:
        with urlopen(f"http://127.0.0.1:{port}/api/v2/alerts", timeout=60) as answer:
            return [(alert["annotations"]["event_id"], alert) for alert in json.load(answer)]

    command = [
        "prometheus-alertmanager",
        f"--config.file={configuration}",
        f"--storage.path={folder / 'alertmanager'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    return Child(command, port, received, folder / "alertmanager.log")
