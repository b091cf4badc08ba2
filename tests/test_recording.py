"""Recordings: files that follow each other, say what is missing, and are replayed to what was found live."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from daemon.cli import main
from daemon.errors import ConfigError
from daemon.events import Event, ProcessForked
from daemon.expectation import Expectation, ExpectedMount
from daemon.recording import Recording
from daemon.replaying import Replay, Replayed
from daemon.sensors.replay import (
    LINE_LIMIT_BYTES,
    Forgotten,
    Missing,
    Record,
    Recorded,
    Started,
    decode,
    encode,
)
from tests.corpus.case import CASES, Attack, Image, load
from tests.corpus.host import host
from tests.corpus.images import case_files
from tests.corpus.sandboxed import launch
from tests.detectors.making import EPERM, called
from tests.events import CONTAINER, event, expectation
from tests.images import imported
from tests.running import daemon

DEADLINE_S = 30.0
MIB = 1 << 20
ATTACKS = ("fs-mount-hostdisk", "proc-unshare-userns", "proc-recon-sh")
WHOLE = Expectation(
    container_id=CONTAINER,
    sandbox_id="s",
    host_namespaces=frozenset({"net", "pid"}),
    mounts=(ExpectedMount(target="/", source="", filesystem="overlay", device=7),),
    devices=frozenset({1, 2}),
    egress=(ip_network("10.0.0.0/8"), ip_network("fd00::/8")),
)


def records(folder: Path) -> list[list[Record]]:
    """Of each file, the oldest first."""
    found = [read(path) for path in sorted(folder.iterdir())]
    assert [malformed for _, malformed in found] == [0] * len(found)
    return [whole for whole, _ in found]


def read(path: Path) -> tuple[list[Record], int]:
    """And how many lines are malformed."""
    recorded = Recorded(path)
    found = [record for batch in recorded.batches() for record in batch]
    recorded.close()
    return found, recorded.malformed


def fat(number: int) -> ProcessForked:
    """A record of more than half a mebibyte."""
    described = event(ProcessForked, time_ns=number)
    return event(ProcessForked, time_ns=number, process=replaced(described, "x" * 600_000))


def replaced(described: Event, comm: str) -> Any:
    return replace(described.process, comm=comm)


@pytest.mark.parametrize(
    "record",
    [
        WHOLE,
        expectation(),
        Forgotten(container_id=CONTAINER),
        Missing(count=3),
        Started(realtime_ns=1, monotonic_ns=2),
    ],
    ids=lambda record: type(record).__name__,
)
def test_every_other_record_comes_back_as_it_was(record: Record) -> None:
    assert decode(encode(record)) == record


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"record": "Process"}, "one of"),
        ({"record": None}, "one of"),
        ({"egress": ["10.0.0.0/33"]}, "does not appear|10.0.0.0/33"),
        ({"egress": [1]}, "egress: str"),
        ({"mounts": [{}]}, "mounts: its fields"),
        ({"host_namespaces": [0]}, "host_namespaces: str"),
        ({"extra": 1}, "its fields are"),
    ],
)
def test_what_is_no_expectation(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        decode(json.dumps({**json.loads(encode(WHOLE)), **change}).encode())


def test_a_full_file_is_followed_by_another_that_stands_alone(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "here"
    recording = Recording(folder, most_files=2, file_bytes=2 * MIB)
    recording.write([WHOLE, expectation(container_id="b" * 64)])
    recording.write([Forgotten(container_id="b" * 64)])
    for number in range(10):
        recording.write([fat(number)])
    recording.close()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert all(path.stat().st_size <= 2 * MIB for path in folder.iterdir())
    last_two = records(folder)
    assert [[type(record) for record in file[:2]] for file in last_two] == [[Started, Expectation]] * 2
    assert [file[1] for file in last_two] == [WHOLE] * 2
    numbers = [record.time_ns for file in last_two for record in file if isinstance(record, Event)]
    assert numbers == list(range(numbers[0], 10))


def test_only_its_own_files_are_removed(tmp_path: Path) -> None:
    (tmp_path / "events-notes.txt").write_text("kept")
    for _ in range(3):
        Recording(tmp_path, most_files=1, file_bytes=MIB).close()
    assert len(list(tmp_path.glob("events-*.jsonl"))) == 1
    assert (tmp_path / "events-notes.txt").exists()


def test_what_is_too_large_or_too_much_is_counted_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.recording.WAITING", 10)
    recording = Recording(tmp_path, most_files=1, file_bytes=MIB)
    recording.write([event(ProcessForked)] * 11)
    recording.write([event(ProcessForked, process=replaced(event(ProcessForked), "x" * LINE_LIMIT_BYTES))])
    recording.write([])
    recording.write([WHOLE])
    recording.write([event(ProcessForked)])
    recording.close()
    assert recording.dropped == 12
    (file,) = records(tmp_path)
    assert [record.count for record in file if isinstance(record, Missing)] in ([11, 1], [12])
    assert WHOLE in file


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", tmp_path], check=True)
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


@pytest.mark.root
def test_a_full_disk_is_counted_and_left_behind(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 900_000)
    recording = Recording(small_disk, most_files=4, file_bytes=2 * MIB)
    recording.write([fat(1)])
    recording.write([WHOLE])
    await_true(lambda: recording.dropped == 2)
    ballast.unlink()
    for number in range(1000):
        recording.write([event(ProcessForked, time_ns=number)])
        time.sleep(0.01)
        if len(list(small_disk.iterdir())) == 2:
            break
    recording.close()
    (before, _), (after, malformed) = [read(path) for path in sorted(small_disk.iterdir())]
    assert [type(record) for record in before] == [Started]
    assert malformed == 0
    started, expected, missing, *events = after
    assert (type(started), expected) == (Started, WHOLE)
    assert isinstance(missing, Missing)
    assert missing.count == recording.dropped >= 2
    assert events


def await_true(condition: Callable[[], bool]) -> None:
    end_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.01)


def test_a_folder_that_cannot_be_written_to_is_told_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="recording_dir"):
        Recording(tmp_path / "file", most_files=1, file_bytes=MIB)


@pytest.fixture
def recorded(tmp_path: Path) -> Callable[..., Path]:
    def write(*given: Record | bytes) -> Path:
        path = tmp_path / f"recording-{len(list(tmp_path.iterdir()))}"
        path.write_bytes(b"".join(one if isinstance(one, bytes) else encode(one) for one in given))
        return path

    return write


def replayed(*paths: Path, detector: str | None = None) -> Replayed:
    replay = Replay(detector)
    for path in paths:
        replay.read(path)
    return replay.end()


REFUSED = called("kexec_load", result=EPERM)


def test_judged_as_it_was_then(recorded: Callable[..., Path]) -> None:
    """What came before the expectation is judged by it; what came after the end, or is of nobody, is not."""
    clock = Started(realtime_ns=1_000_000_000 * 10**9, monotonic_ns=0)
    ended = Forgotten(container_id=REFUSED.sandbox)
    described = expectation(container_id=REFUSED.sandbox, sandbox_id="s9")
    done = replayed(recorded(clock, REFUSED, described, REFUSED, ended, REFUSED, Missing(count=4)))
    (found,) = done.findings
    assert (found.count, found.sandbox_id, found.time.year) == (2, "s9", 2001)
    assert (done.events, done.unjudged, done.missing) == (3, 1, 4)


def test_files_that_follow_each_other(recorded: Callable[..., Path]) -> None:
    described = expectation(container_id=REFUSED.sandbox)
    (found,) = replayed(recorded(described, REFUSED), recorded(described, REFUSED)).findings
    assert found.count == 2


def test_one_detector_alone(recorded: Callable[..., Path]) -> None:
    path = recorded(expectation(container_id=REFUSED.sandbox), REFUSED)
    (rule,) = {found.rule_id for found in replayed(path).findings}
    assert replayed(path, detector=rule).findings
    assert not replayed(path, detector="core-pattern").findings
    with pytest.raises(LookupError, match="no detector"):
        Replay("no-such-rule")


@pytest.mark.parametrize(
    ("realtime_ns", "monotonic_ns"), [((1 << 64) - 1, -(1 << 63)), (-(1 << 63), (1 << 64) - 1)]
)
def test_whatever_its_clocks_say(recorded: Callable[..., Path], realtime_ns: int, monotonic_ns: int) -> None:
    clock = Started(realtime_ns=realtime_ns, monotonic_ns=monotonic_ns)
    late = replace(REFUSED, time_ns=(1 << 64) - 1)
    path = recorded(clock, expectation(container_id=REFUSED.sandbox), REFUSED, late)
    (found,) = replayed(path).findings
    assert found.time < found.last_time


def test_the_client_names_malformed_lines_by_their_number(recorded: Callable[..., Path]) -> None:
    long = b"x" * (2 * LINE_LIMIT_BYTES) + b"\n"
    described = expectation(container_id=REFUSED.sandbox)
    path = recorded(described, b"{}\n", long, REFUSED, b"\x1b[2J")
    done = CliRunner().invoke(main, ["replay", str(path), "--json"])
    assert done.exit_code == 0, done.output
    assert len(json.loads(done.stdout)) == 1
    for number in (2, 3, 5):
        assert f"line {number}: " in done.stderr
    assert "\x1b[2J" not in done.stderr
    assert "line 4" not in done.stderr
    table = CliRunner().invoke(main, ["replay", str(path)])
    assert "kernel-replacement" in table.stdout
    assert table.stderr.count("line 3: ") == 1


def test_the_client_says_what_it_could_not_judge(recorded: Callable[..., Path]) -> None:
    path = recorded(b"{}\n" * 150, Missing(count=3), Missing(count=4), REFUSED)
    done = CliRunner().invoke(main, ["replay", str(path)])
    assert done.exit_code == 0
    *lines, more, missing, unjudged = done.stderr.splitlines()
    assert more == f"container-kit: {150 - len(lines)} more lines are no records"
    assert missing == "container-kit: 7 records were not recorded"
    assert unjudged == "container-kit: 1 events are of containers that no file describes"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["/nowhere"], "replay: /nowhere: No such file or directory: name a file that was recorded"),
        (["/dev/null"], "replay: /dev/null: not a regular file: name a file that was recorded"),
        ([os.devnull, "--detector", "none-such"], "no detector has a rule 'none-such', or that name"),
    ],
)
def test_the_client_says_what_it_cannot_replay(arguments: list[str], told: str) -> None:
    done = CliRunner().invoke(main, ["replay", *arguments])
    assert (done.exit_code, done.stderr) == (125, f"container-kit: {told}\n")


TOLD = (
    "rule_id",
    "severity",
    "category",
    "evidence",
    "process",
    "count",
    "sandbox_id",
    "session_id",
    "sensor_tier",
)


def shown(finding: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    return finding["container_id"], {name: finding[name] for name in TOLD}


@pytest.mark.root
@pytest.mark.docker
@pytest.mark.bpf
def test_real_attacks_are_replayed_to_what_was_found_live(tmp_path: Path) -> None:
    folder = tmp_path / "recordings"
    config = f'recordings = 4\nrecording_dir = "{folder}"\n'
    cases = [case for name in ATTACKS if isinstance(case := load(CASES / name), Attack)]
    tag = f"container-kit-test/recording:{os.getpid()}"
    with (
        imported(tag, case_files(Image.BUSYBOX, {})) as image,
        host() as ours,
        daemon(tmp_path, config) as running,
    ):
        sandboxes = {launch(running, case, "default", image, ours).sandbox_id for case in cases}
        items = running.request("GET", "/v1/findings?limit=1000").json()["items"]
        live = [item for item in items if item["sandbox_id"] in sandboxes]
    (path,) = folder.iterdir()
    done = CliRunner().invoke(main, ["replay", str(path), "--json"])
    again = [item for item in json.loads(done.stdout) if item["sandbox_id"] in sandboxes]
    assert {item["sandbox_id"] for item in live} == sandboxes
    assert len(live) >= len(cases)
    assert [shown(item) for item in again] == [shown(item) for item in live]
