"""Which kinds of launches are worth a spare."""

from __future__ import annotations

from daemon.sandbox import repeats as module
from daemon.sandbox.options import SandboxOptions
from daemon.sandbox.repeats import WITHIN_S, Repeats


class Launches:
    def __init__(self, most: int) -> None:
        self.now_s = 1000.0
        self.repeats = Repeats(most, lambda: self.now_s)

    def saw(self, kind: str, **options: object) -> bool:
        asked = {"image": kind, "command": ["own"], **options}
        return self.repeats.saw((kind, ""), SandboxOptions.model_validate(asked))

    @property
    def wanted(self) -> list[str]:
        return [wanted.options.image for wanted in self.repeats.wanted().values()]


def test_the_second_launch_is_a_repetition() -> None:
    launches = Launches(most=1)
    assert [launches.saw("a") for _ in range(3)] == [False, True, False]
    assert launches.wanted == ["a"]


def test_one_launch_of_many_kinds_is_none() -> None:
    launches = Launches(most=9)
    assert not any(launches.saw(kind) for kind in "abcdef")
    assert launches.wanted == []


def test_the_newest_are_kept() -> None:
    launches = Launches(most=2)
    for kind in "aabbccb":
        launches.saw(kind)
    assert launches.wanted == ["b", "c"]


def test_it_ends_with_time_and_begins_anew() -> None:
    launches = Launches(most=1)
    launches.saw("a")
    launches.now_s += WITHIN_S - 1
    assert launches.saw("a")
    launches.now_s += WITHIN_S
    assert launches.wanted == []
    assert not launches.saw("a")
    assert launches.saw("a")


def test_none_where_none_is_wanted() -> None:
    launches = Launches(most=0)
    assert not any(launches.saw("a") for _ in range(3))
    assert launches.wanted == []


def test_what_is_remembered_is_bounded() -> None:
    launches = Launches(most=1)
    launches.saw("first")
    for number in range(module.REMEMBERED):
        launches.saw(f"other{number}")
    assert not launches.saw("first")


def test_nothing_that_was_one_launchs_own_is_kept() -> None:
    launches = Launches(most=1)
    own = {"env": {"TOKEN": "s"}, "stdin": "s", "files": {"f": "s"}, "args": ["s"], "session_id": "s"}
    for _ in range(2):
        launches.saw("a", limits={"memory": "64m"}, **own)
    (wanted,) = launches.repeats.wanted().values()
    plain = SandboxOptions.model_validate({"image": "a", "command": ["true"], "limits": {"memory": "64m"}})
    assert (wanted.options, wanted.count) == (plain, 1)
