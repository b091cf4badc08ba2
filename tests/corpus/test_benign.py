"""Ordinary programs that look like attacks do their work, each under the profile that is meant for it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.corpus.case import Benign, Verdict, benign
from tests.corpus.conftest import RECORDED
from tests.corpus.host import Host
from tests.corpus.images import Images
from tests.corpus.sandboxed import launch
from tests.running import Daemon

pytestmark = [pytest.mark.root, pytest.mark.docker, pytest.mark.corpus]


@pytest.mark.parametrize("case", benign(), ids=lambda case: f"{case.id}-{case.profile}")
def test_ordinary_work_is_done(
    running: Daemon, corpus_images: Images, watched_host: Host, record_property: Any, case: Benign
) -> None:
    launched = launch(running, case, case.profile, corpus_images[case.image], watched_host)
    record_property(RECORDED, ("benign cases", launched.verdict.value))
    assert launched.verdict is Verdict.OK, launched.outcome.output
