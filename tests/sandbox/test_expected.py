"""What a container may be, read from what the engine says of it."""

from __future__ import annotations

from typing import Any

import pytest

from daemon.sandbox.expected import CAPABILITIES, of_inspected


def inspected(config: dict[str, Any] | None = None, **host: Any) -> dict[str, Any]:
    return {"Id": "c" * 64, "Config": config or {}, "HostConfig": host}


def names(mask: int) -> set[str]:
    return {name for number, name in enumerate(CAPABILITIES) if mask >> number & 1}


def test_numbers_are_the_kernels() -> None:
    assert (CAPABILITIES[21], CAPABILITIES[12], CAPABILITIES[40]) == (
        "SYS_ADMIN",
        "NET_ADMIN",
        "CHECKPOINT_RESTORE",
    )
    assert len(CAPABILITIES) == 41


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ({"CapDrop": ["ALL"]}, set()),
        ({"CapDrop": ["ALL"], "CapAdd": ["CAP_NET_RAW"]}, {"NET_RAW"}),
        ({"CapAdd": ["ALL"], "CapDrop": ["SYS_RESOURCE"]}, set(CAPABILITIES) - {"SYS_RESOURCE"}),
        ({"Privileged": True}, set(CAPABILITIES)),
    ],
)
def test_capabilities(host: dict[str, Any], expected: set[str]) -> None:
    assert names(of_inspected(inspected(**host)).capabilities) == expected


def test_a_plain_container_has_dockers_fourteen() -> None:
    assert len(names(of_inspected(inspected()).capabilities)) == 14


def test_namespaces_shared_with_the_host() -> None:
    expected = of_inspected(inspected(PidMode="host", NetworkMode="none", IpcMode="private"))
    assert expected.host_namespaces == {"pid"}
    assert not expected.networking


def test_a_label_makes_no_container_the_daemons_own() -> None:
    assert not of_inspected(inspected({"Labels": {"container-kit.sandbox": "x"}})).managed


def test_bind_mounts_lead_to_the_host() -> None:
    data = inspected(Tmpfs={"/tmp": "rw,noexec"})
    data["Mounts"] = [{"Destination": "/host", "Source": "/", "RW": False}]
    expected = of_inspected(data)
    assert expected.host_path("/host/etc/shadow") == "/etc/shadow"
    assert expected.host_path("/etc/shadow") is None
    assert expected.mount_of("/tmp/x") is not None
    assert not expected.mount_of("/tmp/x").executable  # type: ignore[union-attr]
