"""syslog-ng, which tests/setup.sh unpacks without installing it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from daemon import ROOT
from tests.exporters.running import Child, whole_lines
from tests.ports import free_port

UNPACKED = ROOT / ".venv/receivers"
LIBRARIES = (UNPACKED / "usr/lib/syslog-ng", *UNPACKED.glob("**/lib/*-linux-gnu"))


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

    (modules,) = UNPACKED.glob("usr/lib/syslog-ng/[0-9]*")
    own = {"persist-file": "persist", "control": "control", "pidfile": "pid"}
    command = [
        *("env", f"LD_LIBRARY_PATH={os.pathsep.join(map(str, LIBRARIES))}"),
        str(UNPACKED / "usr/sbin/syslog-ng"),
        *("--foreground", "--no-caps", "--stderr", f"--module-path={modules}", f"--cfgfile={configuration}"),
        *(f"--{option}={folder / name}" for option, name in own.items()),
    ]
    return Child(command, port, received, folder / "syslog-ng.log")
