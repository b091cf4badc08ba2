"""What every detector must keep, whoever wrote it: the contract of `detectors.Detector`, in tests."""

from __future__ import annotations

import ast
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daemon import ROOT
from daemon.events import (
    Event,
    File,
    FileOpened,
    Process,
    ProcessExecuted,
    ProcessForked,
    SyscallEvent,
    Tier,
)
from daemon.expectation import Expectation
from daemon.findings import Finding, Rule
from daemon.sandbox.seccomp import syscall_numbers
from detectors import Detector, filesystem, network, process, resource
from tests.detectors.any_event import EXPECTATIONS, KINDS, wanted_by
from tests.detectors.documented import TEMPLATE, detector_in, example, module
from tests.detectors.making import PLAIN, STRICT, called, executed, exited, findings, forked, opened

FOLDERS = {"process": process, "filesystem": filesystem, "network": network, "resource": resource}
DETECTORS = [detector for folder in FOLDERS.values() for detector in folder.DETECTORS]
DOCUMENTED = [detector_in(example()), detector_in(module("documented_template", TEMPLATE))]
EVERY = pytest.mark.parametrize("kind", [*DETECTORS, *DOCUMENTED], ids=lambda kind: kind.__name__)

ONLY_32_BIT = {
    *("setuid32", "setreuid32", "setresuid32", "setgid32", "setregid32", "setresgid32"),
    *("clock_settime64", "stime", "mmap2", "umount", "socketcall", "chown32", "fchown32", "lchown32"),
}
ONLY_OLD = {"create_module"}
EVIDENCE_BYTES = 16 * 1024
IDENTIFIER_LIMIT = 1024
STATE_LIMIT = 50_000
FORBIDDEN_IMPORTS = {
    *("os", "io", "pathlib", "subprocess", "shutil", "tempfile", "asyncio", "threading", "multiprocessing"),
    *("time", "datetime", "random", "secrets", "requests", "urllib", "http", "logging", "structlog"),
}
FORBIDDEN_ACTIONS = (
    "open",
    "os.",
    "socket.",
    "subprocess.",
    "shutil.",
    "urllib.",
    "import",
    "exec",
    "compile",
)


# --- what is said about it


@EVERY
def test_it_is_made_without_arguments_and_says_what_it_wants(kind: type[Detector]) -> None:
    detector = kind()
    assert detector.rules
    assert detector.events
    assert all(issubclass(event, Event) for event in detector.events)
    assert kind.__doc__ or inspect.getdoc(inspect.getmodule(kind))


def test_every_class_of_the_folders_is_in_a_list() -> None:
    """One that is written and not listed would detect nothing."""
    listed = {kind.__name__ for kind in DETECTORS}
    written = set()
    for path in ROOT.glob("detectors/*/*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and any(
                isinstance(statement, ast.Assign)
                and any(isinstance(target, ast.Name) and target.id == "rules" for target in statement.targets)
                for statement in node.body
            ):
                written.add(node.name)
    assert written == listed


@EVERY
def test_its_rules_are_documented(kind: type[Detector]) -> None:
    for rule in kind.rules:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", rule.id), rule.id
        assert 0 < len(rule.title) <= 80, rule.id
        assert not rule.title.endswith("."), rule.id
        assert rule.techniques, rule.id
        assert all(re.fullmatch(r"T\d{4}(\.\d{3})?", technique) for technique in rule.techniques), rule.id
        for text in (rule.why, rule.remedy):
            assert len(text) >= 30, rule.id
            assert text.endswith("."), rule.id


@pytest.mark.parametrize("name", FOLDERS)
def test_the_category_of_a_rule_is_its_folder(name: str) -> None:
    assert {rule.category for kind in FOLDERS[name].DETECTORS for rule in kind.rules} <= {name}


def test_rule_ids_are_unique() -> None:
    ids = [rule.id for kind in DETECTORS for rule in kind.rules]
    assert sorted(ids) == sorted(set(ids))


def test_every_rule_is_named_by_a_test() -> None:
    named: set[str] = set()
    for path in ROOT.glob("tests/detectors/**/test_*.py"):
        constants = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant))
        named |= {constant.value for constant in constants if isinstance(constant.value, str)}
    assert {rule.id for kind in DETECTORS for rule in kind.rules} - named == set()


@EVERY
def test_the_calls_that_it_wants_exist(kind: type[Detector]) -> None:
    known = {*syscall_numbers().values(), *ONLY_32_BIT, *ONLY_OLD}
    assert kind.syscalls - known == set()


@EVERY
def test_the_names_that_it_wants_are_last_components(kind: type[Detector]) -> None:
    assert all("/" not in name and 0 < len(name.encode()) <= 31 for name in kind.names)


# --- what it does


@contextmanager
def _watched() -> Iterator[list[str]]:
    """The audit events (sys.addaudithook) of this thread's Python code within the block."""
    _seen.clear()
    _state["on"] = True
    try:
        yield _seen
    finally:
        _state["on"] = False


_seen: list[str] = []
_state = {"on": False}


def _hook(action: str, _arguments: Any) -> None:
    if _state["on"] and action.startswith(FORBIDDEN_ACTIONS):
        _seen.append(action)


sys.addaudithook(_hook)


def test_input_and_output_are_noticed(tmp_path: Path) -> None:
    with _watched() as actions:
        (tmp_path / "x").write_text("x")
    assert "open" in actions


@EVERY
def test_it_raises_nothing_does_no_io_and_returns_its_own_rules(kind: type[Detector]) -> None:
    """Whatever the event holds: empty, huge, negative, not even text."""

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(wanted_by(kind()), max_size=6), EXPECTATIONS)
    def holds(events: list[Event], sandbox: Expectation) -> None:
        detector = kind()
        with _watched() as actions:
            found = [finding for event in events for finding in detector.detect(event, sandbox)]
            detector.forget("a")
            detector.forget("never seen")
        assert actions == []
        for finding in found:
            _check(finding, kind.rules)

    holds()


def _check(finding: Finding, rules: tuple[Rule, ...]) -> None:
    assert finding.rule in rules
    assert len(finding.identifier) <= IDENTIFIER_LIMIT
    text = json.dumps([finding.identifier, finding.evidence], ensure_ascii=False)
    assert len(text.encode()) <= EVIDENCE_BYTES  # and raises where a surrogate is left


@EVERY
def test_equal_events_give_equal_findings(kind: type[Detector]) -> None:
    """No clock, no chance: time is the event's."""

    @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(wanted_by(kind()), max_size=6), EXPECTATIONS)
    def holds(events: list[Event], sandbox: Expectation) -> None:
        first, second = kind(), kind()
        for event in events:
            assert list(first.detect(event, sandbox)) == list(second.detect(event, sandbox))

    holds()


@EVERY
def test_its_module_imports_nothing_that_reaches_outside(kind: type[Detector]) -> None:
    imported = set()
    for node in ast.walk(ast.parse(Path(inspect.getfile(kind)).read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported.add(node.module.split(".")[0])
    assert imported & FORBIDDEN_IMPORTS == set()


# --- what it keeps


def entries(of: object, seen: set[int] | None = None) -> int:
    """How many items all containers hold that are reachable from its attributes."""
    seen = set() if seen is None else seen
    if id(of) in seen or isinstance(of, (str, bytes, Rule)) or callable(of):
        return 0
    seen.add(id(of))
    inside: list[object] = list(of) if isinstance(of, Iterable) else []
    inside += of.values() if isinstance(of, Mapping) else []
    own = [*vars(of).values()] if hasattr(of, "__dict__") else []
    slots = [getattr(of, name, None) for kind in type(of).__mro__ for name in getattr(kind, "__slots__", ())]
    return len(inside) + sum(entries(part, seen) for part in [*inside, *own, *slots])


class _Hoarder(Detector):
    """Keeps the number of every process."""

    rules = ()
    events = (Event,)

    def __init__(self) -> None:
        self.kept: dict[str, list[int]] = {}

    def detect(self, event: Event, sandbox: Expectation) -> Iterable[Finding]:
        self.kept.setdefault(event.sandbox, []).append(event.process.pid)
        return ()


def test_a_hoarder_is_noticed() -> None:
    hoarder = _Hoarder()
    _flood(hoarder, 1000, sandboxes=2)
    assert entries(hoarder) == 2 * 2 + 1000


def _flood(detector: Detector, count: int, *, sandboxes: int) -> None:
    """Every event with a pid, path, name and address of its own: what state could be keyed by."""
    kinds = [kind for kind in KINDS if issubclass(kind, detector.events)]
    calls = sorted(detector.syscalls) or ["openat"]
    for number in range(count):
        kind = kinds[number % len(kinds)]
        event = _numbered(kind, number, calls[number % len(calls)], f"s{number % sandboxes}")
        for _ in detector.detect(event, PLAIN if number % 2 else STRICT):
            pass


def _numbered(kind: type[Event], number: int, call: str, sandbox: str) -> Event:
    facts = {name: make(number) for name, make in MAKERS[kind].items()}
    facts |= {"time_ns": number * 1000, "sandbox": sandbox}
    if issubclass(kind, SyscallEvent):
        facts["syscall"] = call
    return kind(**facts)


BY_NUMBER: dict[str, Callable[[int], Any]] = {
    "process": lambda number: Process(pid=number + 1, tid=number + 1, ppid=number),
    "tier": lambda _: Tier.EBPF,
    "file": lambda number: File(
        path=_text(number), device=number, inode=number, links=number % 2, filesystem="proc"
    ),
    "result": lambda number: (0, -1, -13, -11, -28)[number % 5],
    "argv": lambda number: ("base64", "-d", _text(number)),
    "preloads": lambda number: (f"LD_PRELOAD=/usr/lib/{number}.so",),
    "inet_stdio": lambda _: frozenset({0, 1, 2}),
    "address": lambda number: f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}",
    "family": lambda _: 2,
    "port": lambda number: number % 65536,
    "query": lambda number: f"{number:032x}.example",
    "kind": lambda number: ("pids", "cpu", "memory", "workspace")[number % 4],
    "flags": lambda _: 0x1000_0000,
    "mode": lambda _: 0o4755,
    "fresh": lambda number: number % 2 == 0,
    **dict.fromkeys(("write", "execute"), lambda _: True),
    **dict.fromkeys(("type", "limit", "used", "count", "target_pid"), lambda number: number),
}


def _text(number: int) -> str:
    return f"/proc/{number}/ns/x{number}"


def _makers(kind: type[Event]) -> dict[str, Callable[[int], Any]]:
    """Of all fields, so that none is left at a default that a detector would pass over."""
    fields = kind.__dataclass_fields__.values()
    return {
        field.name: BY_NUMBER.get(field.name, _text)
        for field in fields
        if field.name in BY_NUMBER or field.type == "str"
    }


MAKERS = {kind: _makers(kind) for kind in KINDS}


@EVERY
@pytest.mark.parametrize(
    ("count", "sandboxes"), [(100_000, 1), (20_000, 20_000)], ids=["one sandbox", "many sandboxes"]
)
def test_what_it_keeps_is_bounded(kind: type[Detector], count: int, sandboxes: int) -> None:
    detector = kind()
    _flood(detector, count if _keeps_state(kind) else 1000, sandboxes=sandboxes)
    assert entries(detector) <= STATE_LIMIT


def _keeps_state(kind: type[Detector]) -> bool:
    return bool(vars(kind()))


@EVERY
def test_an_ended_sandbox_leaves_nothing_behind(kind: type[Detector]) -> None:
    detector = kind()
    before = entries(detector)
    _flood(detector, 500, sandboxes=1)
    detector.forget("s0")
    assert entries(detector) <= before + 1


def test_the_flood_reaches_every_kind() -> None:
    """An event that cannot be built would make the tests above say nothing."""
    for kind in KINDS:
        assert isinstance(_numbered(kind, 7, "openat", "s"), kind)


# --- together


def test_a_busy_ordinary_sandbox_is_silent() -> None:
    """Forks, execs of the image's files, reads: what every workload does all the time."""
    events: list[Event] = []
    for number in range(300):
        events += [
            forked(1000 + number, at_s=number / 100),
            executed("/bin/cat", "/etc/hosts", pid=1000 + number, at_s=number / 100),
            opened("/etc/hosts", pid=1000 + number, at_s=number / 100),
            called("socket", 1, 1, 0, result=4, pid=1000 + number, at_s=number / 100),
            exited(1000 + number, at_s=number / 100),
        ]
    for kind in DETECTORS:
        assert findings(kind(), events) == [], kind.__name__


def test_kinds_are_those_of_the_module() -> None:
    assert {ProcessExecuted, ProcessForked, FileOpened} <= set(KINDS)
