"""What images of the engine hold, and what is known to be wrong with it: read once, matched when need be.

Findings are kept by all that can change them: the image's id, which is a digest of it, the scanner, its
program and its database. What follows from them is not kept here: policy, exceptions and the clock decide
that anew each time. Failures are kept for FAILURE_S: an image that takes a minute to be refused must not take
one for each that asks for it.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

from daemon import __version__
from daemon.images import config, layers
from daemon.images.beside import beside
from daemon.images.child import Unscannable
from daemon.images.contents import ImageContents
from daemon.images.findings import ImageIssue, SavedImage, Scanner, ScannerStatus, ScanResult
from daemon.images.reference import is_id
from daemon.images.save import save
from daemon.images.sbom import ContentsStore
from daemon.images.scanners.builtin import not_understood, now
from daemon.images.single_flight import SingleFlight

REMEMBERED = 512
AT_ONCE = 2
FAILURE_S = 30.0
AGE_IS_JUDGED_LATER = timedelta(days=36500)
_SAVED = ".saved-"


@dataclass(frozen=True, slots=True)
class Scan:
    """`final`: the same image, scanner and database would give the same: it is no failure that may pass."""

    result: ScanResult
    time: datetime
    final: bool


@dataclass(frozen=True, slots=True)
class Failure:
    """Of reading an image."""

    time: datetime
    reason: str


class Examination:
    """`folder` is ours alone; `scanner` is to give AGE_IS_JUDGED_LATER. AT_ONCE images are read at a time."""

    def __init__(
        self, socket: Path, folder: Path, scanner: Scanner, clock: Callable[[], datetime] = now
    ) -> None:
        self._socket = socket
        self._folder = folder
        self._scanner = scanner
        self._clock = clock
        # Another release may read images in another way.
        self._store = ContentsStore(folder / __version__)
        self._readings: SingleFlight[str, ImageContents] = SingleFlight(0)
        self._failures: OrderedDict[str, Failure] = OrderedDict()
        self._scans: SingleFlight[tuple[str, Hashable], Scan] = SingleFlight(REMEMBERED)
        self._issues: SingleFlight[tuple[str, object], tuple[ImageIssue, ...]] = SingleFlight(REMEMBERED)
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def scan(self, image_id: str, max_age_s: float) -> Scan:
        """At most so old. Raises EngineError; an image that cannot be read is one that is not understood."""
        key = (image_id, self._scanner.stamp())
        scan = await self._scans.get(key, lambda: self._scan(image_id))
        if self._age_s(scan.time) <= (max_age_s if scan.final else min(max_age_s, FAILURE_S)):
            return scan
        self._scans.forget(lambda known: known == key)
        return await self._scans.get(key, lambda: self._scan(image_id))

    async def status(self) -> ScannerStatus:
        """Of the scanner. Does not raise."""
        return await self._scanner.status()

    async def issues(self, image_id: str, tags: tuple[str, ...]) -> tuple[ImageIssue, ...]:
        """Of configuration and layers. Raises Unscannable, EngineError."""
        today = self._clock().date()

        async def find() -> tuple[ImageIssue, ...]:
            contents = await self._contents(image_id)
            return await beside(_issues, contents, tags, today)

        return await self._issues.get((image_id, (tags, today)), find)

    def forget(self, image_id: str) -> None:
        """It is no longer on this host."""
        self._scans.forget(lambda key: key[0] == image_id)
        self._issues.forget(lambda key: key[0] == image_id)
        self._failures.pop(image_id, None)
        if is_id(image_id):
            self._store.remove(image_id)

    def keep_only(self, image_ids: set[str]) -> None:
        """What went while nobody looked is forgotten now."""
        for image_id in self._store.image_ids() - image_ids:
            self.forget(image_id)

    def clean(self) -> None:
        """What a daemon left that was killed while it read, and what other releases read."""
        if self._folder.is_dir():
            for path in self._folder.iterdir():
                if path.name != __version__:
                    shutil.rmtree(path, ignore_errors=True)

    def _age_s(self, time: datetime) -> float:
        return (self._clock() - time).total_seconds()

    async def _scan(self, image_id: str) -> Scan:
        time = self._clock()
        try:
            contents = await self._contents(image_id)
            async with self._turns:
                result = await self._scanner.match(contents, lambda: self._saved(image_id))
        except Unscannable as error:
            return Scan(not_understood(self._scanner.name, str(error)), time, final=False)
        return Scan(result, time, final=result.understood or not contents.packages)

    async def _contents(self, image_id: str) -> ImageContents:
        failure = self._failures.get(image_id)
        if failure is not None and self._age_s(failure.time) <= FAILURE_S:
            raise Unscannable(failure.reason)
        try:
            return await self._readings.get(image_id, lambda: self._read(image_id))
        except Unscannable as error:
            self._remember(image_id, Failure(self._clock(), str(error)))
            raise

    def _remember(self, image_id: str, failure: Failure) -> None:
        self._failures[image_id] = failure
        if len(self._failures) > REMEMBERED:
            self._failures.popitem(last=False)

    async def _read(self, image_id: str) -> ImageContents:
        if (known := await beside(self._store.get, image_id)) is not None:
            return known
        async with self._turns, self._saved(image_id) as image:
            contents = await layers.read_image(image)
        await beside(self._store.put, contents)
        return contents

    @asynccontextmanager
    async def _saved(self, image_id: str) -> AsyncIterator[SavedImage]:
        """For as long as the block runs. Raises EngineError."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._folder, prefix=_SAVED) as folder:
            yield await save(self._socket, image_id, Path(folder))


def _issues(contents: ImageContents, tags: tuple[str, ...], today: date) -> tuple[ImageIssue, ...]:
    return (*config.check(config.Subject.of(contents, tags, today)), *layers.issues(contents))
