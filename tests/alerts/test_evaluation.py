"""Rules as pure logic: what fires, is only counted, is held back, is resolved; and its bounds."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from daemon.alerts.alert import Notification
from daemon.alerts.evaluation import OTHERS, SUBJECTS, TIMES, Evaluation
from daemon.alerts.limit import Limit
from daemon.audit.record import EventType
from daemon.findings import Severity
from tests.alerts.making import event, rule


def evaluation(most: int = 100, limit_s: float = 60, **keys: Any) -> Evaluation:
    return Evaluation(rule(**keys), Limit(most, limit_s), "host.example")


def told(*notifications: Notification | None) -> list[tuple[str, str, int]]:
    return [(one.status, one.subject, one.count) for one in notifications if one]


@pytest.mark.parametrize(
    ("keys", "wanted"),
    [
        ({}, True),
        ({"minimum_severity": "critical"}, False),
        ({"event_types": ["EXECUTION_BLOCKED"]}, False),
        ({"event_types": ["EXECUTION_BLOCKED", "SECURITY_VIOLATION"]}, True),
        ({"rule_ids": ["some-rule"]}, True),
        ({"rule_ids": ["another"]}, False),
    ],
)
def test_a_rule_wants_what_fits_all_that_it_says(keys: dict[str, Any], wanted: bool) -> None:
    assert rule(**keys).wants(event()) is wanted


@pytest.mark.parametrize(
    "keys",
    [
        {"name": "../a"},
        {"channels": []},
        {"channels": ["c", "c"]},
        {"at_least": 0},
        {"quiet_s": 0},
        {"rule_ids": ["x"], "event_types": ["EXECUTION_BLOCKED"]},
        {"colour": "red"},
    ],
)
def test_a_rule_that_cannot_fire_is_refused(keys: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        rule(**keys)


def test_one_alert_a_sandbox_however_many_events() -> None:
    one = evaluation()
    got = [one.take(event(n, sandbox), n) for n in range(50) for sandbox in ("s1", "s2")]
    assert told(*got) == [("firing", "s1", 1), ("firing", "s2", 1)]
    assert [alert.count for alert in one.alerts] == [50, 50]


def test_what_is_about_the_host_is_one_alert() -> None:
    one = evaluation(by="host")
    assert told(*(one.take(event(0, f"s{n}"), 0) for n in range(9))) == [("firing", "", 1)]
    assert one.alerts[0].count == 9


def test_containers_of_others_and_the_host_itself_are_subjects_too() -> None:
    one = evaluation()
    got = [one.take(event(0, None, container_id="c" * 64), 0), one.take(event(0, None), 0)]
    assert told(*got) == [("firing", "c" * 64, 1), ("firing", "", 1)]


def test_it_fires_at_so_many_within_so_long() -> None:
    one = evaluation(at_least=3, within_s=10)
    assert told(*(one.take(event(at_s), at_s) for at_s in (0, 6, 12, 18))) == []
    assert told(one.take(event(22), 22)) == [("firing", "s1", 3)]


def test_what_is_read_late_is_counted_as_it_happened() -> None:
    one = evaluation(at_least=3, within_s=10)
    assert told(*(one.take(event(at_s), 1000) for at_s in range(0, 600, 6))) == []


def test_each_sandbox_is_counted_on_its_own() -> None:
    one = evaluation(at_least=3)
    assert told(*(one.take(event(0, f"s{n % 10}"), 0) for n in range(20))) == []


def test_it_is_resolved_after_a_quiet_time_and_may_fire_again() -> None:
    one = evaluation(quiet_s=300)
    first = one.take(event(0), 0)
    one.take(event(200), 200)
    assert one.next_due_s() == 500
    assert one.due(499) == []
    (resolved,) = one.due(500)
    assert told(resolved) == [("resolved", "s1", 2)]
    assert first is not None
    assert resolved.alert_id == first.alert_id
    assert (resolved.id != first.id, resolved.event, one.next_due_s()) == (True, None, None)
    again = one.take(event(600), 600)
    assert told(again) == [("firing", "s1", 1)]
    assert again is not None
    assert again.alert_id != first.alert_id


def test_a_rate_that_does_not_hold_any_more_is_quiet() -> None:
    one = evaluation(at_least=3, within_s=10, quiet_s=100)
    for at_s in (0, 1, 2, 50, 90):
        one.take(event(at_s), at_s)
    assert told(*one.due(102)) == [("resolved", "s1", 5)]


def test_a_worse_event_is_told_at_once() -> None:
    one = evaluation()
    one.take(event(0), 0)
    worse = one.take(event(1, severity=Severity.CRITICAL), 1)
    assert told(worse) == [("firing", "s1", 2)]
    assert worse is not None
    assert worse.severity is Severity.CRITICAL
    assert one.take(event(2, severity=Severity.CRITICAL), 2) is None
    assert one.take(event(3), 3) is None


def test_what_goes_on_is_told_again_now_and_then() -> None:
    one = evaluation(repeat_s=100, quiet_s=50)
    got = told(*(one.take(event(at_s), at_s) for at_s in range(0, 250, 10)))
    assert got == [("firing", "s1", 1), ("firing", "s1", 11), ("firing", "s1", 21)]


def test_beyond_the_limit_it_is_counted_and_told_with_the_next() -> None:
    one = evaluation(most=3, limit_s=60)
    got = [one.take(event(0, f"s{n}"), 0) for n in range(10)]
    assert len(told(*got)) == 3
    assert (one.suppressed, one.suppressed_total, len(one.alerts)) == (7, 7, 10)
    later = one.take(event(61, "s-new"), 61)
    assert later is not None
    assert (later.suppressed, one.suppressed, one.suppressed_total) == (7, 0, 7)
    assert "7 other alerts suppressed" in later.summary


def test_one_that_was_held_back_is_told_by_a_later_event_and_counted_once() -> None:
    one = evaluation(most=1, limit_s=60)
    one.take(event(0, "s1"), 0)
    assert told(*(one.take(event(n, "s2"), n) for n in range(50))) == []
    assert one.suppressed_total == 1
    assert told(one.take(event(61, "s2"), 61)) == [("firing", "s2", 51)]


def test_nobody_hears_of_the_end_of_what_he_was_not_told() -> None:
    one = evaluation(most=1, quiet_s=10)
    for sandbox in ("s1", "s2", "s3"):
        one.take(event(0, sandbox), 0)
    (resolved,) = one.due(10)
    assert told(resolved) == [("resolved", "s1", 1)]
    assert resolved.suppressed == 2
    assert one.alerts == []


def test_a_flood_of_lesser_alerts_hides_no_critical_one() -> None:
    one = evaluation(most=5)
    for n in range(500):
        one.take(event(0, f"s{n}"), 0)
    assert told(one.take(event(1, "bad", Severity.CRITICAL), 1)) == [("firing", "bad", 1)]
    assert told(one.take(event(1, "s400", Severity.CRITICAL), 1)) == [("firing", "s400", 2)]
    got = [one.take(event(2, f"t{n}", Severity.CRITICAL), 2) for n in range(50)]
    assert len(told(*got)) == 3  # of the critical ones too there are five at most


def test_beyond_so_many_sandboxes_one_alert_stands_for_all_others() -> None:
    one = evaluation(most=10 * SUBJECTS)
    for n in range(3 * SUBJECTS):
        one.take(event(0, f"s{n}"), 0)
    alerts = {alert.subject: alert.count for alert in one.alerts}
    assert (len(alerts), alerts[OTHERS], sum(alerts.values())) == (SUBJECTS + 1, 2 * SUBJECTS, 3 * SUBJECTS)
    worse = one.take(event(1, "another", Severity.CRITICAL), 1)
    assert told(worse) == [("firing", OTHERS, 2 * SUBJECTS + 1)]


def test_what_is_only_counted_is_bounded() -> None:
    one = evaluation(at_least=1000)
    for n in range(5000):
        one.take(event(n / 1000, f"s{n % 500}"), 0)
    assert sum(len(times) for times in one._counted.values()) <= TIMES
    assert len(one._counted) == TIMES // 1000


def test_alerts_of_an_earlier_run_go_on() -> None:
    before = evaluation(most=2)
    for n in range(5):
        before.take(event(0, f"s{n}"), 0)
    after = evaluation(quiet_s=300)
    after.restore([alert.model_copy() for alert in before.alerts], before.suppressed, 1000)
    assert after.take(event(1, "s1"), 1001) is None
    assert len(after.due(1301)) == 2  # those that were told


def test_a_summary_is_one_line() -> None:
    said = evaluation().take(event(0), 0)
    assert said is not None
    assert said.summary == "a firing (high, sandbox s1, 1 event): SECURITY_VIOLATION some-rule"
    assert b"\n" not in evaluation().take(event(0, text="x\ny"), 0).body  # type: ignore[union-attr]


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.integers(0, 40), st.sampled_from(["s1", "s2", "s3", "s4"]), st.sampled_from(Severity)),
        max_size=60,
    ),
    most=st.integers(1, 4),
    at_least=st.integers(1, 4),
)
def test_every_alert_that_was_told_is_resolved_and_none_is_lost_uncounted(
    steps: list[tuple[int, str, Severity]], most: int, at_least: int
) -> None:
    one = evaluation(most=most, at_least=at_least, minimum_severity="low", quiet_s=50, repeat_s=30)
    now_s, got, begun = 0.0, [], 0
    for wait_s, sandbox, severity in steps:
        now_s += wait_s
        got += one.due(now_s)
        before = {alert.id for alert in one.alerts}
        notification = one.take(event(now_s, sandbox, severity), now_s)
        begun += len({alert.id for alert in one.alerts} - before)
        got += [notification] if notification else []
    got += one.due(now_s + 50)
    assert one.alerts == []
    ended = [n.alert_id for n in got if n.status == "resolved"]
    assert len(ended) == len(set(ended))
    assert set(ended) == {n.alert_id for n in got if n.status == "firing"}
    assert begun <= len(ended) + one.suppressed_total
    assert sum(n.suppressed for n in got) + one.suppressed == one.suppressed_total


def test_event_types_are_those_of_the_log() -> None:
    assert rule(event_types=list(EventType)).wants(event())
