"""Channels against what receives them: a web server, a real Alertmanager, a journal's socket."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import shutil
import socket
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from daemon.alerts.alert import Notification
from daemon.alerts.channels.alertmanager import Alertmanager, AlertmanagerOptions
from daemon.alerts.channels.journald import MESSAGE_IDS, Journald, JournaldOptions
from daemon.alerts.channels.webhook import Webhook, WebhookOptions
from daemon.alerts.evaluation import Evaluation
from daemon.alerts.limit import Limit
from daemon.errors import ExportError
from daemon.findings import Severity
from tests.alerts.making import event, rule
from tests.exporters.running import Child, running
from tests.ports import free_port

KEY = "correct horse battery staple"
ALERTMANAGER = "prometheus-alertmanager"
CONFIGURATION = """
route: {receiver: nobody, group_by: [alertname]}
receivers: [{name: nobody}]
"""


def firing_and_resolved(**details: Any) -> tuple[Notification, Notification]:
    one = Evaluation(rule(), Limit(9, 60), "host.example")
    firing = one.take(event(0, **details), 0)
    assert firing is not None
    return firing, one.due(300)[0]


class Hooked:
    """A web hook's receiver, and what it is to answer."""

    def __init__(self) -> None:
        self.port = free_port()
        self.status = 204
        self.requests: list[tuple[dict[str, str], bytes]] = []

    async def handle(self, request: web.Request) -> web.Response:
        self.requests.append((dict(request.headers), await request.read()))
        return web.Response(status=self.status, text="said the receiver")


@pytest.fixture
async def hooked() -> AsyncIterator[Hooked]:
    made, app = Hooked(), web.Application()
    app.router.add_post("/hook", made.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", made.port).start()
    yield made
    await runner.cleanup()


async def test_a_web_hook_gets_a_signed_alert(hooked: Hooked, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text(KEY)
    key.chmod(0o600)
    url = f"http://127.0.0.1:{hooked.port}/hook"
    channel = Webhook(WebhookOptions(name="c", kind="webhook", url=url, signing_key=f"file:{key}"))
    firing, resolved = firing_and_resolved(text="a\nb")
    for notification in (firing, firing, resolved):
        await channel.tell(notification)
    for headers, body in hooked.requests:
        time_s, digest = (part.split("=")[1] for part in headers["X-Container-Kit-Signature"].split(","))
        expected = hmac.new(KEY.encode(), time_s.encode() + b"." + body, hashlib.sha256).hexdigest()
        assert hmac.compare_digest(digest, expected)
    alerts = [json.loads(body)["alert"] for _, body in hooked.requests]
    assert [alert["status"] for alert in alerts] == ["firing", "firing", "resolved"]
    assert alerts[0] == json.loads(firing.body)
    assert alerts[0]["event"]["details"]["text"] == "a\nb"
    keys = [headers["Idempotency-Key"] for headers, _ in hooked.requests]
    assert keys[0] == keys[1] != keys[2]
    hooked.status = 503
    with pytest.raises(ExportError, match="answered 503: said the receiver") as raised:
        await channel.tell(firing)
    assert raised.value.retryable
    hooked.status = 422
    with pytest.raises(ExportError) as raised:
        await channel.tell(firing)
    assert not raised.value.retryable
    await channel.close()


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    if (program := shutil.which(ALERTMANAGER)) is None:
        pytest.skip(f"no {ALERTMANAGER}: tests/setup.sh installs it")
    folder, port = tmp_path_factory.mktemp("alertmanager"), free_port()
    (folder / "config.yml").write_text(CONFIGURATION)
    command = [program, f"--config.file={folder}/config.yml", f"--storage.path={folder}"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="]
    with running(Child(command, port, list, folder / "log")):
        yield port


async def alerts_at(port: int) -> list[dict[str, Any]]:
    def get() -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v2/alerts", timeout=30) as answer:
            return json.load(answer)

    found: list[dict[str, Any]] = await asyncio.to_thread(get)
    return found


async def test_alertmanager_has_one_alert_from_its_start_to_its_end(alertmanager: int) -> None:
    url = f"http://127.0.0.1:{alertmanager}"
    channel = Alertmanager(AlertmanagerOptions(name="c", kind="alertmanager", url=url))
    one = Evaluation(rule(), Limit(9, 60), "host.example")
    firing, worse = one.take(event(0), 0), one.take(event(1, severity=Severity.CRITICAL), 1)
    assert firing is not None
    assert worse is not None
    await channel.tell(firing)
    (alert,) = await alerts_at(alertmanager)
    assert alert["labels"] == {
        "alertname": "a",
        "job": "container-kit",
        "instance": "host.example",
        "sandbox": "s1",
    }
    assert alert["annotations"]["summary"] == firing.summary
    assert alert["startsAt"].startswith("2026-01-31T12:00:00")
    await channel.tell(worse)
    (again,) = await alerts_at(alertmanager)
    assert again["fingerprint"] == alert["fingerprint"]
    assert (again["annotations"]["severity"], again["annotations"]["count"]) == ("critical", "2")
    await channel.tell(one.due(301)[0])
    assert await alerts_at(alertmanager) == []  # it lists what is active
    await channel.close()


async def test_an_alertmanager_that_is_not_there_is_tried_again() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    channel = Alertmanager(AlertmanagerOptions(name="c", kind="alertmanager", url=url))
    with pytest.raises(ExportError, match="no answer") as raised:
        await channel.tell(firing_and_resolved()[0])
    assert raised.value.retryable
    await channel.close()


async def test_the_journal_gets_a_line_to_read_and_fields_to_filter_by(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(path))
        channel = Journald(JournaldOptions(name="c", kind="journald", socket=path))
        for notification in firing_and_resolved(text="x\nPRIORITY=0\n"):
            await channel.tell(notification)
        firing, resolved = (fields(journal.recv(1 << 20)) for _ in range(2))
    assert firing["MESSAGE"] == "a firing (high, sandbox s1, 1 event): SECURITY_VIOLATION some-rule"
    assert (firing["PRIORITY"], firing["MESSAGE_ID"]) == ("3", MESSAGE_IDS["firing"])
    assert (firing["CONTAINER_KIT_ALERT"], firing["CONTAINER_KIT_SUBJECT"]) == ("a", "s1")
    assert json.loads(firing["CONTAINER_KIT_RECORD"])["event"]["details"]["text"] == "x\nPRIORITY=0\n"
    assert (resolved["PRIORITY"], resolved["MESSAGE_ID"]) == ("5", MESSAGE_IDS["resolved"])
    with pytest.raises(ExportError, match="No such file"):
        await Journald(JournaldOptions(name="c", kind="journald", socket=tmp_path / "x")).tell(
            firing_and_resolved()[0]
        )


def fields(datagram: bytes) -> dict[str, str]:
    """As https://systemd.io/JOURNAL_NATIVE_PROTOCOL has it: a name, eight bytes of length, the value."""
    found = {}
    while datagram:
        name, _, rest = datagram.partition(b"\n")
        size = int.from_bytes(rest[:8], "little")
        assert name.decode() not in found
        found[name.decode()], datagram = rest[8 : 8 + size].decode(), rest[9 + size :]
    return found
