"""What came of a run, and what that proves."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import assert_never

from tests.corpus.case import Attack, Benign, Verdict
from tests.corpus.host import Canary

GOAL = 0


@dataclass(frozen=True)
class Outcome:
    """`exit_code` is None if the program was never started."""

    exit_code: int | None
    output: str
    canary_read: bool
    canary_written: bool

    @property
    def attempts(self) -> list[str]:
        return re.findall(r"^ATTEMPT (.*)$", self.output, re.MULTILINE)

    @property
    def effects(self) -> list[str]:
        return re.findall(r"^EFFECT (.*)$", self.output, re.MULTILINE)


def outcome(case: Attack | Benign, exit_code: int | None, output: str, canary: Canary) -> Outcome:
    """Looks for the canary's token in the output and for the file that a payload would have written."""
    written = canary.drop(case.id)
    seen = Outcome(exit_code, output, canary.read_in(output), written.exists())
    written.unlink(missing_ok=True)
    return seen


def verdict(case: Attack | Benign, seen: Outcome) -> Verdict:
    if seen.exit_code is None:
        return Verdict.NOT_STARTED
    match case:
        case Benign():
            return Verdict.OK if seen.exit_code == 0 else Verdict.FAILED
        case Attack():
            return _of_attack(seen)
        case _:
            assert_never(case)


def _of_attack(seen: Outcome) -> Verdict:
    if seen.canary_read or seen.canary_written:
        return Verdict.BREAKOUT
    if seen.effects or seen.exit_code == GOAL:
        return Verdict.EFFECT
    return Verdict.REFUSED if seen.attempts else Verdict.NOT_TRIED
