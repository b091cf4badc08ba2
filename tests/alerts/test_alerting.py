"""From the log to a channel: failures, restarts, an end without another event, wrong settings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from daemon.alerts.alert import Notification
from daemon.alerts.alerts import Alerts, Line
from daemon.alerts.channels import ChannelKind, ChannelOptions
from daemon.alerts.channels.inventory import KINDS
from daemon.audit.log import AuditLog
from daemon.audit.record import EventType, SecurityAuditEvent
from daemon.errors import AuditError, ConfigError, ExportError
from daemon.findings import Severity
from tests.alerts.making import event, rule
from tests.exporters.running import record, until

JOURNAL = {"name": "c", "kind": "journald"}


class Pager:
    """A channel; the next `down` alerts fail, and those about a sandbox in `refused` always."""

    def __init__(self, _: ChannelOptions) -> None:
        self.told: list[Notification] = []
        self.down = 0
        self.refused: set[str] = set()

    async def tell(self, notification: Notification) -> None:
        if self.down:
            self.down -= 1
            raise ExportError("the line is dead")
        if notification.subject in self.refused:
            raise ExportError("a malformed alert", retryable=False)
        self.told.append(notification)

    async def close(self) -> None: ...

    @property
    def lines(self) -> list[tuple[str, str, int]]:
        return [(one.status, one.subject, one.count) for one in self.told]


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Case:
    def __init__(self, alerts: Alerts, audit: AuditLog) -> None:
        self.alerts, self.audit = alerts, audit
        self.clock = Clock()
        for line in alerts.lines:
            line.alerting._clock = self.clock
            line.delivery._backoff._most_s = 0.05

    def line(self, name: str = "c") -> Line:
        return next(line for line in self.alerts.lines if line.name == name)

    def pager(self, name: str = "c") -> Pager:
        pager = self.line(name).alerting._channel
        assert isinstance(pager, Pager)
        return pager

    async def step(self, *events: SecurityAuditEvent) -> None:
        await record(self.audit, events)
        for line in self.alerts.lines:
            await line.delivery.step()

    async def failures(self) -> list[dict[str, Any]]:
        events = await self.audit.read(0, 1000)
        return [one.details for one in events if one.event_type is EventType.EXPORTER_FAILED]


@pytest.fixture(autouse=True)
def pagers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, "pager", ChannelKind(ChannelOptions, Pager))


@asynccontextmanager
async def case(
    folder: Path, *rules: Any, channels: tuple[str, ...] = ("c",), **keys: Any
) -> AsyncIterator[Case]:
    audit = AuditLog(folder / "audit.jsonl")
    try:
        tables = [{"name": name, "kind": "pager", **keys} for name in channels]
        alerts = Alerts(rules or (rule(),), tables, Path("config.toml"), audit, folder, {"some-rule"})
        yield Case(alerts, audit)
    finally:
        audit.close()


async def test_a_new_channel_is_told_nothing_old(tmp_path: Path) -> None:
    audit = AuditLog(tmp_path / "audit.jsonl")
    await record(audit, [event(0, "s1")])
    audit.close()
    async with case(tmp_path) as one:
        await one.step(event(1, "s2"))
        assert one.pager().lines == [("firing", "s2", 1)]


async def test_a_failing_channel_is_told_once_and_gets_all_in_order_later(tmp_path: Path) -> None:
    async with case(tmp_path) as one:
        one.pager().down = 3
        await one.step(event(0, "s1"), event(0, "s2"))
        state = one.line().delivery.state
        assert (state.status, state.problem) == ("failing", "the line is dead")
        for _ in range(3):
            await one.step(event(1, "s1"))
        assert one.pager().lines == [("firing", "s1", 1), ("firing", "s2", 1)]
        assert state.problem == ""
        (alert, _) = one.line().alerting.alerts
        assert alert.count == 4  # a batch that comes again is not counted again
        assert await one.failures() == [{"alert_channel": "c", "kind": "pager", "reason": "the line is dead"}]


async def test_an_outage_that_cannot_be_recorded_is_an_outage_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(_: SecurityAuditEvent) -> SecurityAuditEvent:
        raise AuditError("no space left on device")

    async with case(tmp_path) as one:
        one.pager().down = 1
        await record(one.audit, [event(0, "s1")])
        monkeypatch.setattr(one.audit, "record", full)
        await one.step()
        assert one.line().delivery.state.problem == "the line is dead"
        await one.step()
        assert one.pager().lines == [("firing", "s1", 1)]


async def test_a_failing_channel_is_alerted_on_by_the_others_alone(tmp_path: Path) -> None:
    watch = rule(name="exports", event_types=["EXPORTER_FAILED"], channels=["c", "d"])
    async with case(tmp_path, rule(channels=["c"]), watch, channels=("c", "d")) as one:
        one.pager("c").down = 1
        await one.step(event(0))
        await one.step()
        await one.step()
        assert one.pager("c").lines == [("firing", "s1", 1)]
        assert one.pager("d").lines == [("firing", "", 1)]
        assert len(await one.failures()) == 1


async def test_what_a_channel_refuses_for_good_stops_no_other_alert(tmp_path: Path) -> None:
    async with case(tmp_path) as one:
        one.pager().refused = {"s1"}
        await one.step(event(0, "s1"), event(0, "s2"))
        assert one.pager().lines == [("firing", "s2", 1)]
        assert (one.line().alerting.refusals, one.line().delivery.state.problem) == (1, "")
        assert [failure["reason"] for failure in await one.failures()] == ["a malformed alert"]


async def test_it_is_resolved_though_no_event_comes(tmp_path: Path) -> None:
    async with case(tmp_path, rule(quiet_s=0.2)) as one, asyncio.TaskGroup() as tasks:
        one.line().alerting._clock = asyncio.get_running_loop().time
        running = tasks.create_task(one.alerts.run())
        await record(one.audit, [event(0)])
        await until(lambda: len(one.pager().told) == 1)
        one.pager().down = 2
        await until(lambda: len(one.pager().told) == 2)
        assert one.pager().lines == [("firing", "s1", 1), ("resolved", "s1", 1)]
        await until(lambda: one.line().delivery.state.problem == "")
        assert one.line().alerting.due_s() is None
        running.cancel()
    assert one.line().delivery.state.errors == 2


async def test_a_restart_forgets_no_alert_and_tells_none_twice(tmp_path: Path) -> None:
    async with case(tmp_path, most=2) as one:
        await one.step(*(event(0, f"s{n}") for n in range(5)))
        assert len(one.pager().told) == 2
    async with case(tmp_path) as one:
        await one.step(event(1, "s0"))
        assert one.pager().told == []
        assert {alert.subject: alert.count for alert in one.line().alerting.alerts}["s0"] == 2
        one.clock.now_s = 1e6
        await one.step()
        assert sorted(one.pager().lines) == [("resolved", "s0", 2), ("resolved", "s1", 1)]
        assert sum(told.suppressed for told in one.pager().told) == 3


@pytest.mark.parametrize("orderly", [True, False])
async def test_an_end_before_the_channel_had_it_loses_nothing(orderly: bool, tmp_path: Path) -> None:
    async with case(tmp_path) as one:
        await one.step()
        one.pager().down = 9
        await one.step(event(0, "s1"))
        if orderly:
            await one.line().alerting.close()
    async with case(tmp_path) as one:
        await one.step()
        assert one.pager().lines == [("firing", "s1", 1)]


async def test_alerts_of_a_rule_that_is_gone_are_at_an_end(tmp_path: Path) -> None:
    async with case(tmp_path, rule(name="old"), rule(name="new", minimum_severity="critical")) as one:
        await one.step(event(0))
    async with case(tmp_path, rule(name="new", minimum_severity="critical")) as one:
        await one.step()
        assert [(told.alert, told.status) for told in one.pager().told] == [("old", "resolved")]
    async with case(tmp_path, rule(name="new", minimum_severity="critical")) as one:
        await one.step()
        assert one.pager().told == []


async def test_an_orderly_end_keeps_the_counts(tmp_path: Path) -> None:
    async with case(tmp_path) as one:
        await one.step(event(0))
        await one.step(event(1), event(2))
        await one.line().alerting.close()
    async with case(tmp_path) as one:
        assert [alert.count for alert in one.line().alerting.alerts] == [3]


async def test_another_log_is_read_from_its_start_on(tmp_path: Path) -> None:
    async with case(tmp_path) as one:
        await one.step(*(event(0) for _ in range(5)))
    (tmp_path / "audit.jsonl").unlink()
    async with case(tmp_path) as one:
        await one.step(event(0, "s2"))
        assert one.pager().lines == [("firing", "s2", 1)]


async def test_a_spoiled_memory_keeps_nobody_from_being_told(tmp_path: Path) -> None:
    async with case(tmp_path) as one:
        await one.step(event(0))
    (tmp_path / "alerts/c/alerts.json").write_text("{")
    async with case(tmp_path) as one:
        await one.step(event(1, "s2"))
        assert one.pager().lines == [("firing", "s2", 1)]


async def test_a_worse_event_of_a_flood_is_told(tmp_path: Path) -> None:
    async with case(tmp_path, most=3) as one:
        flood = [event(0, f"s{n}") for n in range(300)]
        await one.step(*flood, event(0, "bad", Severity.CRITICAL))
        await one.step()
        assert one.pager().lines[-1] == ("firing", "bad", 1)
        assert one.pager().told[-1].suppressed == 297


@pytest.mark.parametrize(
    ("rules", "tables", "message"),
    [
        ([rule(), rule()], [JOURNAL], r"config.toml: alerts.1 \(a\): name: another rule has it"),
        ([rule(rule_ids=["x"])], [JOURNAL], r"alerts.0 \(a\): rule_ids: 'x' is of no detector"),
        ([rule()], [], r"alerts.0 \(a\): channels: c is no channel of alert_channels: none"),
        ([rule(channels=["c", "d"])], [JOURNAL], "channels: d is no channel of alert_channels: c"),
        ([rule()], [JOURNAL, JOURNAL], r"alert_channels.1 \(c\): name: another channel has it"),
        ([rule()], [JOURNAL, JOURNAL | {"name": "d"}], r"alert_channels.1 \(d\): no rule of alerts names it"),
        ([rule()], [{"name": "c", "kind": "fax"}], "kind: one of alertmanager, command, journald"),
        ([rule()], [JOURNAL | {"colour": 1}], r"\(c\): colour: Extra inputs"),
        ([rule()], [JOURNAL | {"format": "cef"}], r"\(c\): format: Extra inputs"),
        ([rule()], [JOURNAL | {"most": 0}], r"\(c\): most: "),
        ([rule()], [JOURNAL | {"name": "../c"}], r": name: "),
        ([rule()], [{"name": "c", "kind": "webhook", "url": "http://u:hunter2@h/"}], "no user or password"),
        (
            [rule()],
            [{"name": "c", "kind": "webhook", "url": "http://h/", "bearer_token": "file:/x"}],
            "a secret would go over the net in clear",
        ),
        ([rule()], [{"name": "c", "kind": "command", "argv": ["ls"]}], "argv: 'ls' is no absolute path"),
        ([rule()], [{"name": "c", "kind": "command", "argv": []}], "argv: List should have at least 1"),
        ([rule()], [{"name": "c", "kind": "command", "argv": ["/bin/x\0"]}], "argv.0: String should match"),
    ],
)
async def test_a_wrong_setting_is_told_by_file_table_and_key(
    rules: list[Any], tables: list[dict[str, Any]], message: str, tmp_path: Path
) -> None:
    audit = AuditLog(tmp_path / "log")
    with pytest.raises(ConfigError, match=message) as raised:
        Alerts(rules, tables, Path("config.toml"), audit, tmp_path, {"some-rule"})
    assert "hunter2" not in str(raised.value)
    audit.close()
