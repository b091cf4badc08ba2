"""The far side of the network cases: a container with no way out, where every address they aim at answers."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import docker
from docker.models.containers import Container

READY_DEADLINE_S = 10.0
LAG_DEADLINE_S = 3.0


@dataclass(frozen=True)
class FakeNet:
    container: Container

    @property
    def network_mode(self) -> str:
        return f"container:{self.container.id}"

    def log(self) -> str:
        return self.container.logs().decode(errors="replace")

    def saw(self, pattern: str, since: int) -> bool:
        """Whether the log has it after `since` characters; what was sent may still be on its way."""
        return self._await(pattern, since, LAG_DEADLINE_S)

    def await_ready(self) -> None:
        if not self._await("^READY", 0, READY_DEADLINE_S):
            raise RuntimeError(f"the far side does not come up:\n{self.log()}")

    def _await(self, pattern: str, since: int, limit_s: float) -> bool:
        deadline_s = time.monotonic() + limit_s
        while not (found := re.search(pattern, self.log()[since:], re.MULTILINE)):
            if time.monotonic() > deadline_s:
                break
            time.sleep(0.1)
        return found is not None


@contextmanager
def fakenet(client: docker.DockerClient, image: str, labels: dict[str, str]) -> Iterator[FakeNet]:
    """NET_ADMIN is for addresses in its own network namespace, which has no device but a loopback."""
    container = client.containers.run(
        image,
        ["sh", "/fakenet/run.sh"],
        detach=True,
        network_mode="none",
        cap_add=["NET_ADMIN"],
        labels=labels,
    )
    try:
        made = FakeNet(container)
        made.await_ready()
        yield made
    finally:
        container.remove(force=True)
