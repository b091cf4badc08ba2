"""SecurityValidator: every check on one subject, one report; equal subjects share it."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import OrderedDict
from functools import lru_cache

from daemon import tracing
from daemon.sandbox.checks import Check, Subject
from daemon.sandbox.checks.inventory import CHECKS
from daemon.sandbox.facts import EngineFacts, HostFacts, ImageFacts
from daemon.sandbox.report import Control, SecurityReport, Threat
from daemon.sandbox.risk import assess

CACHED_REPORTS = 1024


class SecurityValidator:
    """The key of the cache is everything that can change the verdict, so an entry never goes stale."""

    def __init__(self, checks: tuple[Check, ...] = CHECKS) -> None:
        self._checks = checks
        self._reports: OrderedDict[str, SecurityReport] = OrderedDict()
        self._running: dict[str, asyncio.Future[SecurityReport]] = {}

    async def validate(self, subject: Subject) -> SecurityReport:
        """One run for all who ask for the same at the same time. A check that raises fails the request."""
        key = digest(subject)
        if subject.options.mounts:
            return await self._judge(key, subject)  # what a path leads to can change under the same name
        if (report := self._reports.get(key)) is not None:
            self._reports.move_to_end(key)
            return report
        if (running := self._running.get(key)) is not None:
            return await asyncio.shield(running)
        running = self._running[key] = asyncio.get_running_loop().create_future()
        try:
            report = await self._judge(key, subject)
            running.set_result(report)
        except BaseException:
            running.cancel()
            raise
        finally:
            del self._running[key]
        self._remember(key, report)
        return report

    async def _judge(self, key: str, subject: Subject) -> SecurityReport:
        async with asyncio.TaskGroup() as tasks:
            runs = [tasks.create_task(_run(check, subject)) for check in self._checks]
        verdicts = [verdict for run in runs for verdict in run.result()]
        threats = [verdict for verdict in verdicts if isinstance(verdict, Threat)]
        level, score = assess(threats)
        return SecurityReport(
            id=key,
            risk_level=level,
            score=score,
            blocked=level.blocks,
            threats=threats,
            active_controls=[verdict for verdict in verdicts if isinstance(verdict, Control)],
            profile=subject.profile.name,
            profile_digest=subject.profile.digest,
            image=subject.options.image,
            image_id=subject.image.id,
        )

    def _remember(self, key: str, report: SecurityReport) -> None:
        self._reports[key] = report
        if len(self._reports) > CACHED_REPORTS:
            self._reports.popitem(last=False)


async def _run(check: Check, subject: Subject) -> list[Threat | Control]:
    """Checks that look at the file system may block on it: those run in a thread, the others at once."""
    with tracing.span(f"sandbox.check {name_of(check)}"):
        if getattr(check, "blocking", False):
            return await asyncio.to_thread(lambda: list(check(subject)))
        return list(check(subject))


def name_of(check: Check) -> str:
    """Its module's, and its own where that module has several: mounts, engine.runc."""
    module = check.__module__.rpartition(".")[2]
    own = getattr(check, "__name__", type(check).__name__).removeprefix("check").strip("_")
    return f"{module}.{own}" if own else module


def digest(subject: Subject) -> str:
    """Each launch waits for it: what is the same for many of them is put into words once."""
    of_request = [subject.body, [repr(verdict) for verdict in subject.gate or ()]]
    parts = (
        subject.options.model_dump_json(),
        json.dumps(of_request, sort_keys=True),
        subject.profile.digest,
        _of_facts(subject.image, subject.engine, subject.host),
    )
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


@lru_cache(maxsize=256)
def _of_facts(image: ImageFacts, engine: EngineFacts, host: HostFacts) -> str:
    own = [host.apparmor, sorted(host.apparmor_profiles), host.unmitigated, host.engine_tcp]
    return repr((image, engine, own))
