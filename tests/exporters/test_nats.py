"""Whom a real nats-server lets in, and what whoever answers in its place gets to know."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nats as library
import pytest

from daemon.errors import ExportError
from exporters import nkey
from tests.exporters.nats_accounts import Accounts
from tests.exporters.receiver import TOKEN
from tests.exporters.running import Child, event, made, nats, nats_stream, running
from tests.exporters.secure import Certificates

Make = Callable[[str], Child]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
async def server(tmp_path: Path) -> Make:
    """Makes one of those settings; its stream is there."""
    with running(nats(tmp_path)) as child:
        await nats_stream(child.port)
    return lambda settings: nats(tmp_path, settings)


async def _check_arrival(child: Child, folder: Path, **options: Any) -> None:
    sent = [event(number) for number in range(3)]
    async with made("nats", child.port, folder, **options) as exporter:
        await exporter.export(sent)
    child.kill()
    assert [key for key, _ in await asyncio.to_thread(child.received)] == [one.id for one in sent]


async def _check_refusal(port: int, folder: Path, message: str, **options: Any) -> None:
    async with made("nats", port, folder, **options) as exporter:
        with pytest.raises(ExportError, match=message) as raised:
            await exporter.export([event()])
    assert raised.value.retryable


async def test_the_token_lets_in(server: Make, tmp_path: Path) -> None:
    with running(server(f'authorization {{ token: "{TOKEN}" }}')) as child:
        await _check_arrival(child, tmp_path, token=f"file:{tmp_path}/token")


@pytest.mark.parametrize("options", [{}, {"token": "key"}], ids=["none", "another"])
async def test_without_the_token_nobody_is_let_in(
    options: dict[str, str], server: Make, tmp_path: Path
) -> None:
    options = {name: f"file:{tmp_path}/{file}" for name, file in options.items()}
    with running(server(f'authorization {{ token: "{TOKEN}" }}')) as child:
        await _check_refusal(child.port, tmp_path, "Authorization Violation", **options)


def _asks_for_certificates(certificates: Certificates, more: str = "") -> str:
    pair, authority = certificates.receiver, certificates.authority
    files = f'cert_file: "{pair.certificate}", key_file: "{pair.key}", ca_file: "{authority}"'
    return f"tls {{ {files}, verify: true }}\n{more}"


@pytest.mark.parametrize("more", ["", "allow_non_tls: true"])
async def test_each_proves_who_it_is(
    more: str, server: Make, certificates: Certificates, tmp_path: Path
) -> None:
    """Also where the server would do without."""
    with running(server(_asks_for_certificates(certificates, more))) as child:
        await _check_arrival(child, tmp_path, tls=certificates.tls(certificates.client))


@pytest.mark.parametrize(
    ("client", "changed", "message"),
    [
        ("client", {"ca_file": "strange_authority"}, "certificate verify failed"),
        ("client", {"server_name": "other.test"}, r"not valid for 'other\.test'"),
        ("strange_client", {}, "."),
        ("", {}, "."),
    ],
    ids=["false receiver", "wrong name", "other authority", "no certificate"],
)
async def test_any_other_is_refused(
    client: str,
    changed: dict[str, str],
    message: str,
    server: Make,
    certificates: Certificates,
    tmp_path: Path,
) -> None:
    files = {key: getattr(certificates, name, name) for key, name in changed.items()}
    tls = certificates.tls(getattr(certificates, client) if client else None, **files)
    with running(server(_asks_for_certificates(certificates))) as child:
        await _check_refusal(child.port, tmp_path, message, tls=tls)


@pytest.mark.parametrize("options", [{"tls": {}}, {"servers": ["tls://127.0.0.1:{port}"]}])
async def test_who_offers_no_tls_learns_nothing(options: dict[str, Any], tmp_path: Path) -> None:
    """It says that it wants none, as somebody between us and the server would."""
    heard = bytearray()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id":"x","version":"2.10.0","auth_required":true,"headers":true}\r\n')
        heard.extend(await reader.read(1 << 16))
        writer.write(b"PONG\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        if "servers" in options:
            options = {"servers": [server.format(port=port) for server in options["servers"]]}
        await _check_refusal(port, tmp_path, ".", **options, token=f"file:{tmp_path}/token")
    assert heard
    assert TOKEN.encode() not in heard


async def test_credentials_let_in(tmp_path: Path) -> None:
    accounts = Accounts()
    file = accounts.credentials(tmp_path / "user.creds")
    with running(nats(tmp_path, accounts.settings)) as child:
        who = nkey.read(file)
        reader = await library.connect(
            f"nats://127.0.0.1:{child.port}", user_jwt_cb=who.jwt.encode, signature_cb=who.sign
        )
        await reader.jetstream().add_stream(name="AUDIT", subjects=["audit.>"])
        sent = event()
        async with made("nats", child.port, tmp_path, credentials_file=file) as exporter:
            await exporter.export([sent])
        taken = await reader.jetstream().get_msg("AUDIT", 1)
        await reader.close()
    assert taken.headers == {"Nats-Msg-Id": sent.id}


async def test_credentials_of_another_s_account_are_refused(tmp_path: Path) -> None:
    file = Accounts().credentials(tmp_path / "user.creds")
    with running(nats(tmp_path, Accounts().settings)) as child:
        await _check_refusal(child.port, tmp_path, "Authorization Violation", credentials_file=file)


@pytest.mark.parametrize(
    ("damaged", "message"),
    [
        ("BEGIN NATS", "no NATS USER JWT"),
        ("BEGIN USER NKEY", "no USER NKEY SEED"),
        (r"(?<=\nSU)\w{8}", "the USER NKEY SEED is damaged"),
    ],
)
async def test_what_are_no_credentials_is_told(damaged: str, message: str, tmp_path: Path) -> None:
    file = Accounts().credentials(tmp_path / "user.creds")
    file.write_text(re.sub(damaged, "AAAAAAAA", file.read_text()))
    await _check_refusal(4222, tmp_path, message, credentials_file=file)


async def test_credentials_that_everybody_may_read_are_not_used(tmp_path: Path) -> None:
    file = Accounts().credentials(tmp_path / "user.creds")
    file.chmod(0o644)
    await _check_refusal(4222, tmp_path, "everybody may read", credentials_file=file)
