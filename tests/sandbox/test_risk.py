"""The risk rule: the worst threat decides, and the score never decides."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from daemon.sandbox.report import RiskLevel, Threat
from daemon.sandbox.risk import assess

RANK = list(RiskLevel)
LEVELS = st.sampled_from(RANK)


def threats(levels: list[RiskLevel]) -> list[Threat]:
    return [Threat(id="x", severity=level, reason="r", remedy="m") for level in levels]


def test_nothing_found_is_low_and_zero() -> None:
    assert assess([]) == (RiskLevel.LOW, 0)


def test_worst_threat_decides_and_weights_add_up() -> None:
    assert assess(threats(RANK)) == (RiskLevel.CRITICAL, 1111)


def test_score_alone_never_blocks() -> None:
    level, score = assess(threats([RiskLevel.MEDIUM] * 200))
    assert (level, score, level.blocks) == (RiskLevel.MEDIUM, 2000, False)


@given(st.lists(LEVELS), LEVELS)
def test_one_more_threat_never_lowers_level_or_score(levels: list[RiskLevel], more: RiskLevel) -> None:
    level, score = assess(threats(levels))
    level_after, score_after = assess(threats([*levels, more]))
    assert RANK.index(level_after) >= max(RANK.index(level), RANK.index(more))
    assert score_after > score


@given(st.lists(LEVELS).flatmap(lambda levels: st.tuples(st.just(levels), st.permutations(levels))))
def test_order_does_not_matter(pair: tuple[list[RiskLevel], list[RiskLevel]]) -> None:
    assert assess(threats(pair[0])) == assess(threats(pair[1]))
