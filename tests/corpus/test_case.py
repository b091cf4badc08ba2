"""The corpus is what its catalogue says, and a wrong case.json is noticed."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from daemon.sandbox.options import SandboxOptions
from tests.corpus import options
from tests.corpus.case import CASES, Attack, Benign, attacks, benign, cases, load
from tests.corpus.catalogue import FILE, written
from tests.corpus.images import LIB


def test_it_has_attacks_and_ordinary_programs() -> None:
    assert len(attacks()) >= 63
    assert len(benign()) >= 13
    assert {case.category for case in attacks()} == {"process", "filesystem", "network", "resource"}


def test_the_catalogue_is_its_picture() -> None:
    assert FILE.read_text() == written(FILE.read_text())


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.id)
def test_every_case_has_a_program_that_a_shell_can_read(case: Attack | Benign) -> None:
    subprocess.run(["sh", "-n", case.folder / "run.sh"], check=True)
    assert (case.folder / "attack.c").exists() == ("$CASE_DIR/attack" in (case.folder / "run.sh").read_text())


def test_what_strict_lets_happen_is_explained() -> None:
    assert [case.id for case in attacks() if not case.must_block and not case.note] == []


@pytest.mark.parametrize("case", attacks(), ids=lambda case: case.id)
def test_what_weakens_a_sandbox_is_said_in_words_of_the_api(case: Attack) -> None:
    asked = json.loads(json.dumps(case.options.weakening()).replace("@WORK@", "/somewhere"))
    SandboxOptions.model_validate({"image": "x", **asked})


def _copy(folder: Path, case_id: str, **changes: Any) -> Path:
    fields = json.loads((CASES / case_id / "case.json").read_text()) | changes
    copy = folder / case_id
    copy.mkdir()
    (copy / "case.json").write_text(json.dumps(fields))
    return copy


def test_an_unchanged_copy_is_accepted(tmp_path: Path) -> None:
    assert load(_copy(tmp_path, "fs-shocker")) == load(CASES / "fs-shocker")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"unknown": 1}, "unknown"),
        ({"kind": "other"}, "kind"),
        ({"technique": "T1"}, "technique"),
        ({"min_severity": "some"}, "min_severity"),
        ({"category": "benign"}, "category"),
        ({"image": "bb:latest"}, "image"),
        ({"docker": ["--network", "host"]}, "docker options"),
        ({"docker": ["-v"]}, "docker options"),
        ({"docker": ["--memory", "lots"]}, "docker options"),
        ({"must_block": "maybe"}, "must_block"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"measured": "fine"}, "measured"),
    ],
)
def test_a_wrong_case_is_refused_by_name(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        load(_copy(tmp_path, "fs-shocker", **changes))


def test_a_missing_key_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="profile"):
        load(_copy(tmp_path, "b-git", profile=None))


def test_options_are_said_in_both_languages() -> None:
    asked = options.parse(["--pid", "host", "--cap-add", "SYS_PTRACE", "-v", "/:/host:ro", "--memory", "64m"])
    assert asked.weakening() == {
        "mounts": [{"source": "/", "target": "/host", "read_only": True}],
        "host_namespaces": ["pid"],
        "capabilities": ["SYS_PTRACE"],
    }
    config = asked.host_config()
    assert (config["PidMode"], config["CapAdd"]) == ("host", ["SYS_PTRACE"])
    assert (config["Binds"], config["Memory"]) == (["/:/host:ro"], 64 << 20)


def test_the_shell_and_the_c_library_say_the_same(tmp_path: Path) -> None:
    script = f". {LIB}/attempt.sh; attempt one false; effect two; canary three; finish"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "ATTEMPT one rc=1\nEFFECT two\nCANARY three\n")
    source = tmp_path / "say.c"
    source.write_text(
        '#include "attempt.h"\n'
        "int main(void) {\n"
        '    errno = EPERM; attempt("one", -1); effect("two"); canary("three\\n"); return finish();\n'
        "}\n"
    )
    subprocess.run(["gcc", "-w", "-I", LIB, "-o", tmp_path / "say", source], check=True)
    done = subprocess.run([tmp_path / "say"], capture_output=True, text=True, check=False)
    said = "ATTEMPT one ret=-1 errno=1 (Operation not permitted)\nEFFECT two\nCANARY three\n"
    assert (done.returncode, done.stdout) == (0, said)
