"""What docs/writing-a-detector.md says is tried: its example, its test, the template."""

from __future__ import annotations

import re

import pytest

from detectors import process
from tests.detectors.documented import GUIDE, TEMPLATE, blocks, detector_in, example, module

EXAMPLE = example()
TESTS = [name for name in vars(EXAMPLE) if name.startswith("test_")]


def test_the_guide_has_an_example_and_its_test() -> None:
    assert len(blocks()) == 2
    assert len(TESTS) == 2


@pytest.mark.parametrize("name", TESTS)
def test_the_guides_own_test_passes(name: str) -> None:
    vars(EXAMPLE)[name]()


def test_the_guides_own_test_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detector_in(EXAMPLE), "detect", lambda self, event, sandbox: iter(()))
    with pytest.raises(AssertionError):
        vars(EXAMPLE)[TESTS[0]]()


def test_the_example_is_not_there_already() -> None:
    taken = {rule.id for kind in process.DETECTORS for rule in kind.rules}
    assert {rule.id for rule in detector_in(EXAMPLE).rules} & taken == set()


def test_the_template_is_a_detector() -> None:
    assert detector_in(module("documented_template", TEMPLATE)).rules


def test_the_files_that_the_guide_names_are_there() -> None:
    named = re.findall(r"\b(?:docs|detectors|tests)/[\w./-]*\w", GUIDE.read_text())
    assert named
    assert [name for name in named if not (GUIDE.parent.parent / name).exists()] == []
