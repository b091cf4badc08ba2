"""Images made to harm their reader: a clear verdict, in bounded time and memory, and nothing to be had."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from daemon import ROOT
from daemon.images import layers
from daemon.images.child import Unscannable, run_program
from daemon.images.confinement import Limits
from daemon.images.contents import ImageContents
from tests.images.archives import File, configuration, digest, hard_link, layer, save, symlink, write
from tests.images.hostile import entries, header, with_checksum, zero_bomb

pytestmark = pytest.mark.root
PYTHON = str(Path(sys.executable).resolve())
LIMITS = Limits(memory_bytes=512 << 20, cpu_s=20, wall_s=60)


def negative_size() -> bytes:
    block = bytearray(header("a", 0))
    block[124:136] = b"\xff" * 12
    return with_checksum(block)


def sparse() -> bytes:
    return layer([File("a", pax=(("GNU.sparse.major", "1"),))])


def endless_long_names() -> bytes:
    return (header("././@LongLink", 60_000, tarfile.GNUTYPE_LONGNAME) + bytes(60_416)) * 30


HOSTILE_LAYERS: dict[str, tuple[Callable[[], bytes], str]] = {
    "claims 40 GB": (lambda: header("big", 40 << 30) + bytes(512), "claims 42949672960 bytes"),
    "negative size": (negative_size, "negative number"),
    "wrong checksum": (lambda: b"\1" + header("a", 0)[1:], "wrong checksum"),
    "text": (lambda: b"not a tar at all" * 64, "malformed number"),
    "cut in a header": (lambda: header("a", 0)[:100], "ends inside a header"),
    "leads out": (lambda: layer([File("../../etc/cron.d/x")]), "leads out of its folder"),
    "leads out absolutely": (lambda: layer([File("/a/../../etc/passwd")]), "leads out of its folder"),
    "long path": (lambda: layer([File("a/" * 5000)]), "a path of"),
    "chained headers": (endless_long_names, "bytes of headers at one entry"),
    "sparse": (sparse, "sparse file"),
    "unknown kind": (lambda: header("a", 0, b"Z"), "unknown kind"),
    "data after the end": (lambda: bytes(512) + header("a", 0), "after one empty block"),
    "broken gzip": (lambda: b"\x1f\x8b" + b"x" * 600, "reading it failed: error"),
    "zstd": (lambda: b"\x28\xb5\x2f\xfd" + bytes(600), "zstd"),
}


@pytest.mark.parametrize("name", HOSTILE_LAYERS)
async def test_a_hostile_layer_is_unscannable(tmp_path: Path, name: str) -> None:
    make, reason = HOSTILE_LAYERS[name]
    with pytest.raises(Unscannable, match=reason):
        await layers.read_image(save(tmp_path / "image.tar", [make()]), LIMITS)


def manifest(*images: object) -> dict[str, bytes]:
    return {"manifest.json": json.dumps(images).encode()}


DOCUMENT = configuration([])
HOSTILE_ARCHIVES: dict[str, tuple[dict[str, bytes], str]] = {
    "empty": ({}, "neither manifest.json nor index.json"),
    "broken JSON": ({"manifest.json": b"[{"}, "broken JSON"),
    "deep JSON": ({"manifest.json": b"[" * 200_000}, "broken JSON|JSON"),
    "two images": (manifest({}, {}), "holds 2 images"),
    "no list": ({"manifest.json": b"{}"}, "not a JSON array"),
    "a number for a layer": (
        manifest({"Config": "c", "Layers": [5]}) | {"c": DOCUMENT},
        "its configuration names 0",
    ),
    "a layer that is not there": (
        manifest({"Config": "c", "Layers": ["x"]}) | {"c": configuration([b""])},
        "lacks 'x'",
    ),
    "a configuration of another kind": (
        manifest({"Config": "c", "Layers": []}) | {"c": b"[]"},
        "not a JSON object",
    ),
    "huge JSON": ({"manifest.json": b" " * (3 << 20)}, "has over 2097152 bytes"),
}


@pytest.mark.parametrize("name", HOSTILE_ARCHIVES)
async def test_a_hostile_archive_is_unscannable(tmp_path: Path, name: str) -> None:
    members, reason = HOSTILE_ARCHIVES[name]
    image = write(tmp_path / "image.tar", members, digest(members.get("c", DOCUMENT)))
    with pytest.raises(Unscannable, match=reason):
        await layers.read_image(image, LIMITS)


async def test_a_layer_other_than_the_configuration_names(tmp_path: Path) -> None:
    members = manifest({"Config": "c", "Layers": ["l"]}) | {
        "c": configuration([layer([])]),
        "l": layer([File("a")]),
    }
    with pytest.raises(Unscannable, match="layer 0 is not what the configuration names"):
        await layers.read_image(write(tmp_path / "image.tar", members, digest(members["c"])), LIMITS)


async def test_links_that_lead_to_each_other(tmp_path: Path) -> None:
    files = [
        hard_link("var/lib/dpkg/status", "var/lib/dpkg/status"),
        hard_link("a", "b"),
        hard_link("b", "a"),
        symlink("c", "c"),
        symlink("etc/os-release", "os-release"),
    ]
    contents = await layers.read_image(save(tmp_path / "image.tar", [layer(files)]), LIMITS)
    assert contents.packages == ()
    assert any("var/lib/dpkg/status is a link" in part for part in contents.unread)


async def test_a_bomb_ends_at_the_limits(tmp_path: Path) -> None:
    with pytest.raises(Unscannable):
        await layers.read_image(zero_bomb(tmp_path), Limits(cpu_s=2, wall_s=30))


async def test_a_wall_clock_limit_ends_it(tmp_path: Path) -> None:
    with pytest.raises(Unscannable, match="took more than 0 s"):
        await layers.read_image(zero_bomb(tmp_path), Limits(wall_s=0.3))


async def test_many_notable_entries_are_refused(tmp_path: Path) -> None:
    many = b"".join(entries(25_000, lambda number: f"bin/{number}", mode=0o4755))
    with pytest.raises(Unscannable, match="over 20000 entries that need a look"):
        await layers.read_image(save(tmp_path / "image.tar", [many]), LIMITS)


async def test_memory_is_bounded(tmp_path: Path) -> None:
    deep = [File(f"{number}/" + "d/" * 1900 + ".env", b"x") for number in range(2000)]
    image = save(tmp_path / "image.tar", [layer(deep)])
    with pytest.raises(Unscannable, match=r"more memory|too many paths"):
        await layers.read_image(image, Limits(memory_bytes=128 << 20, cpu_s=20, wall_s=60))


async def attempt(code: str, tmp_path: Path, limits: Limits = LIMITS) -> str:
    """What a confined Python says; it sees nothing of this process's environment."""
    with Path(sys.executable).resolve().open("rb") as python:
        done = await run_program(python.fileno(), [PYTHON, "-I", "-S", "-c", code], limits, Path("/"), {})
    return done.stdout.decode() + done.stderr


async def test_a_confined_process_is_nobody_without_rights(tmp_path: Path) -> None:
    said = await attempt(
        "import os; print(os.getresuid(), os.getgroups(), dict(os.environ).get('HOME'))", tmp_path
    )
    assert said.startswith("(65534, 65534, 65534) [] None")
    status = await attempt("print(open('/proc/self/status').read())", tmp_path)
    assert "NoNewPrivs:\t1" in status
    assert "CapEff:\t0000000000000000" in status
    assert "Seccomp:\t2" in status


async def test_a_confined_process_has_no_sockets(tmp_path: Path) -> None:
    for family in ("AF_UNIX", "AF_INET"):
        said = await attempt(f"import socket; socket.socket(socket.{family})", tmp_path)
        assert "PermissionError" in said
    assert socket.socket(socket.AF_UNIX).close() is None


async def test_a_confined_process_writes_no_files_and_reads_no_secrets(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")
    (tmp_path / "secret").chmod(0o600)
    assert "PermissionError" in await attempt(f"open('{tmp_path}/secret')", tmp_path)
    said = await attempt("import os; os.write(os.memfd_create('x'), b'x')", tmp_path)
    assert "File too large" in said
    assert "MemoryError" in await attempt("bytes(1 << 30)", tmp_path)


# As systemd's SystemCallFilter=~@privileged @setuid: capset, setresuid, setresgid and setgroups fail.
FILTERED = """
import ctypes
from daemon.images import confinement
libc = ctypes.CDLL(None)
libc.prctl(confinement.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
machines = {"x86_64": ((126, 117, 119, 116), 0xC000003E), "aarch64": ((91, 147, 149, 159), 0xC00000B7)}
calls, arch = machines[confinement.platform.machine()]
confinement.install(libc, confinement.filter_code(arch, calls, allow=False))
"""
SEALED = """
import json, os, socket, sys
from daemon.images.confinement import Limits, confine
confine(Limits(), sealed=True)
def refused(call, *arguments):
    try:
        call(*arguments)
    except PermissionError:
        return True
    return False
found = [refused(open, "/etc/passwd"), refused(os.unlink, "/x"), refused(socket.socket), refused(os.fork)]
found += [refused(os.kill, 1, 0), refused(os.execv, "/bin/true", ["true"]), os.read(0, 1) == b"x"]
sys.stdout.write(json.dumps(found))
"""
WITHOUT_RIGHTS = ["setpriv", "--bounding-set=-all", "--no-new-privs"]


@pytest.mark.parametrize(
    ("before", "code"),
    [([], SEALED), (WITHOUT_RIGHTS, SEALED), ([], FILTERED + SEALED)],
    ids=["root", "root without capabilities", "root that cannot give them up"],
)
def test_a_sealed_process_only_uses_what_is_open(before: list[str], code: str) -> None:
    done = subprocess.run(
        [*before, sys.executable, "-c", code], input=b"x", capture_output=True, cwd=ROOT, check=True
    )
    assert json.loads(done.stdout) == [True] * 7


def test_a_program_with_files_is_not_run_by_root_that_cannot_become_nobody(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "daemon.images.confined", Limits().to_json(), "/", "0", "true"]
    with Path("/bin/true").open("rb") as program:
        done = subprocess.run(
            [*WITHOUT_RIGHTS, *command], stdin=program, capture_output=True, cwd=ROOT, check=False
        )
    assert done.returncode == 126
    assert b"cannot give up rights" in done.stderr


def test_layers_are_read_without_any_right(tmp_path: Path) -> None:
    image = save(tmp_path / "image.tar", [layer([File("bin/su", b"x", mode=0o4755)])])
    command = [sys.executable, "-m", layers.WORKER, Limits().to_json(), image.image_id]
    with image.path.open("rb") as archive:
        done = subprocess.run(
            [*WITHOUT_RIGHTS, *command], stdin=archive, capture_output=True, cwd=ROOT, check=True
        )
    assert ImageContents.from_lines(done.stdout).notables[0].path == "bin/su"


async def test_a_process_that_writes_too_much_is_ended(tmp_path: Path) -> None:
    with pytest.raises(Unscannable, match="over 1000 bytes"):
        await attempt("print('x' * 10_000_000)", tmp_path, Limits(output_bytes=1000))
