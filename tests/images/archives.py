"""Images as `docker save` writes them, made of a few files: no engine is needed."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import sqlite3
import struct
import tarfile
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daemon.images.findings import SavedImage

DEBIAN = b'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_ID="12"\n'
ALPINE = b'NAME="Alpine Linux"\nID=alpine\nVERSION_ID=3.18.4\nPRETTY_NAME="Alpine Linux v3.18"\n'


@dataclass(frozen=True)
class File:
    path: str
    content: bytes = b""
    mode: int = 0o644
    kind: bytes = tarfile.REGTYPE
    link: str = ""
    device: tuple[int, int] = (0, 0)
    pax: tuple[tuple[str, str], ...] = ()


def folder(path: str, mode: int = 0o755) -> File:
    return File(path, mode=mode, kind=tarfile.DIRTYPE)


def symlink(path: str, target: str) -> File:
    return File(path, kind=tarfile.SYMTYPE, link=target, mode=0o777)


def hard_link(path: str, target: str) -> File:
    return File(path, kind=tarfile.LNKTYPE, link=target)


def layer(files: Iterable[File]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for file in files:
            member = tarfile.TarInfo(file.path)
            member.type, member.mode, member.linkname = file.kind, file.mode, file.link
            member.size, member.devmajor, member.devminor = len(file.content), *file.device
            member.pax_headers = dict(file.pax)
            tar.addfile(member, io.BytesIO(file.content))
    return buffer.getvalue()


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def configuration(layers: Iterable[bytes], config: dict[str, Any] | None = None) -> bytes:
    rootfs = {"type": "layers", "diff_ids": [digest(content) for content in layers]}
    named = {"architecture": "amd64", "os": "linux", "config": config or {}, "rootfs": rootfs}
    return json.dumps(named).encode()


def save(path: Path, layers: list[bytes], config: dict[str, Any] | None = None) -> SavedImage:
    """In Docker's own layout."""
    document = configuration(layers, config)
    name = digest(document).removeprefix("sha256:")
    paths = [f"{index}/layer.tar" for index in range(len(layers))]
    manifest = [{"Config": f"{name}.json", "RepoTags": ["test/image:1"], "Layers": paths}]
    members = dict(zip(paths, layers, strict=True))
    return write(
        path,
        {**members, f"{name}.json": document, "manifest.json": json.dumps(manifest).encode()},
        digest(document),
    )


def save_oci(path: Path, layers: list[bytes], config: dict[str, Any] | None = None) -> SavedImage:
    """An OCI image layout with gzipped layers; its id is the manifest's digest, as in a containerd store."""
    document = configuration(layers, config)
    packed = [gzip.compress(content, 1, mtime=0) for content in layers]
    described = [
        {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest(c)} for c in packed
    ]
    manifest = json.dumps(
        {"schemaVersion": 2, "config": {"digest": digest(document)}, "layers": described}
    ).encode()
    index = json.dumps({"schemaVersion": 2, "manifests": [{"digest": digest(manifest)}]}).encode()
    blobs = {f"blobs/sha256/{digest(c)[7:]}": c for c in (*packed, document, manifest)}
    return write(path, {**blobs, "index.json": index}, digest(manifest))


def write(path: Path, members: dict[str, bytes], image_id: str) -> SavedImage:
    path.write_bytes(layer(File(name, content) for name, content in members.items()))
    path.chmod(0o644)
    return SavedImage(image_id, path)


def dpkg_status(packages: dict[str, str], sources: dict[str, str] | None = None) -> bytes:
    text = ""
    for name, version in packages.items():
        source = f"Source: {(sources or {})[name]}\n" if name in (sources or {}) else ""
        text += f"Package: {name}\nStatus: install ok installed\nMaintainer: T <t@example.org>\n"
        text += f"Architecture: amd64\n{source}Version: {version}\nDescription: {name}\n of the tests\n\n"
    return text.encode()


def apk_installed(packages: dict[str, str], origins: dict[str, str] | None = None) -> bytes:
    lines = "".join(
        f"C:Q1AAAAAAAAAAAAAAAAAAAAAAAAAAA=\nP:{name}\nV:{version}\nA:x86_64\nS:1\nI:1\nT:{name}\n"
        f"o:{(origins or {}).get(name, name)}\n\n"
        for name, version in packages.items()
    )
    return lines.encode()


def debian(packages: dict[str, str], sources: dict[str, str] | None = None) -> list[File]:
    return [
        File("etc/os-release", DEBIAN),
        File("etc/debian_version", b"12.5\n"),
        File("var/lib/dpkg/status", dpkg_status(packages, sources)),
    ]


def ubuntu(packages: dict[str, str]) -> list[File]:
    return [
        File("etc/os-release", b'ID=ubuntu\nID_LIKE=debian\nVERSION_ID="22.04"\n'),
        File("etc/lsb-release", b"DISTRIB_ID=Ubuntu\nDISTRIB_RELEASE=22.04\n"),
        File("var/lib/dpkg/status", dpkg_status(packages)),
    ]


def rocky(folder: Path, packages: dict[str, tuple[str, str, str]], system: str = "rocky") -> list[File]:
    """Packages by name: version, release, source. `folder` is for a file of the moment."""
    path = folder / "rpmdb.sqlite"
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode = WAL")  # as rpm has it
        database.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB NOT NULL)")
        for name, (version, release, source) in packages.items():
            named = f"{source}-{version}-{release}.src.rpm"
            blob = rpm_header({1000: name, 1001: version, 1002: release, 1022: "x86_64", 1044: named})
            database.execute("INSERT INTO Packages (blob) VALUES (?)", (blob,))
        database.commit()
    release = f'ID={system}\nVERSION_ID="9.3"\n'.encode()
    return [File("etc/os-release", release), File("var/lib/rpm/rpmdb.sqlite", path.read_bytes())]


def rpm_header(tags: dict[int, str]) -> bytes:
    """A header as the RPM package file structure has it, without its magic number: strings only."""
    index, data = b"", b""
    for tag, text in tags.items():
        index += struct.pack(">IIII", tag, 6, len(data), 1)
        data += text.encode() + b"\0"
    return struct.pack(">II", len(tags), len(data)) + index + data


def alpine(packages: dict[str, str], origins: dict[str, str] | None = None) -> list[File]:
    return [
        File("etc/os-release", ALPINE),
        File("etc/alpine-release", b"3.18.4\n"),
        File("lib/apk/db/installed", apk_installed(packages, origins)),
    ]


def python_package(name: str, version: str) -> File:
    path = f"usr/lib/python3/dist-packages/{name}-{version}.dist-info/METADATA"
    return File(path, f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nText\n".encode())


def npm_package(name: str, version: str) -> File:
    content = json.dumps({"name": name, "version": version}).encode()
    return File(f"usr/lib/node_modules/{name}/package.json", content)
