"""What is wrong with the settings is said at the start, with the file or the variable, and the key."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from daemon.__main__ import main
from daemon.errors import ConfigError
from daemon.settings import Settings, load_settings


def loaded(folder: Path, content: str | bytes) -> Settings:
    file = folder / "config.toml"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return load_settings(file)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("colour = 1", "colour: unknown key; known are socket, "),
        ("debug = 3", "debug: Input should be a valid boolean"),
        ("callers = 3", "callers: Input should be a valid list"),
        ("[[callers]]\nuser = [1]", r"callers\.0\.user: Extra inputs"),
        ("[[callers]]\nquota = { memory = 'much' }", r"callers\.0\.quota\.memory: .*'much' is not a size"),
        ("recording_size = '1k'", "recording_size: Input should be greater than or equal to 1048576"),
        ("debug = ", r"cannot be read as TOML: .*\(at end of document\)"),
        (b"\xff", "cannot be read as TOML: "),
    ],
)
def test_a_file_is_named_with_its_key(tmp_path: Path, content: str | bytes, told: str) -> None:
    with pytest.raises(ConfigError, match=f"^{tmp_path}/config\\.toml: {told}"):
        loaded(tmp_path, content)


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("DEBUG", "maybe", ": debug: Input should be a valid boolean"),
        ("PROFILE_DIRS", '["/a", 3]', r": profile_dirs\.1: "),
        ("EXPORTERS", "syslog", ": .*: write JSON$"),
        ("IMAGES__REGISTRIES", "docker.io", ": .*: write JSON$"),
        ("TELEMETRY", '{"interval_s": 0}', r": telemetry\.interval_s: "),
        ("TELEMETRY__INTERVAL_S", "0", r": telemetry\.interval_s: "),
        ("IMAGES__SCANNER__NAME", "clair", r": images\.scanner\.name: "),
        ("TELEMETRY__COLOUR", "1", r": telemetry\.colour: "),
        ("COLOUR", "1", ": unknown variable; known are "),
        ("DEBUG__COLOUR", "1", ": unknown variable; known are "),
    ],
)
def test_a_variable_is_named_with_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, told: str
) -> None:
    monkeypatch.setenv(f"CONTAINER_KIT_{variable}", value)
    with pytest.raises(ConfigError, match=f"^CONTAINER_KIT_{variable}{told}"):
        loaded(tmp_path, "[telemetry]\ntimeout_s = 5")


def test_what_a_variable_does_not_set_is_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTAINER_KIT_TELEMETRY__INTERVAL_S", "5")
    with pytest.raises(ConfigError, match=rf"^{tmp_path}/config\.toml: telemetry\.timeout_s: "):
        loaded(tmp_path, "[telemetry]\ntimeout_s = 0")


def test_what_both_may_have_set_names_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTAINER_KIT_TELEMETRY__KEY_FILE", "/a")
    both = rf"^{tmp_path}/config\.toml or CONTAINER_KIT_TELEMETRY__KEY_FILE: telemetry: .*go together"
    with pytest.raises(ConfigError, match=both):
        loaded(tmp_path, "")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("none.toml", "no such file: create it, or correct --config or CONTAINER_KIT_CONFIG"),
        (".", "cannot be read: Is a directory: name a file"),
    ],
)
def test_a_named_file_must_be_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, told: str
) -> None:
    monkeypatch.setenv("CONTAINER_KIT_CONFIG", str(tmp_path / name))
    with pytest.raises(ConfigError, match=f"^{tmp_path / name}: {told}"):
        load_settings()


def test_the_daemon_says_it_on_one_line_and_does_not_start(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["--config", str(tmp_path / "none.toml")])
    assert done.exit_code == 78
    assert done.stderr.startswith(f"container-kitd: {tmp_path}/none.toml: no such file")
    assert done.stderr.count("\n") == 1
