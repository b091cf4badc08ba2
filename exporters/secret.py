"""Secrets by reference: a file, or a credential of the service manager (systemd.exec(5), LoadCredential=).

The value is in no settings and no message, and is read anew for each connection, so that it can be replaced.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from daemon.errors import ExportError

LIMIT_BYTES = 64 * 1024
READABLE_BY_OTHERS = 0o007


def _reference(text: str) -> str:
    """Says nothing of what was written: it may be the secret itself."""
    scheme, _, rest = text.partition(":")
    if scheme == "file" and rest.startswith("/"):
        return text
    if scheme == "credential" and rest and "/" not in rest and not rest.startswith("."):
        return text
    raise ValueError('write "file:/PATH" or "credential:NAME", never the secret itself')


SecretReference = Annotated[str, AfterValidator(_reference)]


def location(reference: str) -> Path:
    """Raises ExportError where a credential is meant and the service manager passed none."""
    scheme, _, rest = reference.partition(":")
    if scheme == "file":
        return Path(rest)
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        raise ExportError(f"{reference}: no credentials here: add LoadCredential={rest}:PATH to the unit")
    return Path(folder) / rest


def read(reference: str) -> str:
    """Without the line break at its end. Raises ExportError."""
    path = location(reference)
    found = text(path).strip("\r\n")
    if not found or not found.isprintable():
        raise ExportError(f"{path}: holds no secret: one line of printable text is wanted")
    return found


def text(path: Path) -> str:
    """Of a file that not everybody may read. Raises ExportError."""
    try:
        if path.stat().st_mode & READABLE_BY_OTHERS:
            raise ExportError(f"{path}: a secret that everybody may read: chmod o= it")
        with path.open(encoding="utf-8") as file:
            return file.read(LIMIT_BYTES)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "no UTF-8 text"
        raise ExportError(f"{path}: the secret cannot be read: {reason}") from error


def masked(text: str, secrets: Iterable[str]) -> str:
    """What a receiver says, without the secrets that we showed it: some proxies answer with the request."""
    for one in filter(None, secrets):
        text = text.replace(one, "***")
    return text
