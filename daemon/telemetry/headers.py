"""Headers whose values are secrets: read anew for each request, so that they can be replaced."""

from __future__ import annotations

from collections.abc import Mapping

from exporters import secret


def read(references: Mapping[str, str]) -> dict[str, str]:
    """Raises ExportError, which names the file."""
    return {name.lower(): secret.read(reference) for name, reference in references.items()}
