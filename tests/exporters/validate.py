"""Puts every event of an audit log through every format, and reads each back by other means than it was made:

    python -m tests.exporters.validate FILE

`checks` has the means; `independent` has others' parsers of CEF and syslog.
Prints a line of JSON with the counts, and what was wrong on stderr; exits with 1 if anything was.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from daemon.audit.record import SecurityAuditEvent
from exporters.formats.inventory import FORMATS
from tests.exporters import independent
from tests.exporters.checks import OCSF_VERSIONS, problems

TOLD = 20
"""Problems printed."""


def main(file: Path) -> int:
    failed: Counter[str] = Counter()
    lines = file.read_bytes().rstrip(b"\0").splitlines()
    events = [SecurityAuditEvent.model_validate_json(line) for line in lines]
    for event, name, problem in chain(_own_readers(events), independent.problems(events)):
        failed[name] += 1
        if failed.total() <= TOLD:
            print(f"event {event.seq}: {name}: {problem}", file=sys.stderr)
    checks = [f"ocsf {version}" for version in OCSF_VERSIONS] + [name for name in FORMATS if name != "ocsf"]
    wrong = {name: failed[name] for name in [*checks, *independent.READERS]}
    types = Counter(event.event_type.value for event in events)
    print(json.dumps({"events": len(events), "types": types, "wrong": wrong}))
    return 1 if failed or not events else 0


def _own_readers(events: Sequence[SecurityAuditEvent]) -> Iterator[tuple[SecurityAuditEvent, str, str]]:
    for event in events:
        yield from ((event, name, problem) for name, problem in problems(event))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
