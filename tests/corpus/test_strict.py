"""Every attack of the corpus under profile `strict`: the host is not touched, and what must be blocked is."""

from __future__ import annotations

from typing import Any

import pytest

from tests.corpus.case import CASES, Attack, Verdict, attacks, load
from tests.corpus.conftest import RECORDED
from tests.corpus.guard import guarded
from tests.corpus.host import Host
from tests.corpus.images import Images
from tests.corpus.sandboxed import launch
from tests.running import Daemon

pytestmark = [pytest.mark.root, pytest.mark.docker, pytest.mark.corpus]

TRIED = {Verdict.REFUSED, Verdict.EFFECT}


def case_id(case: Attack) -> str:
    return case.id


@pytest.mark.parametrize("case", attacks(), ids=case_id)
def test_an_attack_does_not_touch_the_host(
    running: Daemon, corpus_images: Images, watched_host: Host, record_property: Any, case: Attack
) -> None:
    with guarded() as changed:
        launched = launch(running, case, "strict", corpus_images[case.image], watched_host)
    seen = launched.outcome
    record_property(RECORDED, ("attacks under strict", launched.verdict.value))
    assert not seen.canary_read, seen.output
    assert not seen.canary_written, seen.output
    assert changed == []
    assert watched_host.victim.poll() is None
    assert launched.verdict in ({Verdict.REFUSED} if case.must_block else TRIED), seen.output


@pytest.mark.parametrize("case", [case for case in attacks() if case.options.weakening()], ids=case_id)
def test_what_would_make_it_possible_is_refused(
    running: Daemon, corpus_images: Images, watched_host: Host, case: Attack
) -> None:
    asked = case.options.weakening()
    for mount in asked.get("mounts", []):
        mount["source"] = mount["source"].replace("@WORK@", str(watched_host.canary.folder))
    body = {"image": corpus_images[case.image], "command": ["true"], "profile": "strict", **asked}
    answer = running.request("POST", "/v1/sandboxes", body)
    assert answer.status == 403, answer.body
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert len(answer.json()["reasons"]) >= len(asked)
    assert running.events()[-1]["event_type"] == "EXECUTION_BLOCKED"


def test_planted_links_are_not_followed_when_results_are_collected(
    running: Daemon, corpus_images: Images, watched_host: Host
) -> None:
    case = load(CASES / "fs-symlink-plant")
    launched = launch(running, case, "strict", corpus_images[case.image], watched_host)
    assert "link to the host canary planted" in launched.outcome.effects
    files = f"/v1/sandboxes/{launched.sandbox_id}/files"
    for name in ("result.txt", "report.log", "logs", "logs/etc/passwd"):
        assert running.request("GET", f"{files}/{name}").status == 400
    archive = running.request("GET", f"{files}/.?tar=true")
    assert archive.status == 200
    assert watched_host.canary.token.encode() not in archive.body
    assert b"result.txt" not in archive.body
