"""An image that is known to be vulnerable: a scanner that finds nothing in it would find nothing anywhere.

It is made anew for the distribution of the image to be judged, and goes the same way as that image: same
command, same database, same reading of the answer. So a database that is empty, lacks this release, or has a
format that the scanner cannot use, is noticed.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

from daemon.images.contents import ImageContents
from daemon.images.findings import SavedImage
from daemon.images.os_release import OsRelease
from daemon.images.packages.package import Kind

# Every database of a distribution has old advisories with a fix for some of these.
_OS_PACKAGES = (
    "openssl",
    "zlib",
    "glibc",
    "bash",
    "busybox",
    "musl",
    "curl",
    "tar",
    "perl",
    "python3",
    "systemd",
)
# CVE-2019-10906, CVE-2018-16487: GitHub's and OSV's databases have both.
_PYTHON = ("Jinja2", "2.10")
_NODE = ("lodash", "4.17.4")


def kinds(contents: ImageContents) -> frozenset[Kind]:
    """Of the packages of an image: each kind has its own part of the database."""
    return frozenset(package.kind for package in contents.packages)


def write(path: Path, os: OsRelease) -> SavedImage:
    """A tar as `docker save` writes it."""
    layer = _tar(_files(os))
    rootfs = {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]}
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs}).encode()
    name = hashlib.sha256(config).hexdigest()
    manifest = [{"Config": f"{name}.json", "RepoTags": None, "Layers": ["0/layer.tar"]}]
    members = {"0/layer.tar": layer, f"{name}.json": config, "manifest.json": json.dumps(manifest).encode()}
    path.write_bytes(_tar(members))
    return SavedImage(f"sha256:{name}", path)


def _tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o644
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _files(os: OsRelease) -> dict[str, bytes]:
    name, version = _PYTHON
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\n"
    files = {
        "etc/os-release": f'ID={os.id}\nVERSION_ID="{os.version_id}"\n',
        "var/lib/dpkg/status": "".join(map(_dpkg, _OS_PACKAGES)),
        "lib/apk/db/installed": "".join(map(_apk, _OS_PACKAGES)),
        f"usr/lib/python3/site-packages/{name}-{version}.dist-info/METADATA": metadata,
        f"usr/lib/node_modules/{_NODE[0]}/package.json": json.dumps({"name": _NODE[0], "version": _NODE[1]}),
        # Trivy knows the release of these by files of their own.
        **({"etc/debian_version": os.version_id} if os.id == "debian" else {}),
        **({"etc/alpine-release": os.version_id} if os.id == "alpine" else {}),
        **(
            {"etc/lsb-release": f"DISTRIB_ID=Ubuntu\nDISTRIB_RELEASE={os.version_id}\n"}
            if os.id == "ubuntu"
            else {}
        ),
    }
    return {path: content.encode() for path, content in files.items()}


def _dpkg(name: str) -> str:
    return f"Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: 0.0.1-1\n\n"


def _apk(name: str) -> str:
    return f"C:Q1AAAAAAAAAAAAAAAAAAAAAAAAAAA=\nP:{name}\nV:0.0.1-r0\nA:x86_64\no:{name}\n\n"
