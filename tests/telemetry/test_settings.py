"""What cannot be honoured is an error at the start that says what to do; docs/telemetry.md has every key."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from daemon import ROOT
from daemon.errors import ConfigError
from daemon.settings import TelemetrySettings, load_settings
from daemon.telemetry import telemetry
from daemon.telemetry.telemetry import Telemetry

DOCUMENT = (ROOT / "docs/telemetry.md").read_text()


def loaded(folder: Path, *lines: str) -> TelemetrySettings:
    file = folder / "config.toml"
    file.write_text("\n".join(["[telemetry]", *lines]))
    return load_settings(file).telemetry


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('endpoint = "collector:4318"', "telemetry.endpoint: "),
        ('endpoint = "http://user:secret@collector"', "telemetry.endpoint: "),
        ('protocol = "json"', "telemetry.protocol: Input should be 'http' or 'grpc'"),
        ('headers = { authorization = "Bearer secret" }', 'telemetry.headers.authorization: .*"file:/PATH"'),
        ('certificate_file = "/a"', "telemetry: .*go together"),
        ("interval_s = 0", "telemetry.interval_s: "),
        ("timeout_s = 0", "telemetry.timeout_s: "),
        ("colour = 1", "telemetry.colour: "),
    ],
)
def test_a_wrong_key_is_named_and_no_secret_shown(tmp_path: Path, line: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        loaded(tmp_path, line)
    assert "secret@" not in str(caught.value)
    assert "Bearer" not in str(caught.value)


def test_a_secret_does_not_go_over_the_net_in_clear(tmp_path: Path) -> None:
    found = loaded(tmp_path, 'endpoint = "http://192.0.2.1"', 'headers = { a = "file:/b" }')
    with pytest.raises(ConfigError, match="use https"):
        Telemetry(found)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('headers = { a = "file:/nowhere/token" }', r"telemetry: /nowhere/token: the secret cannot be read"),
        ('headers = { a = "credential:token" }', r"telemetry: credential:token: .*LoadCredential=token:PATH"),
        ('ca_file = "/nowhere/ca.pem"', r"telemetry: tls: /nowhere/ca\.pem: cannot be used"),
    ],
)
def test_a_file_that_is_not_there_is_told_at_the_start(tmp_path: Path, line: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Telemetry(loaded(tmp_path, 'endpoint = "https://127.0.0.1"', line))


def test_grpc_says_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = loaded(tmp_path, 'endpoint = "http://127.0.0.1"', 'protocol = "grpc"')
    monkeypatch.setattr(
        telemetry, "find_spec", lambda name: None if name == "grpc" else importlib.util.find_spec(name)
    )
    with pytest.raises(ConfigError, match=r"pip install 'container-kit\[otlp-grpc\]'"):
        Telemetry(found)


def test_the_environment_sets_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTAINER_KIT_TELEMETRY__ENDPOINT", "http://127.0.0.1:4318")
    assert loaded(tmp_path, "interval_s = 5") == TelemetrySettings(
        endpoint="http://127.0.0.1:4318", interval_s=5
    )


def test_each_key_is_documented_and_no_other() -> None:
    table = DOCUMENT.partition("## Settings")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert {name.strip(" `") for row in rows for name in row.split(",")} == set(
        TelemetrySettings.model_fields
    )
