"""The dependency rule: who may import whom. Data goes one way, and so do imports.

    events <- findings <- detectors, exporters <- pipeline <- app

Read from the sources, so that an import inside a function or for types alone counts as well.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon import ROOT

OURS = ("daemon", "detectors", "exporters")

# All that these may import of ours, besides themselves.
ONLY = {
    "daemon.events": (),
    "daemon.expectation": (),
    "daemon.findings": ("daemon.events",),
    "detectors": ("daemon.events", "daemon.expectation", "daemon.findings"),
    "exporters": ("daemon.events", "daemon.findings", "daemon.errors", "daemon.audit.record"),
}
# What these must not import. The rest of the daemon may import each other as need be.
NEVER = {
    "daemon.sandbox": ("daemon.api", "daemon.cli", "daemon.pipeline"),
    "daemon.audit": ("daemon.sandbox", "daemon.api", "daemon.cli", "daemon.pipeline"),
    "daemon.api": ("daemon.cli",),
    "daemon.cli": ("daemon.api",),
}
MAY_IMPORT_PLUGINS = (
    "daemon.alerts",
    "daemon.app",
    "daemon.delivery",
    "daemon.pipeline",
    "daemon.telemetry",
    "daemon.__main__",
)
MAY_IMPORT_APP = ("daemon.__main__",)


def below(name: str, *tops: str) -> bool:
    return any(name == top or name.startswith(f"{top}.") for top in tops)


def imports(module: str, source: str, *, package: bool = False) -> Iterator[str]:
    """Full names of all that is imported. For `from a import b` that is a.b, be it a module or not."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = _origin(module, node, package=package)
            yield from (f"{above}.{alias.name}" for alias in node.names)


def _origin(module: str, node: ast.ImportFrom, *, package: bool) -> str:
    if node.level == 0:
        return node.module or ""
    parts = module.split(".")
    kept = len(parts) - node.level + package
    return ".".join([*parts[:kept], *([node.module] if node.module else [])])


def allowed(module: str, name: str) -> bool:
    for ours, theirs in ONLY.items():
        if below(module, ours):
            return below(name, ours, *theirs)
    if any(below(module, ours) and below(name, *theirs) for ours, theirs in NEVER.items()):
        return False
    if below(name, "detectors", "exporters"):
        return below(module, *MAY_IMPORT_PLUGINS)
    return not below(name, "daemon.app") or below(module, "daemon.app", *MAY_IMPORT_APP)


def violations(module: str, source: str, *, package: bool = False) -> list[str]:
    found = {name for name in imports(module, source, package=package) if below(name, *OURS)}
    return sorted(name for name in found if not allowed(module, name))


def files() -> list[Path]:
    return [path for folder in OURS for path in sorted((ROOT / folder).rglob("*.py"))]


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("path", files(), ids=module_of)
def test_the_rule_is_kept(path: Path) -> None:
    assert violations(module_of(path), path.read_text(), package=path.name == "__init__.py") == []


def test_every_name_of_the_rule_is_in_the_tree_or_to_come() -> None:
    """A renamed package would be under no rule any more."""
    to_come = {"daemon.pipeline"}
    named = {*ONLY, *NEVER, *MAY_IMPORT_PLUGINS, *(name for names in NEVER.values() for name in names)}
    there = {module_of(path) for path in files()}
    assert named - there - to_come == set()


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("daemon.events", "from daemon.findings import Severity"),
        ("daemon.events", "from daemon import units"),
        ("daemon.findings", "import daemon.audit.record"),
        ("daemon.findings", "from detectors import process"),
        ("detectors.process.x", "from daemon.sandbox import engine"),
        ("detectors.process.x", "from daemon import sandbox"),
        ("detectors.process.x", "import daemon"),
        ("detectors.process.x", "from daemon.audit.record import SecurityAuditEvent"),
        ("detectors.process.x", "from daemon.findings_of_others import Finding"),
        ("detectors.process.x", "import exporters.otlp"),
        ("exporters.otlp", "from daemon.audit import log"),
        ("exporters.otlp", "from daemon.audit.log import AuditLog"),
        ("exporters.otlp", "import detectors"),
        ("daemon.sandbox.x", "import daemon.api.server"),
        ("daemon.sandbox.x", "import daemon.units, daemon.cli as c"),
        ("daemon.sandbox.x", "from ..api import server"),
        ("daemon.sandbox.checks.x", "from ...cli.client import Client"),
        ("daemon.sandbox.x", "from .. import api"),
        ("daemon.sandbox.x", "def f():\n    if True:\n        from daemon.api import server"),
        ("daemon.sandbox.x", "if TYPE_CHECKING:\n    from exporters import file"),
        ("daemon.audit.log", "from daemon.sandbox.result import ExecutionResult"),
        ("daemon.api.x", "from detectors import process"),
        ("daemon.api.x", "from daemon.cli import client"),
        ("daemon.api.x", "from daemon.app import serve"),
        ("daemon.settings", "import exporters"),
    ],
)
def test_a_breach_is_noticed(module: str, source: str) -> None:
    assert violations(module, source) != []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("daemon.findings", "from daemon.events import Event"),
        (
            "detectors.process.x",
            "import os, re\nfrom daemon.events import Event\nfrom daemon.findings import Finding",
        ),
        (
            "detectors.process.x",
            "from detectors import shared\nfrom . import sibling\nfrom ..network import y",
        ),
        ("exporters.otlp", "from daemon.audit.record import SecurityAuditEvent"),
        ("daemon.pipeline", "import detectors\nfrom exporters import queue"),
        (
            "daemon.app",
            "from daemon.api import server\nfrom daemon.sandbox import executor\nimport detectors",
        ),
        ("daemon.__main__", "from daemon.app import serve"),
        ("daemon.api.x", "from daemon.sandbox import executor\nfrom daemon import apparel"),
        ("daemon.cli.x", "import daemon_of_others, apis, detectors_of_others"),
    ],
)
def test_what_is_allowed_is_not_taken_for_a_breach(module: str, source: str) -> None:
    assert violations(module, source) == []


def test_a_package_counts_its_levels_from_itself() -> None:
    assert list(imports("daemon.api", "from . import server", package=True)) == ["daemon.api.server"]
    assert list(imports("daemon.api.x", "from . import server")) == ["daemon.api.server"]
