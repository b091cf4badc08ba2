"""Receivers that tests/setup.sh unpacks without installing them: syslog-ng and Alertmanager."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from daemon import ROOT
from tests.exporters.running import Child, free_port, whole_lines

ROOT_OF_ALL = ROOT / ".venv/receivers"
LIBRARIES = (ROOT_OF_ALL / "usr/lib/syslog-ng", *ROOT_OF_ALL.glob("**/lib/*-linux-gnu"))


def syslog_ng(folder: Path) -> Child:
    """Octet-counted TCP; its file holds what it made of each message: the parts of the header, the structured
    data by name, and the message, as JSON that it wrote itself."""
    port, file = free_port(), folder / "syslog-ng.jsonl"
    configuration = folder / "syslog-ng.conf"
    configuration.write_text(f"""@version: 3.38
options {{ keep-hostname(yes); use-dns(no); dns-cache(no); log-msg-size(262144); stats-freq(0);
          frac-digits(6); time-zone("UTC"); }};
source s {{ syslog(ip("127.0.0.1") port({port}) transport("tcp") max-connections(10)); }};
destination d {{ file("{file}" template("$(format-json --scope rfc5424 --key ISODATE)\\n")); }};
log {{ source(s); destination(d); }};
""")

    def received() -> list[tuple[str, Any]]:
        records = [json.loads(line) for line in whole_lines(file)]
        return [(record["ISODATE"], record) for record in records]

    (modules,) = ROOT_OF_ALL.glob("usr/lib/syslog-ng/[0-9]*")
    own = {"persist-file": "persist", "control": "control", "pidfile": "pid"}
    command = [
        *("env", f"LD_LIBRARY_PATH={os.pathsep.join(map(str, LIBRARIES))}"),
        str(ROOT_OF_ALL / "usr/sbin/syslog-ng"),
        *("--foreground", "--no-caps", "--stderr", f"--module-path={modules}", f"--cfgfile={configuration}"),
        *(f"--{option}={folder / name}" for option, name in own.items()),
    ]
    return Child(command, port, received, folder / "syslog-ng.log")


def alertmanager(folder: Path) -> Child:
    """Without a cluster and without anybody to tell; it keeps what its API v2 lists."""
    port = free_port()
    configuration = folder / "alertmanager.yml"
    configuration.write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")

    def received() -> list[tuple[str, Any]]:
        with urlopen(f"http://127.0.0.1:{port}/api/v2/alerts", timeout=60) as answer:
            return [(alert["annotations"]["event_id"], alert) for alert in json.load(answer)]

    command = [
        str(ROOT_OF_ALL / "usr/bin/prometheus-alertmanager"),
        f"--config.file={configuration}",
        f"--storage.path={folder / 'alertmanager'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    return Child(command, port, received, folder / "alertmanager.log")
