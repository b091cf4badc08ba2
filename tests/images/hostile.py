"""Images that are made to harm whoever reads them, large enough to tell."""

from __future__ import annotations

import gzip
import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

from daemon.images.findings import SavedImage
from tests.images.archives import DEBIAN, File, configuration, digest, dpkg_status, layer, save, write

MILLION = 1_000_000


def header(name: str, size_bytes: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.type = size_bytes, kind
    return member.tobuf(tarfile.GNU_FORMAT)


def with_checksum(block: bytearray) -> bytes:
    block[148:156] = b"        "
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def zero_bomb(folder: Path) -> SavedImage:
    """A gzip of 16 GiB of zeros in 16 MiB, as one file of a layer: members of a gzip may repeat."""
    zeros = gzip.compress(bytes(256 << 20), 9)
    packed = gzip.compress(header("zeros", 16 << 30), 1) + zeros * 64
    document = configuration([b"whatever"])
    manifest = json.dumps([{"Config": "c", "Layers": ["l"]}]).encode()
    return write(
        folder / "bomb.tar", {"manifest.json": manifest, "c": document, "l": packed}, digest(document)
    )


def entries(count: int, path: Callable[[int], str], mode: int = 0o644, link: str = "") -> Iterator[bytes]:
    """Empty files, or hard links to `link`."""
    block = bytearray(header("x", 0, tarfile.LNKTYPE if link else tarfile.REGTYPE))
    block[100:108] = b"%07o\0" % mode
    block[157:257] = link.encode().ljust(100, b"\0")
    for number in range(count):
        block[:100] = path(number).encode().ljust(100, b"\0")
        yield with_checksum(block)


def million_entries(folder: Path) -> SavedImage:
    content = b"".join(entries(MILLION, lambda n: f"usr/{n % 1000}/{n}"))
    return save(folder / "entries.tar", [content])


def million_links(folder: Path) -> SavedImage:
    """Each is the record of packages, and leads to itself."""
    content = b"".join(entries(MILLION, lambda _: "var/lib/dpkg/status", link="var/lib/dpkg/status"))
    return save(folder / "links.tar", [content])


def deep_folders(folder: Path) -> SavedImage:
    """Each has a file of keys at its end, so that its path is kept."""
    files = [File(f"{number}/" + "d/" * 1900 + ".env", b"x") for number in range(20_000)]
    return save(folder / "deep.tar", [layer(files)])


def many_setuid(folder: Path, count: int = 19_999) -> SavedImage:
    """As many as are told of."""
    content = b"".join(entries(count, lambda n: f"usr/bin/{n}", mode=0o4755))
    return save(folder / "setuid.tar", [content])


def many_packages(folder: Path, count: int = 99_999) -> SavedImage:
    """As many as are told of, each with a vulnerability that everybody has."""
    names = [f"p{number}" for number in range(count)]
    status = dpkg_status(dict.fromkeys(names, "1"), dict.fromkeys(names, "zlib"))
    files = [File("etc/os-release", DEBIAN), File("etc/debian_version", b"12.5\n")]
    return save(folder / "packages.tar", [layer([*files, File("var/lib/dpkg/status", status)])])


def large_configuration(folder: Path) -> SavedImage:
    """As large as it may be: variables, labels and history that are almost what is looked for."""
    near = [f"URL{number}=a://{'b' * 150}:{'c' * 150}" for number in range(3000)]
    labels = {f"l{number}": "eyJ" + "A" * 200 for number in range(1000)}
    config = {"Env": near, "Labels": labels, "Volumes": {f"/v{number}": {} for number in range(10_000)}}
    return save(folder / "configuration.tar", [layer([File("a")])], config)


def of_layers(name: str, content: bytes) -> Callable[[Path], SavedImage]:
    return lambda folder: save(folder / f"{name}.tar", [content])


def of_documents(name: str, manifest: bytes) -> Callable[[Path], SavedImage]:
    document = configuration([name.encode()])
    return lambda folder: write(folder / f"{name}.tar", {"manifest.json": manifest}, digest(document))


HOSTILE: dict[str, Callable[[Path], SavedImage]] = {
    "zeros": zero_bomb,
    "entries": million_entries,
    "links": million_links,
    "deep": deep_folders,
    "setuid": many_setuid,
    "packages": many_packages,
    "configuration": large_configuration,
    "claims": of_layers("claims", header("big", 40 << 30)),
    "leads-out": of_layers("leads-out", layer([File("a/../../etc/cron.d/x")])),
    "broken-json": of_documents("broken-json", b"[{"),
    "deep-json": of_documents("deep-json", b"[" * 1_000_000),
}
