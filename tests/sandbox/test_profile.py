"""Profiles as files: what is wrong with one is told by file and key."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from daemon.errors import ConfigError, PolicyError
from daemon.sandbox.profile import Profiles, load_profile

SHIPPED = Path(__file__).parents[2] / "profiles"
PIDS = r"(?<=^\[limits.pids\]\n)max = 100"
Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """`strict` as it is shipped, with one piece of its text replaced, called `mine`."""

    def replaced(old: str, new: str) -> Path:
        text, count = re.subn(old, new, (SHIPPED / "strict.toml").read_text(), count=1, flags=re.MULTILINE)
        assert count == 1
        path = tmp_path / "mine.toml"
        path.write_text(re.sub('^name = "strict"', 'name = "mine"', text, flags=re.MULTILINE))
        return path

    return replaced


def test_a_changed_profile_loads(write: Write) -> None:
    assert load_profile(write(PIDS, "max = 50")).limits.pids.max == 50


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (r"^name = ", "surprise = 1\nname = ", "surprise: Extra inputs"),
        (r"^summary = ", "summary = 5 #", "summary: "),
        (PIDS, "max = 15", "limits: .*no request can keep below it: pids: .*16"),
        (r"(?<=^\[limits.memory\]\n)max = .*", 'max = "1m"', "limits: .*below it: memory: "),
        (r"^\[limits.pids\]\n.*\n.*", "", "limits.pids: Field required"),
        (r"^name = ", "name = = ", "cannot be read as TOML"),
    ],
)
def test_what_is_wrong_is_told_by_file_and_key(write: Write, old: str, new: str, problem: str) -> None:
    path = write(old, new)
    with pytest.raises(ConfigError, match=f"^{re.escape(str(path))}: {problem}"):
        load_profile(path)


def test_a_file_is_called_as_its_profile(tmp_path: Path) -> None:
    path = tmp_path / "other.toml"
    path.write_text((SHIPPED / "strict.toml").read_text())
    with pytest.raises(ConfigError, match="name: is 'strict', but the file is called 'other'"):
        load_profile(path)


def test_a_later_folder_replaces_a_profile_of_the_same_name(tmp_path: Path) -> None:
    text = (SHIPPED / "strict.toml").read_text()
    (tmp_path / "strict.toml").write_text(
        re.sub("^summary = .*", 'summary = "ours"', text, flags=re.MULTILINE)
    )
    profiles = Profiles([SHIPPED, tmp_path])
    assert profiles.get("strict").summary == "ours"
    assert {profile.name for profile in profiles} >= {"default", "network", "build"}


def test_an_unknown_profile_is_told_with_the_known_ones() -> None:
    with pytest.raises(PolicyError, match="no profile is called 'nope': choose one of build, default"):
        Profiles([SHIPPED]).get("nope")


def test_no_profile_at_all(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no profile found"):
        Profiles([tmp_path])
