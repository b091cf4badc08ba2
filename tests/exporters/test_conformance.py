"""What every exporter promises its caller, asked of each kind in front of a receiver.

A batch arrives whole and in order, with each event's id; what is not taken is an ExportError that says why;
and an exporter that failed, or that was given up on, serves again as soon as its receiver does.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from daemon.audit.record import SecurityAuditEvent
from daemon.errors import ExportError
from exporters import Exporter, syslog
from exporters.inventory import KINDS
from tests.exporters.running import event, made
from tests.exporters.subjects import SUBJECTS, Receivers, Subject

KEEPS_ONCE = {"elastic", "nats", "alertmanager"}
NEEDS = {"journald": pytest.mark.root}
RULES = itertools.count()
UNORDERED = {"alertmanager"}
"""It lists by its labels."""


@pytest.fixture(scope="module")
def receivers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receivers]:
    started = Receivers(tmp_path_factory.mktemp("receivers"))
    yield started
    started.end()


@pytest.fixture
async def subject(
    request: pytest.FixtureRequest, receivers: Receivers, tmp_path: Path
) -> AsyncIterator[Subject]:
    async with SUBJECTS[request.param](receivers, tmp_path) as found:
        yield found


@pytest.fixture
async def exporter(
    request: pytest.FixtureRequest, subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Exporter]:
    kind = request.node.callspec.params["subject"].split()[0]
    monkeypatch.setattr(syslog, "CLOSED_SOON_S", 0.02)  # nobody is turned away here
    async with made(kind, subject.port, tmp_path, **subject.options) as found:
        yield found


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return str(request.node.callspec.params["subject"])


every_kind = pytest.mark.parametrize(
    "subject", [pytest.param(one, marks=NEEDS.get(one, ())) for one in SUBJECTS], indirect=True
)


def batch(count: int = 20) -> list[SecurityAuditEvent]:
    """Each of a rule of its own: Alertmanager shows one alert of those that have the same labels."""
    return [event(number, rule_id=f"rule-{next(RULES)}") for number in range(count)]


async def arrived(subject: Subject, sent: list[SecurityAuditEvent]) -> list[str]:
    """Those ids of `sent` that the receiver has, once it has all of them."""
    wanted = {one.id for one in sent}
    async with asyncio.timeout(60):
        while not wanted <= set(found := await subject.received()):
            await asyncio.sleep(0.05)
    return [key for key in found if key in wanted]


def test_no_kind_is_left_out() -> None:
    assert {name.split()[0] for name in SUBJECTS} == {*KINDS, "memo"}


@every_kind
async def test_a_batch_arrives_in_its_order(name: str, subject: Subject, exporter: Exporter) -> None:
    sent = batch()
    await exporter.export(sent)
    found, expected = await arrived(subject, sent), [one.id for one in sent]
    assert sorted(found) == sorted(expected)
    assert found == expected or name in UNORDERED


@every_kind
async def test_what_comes_twice_has_the_same_key(name: str, subject: Subject, exporter: Exporter) -> None:
    """The answer to the first may have been lost."""
    sent, last = batch(), batch(1)
    for one in (sent, sent, last):
        await exporter.export(one)
    await arrived(subject, last)
    assert len(await arrived(subject, sent)) == len(sent) * (1 if name in KEEPS_ONCE else 2)


@every_kind
async def test_without_its_receiver_a_batch_is_not_taken(subject: Subject, exporter: Exporter) -> None:
    before, meanwhile, after = batch(), batch(), batch()
    await exporter.export(before)
    await arrived(subject, before)
    await subject.go()
    for _ in range(2):
        with pytest.raises(ExportError, match=r".{10}") as raised:
            await exporter.export(meanwhile)
        assert raised.value.retryable
    await subject.come_back()
    for one in (meanwhile, after):
        await exporter.export(one)
    assert len(set(await arrived(subject, [*meanwhile, *after]))) == 40


@every_kind
async def test_who_is_given_up_on_serves_again(subject: Subject, exporter: Exporter) -> None:
    """A batch has a deadline; the export that it ends must leave nothing behind that spoils the next."""
    held, after = batch(), batch()
    subject.hold()
    with suppress(TimeoutError):
        async with asyncio.timeout(0.1):
            await exporter.export(held)
    subject.release()
    for one in (held, after):
        await exporter.export(one)
    assert len(set(await arrived(subject, [*held, *after]))) == 40


@every_kind
async def test_it_can_be_closed_at_any_time(subject: Subject, exporter: Exporter) -> None:
    sent = batch()
    await exporter.close()
    await exporter.export(sent)
    await exporter.close()
    await exporter.close()
    await arrived(subject, sent)
