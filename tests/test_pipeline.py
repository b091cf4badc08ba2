"""Every event is judged once, by what its sandbox may be; a broken detector stops nobody."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from daemon.events import Event, FileOpened, LimitReached, ProcessForked, SyscallEvent
from daemon.expectation import Expectation
from daemon.findings import Finding, Rule, finding
from daemon.pipeline import Pipeline
from detectors import Detector
from tests.events import CONTAINER, event, expectation, file
from tests.test_ledger import RULE


class Opens(Detector):
    rules: ClassVar[tuple[Rule, ...]] = (RULE,)
    events: ClassVar[tuple[type[Event], ...]] = (SyscallEvent,)
    syscalls: ClassVar[frozenset[str]] = frozenset({"bpf"})
    names: ClassVar[frozenset[str]] = frozenset({"shadow"})

    def detect(self, event: Event, sandbox: Expectation) -> Iterable[Finding]:
        yield finding(RULE, event, uid=sandbox.uid)


class Broken(Opens):
    def detect(self, event: Event, sandbox: Expectation) -> Iterable[Finding]:
        yield finding(RULE, event)
        raise RuntimeError("boom")


class Collected:
    def __init__(self, *detectors: Detector) -> None:
        self.found: list[tuple[Finding, Expectation]] = []
        self.failed: list[tuple[str, str]] = []
        self.pipeline = Pipeline(detectors, lambda *f: self.found.append(f), lambda *f: self.failed.append(f))


def opened(**fields: Any) -> FileOpened:
    return event(FileOpened, syscall="openat", file=file(), **fields)


def test_a_detector_gets_its_kinds_and_their_subclasses_alone() -> None:
    collected = Collected(Opens())
    collected.pipeline.expect(expectation(uid=7))
    collected.pipeline.feed([opened(), event(ProcessForked), event(LimitReached, kind="", limit=1, used=1)])
    assert [found.evidence for found, _ in collected.found] == [{"uid": 7}]
    assert collected.pipeline.events_seen == 3


def test_events_before_the_expectation_wait_for_it() -> None:
    collected = Collected(Opens())
    collected.pipeline.feed([opened(), opened()])
    assert collected.found == []
    assert collected.pipeline.waiting() == [CONTAINER]
    collected.pipeline.expect(expectation())
    assert len(collected.found) == 2
    assert collected.pipeline.waiting() == []


def test_what_waits_is_bounded_and_its_loss_is_counted() -> None:
    collected = Collected(Opens())
    collected.pipeline.feed(opened() for _ in range(10_003))
    assert collected.pipeline.dropped == 3
    collected.pipeline.forget(CONTAINER)
    assert collected.pipeline.dropped == 10_003


def test_a_broken_detector_is_told_and_the_others_go_on() -> None:
    collected = Collected(Broken(), Opens())
    collected.pipeline.expect(expectation())
    collected.pipeline.feed([opened()])
    assert len(collected.found) == 1
    assert collected.failed == [("tests.test_pipeline.Broken", "RuntimeError: boom")]
    assert collected.pipeline.failures == {"tests.test_pipeline.Broken": 1}


def test_the_host_needs_no_expectation() -> None:
    collected = Collected(Opens())
    collected.pipeline.feed([opened(sandbox="")])
    assert len(collected.found) == 1


def test_what_the_sensor_is_asked_for_is_the_union() -> None:
    pipeline = Collected(Opens(), Broken()).pipeline
    assert (pipeline.syscalls, pipeline.names) == ({"bpf"}, {"shadow"})
