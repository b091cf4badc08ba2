"""The structures of sensor.h and of abi.py are the same, field by field, as the built object has them."""

from __future__ import annotations

import re
import struct

import pytest

from daemon.events import Drift
from daemon.sensors import abi, bpf
from daemon.sensors.calls import KNOWN
from tests.sensors.btf import Btf, of_object


@pytest.fixture(scope="module")
def built() -> Btf:
    bpf.build()
    return of_object(bpf.SENSOR)


def offsets(layout: abi.Layout) -> list[tuple[str, int, int]]:
    """Name, offset and size of each field as struct(3) sees it."""
    found, before = [], ""
    for name, form in layout.fields.items():
        found.append((name, struct.calcsize("<" + before), struct.calcsize("<" + form)))
        before += form
    return found


@pytest.mark.parametrize("layout", abi.LAYOUTS, ids=lambda layout: layout.name)
def test_layouts_are_those_of_the_object(built: Btf, layout: abi.Layout) -> None:
    size, members = built.struct(layout.name)
    assert offsets(layout) == [(member.name, member.offset, member.size) for member in members]
    assert layout.size == size


@pytest.mark.parametrize("prefix", abi.ENUMS)
def test_enumerations_are_those_of_the_object(built: Btf, prefix: str) -> None:
    theirs = {
        name.removeprefix(prefix): value
        for name, value in built.enumerators().items()
        if name.startswith(prefix)
    }
    assert {member.name: member.value for member in abi.ENUMS[prefix]} == theirs


def test_drift_is_the_kernels(built: Btf) -> None:
    theirs = {
        name.removeprefix("DRIFT_"): value
        for name, value in built.enumerators().items()
        if name.startswith("DRIFT_")
    }
    assert {member.name: member.value for member in Drift} == theirs


def test_responses_are_the_kernels(built: Btf) -> None:
    theirs = {
        name: value for name, value in built.enumerators().items() if name.startswith(("KILL_ON_", "DENY_"))
    }
    assert {member.name: member.value for member in abi.InKernel} == theirs


@pytest.mark.parametrize(
    "name", ["NAME_BYTES", "CGROUP_PATH_BYTES", "FOLDER_BYTES", "CALLS", "NO_ARGUMENT", "CALL_RING"]
)
def test_sizes_are_those_of_the_header(name: str) -> None:
    header = (bpf.FOLDER / "sensor.h").read_text()
    found = re.search(rf"#define {name} (0x[0-9a-f]+|\d+)", header)
    assert found is not None
    assert int(found[1], 0) == getattr(abi, name)


def test_every_structure_of_the_header_is_compared(built: Btf) -> None:
    names = {layout.name for layout in abi.LAYOUTS}
    declared = set(re.findall(r"^struct (\w+) \{", (bpf.FOLDER / "sensor.h").read_text(), re.MULTILINE))
    assert names == declared


def test_every_policy_fits_its_row() -> None:
    for call in KNOWN.values():
        assert len(call.packed()) == abi.POLICY.size
        assert len(call.strings) <= 3
