"""Containers for the tests of sensors: the engine's own defaults, no network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker

SLEEP = ("sleep", "300")


@dataclass(frozen=True)
class Container:
    client: docker.DockerClient
    id: str

    @property
    def pid(self) -> int:
        pid: int = self.client.api.inspect_container(self.id)["State"]["Pid"]
        return pid

    @property
    def exe(self) -> str:
        """What its first process executes."""
        return str(Path(f"/proc/{self.pid}/exe").readlink())

    def run(self, *command: str) -> tuple[int, str]:
        """The exit status and the output of a program that is started in it from outside."""
        made = self.client.api.exec_create(self.id, list(command))["Id"]
        output: bytes = self.client.api.exec_start(made)
        return self.client.api.exec_inspect(made)["ExitCode"], output.decode()

    def wait(self) -> str:
        """For its end; what it wrote."""
        self.client.api.wait(self.id, timeout=60)
        output: bytes = self.client.api.logs(self.id)
        return output.decode()

    def end(self) -> None:
        self.client.api.kill(self.id)
        self.client.api.wait(self.id, timeout=60)


def started(
    client: docker.DockerClient, image: str, command: Sequence[str], user: str = "", **options: Any
) -> Container:
    """`options` are those of docker-py's create_host_config."""
    host = client.api.create_host_config(**options)
    made = client.api.create_container(
        image, list(command), user=user, network_disabled=True, host_config=host, working_dir="/"
    )
    client.api.start(made["Id"])
    return Container(client, made["Id"])
