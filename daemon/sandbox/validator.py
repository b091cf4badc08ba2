"""SecurityValidator: every check on one subject, one report; equal subjects share it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import marshal
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import astuple

from daemon import tracing
from daemon.sandbox.checks import Check, Subject
from daemon.sandbox.checks.inventory import CHECKS
from daemon.sandbox.report import Control, SecurityReport, Threat
from daemon.sandbox.risk import assess

CACHED_REPORTS = 1024

Key = Hashable


class SecurityValidator:
    """The key of the cache is everything that can change the verdict, so an entry never goes stale."""

    def __init__(self, checks: tuple[Check, ...] = CHECKS) -> None:
        self._checks = checks
        self._reports: OrderedDict[Key, SecurityReport] = OrderedDict()
        self._running: dict[Key, asyncio.Future[SecurityReport]] = {}

    async def validate(self, subject: Subject) -> SecurityReport:
        """One run for all who ask for the same at the same time. A check that raises fails the request."""
        if subject.options.mounts:
            return await self._judge(subject)  # what a path leads to can change under the same name
        key = _key(subject)
        if (report := self._reports.get(key)) is not None:
            self._reports.move_to_end(key)
            return report
        if (running := self._running.get(key)) is not None:
            return await asyncio.shield(running)
        running = self._running[key] = asyncio.get_running_loop().create_future()
        try:
            report = await self._judge(subject)
            running.set_result(report)
        except BaseException:
            running.cancel()
            raise
        finally:
            del self._running[key]
        self._remember(key, report)
        return report

    async def _judge(self, subject: Subject) -> SecurityReport:
        async with asyncio.TaskGroup() as tasks:
            runs = [tasks.create_task(_run(check, subject)) for check in self._checks]
        verdicts = [verdict for run in runs for verdict in run.result()]
        threats = [verdict for verdict in verdicts if isinstance(verdict, Threat)]
        level, score = assess(threats)
        return SecurityReport(
            id=digest(subject),
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

    def _remember(self, key: Key, report: SecurityReport) -> None:
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


def _key(subject: Subject) -> Key:
    """All that `digest` is of, in the form that is had fastest: each launch waits for it."""
    request = subject.options.model_dump_json(), marshal.dumps(subject.body), subject.gate
    return request, subject.profile.digest, subject.image, subject.engine, subject.host


def digest(subject: Subject) -> str:
    facts = [subject.profile.digest, repr(astuple(subject.image)), repr(astuple(subject.engine))]
    host = [subject.host.apparmor, sorted(subject.host.apparmor_profiles), subject.host.unmitigated]
    gate = [repr(verdict) for verdict in subject.gate or ()]
    text = json.dumps(
        [subject.options.model_dump(mode="json"), subject.body, facts, host, subject.host.engine_tcp, gate],
        sort_keys=True,
    )
    return hashlib.sha256(text.encode()).hexdigest()
