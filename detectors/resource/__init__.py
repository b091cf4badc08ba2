"""Detectors of the category resource, in the order in which they are asked."""

from __future__ import annotations

from detectors import Detector

DETECTORS: tuple[type[Detector], ...] = ()
