"""Event -> detectors -> findings: each detector on its own, each event once, nothing dropped uncounted."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import entry_points
from itertools import islice

import structlog

from daemon.events import Event
from daemon.expectation import Expectation
from daemon.findings import Finding
from daemon.ledger import is_power_of_ten
from daemon.processes import ProcessTable
from daemon.recent import RecentEvents
from daemon.sensors.replay import Forgotten, Record
from detectors import Detector
from detectors.filesystem import DETECTORS as FILESYSTEM
from detectors.network import DETECTORS as NETWORK
from detectors.process import DETECTORS as PROCESS
from detectors.resource import DETECTORS as RESOURCE

PLUGINS = "container_kit.detectors"
HELD = 10_000
FINDINGS = 1_000
"""Of one detector for one event; an honest one has one or two."""
HOST = Expectation(container_id="", uid=0, capabilities=(1 << 64) - 1, fresh_exec=True)

log = structlog.get_logger()


def built_in() -> list[Detector]:
    return [detector() for detector in (*PROCESS, *FILESYSTEM, *NETWORK, *RESOURCE)]


def plug_ins(failed: Callable[[str, str], None] = lambda *_: None) -> list[Detector]:
    """Those of other packages, by entry point. `failed` gets the name of one that is left out, and why."""
    found = []
    for entry in entry_points(group=PLUGINS):
        try:
            found.append(_sound(entry.load()()))
        except (Exception, SystemExit) as error:  # a stranger's code: its trouble is its own
            log.exception("detector plug-in not loaded", plug_in=entry.value, reason=str(error))
            failed(entry.value.replace(":", "."), f"not loaded: {type(error).__name__}: {error}")
    return found


def _sound(detector: object) -> Detector:
    """Raises TypeError for what would break the pipeline, and not only itself."""
    if not isinstance(detector, Detector):
        raise TypeError("a detector is expected: a subclass of detectors.Detector")
    if not all(isinstance(kind, type) and issubclass(kind, Event) for kind in detector.events):
        raise TypeError("events: classes of daemon.events are expected")
    if not all(isinstance(name, str) for name in (*detector.syscalls, *detector.names)):
        raise TypeError("syscalls, names: texts are expected")
    return detector


def named(name: str | None) -> list[Detector]:
    """All, or those that have a rule of that id, or are of that class."""
    return [detector for detector in (*built_in(), *plug_ins()) if name is None or _is_named(detector, name)]


def _is_named(detector: Detector, name: str) -> bool:
    return name in {_name_of(detector), type(detector).__qualname__, *(rule.id for rule in detector.rules)}


def _name_of(detector: Detector) -> str:
    return f"{type(detector).__module__}.{type(detector).__qualname__}"


class Pipeline:
    """Synchronous, and fed from the event loop alone. `publish` gets every finding; `failed` the name of a
    detector that raised, and why."""

    def __init__(
        self,
        detectors: Iterable[Detector],
        publish: Callable[[Finding, Expectation], None],
        failed: Callable[[str, str], None],
    ) -> None:
        self.detectors = tuple(detectors)
        self.processes = ProcessTable()
        self.recent = RecentEvents()
        self.record: Callable[[Sequence[Record]], None] | None = None
        """Gets all that decides what is found, in its order."""
        self.events_seen = 0
        self.failures: Counter[str] = Counter()
        self.dropped = 0
        """Events of containers of which nothing became known in time."""
        self.on_hold: Callable[[], None] = lambda: None
        """Told of each container that sends events before it is expected."""
        self._publish = publish
        self._failed = failed
        self._by_kind: dict[type[Event], tuple[Detector, ...]] = {}
        self._expected: dict[str, Expectation] = {"": HOST}
        self._ignored: set[str] = set()
        self._held: defaultdict[str, deque[Event]] = defaultdict(lambda: deque(maxlen=HELD))

    @property
    def syscalls(self) -> frozenset[str]:
        return frozenset[str]().union(*(detector.syscalls for detector in self.detectors))

    @property
    def names(self) -> frozenset[str]:
        return frozenset[str]().union(*(detector.names for detector in self.detectors))

    @property
    def names_of_detectors(self) -> list[str]:
        """And of plug-ins that were not loaded."""
        return [*{_name_of(detector): None for detector in self.detectors} | dict.fromkeys(self.failures)]

    def feed(self, events: Iterable[Event]) -> None:
        if self.record is not None:
            events = list(events)
            self.record(events)
        for event in events:
            self.events_seen += 1
            self.processes.learn(event)
            if (sandbox := self._expected.get(event.sandbox)) is not None:
                self._judge(event, sandbox)
            elif event.sandbox not in self._ignored:
                self._hold(event)

    def expect(self, sandbox: Expectation) -> None:
        """From now on its events are judged by this; those that came before it, too."""
        if self.record is not None:
            self.record([sandbox])
        self._expected[sandbox.container_id] = sandbox
        for event in self._held.pop(sandbox.container_id, ()):
            self._judge(event, sandbox)

    def ignore(self, container_id: str) -> None:
        """By the settings it is not watched, whatever a sensor tells of it."""
        self._ignored.add(container_id)
        self._held.pop(container_id, None)

    def expected(self, container_id: str) -> Expectation | None:
        return self._expected.get(container_id)

    @property
    def held(self) -> int:
        """Events that wait for an expectation."""
        return sum(map(len, self._held.values()))

    def waiting(self) -> list[str]:
        """Containers that have sent events and are not expected yet."""
        return list(self._held)

    def forget(self, container_id: str) -> None:
        if self.record is not None:
            self.record([Forgotten(container_id=container_id)])
        self._expected.pop(container_id, None)
        self._ignored.discard(container_id)
        self.recent.forget(container_id)
        self.dropped += len(self._held.pop(container_id, ()))
        for detector in self.detectors:
            try:
                detector.forget(container_id)
            except (Exception, SystemExit) as error:
                self._detector_failed(detector, error)

    def _hold(self, event: Event) -> None:
        if event.sandbox not in self._held:
            self.on_hold()
        held = self._held[event.sandbox]
        self.dropped += len(held) == HELD
        held.append(event)

    def _judge(self, event: Event, sandbox: Expectation) -> None:
        self.recent.learn(event)
        if not (wanted := self._wanted(type(event))):
            return
        event = self.processes.described(event)
        for detector in wanted:
            try:
                self._ask(detector, event, sandbox)
            except (Exception, SystemExit) as error:  # its trouble is its own, and the others go on
                self._detector_failed(detector, error)

    def _wanted(self, kind: type[Event]) -> tuple[Detector, ...]:
        if kind not in self._by_kind:
            self._by_kind[kind] = tuple(d for d in self.detectors if issubclass(kind, d.events))
        return self._by_kind[kind]

    def _ask(self, detector: Detector, event: Event, sandbox: Expectation) -> None:
        found = list(islice(detector.detect(event, sandbox), FINDINGS))
        if not all(isinstance(one, Finding) for one in found):
            raise TypeError("detect: findings are expected")
        for finding in found:
            self._publish(finding, sandbox)

    def _detector_failed(self, detector: Detector, error: BaseException) -> None:
        """Counted each time; told the first time, and at each tenfold."""
        name = _name_of(detector)
        self.failures[name] += 1
        if is_power_of_ten(self.failures[name]):
            log.error("detector failed", detector=name, exc_info=error)
            self._failed(name, f"{type(error).__name__}: {error}")
