"""Detectors of another distribution, by entry point: those that explode are told, and the others go on."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from daemon import pipeline
from daemon.events import ProcessExecuted
from daemon.pipeline import Pipeline, plug_ins
from tests.events import event, expectation, file
from tests.running import Daemon, daemon

MODULE = """
import sys

from daemon.events import Event, ProcessExecuted
from daemon.findings import Category, Rule, Severity, finding
from detectors import Detector

RULE = Rule(id="plug-in", title="t", category=Category.PROCESS, severity=Severity.LOW, techniques=("T1059",),
            why="w", remedy="r")


class Honest(Detector):
    rules = (RULE,)
    events = (ProcessExecuted,)

    def detect(self, event, sandbox):
        yield finding(RULE, event, identifier=event.file.path)


class Raises(Honest):
    def detect(self, event, sandbox):
        raise ZeroDivisionError("in detect")

    def forget(self, sandbox):
        raise ZeroDivisionError("in forget")


class Leaves(Honest):
    def detect(self, event, sandbox):
        sys.exit("gone")


class Lies(Honest):
    def detect(self, event, sandbox):
        return ["no finding"]


class Unprintable(Honest):
    def detect(self, event, sandbox):
        yield finding(RULE, event, evidence=self)

    def __str__(self):
        raise RuntimeError("no text")


class Endless(Honest):
    def detect(self, event, sandbox):
        while True:
            yield finding(RULE, event, identifier="again")


class NotMade(Honest):
    def __init__(self):
        sys.exit("not made")


class WrongEvents(Honest):
    events = ("ProcessExecuted",)


class NoDetector:
    pass
"""
RUN = ("Raises", "Leaves", "Lies", "Unprintable")
NOT_LOADED = ("NotMade", "WrongEvents", "NoDetector", "Absent")
NAMES = ("Honest", "Endless", *RUN, *NOT_LOADED)


@pytest.fixture
def distribution(tmp_path: Path) -> Path:
    """As an installer leaves one (https://packaging.python.org/specifications/recording-installed-packages)."""
    folder = tmp_path / "installed"
    metadata = folder / "exploding-1.0.dist-info"
    metadata.mkdir(parents=True)
    (folder / "exploding.py").write_text(MODULE)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: exploding\nVersion: 1.0\n")
    lines = "".join(f"{name.lower()} = exploding:{name}\n" for name in NAMES)
    (metadata / "entry_points.txt").write_text(f"[{pipeline.PLUGINS}]\n{lines}")
    return folder


@pytest.fixture
def installed(distribution: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(distribution))
    yield
    sys.modules.pop("exploding", None)


def names(*classes: str) -> set[str]:
    return {f"exploding.{name}" for name in classes}


@pytest.mark.usefixtures("installed")
def test_what_would_break_the_pipeline_is_left_out() -> None:
    told: list[tuple[str, str]] = []
    loaded = plug_ins(lambda *failure: told.append(failure))
    assert {type(detector).__name__ for detector in loaded} == {"Honest", "Endless", *RUN}
    assert {name for name, _ in told} == names(*NOT_LOADED)
    assert all(reason.startswith("not loaded: ") for _, reason in told)


@pytest.mark.usefixtures("installed")
def test_each_failure_is_counted_and_each_tenfold_told() -> None:
    found: list[Any] = []
    told: list[tuple[str, str]] = []
    loaded = [one for one in plug_ins() if type(one).__name__ in {"Raises", "Honest"}]
    made = Pipeline(loaded, lambda *one: found.append(one), lambda *failure: told.append(failure))
    made.expect(expectation())
    made.feed([event(ProcessExecuted, file=file())] * 100)
    made.forget("other")
    assert made.failures == {"exploding.Raises": 101}
    assert told == [("exploding.Raises", "ZeroDivisionError: in detect")] * 3
    assert len(found) == 100


def await_failures(running: Daemon) -> list[Any]:
    end_s = time.monotonic() + 40
    while True:
        told = [e["details"] for e in running.events() if e["event_type"] == "DETECTOR_FAILED"]
        if {details["detector"] for details in told} >= names(*RUN, *NOT_LOADED):
            return told
        assert time.monotonic() < end_s, told
        time.sleep(0.1)


@pytest.mark.root
@pytest.mark.docker
@pytest.mark.bpf
def test_in_the_daemon_they_are_audited_and_counted(distribution: Path, tmp_path: Path, image: str) -> None:
    with daemon(tmp_path, modules=distribution) as running:
        attack = "ls / >/dev/null; echo x 2>/dev/null >/proc/sys/kernel/core_pattern"
        result = running.run(image, "sh", "-c", attack)
        rules = {found["rule_id"] for found in result["findings"]}
        assert {"plug-in", "core-pattern"} <= rules
        told = await_failures(running)
        assert all(details["failures"] >= 1 and details["reason"] for details in told)
        text = running.request("GET", "/metrics").body.decode()
        for name in names(*RUN, *NOT_LOADED):
            series = rf'^container_kit_detector_failures_total{{detector="{re.escape(name)}".*}} [1-9]'
            assert re.search(series, text, re.MULTILINE), name
        assert running.request("GET", "/healthz").json()["status"] == "ok"
        assert running.run(image, "true")["exit_code"] == 0
