"""Events and expectations for tests, each a whole one with dull values."""

from __future__ import annotations

from typing import Any, TypeVar

from daemon.events import Event, File, Process, Tier
from daemon.expectation import Expectation

CONTAINER = "c" * 64
E = TypeVar("E", bound=Event)


def event(kind: type[E], /, **fields: Any) -> E:
    process = fields.pop("process", Process(pid=100, tid=100, ppid=1, comm="a"))
    base = {"time_ns": 1, "sandbox": CONTAINER, "process": process, "tier": Tier.EBPF}
    return kind(**{**base, **fields})


def file(path: str = "/bin/a", **fields: Any) -> File:
    return File(path=path, **fields)


def expectation(**fields: Any) -> Expectation:
    return Expectation(**{"container_id": CONTAINER, **fields})
