"""Events on disk: each comes back as it was, and nothing else does."""

from __future__ import annotations

import json
import os
import typing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon import events
from daemon.errors import SensorError
from daemon.events import Drift, Event, File, FileOpened, Process, ProcessExecuted, Tier
from daemon.sensors.replay import KINDS, LINE_LIMIT_BYTES, Recorder, ReplaySensor, decode, encode
from tests.sensors.collecting import collecting, eventually

# Names as the file system decodes them: any text, lone surrogates among it.
st.register_type_strategy(str, st.text(st.characters(codec=None, categories=None), max_size=20))
st.register_type_strategy(int, st.integers(-(1 << 63), (1 << 64) - 1))
st.register_type_strategy(Drift, st.integers(0, 63).map(Drift))

SAMPLE = ProcessExecuted(
    time_ns=1,
    sandbox="a" * 64,
    process=Process(pid=1, argv=("/bin/sh",)),
    tier=Tier.EBPF,
    drift=Drift.ROOT | Drift.UID,
    file=File(path="/bin/\udcff"),
    inet_stdio=frozenset({0, 2}),
)


def test_every_kind_of_the_module_is_known() -> None:
    def below(kind: type[Event]) -> set[str]:
        return {kind.__name__}.union(*(below(sub) for sub in kind.__subclasses__()))

    assert {name for name in below(Event) if getattr(events, name, None)} == set(KINDS)
    assert len(KINDS) >= 25


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.__name__)
def test_every_event_comes_back_as_it_was(kind: type[Event]) -> None:
    @settings(max_examples=40, deadline=None)
    @given(
        st.builds(
            kind, **{name: st.from_type(wanted) for name, wanted in typing.get_type_hints(kind).items()}
        )
    )
    def round_trip(event: Event) -> None:
        line = encode(event)
        assert line.count(b"\n") == 1
        back = decode(line)
        assert back == event
        assert type(back) is kind

    round_trip()


def changed(**fields: object) -> bytes:
    return json.dumps({**json.loads(encode(SAMPLE)), **fields}).encode()


def without(name: str) -> bytes:
    body = json.loads(encode(SAMPLE))
    del body[name]
    return json.dumps(body).encode()


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b"", "Expecting value"),
        (b"\xff\xfe\x00", "decode|Expecting|unterminated|NUL|codec"),
        (b"[" * 100_000, "nested|Expecting"),
        (b"{}", "one of"),
        (b"[]", "one of"),
        (b'"ProcessExecuted"', "one of"),
        (changed(event="__class__"), "one of"),
        (changed(event="Process"), "one of"),
        (changed(event=["ProcessExecuted"]), "one of"),
        (changed(event="ProcessForked"), "its fields are"),
        (without("file"), "its fields are"),
        (changed(extra=1), "its fields are"),
        (changed(time_ns="1"), "time_ns: int"),
        (changed(time_ns=True), "time_ns: int"),
        (changed(time_ns=1.5), "time_ns: int"),
        (changed(time_ns=1 << 64), "time_ns: int"),
        (changed(killed=1), "killed: bool"),
        (changed(sandbox=None), "sandbox: str"),
        (changed(tier="best"), "best"),
        (changed(tier=1), "tier: Tier"),
        (changed(drift=64), "drift: Drift"),
        (changed(drift=-1), "drift: Drift"),
        (changed(drift="1"), "drift: Drift"),
        (changed(process=[]), "process: its fields"),
        (changed(file=None), "file: its fields"),
        (changed(argv="ls"), "argv: at most"),
        (changed(argv={"a": 1}), "argv: at most"),
        (changed(argv=[1]), "argv: str"),
        (changed(argv=[""] * 5000), "argv: at most"),
        (changed(inet_stdio=[[1]]), "inet_stdio: int"),
        (b'{"event":"ProcessExecuted","time_ns":' + b"9" * 5000 + b"}", "Exceeds|its fields"),
        (b" " * (LINE_LIMIT_BYTES + 1), "at most"),
    ],
)
def test_what_is_no_event(line: bytes, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        decode(line)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.sampled_from(sorted(json.loads(encode(SAMPLE)))), JSON)
def test_whatever_a_field_holds_it_is_an_event_or_a_value_error(name: str, value: object) -> None:
    try:
        event = decode(changed(**{name: value}))
    except ValueError:
        return
    assert decode(encode(event)) == event


@given(st.binary())
def test_any_bytes_are_an_event_or_a_value_error(line: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of many kinds
        decode(line)


async def test_what_was_recorded_is_replayed(tmp_path: Path) -> None:
    recorded = [
        SAMPLE,
        *(Event(time_ns=n, sandbox="", process=Process(pid=n), tier=Tier.NETLINK) for n in range(600)),
    ]
    recorder = Recorder(tmp_path / "events")
    recorder.write(recorded[:300])
    recorder.write(recorded[300:])
    recorder.close()
    assert (tmp_path / "events").stat().st_mode & 0o777 == 0o600
    sensor = ReplaySensor(tmp_path / "events")
    batches = [batch async for batch in sensor.events()]
    await sensor.close()
    assert [event for batch in batches for event in batch] == recorded
    assert all(batches)
    assert sensor.lost == {"malformed": 0}


async def test_hostile_lines_are_counted_and_the_rest_is_replayed(tmp_path: Path) -> None:
    path = tmp_path / "events"
    path.write_bytes(
        b"\0\n" + encode(SAMPLE) + b"x" * (3 * LINE_LIMIT_BYTES) + b"\n{}\n" + encode(SAMPLE) + b"cut"
    )
    async with collecting(sensor := ReplaySensor(path)) as found:
        await eventually(lambda: len(found) == 2 and sensor.lost["malformed"] == 4)
    assert found == [SAMPLE, SAMPLE]


def test_a_recording_is_limited(tmp_path: Path) -> None:
    line = len(encode(SAMPLE))
    recorder = Recorder(tmp_path / "events", limit_bytes=3 * line + 5)
    recorder.write([SAMPLE] * 5)
    recorder.close()
    assert recorder.dropped == 2
    assert (tmp_path / "events").stat().st_size == 3 * line


def test_a_recording_replaces_nothing(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("precious")
    (tmp_path / "events").symlink_to(tmp_path / "target")
    with pytest.raises(FileExistsError):
        Recorder(tmp_path / "events")


@pytest.mark.parametrize("kind", ["absent", "folder", "fifo"])
def test_only_a_regular_file_is_replayed(tmp_path: Path, kind: str) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(SensorError, match="name a file that was recorded"):
        ReplaySensor(tmp_path / kind)


def test_the_size_of_an_event() -> None:
    """The limit of a line leaves room for what the kernel can say: paths and names are bounded there."""
    path = "\udcff" * 4096
    event = FileOpened(
        time_ns=0,
        sandbox="a" * 64,
        tier=Tier.EBPF,
        syscall="openat",
        file=File(path=path),
        process=Process(pid=1, exe=path, lineage=(path,) * 16),
    )
    assert len(encode(event)) < LINE_LIMIT_BYTES
