"""A payload that was carried encoded, decoded in the sandbox and run there."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from daemon.events import Event, ProcessExecuted
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector
from detectors.bounded import PerSandbox, Recent
from detectors.evidence import TEXT_LIMIT, clip, clip_all

DECODED_PAYLOAD = Rule(
    id="decoded-payload",
    title="An encoded payload was decoded and run",
    category=Category.PROCESS,
    severity=Severity.MEDIUM,
    techniques=("T1140", "T1027"),
    why="Encoding hides a program from those who read the command or scan the upload. What comes out of "
    "the decoder and is run at once was meant to be hidden.",
    remedy="Decode the payload yourself and look at it. Mount writable places noexec.",
)

SHELL = re.compile(
    r"(?:.*/)?-?(?:(?:ba|da|a|k|z|c|tc|fi)?sh|python[\d.]*|perl[\d.]*|ruby[\d.]*|node|php[\d.]*)"
)
ONE_LINE = re.compile(
    r"(?:base(?:64|32)\s+(?:-d|-D|--decode)\b|openssl\s+[^|]{0,80}\s-d\b|xxd\s+-r)[^;]{0,200}\|\s*\S{0,40}sh\b"
    r"|\b(?:exec|eval)\b.{0,200}\b(?:b64decode|a2b_base64|decode_base64|fromhex)\b"
)
NAMES = {"base64", "base32", "basenc"}
SPAN_NS = 10_000_000_000
PIPELINE_NS = 1_000_000_000


class DecodedPayload(Detector):
    """A shell starts the decoder and what comes out of it, so both have one parent, or the shell becomes the
    second. Where the bytes went between is not seen: a fresh program afterwards will do, or a shell that is
    fed, which in a pipeline may start first.
    """

    rules = (DECODED_PAYLOAD,)
    events = (ProcessExecuted,)

    def __init__(self) -> None:
        self._decoded_for: PerSandbox[Recent[int]] = PerSandbox(lambda: Recent(SPAN_NS))
        self._fed_for: PerSandbox[Recent[int]] = PerSandbox(lambda: Recent(PIPELINE_NS))
        """By parent."""

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if isinstance(event, ProcessExecuted) and (self._is_run(event) or _says_it_all(event.argv)):
            path = clip(event.file.path)
            yield finding(DECODED_PAYLOAD, event, identifier=path, path=path, argv=clip_all(event.argv))

    def forget(self, sandbox: str) -> None:
        self._decoded_for.forget(sandbox)
        self._fed_for.forget(sandbox)

    def _is_run(self, event: ProcessExecuted) -> bool:
        decoded, fed = self._decoded_for.of(event.sandbox), self._fed_for.of(event.sandbox)
        process, now_ns = event.process, event.time_ns
        if _is_decoder(event.argv):
            decoded.add(process.ppid, now_ns)
            return fed.has(process.ppid, now_ns)
        if _reads_commands(event.argv):
            fed.add(process.ppid, now_ns)
            return decoded.has(process.ppid, now_ns)
        return event.fresh and (decoded.has(process.ppid, now_ns) or decoded.has(process.pid, now_ns))


def _says_it_all(argv: tuple[str, ...]) -> bool:
    return any(ONE_LINE.search(argument[:1024]) for argument in argv[1:8])


def _is_decoder(argv: tuple[str, ...]) -> bool:
    name, options = _command(argv)
    if name in NAMES:
        return any(option in ("-d", "-D", "-di", "--decode") for option in options)
    if name == "openssl":
        return "-d" in options
    return name == "uudecode" or (name == "xxd" and any(option.startswith("-r") for option in options))


def _command(argv: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """Name and first arguments, the same for `/bin/base64 -d` and `busybox base64 -d`."""
    name, *options = *(posixpath.basename(argument[:TEXT_LIMIT]) for argument in argv[:8]), ""
    if name == "busybox":
        name, *options = options
    return name, tuple(options)


def _reads_commands(argv: tuple[str, ...]) -> bool:
    """An interpreter without a script takes what it is sent."""
    if not argv or not SHELL.fullmatch(argv[0][:TEXT_LIMIT]):
        return False
    return all(argument in ("-", "-s", "-i", "/dev/stdin") for argument in argv[1:])
