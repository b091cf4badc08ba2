"""docs/alerting.md knows every key of rules and channels, every field of a message, and no other."""

from __future__ import annotations

import re

import pytest

from daemon import ROOT
from daemon.alerts.alert import Notification
from daemon.alerts.channels import ChannelOptions
from daemon.alerts.channels.inventory import KINDS
from daemon.alerts.rule import AlertRule

TEXT = (ROOT / "docs/alerting.md").read_text()


def section(title: str) -> str:
    return TEXT.partition(f"### {title}\n")[2].partition("\n##")[0]


def rows(text: str) -> dict[str, str]:
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| `")]
    return {cells[0].strip(): cells[1].strip() for cells in lines}


def names(text: str) -> set[str]:
    return set(re.findall(r"`([a-z_]+)`", text))


def test_the_keys_of_rules() -> None:
    assert {name for cell in rows(section("Keys of `[[alerts]]`")) for name in names(cell)} == set(
        AlertRule.model_fields
    )


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_keys_of_channels(kind: str) -> None:
    own = set(KINDS[kind].options.model_fields) - set(ChannelOptions.model_fields)
    assert names(rows(section("Keys of `[[alert_channels]]`"))[f"`{kind}`"]) == own


def test_the_keys_of_all_channels() -> None:
    introduction = section("Keys of `[[alert_channels]]`").split(" are keys of all of them")[0]
    assert names(introduction) == set(ChannelOptions.model_fields)


def test_the_fields_of_a_message() -> None:
    told = {name for cell in rows(section("What is told")) for name in names(cell)}
    assert told == set(Notification.model_fields) - {"repeat_s", "quiet_s"}
