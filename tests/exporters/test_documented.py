"""docs/exporters.md knows every kind and every key, and no other."""

from __future__ import annotations

import re

import pytest

from daemon import ROOT
from exporters import Options
from exporters.http import HttpOptions
from exporters.inventory import KINDS
from exporters.tls import Tls

TEXT = (ROOT / "docs/exporters.md").read_text()
ROWS = {
    cells[0]: cells[1]
    for line in TEXT.splitlines()
    if line.startswith("| `") and (cells := [cell.strip() for cell in line.strip("|").split("|")])
}


def names(text: str) -> set[str]:
    """Keys, not their values: those are in parentheses."""
    return set(re.findall(r"`([a-z_]+)`", re.sub(r"\([^()]*\)", "", text)))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_each_kind_has_its_keys(kind: str) -> None:
    own = set(KINDS[kind].options.model_fields) - set(Options.model_fields)
    if issubclass(KINDS[kind].options, HttpOptions):
        own -= set(HttpOptions.model_fields)
    assert names(ROWS[f"`{kind}`"]) - set(Options.model_fields) - {"high"} == own


def test_the_common_keys() -> None:
    common = {name for cell in ROWS for name in names(cell)} - set(KINDS)
    assert common == set(Options.model_fields) | set(Tls.model_fields)
