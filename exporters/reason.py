"""Why a receiver did not get a batch, in words."""

from __future__ import annotations


def reason(error: Exception) -> str:
    """Never empty: a timeout and a reset connection have no text of their own."""
    return str(error) or ("no answer in time" if isinstance(error, TimeoutError) else type(error).__name__)
