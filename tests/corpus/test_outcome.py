"""The judges can say no: a touched canary, a changed setting and an effect are seen for what they are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.corpus.case import CASES, Verdict, load
from tests.corpus.guard import SETTINGS, guarded, read
from tests.corpus.host import Canary, canary, root_disk
from tests.corpus.outcome import outcome, verdict

ATTACK = load(CASES / "fs-shocker")
BENIGN = load(CASES / "b-git")


@pytest.fixture
def secret() -> Iterator[Canary]:
    with canary() as made:
        yield made


@pytest.mark.parametrize(
    ("exit_code", "output", "expected"),
    [
        (10, "ATTEMPT a rc=1\n", Verdict.REFUSED),
        (10, "", Verdict.NOT_TRIED),
        (20, "ATTEMPT a rc=1\n", Verdict.REFUSED),
        (0, "", Verdict.EFFECT),
        (10, "ATTEMPT a rc=0\nEFFECT b\n", Verdict.EFFECT),
        (137, "EFFECT b\n", Verdict.EFFECT),
        (127, "sh: not found\n", Verdict.NOT_TRIED),
        (None, "", Verdict.NOT_STARTED),
    ],
)
def test_an_attack_is_judged_by_what_it_said(
    secret: Canary, exit_code: int | None, output: str, expected: Verdict
) -> None:
    assert verdict(ATTACK, outcome(ATTACK, exit_code, output, secret)) is expected


def test_the_secret_in_the_output_is_a_breakout(secret: Canary) -> None:
    seen = outcome(ATTACK, 10, f"cat: {secret.secret.read_text()}", secret)
    assert seen.canary_read
    assert verdict(ATTACK, seen) is Verdict.BREAKOUT


def test_a_file_by_a_payload_is_a_breakout_of_that_run_alone(secret: Canary) -> None:
    secret.drop(ATTACK.id).write_text("by the payload\n")
    assert verdict(ATTACK, outcome(ATTACK, 10, "", secret)) is Verdict.BREAKOUT
    assert verdict(ATTACK, outcome(ATTACK, 10, "", secret)) is Verdict.NOT_TRIED


def test_anybody_on_the_host_may_touch_the_canary(secret: Canary) -> None:
    assert secret.secret.stat().st_mode & 0o004
    assert secret.drop("any").parent.stat().st_mode & 0o002


@pytest.mark.parametrize(
    ("exit_code", "expected"), [(0, Verdict.OK), (1, Verdict.FAILED), (137, Verdict.FAILED)]
)
def test_an_ordinary_program_is_judged_by_its_exit_code(
    secret: Canary, exit_code: int, expected: Verdict
) -> None:
    assert verdict(BENIGN, outcome(BENIGN, exit_code, "EFFECT none", secret)) is expected


def test_a_changed_setting_is_named_and_put_back(tmp_path: Path) -> None:
    changed_one, other, absent = (tmp_path / name for name in ("changed", "other", "absent"))
    changed_one.write_text("core\n")
    other.write_text("\n")
    with guarded((changed_one, other, absent)) as changed:
        changed_one.write_text("|/tmp/payload\n")
    assert changed == [changed_one]
    assert (changed_one.read_text(), other.read_text()) == ("core\n", "\n")


def test_it_is_put_back_also_after_an_error(tmp_path: Path) -> None:
    setting = tmp_path / "setting"
    setting.write_text("0\n")

    def change_and_fail() -> None:
        with guarded((setting,)):
            setting.write_text("1\n")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        change_and_fail()
    assert setting.read_text() == "0\n"


def test_this_kernel_has_settings_to_guard() -> None:
    assert Path("/proc/sys/kernel/core_pattern") in read(SETTINGS)
    assert root_disk()
