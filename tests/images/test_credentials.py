"""Registries that ask who we are, by password and by token: with the right answer, a wrong one, and none."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from daemon import PROFILES
from daemon.errors import ConfigError
from daemon.images.credentials import Credentials, Login
from daemon.images.policy import FILE
from daemon.images.reference import parse
from daemon.images.registry import RegistryClient, RegistryError
from daemon.settings import RegistryLogin, load_settings
from exporters import secret
from tests.images.archives import File
from tests.images.local_registry import Images, registry
from tests.images.registry_access import TokenServer, by_passwords
from tests.images.signing import public_file, sign
from tests.ports import free_port
from tests.running import Daemon, daemon

pytestmark = [pytest.mark.root, pytest.mark.docker]
KEY = ec.generate_private_key(ec.SECP256R1())
USER, PASSWORD = "robot", "correct-horse-battery"
POLICY = """
[local]
images = []
why = "none for the tests"

[[rules]]
images = [{hosts}]
signature = {{ keys = ["{folder}/key.pub"] }}
why = "signed by the key of the tests"
"""
NAMES = ("right", "wrong", "pulled", "pulled-wrong", "absent", "spare")


@dataclass(frozen=True)
class Host:
    """Registries `basic` and `bearer`, each of a password, and `token`, of a token that was given before."""

    registries: dict[str, str]
    folder: Path
    images: Images
    running: Daemon

    def name(self, kind: str, image: str) -> str:
        return f"{self.registries[kind]}/team/{image}:1"

    def run(self, kind: str, image: str, running: Daemon | None = None) -> Any:
        return (running or self.running).run(self.name(kind, image), "echo", "ran", profile="pulling")

    def reasons(self, kind: str, image: str, running: Daemon | None = None) -> str:
        answer = self.run(kind, image, running)
        return str(answer.get("reasons") or answer.get("detail"))

    def remove(self, kind: str, image: str) -> None:
        self.images.client.images.remove(self.name(kind, image), force=True)

    def write(self, text: str) -> None:
        self.secret.write_text(f"{text}\n")

    @property
    def secret(self) -> Path:
        return self.folder / "password"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    folder = tmp_path_factory.mktemp("credentials")
    public_file(KEY, folder / "key.pub")
    images = Images()
    tokens = TokenServer(folder, USER, PASSWORD)
    hosts = {kind: f"127.0.0.1:{free_port()}" for kind in ("basic", "bearer", "token")}
    with ExitStack() as stack:
        stack.callback(images.close)
        by_token = stack.enter_context(tokens.serving())
        sections = {"basic": by_passwords(folder, USER, PASSWORD), "bearer": by_token, "token": by_token}
        for kind, address in hosts.items():
            (folder / f"registry-{kind}").mkdir()
            with registry(folder / f"registry-{kind}", address):
                for name in NAMES:
                    made_for = [File("made-for", f"{kind} {name}".encode())]
                    sign(address, f"team/{name}", images.pushed(f"{address}/team/{name}:1", made_for), KEY)
            stack.enter_context(registry(folder / f"registry-{kind}", address, sections[kind]))
        secrets = {"password": PASSWORD, "token": tokens.token(*(f"team/{name}" for name in NAMES))}
        for name, text in secrets.items():
            (folder / name).write_text(f"{text}\n")
            (folder / name).chmod(0o600)
        settings = profiles(folder, hosts)
        logins = "".join(login(kind, address, folder) for kind, address in hosts.items())
        running = stack.enter_context(daemon(folder, settings + logins))
        yield Host(hosts, folder, images, running)


def profiles(folder: Path, hosts: dict[str, str]) -> str:
    (folder / "profiles").mkdir()
    text = (PROFILES / "default.toml").read_text().replace('name = "default"', 'name = "pulling"')
    text = text.replace("[pull]\nvalue = false", "[pull]\nvalue = true")
    trusted = ", ".join(f'"{address}"' for address in hosts.values())
    (folder / "profiles/pulling.toml").write_text(text.replace('["docker.io"]', f"[{trusted}]"))
    rules = ", ".join(f'"{address}/**"' for address in hosts.values())
    (folder / "profiles" / FILE).write_text(POLICY.format(hosts=rules, folder=folder))
    return f'profile_dirs = ["{PROFILES}", "{folder}/profiles"]\n'


def login(kind: str, address: str, folder: Path) -> str:
    if kind == "token":
        return f'[[images.registries]]\nregistry = "{address}"\ntoken = "file:{folder}/token"\n'
    who = f'username = "{USER}"\npassword = "file:{folder}/password"\n'
    return f'[[images.registries]]\nregistry = "{address}"\n{who}'


@pytest.mark.parametrize("kind", ["basic", "bearer", "token"])
def test_with_the_right_ones_signatures_are_found_and_images_pulled(host: Host, kind: str) -> None:
    assert host.run(kind, "right")["stdout"] == "ran\n"
    host.remove(kind, "pulled")
    assert host.run(kind, "pulled")["stdout"] == "ran\n"


@pytest.mark.parametrize("kind", ["basic", "bearer"])
def test_with_wrong_ones_nobody_can_tell_and_nothing_is_pulled(host: Host, kind: str) -> None:
    """The file is read anew each time, so that a password that was replaced is the one that is sent."""
    host.remove(kind, "pulled-wrong")
    host.write("wrong-horse")
    try:
        said = host.reasons(kind, "wrong")
        pulled = host.reasons(kind, "pulled-wrong")
    finally:
        host.write(PASSWORD)
    refused = f"does not let us read team/wrong as {USER}, of images.registries: correct its entry"
    assert "is signed cannot be told" in said
    assert refused in said
    assert "is not signed" not in said
    assert f"(asked as {USER}, of images.registries)" in pulled
    assert host.run(kind, "wrong")["stdout"] == "ran\n"
    assert host.run(kind, "pulled-wrong")["stdout"] == "ran\n"


def test_a_token_that_is_none_of_the_registrys_is_refused(host: Host) -> None:
    token = (host.folder / "token").read_text()
    (host.folder / "token").write_text("x.y.z")
    try:
        said = host.reasons("token", "wrong")
    finally:
        (host.folder / "token").write_text(token)
    assert "does not let us read team/wrong as the holder of the token of images.registries" in said
    assert host.run("token", "wrong")["stdout"] == "ran\n"


def test_without_any_it_says_where_they_are_missing(host: Host, tmp_path: Path) -> None:
    settings = f'profile_dirs = ["{PROFILES}", "{host.folder}/profiles"]\n'
    with daemon(tmp_path, settings) as running:
        for kind in ("basic", "bearer"):
            said = host.reasons(kind, "absent", running)
            assert "is signed cannot be told" in said
            assert "lets nobody read team/absent without credentials: images.registries has none" in said
            host.remove(kind, "spare")
            assert "asked without credentials" in host.reasons(kind, "spare", running)


def test_a_secret_that_everybody_may_read_is_used_by_nobody(host: Host, tmp_path: Path) -> None:
    host.secret.chmod(0o644)
    try:
        said = host.reasons("basic", "spare")
        text = login("basic", host.registries["basic"], host.folder)
        with pytest.raises(RuntimeError, match="ended with 78") as caught, daemon(tmp_path, text):
            pass
    finally:
        host.secret.chmod(0o600)
    for one in (said, str(caught.value)):
        assert f"{host.secret}: a secret that everybody may read: chmod o= it" in one


def test_no_secret_is_in_what_is_said_logged_or_recorded(host: Host) -> None:
    """After all the tests above, which asked with them and were refused with others."""
    pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    token = (host.folder / "token").read_text().strip()
    written = (host.folder / "daemon.log").read_text() + json.dumps(host.running.events())
    assert "team/right" in written
    assert not [one for one in (PASSWORD, "wrong-horse", pair, token) if one in written]
    assert PASSWORD not in repr(Login("docker.io", USER, PASSWORD))


def test_what_the_service_manager_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hub").write_text("s3cret\n")
    (tmp_path / "hub").chmod(0o400)
    entry = RegistryLogin(registry="docker.io", username=USER, password="credential:hub")
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(ConfigError, match=r"images\.registries: docker\.io: .* LoadCredential=hub"):
        Credentials([entry], secret.read).check()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert Credentials([entry], secret.read).of("docker.io") == Login("docker.io", USER, "s3cret")
    assert Credentials([entry], secret.read).of("ghcr.io") is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('registry = "docker.io"', "give username and password, or token alone"),
        ('registry = "docker.io"\nusername = "a"', "give username and password, or token alone"),
        ('registry = "docker.io"\npassword = "file:/p"', "give username and password, or token alone"),
        ('registry = "a.b"\nusername = "a"\npassword = "file:/p"\ntoken = "file:/t"', "or token alone"),
        ('registry = "a.b"\nusername = "a:b"\npassword = "file:/p"', "should match pattern"),
        ('registry = "a.b"\nusername = "a"\npassword = "s3cret"', 'write "file:/PATH" or "credential:NAME"'),
        ('registry = "https://a.b"\ntoken = "file:/t"', "must be a registry as names of images have it"),
        ('registry = "index.docker.io"\ntoken = "file:/t"', "such as docker.io"),
    ],
)
def test_entries_that_cannot_be_honoured(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, f"[[images.registries]]\n{text}\n")
    assert problem in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_two_entries_for_one_registry(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"two entries are for a\.b"):
        read(tmp_path, '[[images.registries]]\nregistry = "a.b"\ntoken = "file:/t"\n' * 2)


def read(folder: Path, text: str) -> None:
    (folder / "config.toml").write_text(text)
    load_settings(folder / "config.toml")


async def test_a_password_is_sent_over_no_plain_http_off_this_host() -> None:
    """Nor to this host, where another one sends us here for a token."""
    client = RegistryClient(credentials=Credentials([], secret.read))
    login = Login("registry.example.com", USER, PASSWORD)
    for realm in ("http://tokens.example.com/", "http://127.0.0.1:9/token"):
        challenge = f'Bearer realm="{realm}",service="x"'
        with pytest.raises(RegistryError, match="not over plain HTTP"):
            await client._authorization(challenge, parse("registry.example.com/team/tool"), login)
    for challenge in ("", "Digest x", "Bearer"):
        with pytest.raises(RegistryError, match="asks for what is not supported"):
            await client._authorization(challenge, parse("registry.example.com/team/tool"), login)
