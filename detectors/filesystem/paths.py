"""Paths made comparable.

A resolved path is the kernel's own. One that was merely passed is a hint: the same file has many spellings,
and what it led to is not known.
"""

from __future__ import annotations

import posixpath
import re

from daemon.events import File
from daemon.expectation import Expectation

PATH_LIMIT = 4096
OWN_ROOT = re.compile(r"/proc/(?:self|thread-self)(?:/task/\d+)?/root(?=/|\Z)")
USUAL_PLACES = {"proc": "/proc", "sysfs": "/sys"}
INSIDE = {
    "proc": re.compile(r"/(?:sys|\d+)/.+"),
    "sysfs": re.compile(r"/(?:block|bus|class|dev|devices|firmware|fs|kernel|module|power)/.+"),
}


def tidy(path: str) -> str:
    """Without doubled slashes, "." and ".."; what climbs from an unknown folder is taken to reach the top."""
    return re.sub(r"\A(?:\.\./)+|\A//", "/", posixpath.normpath(path[:PATH_LIMIT]))


def plain(path: str) -> str:
    """Tidy, and without the detour by /proc through the process's own root."""
    path = tidy(path)
    while match := OWN_ROOT.match(path):
        path = path[match.end() :] or "/"
    return path


def location(file: File) -> str:
    """Relative where only a relative path is known."""
    return file.path if file.resolved else plain(file.path)


def on_host(file: File, sandbox: Expectation) -> str:
    """By the host's name where it lies in a bind mount, else as the sandbox calls it."""
    path = location(file)
    return sandbox.host_path(path) or path


def kernel_path(file: File, sandbox: Expectation) -> str:
    """As the file is called where procfs and sysfs are mounted at their usual places."""
    path = on_host(file, sandbox)
    usual = USUAL_PLACES.get(file.filesystem)
    if usual is None or below(path, usual):
        return path
    inside = INSIDE[file.filesystem].search(path)
    return usual + (inside[0] if inside else "/" + posixpath.basename(path))


def below(path: str, *folders: str) -> bool:
    """Of plain paths; a folder counts as below itself."""
    return any(path == folder or path.startswith(folder.rstrip("/") + "/") for folder in folders)
