"""Ports for servers that have to know theirs before they listen."""

from __future__ import annotations

import itertools
import os
import socket

FIRST, A_WORKER = 16_000, 1_000
"""Below what the kernel gives to others by itself (ip_local_port_range: 32768 and more)."""

_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 16
_next = itertools.count(os.getpid() % A_WORKER)


def free_port() -> int:
    """Nobody else is given it: each worker has its own range, and each call the next of it."""
    while True:
        port = FIRST + _worker * A_WORKER + next(_next) % A_WORKER
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
