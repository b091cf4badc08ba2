"""catalogue.md: its tables are made from the cases. `python -m tests.corpus.catalogue` rewrites them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.corpus.case import Attack, Benign, attacks, benign

FILE = Path(__file__).with_name("catalogue.md")

ATTACKS = (
    *("id", "what", "technique", "source", "what reveals it", "severity, at least"),
    *("possible with", "plain Docker", "strict"),
)
BENIGN = ("id", "what", "looks like", "profile")


def written(text: str) -> str:
    """The text with both tables as the cases have it."""
    text = _between(text, "attacks", _table(ATTACKS, map(_attack, attacks())))
    return _between(text, "benign", _table(BENIGN, map(_benign, benign())))


def _between(text: str, name: str, table: str) -> str:
    """Raises ValueError if the text has no place for it."""
    found = re.search(rf"(?<=<!-- {name} -->\n).*?(?=<!-- end -->)", text, re.DOTALL)
    if found is None:
        raise ValueError(f"{FILE} has no lines '<!-- {name} -->' and '<!-- end -->'")
    return text[: found.start()] + table + text[found.end() :]


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', ' or ') for cell in line)} |\n" for line in lines)


def _attack(case: Attack) -> Sequence[str]:
    return (
        case.id,
        case.title,
        case.technique,
        case.source,
        case.signal,
        case.min_severity,
        case.possible_with,
        case.measured,
        "blocked" if case.must_block else "",
    )


def _benign(case: Benign) -> Sequence[str]:
    return case.id, case.title, case.looks_like, case.profile


if __name__ == "__main__":
    FILE.write_text(written(FILE.read_text()))
