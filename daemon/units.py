"""Sizes and durations as people write them: "512m", "1.5g", "90s", "5m"."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator

_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,6})?)\s*([kmgt]?)i?b?", re.IGNORECASE | re.ASCII)
_FACTOR = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s*(ms|s|m|h)?", re.IGNORECASE | re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}


def parse_size(value: object) -> object:
    """Bytes from "512m" and the like, in powers of 1024 as Docker has it. Other types pass through."""
    if not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value.strip())
    if match is None:
        raise ValueError(
            f"{value[:40]!r} is not a size: write bytes or a number with k, m, g or t, such as '512m'"
        )
    return int(float(match[1]) * _FACTOR[match[2].lower()])


def parse_duration(value: object) -> object:
    """Seconds from "90s", "5m", "1h" or "250ms". Other types pass through."""
    if not isinstance(value, str):
        return value
    match = _DURATION.fullmatch(value.strip())
    if match is None:
        raise ValueError(
            f"{value[:40]!r} is not a duration: write seconds or a number with ms, s, m or h, such as '90s'"
        )
    return float(match[1]) * _SECONDS[(match[2] or "").lower()]


def format_size(size_bytes: int) -> str:
    """The shortest exact form: 536870912 -> "512m"."""
    for suffix in "tgmk":
        if size_bytes and size_bytes % _FACTOR[suffix] == 0:
            return f"{size_bytes // _FACTOR[suffix]}{suffix}"
    return str(size_bytes)


Size = Annotated[int, BeforeValidator(parse_size, json_schema_input_type=int | str)]
Duration = Annotated[float, BeforeValidator(parse_duration, json_schema_input_type=float | str)]
