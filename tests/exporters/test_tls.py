"""Syslog over TLS to an rsyslog that asks for a client's certificate: RFC 5425."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from daemon.errors import ExportError
from exporters import Exporter, syslog
from tests.exporters.running import Child, event, made, running, until
from tests.exporters.secure import RECEIVER, Certificates, secure_rsyslog


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def receiver(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    with running(secure_rsyslog(tmp_path_factory.mktemp("rsyslog"), certificates)) as child:
        yield child


def exporter(port: int, tls: dict[str, Any], folder: Path) -> AbstractAsyncContextManager[Exporter]:
    return made("syslog", port, folder, transport="tls", tls=tls)


async def test_the_right_client_delivers(receiver: Child, certificates: Certificates, tmp_path: Path) -> None:
    sizes, sent = [1, 500, 2, 2000, 300, 300], []
    async with exporter(receiver.port, certificates.tls(certificates.client), tmp_path) as outlet:
        for size in sizes:
            sent += (batch := [event(number) for number in range(size)])
            await outlet.export(batch)
        await until(lambda: {e.id for e in sent} <= {key for key, _ in receiver.received()})


@pytest.mark.parametrize(
    ("client", "changed", "message"),
    [
        ("", {}, "does it accept our certificate"),
        ("strange_client", {}, "does it accept our certificate"),
        ("other_client", {}, "does it accept our certificate"),
        ("client", {"ca_file": "strange_authority"}, "certificate verify failed"),
        ("client", {"server_name": "other.test"}, r"not valid for 'other\.test'"),
        ("client", {"certificate_file": "authority"}, "cannot be used"),
    ],
    ids=["no certificate", "other authority", "not permitted", "false receiver", "wrong name", "no pair"],
)
async def test_any_other_is_refused_and_told_why(
    client: str,
    changed: dict[str, str],
    message: str,
    receiver: Child,
    certificates: Certificates,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(syslog, "CLOSED_SOON_S", 30)  # it may be slow to refuse, on a busy machine
    files = {key: getattr(certificates, name, name) for key, name in changed.items()}
    tls = certificates.tls(getattr(certificates, client) if client else None, **files)
    refused = event()
    async with exporter(receiver.port, tls, tmp_path) as outlet:
        with pytest.raises(ExportError, match=message) as raised:
            await outlet.export([refused])
    assert raised.value.retryable
    assert refused.id not in {key for key, _ in receiver.received()}


async def test_tls_1_1_is_refused(certificates: Certificates, tmp_path: Path) -> None:
    old = 'gnutlsPriorityString="NORMAL:-VERS-ALL:+VERS-TLS1.1:%COMPAT:+SHA1"'
    with running(secure_rsyslog(tmp_path, certificates, old)) as child:
        assert _old_client(child.port, certificates) == "TLSv1.1"
        async with exporter(child.port, certificates.tls(certificates.client), tmp_path) as outlet:
            with pytest.raises(ExportError, match=r"has it TLS 1\.2 or newer"):
                await outlet.export([event()])


def _old_client(port: int, certificates: Certificates) -> str | None:
    """The version that a client agrees on with the receiver if it takes any."""
    context = ssl.create_default_context(cafile=certificates.authority)
    context.load_cert_chain(certificates.client.certificate, certificates.client.key)
    with pytest.warns(DeprecationWarning, match="TLSv1 is deprecated"):
        context.minimum_version = ssl.TLSVersion.TLSv1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with (
        socket.create_connection(("127.0.0.1", port), 30) as plainly,
        context.wrap_socket(plainly, server_hostname=RECEIVER) as secure,
    ):
        return secure.version()


async def test_a_receiver_that_dies_is_noticed(certificates: Certificates, tmp_path: Path) -> None:
    with running(secure_rsyslog(tmp_path, certificates)) as child:
        async with exporter(child.port, certificates.tls(certificates.client), tmp_path) as outlet:
            await outlet.export([event()])
            child.kill()
            with pytest.raises(ExportError, match=r"closed|reset|[Bb]roke"):
                await outlet.export([event()])
            child.start()
            again = event()
            await outlet.export([again])
            await until(lambda: again.id in {key for key, _ in child.received()})
