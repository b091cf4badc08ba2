"""The dependency rule: who may import whom. Data goes one way, and so do imports."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from daemon import ROOT

# Prefix of the importing module, prefix of what it must not import.
FORBIDDEN = (
    ("daemon.events", "daemon."),
    ("daemon.findings", "daemon.api"),
    ("daemon.sandbox", "daemon.api"),
    ("daemon.sandbox", "daemon.cli"),
    ("daemon.sandbox", "daemon.app"),
    ("daemon.audit", "daemon.sandbox"),
    ("daemon.audit", "daemon.api"),
    ("daemon.api", "daemon.cli"),
    ("daemon.api", "daemon.app"),
    ("daemon.cli", "daemon.app"),
    ("daemon.cli", "daemon.api"),
)
PLUGINS = ("detectors", "exporters")
PLUGINS_MAY_IMPORT = ("daemon.events", "daemon.findings", "daemon.audit.record")
MAY_IMPORT_PLUGINS = ("daemon.app", "daemon.pipeline", "detectors", "exporters")


def imports(source: str) -> set[str]:
    tree = ast.walk(ast.parse(source))
    found: set[str] = set()
    for node in tree:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def violations(module: str, source: str) -> list[str]:
    found = imports(source)
    wrong = [
        name
        for ours, theirs in FORBIDDEN
        if module.startswith(ours)
        for name in found
        if name.startswith(theirs)
    ]
    if module.startswith(PLUGINS):
        wrong += [n for n in found if n.startswith("daemon.") and not n.startswith(PLUGINS_MAY_IMPORT)]
    if not module.startswith(MAY_IMPORT_PLUGINS):
        wrong += [name for name in found if name.split(".")[0] in PLUGINS]
    return sorted(wrong)


def modules() -> list[Path]:
    return [p for folder in ("daemon", *PLUGINS) for p in sorted((ROOT / folder).rglob("*.py"))]


def test_no_module_breaks_the_rule() -> None:
    wrong = {}
    for path in modules():
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        if found := violations(name, path.read_text()):
            wrong[name] = found
    assert wrong == {}


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("detectors.process.x", "from daemon.sandbox import engine"),
        ("daemon.sandbox.x", "import daemon.api.server"),
        ("daemon.api.x", "from detectors import process"),
    ],
)
def test_a_breach_is_noticed(module: str, source: str) -> None:
    assert violations(module, source)
