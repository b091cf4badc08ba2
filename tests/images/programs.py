"""Programs that stand in for a scanner: they say one thing, whatever they are asked."""

from __future__ import annotations

import subprocess
from pathlib import Path


def saying(folder: Path, text: str) -> Path:
    """A compiled one: what is run is an open file, which no interpreter could open again."""
    source, program = folder / "saying.c", folder / "saying"
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    source.write_text(f'#include <stdio.h>\nint main(void) {{ fputs("{escaped}", stdout); return 0; }}\n')
    subprocess.run(["gcc", "-static", "-o", program, source], check=True)
    return program
