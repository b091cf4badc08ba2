"""Detectors of the category resource, in the order in which they are asked."""

from __future__ import annotations

from detectors import Detector
from detectors.resource.cpu_limit import CpuLimit
from detectors.resource.memory_limit import MemoryLimit
from detectors.resource.mining import Mining
from detectors.resource.open_files import OpenFiles
from detectors.resource.process_limit import ProcessLimit
from detectors.resource.storage_limit import StorageLimit

DETECTORS: tuple[type[Detector], ...] = (
    ProcessLimit,
    Mining,
    MemoryLimit,
    StorageLimit,
    OpenFiles,
    CpuLimit,
)
