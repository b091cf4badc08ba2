"""Samples that wait for each other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.sandbox.clock import TOGETHER_S, together_s


@given(st.floats(TOGETHER_S, 60), st.floats(0, 1e6))
def test_long_waits_end_together(interval_s: float, now_s: float) -> None:
    wait_s = together_s(interval_s, now_s)
    assert interval_s <= wait_s <= interval_s + TOGETHER_S
    turn = (now_s + wait_s) / TOGETHER_S
    assert turn == pytest.approx(round(turn), abs=1e-6)


def test_short_ones_are_as_asked() -> None:
    assert together_s(0.02, 17.123) == 0.02
