"""Signed, unsigned, wrongly signed, copied from elsewhere: with a real registry, engine and daemon."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from daemon import PROFILES
from daemon.cli import main
from daemon.images.judgement import judge_signature
from daemon.images.policy import FILE, SignatureRequirement
from daemon.images.reference import parse
from daemon.images.registry import Absent, RegistryClient, RegistryError
from daemon.images.signatures import SIGNATURES_LIMIT, Signatures
from daemon.sandbox.report import Control, Threat
from tests.images.archives import File
from tests.images.local_registry import Images, registry
from tests.images.signing import attach, layer, payload, public_file, sign
from tests.images.test_bundles import refer
from tests.images.test_keyless import AUTHORITY, statement
from tests.running import Daemon, daemon

pytestmark = [pytest.mark.root, pytest.mark.docker]

FIRST, SECOND = ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()
STRANGER = ec.generate_private_key(ec.SECP384R1())
POLICY = """
[local]
images = []
why = "none for the tests"

[[rules]]
images = ["{host}/one/**"]
signature = {{ keys = ["{folder}/first.pub", "{folder}/second.pub"] }}
why = "signed by one of the two"

[[rules]]
images = ["{host}/both/**"]
why = "signed by both of them"
[rules.signature]
keys = ["{folder}/first.pub", "{folder}/second.pub", "{folder}/first-again.pub"]
threshold = 2

[sigstore]
trusted_root = "{folder}/root.json"

[[rules]]
images = ["{host}/identity/**"]
why = "signed by the workflow of the tests"
[rules.signature]
identities = [{{ issuer = "https://issuer.example.org", subject = "https://example.org/release" }}]
"""


@dataclass(frozen=True)
class Host:
    registry: str
    images: Images
    running: Daemon
    folder: Path

    def pushed(self, path: str) -> tuple[str, str]:
        """Its repository, and its manifest's digest."""
        repository = path.partition(":")[0]
        return repository, self.images.pushed(f"{self.registry}/{path}", [File("made-for", path.encode())])

    def run(self, path: str) -> str:
        """What it said, or why not."""
        result = self.running.run(f"{self.registry}/{path}", "echo", "ran")
        return str(result.get("stdout") or result["reasons"])


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    folder = tmp_path_factory.mktemp("signed")
    for name, key in {"first": FIRST, "second": SECOND, "first-again": FIRST}.items():
        public_file(key, folder / f"{name}.pub")
    AUTHORITY.root(folder / "root.json")
    images = Images()
    try:
        with registry(folder) as address:
            text = (PROFILES / "default.toml").read_text().replace('["docker.io"]', f'["{address}"]')
            (folder / "profiles").mkdir()
            (folder / "profiles/default.toml").write_text(text)
            (folder / "profiles" / FILE).write_text(POLICY.format(host=address, folder=folder))
            with daemon(folder, f'profile_dirs = ["{PROFILES}", "{folder}/profiles"]\n') as running:
                yield Host(address, images, running, folder)
    finally:
        images.close()


@pytest.mark.parametrize("key", [FIRST, SECOND], ids=["ecdsa", "ed25519"])
def test_signed_by_one_of_the_keys_it_runs(host: Host, key: ec.EllipticCurvePrivateKey) -> None:
    path = f"one/by-{type(key).__name__.lower()[:4].strip('_')}"
    repository, digest = host.pushed(f"{path}:1")
    assert "is not signed" in host.run(f"{path}:1")
    sign(host.registry, repository, digest, key)
    assert host.run(f"{path}:1") == "ran\n"


def test_signed_by_an_identity_it_runs(host: Host) -> None:
    repository, digest = host.pushed("identity/tool:1")
    assert "is not signed" in host.run("identity/tool:1")
    said = statement(digest, f"{host.registry}/identity/tool")
    for subject in ("https://example.org/nightly", "https://example.org/release"):
        made = AUTHORITY.bundle(said, subject, "https://issuer.example.org")
        refer(host.registry, repository, json.dumps(made).encode(), of=digest)
        ran = host.run("identity/tool:1")
        assert ran == "ran\n" if subject.endswith("release") else "one by a certificate is not good" in ran


def test_a_strangers_signature_is_none(host: Host) -> None:
    repository, digest = host.pushed("one/strange:1")
    sign(host.registry, repository, digest, STRANGER)
    assert "0 of 1 signatures that the policy asks for: one is by another key" in host.run("one/strange:1")


def test_a_signature_of_another_image_or_repository_is_none(host: Host) -> None:
    """The bytes are the same, and so is the key; what it put its name to is not this."""
    elsewhere, digest = host.pushed("one/original:1")
    sign(host.registry, elsewhere, digest, FIRST)
    repository, other = host.pushed("one/copied:1")
    for said, why in {
        payload(f"{host.registry}/one/copied", digest): "one is of another image",
        payload(f"{host.registry}/one/original", other): f"one was made for {host.registry}/one/original",
        payload(f"{host.registry}/one/copied", other, kind="a wish"): "one is no signature of an image",
        b"{}": "one says nothing that can be understood",
    }.items():
        attach(host.registry, repository, other, [layer(host.registry, repository, said, FIRST)])
        assert why in host.run("one/copied:1")


def test_two_are_asked_for_and_one_key_twice_is_one(host: Host) -> None:
    repository, digest = host.pushed("both/tool:1")
    sign(host.registry, repository, digest, FIRST, FIRST)
    assert "1 of 2 signatures" in host.run("both/tool:1")
    sign(host.registry, repository, digest, FIRST, STRANGER, SECOND)
    assert host.run("both/tool:1") == "ran\n"


def test_the_command_says_who_signed_and_what_does_not_count(host: Host) -> None:
    repository, digest = host.pushed("both/asked:1")
    name = f"{host.registry}/both/asked:1"
    sign(host.registry, repository, digest, FIRST, STRANGER)
    environment = {"CONTAINER_KIT_SOCKET": str(host.running.socket)}

    def command(*words: str) -> Result:
        return CliRunner().invoke(main, ["images", "sign-check", *words], env=environment)

    found = command("--json", name)
    assert found.exit_code == 1
    (manifest,) = json.loads(found.output)["manifests"]
    assert manifest["image"].startswith(f"{host.registry}/both/asked@{digest[:19]}")
    assert manifest["required_by"] == f"the rule for {host.registry}/both/**"
    assert (manifest["threshold"], manifest["met"], manifest["problem"]) == (2, False, None)
    assert len(manifest["signed_by"]) == 1
    assert manifest["signed_by"][0] in {"first.pub", "first-again.pub"}
    assert manifest["refused"] == ["one is by another key"]
    assert "asks for 2 signers, 1 found" in command(name).output
    sign(host.registry, repository, digest, FIRST, SECOND)
    met = command(name)
    assert (met.exit_code, met.output.partition(":")[0]) == (0, "signed as the policy asks")
    local = host.images.local("container-kit-test/unsigned:1")
    assert "made on this host" in command(local).output


async def verdict(name: str, digest: str, *keys: Path) -> Threat | Control:
    client = RegistryClient(deadline_s=5)
    try:
        return judge_signature(
            await Signatures(client)(parse(name), digest, SignatureRequirement(keys=list(keys)))
        )
    finally:
        await client.close()


async def test_a_registry_that_is_away_is_not_an_unsigned_image(tmp_path: Path) -> None:
    key = public_file(FIRST, tmp_path / "key.pub")
    found = await verdict("127.0.0.1:9/team/tool", f"sha256:{'a' * 64}", key)
    assert isinstance(found, Threat)
    assert found.reason.startswith(
        f"whether 127.0.0.1:9/team/tool@sha256:{'a' * 12} is signed cannot be told"
    )


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda path: path.write_text("no key"), "{path}: holds no public key in PEM: "),
        (lambda path: None, "No such file or directory: '{path}'"),
        (lambda path: path.mkdir(), "Is a directory: '{path}'"),
        (lambda path: public_file(Ed448PrivateKey.generate(), path), "{path}: neither an EC, an Ed25519 nor"),
    ],
    ids=["no PEM", "absent", "a folder", "another kind"],
)
async def test_what_the_policy_names_and_is_no_key_denies(
    tmp_path: Path, make: Callable[[Path], object], told: str
) -> None:
    path = tmp_path / "no.pub"
    make(path)
    found = await verdict("127.0.0.1:9/team/tool", f"sha256:{'a' * 64}", path)
    assert isinstance(found, Threat)
    assert "a key of the policy cannot be used: " in found.reason
    assert told.format(path=path) in found.reason
    assert "correct `keys` in images.toml" in found.remedy


async def test_an_rsa_key_signs_too(host: Host, tmp_path: Path) -> None:
    repository, digest = host.pushed("one/rsa:1")
    ours, theirs = (generate_private_key(65537, 2048) for _ in range(2))
    sign(host.registry, repository, digest, ours)
    name = f"{host.registry}/{repository}"
    good = await verdict(name, digest, public_file(ours, tmp_path / "ours.pub"))
    assert isinstance(good, Control)
    assert "is signed by ours.pub" in good.detail
    bad = await verdict(name, digest, public_file(theirs, tmp_path / "theirs.pub"))
    assert isinstance(bad, Threat)
    assert "one is by another key" in bad.reason


async def test_too_many_signatures_are_not_looked_at(host: Host) -> None:
    repository, digest = host.pushed("one/many:1")
    signed = layer(host.registry, repository, payload(f"{host.registry}/one/many", digest), FIRST)
    attach(host.registry, repository, digest, [signed] * (SIGNATURES_LIMIT + 1))
    found = await verdict(f"{host.registry}/one/many", digest, host.folder / "first.pub")
    assert isinstance(found, Threat)
    assert "cannot be told" in found.reason


async def test_what_a_registry_sends_is_bounded_and_compared(host: Host) -> None:
    repository, digest = host.pushed("one/read:1")
    reference = parse(f"{host.registry}/{repository}")
    client = RegistryClient()
    try:
        manifest = await client.manifest(reference, digest)
        config = manifest["config"]
        assert len(await client.blob(reference, config["digest"], config["size"])) == config["size"]
        with pytest.raises(RegistryError, match="more than"):
            await client.blob(reference, config["digest"], config["size"] - 1)
        with pytest.raises(Absent):
            await client.manifest(reference, f"sha256:{'0' * 64}")
    finally:
        await client.close()


def test_killed_in_between_it_denies_and_what_was_verified_still_runs(host: Host, tmp_path: Path) -> None:
    """The registry that this test ends is its own."""
    folder = tmp_path / "second"
    (folder / "profiles").mkdir(parents=True)
    with ExitStack() as stack, ExitStack() as registry_stack:
        address = registry_stack.enter_context(registry(folder))
        text = (PROFILES / "default.toml").read_text().replace('["docker.io"]', f'["{address}"]')
        (folder / "profiles/default.toml").write_text(text)
        (folder / "profiles" / FILE).write_text(POLICY.format(host=address, folder=host.folder))
        known, unknown = f"{address}/one/known:1", f"{address}/one/unknown:1"
        digests = [host.images.pushed(name, [File("made-for", name.encode())]) for name in (known, unknown)]
        sign(address, "one/known", digests[0], FIRST)
        sign(address, "one/unknown", digests[1], FIRST)
        running = stack.enter_context(daemon(folder, f'profile_dirs = ["{PROFILES}", "{folder}/profiles"]\n'))
        assert running.run(known, "echo", "ran")["stdout"] == "ran\n"
        registry_stack.close()
        assert "cannot be told" in running.run(unknown, "true")["reasons"][0]
        assert running.run(known, "echo", "ran")["stdout"] == "ran\n"
