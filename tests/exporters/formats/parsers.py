"""Readers of the line formats, from their specifications and not from our code: strict, or ValueError.

CEF: "Implementing ArcSight Common Event Format", version 0. LEEF: IBM's "Log Event Extended Format", 2.0;
what a value escapes is ours, and undone here. Syslog: RFC 5424, section 6.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_CEF_KEY = re.compile(r"(?:^| )([A-Za-z0-9_]+)=")
_CEF_ESCAPE = {"\\": "\\", "=": "=", "n": "\n", "r": "\r", "|": "|"}
_LEEF_ESCAPED = re.compile(r"\\(x5e|.?)", re.DOTALL)
_SYSLOG = re.compile(
    r"<(?P<priority>\d{1,3})>1 (?P<time>\S+) (?P<host>[\x21-\x7e]{1,255}) (?P<app>[\x21-\x7e]{1,48}) "
    r"(?P<process>[\x21-\x7e]{1,128}) (?P<message_id>[\x21-\x7e]{1,32}) (?P<rest>\[.*)",
    re.DOTALL,
)
_SD_NAME = re.compile(r'[^ =\]"\x00-\x20\x7f]{1,32}')


def cef(record: str) -> tuple[list[str], dict[str, str]]:
    """The seven fields of the header, and the extension."""
    parts, place = [], 0
    while len(parts) < 7:
        part, place = _until(record, place, "|", {"\\": "\\", "|": "|"})
        parts.append(part)
    if parts[0] != "CEF:0" or not 0 <= int(parts[6]) <= 10:
        raise ValueError(record[:200])
    return parts, _cef_extension(record[place:])


def _cef_extension(text: str) -> dict[str, str]:
    """A key is a word before an equals sign that nothing escapes; a value goes on to the next key."""
    starts = list(_CEF_KEY.finditer(text))
    if not starts or starts[0].start() != 0:
        raise ValueError(text[:200])
    ends = [start.start() for start in starts[1:]] + [len(text)]
    pairs = [(start[1], text[start.end() : end]) for start, end in zip(starts, ends, strict=True)]
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError(f"a key twice: {text[:200]}")
    return {name: _unescaped(value, _CEF_ESCAPE, "=") for name, value in pairs}


def leef(record: str) -> tuple[list[str], dict[str, str]]:
    """The header's six fields, and the attributes."""
    parts = record.split("|", 6)
    header, delimiter = parts[:6], parts[5]
    if header[0] != "LEEF:2.0" or len(delimiter) != 1:
        raise ValueError(record[:200])
    pairs = [pair.partition("=") for pair in parts[6].split(delimiter)]
    if len({name for name, _, _ in pairs}) != len(pairs) or not all(
        re.fullmatch(r"[A-Za-z]\w*", name) and equals for name, equals, _ in pairs
    ):
        raise ValueError(record[:200])
    return header, {name: _LEEF_ESCAPED.sub(_leef_escape, value) for name, _, value in pairs}


def _leef_escape(found: re.Match[str]) -> str:
    return {"x5e": "^", "\\": "\\", "n": "\n", "r": "\r", "t": "\t"}[found[1]]


@dataclass(frozen=True)
class Syslog:
    facility: int
    severity: int
    time: str
    host: str
    message_id: str
    data: dict[str, dict[str, str]]
    message: str


def syslog(record: str) -> Syslog:
    if (found := _SYSLOG.fullmatch(record)) is None:
        raise ValueError(record[:200])
    data, place, rest = {}, 0, found["rest"]
    while rest[place : place + 1] == "[":
        name, parameters, place = _element(rest, place + 1)
        data[name] = parameters
    if rest[place : place + 2] != " \ufeff":
        raise ValueError(rest[place : place + 200])
    facility, severity = divmod(int(found["priority"]), 8)
    return Syslog(
        facility, severity, found["time"], found["host"], found["message_id"], data, rest[place + 2 :]
    )


def _element(text: str, place: int) -> tuple[str, dict[str, str], int]:
    name, place = _sd_name(text, place)
    parameters: dict[str, str] = {}
    while text[place] == " ":
        parameter, place = _sd_name(text, place + 1)
        if text[place : place + 2] != '="':
            raise ValueError(text[place : place + 200])
        value, place = _until(text, place + 2, '"', {"\\": "\\", '"': '"', "]": "]"}, forbidden="]")
        parameters[parameter] = value
    if text[place] != "]":
        raise ValueError(text[place : place + 200])
    return name, parameters, place + 1


def _sd_name(text: str, place: int) -> tuple[str, int]:
    if (found := _SD_NAME.match(text, place)) is None:
        raise ValueError(text[place : place + 200])
    return found[0], found.end()


def _until(text: str, place: int, end: str, escapes: dict[str, str], forbidden: str = "") -> tuple[str, int]:
    """The text up to `end`, unescaped, and the place after it."""
    found = []
    while (char := text[place : place + 1]) != end:
        if char == "" or char in forbidden:
            raise ValueError(text[max(0, place - 50) : place + 50])
        if char == "\\":
            place += 1
            char = escapes[text[place]]
        found.append(char)
        place += 1
    return "".join(found), place + 1


def _unescaped(text: str, escapes: dict[str, str], forbidden: str) -> str:
    return _until(text + "\x1f", 0, "\x1f", escapes, forbidden)[0]
