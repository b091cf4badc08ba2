"""Databases of made-up advisories: an OSV directory and a Trivy database, of the same content."""

from __future__ import annotations

import json
import struct
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

WORST = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"
HIGH = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"
SCORES = {WORST: ("CRITICAL", 4), HIGH: ("HIGH", 3), "": ("UNKNOWN", 0)}


@dataclass(frozen=True)
class Advisory:
    cve: str
    ecosystem: str
    package: str
    fixed: str | None
    vector: str = WORST


ADVISORIES = (
    Advisory("CVE-2099-0001", "Debian:12", "openssl", "3.0.11-1"),
    Advisory("CVE-2099-0002", "Debian:12", "zlib", None),
    Advisory("CVE-2099-0003", "Debian:12", "bash", "5.2.15-2", HIGH),
    Advisory("CVE-2099-0004", "Debian:12", "glibc", "99", ""),
    Advisory("CVE-2099-0011", "Alpine:v3.18", "openssl", "3.1.4-r0"),
    Advisory("CVE-2099-0012", "Alpine:v3.18", "musl", "1.2.4-r2", HIGH),
    Advisory("CVE-2099-0041", "Ubuntu:22.04:LTS", "openssl", "3.0.2-0ubuntu1.12"),
    Advisory("CVE-2099-0021", "PyPI", "jinja2", "2.10.1", HIGH),
    Advisory("CVE-2099-0031", "npm", "lodash", "4.17.5"),
)


def now() -> datetime:
    return datetime.now(UTC)


def osv_record(advisory: Advisory, modified: datetime) -> dict[str, Any]:
    events = [{"introduced": "0"}, *([{"fixed": advisory.fixed}] if advisory.fixed else [])]
    kind = "SEMVER" if advisory.ecosystem == "npm" else "ECOSYSTEM"
    return {
        "schema_version": "1.7.0",
        "id": f"TEST-{advisory.cve}",
        "aliases": [advisory.cve],
        "modified": modified.isoformat().replace("+00:00", "Z"),
        "summary": f"{advisory.package}: made up",
        "severity": [{"type": "CVSS_V3", "score": advisory.vector}] if advisory.vector else [],
        "affected": [
            {
                "package": {"ecosystem": advisory.ecosystem, "name": advisory.package},
                "ranges": [{"type": kind, "events": events}],
            }
        ],
    }


def write_zip(path: Path, records: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for record in records:
            archive.writestr(f"{record['id']}.json", json.dumps(record))


def osv_directory(
    folder: Path, advisories: tuple[Advisory, ...] = ADVISORIES, modified: datetime | None = None
) -> Path:
    by_base: dict[str, list[dict[str, Any]]] = {}
    for advisory in advisories:
        base = advisory.ecosystem.partition(":")[0]
        by_base.setdefault(base, []).append(osv_record(advisory, modified or now()))
    for base, records in by_base.items():
        write_zip(folder / base / "all.zip", records)
    return folder


BUCKETS = {
    "Debian:12": ("debian 12", "debian"),
    "Alpine:v3.18": ("alpine 3.18", "alpine"),
    "Ubuntu:22.04:LTS": ("ubuntu 22.04", "ubuntu"),
    "PyPI": ("pip::GitHub Security Advisory Pip", "ghsa"),
    "npm": ("npm::GitHub Security Advisory Npm", "ghsa"),
}


def trivy_database(
    folder: Path, advisories: tuple[Advisory, ...] = ADVISORIES, updated: datetime | None = None
) -> Path:
    """trivy.db and metadata.json, in the shape of schema 2."""
    folder.mkdir(parents=True, exist_ok=True)
    tree: dict[str, Any] = {"data-source": {}, "vulnerability": {}}
    for item in advisories:
        bucket, source = BUCKETS[item.ecosystem]
        tree["data-source"][bucket] = {"ID": source, "Name": source, "URL": "https://example.org"}
        tree.setdefault(bucket, {}).setdefault(item.package, {})[item.cve] = _trivy_advisory(item)
        word, rank = SCORES[item.vector]
        tree["vulnerability"][item.cve] = {"Title": f"{item.package}: made up", "Severity": word}
        if rank:
            tree["vulnerability"][item.cve]["VendorSeverity"] = {"nvd": rank}
    (folder / "trivy.db").write_bytes(bolt(_encoded(tree, advisories)))
    write_metadata(folder, updated or now())
    return folder


def _trivy_advisory(item: Advisory) -> dict[str, Any]:
    if "::" in BUCKETS[item.ecosystem][0]:
        return {"PatchedVersions": [item.fixed], "VulnerableVersions": [f"< {item.fixed}"]}
    return {"FixedVersion": item.fixed} if item.fixed else {"Severity": 4, "Status": 2}


def _encoded(tree: dict[str, Any], advisories: tuple[Advisory, ...]) -> dict[str, Any]:
    """Leaves as JSON: two levels below a bucket of advisories, one below the others."""
    deep = {BUCKETS[item.ecosystem][0] for item in advisories}
    return {
        bucket: {
            key: {name: json.dumps(leaf).encode() for name, leaf in value.items()}
            if bucket in deep
            else json.dumps(value).encode()
            for key, value in items.items()
        }
        for bucket, items in tree.items()
    }


def write_metadata(folder: Path, updated: datetime) -> None:
    times = {"UpdatedAt": updated, "DownloadedAt": updated, "NextUpdate": updated + timedelta(days=1)}
    texts = {key: value.isoformat().replace("+00:00", "Z") for key, value in times.items()}
    (folder / "metadata.json").write_text(json.dumps({"Version": 2, **texts}))


PAGE = 4096


def bolt(tree: dict[str, Any]) -> bytes:
    """A bbolt file (go.etcd.io/bbolt, its page.go): a leaf page, with overflow, for each bucket."""
    pages: dict[int, bytes] = {}
    end = 4

    def leaf(items: dict[str, Any]) -> int:
        nonlocal end
        heads, body = [], b""
        for key, value in sorted((key.encode(), value) for key, value in items.items()):
            flag, data = (1, struct.pack("<QQ", leaf(value), 0)) if isinstance(value, dict) else (0, value)
            heads.append((flag, len(body), len(key), len(data)))
            body += key + data
        index = b"".join(
            struct.pack("<IIII", flag, (len(heads) - at) * 16 + offset, key, size)
            for at, (flag, offset, key, size) in enumerate(heads)
        )
        content = index + body
        count = max(1, -(-(16 + len(content)) // PAGE))
        number, end = end, end + count
        pages[number] = struct.pack("<QHHI", number, 2, len(heads), count - 1) + content
        return number

    root = leaf(tree)
    file = bytearray(end * PAGE)
    pages |= {2: struct.pack("<QHHI", 2, 16, 0, 0), 3: struct.pack("<QHHI", 3, 2, 0, 0)}
    pages |= {number: _meta(number, root, end) for number in (0, 1)}
    for number, content in pages.items():
        file[number * PAGE : number * PAGE + len(content)] = content
    return bytes(file)


def _meta(number: int, root: int, end: int) -> bytes:
    meta = struct.pack("<IIIIQQQQQ", 0xED0CDAED, 2, PAGE, 0, root, 0, 2, end, number)
    checksum = 0xCBF29CE484222325  # FNV-1a
    for byte in meta:
        checksum = ((checksum ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return struct.pack("<QHHI", number, 4, 0, 0) + meta + struct.pack("<Q", checksum)
