"""Recurring work that waits for each other."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from daemon.ticks import EARLY_S, SHORTEST_S, until_tick_s


@given(st.floats(SHORTEST_S, 60), st.floats(0, 1e6))
@example(0.5, 1.4996)
def test_long_waits_end_together(interval_s: float, now_s: float) -> None:
    wait_s = until_tick_s(interval_s, now_s)
    assert 0 < wait_s <= interval_s + EARLY_S + 1e-6
    turn = (now_s + wait_s) / interval_s
    assert turn == pytest.approx(round(turn), abs=1e-6)


@pytest.mark.parametrize("off_s", [-EARLY_S / 2, 0, EARLY_S / 2])
def test_around_the_moment_the_next_one_is_a_whole_interval_away(off_s: float) -> None:
    assert until_tick_s(2, 4 + off_s) == pytest.approx(2 - off_s)


def test_short_ones_are_as_asked() -> None:
    assert until_tick_s(0.02, 17.123) == 0.02
