"""Datagrams within one deadline: a receiver that takes them slowly must not hold a thread for longer."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence

DEADLINE_S = 60.0
"""Of a batch; less than its caller's patience, or threads would pile up."""


def send_each(outlet: socket.socket, datagrams: Sequence[bytes], send: Callable[[bytes], object]) -> None:
    """`send` sends one through the outlet. Raises OSError; TimeoutError for a slow receiver."""
    end_s = time.monotonic() + DEADLINE_S
    for number, datagram in enumerate(datagrams):
        outlet.settimeout(max(0.001, end_s - time.monotonic()))
        try:
            send(datagram)
        except TimeoutError as error:
            taken = f"it took {number} of {len(datagrams)} records within {DEADLINE_S:.0f} s"
            raise TimeoutError(f"{taken}: set a smaller batch_events") from error
