"""Detectors of the category process, in the order in which they are asked."""

from __future__ import annotations

from detectors import Detector

DETECTORS: tuple[type[Detector], ...] = ()
