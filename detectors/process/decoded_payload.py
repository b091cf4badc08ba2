"""A payload that was carried encoded, decoded in the sandbox and run there."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from daemon.events import Event, FileOpened, ProcessExecuted, ProcessForked
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector
from detectors.bounded import Bounded, PerSandbox, Recent
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
SPAN_NS = 2_000_000_000
FILES_LIMIT = 256


class _State:
    def __init__(self) -> None:
        self.decoders: Bounded[int, None] = Bounded(FILES_LIMIT)
        """By pid; kept after they ended, since what they wrote is run later."""
        self.parents: Recent[int] = Recent(SPAN_NS)
        self.writers: Bounded[tuple[int, int], int] = Bounded(FILES_LIMIT)
        """Who last opened a file to write it, by device and inode. A shell does so for its redirections and
        becomes the decoder in the same process."""


class DecodedPayload(Detector):
    """Follows the bytes from the decoder into a file that is executed, or into an interpreter beside it."""

    rules = (DECODED_PAYLOAD,)
    events = (ProcessExecuted, ProcessForked, FileOpened)

    def __init__(self) -> None:
        self._states: PerSandbox[_State] = PerSandbox(_State)

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        state = self._states.of(event.sandbox)
        if isinstance(event, ProcessForked):
            state.decoders.pop(event.process.pid, None)
        elif isinstance(event, FileOpened):
            if event.write and event.succeeded and event.file.inode:
                state.writers[event.file.device, event.file.inode] = event.process.pid
        elif isinstance(event, ProcessExecuted) and _is_payload(event, state):
            path = clip(event.file.path)
            yield finding(DECODED_PAYLOAD, event, identifier=path, path=path, argv=clip_all(event.argv))

    def forget(self, sandbox: str) -> None:
        self._states.forget(sandbox)


def _is_payload(event: ProcessExecuted, state: _State) -> bool:
    if _is_decoder(event.argv):
        state.decoders[event.process.pid] = None
        state.parents.add(event.process.ppid, event.time_ns)
        return False
    written_by = state.writers.get((event.file.device, event.file.inode))
    if event.fresh and written_by in state.decoders:
        return True
    if _reads_commands(event.argv) and state.parents.has(event.process.ppid, event.time_ns):
        return True
    return any(ONE_LINE.search(argument[:1024]) for argument in event.argv[1:8])


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
