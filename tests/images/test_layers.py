"""What the confined reader makes of layers: packages, whiteouts, and entries that stand out."""

from __future__ import annotations

import struct
import tarfile
from pathlib import Path
from typing import Any

import pytest

from daemon.images import layers
from daemon.images.child import Unscannable
from daemon.images.contents import ImageContents
from daemon.images.findings import SavedImage
from daemon.images.notable import Kind
from daemon.images.packages import rpm
from tests.images.archives import (
    File,
    alpine,
    debian,
    digest,
    dpkg_status,
    folder,
    hard_link,
    layer,
    npm_package,
    python_package,
    rocky,
    save,
    save_oci,
    symlink,
)

pytestmark = pytest.mark.root
PEM = b"-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----\n"


async def read(folder_: Path, *files: list[File], config: dict[str, Any] | None = None) -> ImageContents:
    return await layers.read_image(save(folder_ / "image.tar", [layer(part) for part in files], config))


def names(contents: ImageContents) -> set[tuple[str, str, str]]:
    return {(package.kind.value, package.name, package.version) for package in contents.packages}


def notable(contents: ImageContents) -> list[tuple[str, str]]:
    return [(found.kind.value, found.path) for found in contents.notables]


async def test_packages_of_every_manager(tmp_path: Path) -> None:
    files = [
        *debian({"openssl": "3.0.1-1", "libssl3": "3.0.1-1"}, {"libssl3": "openssl (3.0.1-1)"}),
        python_package("Jinja2", "2.10"),
        npm_package("lodash", "4.17.4"),
        npm_package("@scope/tool", "1.0.0"),
        File("app/package.json", b"{}"),
    ]
    contents = await read(tmp_path, files)
    assert contents.os.id == "debian"
    assert contents.os.version_id == "12"
    assert names(contents) == {
        ("deb", "openssl", "3.0.1-1"),
        ("deb", "libssl3", "3.0.1-1"),
        ("pypi", "jinja2", "2.10"),
        ("npm", "lodash", "4.17.4"),
        ("npm", "@scope/tool", "1.0.0"),
    }
    assert contents.unread == ()
    purls = {package.purl(contents.os) for package in contents.packages}
    assert "pkg:deb/debian/libssl3@3.0.1-1?arch=amd64&distro=debian-12" in purls
    assert "pkg:npm/%40scope/tool@1.0.0" in purls


async def test_alpine_in_an_oci_layout_with_gzipped_layers(tmp_path: Path) -> None:
    image = save_oci(tmp_path / "oci.tar", [layer(alpine({"musl": "1.2.4-r1"}))])
    contents = await layers.read_image(image)
    assert names(contents) == {("apk", "musl", "1.2.4-r1")}


async def test_removed_packages_are_not_installed(tmp_path: Path) -> None:
    status = dpkg_status({"kept": "1"}) + b"Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n"
    contents = await read(tmp_path, [*debian({})[:1], File("var/lib/dpkg/status", status)])
    assert names(contents) == {("deb", "kept", "1")}


@pytest.mark.parametrize(
    ("upper", "left"),
    [
        ([File("opt/.wh.node_modules")], set()),
        ([File("opt/node_modules/.wh.a")], {"b"}),
        ([folder("opt/node_modules"), File("opt/node_modules/.wh..wh..opq")], set()),
        (
            [
                File("opt/node_modules/c/package.json", b'{"name":"c","version":"1"}'),
                File("opt/.wh.node_modules"),
            ],
            {"c"},
        ),
        ([File("opt", b"a file now")], set()),
        ([symlink("opt/node_modules", "/elsewhere")], set()),
        ([folder("opt/node_modules")], {"a", "b"}),
        ([File("opt/node_modules/a/package.json", b'{"name":"a2","version":"1"}')], {"a2", "b"}),
        ([File("opt/.wh..wh.plnk"), File("optional/.wh.node_modules")], {"a", "b"}),
    ],
)
async def test_whiteouts(tmp_path: Path, upper: list[File], left: set[str]) -> None:
    lower = [
        File(f"opt/node_modules/{name}/package.json", f'{{"name":"{name}","version":"1"}}'.encode())
        for name in "ab"
    ]
    contents = await read(tmp_path, lower, upper)
    assert {name for _, name, _ in names(contents)} == left


async def test_entries_that_stand_out(tmp_path: Path) -> None:
    capability = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0).decode("latin-1")
    contents = await read(
        tmp_path,
        [
            File("usr/bin/su", b"x", mode=0o4755),
            hard_link("usr/bin/su2", "usr/bin/su"),
            File("usr/bin/wall", b"x", mode=0o2755),
            File("usr/bin/ping", b"x", pax=(("SCHILY.xattr.security.capability", capability),)),
            File("dev/sda", kind=tarfile.BLKTYPE, device=(8, 0)),
            File("dev/null", kind=tarfile.CHRTYPE, device=(1, 3), mode=0o666),
            folder("tmp", 0o1777),
            folder("open", 0o777),
            File("etc/note", b"x", mode=0o666),
            symlink("etc/link", "note"),
            File("root/.ssh/id_rsa", PEM, mode=0o600),
            File("srv/server.pem", PEM),
            File("etc/ssl/public.pem", b"-----BEGIN CERTIFICATE-----\n"),
            File("app/.env.example", b"A=b\n"),
            File("app/.env", b"A=b\n"),
            File("bin/ls\u202e", b"x"),
            File("etc/shadow", b"root::1:0:::::\nuser:*:1:0:::::\n", mode=0o600),
        ],
    )
    assert sorted(notable(contents)) == [
        ("device", "dev/sda"),
        ("empty-password", "etc/shadow"),
        ("file-capabilities", "usr/bin/ping"),
        ("key-file", "app/.env"),
        ("key-file", "root/.ssh/id_rsa"),
        ("key-file", "srv/server.pem"),
        ("setgid", "usr/bin/wall"),
        ("setuid", "usr/bin/su"),
        ("suspicious-name", "bin/ls\u202e"),
        ("world-writable", "etc/note"),
        ("world-writable", "open"),
    ]
    (ping,) = (found for found in contents.notables if found.kind is Kind.CAPABILITIES)
    assert ping.detail == "permitted 0x2000"


async def test_a_deleted_key_is_still_told_of(tmp_path: Path) -> None:
    contents = await read(
        tmp_path,
        [File("root/id_ed25519", PEM), File("bin/su", b"x", mode=0o4755)],
        [File("root/.wh.id_ed25519"), File("bin/.wh.su")],
    )
    (key,) = contents.notables
    assert (key.path, key.layer, key.deleted) == ("root/id_ed25519", 0, True)
    (issue,) = layers.issues(contents)
    assert issue.id == "image.key-file"
    assert "still in the image" in issue.reason


async def test_issues_of_one_kind_are_bounded(tmp_path: Path) -> None:
    contents = await read(tmp_path, [File(f"bin/{number}", b"x", mode=0o4755) for number in range(50)])
    issues = layers.issues(contents)
    assert len(issues) == layers.SHOWN
    assert issues[-1].reason == "31 more of this kind"


async def test_users_and_configuration_come_along(tmp_path: Path) -> None:
    passwd = b"root:x:0:0::/:\ntoor:x:0:0::/:\nbroken\nuser:x:1000:1000::/:\n"
    contents = await read(tmp_path, [File("etc/passwd", passwd)], config={"User": "toor"})
    assert contents.users == {"root": 0, "toor": 0, "user": 1000}
    assert contents.config["config"] == {"User": "toor"}


@pytest.mark.parametrize(
    "hidden",
    [
        [symlink("var/lib/dpkg", "/opt/hidden")],
        [symlink("var/lib/dpkg/status", "/opt/hidden")],
        [File("opt/hidden", b"x"), hard_link("var/lib/dpkg/status", "opt/hidden")],
        [symlink("etc/os-release", "/opt/hidden")],
        [File("var/lib/rpm/Packages", b"Berkeley")],
        [File("var/lib/rpm/rpmdb.sqlite", b"SQLite format 3\0 broken")],
        [File("usr/node_modules/a/package.json", b"{")],
        [File("usr/a.dist-info/METADATA", b"Nothing: here\n")],
    ],
)
async def test_records_that_cannot_be_read_are_told_of(tmp_path: Path, hidden: list[File]) -> None:
    assert len((await read(tmp_path, hidden)).unread) == 1


async def test_the_usual_links_hide_nothing(tmp_path: Path) -> None:
    files = [
        symlink("lib", "usr/lib"),
        symlink("etc/os-release", "../usr/lib/os-release"),
        File("usr/lib/os-release", b"ID=alpine\nVERSION_ID=3.18.4\n"),
        File("usr/lib/apk/db/installed", alpine({"musl": "1"})[2].content),
    ]
    contents = await read(tmp_path, files)
    assert (contents.unread, contents.os.id) == ((), "alpine")
    assert names(contents) == {("apk", "musl", "1")}


async def test_rpm_database(tmp_path: Path) -> None:
    contents = await read(tmp_path, rocky(tmp_path, {"openssl-libs": ("3.0.7", "2.el9", "openssl")}))
    (package,) = contents.packages
    assert contents.unread == ()
    assert (package.name, package.version, package.source) == ("openssl-libs", "3.0.7-2.el9", "openssl")
    assert rpm.wanted("usr/lib/sysimage/rpm/rpmdb.sqlite")


async def test_an_rpm_database_with_changes_in_its_journal(tmp_path: Path) -> None:
    files = [*rocky(tmp_path, {"a": ("1", "1", "a")}), File("var/lib/rpm/rpmdb.sqlite-wal", b"x")]
    (part,) = (await read(tmp_path, files)).unread
    assert "journal" in part


async def test_an_archive_of_another_image_is_refused(tmp_path: Path) -> None:
    image = save(tmp_path / "image.tar", [layer(debian({"a": "1"}))])
    with pytest.raises(Unscannable, match="the archive is of sha256"):
        await layers.read_image(SavedImage(digest(b"other"), image.path))
