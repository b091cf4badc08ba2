"""Where nothing holds them the same attacks succeed. Otherwise a corpus that does nothing would prove all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
import pytest

from tests.corpus.case import CASES, Attack, Verdict, load
from tests.corpus.host import Host
from tests.corpus.images import Images, engine
from tests.corpus.plain import LABEL, Stage, run, stage

pytestmark = [pytest.mark.root, pytest.mark.docker, pytest.mark.corpus]


@pytest.fixture(scope="module")
def on(corpus_images: Images, watched_host: Host) -> Iterator[Stage]:
    with engine() as client, stage(client, corpus_images, watched_host) as made:
        yield made


@pytest.mark.parametrize(
    ("case_id", "expected"),
    [
        ("fs-hostmount-canary", Verdict.BREAKOUT),
        ("fs-docker-sock", Verdict.BREAKOUT),
        ("net-metadata-http", Verdict.EFFECT),
        ("proc-memfd-exec", Verdict.EFFECT),
        ("fs-procsys-write", Verdict.REFUSED),
        ("b-archives", Verdict.OK),
    ],
)
def test_the_verdict_is_the_one_in_the_catalogue(on: Stage, case_id: str, expected: Verdict) -> None:
    case = load(CASES / case_id)
    done = run(on, case)
    assert done.verdict is expected, done.outcome.output
    assert not isinstance(case, Attack) or case.measured is expected
    assert done.changed == []
    assert 0 < done.duration_s < case.timeout_s


def test_the_far_side_sees_what_was_sent(on: Stage) -> None:
    assert run(on, load(CASES / "net-dns-tunnel")).far_side_saw is True


def test_a_watcher_is_there_from_the_first_step_and_the_container_until_it_was_looked_at(on: Stage) -> None:
    seen: list[object] = []

    @contextmanager
    def watch(pid: int) -> Iterator[None]:
        seen.append(Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0])
        yield
        seen.append("left")

    def look(container_id: str) -> None:
        seen.append(on.client.containers.get(container_id).labels[LABEL])

    done = run(on, load(CASES / "fs-procsys-write"), watch=watch, on_end=look)
    assert seen[0] in {b"runc", b"sh"}  # the engine says that it runs a little before the runtime executes it
    assert seen[1:] == ["left", "fs-procsys-write"]
    with pytest.raises(docker.errors.NotFound):
        on.client.containers.get(done.container_id)


def test_what_does_not_end_is_ended(on: Stage) -> None:
    endless = load(CASES / "res-miner-cpu").model_copy(update={"timeout_s": 0.5})
    done = run(on, endless)
    assert done.outcome.exit_code == 137
