"""Which scanner the settings may name, and what they must say of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from daemon.errors import ConfigError
from daemon.images.scanners.builtin import BuiltinScanner
from daemon.images.scanners.choice import chosen
from daemon.images.scanners.trivy import TrivyScanner
from daemon.settings import ScannerSettings, load_settings

PIN = "a" * 64


def read(folder: Path, text: str) -> ScannerSettings:
    (folder / "config.toml").write_text(text)
    return load_settings(folder / "config.toml").images.scanner


def test_without_a_word_it_is_the_built_in_one(tmp_path: Path) -> None:
    scanner = chosen(read(tmp_path, ""), tmp_path)
    assert isinstance(scanner, BuiltinScanner)
    assert scanner.directory == tmp_path / "osv"
    elsewhere = chosen(read(tmp_path, '[images.scanner]\ndatabase = "/srv/osv"'), tmp_path)
    assert isinstance(elsewhere, BuiltinScanner)
    assert elsewhere.directory == Path("/srv/osv")


def test_a_program_with_its_pin_and_its_database(tmp_path: Path) -> None:
    text = f'name = "trivy"\nprogram = "/usr/bin/trivy"\nsha256 = "{PIN}"\ndatabase = "/srv/db"'
    scanner = chosen(read(tmp_path, f"[images.scanner]\n{text}"), tmp_path)
    assert isinstance(scanner, TrivyScanner)
    assert (scanner.program.path, scanner.program.sha256) == (Path("/usr/bin/trivy"), PIN)
    assert scanner.database == Path("/srv/db")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('name = "clair"', "images.scanner.name: Input should be 'builtin', 'trivy' or 'grype'"),
        ('name = "trivy"', "trivy needs program and sha256 and database"),
        ('name = "grype"\nprogram = "/bin/grype"\ndatabase = "/srv/db"', "grype needs sha256"),
        (
            f'name = "trivy"\nprogram = "trivy"\nsha256 = "{PIN}"\ndatabase = "/db"',
            "program must be an absolute path",
        ),
        (
            f'name = "trivy"\nprogram = "/trivy"\nsha256 = "{PIN}"\ndatabase = "db"',
            "database must be an absolute",
        ),
        ('name = "trivy"\nsha256 = "latest"', "images.scanner.sha256: String should match pattern"),
        ('program = "/usr/bin/trivy"', "the built-in scanner has no program"),
        ('pin = "x"', "images.scanner.pin: Extra inputs are not permitted"),
    ],
)
def test_what_cannot_be_honoured_is_an_error(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, f"[images.scanner]\n{text}\n")
    assert problem in str(caught.value)
    assert str(tmp_path / "config.toml") in str(caught.value)
