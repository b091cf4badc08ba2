"""The images and the host's side that all cases share, and a line on what the corpus proved."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.corpus.host import Host, host
from tests.corpus.images import Images, engine, images

IMAGES_S = pytest.StashKey[float]()
RECORDED = "corpus"  # the property of a test that holds (suite, verdict)


@pytest.fixture(scope="session")
def corpus_images(pytestconfig: pytest.Config) -> Iterator[Images]:
    """The first time on a machine this makes a Debian, which takes a minute or two."""
    started_s = time.monotonic()
    with engine() as client, images(client) as made:
        pytestconfig.stash[IMAGES_S] = time.monotonic() - started_s
        yield made


@pytest.fixture(scope="session")
def watched_host() -> Iterator[Host]:
    with host() as made:
        yield made


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """How many cases had which verdict, and how long they took."""
    verdicts: dict[str, Counter[str]] = {}
    duration_s: Counter[str] = Counter()
    for report in (r for reports in terminalreporter.stats.values() for r in reports):
        for name, value in getattr(report, "user_properties", ()):
            if name == RECORDED and report.when == "call":
                suite, verdict = value
                verdicts.setdefault(suite, Counter())[verdict] += 1
                duration_s[suite] += report.duration
    if IMAGES_S in config.stash:
        terminalreporter.write_line(f"corpus: images ready after {config.stash[IMAGES_S]:.1f} s")
    for suite, counted in verdicts.items():
        listed = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counted.items()))
        terminalreporter.write_line(f"corpus: {suite}: {listed}; {duration_s[suite]:.1f} s")
