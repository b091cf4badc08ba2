"""The way through the log: at least once, in order, from where it was; what is refused is set aside."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from daemon.audit.key import signing_key
from daemon.audit.log import AuditLog
from daemon.audit.record import EventType, SecurityAuditEvent
from daemon.audit.retention import Limits, Retention
from daemon.audit.segments import segments
from daemon.delivery.backoff import Backoff
from daemon.delivery.cursor import Cursor
from daemon.delivery.dead_letters import DeadLetters
from daemon.delivery.deliveries import Deliveries
from daemon.delivery.delivery import Delivery
from daemon.errors import AuditError, ConfigError, ExportError
from daemon.findings import Severity
from exporters import Options
from exporters.file import File
from exporters.formats import Emitter
from exporters.formats.inventory import FORMATS
from exporters.loki import Loki
from exporters.webhook import Hook
from tests.exporters.running import delivering, event, record, table, until

KAFKA = {"name": "a", "kind": "kafka", "servers": ["h:9092"], "topic": "t"}


class Receiver:
    """Takes all but the numbers in `refused`; the next `down` batches fail."""

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []
        self.down: int = 0
        self.refused: set[int] = set()
        self.error: Exception = ExportError("down")

    async def export(self, batch: Sequence[SecurityAuditEvent]) -> None:
        if self.down:
            self.down -= 1
            raise self.error
        numbers = [e.details.get("number") for e in batch]
        if self.refused & set(numbers):
            raise ExportError("a field of the wrong type", retryable=False)
        self.batches.append(numbers)

    async def close(self) -> None: ...

    @property
    def numbers(self) -> list[Any]:
        return [number for batch in self.batches for number in batch]


class Case:
    """A log, a receiver and the delivery between them, driven step by step."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder = folder
        self.audit = AuditLog(folder / "log")
        self.receiver = Receiver()
        self.options = Options(name="a", kind="test", **options)
        self.told: list[str] = []
        self.waits: list[float] = []
        self.delivery = self.begin()

    def begin(self) -> Delivery:
        backoff = Backoff(1.0, 60.0, share=lambda: 1.0)
        folder = self.folder / "a"
        return Delivery(self.receiver, self.options, self.audit, folder, self._tell, backoff, self._sleep)

    async def _tell(self, _: Delivery, reason: str) -> None:
        self.told.append(reason)
        await self.audit.record(
            event().model_copy(update={"event_type": EventType.EXPORTER_FAILED, "details": {}})
        )

    async def _sleep(self, wait_s: float) -> None:
        self.waits.append(wait_s)

    async def steps(self, count: int) -> None:
        for _ in range(count):
            await self.delivery.step()

    def dead(self) -> list[Any]:
        return [json.loads(line) for line in (self.folder / "a/dead-letters.jsonl").read_text().splitlines()]


async def test_all_events_in_their_order_and_in_bounded_batches(tmp_path: Path) -> None:
    case = Case(tmp_path, batch_events=10)
    await record(case.audit, [event(n) for n in range(25)])
    await case.steps(3)
    assert [len(batch) for batch in case.receiver.batches] == [10, 10, 5]
    assert case.receiver.numbers == list(range(25))
    assert case.delivery.lag_events == 0
    case.audit.close()


async def test_a_batch_is_bounded_by_its_bytes_but_one_event_always_goes(tmp_path: Path) -> None:
    case = Case(tmp_path, batch_bytes=4096)
    await record(case.audit, [event(n, text="x" * 1500) for n in range(4)] + [event(4, text="x" * 9000)])
    await case.steps(3)
    assert case.receiver.batches == [[0, 1], [2, 3], [4]]
    case.audit.close()


async def test_memory_is_bounded_by_the_bytes_of_a_batch_whatever_its_events(tmp_path: Path) -> None:
    """A sandbox decides how large they are."""
    case = Case(tmp_path, batch_events=5000, batch_bytes=1 << 18)
    await record(case.audit, [event(n, text="x" * 60_000) for n in range(200)])
    tracemalloc.start()
    await case.steps(1)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert case.receiver.batches == [[0, 1, 2, 3]]
    assert peak_bytes < 2 << 20
    await case.steps(49)
    assert case.receiver.numbers == list(range(200))
    case.audit.close()


async def test_another_start_goes_on_where_the_receiver_is(tmp_path: Path) -> None:
    case = Case(tmp_path, batch_events=10)
    await record(case.audit, [event(n) for n in range(20)])
    await case.steps(1)
    case.delivery = case.begin()
    await case.steps(1)
    assert case.receiver.numbers == list(range(20))
    case.audit.close()


async def test_what_was_not_acknowledged_comes_again_after_waits_that_double(tmp_path: Path) -> None:
    case = Case(tmp_path)
    await record(case.audit, [event(0)])
    case.receiver.down = 8
    await case.steps(9)
    assert case.receiver.numbers[0] == 0
    assert case.waits == [1, 2, 4, 8, 16, 32, 60, 60]
    case.receiver.down = 1
    await record(case.audit, [event(1)])
    await case.steps(2)
    assert case.waits[-1] == 1  # it had recovered in between
    case.audit.close()


def test_waits_are_spread() -> None:
    assert Backoff(1.0, 60.0, share=lambda: 0.0).next_s() == 0.5
    assert len({Backoff().next_s() for _ in range(20)}) > 10


async def test_an_outage_is_told_once_and_does_not_feed_itself(tmp_path: Path) -> None:
    case = Case(tmp_path)
    await record(case.audit, [event(0)])
    case.receiver.down = 3
    await case.steps(4)
    assert case.told == ["down"]
    assert case.delivery.state.errors == 3
    await case.steps(1)  # the news of the outage itself
    case.receiver.down = 1
    await case.audit.record(event().model_copy(update={"event_type": EventType.EXPORTER_FAILED}))
    await case.steps(2)
    assert case.told == ["down"]
    assert case.delivery.state.problem == ""
    case.audit.close()


@pytest.mark.parametrize("error", [OSError("no route"), RuntimeError("a bug"), TimeoutError()])
async def test_whatever_a_plug_in_raises_is_an_outage(error: Exception, tmp_path: Path) -> None:
    case = Case(tmp_path)
    case.receiver.down, case.receiver.error = 1, error
    await record(case.audit, [event(0)])
    await case.steps(2)
    assert case.receiver.numbers[0] == 0
    assert case.told == [str(error) or "TimeoutError"]
    case.audit.close()


async def test_what_is_refused_is_found_and_set_aside(tmp_path: Path) -> None:
    case = Case(tmp_path)
    case.receiver.refused = {3, 7}
    await record(case.audit, [event(n) for n in range(10)])
    await case.steps(1)
    assert case.receiver.numbers == [n for n in range(10) if n not in {3, 7}]
    assert [note["event"]["details"]["number"] for note in case.dead()] == [3, 7]
    assert {note["reason"] for note in case.dead()} == {"a field of the wrong type"}
    assert (case.delivery.state.refused, case.delivery.state.delivered, case.told) == (2, 8, [])
    case.audit.close()


def test_dead_letters_take_bounded_space(tmp_path: Path) -> None:
    dead = DeadLetters(tmp_path / "dead.jsonl", limit_bytes=4096)
    for number in range(100):
        dead.add(event(number), "no")
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 2 * 4096
    assert json.loads(dead.path.read_text().splitlines()[-1])["event"]["details"]["number"] == 99


async def test_only_what_is_wanted_goes_and_the_rest_is_passed_over(tmp_path: Path) -> None:
    case = Case(tmp_path, minimum_severity="high", event_types=[EventType.SECURITY_VIOLATION], batch_events=2)
    low = event(1).model_copy(update={"severity": Severity.LOW})
    other = event(2).model_copy(update={"event_type": EventType.DAEMON_STARTED})
    await record(case.audit, [event(0), low, other, event(3)])
    await case.steps(2)
    assert case.receiver.numbers == [0, 3]
    assert case.delivery.lag_events == 0
    case.audit.close()


async def test_the_last_ones_are_sent_again_to_who_acknowledges_nothing(tmp_path: Path) -> None:
    case = Case(tmp_path, resend_events=5, batch_events=10)
    await record(case.audit, [event(n) for n in range(10)])
    case.delivery._unsure.append(0)
    await case.steps(1)
    case.receiver.down = 1
    await record(case.audit, [event(10)])
    await case.steps(2)
    assert case.receiver.numbers[10:] == [5, 6, 7, 8, 9, 10, None]  # and the news of the outage
    case.delivery = case.begin()  # a restart may have hit just then, too
    assert case.delivery.state.cursor == 7
    case.audit.close()


async def test_while_nothing_happens_a_receiver_without_acknowledgements_is_looked_after(
    tmp_path: Path,
) -> None:
    case = Case(tmp_path, resend_events=5)
    case.delivery._due_s = lambda: 5.0
    await record(case.audit, [event(n) for n in range(3)])
    await case.steps(2)
    assert case.receiver.batches == [[0, 1, 2], []]
    case.receiver.down = 1
    await case.steps(2)
    assert case.told == ["down"]
    assert case.receiver.batches[2:] == [[0, 1, 2, None]]  # and the news of the outage
    case.audit.close()


async def test_a_new_exporter_may_begin_with_what_is_new(tmp_path: Path) -> None:
    case = Case(tmp_path, start="newest")
    await record(case.audit, [event(0)])
    case.delivery = case.begin()
    await record(case.audit, [event(1)])
    await case.steps(1)
    assert case.receiver.numbers == [1]
    case.audit.close()


def test_a_cursor_survives_half_a_write(tmp_path: Path) -> None:
    cursor = Cursor(tmp_path / "cursor")
    cursor.store(41)
    (tmp_path / "cursor.new").write_text("9")  # a crash before the rename
    assert Cursor(tmp_path / "cursor").seq == 41
    (tmp_path / "cursor").write_text("nonsense")
    with pytest.raises(ConfigError, match="is no number of an event"):
        Cursor(tmp_path / "cursor")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"name": "a", "kind": "fax"}, r"config.toml: exporters.0 \(a\): kind: one of alertmanager, "),
        (
            {"name": "a", "kind": "file", "path": "/x", "colour": 1},
            r"\(a\): colour: Extra inputs",
        ),
        ({"name": "../a", "kind": "file", "path": "/x"}, r": name: "),
        ({"name": "a", "kind": "file", "path": "/x", "format": "fax"}, r": format: one of plain"),
        ({"name": "a", "kind": "syslog", "transport": "tcp"}, "host: transport tcp needs one"),
        ({"name": "a", "kind": "webhook", "url": "http://u:hunter2@h/"}, "no user or password in a URL"),
        (
            {"name": "a", "kind": "hec", "url": "https://h", "token": "hunter2"},
            "token: .*never the secret itself",
        ),
        (
            {"name": "a", "kind": "hec", "url": "http://h", "token": "file:/x"},
            "a secret would go over the net in clear",
        ),
        ({"name": "a", "kind": "webhook", "url": "ftp://h/"}, "url: .*write http://HOST/ or https://HOST/"),
        ({"name": "a", "kind": "webhook", "url": "h:8080"}, "url: .*write http://HOST/ or https://HOST/"),
        (
            {
                "name": "a",
                "kind": "elastic",
                "url": "https://h",
                **dict.fromkeys(("api_key", "user", "password"), "file:/x"),
            },
            "give api_key, or user and password",
        ),
        (
            {"name": "a", "kind": "elastic", "url": "https://h", "user": "u"},
            "give api_key, or user and password",
        ),
        ({**KAFKA, "user": "u"}, "user and password go together"),
        ({**KAFKA, "password": "file:/x"}, "user and password go together"),
        ({**KAFKA, "user": "u", "password": "file:/x"}, "a password would go over the net in clear"),
        (
            {"name": "a", "kind": "syslog", "tls": {"key_file": "/x"}},
            "certificate_file and key_file go together",
        ),
    ],
)
async def test_a_wrong_setting_is_told_by_file_and_key(
    table: dict[str, Any], message: str, tmp_path: Path
) -> None:
    audit = AuditLog(tmp_path / "log")
    with pytest.raises(ConfigError, match=message) as raised:
        Deliveries([table], Path("config.toml"), audit, tmp_path)
    assert "hunter2" not in str(raised.value)
    audit.close()


async def test_two_exporters_of_one_name_are_refused(tmp_path: Path) -> None:
    """They would share a cursor."""
    audit, one = AuditLog(tmp_path / "log"), {"name": "a", "kind": "file", "path": "/x"}
    with pytest.raises(ConfigError, match=r"exporters\.1 \(a\): name: another exporter has it"):
        Deliveries([one, {**one, "path": "/y"}], Path("config.toml"), audit, tmp_path)
    audit.close()


async def test_an_event_that_a_format_cannot_have_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def plain(one: SecurityAuditEvent, _: Emitter) -> bytes:
        return b"%d" % (1 / (one.details["number"] - 1))

    monkeypatch.setitem(FORMATS, "plain", plain)
    table = {"name": "a", "kind": "file", "path": str(tmp_path / "lines")}
    async with delivering([table], tmp_path) as (audit, deliveries):
        await record(audit, [event(n) for n in range(4)])
        await until(lambda: deliveries.all[0].lag_events == 0)
        assert (deliveries.all[0].state.refused, deliveries.all[0].state.problem) == (1, "")
    assert (tmp_path / "lines").read_text().split() == ["-1", "1", "0"]
    (note,) = (tmp_path / "exporters/a/dead-letters.jsonl").read_text().splitlines()
    assert "the format failed: ZeroDivisionError" in json.loads(note)["reason"]


async def test_an_outage_that_cannot_be_recorded_is_an_outage_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = {"name": "a", "kind": "file", "path": str(tmp_path / "folder/lines")}
    async with delivering([table], tmp_path) as (audit, deliveries):
        taken = audit.record

        async def full(one: SecurityAuditEvent) -> SecurityAuditEvent:
            if one.event_type is EventType.EXPORTER_FAILED:
                raise AuditError("no space left on device")
            return await taken(one)

        monkeypatch.setattr(audit, "record", full)
        await record(audit, [event(0)])
        await until(lambda: deliveries.all[0].state.errors > 0)
        (tmp_path / "folder").mkdir()
        await until(lambda: deliveries.all[0].lag_events == 0)
    assert len((tmp_path / "folder/lines").read_text().splitlines()) == 1


async def test_one_that_cannot_be_closed_keeps_no_other_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []

    async def hang(_: File) -> None:
        await asyncio.sleep(3600)

    async def fail(_: Hook) -> None:
        raise RuntimeError("a bug")

    async def close(_: Loki) -> None:
        closed.append("loki")

    monkeypatch.setattr("daemon.delivery.deliveries.CLOSE_DEADLINE_S", 0.1)
    for kind, end in ((File, hang), (Hook, fail), (Loki, close)):
        monkeypatch.setattr(kind, "close", end)
    nothing = {"minimum_severity": "critical"}
    tables = [{**table(kind, 9, tmp_path), **nothing} for kind in ("file", "webhook", "loki")]
    async with delivering(tables, tmp_path) as (audit, deliveries):
        await record(audit, [event()])
        await until(lambda: all(one.lag_events == 0 for one in deliveries.all))
    assert closed == ["loki"]


@pytest.mark.parametrize(("kind", "module"), [("nats", "nats"), ("kafka", "aiokafka"), ("otlp", "grpc")])
async def test_a_missing_extra_is_said(
    kind: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"exporters.{kind}.find_spec", lambda name: None if name == module else 1)
    own: dict[str, Any] = {
        "nats": {},
        "kafka": {"servers": ["h:9092"], "topic": "t"},
        "otlp": {"url": "http://h", "protocol": "grpc"},
    }[kind]
    audit = AuditLog(tmp_path / "log")
    with pytest.raises(ConfigError, match=r"pip install 'container-kit\["):
        Deliveries([{"name": "a", "kind": kind, **own}], tmp_path / "config.toml", audit, tmp_path)
    audit.close()


async def test_one_exporter_that_hangs_keeps_no_other_waiting(tmp_path: Path) -> None:
    case = Case(tmp_path)
    hanging = Receiver()
    hanging.export = lambda _: asyncio.sleep(3600)  # type: ignore[method-assign]
    options = Options(name="b", kind="test")
    other = Delivery(hanging, options, case.audit, tmp_path / "b", case._tell)
    async with asyncio.TaskGroup() as tasks:
        tasks_ = [tasks.create_task(other.run()), tasks.create_task(case.delivery.run())]
        await record(case.audit, [event(n) for n in range(3)])
        while case.receiver.numbers != [0, 1, 2]:
            await asyncio.sleep(0.01)
        for task in tasks_:
            task.cancel()
    assert other.state.cursor == 0
    case.audit.close()


async def test_it_goes_on_over_segments_and_what_it_has_read_may_be_retired(tmp_path: Path) -> None:
    case = Case(tmp_path, batch_events=7, event_types=[EventType.SECURITY_VIOLATION])
    key = signing_key(tmp_path / "key")
    case.audit._segment_bytes = 4096
    retention = Retention(case.audit, key, Limits(keep_bytes=1), lambda: case.delivery.read_up_to)
    for number in range(30):
        await record(case.audit, [event(number)])
        await case.audit.checkpoint(key)
    await retention.step()
    assert case.delivery.read_up_to == 0
    first, second, *_ = segments(case.audit.path)
    while (reached := case.delivery.read_up_to) < case.audit.newest:
        await retention.step()
        kept = [one.first for one in segments(case.audit.path)]
        assert kept[0] <= reached + 1 or len(kept) == 1
        await case.steps(1)
        case.delivery = case.begin()  # it is stopped and started
    assert first.path != second.path
    assert not second.path.exists()
    assert case.receiver.numbers == list(range(30))
    assert case.delivery.state.missed == 0
    case.audit.close()
