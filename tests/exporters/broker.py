"""A Kafka broker that others wrote, the mock cluster of librdkafka, as a process that can be killed:

    python -m tests.exporters.broker PORT ADVERTISED_PORT PARTITIONS FILE [CERTIFICATE KEY]

It is reached through PORT, with TLS where it has a certificate, and says that it is at ADVERTISED_PORT. Its
log is in memory: so librdkafka's consumer reads back what it took, and appends it to FILE, before its answers
are passed on. With a FILE.refuse beside it, a request that contains that file's text is refused as too large.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import sys
from collections.abc import Callable
from contextlib import suppress
from ctypes import CDLL, c_char_p, c_int, c_size_t, c_void_p
from pathlib import Path
from typing import Any

import confluent_kafka

PRODUCER = 0
"""RD_KAFKA_PRODUCER of rdkafka.h."""
PRODUCE, MSG_SIZE_TOO_LARGE = 0, 10
"""The key of the request and the code of the error in the protocol."""
TOPIC = "audit"


class Mock:
    """By rdkafka_mock.h: Python's client exposes the cluster, but not its errors."""

    def __init__(self, partitions: int) -> None:
        self._library = _library()
        client = self._library.rd_kafka_new(PRODUCER, None, None, c_size_t(0))
        self._cluster = c_void_p(self._library.rd_kafka_mock_cluster_new(c_void_p(client), c_int(1)))
        self._library.rd_kafka_mock_topic_create(self._cluster, TOPIC.encode(), c_int(partitions), c_int(1))

    @property
    def address(self) -> str:
        return bytes(self._library.rd_kafka_mock_cluster_bootstraps(self._cluster)).decode()

    def refuse_next(self) -> None:
        error = c_int(MSG_SIZE_TOO_LARGE)
        self._library.rd_kafka_mock_push_request_errors(self._cluster, c_int(PRODUCE), c_size_t(1), error)


def _library() -> Any:
    """The one that confluent_kafka brings along."""
    (file,) = (Path(confluent_kafka.__file__).parent.parent / "confluent_kafka.libs").glob("librdkafka-*.so*")
    library: Any = CDLL(str(file))
    library.rd_kafka_new.restype = c_void_p
    library.rd_kafka_mock_cluster_new.restype = c_void_p
    library.rd_kafka_mock_cluster_bootstraps.restype = c_char_p
    return library


class Kept:
    """What the broker has taken, read back by librdkafka's consumer."""

    def __init__(self, address: str, partitions: int, file: Path) -> None:
        self._partitions = [confluent_kafka.TopicPartition(TOPIC, number, 0) for number in range(partitions)]
        self._file = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._positions = [0] * partitions
        self._consumer = confluent_kafka.Consumer(
            {"bootstrap.servers": address, "group.id": "kept", "fetch.wait.max.ms": 5}
        )
        self._consumer.assign(self._partitions)

    def catch_up(self) -> None:
        """Returns when all that was taken until now is in the file."""
        for partition in self._partitions:
            _, end = self._consumer.get_watermark_offsets(partition, timeout=10)
            while self._positions[partition.partition] < end:
                self._keep(self._consumer.consume(500, timeout=0.01))

    def _keep(self, messages: list[Any]) -> None:
        lines = [json.dumps(_line(message)) + "\n" for message in messages]
        os.write(self._file, "".join(lines).encode())
        for message in messages:
            self._positions[message.partition()] = message.offset() + 1


def _line(message: Any) -> dict[str, Any]:
    if message.error():
        raise RuntimeError(message.error().str())
    headers = {name: value.decode() for name, value in message.headers()}
    _, time_ms = message.timestamp()
    return {
        "id": headers["id"],
        "record": json.loads(message.value()),
        "headers": headers,
        "key": message.key().decode(),
        "time_ms": time_ms,
        "partition": message.partition(),
    }


class Front:
    """Between the clients and the mock."""

    def __init__(self, mock: Mock, kept: Kept, advertised_port: int, refused: bytes | None) -> None:
        self._mock, self._kept, self._refused = mock, kept, refused
        self._port = int(mock.address.rpartition(":")[2])
        self._ours, self._advertised = map(_advertisement, (self._port, advertised_port))
        self._one_at_a_time = asyncio.Lock()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        with suppress(OSError, ExceptionGroup):
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_pass_on(reader, far_writer, self._asked))
                tasks.create_task(_pass_on(far_reader, writer, self._answered))
        writer.close()
        far_writer.close()

    async def _asked(self, data: bytes) -> bytes:
        if self._refused and self._refused in data:
            self._mock.refuse_next()
        return data

    async def _answered(self, data: bytes) -> bytes:
        """An answer that says where brokers are is short, and comes in one piece."""
        async with self._one_at_a_time:
            await asyncio.to_thread(self._kept.catch_up)
        return data.replace(self._ours, self._advertised)


def _advertisement(port: int) -> bytes:
    """As it stands in an answer to Metadata: a host and INT32."""
    return b"127.0.0.1" + port.to_bytes(4, "big")


async def _pass_on(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, changed: Callable[[bytes], Any]
) -> None:
    while data := await reader.read(1 << 20):
        writer.write(await changed(data))
        await writer.drain()
    raise ConnectionError  # one side's end is both sides' end


async def main(port: int, advertised_port: int, partitions: int, file: Path, *pair: str) -> None:
    mock = Mock(partitions)
    refuse = file.with_suffix(".refuse")
    refused = refuse.read_bytes() if refuse.exists() else None
    front = Front(mock, Kept(mock.address, partitions, file), advertised_port, refused)
    secure = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH) if pair else None
    if secure:
        secure.load_cert_chain(*pair)
    server = await asyncio.start_server(front.accept, "127.0.0.1", port, limit=4 << 20, ssl=secure)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:4]), Path(sys.argv[4]), *sys.argv[5:]))
