"""A log that somebody changed: every kind of change is found, and none where there was none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from daemon.audit.evidence import prove
from daemon.audit.key import SigningKey, Verifier, signing_key
from daemon.audit.log import HEAD, AuditLog
from daemon.audit.proofs import root_from_proof
from daemon.audit.record import EventType, SecurityAuditEvent
from daemon.audit.tree import leaf_hash
from daemon.audit.verify import verify
from daemon.cli import main
from daemon.errors import AuditError
from daemon.findings import Severity

EVENTS, EVERY = 40, 10


def event(number: int) -> SecurityAuditEvent:
    return SecurityAuditEvent(
        session_id=f"s{number % 3}",
        event_type=EventType.EXECUTION_STARTED,
        severity=Severity.LOW if number % 2 else Severity.HIGH,
        action="allowed",
        details={"number": number, "event_type": "AUDIT_CHECKPOINT"},
    )


async def written(path: Path, key: SigningKey, events: int = EVENTS) -> Path:
    """With a checkpoint after every tenth event; the last line is one."""
    log = AuditLog(path)
    for number in range(1, events + 1):
        await log.record(event(number))
        if number % EVERY == 0:
            await log.checkpoint(key)
            await log.checkpoint(key)  # nothing new: no line
    log.close()
    return path


@pytest.fixture
async def key(tmp_path: Path) -> SigningKey:
    return signing_key(tmp_path)


@pytest.fixture
async def log(tmp_path: Path, key: SigningKey) -> Path:
    return await written(tmp_path / "audit.jsonl", key)


def changed(log: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    log.write_bytes(b"\n".join([*change(log.read_bytes().splitlines()), b""]))


def edited(lines: list[bytes]) -> list[bytes]:
    return [*lines[:14], lines[14].replace(b"allowed", b"refused"), *lines[15:]]


def deleted(lines: list[bytes]) -> list[bytes]:
    return [*lines[:14], *lines[15:]]


def swapped(lines: list[bytes]) -> list[bytes]:
    return [*lines[:14], lines[15], lines[14], *lines[16:]]


def inserted(lines: list[bytes]) -> list[bytes]:
    return [*lines[:14], lines[14], *lines[14:]]


def renumbered(lines: list[bytes]) -> list[bytes]:
    """Deleted, and the gap closed."""
    after = [
        line.replace(b'{"seq":%d,' % seq, b'{"seq":%d,' % (seq - 1)) for seq, line in enumerate(lines, 1)
    ]
    return [*lines[:14], *after[15:]]


def cut(lines: list[bytes]) -> list[bytes]:
    return lines[:-3]


def rolled_back(lines: list[bytes]) -> list[bytes]:
    """To where an earlier checkpoint was the last line."""
    return lines[:22]


def torn(lines: list[bytes]) -> list[bytes]:
    return [*lines[:14], lines[14][:20], *lines[15:]]


def test_an_untouched_log_is_whole(log: Path, key: SigningKey) -> None:
    found = verify(log, key.verifier)
    assert (found.problems, found.lines, found.sealed, found.checkpoints) == ([], 44, 43, 4)


@pytest.mark.parametrize("change", [edited, deleted, swapped, inserted, renumbered, cut, rolled_back, torn])
def test_a_change_is_found(log: Path, key: SigningKey, change: Callable[[list[bytes]], list[bytes]]) -> None:
    changed(log, change)
    assert verify(log, key.verifier).problems != []


async def test_what_is_older_altogether_is_found_by_a_checkpoint_from_elsewhere(
    log: Path, key: SigningKey, tmp_path: Path
) -> None:
    kept = log.with_name(HEAD).read_text()
    (tmp_path / "old").mkdir()
    old = await written(tmp_path / "old/audit.jsonl", key, EVENTS // 2)
    assert verify(old, key.verifier).problems == []
    assert verify(old, key.verifier, [kept]).problems == [
        "cut off: the log has 22 lines, and a checkpoint of 43 was signed"
    ]
    longer = await written(tmp_path / "old/longer.jsonl", key, 2 * EVENTS)
    assert verify(longer, key.verifier, [kept]).problems == [
        "the first 43 lines are not those of a checkpoint that was kept"
    ]


async def test_another_key_is_found_by_the_one_that_was_kept(log: Path, key: SigningKey) -> None:
    for path in (log, log.with_name("key"), log.with_name("key.pub")):
        path.unlink()
    swapped_key = signing_key(log.parent)
    await written(log, swapped_key)
    assert verify(log, swapped_key.verifier).problems == []
    assert verify(log, key.verifier).problems != []
    with pytest.raises(AuditError, match="not signed by this log's key"):
        verify(log, swapped_key.verifier, [key.sign(1, bytes(32))])


async def test_without_the_newest_checkpoint_it_is_not_taken_for_whole(log: Path, key: SigningKey) -> None:
    log.with_name(HEAD).unlink()
    assert "is missing" in verify(log, key.verifier).problems[0]


async def test_a_crash_is_no_change(log: Path, key: SigningKey) -> None:
    """The unfinished line is cut off, what is behind the last checkpoint stays, and the tree goes on."""
    with log.open("ab") as file:
        file.write(b'{"seq":45,"id":"')
    again = AuditLog(log)
    assert again.torn_bytes == 16
    await again.record(event(0))
    again.close()
    found = verify(log, key.verifier)
    assert (found.problems, found.lines, found.sealed) == ([], 45, 43)
    again = AuditLog(log)
    assert again.torn_bytes == 0
    await again.checkpoint(key)
    again.close()
    assert verify(log, key.verifier).sealed == 45


@pytest.mark.parametrize("seq", [1, 14, 40])
def test_one_event_can_be_proved_without_the_log(log: Path, key: SigningKey, seq: int) -> None:
    proof = prove(log, key.verifier, seq)
    line = log.read_bytes().splitlines()[seq - 1]
    signed = key.verifier.open(proof["checkpoint"])
    nodes = [bytes.fromhex(node) for node in proof["proof"]]
    assert root_from_proof(leaf_hash(line), proof["index"], proof["size"], nodes) == signed.root
    assert signed.size == proof["size"]


@pytest.mark.parametrize(("seq", "reason"), [(44, "no checkpoint stands"), (45, "is not in")])
def test_what_cannot_be_proved_is_said(log: Path, key: SigningKey, seq: int, reason: str) -> None:
    with pytest.raises(AuditError, match=reason):
        prove(log, key.verifier, seq)


def test_the_key_is_nobody_elses_to_read_and_stays(tmp_path: Path) -> None:
    first = signing_key(tmp_path)
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o400
    assert str(signing_key(tmp_path).verifier) == str(first.verifier)
    assert str(Verifier.parse(str(first.verifier))) == str(first.verifier)


def test_a_credential_of_the_service_manager_is_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = signing_key(tmp_path / "given")
    (tmp_path / "given/key").rename(tmp_path / "given/audit-key")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "given"))
    assert str(signing_key(tmp_path / "state").verifier) == str(given.verifier)
    assert not (tmp_path / "state/key").exists()


@pytest.mark.parametrize("text", ["", "x", "a+b+c"])
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(AuditError):
        Verifier.parse(text)


def test_a_key_that_lost_a_letter_is_refused() -> None:
    with pytest.raises(AuditError):
        Verifier.parse(str(Verifier.of(Ed25519PrivateKey.generate().public_key()))[1:])


class TestCommands:
    @pytest.fixture
    def state(self, log: Path) -> Path:
        folder = log.parent / "state"
        (folder / "audit").mkdir(parents=True)
        for name in ("audit.jsonl", "key.pub", HEAD):
            (folder / "audit" / name).write_bytes(log.with_name(name).read_bytes())
        return folder

    def run(self, state: Path, *arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(main, ["audit", "--state-dir", str(state), *arguments])
        return done.exit_code, done.output

    def test_verify(self, state: Path) -> None:
        assert self.run(state, "verify") == (0, "44 lines, 43 of them under 4 checkpoints\n")
        changed(state / "audit/audit.jsonl", edited)
        code, output = self.run(state, "verify", "--json")
        assert code == 1
        assert json.loads(output)["problems"][0] == "lines 11 to 21 are not those that were signed"

    def test_verify_with_what_was_kept_elsewhere(self, state: Path, tmp_path: Path) -> None:
        _, key_line = self.run(state, "key")
        (tmp_path / "kept").write_text((state / "audit" / HEAD).read_text())
        changed(state / "audit/audit.jsonl", rolled_back)
        arguments = ("verify", "--key", key_line.strip(), "--against", str(tmp_path / "kept"))
        assert self.run(state, *arguments)[0] == 1

    def test_prove(self, state: Path) -> None:
        assert json.loads(self.run(state, "verify", "--prove", "3")[1])["index"] == 2

    @pytest.mark.parametrize(
        ("options", "count"),
        [
            ((), 44),
            (("--type", "AUDIT_CHECKPOINT"), 4),
            (("--severity", "high"), 20),
            (("--session", "s1", "--type", "EXECUTION_STARTED"), 14),
            (("--since", "2999-01-01"), 0),
            (("--until", "2999-01-01", "--format", "cef"), 44),
            (("--until", "2000-01-01"), 0),
        ],
    )
    def test_query(self, state: Path, options: tuple[str, ...], count: int) -> None:
        code, output = self.run(state, "query", *options)
        assert (code, len(output.splitlines())) == (0, count)

    def test_a_format_that_nobody_writes_is_refused(self, state: Path) -> None:
        refused = "container-kit: no such format\n  one of plain, cef, ecs, leef, ocsf, rfc5424\n"
        assert self.run(state, "query", "--format", "xml") == (125, refused)

    def test_query_passes_over_what_is_torn(self, state: Path) -> None:
        changed(state / "audit/audit.jsonl", torn)
        code, output = self.run(state, "query")
        assert (code, len(output.splitlines())) == (0, 43)

    @pytest.mark.parametrize("content", [b"no key\n", b"\xff\xfe"])
    @pytest.mark.parametrize("command", ["verify", "key", "export"])
    def test_a_key_that_is_none_is_said(self, state: Path, command: str, content: bytes) -> None:
        (state / "audit/key.pub").write_bytes(content)
        code, output = self.run(state, command)
        assert code == 125
        assert output.startswith("container-kit: the audit log cannot be verified\n  no key: ")

    @pytest.mark.parametrize("content", [b"no checkpoint\n", b"\xff\xfe"])
    @pytest.mark.parametrize("command", ["verify", "export"])
    def test_a_kept_checkpoint_that_is_none_is_said(
        self, state: Path, tmp_path: Path, command: str, content: bytes
    ) -> None:
        (tmp_path / "kept").write_bytes(content)
        code, output = self.run(state, command, "--against", str(tmp_path / "kept"))
        assert code == 125
        assert output.startswith("container-kit: the audit log cannot be verified\n")

    def test_there_is_no_event_before_the_first(self, state: Path) -> None:
        assert self.run(state, "verify", "--prove", "0")[0] == 2

    @pytest.mark.parametrize("command", ["verify", "key", "export", "query"])
    @pytest.mark.parametrize("has_folder", [False, True])
    def test_what_is_not_there_is_said(self, tmp_path: Path, command: str, has_folder: bool) -> None:
        if has_folder:
            (tmp_path / "audit").mkdir()
        code, output = self.run(tmp_path, command)
        assert (code, "name the daemon's state_dir" in output) == (125, True)

    def test_a_log_that_is_gone_is_said(self, state: Path) -> None:
        (state / "audit/audit.jsonl").unlink()
        code, output = self.run(state, "verify")
        assert (code, f"{state}/audit/audit.jsonl" in output) == (125, True)
