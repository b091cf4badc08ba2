"""The daemon, put together: what lives how long, and in which order it starts and stops."""

from __future__ import annotations

import asyncio
import gc
import grp
import os
import signal
import socket
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import structlog
from aiohttp import web
from pydantic import ValidationError

from daemon import PROFILES, systemd
from daemon.alerts.alerts import Alerts
from daemon.api.access import Access
from daemon.api.server import application
from daemon.audit.key import SigningKey, signing_key
from daemon.audit.log import AuditLog
from daemon.audit.record import EventType, SecurityAuditEvent
from daemon.audit.retention import Limits, Retention
from daemon.delivery.deliveries import Deliveries
from daemon.delivery.delivery import Delivery
from daemon.errors import AuditError, ConfigError, EngineError
from daemon.findings import Severity
from daemon.guard import Guard
from daemon.images.changes import follow
from daemon.images.credentials import Credentials
from daemon.images.examination import AGE_IS_JUDGED_LATER, Examination
from daemon.images.gate import Gate
from daemon.images.keyless import Keyless
from daemon.images.policy import load_policy
from daemon.images.prewarm import keep_warm
from daemon.images.registry import RegistryClient
from daemon.images.scanners.choice import check, chosen
from daemon.images.signatures import Signatures
from daemon.ledger import Ledger, boot_clock
from daemon.metrics import Metrics
from daemon.sandbox import init
from daemon.sandbox.ending import end_all
from daemon.sandbox.engine import Engine
from daemon.sandbox.executor import Executor, instance
from daemon.sandbox.host import HostState
from daemon.sandbox.kind import Wanted
from daemon.sandbox.leftovers import remove_last, remove_leftovers
from daemon.sandbox.options import SandboxOptions
from daemon.sandbox.profile import Profiles
from daemon.sandbox.recovery import recover
from daemon.sandbox.repeats import Repeats
from daemon.sandbox.sandbox import Registry
from daemon.settings import Settings, SpareSettings, settings_file
from daemon.telemetry.telemetry import Telemetry
from daemon.ticks import tick
from exporters import secret

CHECKPOINT_INTERVAL_S = 1.0
LAST_REMOVALS_S = 5.0

log = structlog.get_logger()


async def serve(settings: Settings) -> None:
    """Until SIGTERM or SIGINT. Raises ConfigError or AuditError when it cannot start."""
    if not init.BINARY.is_file():
        raise ConfigError(
            f"{init.BINARY}: the sandbox's init is not built: run python -m daemon.sandbox.init"
        )
    async with AsyncExitStack() as cleanup:
        profiles = Profiles(settings.profile_dirs)
        policy = load_policy([PROFILES, *settings.profile_dirs])
        listener = _listen(settings, cleanup)
        key = signing_key(settings.state_dir / "audit")
        audit = AuditLog(
            settings.state_dir / "audit" / "audit.jsonl",
            settings.audit_segment_size,
            settings.audit_reserve_size,
        )
        cleanup.callback(audit.close)
        engine = Engine(settings.engine_socket)
        cleanup.push_async_callback(engine.close)
        registry = Registry(settings.retained_sandboxes)
        telemetry = Telemetry(settings.telemetry, instance(audit.path))
        metrics = Metrics(registry, telemetry.readers, telemetry.resource)
        cleanup.callback(metrics.close)
        cleanup.push_async_callback(telemetry.close)
        audit.on_record, audit.on_commit = metrics.count, metrics.committed
        scanner = chosen(settings.images.scanner, settings.state_dir, AGE_IS_JUDGED_LATER)
        await check(scanner)
        examination = Examination(settings.engine_socket, settings.state_dir / "images", scanner)
        examination.clean()
        credentials = Credentials(settings.images.registries, secret.read)
        credentials.check()
        images = RegistryClient(credentials=credentials)
        cleanup.push_async_callback(images.close)
        root = policy.sigstore.trusted_root
        gate = Gate(policy, examination, Signatures(images, Keyless(root) if root else None))
        executor = Executor(engine, HostState(engine), profiles, gate, audit, registry, credentials)
        executor.pool.wanted = [_wanted(number, spares) for number, spares in enumerate(settings.spares)]
        executor.pool.repeats = Repeats(settings.spares_of_repeats)
        ledger = Ledger(boot_clock(time.time_ns(), time.monotonic_ns()))
        _on_audit_failure(settings, executor)
        guard = Guard(settings, executor, ledger)
        deliveries = Deliveries(settings.exporters, settings_file(), audit, settings.state_dir)
        alerts = _alerts(settings, audit, guard)
        metrics.observe(deliveries.all)
        metrics.observe_alerts(alerts.lines)
        metrics.watch(guard)
        metrics.tell_of(telemetry)
        executor.on_ended = metrics.ended
        access = Access(settings.callers, registry)
        app = application(executor, access, audit, ledger, metrics, guard, deliveries.all, alerts)
        await _run(settings, executor, guard, deliveries, alerts, telemetry, app, listener, key)


def _wanted(number: int, spares: SpareSettings) -> Wanted:
    """Raises ConfigError."""
    asked = {"image": spares.image, "profile": spares.profile, "limits": spares.limits, "command": ["true"]}
    try:
        return Wanted(SandboxOptions.model_validate(asked), spares.count)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{settings_file()}: spares.{number}.{key}: {first['msg']}") from error


def _alerts(settings: Settings, audit: AuditLog, guard: Guard) -> Alerts:
    rule_ids = {rule.id for detector in guard.pipeline.detectors for rule in detector.rules}
    return Alerts(
        settings.alerts, settings.alert_channels, settings_file(), audit, settings.state_dir, rule_ids
    )


def _on_audit_failure(settings: Settings, executor: Executor) -> None:
    def tell(error: AuditError) -> None:
        log.error("not audited", reason=str(error), then=settings.on_audit_failure)
        if settings.on_audit_failure == "kill_all":
            for sandbox in executor.registry.running():
                executor.kill_now(sandbox, "container killed: the audit log cannot be written")

    executor.audit.tolerant = settings.on_audit_failure == "continue"
    executor.audit.on_failure = tell


async def _run(
    settings: Settings,
    executor: Executor,
    guard: Guard,
    deliveries: Deliveries,
    alerts: Alerts,
    telemetry: Telemetry,
    app: web.Application,
    listener: socket.socket,
    key: SigningKey,
) -> None:
    stop = _stop_signal()
    async with asyncio.TaskGroup() as tasks:
        executor.tasks = executor.host.tasks = tasks
        watching = tasks.create_task(guard.run())
        delivering = tasks.create_task(deliveries.run())
        alerting = tasks.create_task(alerts.run())
        measuring = tasks.create_task(telemetry.run())
        following = tasks.create_task(follow(executor.engine, executor.host, executor.gate.examination))
        await guard.ready()
        await _recover(executor)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        await web.SockSite(runner, listener).start()
        await _tell_recovery(executor.audit)
        await _record(executor, EventType.DAEMON_STARTED)
        sealing = tasks.create_task(_seal(executor.audit, key))
        sweeping = tasks.create_task(remove_leftovers(executor))
        readers = [*deliveries.all, *(line.delivery for line in alerts.lines)]
        retaining = tasks.create_task(_retention(settings, executor.audit, key, readers, guard).run())
        sparing = tasks.create_task(executor.pool.run(executor.watcher))
        warming = tasks.create_task(keep_warm(executor.check_image, executor.gate.prewarmed()))
        watchdog = tasks.create_task(systemd.watchdog(lambda: None))
        gc.collect()
        gc.freeze()  # what is there now stays: no collection in the midst of a launch walks through it again
        systemd.ready()
        log.info("listening", socket=str(settings.socket))
        await stop.wait()
        systemd.stopping()
        await end_all(executor)
        await runner.cleanup()
        watchdog.cancel()
        sweeping.cancel()
        sparing.cancel()
        warming.cancel()
        watching.cancel()
        delivering.cancel()
        alerting.cancel()
        measuring.cancel()
        sealing.cancel()
        retaining.cancel()
        following.cancel()
    await _remove_last(executor)
    await _record(executor, EventType.DAEMON_STOPPED)
    await executor.audit.checkpoint(key)


async def _seal(audit: AuditLog, key: SigningKey) -> None:
    """Until cancelled: every second a checkpoint, while there are events."""
    while True:
        await audit.unsealed()
        await tick(CHECKPOINT_INTERVAL_S)
        with suppress(AuditError):  # whoever recorded the events was told
            await audit.checkpoint(key)


def _retention(
    settings: Settings, audit: AuditLog, key: SigningKey, readers: Sequence[Delivery], guard: Guard
) -> Retention:
    limits = Limits(
        settings.audit_keep_size,
        settings.audit_keep_days,
        settings.audit_limit_size,
        settings.audit_limit_days,
    )

    def read_up_to() -> int:
        return min((one.read_up_to for one in readers), default=audit.newest)

    retention = Retention(audit, key, limits, read_up_to)
    retention.on_delete = guard.sensing.unwatch_file  # else it would be told as tampering
    return retention


async def _tell_recovery(audit: AuditLog) -> None:
    if audit.torn_bytes:
        details = {
            "cut_bytes": audit.torn_bytes,
            "reason": "a crash had left part of a line; nobody relied on it",
        }
        await audit.record(
            SecurityAuditEvent(
                session_id="daemon",
                event_type=EventType.AUDIT_RECOVERED,
                severity=Severity.MEDIUM,
                action="recorded",
                details=details,
            )
        )


async def _recover(executor: Executor) -> None:
    try:
        await recover(executor)
    except EngineError as error:
        log.warning("engine not available yet", reason=str(error))


async def _remove_last(executor: Executor) -> None:
    try:
        async with asyncio.timeout(LAST_REMOVALS_S):
            await remove_last(executor)
    except (EngineError, AuditError, TimeoutError) as error:
        reason = str(error) or f"the engine took longer than {LAST_REMOVALS_S:g} s"
        log.warning("a container may be left until the next start", reason=reason)


async def _record(executor: Executor, event_type: EventType) -> None:
    await executor.audit.record(
        SecurityAuditEvent(
            session_id="daemon", event_type=event_type, severity=Severity.LOW, action="recorded"
        )
    )


def _stop_signal() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def _listen(settings: Settings, cleanup: AsyncExitStack) -> socket.socket:
    """The socket that systemd passed, or one of our own. Raises ConfigError if another daemon has it.

    Only our own is removed at the end: behind a passed one its unit goes on listening.
    """
    if passed := systemd.listen_sockets():
        return cleanup.enter_context(passed[0])
    path = settings.socket
    if _answers(path):
        raise ConfigError(
            f"{path}: another daemon listens there: stop it, or set CONTAINER_KIT_SOCKET to another path"
        )
    _unlink(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        previous = os.umask(0o117)
        try:
            listener.bind(str(path))
        finally:
            os.umask(previous)
        cleanup.callback(_unlink, path)
        cleanup.enter_context(listener)
        with suppress(KeyError):  # no such group: root alone can connect
            os.chown(path, 0, grp.getgrnam(settings.socket_group).gr_gid)
    except OSError as error:
        listener.close()
        raise ConfigError(f"{path}: cannot listen: {error.strerror}") from error
    listener.listen(1024)
    listener.setblocking(False)
    return listener


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def _unlink(path: Path) -> None:
    if path.is_socket():
        path.unlink()
