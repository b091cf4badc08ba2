"""Entries of a layer that deserve a look: one rule a function, `RULES` is the inventory."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from daemon.images import tar

PEEK_BYTES = 64 << 10


class Kind(StrEnum):
    SETUID = "setuid"
    SETGID = "setgid"
    CAPABILITIES = "file-capabilities"
    DEVICE = "device"
    WORLD_WRITABLE = "world-writable"
    KEY_FILE = "key-file"
    NAME = "suspicious-name"
    PASSWORD = "empty-password"  # noqa: S105  a kind of entry, no password


@dataclass(frozen=True, slots=True)
class Notable:
    """`deleted`: a later layer hides it, so no sandbox sees it; whoever pulls the image still has it."""

    kind: Kind
    path: str
    layer: int
    detail: str = ""
    deleted: bool = False


Peek = Callable[[], bytes]
Rule = Callable[[tar.Entry, Peek], str | None]

# What debootstrap and mkosi put into every root file system: (major, minor) of null, zero, full, random,
# urandom, tty, console and ptmx (Documentation/admin-guide/devices.txt of Linux).
_COMMON_DEVICES = {(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2)}
_KEY_NAMES = re.compile(
    r"(?:^|/)(?:id_(?:rsa|dsa|ecdsa|ed25519)(?:_sk)?|\.env(?:\.(?!example|sample|dist)\w+)?|\.npmrc|\.pypirc|\.netrc"
    r"|\.git-credentials|\.dockercfg|\.docker/config\.json|\.aws/credentials|\.kube/config"
    r"|\.config/gcloud/application_default_credentials\.json|\.pgpass|\.my\.cnf|\.vault-token)$"
)
_KEY_ENDS = (".pem", ".key", ".p12", ".pfx", ".jks", ".kdbx", ".ppk")
_SEALED_ENDS = (".p12", ".pfx", ".jks", ".kdbx", ".ppk")
_PRIVATE_KEY = re.compile(rb"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----")


def _is_file(entry: tar.Entry) -> bool:
    return entry.kind in (tar.REGULAR, tar.LINK)


def setuid(entry: tar.Entry, peek: Peek) -> str | None:
    del peek
    return f"mode {entry.mode:o}" if entry.mode & 0o4000 and _is_file(entry) else None


def setgid(entry: tar.Entry, peek: Peek) -> str | None:
    """With group execution: without, the bit once meant mandatory locking and gives nothing."""
    del peek
    return f"mode {entry.mode:o}" if entry.mode & 0o2010 == 0o2010 and _is_file(entry) else None


def capabilities(entry: tar.Entry, peek: Peek) -> str | None:
    """capabilities(7), struct vfs_cap_data: little-endian: flags, then permitted and inheritable sets."""
    del peek
    if not entry.capabilities:
        return None
    if len(entry.capabilities) < 12:
        return "a malformed capability set"
    low, _, high = struct.unpack_from("<4xIII", entry.capabilities + bytes(4))
    return f"permitted {high << 32 | low:#x}"


def device(entry: tar.Entry, peek: Peek) -> str | None:
    del peek
    if entry.kind == tar.CHARACTER and entry.device in _COMMON_DEVICES:
        return None
    if entry.kind in (tar.CHARACTER, tar.BLOCK_DEVICE):
        kind = "block" if entry.kind == tar.BLOCK_DEVICE else "character"
        return f"{kind} device {entry.device[0]}:{entry.device[1]}"
    return None


def world_writable(entry: tar.Entry, peek: Peek) -> str | None:
    """A folder with the sticky bit is as /tmp is meant to be."""
    del peek
    sticky = entry.kind == tar.DIRECTORY and entry.mode & 0o1000
    if entry.mode & 0o002 and not sticky and entry.kind in (tar.REGULAR, tar.LINK, tar.DIRECTORY):
        return f"mode {entry.mode:o}"
    return None


def key_file(entry: tar.Entry, peek: Peek) -> str | None:
    """By name; files that hold keys and certificates alike are looked into."""
    if entry.kind != tar.REGULAR or not entry.size_bytes:
        return None
    if _KEY_NAMES.search(entry.path):
        return "by its name"
    if not entry.path.endswith(_KEY_ENDS):
        return None
    if entry.path.endswith(_SEALED_ENDS):
        return "a key store, by its name"
    return "holds a private key" if _PRIVATE_KEY.search(peek()) else None


def name(entry: tar.Entry, peek: Peek) -> str | None:
    """Control characters and what turns text around hide a name from whoever lists the folder."""
    del peek
    if entry.path.isascii() and entry.path.isprintable():
        return None
    odd = next(
        (c for c in entry.path if ord(c) < 32 or 0x202A <= ord(c) <= 0x202E or 0x2066 <= ord(c) <= 0x2069), ""
    )
    return f"has the character U+{ord(odd):04X}" if odd else None


def empty_password(entry: tar.Entry, peek: Peek) -> str | None:
    """shadow(5): the second field is the hash; with none, the account opens without a password."""
    if entry.path != "etc/shadow" or entry.kind != tar.REGULAR:
        return None
    fields = (line.split(b":") for line in peek().splitlines())
    users = [line[0].decode("ascii", "replace")[:64] for line in fields if len(line) > 2 and not line[1]]
    return f"no password: {', '.join(users[:5])}" if users else None


RULES: dict[Kind, Rule] = {
    Kind.SETUID: setuid,
    Kind.SETGID: setgid,
    Kind.CAPABILITIES: capabilities,
    Kind.DEVICE: device,
    Kind.WORLD_WRITABLE: world_writable,
    Kind.KEY_FILE: key_file,
    Kind.NAME: name,
    Kind.PASSWORD: empty_password,
}
