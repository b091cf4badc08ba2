"""What the detectors are given, on disk: files of a limited size, of which the newest are kept.

A thread encodes and writes, so that nobody waits for the disk. What it cannot keep up with is not recorded,
and the file says how much is missing.
"""

from __future__ import annotations

import errno
import queue
import re
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import structlog

from daemon.errors import ConfigError
from daemon.events import Event
from daemon.expectation import Expectation
from daemon.sensors.replay import LINE_LIMIT_BYTES, Forgotten, Missing, Record, Recorder, Started, encode

WAITING = 200_000
"""Records that wait for the thread: some 200 MB at the most."""
END_DEADLINE_S = 10.0
RETRY_S = 1.0
_NAME = re.compile(r"events-\d{8}T\d{12}Z\.jsonl")

log = structlog.get_logger()


class Recording:
    """`write` from one thread alone; `close` it in the end."""

    def __init__(self, folder: Path, most_files: int, file_bytes: int) -> None:
        """Raises ConfigError where the folder cannot be written to."""
        self._folder = folder
        self._most_files = most_files
        self._file_bytes = max(file_bytes, 2 * LINE_LIMIT_BYTES)
        self._waiting: queue.SimpleQueue[Sequence[Record] | None] = queue.SimpleQueue()
        self._accepted = self._refused = 0
        self._written = self._failed = self._told = 0  # of the thread
        self._failed_s: float | None = None
        self._expected: dict[str, Expectation] = {}
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = self._begun()
        except OSError as error:
            raise ConfigError(
                f"recording_dir: {folder}: {error.strerror}: name a folder that the daemon may write to"
            ) from error
        self._thread = threading.Thread(target=self._run, name="recording", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Records that are in no file."""
        return self._refused + self._failed

    def write(self, batch: Sequence[Record]) -> None:
        """Returns at once. Expectations are kept in any case: without them nothing can be judged."""
        behind = self._accepted - self._written
        if behind + len(batch) > WAITING and isinstance(batch[0], Event):
            self._refused += len(batch)
            return
        self._accepted += len(batch)
        self._waiting.put(batch)

    def close(self) -> None:
        self._waiting.put(None)
        self._thread.join(END_DEADLINE_S)

    def _run(self) -> None:
        while (batch := self._waiting.get()) is not None:
            for record in batch:
                self._learn(record)
            try:
                self._resume()
                self._write(batch)
            except OSError as error:
                self._fail(len(batch), error)
            self._written += len(batch)
        self._end_file()

    def _resume(self) -> None:
        """After a failure in a new file: the last line of the old one may be torn. Raises OSError."""
        if self._failed_s is None:
            return
        if time.monotonic() - self._failed_s < RETRY_S:
            raise OSError(errno.EAGAIN, "it has just failed")
        self._file = self._begun()
        self._failed_s = None

    def _fail(self, count: int, error: OSError) -> None:
        """Told once, until it works again."""
        self._failed += count
        if self._failed_s is None:
            log.error("recording failed", folder=str(self._folder), reason=error.strerror)
            self._end_file()
        if error.errno != errno.EAGAIN:
            self._failed_s = time.monotonic()

    def _end_file(self) -> None:
        with suppress(OSError, ValueError):  # what it could not write before
            self._file.close()

    def _write(self, batch: Sequence[Record]) -> None:
        if (missing := self.dropped - self._told) > 0:
            self._put(Missing(count=missing))
            self._told += missing
        for record in batch:
            self._put(record)
        self._file.flush()

    def _put(self, record: Record) -> None:
        line = encode(record)
        if self._file.put(line):
            return
        if len(line) > LINE_LIMIT_BYTES:
            self._failed += 1
            return
        self._file.close()
        self._file = self._begun()
        self._file.put(line)

    def _learn(self, record: Record) -> None:
        if isinstance(record, Expectation):
            self._expected[record.container_id] = record
        elif isinstance(record, Forgotten):
            self._expected.pop(record.container_id, None)

    def _begun(self) -> Recorder:
        """A new file: with what is expected so far, so that it can be judged without those before it."""
        now_ns = time.time_ns()
        stamp = datetime.fromtimestamp(now_ns / 1e9, UTC).strftime("%Y%m%dT%H%M%S%f")
        path = self._folder / f"events-{stamp}Z.jsonl"
        made = Recorder(path, self._file_bytes)
        started = Started(realtime_ns=now_ns, monotonic_ns=time.monotonic_ns())
        try:
            made.write([started, *self._expected.values()])
        except OSError:
            path.unlink()
            with suppress(OSError):
                made.close()
            raise
        self._remove_oldest()
        return made

    def _remove_oldest(self) -> None:
        found = sorted(path for path in self._folder.iterdir() if _NAME.fullmatch(path.name))
        for path in found[: max(0, len(found) - self._most_files)]:
            with suppress(FileNotFoundError):
                path.unlink()
