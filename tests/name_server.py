"""A small name server on a free port of loopback: what is upstream of the daemon's resolver in tests."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset


@dataclass
class NameServer:
    """`zone` maps a name to its IPv4 addresses, or to one other name; all with `ttl_s`."""

    zone: dict[str, list[str] | str]
    ttl_s: int = 60
    address: str = ""
    asked: list[str] = field(default_factory=list)

    def answer(self, data: bytes) -> bytes:
        query = dns.message.from_wire(data)
        response, question = dns.message.make_response(query), query.question[0]
        name = question.name.to_text(omit_final_dot=True)
        self.asked.append(name)
        while isinstance(found := self.zone.get(name, []), str):
            response.answer.append(dns.rrset.from_text(f"{name}.", self.ttl_s, "IN", "CNAME", f"{found}."))
            name = found
        if name not in self.zone:
            response.set_rcode(dns.rcode.NXDOMAIN)
        elif question.rdtype == dns.rdatatype.A:
            response.answer.append(dns.rrset.from_text_list(f"{name}.", self.ttl_s, "IN", "A", found))
        return response.to_wire()


@contextmanager
def name_server(zone: dict[str, list[str] | str], ttl_s: int = 60) -> Iterator[NameServer]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        server = NameServer(zone, ttl_s, f"127.0.0.1:{listener.getsockname()[1]}")
        thread = threading.Thread(target=_serve, args=(listener, server))
        thread.start()
        try:
            yield server
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
                last.sendto(b"", listener.getsockname())
            thread.join()


def _serve(listener: socket.socket, server: NameServer) -> None:
    while True:
        data, peer = listener.recvfrom(4096)
        if not data:
            return
        listener.sendto(server.answer(data), peer)
