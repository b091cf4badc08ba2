"""What the engine keeps of a container on the disk: while it starts one it does not answer for it.

In the engine's own form (moby, container/container.go), given back by the names of the Engine API. What is
not as it is known to be counts as nothing: the engine's answer comes in the end.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

CONFIG, HOST_CONFIG = "config.v2.json", "hostconfig.json"
FILE_BYTES = 1 << 20
_ID = re.compile("[0-9a-f]{64}")


def inspected(engine_root: Path, container_id: str) -> dict[str, Any] | None:
    """As much of its inspect data as tells what it may be; None if it is not there. Two small reads."""
    if not _ID.fullmatch(container_id):
        return None
    folder = engine_root / "containers" / container_id
    try:
        kept, host = _read(folder / CONFIG), _read(folder / HOST_CONFIG)
        mounts = list(kept["MountPoints"].values())
        return {"Id": container_id, "Config": dict(kept["Config"]), "HostConfig": host, "Mounts": mounts}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def _read(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return dict(json.loads(file.read(FILE_BYTES)))
