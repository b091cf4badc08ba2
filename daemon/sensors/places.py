"""Where watched files are at this moment, and which folders must be watched to hear of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from daemon.sensors.watches import Watch

FOLDERS_LIMIT: Final = 4096
"""Of one watch that goes below."""


class Places:
    """A snapshot. Links are followed: a file that is one is watched where it is and where it leads."""

    def __init__(self, watches: Iterable[Watch]) -> None:
        self.files: dict[str, Watch] = {}
        """By the path that the kernel would name."""
        self.within: dict[str, Watch] = {}
        """By a folder, all of whose entries are watched."""
        self.above: set[str] = set()
        """Folders on the way to them, there or not."""
        self.beyond = 0
        """Folders that are too many to be watched, or cannot be looked into."""
        for watch in watches:
            for place in _places(watch.path):
                self._add(place, watch)

    def watch_of(self, folder: str, name: str) -> Watch | None:
        return self.files.get(os.path.join(folder, name)) or self.within.get(folder)  # noqa: PTH118

    def folders(self) -> dict[str, bool]:
        """Those that are there, and whether more than the names in them matters."""
        near = set(map(_parent, self.files)) | self.within.keys()
        return {folder: folder in near for folder in near | self.above if Path(folder).is_dir()}

    def opens(self, folder: str) -> bool:
        """Whether somebody wants to know that a file in it is opened."""
        return any(watch.opens for place, watch in self.files.items() if _parent(place) == folder)

    def _add(self, place: str, watch: Watch) -> None:
        self.files[place] = watch
        self.above.update(str(folder) for folder in Path(place).parents)
        if Path(place).is_dir():
            below = list(islice(self._below(place), FOLDERS_LIMIT + 1)) if watch.below else [place]
            self.beyond += len(below) > FOLDERS_LIMIT
            self.within |= dict.fromkeys(below[:FOLDERS_LIMIT], watch)

    def _below(self, folder: str) -> Iterator[str]:
        return (path for path, _, _ in os.walk(folder, onerror=self._refuse))

    def _refuse(self, error: OSError) -> None:
        self.beyond += not isinstance(error, FileNotFoundError | NotADirectoryError)


def _places(path: Path) -> set[str]:
    """The name itself, by a path without links, and what it leads to."""
    return {str(Path(os.path.realpath(path.parent), path.name)), os.path.realpath(path)}


def _parent(path: str) -> str:
    return str(Path(path).parent)
