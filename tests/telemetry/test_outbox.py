"""Nothing waits for a receiver, and what none took is counted: sent and lost are all that was put."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from daemon.errors import ExportError
from daemon.settings import TelemetrySettings
from daemon.telemetry import outbox
from daemon.telemetry.outbox import Outbox
from daemon.telemetry.over_http import ANSWER_LIMIT_BYTES, OverHttp
from daemon.telemetry.telemetry import sender
from exporters.tls import Tls
from tests.telemetry.collector import Collector, over_grpc, over_http


@pytest.fixture(autouse=True)
def _in_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "SEND_INTERVAL_S", 0.01)
    monkeypatch.setattr(outbox, "LONGEST_PAUSE_S", 0.02)


def wait(until: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 30
    while not until():
        assert time.monotonic() < deadline_s
        time.sleep(0.005)


def ended(box: Outbox[int], deadline_s: float = 30.0) -> dict[str, int]:
    box.stop()
    box.join(time.monotonic() + deadline_s)
    return dict(+box.lost)


class Receiver:
    """Takes what it is given, once it is let; `answers` come first."""

    def __init__(self, *answers: int | Exception) -> None:
        self.taken: list[int] = []
        self.asked, self.let = threading.Event(), threading.Event()
        self._answers = list(answers)

    def __call__(self, batch: list[int]) -> int:
        self.asked.set()
        self.let.wait(30)
        answer = self._answers.pop(0) if self._answers else 0
        if isinstance(answer, Exception):
            raise answer
        self.taken.extend(batch[answer:])
        return answer


def filled(receiver: Receiver, count: int, limit: int = 100) -> Outbox[int]:
    box = Outbox("traces", receiver, limit=limit, batch=10)
    for number in range(count):
        box.put(number)
    return box


def test_what_is_put_is_sent_in_its_order() -> None:
    receiver = Receiver()
    receiver.let.set()
    box = filled(receiver, 50)
    wait(lambda: box.sent == 50)
    assert receiver.taken == list(range(50))
    assert ended(box) == {}


def test_the_end_sends_what_waits() -> None:
    receiver = Receiver()
    receiver.let.set()
    box = filled(receiver, 5)
    assert ended(box) == {}
    assert receiver.taken == list(range(5))


def test_the_end_sends_what_was_put_at_the_last_moment() -> None:
    receiver = Receiver()
    receiver.let.set()
    for _ in range(200):
        assert ended(filled(receiver, 1)) == {}
    assert len(receiver.taken) == 200


def test_too_much_pushes_out_the_oldest() -> None:
    receiver = Receiver()
    box = filled(receiver, 200)
    receiver.let.set()
    wait(lambda: box.sent + box.lost.total() == 200)
    assert receiver.taken[-100:] == list(range(100, 200))
    assert ended(box) == {"queue_full": 200 - len(receiver.taken)}


def test_an_outage_loses_nothing_that_there_is_room_for() -> None:
    receiver = Receiver(*[ExportError("down")] * 3)
    receiver.let.set()
    box = filled(receiver, 30)
    wait(lambda: box.sent == 30)
    assert receiver.taken == list(range(30))
    assert ended(box) == {}


@pytest.mark.parametrize("answer", [ExportError("never", retryable=False), ValueError("a library's")])
def test_what_is_refused_is_lost_and_the_rest_goes_on(answer: Exception) -> None:
    receiver = Receiver(answer)
    box = filled(receiver, 25)
    receiver.let.set()
    wait(lambda: box.sent + box.lost.total() == 25)
    assert ended(box) == {"refused": 25 - len(receiver.taken)}
    assert 1 <= 25 - len(receiver.taken) <= 10


def test_a_partial_success_counts_what_was_rejected() -> None:
    receiver = Receiver(1)
    receiver.let.set()
    box = filled(receiver, 10)
    wait(lambda: box.sent == 9)
    assert ended(box) == {"refused": 1}


@pytest.mark.parametrize("answer", [0, 3, ExportError("down"), ExportError("never", retryable=False)])
def test_the_end_does_not_wait_for_a_receiver_that_hangs(answer: int | Exception) -> None:
    """What it says afterwards changes nothing."""
    receiver = Receiver(answer)
    box = filled(receiver, 25)
    assert receiver.asked.wait(30)
    assert ended(box, deadline_s=0.0) == {"shutdown": 25}
    box.put(0)
    receiver.let.set()
    assert ended(box) == {"shutdown": 26}
    assert not box._thread.is_alive()
    assert box.sent == 0


def test_an_outage_is_told_once() -> None:
    receiver = Receiver(*[ExportError("down")] * 4)
    with structlog.testing.capture_logs() as told:
        receiver.let.set()
        box = filled(receiver, 5)
        wait(lambda: box.sent == 5)
        ended(box)
    assert [line["log_level"] for line in told] == ["warning", "info"]
    assert told[0]["reason"] == "down"


@pytest.fixture(scope="module")
def collecting() -> Iterator[Collector]:
    with over_http() as started:
        yield started


@pytest.mark.parametrize(
    ("status", "retryable"),
    [(400, False), (401, False), (404, False), (429, True), (500, False), (503, True)],
)
def test_over_http_an_answer_says_whether_to_try_again(
    collecting: Collector, status: int, *, retryable: bool
) -> None:
    send = OverHttp(TelemetrySettings(endpoint=collecting.endpoint), Tls(), "traces")
    collecting.status = status
    with pytest.raises(ExportError, match=f"answered {status}: not now") as caught:
        send(b"")
    assert caught.value.retryable is retryable
    collecting.status = 200
    assert send(b"") == b""


@pytest.mark.parametrize(("protocol", "collector"), [("http", over_http), ("grpc", over_grpc)])
def test_a_secret_that_comes_back_is_not_told(protocol: str, collector: Any, tmp_path: Path) -> None:
    """Some proxies answer an error with the headers of the request."""
    (token := tmp_path / "token").write_text("hunter2")
    token.chmod(0o600)
    with collector() as received:
        received.status = 503
        settings = TelemetrySettings.model_validate(
            {"endpoint": received.endpoint, "protocol": protocol, "headers": {"x-key": f"file:{token}"}}
        )
        with pytest.raises(ExportError, match=r"not now: .*x-key': '\*\*\*") as caught:
            sender(settings, "traces")(b"")
    assert "hunter2" not in str(caught.value)


def test_over_http_an_endless_answer_is_not_read(collecting: Collector) -> None:
    send = OverHttp(TelemetrySettings(endpoint=collecting.endpoint), Tls(), "traces")
    collecting.padding = ANSWER_LIMIT_BYTES + 1
    with pytest.raises(ExportError, match="an answer beyond"):
        send(b"")
    collecting.padding = 0
    assert send(b"") == b""


def test_over_http_nobody_there_is_a_reason_to_try_again() -> None:
    send = OverHttp(TelemetrySettings(endpoint="http://127.0.0.1:9"), Tls(), "traces")
    with pytest.raises(ExportError, match=r"127\.0\.0\.1") as caught:
        send(b"")
    assert caught.value.retryable
