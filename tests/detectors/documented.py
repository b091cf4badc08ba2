"""The example of docs/writing-a-detector.md and the template beside it, as modules."""

from __future__ import annotations

import atexit
import importlib.util
import re
import sys
import tempfile
from functools import cache
from pathlib import Path
from types import ModuleType

from daemon import ROOT
from detectors import Detector

GUIDE = ROOT / "docs" / "writing-a-detector.md"
TEMPLATE = ROOT / "docs" / "detector_template.py"


def blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(), re.DOTALL | re.MULTILINE)


def module(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"no module can be made of {path}")
    made = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


@cache
def example() -> ModuleType:
    """Detector and test in one, as a reader would put them together. Its source can be read until the end."""
    with tempfile.NamedTemporaryFile("w", suffix=".py", delete=False) as file:
        file.write("\n".join(blocks()))
    atexit.register(Path(file.name).unlink)
    return module("documented_example", Path(file.name))


def detector_in(made: ModuleType) -> type[Detector]:
    (kind,) = (
        each
        for each in vars(made).values()
        if isinstance(each, type) and issubclass(each, Detector) and each.__module__ == made.__name__
    )
    return kind
