"""The watching half, put together: sensors -> pipeline -> ledger and response."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import structlog

from daemon.audit.record import EventType, SecurityAuditEvent
from daemon.audit.segments import segments
from daemon.confinement import Confinement
from daemon.errors import AuditError, ConfigError, SensorError
from daemon.events import Enrolled, Tier
from daemon.expectation import Expectation
from daemon.findings import Severity
from daemon.forensics.collecting import Forensics
from daemon.forensics.store import EvidenceStore
from daemon.ledger import Ledger
from daemon.pipeline import Pipeline, built_in, plug_ins
from daemon.recording import Recording
from daemon.response import Action, Responder
from daemon.sandbox.executor import Executor
from daemon.sensing import Sensing
from daemon.sensors.guard import Deny, check
from daemon.sensors.watches import Watch as WatchedFile
from daemon.sensors.watches import canary, own_files, persistence_files, segment
from daemon.settings import Settings, settings_file
from daemon.watching import Mode, Watch

READY_DEADLINE_S = 60.0

log = structlog.get_logger()


class Guard:
    def __init__(self, settings: Settings, executor: Executor, ledger: Ledger) -> None:
        self._executor = executor
        self._failed: asyncio.Queue[tuple[str, str]] = asyncio.Queue(1000)
        self.responder = Responder(
            executor,
            ledger,
            executor.audit,
            self._expected,
            unmanaged=Action(settings.unmanaged_response),
        )
        not_loaded: list[tuple[str, str]] = []
        others = plug_ins(lambda *told: not_loaded.append(told))
        self.pipeline = Pipeline([*built_in(), *others], self.responder.publish, self._detector_failed)
        for name, reason in not_loaded:
            self.pipeline.failures[name] += 1
            self._detector_failed(name, reason)
        self.sensing = Sensing(self.pipeline, watched_files(settings, executor), executor.host.engine_facts)
        mode = Mode(settings.watch)
        self.sensing.watch_all = mode is not Mode.MANAGED
        self.sensing.guarded = _guarded(settings)
        self.confinement = Confinement(self.sensing, self.pipeline, settings.dns_servers)
        self.sensing.on_fed = executor.stillness.may_be_over
        self.sensing.on_enrolled = self._enrolled
        self.responder.sensing = self.sensing
        self.recording = _recording(settings)
        if self.recording is not None:
            self.pipeline.record = self.recording.write
        self.forensics = self._make_forensics(settings, ledger)
        self.responder.forensics = self.forensics
        self.watch = Watch(executor.engine, self.pipeline, self.sensing, ledger, self.confinement, mode)
        self.watch.on_ending = self.forensics.settled
        self.sensing.on_executed = self.watch.executed
        executor.watcher = self.watch
        executor.audit.on_segment = lambda path: self.sensing.watch_file(segment(path))

    def _make_forensics(self, settings: Settings, ledger: Ledger) -> Forensics:
        executor = self._executor
        folder = settings.state_dir / "forensics"
        store = EvidenceStore(folder, settings.retained_forensics, settings.forensics_size)
        return Forensics(store, executor.engine, executor.registry, self.pipeline, ledger, executor.audit)

    def _enrolled(self, event: Enrolled) -> None:
        self.responder.enrolled(event)
        self.confinement.enrolled(event)

    def _expected(self, container_id: str) -> Expectation | None:
        return self.pipeline.expected(container_id)

    async def run(self) -> None:
        """Until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.sensing.run())
                tasks.create_task(self.watch.run())
                tasks.create_task(self.confinement.resolver.run())
                tasks.create_task(self.responder.run())
                tasks.create_task(self.forensics.run())
                tasks.create_task(self._tell_failures())
        finally:
            if self.recording is not None:
                self.recording.close()

    async def ready(self) -> None:
        """What is launched from now on is seen from its first instruction, by the best that this host has."""
        with suppress(TimeoutError):
            async with asyncio.timeout(READY_DEADLINE_S):
                await self.sensing.ready.wait()
        if self.sensing.tier in {None, Tier.PROCFS}:
            log.error("no sensor sees processes on this host: only limits and host files are watched")

    def _detector_failed(self, detector: str, reason: str) -> None:
        if not self._failed.full():  # the pipeline counts every one
            self._failed.put_nowait((detector, reason))

    async def _tell_failures(self) -> None:
        while True:
            detector, reason = await self._failed.get()
            event = SecurityAuditEvent(
                session_id="daemon",
                event_type=EventType.DETECTOR_FAILED,
                severity=Severity.HIGH,
                action="recorded",
                details={
                    "detector": detector,
                    "reason": reason[:1000],
                    "failures": self.pipeline.failures[detector],
                },
            )
            try:
                await self._executor.audit.record(event)
            except AuditError:
                log.exception("a detector's failure was not audited", detector=detector)


def _recording(settings: Settings) -> Recording | None:
    """Raises ConfigError."""
    if settings.recordings == 0:
        return None
    return Recording(settings.recording_dir, settings.recordings, settings.recording_size)


def _guarded(settings: Settings) -> dict[Path, Deny]:
    """Raises ConfigError for one that cannot be."""
    found = dict.fromkeys(settings.guarded_files, Deny.CONTAINERS)
    found |= dict.fromkeys(settings.canaries, Deny.EVERYONE)
    if relative := [path for path in found if not path.is_absolute()]:
        raise ConfigError(f"canaries, guarded_files: {relative[0]}: write an absolute path")
    if not found:
        return {}
    try:
        check(found)
    except SensorError as error:
        raise ConfigError(f"canaries, guarded_files: {error}") from error
    return found


def watched_files(settings: Settings, executor: Executor) -> Iterable[WatchedFile]:
    config = settings_file()
    yield from own_files(
        config=config,
        profile_dirs=settings.profile_dirs,
        audit_log=[segment.path for segment in segments(executor.audit.path)],
        socket=settings.socket,
        engine_socket=settings.engine_socket.resolve(),
    )
    yield from persistence_files()
    yield from map(canary, settings.canaries)
