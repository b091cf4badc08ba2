"""The last events of each container: what led to a finding."""

from __future__ import annotations

from collections import defaultdict, deque

from daemon.events import Event

KEPT = 128


class RecentEvents:
    """Fed from the event loop alone; an event's own memory is what it costs."""

    def __init__(self) -> None:
        self._events: defaultdict[str, deque[Event]] = defaultdict(lambda: deque(maxlen=KEPT))

    def learn(self, event: Event) -> None:
        self._events[event.sandbox].append(event)

    def of(self, container_id: str) -> tuple[Event, ...]:
        """The oldest first."""
        return tuple(self._events.get(container_id, ()))

    def forget(self, container_id: str) -> None:
        self._events.pop(container_id, None)
